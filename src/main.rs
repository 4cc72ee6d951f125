//! The kscope program.
fn main() {}
