//! Stuck now: every system call that was entered and has not returned, by age.

pub mod stats;
pub mod view;
