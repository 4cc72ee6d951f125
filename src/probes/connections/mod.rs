//! Connections: who talks to whom, how much, how well, and what waits to be accepted.
//!
//! Two sources meet by the cookie of a socket. Programs in the kernel count bytes and what was sent again, see short
//! connections come and go, and know who uses a socket; `inet_diag` lists what is there, with round-trip times, windows and
//! queues. Both are asked only while somebody looks.

pub mod diag;
mod names;
pub mod owners;
pub mod probe;
pub mod stats;
pub mod view;
