//! The maps. Sizes here are placeholders: user space sets them for the host (`src/kernel/sizing.rs`).
//!
//! Arrays are mmapable, so that user space reads them without a system call; the hashes hold what is sparse.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, Stack};
use kscope_layout::cause::Beside;
use kscope_layout::disk::{Asked, DeviceRow, Started};
use kscope_layout::lives::events;
use kscope_layout::{Buckets, CALL_ROWS, Control, Head, RecordKey, Row, Thread, ThreadKey, lost};

use crate::latency::add_atomic;

/// Threads at `tid & SLOT_MASK`.
#[map]
pub static THREADS: Array<Thread> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Threads whose slot was taken.
#[map]
pub static THREADS_MORE: HashMap<ThreadKey, Beside> = HashMap::with_max_entries(1, 0);

/// Slots of the records, by process and what is measured.
#[map]
pub static INDEX: HashMap<RecordKey, u32> = HashMap::with_max_entries(1, 0);

/// Heads of the records, by slot.
#[map]
pub static HEADS: Array<Head> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Buckets of the records, by slot.
#[map]
pub static BUCKETS: Array<Buckets> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Slots that no record has: all zeros, and in no cache. User space fills it.
#[map]
pub static FREE: Stack<u32> = Stack::with_max_entries(1, 0);

/// Calls whose record could not be had: `CALL_ROWS` rows a shard.
#[map]
pub static CALLS: Array<Row> = Array::with_max_entries(CALL_ROWS, BPF_F_MMAPABLE);

/// Run-queue delays by CPU.
#[map]
pub static CPUS: Array<Row> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Requests of block devices in flight, by their address.
#[map]
pub static REQUESTS: HashMap<u64, Started> = HashMap::with_max_entries(1, 0);

/// Slots of the disks, by device number.
#[map]
pub static DEVICES: HashMap<u32, u32> = HashMap::with_max_entries(1, 0);

/// What disks did, by slot and direction.
#[map]
pub static DISKS: Array<DeviceRow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Slots that no disk has. User space fills it.
#[map]
pub static DISKS_FREE: Stack<u32> = Stack::with_max_entries(1, 0);

/// What processes had disks do.
#[map]
pub static DISK_PROCESSES: HashMap<RecordKey, Asked> = HashMap::with_max_entries(1, 0);

/// What user space says while the programs run.
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How many processes began, turned to a program, and ended, by `kscope_layout::lives::events`.
#[map]
pub static LIVES: Array<u64> = Array::with_max_entries(events::COUNT, BPF_F_MMAPABLE);

/// Counters of what was lost, by `kscope_layout::lost`.
#[map]
pub static LOST: Array<u64> = Array::with_max_entries(lost::COUNT, BPF_F_MMAPABLE);

/// Counts one loss.
#[inline(always)]
pub fn lose(what: u32) {
    if let Some(counter) = LOST.get_ptr_mut(what) {
        add_atomic(counter, 1);
    }
}

/// What user space says at the moment. A field is read when it is needed: all are volatile.
macro_rules! control {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])* #[inline(always)] pub fn $name() -> $type {
            // SAFETY: a field of a map value, which lives as long as the program; user space changes it, hence volatile.
            CONTROL.get_ptr(0).map_or(0, |c| unsafe { (&raw const (*c).$name).read_volatile() })
        })*
    };
}

control! {
    /// See `kscope_layout::Control`, as for the others.
    epoch: u32;
    calls_one_in: u32;
    waits_one_in: u32;
    transfers_one_in: u32;
    calls_since_ns: u64;
    states_since_ns: u64;
    states_until_ns: u64;
    transfers_since_ns: u64;
    entries_since_ns: u64;
}

/// For how many events this one stands when one in `one_in` (a power of two) is counted; `None`: it is not counted.
///
/// By chance, not in turn: what a program does often repeats with a period of its own.
#[inline(always)]
pub fn weight(one_in: u32) -> Option<u32> {
    if one_in <= 1 {
        return Some(1);
    }
    // SAFETY: no preconditions.
    (unsafe { bpf_get_prandom_u32() } & (one_in - 1) == 0).then_some(one_in)
}
