//! Block I/O: a request in flight, what a device did by direction and phase, what a process asked for.
//!
//! Not here: where the fields of a `struct request` lie.
//!
//! Invariant: as everywhere in this crate, all counters only grow.

use crate::{RecordKey, Row};

/// What a request does, as the index of rows and counters.
pub mod direction {
    /// Reads.
    pub const READ: u32 = 0;
    /// Writes, zone appends included.
    pub const WRITE: u32 = 1;
    /// Flushes of the device's cache that carry no data (`fsync` of what was written already).
    pub const FLUSH: u32 = 2;
    /// Discards, zeroing without data, zone management.
    pub const OTHER: u32 = 3;
    /// Number of them.
    pub const COUNT: u32 = 4;
}

/// Parts of a request's life, as the index of [`DeviceRow::phases`].
pub mod phase {
    /// From its beginning to its completion.
    pub const TOTAL: usize = 0;
    /// From its beginning until the driver got it: scheduler, plug, tags.
    pub const QUEUE: usize = 1;
    /// From then to its completion.
    pub const DEVICE: usize = 2;
    /// Number of them.
    pub const COUNT: usize = 3;
}

/// [`Started::slot`] of a device for which there was no row left.
pub const NO_SLOT: u32 = u32::MAX;

/// A request in flight; its key is the address of the `struct request`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Started {
    /// When it began, `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// When the driver got it last; 0 as long as it has not.
    pub issue_ns: u64,
    /// The process that submitted it; what is measured is 0.
    pub process: RecordKey,
    /// Bytes, with those that were merged into it before it was issued.
    pub bytes: u32,
    /// Its device: which rows it is counted in, or [`NO_SLOT`].
    pub slot: u32,
    /// See [`direction`].
    pub direction: u32,
    /// Somebody else ends it too: it is the copy that one block driver hands to another. 0 or 1.
    pub is_clone: u32,
}

/// What a device did in one direction: at `slot * direction::COUNT + direction` of its array. A page each, so that user space
/// maps what is in use and no more.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct DeviceRow {
    /// Bytes of completed requests.
    pub bytes: u64,
    /// Requests that ended without being seen to; their bytes are counted, their latencies are not.
    pub unseen: u64,
    /// Latencies by [`phase`]. Errors are counted with the total. What the driver never got (an empty flush, which the kernel
    /// hands on as a request of its own) has a total only.
    pub phases: [Row; phase::COUNT],
    /// Zero.
    pub pad: [u64; 105],
}

/// What a process had devices do, by [`direction`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Asked {
    /// Completed requests.
    pub requests: [u64; direction::COUNT as usize],
    /// Their bytes.
    pub bytes: [u64; direction::COUNT as usize],
    /// How long they took, each from beginning to completion, ns.
    pub total_ns: [u64; direction::COUNT as usize],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_no_padding_and_a_row_is_a_page() {
        assert_eq!(size_of::<Started>(), 40);
        assert_eq!(size_of::<DeviceRow>(), 4096);
        assert_eq!(size_of::<Asked>(), 96);
    }
}
