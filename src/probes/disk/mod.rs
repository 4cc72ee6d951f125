//! Disk: how long requests of block devices wait and take, by device and direction, and which process asked for them.

pub mod probe;
pub mod stats;
pub mod view;
