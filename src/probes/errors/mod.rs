//! Errors: which calls fail, with which error, in which process; and what that says of a process that runs in circles.

pub mod names;
pub mod probe;
pub mod spin;
pub mod stats;
pub mod view;
