//! A thread that is not the first of its process calls `execve`: the kernel ends all others, and gives it the id and the start of
//! the first one. Its entry under its old id never sees a last switch, and would seem to run for ever.
//!
//! Invariant: the old entry is final from then on, so whoever gets the old id next does not go on with its numbers; the call
//! that goes on, `execve`, is counted where it ends.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kscope_layout::{DEAD, NO_CALL, state};

use crate::task::Task;
use crate::thread::{self, ran};

/// In `sched_process_exec`: `task`, which is current, had the id `old` when it called. Out of line: it is rare.
#[inline(never)]
pub fn take_over(task: Task, old: u32) {
    let Some(before) = thread::in_slot(old) else { return };
    let was = before.get();
    if was.tgid != task.tgid() {
        return;
    }
    let (call, call_since_ns, call_weight) = (was.call, was.call_since_ns, was.call_weight);
    let (blocked_ns, runnable_ns) = (was.blocked_ns - was.call_blocked_ns, was.runnable_ns - was.call_runnable_ns);
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let after = thread::of(task, task.tid());
    // One that has been seen under the new id already has its time since then in the new entry.
    let is_new = after.is_none_or(|entry| entry.get().state == state::UNKNOWN);
    before.write(|t| {
        if is_new && t.state == state::RUNNING {
            ran(t, now);
        }
        t.call = NO_CALL;
        t.tid = old | DEAD;
    });
    let Some(after) = after else { return };
    after.write(|t| {
        if is_new {
            t.state = state::RUNNING;
            t.since_ns = now;
        }
        t.call = call;
        t.call_since_ns = call_since_ns;
        t.call_weight = call_weight;
        t.call_blocked_ns = t.blocked_ns.wrapping_sub(blocked_ns);
        t.call_runnable_ns = t.runnable_ns.wrapping_sub(runnable_ns);
    });
}
