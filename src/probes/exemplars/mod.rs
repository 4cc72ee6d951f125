//! Exemplars: single slow calls with their arguments, beside the distributions that they are part of.

pub mod arguments;
pub mod probe;
pub mod stats;
pub mod view;
