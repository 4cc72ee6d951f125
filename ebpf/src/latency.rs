//! Recording a latency: into a row of a host-wide table, and into the record of a process.
//!
//! Several CPUs may write one record (threads of one process), so sums and buckets are added atomically. The maximum is
//! a compare and a store: of two new ones at the same moment one can be lost, even the larger. Its bucket is counted all the
//! same, and user space never shows a maximum below the highest bucket (`core/latency.rs`).

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::BPF_NOEXIST;
use kscope_layout::bucket::{SCALE2_LEN, SCALE3_LEN, scale2_of};
use kscope_layout::{Latency, Record, RecordKey, Row, lost, pack_max};

use crate::maps::{RECORDS, ZERO, lose};

/// Adds to a 64-bit counter that other CPUs add to as well.
#[inline(always)]
pub fn add_atomic(counter: *mut u64, n: u64) {
    // SAFETY: callers pass pointers into map values, aligned as their type.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, n) };
}

/// The same for 32 bits.
#[inline(always)]
pub fn add_atomic32(counter: *mut u32, n: u32) {
    // SAFETY: as above.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, n) };
}

/// Adds one duration, which stands for `weight`, to the bucket at `index`, the sum and the maximum. `index` must be below
/// `N`.
#[inline(always)]
pub fn add<const N: usize>(to: *mut Latency<N>, index: usize, ns: u64, weight: u32, epoch: u32) {
    let packed = pack_max(epoch & 0xffff, ns);
    // SAFETY: `to` points into a map value; index and slot are masked to their arrays.
    unsafe {
        add_atomic32((&raw mut (*to).buckets).cast::<u32>().add(index & (N - 1)), weight);
        add_atomic(&raw mut (*to).total_ns, ns * u64::from(weight));
        let slot = (&raw mut (*to).max).cast::<u64>().add((epoch & 1) as usize);
        let held = slot.read_volatile();
        // Of another epoch or smaller. (Epochs wrap at 16 bits: compare them for being equal, not for their order.)
        if held >> 48 != packed >> 48 || held < packed {
            slot.write_volatile(packed);
        }
    }
}

/// Adds a duration to a row of a host-wide table.
#[inline(always)]
pub fn add_row(row: *mut Row, index3: u32, ns: u64, weight: u32, epoch: u32) {
    add::<SCALE3_LEN>(row, index3 as usize, ns, weight, epoch);
}

/// Adds a duration to a record of a process.
#[inline(always)]
pub fn add_record(record: *mut Record, index3: u32, ns: u64, weight: u32, epoch: u32) {
    add::<SCALE2_LEN>(record, scale2_of(index3) as usize, ns, weight, epoch);
}

/// The record for `key`, made if there is none yet. `None`, and counted as lost, when there is no room.
#[inline(always)]
pub fn record(key: &RecordKey) -> Option<*mut Record> {
    if let Some(found) = RECORDS.get_ptr_mut(key) {
        return Some(found);
    }
    if let Some(zero) = ZERO.get(0) {
        // Another CPU may have been quicker: then this fails, and the look-up below finds what that one made.
        let _ = RECORDS.insert(key, zero, u64::from(BPF_NOEXIST));
    }
    let made = RECORDS.get_ptr_mut(key);
    if made.is_none() {
        lose(lost::RECORDS);
    }
    made
}
