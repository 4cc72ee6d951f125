//! The run queue: who waits for a CPU, how long, and what every thread does with its time.
//!
//! A wait begins with a wake-up, or when a thread that could go on is switched away; it ends when it is switched to, and
//! is charged to the CPU that does. Pid 0 is skipped: every CPU's idle task shares it.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::bucket::scale3;
use kscope_layout::{DEAD, RUN_QUEUE, RecordKey, Thread, cause, state};

use crate::cause::{blocked, cause_of};
use crate::globals::{self, get};
use crate::latency::{Place, record};
use crate::maps::{CPUS, epoch, states_since_ns, waits_one_in, weight};
use crate::task::{Task, blocked_state, is_dead};
use crate::thread::{self, Entry, elapsed, ran, settle};

/// `sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next[, unsigned int prev_state])`
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let (prev, next) = (Task::new(ctx.arg(1)), Task::new(ctx.arg(2)));
    if !thread::is_measured(prev) && !thread::is_measured(next) {
        return 0;
    }
    // Since 5.18 the state is an argument, because the field may already have been changed by a wake-up.
    let prev_state = if get(&globals::SWITCH_ARGS) > 3 { ctx.arg::<u32>(3) } else { prev.state() };
    let may_go_on = ctx.arg::<u8>(0) != 0 || prev_state == 0;
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let tid = prev.tid();
    if tid != 0
        && let Some(entry) = thread::of(prev, tid)
    {
        switch_away(prev, entry, now, may_go_on, prev_state);
    }
    let tid = next.tid();
    if tid != 0
        && let Some(entry) = thread::of(next, tid)
    {
        switch_to(entry, now, next.exec_ns());
    }
    0
}

#[inline(always)]
fn switch_away(prev: Task, entry: Entry, now: u64, may_go_on: bool, prev_state: u32) {
    settle(entry, now);
    let exec_ns = prev.exec_ns();
    let waits_for = if may_go_on { cause::OTHER } else { cause_of(prev, entry.get(), prev_state) };
    let was = entry.get().state;
    let mut surplus = 0;
    entry.write(|t| {
        ran(t, now);
        surplus = set_apart_surplus(t, exec_ns, if was == state::RUNNING { SAME_NS } else { 0 });
        match was {
            // It was being switched to by a program that saw nothing of it: some sandboxes run no programs in the context of
            // their own processes. What is left over is the wait, or the sleep, that went before.
            state::RUNNABLE => {
                t.runnable_ns += surplus;
                t.waits += 1;
            }
            state::SLEEPING | state::DISK_SLEEP => blocked(t, surplus),
            // A hypervisor ran something else on its CPU: it was ready and did not run.
            _ => {
                t.runnable_ns += surplus;
                t.stolen_ns += surplus;
            }
        }
        if may_go_on {
            t.state = state::RUNNABLE;
            t.preempted += 1;
        } else {
            t.state = blocked_state(prev_state);
            t.flags = cause::with(t.flags, waits_for);
            t.voluntary += 1;
        }
    });
    let t = entry.get();
    if was == state::RUNNABLE && surplus != 0 {
        // SAFETY: no preconditions.
        record_wait(t, unsafe { bpf_get_smp_processor_id() }, surplus);
    }
    if !may_go_on && is_dead(prev_state) {
        // Final. From here on the entry is user space's, which counts it once and frees it.
        t.tid |= DEAD;
    }
}

/// Of a stay on a CPU that was seen from its beginning, differences up to this are none: the scheduler reads its clock some
/// microseconds before these programs read theirs.
const SAME_NS: u64 = 20_000;

/// Takes from user and kernel time what exceeds the scheduler's own account of the time on CPUs since the last switch that
/// was seen, and returns it: the thread was not running then, though no program said so.
#[inline(always)]
fn set_apart_surplus(t: &mut Thread, exec_ns: u64, same_ns: u64) -> u64 {
    let (user, kernel) = (t.user_ns - t.user_then_ns, t.kernel_ns - t.kernel_then_ns);
    let (here, ran) = (user + kernel, exec_ns.saturating_sub(t.exec_ns));
    let mut surplus = 0;
    if here > ran + same_ns {
        let larger = if user >= kernel { &mut t.user_ns } else { &mut t.kernel_ns };
        surplus = (here - ran).min(user.max(kernel));
        *larger -= surplus;
    }
    mark(t, exec_ns);
    surplus
}

/// Remembers where the accounts stand, to compare them at the next switch.
#[inline(always)]
fn mark(t: &mut Thread, exec_ns: u64) {
    (t.exec_ns, t.user_then_ns, t.kernel_then_ns) = (exec_ns, t.user_ns, t.kernel_ns);
}

#[inline(always)]
fn switch_to(entry: Entry, now: u64, exec_ns: u64) {
    settle(entry, now);
    let t = entry.get();
    let was = t.state;
    // SAFETY: no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let mut ns = 0;
    entry.write(|t| {
        ns = elapsed(t, now);
        match was {
            state::RUNNABLE => {
                t.runnable_ns += ns;
                t.waits += 1;
            }
            state::SLEEPING | state::DISK_SLEEP => blocked(t, ns),
            // Not seen before, or the switch away was not seen: nobody knows what it did.
            _ => {}
        }
        t.state = state::RUNNING;
        t.cpu = cpu;
        mark(t, exec_ns);
    });
    if was == state::RUNNABLE {
        record_wait(t, cpu, ns);
    }
}

/// Out of line: one copy of it serves both ends of a switch.
#[inline(never)]
fn record_wait(t: &mut Thread, cpu: u32, ns: u64) {
    let Some(weight) = weight(waits_one_in()) else { return };
    // Between the clocks of two CPUs it can be 0.
    let ns = if ns == 0 { 1 } else { ns };
    let (index, epoch) = (scale3(ns), epoch());
    if let Some(row) = CPUS.get_ptr_mut(cpu) {
        // In `sched_switch` interrupts are off, and nobody but this CPU writes its row.
        Place::in_row(row).add_alone(index, ns, weight, epoch);
    }
    let key = RecordKey::new(t.tgid, t.process_start_ns, RUN_QUEUE);
    if let Some(place) = record(&mut t.queue_record, key, RUN_QUEUE) {
        place.add(index, ns, weight, epoch);
    }
}

/// `sched_wakeup(struct task_struct *p)`
#[btf_tracepoint(function = "sched_wakeup")]
pub fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    let task = Task::new(ctx.arg(0));
    let tid = task.tid();
    if tid != 0
        && let Some(entry) = thread::of(task, tid)
    {
        wake(entry);
    }
    0
}

#[inline(always)]
fn wake(entry: Entry) {
    if entry.get().since_ns < states_since_ns() {
        // SAFETY: no preconditions.
        settle(entry, unsafe { bpf_ktime_get_ns() });
    }
    match entry.get().state {
        // Woken before it left the CPU, or twice: it never stopped, or is waiting for a CPU already.
        state::RUNNING | state::RUNNABLE => {}
        _ => {
            // SAFETY: no preconditions.
            let now = unsafe { bpf_ktime_get_ns() };
            entry.write(|t| {
                let ns = elapsed(t, now);
                if t.state != state::UNKNOWN {
                    blocked(t, ns);
                }
                t.state = state::RUNNABLE;
            });
        }
    }
}

/// `sched_wakeup_new(struct task_struct *p)`: the first wake-up of a new thread, in the context of the one that made it.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    let task = Task::new(ctx.arg(0));
    let tid = task.tid();
    thread::end_namesake(tid, task.start_ns());
    if let Some(entry) = thread::of(task, tid) {
        let parent = Task::current();
        entry.write(|t| {
            t.parent_tgid = parent.tgid();
            t.parent_start_ns = parent.process_start_ns();
            t.state = state::RUNNABLE;
        });
    }
    0
}
