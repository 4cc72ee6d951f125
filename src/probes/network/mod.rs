//! Network: payload bytes that processes sent and received through IPv4 and IPv6 sockets.

pub mod probe;
pub mod stats;
pub mod view;
