//! Lives of processes: forks and execs are counted, and each end is an entry in a ledger, which user space empties.
//!
//! The table of threads has what a process did, but not how it ended, whose child it was, and how long it lived. Here the
//! whole process counts: the ledger is written by the last of its threads that exits.
//!
//! Invariant: an end is in the ledger or in `lost::DEAD`. Two threads may both take themselves for the last where the
//! kernel does not say who is: they write one entry, since its key is the process.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::lives::{Death, ended, events};
use kscope_layout::{RecordKey, lost};

use crate::globals::{self, get};
use crate::latency::add_atomic;
use crate::maps::{LIVES, lose};
use crate::takeover::take_over;
use crate::task::Task;
use crate::thread;

/// Processes that ended, until they are read.
#[map]
pub static DEATHS: HashMap<RecordKey, Death> = HashMap::with_max_entries(1, 0);

/// `-EEXIST`
const EXISTS: i32 = -17;

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`: for threads as well.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let (parent, child) = (Task::new(ctx.arg(0)), Task::new(ctx.arg(1)));
    if child.tid() == child.tgid() && thread::is_measured(parent) {
        happened(events::FORKS);
    }
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: when nothing can fail any more.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let (task, old) = (Task::new(ctx.arg(0)), ctx.arg::<u32>(1));
    if thread::is_measured(task) {
        happened(events::EXECS);
        if old != task.tid() {
            take_over(task, old);
        }
    }
    0
}

#[inline(always)]
fn happened(what: u32) {
    if let Some(counter) = LIVES.get_ptr_mut(what) {
        add_atomic(counter, 1);
    }
}

/// In `sched_process_exit` of a thread: if it is the last of its process, that has ended.
#[inline(always)]
pub fn end(ctx: &BtfTracePointContext, task: Task) {
    // Newer kernels say whether it is the last one. In others the number of those left does, which is counted down before the
    // tracepoint.
    let is_last = if get(&globals::EXIT_ARGS) > 1 { ctx.arg::<u8>(1) != 0 } else { task.live_threads() == 0 };
    if is_last && thread::is_measured(task) {
        enter(task);
    }
}

#[inline(always)]
fn enter(task: Task) {
    // The process's name and flags are those of its main thread: a worker has others.
    let (main, parent) = (task.group_leader(), task.parent());
    let death = Death {
        start_ns: main.start_ns(),
        // SAFETY: no preconditions.
        end_ns: unsafe { bpf_ktime_get_boot_ns() },
        parent_start_ns: parent.process_start_ns(),
        tgid: task.tgid(),
        parent_tgid: parent.tgid(),
        wait_status: task.wait_status(),
        flags: if main.is_mere_fork() { 0 } else { ended::RAN_PROGRAM },
        comm: main.comm(),
        parent_comm: parent.group_leader().comm(),
    };
    let key = RecordKey::new(death.tgid, death.start_ns, 0);
    match DEATHS.insert(&key, &death, u64::from(BPF_NOEXIST)) {
        Ok(()) => happened(events::ENDS),
        Err(EXISTS) => {}
        Err(_) => {
            happened(events::ENDS);
            lose(lost::DEAD);
        }
    }
}
