//! Time: what the threads of a process did with every nanosecond: ran in user mode, ran in the kernel, waited for a CPU,
//! or were blocked.

pub mod account;
pub mod causes;
mod copies;
pub mod probe;
mod remembered;
pub mod running;
pub mod stats;
