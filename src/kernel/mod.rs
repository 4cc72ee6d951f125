//! What talks to the running kernel: its own description of itself, and the programs kscope loads into it.
//!
//! Not here: what the numbers mean (`probes/*/stats.rs`) and how they look (`ui`). Invariant: the kernel is asked by
//! trying, never by its version number, and every refusal becomes a typed error that says what to do.

pub mod btf;
pub mod offsets;
