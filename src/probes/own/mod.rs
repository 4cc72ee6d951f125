//! Own cost: what kscope's programs and its user space take from the machine, and how full its maps are.

pub mod probe;
pub mod stats;
pub mod view;
