//! Recording a latency: in the record of a process, or in a row of a table of the host.
//!
//! A record is a slot: its head in one array, its buckets at the same index in another. A thread remembers the slots of the
//! calls it makes, so that the hash that leads from a key to a slot is asked once, not at each call.
//!
//! Threads of one process write the same record, so sums and buckets are added atomically. The maximum is a compare and a
//! store: of two new ones at the same moment one can be lost, even the larger. Its bucket is counted all the same, and user
//! space never shows a maximum below the highest bucket (`core/latency.rs`).
//!
//! Invariant: a slot is written only by threads of the process whose key it has. User space gives it to somebody else when
//! that process has no thread left that could (`src/source/leaving.rs`), so no cached slot outlives its record.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::BPF_NOEXIST;
use kscope_layout::bucket::SCALE3_LEN;
use kscope_layout::{Buckets, MAX_SLOTS, RecordKey, Row, Sums, lost, pack_max, pack_slot, slot_in};

use crate::maps::{BUCKETS, FREE, HEADS, INDEX, lose};

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

/// A place to record in.
#[derive(Clone, Copy)]
pub struct Place {
    /// The sums.
    pub sums: *mut Sums,
    buckets: *mut Buckets,
}

impl Place {
    /// The record in a slot; `None` for a number that is no slot.
    #[inline(always)]
    fn in_slot(slot: u32) -> Option<Self> {
        let (head, buckets) = (HEADS.get_ptr_mut(slot)?, BUCKETS.get_ptr_mut(slot)?);
        // SAFETY: `head` is a map value.
        Some(Self { sums: unsafe { &raw mut (*head).sums }, buckets })
    }

    /// A row of a table.
    #[inline(always)]
    pub fn in_row(row: *mut Row) -> Self {
        // SAFETY: callers pass map values.
        unsafe { Self { sums: &raw mut (*row).sums, buckets: &raw mut (*row).buckets } }
    }

    /// Adds one duration, which stands for `weight`: the bucket first, since the sum tells user space to look at it. So `ns`
    /// must not be 0. True when it is the longest of its epoch so far.
    #[inline(always)]
    pub fn add(self, index: u32, ns: u64, weight: u32, epoch: u32) -> bool {
        add_atomic32(self.bucket(index), weight);
        // SAFETY: `sums` is in a map value.
        add_atomic(unsafe { &raw mut (*self.sums).total_ns }, ns * u64::from(weight));
        self.raise_max(ns, epoch)
    }

    /// The same where nobody else writes.
    #[inline(always)]
    pub fn add_alone(self, index: u32, ns: u64, weight: u32, epoch: u32) {
        // SAFETY: both are in map values.
        unsafe {
            *self.bucket(index) += weight;
            (*self.sums).total_ns += ns * u64::from(weight);
        }
        self.raise_max(ns, epoch);
    }

    #[inline(always)]
    fn bucket(self, index: u32) -> *mut u32 {
        // SAFETY: `buckets` is a map value; the index is masked to its length.
        unsafe { self.buckets.cast::<u32>().add(index as usize & (SCALE3_LEN - 1)) }
    }

    #[inline(always)]
    fn raise_max(self, ns: u64, epoch: u32) -> bool {
        let packed = pack_max(epoch & 0xffff, ns);
        // SAFETY: `sums` is in a map value; the slot is masked to its array.
        unsafe {
            let slot = (&raw mut (*self.sums).max).cast::<u64>().add((epoch & 1) as usize);
            let held = slot.read_volatile();
            // Of another epoch or smaller. (Epochs wrap at 16 bits: compare them for being equal, not for their order.)
            let raised = held >> 48 != packed >> 48 || held < packed;
            if raised {
                slot.write_volatile(packed);
            }
            raised
        }
    }
}

/// The record for `key`, whose slot may be in `cache` (where it is put if it was not). `None`, and counted as lost, when
/// there is no room for another record.
#[inline(always)]
pub fn record(cache: &mut u32, key: RecordKey, what: u32) -> Option<Place> {
    let mut slot = slot_in(*cache, what);
    if slot >= MAX_SLOTS {
        slot = find_or_make(key.0);
        if slot != NONE {
            *cache = pack_slot(what, slot);
        }
    }
    Place::in_slot(slot)
}

/// No slot: above all numbers of slots.
const NONE: u32 = u32::MAX;

/// The slot of the record for a key, made if there is none yet.
#[inline(never)]
fn find_or_make(key: u64) -> u32 {
    let key = RecordKey(key);
    if let Some(slot) = INDEX.get_ptr(&key) {
        // SAFETY: a map value that never changes.
        return unsafe { *slot };
    }
    let Ok(Some(slot)) = FREE.pop() else {
        lose(lost::RECORDS);
        return NONE;
    };
    if INDEX.insert(&key, &slot, u64::from(BPF_NOEXIST)).is_ok() {
        if let Some(head) = HEADS.get_ptr_mut(slot) {
            // SAFETY: a map value. User space takes no notice of a slot before this is written.
            unsafe { (&raw mut (*head).key).write_volatile(key) };
        }
        return slot;
    }
    // Another CPU was quicker: its slot is the record's, and this one goes back.
    let _ = FREE.push(&slot, 0);
    let Some(made) = INDEX.get_ptr(&key) else {
        lose(lost::RECORDS);
        return NONE;
    };
    // SAFETY: as above.
    unsafe { *made }
}
