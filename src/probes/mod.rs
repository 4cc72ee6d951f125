//! One insight, one folder: `stats.rs` is pure arithmetic, `probe.rs` reads maps, `view.rs` draws.
//!
//! The three first insights (system calls, run queue, network), the time accounting that they share, and what kscope
//! itself costs. What is loaded into the kernel for them stands in one list, `kernel::programs`.

pub mod blame;
pub mod connections;
pub mod disk;
pub mod errors;
pub mod exemplars;
pub mod lives;
pub mod network;
pub mod own;
pub mod page;
pub mod runqueue;
pub mod stuck;
pub mod syscalls;
pub mod time;
