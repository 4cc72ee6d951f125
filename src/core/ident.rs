//! Who a process is. A pid alone is a number that is used again; with the start time it is an identity.

use serde::Serialize;

/// A process: its id (tgid) and when it was born, so that a reused pid never inherits numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ProcessId {
    /// The process id (tgid) in the initial PID namespace.
    pub pid: u32,
    /// Start of the process in units of 1024 ns of `CLOCK_BOOTTIME`, modulo 2^32: `RecordKey::birth` of the layouts.
    pub birth: u32,
}
