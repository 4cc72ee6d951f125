//! The end of threads: the last name is kept, since nobody can ask a dead process for it. With its last thread a process ends
//! (`lives.rs`).

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::flags;

use crate::lives;
use crate::task::Task;
use crate::thread;

/// `sched_process_exit(struct task_struct *p[, bool group_dead])`: for every thread, in its own context, before its last
/// switch (which is what makes the entry final: see `runqueue.rs`).
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Task::new(ctx.arg(0));
    if let Some(entry) = thread::of(task, task.tid()) {
        entry.write(|t| {
            t.flags |= flags::EXITING;
            t.comm = task.comm();
        });
    }
    lives::end(&ctx, task);
    0
}
