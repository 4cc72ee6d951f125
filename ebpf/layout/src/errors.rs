//! Errors of system calls, counted by process, call and number.
//!
//! The value of the map is a `u64`: how many there were, cumulative.

use crate::RecordKey;

/// Key of a counter. Ordered by process, then by call, then by error.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ErrorKey {
    /// The process and the row of the call.
    pub call: RecordKey,
    /// The error, positive, at most `MAX_ERRNO` (4095).
    pub errno: u32,
    /// Zero.
    pub pad: u32,
}
