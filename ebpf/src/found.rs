//! Threads that were there before: an iterator over all tasks makes their entries, whenever the scheduler's programs were
//! attached. So a thread that never stirs is
//! known too, and everybody's identity comes from the kernel, to the nanosecond.
//!
//! It runs when the other programs are attached already. A thread that stirs in the very nanoseconds in which its entry is
//! made gets a second one in the hash; user space adds what that one holds (`probes/time/probe.rs`).
//!
//! Invariant: what an event has told of a thread is never overwritten.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use kscope_layout::{cause, flags, state};

use crate::cause::cause_of;
use crate::task::{Task, blocked_state, is_dead};
use crate::thread::{self, settle};

/// `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`; the last call has no task.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn found_task(ctx: *mut c_void) -> i32 {
    // SAFETY: the context of a task iterator holds two pointers.
    let task = unsafe { *ctx.cast::<*const u8>().add(1) };
    if task.is_null() {
        return 0;
    }
    let task = Task::new(task);
    let (word, tid) = (task.state(), task.tid());
    if tid == 0 || is_dead(word) {
        return 0;
    }
    if let Some(entry) = thread::of(task, tid) {
        // SAFETY: no preconditions.
        settle(entry, unsafe { bpf_ktime_get_ns() });
        if entry.get().state != state::UNKNOWN {
            return 0;
        }
        let waits_for = cause_of(task, entry.get(), word);
        entry.write(|t| {
            t.flags = cause::with(t.flags | flags::FOUND, waits_for);
            t.state = match (word, task.on_cpu()) {
                (_, true) => state::RUNNING,
                (0, false) => state::RUNNABLE,
                _ => blocked_state(word),
            };
        });
    }
    0
}
