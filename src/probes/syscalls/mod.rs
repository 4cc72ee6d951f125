//! System calls: how many, how long, how many failed, by call and by process.

pub mod names;
pub mod probe;
pub mod stats;
pub mod view;
