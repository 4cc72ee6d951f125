//! What talks to the kernel: BTF and offsets, loading and attaching, reading maps, and saying why something does not work.
//!
//! Not here: what the numbers mean (`probes`). Invariant: nothing above this module and `probes/*/probe.rs` uses aya.

pub mod advice;
pub mod attach;
pub mod btf;
pub mod call_classes;
pub mod doctor;
pub mod held;
pub mod ladder;
pub mod loader;
pub mod local;
pub mod maps;
pub(crate) mod memory;
pub mod offsets;
#[cfg(any(test, feature = "untrusted"))]
pub mod pretended;
pub mod programs;
pub mod rows;
pub mod run_stats;
pub mod sizing;
