//! Run queue: how long threads that could run waited for a CPU, by CPU and by process.

pub mod probe;
pub mod stats;
pub mod view;
