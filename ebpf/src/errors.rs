//! Errors by process, call and number. Reached only by calls that failed.
//!
//! Invariant: an error is in one counter, or in `LOST`.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use kscope_layout::errors::ErrorKey;
use kscope_layout::{RecordKey, lost};

use crate::latency::add_atomic;
use crate::maps::lose;

/// How many errors there were. User space removes the counters of processes that are gone.
#[map]
pub static ERRORS: HashMap<ErrorKey, u64> = HashMap::with_max_entries(1, 0);

/// Counts an error that stands for `weight` of them. Out of line: most calls succeed.
#[inline(never)]
pub fn count(call: u64, errno: u32, weight: u32) {
    let key = ErrorKey { call: RecordKey(call), errno, pad: 0 };
    let counter = ERRORS.get_ptr_mut(&key).or_else(|| {
        // Of two CPUs that make it at once one is told so, and both find it.
        let _ = ERRORS.insert(&key, &0, u64::from(BPF_NOEXIST));
        ERRORS.get_ptr_mut(&key)
    });
    match counter {
        Some(counter) => add_atomic(counter, u64::from(weight)),
        None => lose(lost::ERRORS),
    }
}
