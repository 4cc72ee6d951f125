//! Calls that the kernel does not carry out: seccomp denies them or asks somebody else, or a tracer skips them.
//!
//! The entry code of the kernel asks seccomp before it comes to `sys_enter`, and skips that where the answer is no; `sys_exit`
//! fires all the same, and the registers still have the number. When the call began is not known: it has no latency.
//!
//! Not here: calls that a filter kills, which return nowhere, and those of system-call user dispatch, for which the kernel has
//! neither event.
//!
//! Invariant: an exit without an entry counts only if the thread was seen outside of any call before, since when each entry is
//! seen. A child that leaves clone, and a call in flight when the programs were attached, were not.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kscope_layout::ABSENT;

use crate::globals::{self, get};
use crate::latency::add_atomic32;
use crate::maps::entries_since_ns;
use crate::syscalls::{RESTART, count_error, place_of, row_of};
use crate::task::Task;
use crate::thread::Entry;

/// In `sys_exit` of a thread that entered no call, as far as was seen. Out of line: it is rare.
#[inline(never)]
pub fn left(regs: *const u8, result: i64, entry: Entry) {
    let t = entry.get();
    let was_outside = t.call_since_ns != 0 && t.call_since_ns >= entries_since_ns();
    // Now it is outside.
    // SAFETY: no preconditions.
    t.call_since_ns = unsafe { bpf_ktime_get_ns() };
    // A supervisor was asked and a signal came first: the kernel makes the call again, or the program gets EINTR.
    if !was_outside || get(&globals::REGS_CALL) == ABSENT || globals::is_own(t.tgid) || RESTART.contains(&result) {
        return;
    }
    // SAFETY: the verifier knows `regs` to be a `struct pt_regs`, and checks the offsets.
    let (nr, is_trapped) = unsafe {
        let nr = regs.add(get(&globals::REGS_CALL) as usize).cast::<u32>().read();
        // A filter that traps puts the registers back: on ARM the first argument is where the result would be. Not an
        // `Option` for later: the verifier of 5.10 refuses a stack slot that is written on one path alone.
        let is_trapped = get(&globals::REGS_ORIG_X0) != ABSENT
            && regs.add(get(&globals::REGS_ORIG_X0) as usize).cast::<i64>().read() == result;
        (nr, is_trapped)
    };
    let row = row_of(Task::current(), nr.into());
    let Some(to) = place_of(t, row) else { return };
    // SAFETY: `sums` is in a map value.
    add_atomic32(unsafe { &raw mut (*to.sums).denied }, 1);
    if !is_trapped {
        count_error(to, t, row, result, 1);
    }
    t.calls += 1;
}
