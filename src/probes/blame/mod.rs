//! Blame: who ran on a CPU while others waited for it.

pub mod probe;
pub mod stats;
pub mod view;
