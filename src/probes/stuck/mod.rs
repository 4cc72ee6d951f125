//! Stuck now: every system call that was entered and has not returned, by age, with what it waits for.
//!
//! The calls come from the table of threads, which costs nothing more. What they wait for is asked of procfs, for those that
//! are there when somebody looks.

mod args;
pub mod asked;
pub(crate) mod asleep;
pub(crate) mod locks;
pub mod probe;
pub mod sockets;
pub mod stats;
pub mod tables;
pub mod view;
