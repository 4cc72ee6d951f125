//! Lives of processes: how they ended, whose children they were, and what those that are gone have done.

pub mod probe;
pub mod stats;
pub mod view;
pub mod window;
