//! kscope: see, live, what the Linux kernel is doing to every process.
//!
//! `ARCHITECTURE.md` has the bird's-eye view. The layers, from pure to privileged: [`core`], `probes/*/stats.rs`, [`model`]
//! and [`export`] compute; [`kernel`], [`source`] and `probes/*/probe.rs` read; [`ui`] and `probes/*/view.rs` draw; the
//! program around them is in `main.rs`, `run.rs` and `report.rs`.

pub mod core;
pub mod export;
pub mod kernel;
pub mod model;
pub mod privileged;
pub mod probes;
pub mod source;
pub mod ui;
#[cfg(any(test, feature = "untrusted"))]
pub mod untrusted;
pub mod verdicts;
