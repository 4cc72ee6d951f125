//! The run queue: who waits for a CPU, how long, and what every thread does with its time.
//!
//! A wait begins with a wake-up, or when a thread that could go on is switched away; it ends when it is switched to, and
//! is charged to the CPU that does. Pid 0 is skipped: every CPU's idle task shares it.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::bucket::scale3;
use kscope_layout::{DEAD, NO_CALL, RUN_QUEUE, RecordKey, Thread, cause, flags, state, with_missed_run};

use crate::cause::{blocked, cause_of, look_again};
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
        switch_to(next, entry, now);
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
        surplus = set_apart_surplus(t, exec_ns);
        match was {
            // It was being switched to by a program that saw nothing of it: some sandboxes run no programs in the context of
            // their own processes. What is left over is the wait, or the sleep, that went before.
            state::RUNNABLE => {
                t.runnable_ns += surplus;
                t.waits += 1;
            }
            state::SLEEPING | state::DISK_SLEEP => {
                t.flags = with_missed_run(t.flags);
                blocked(t, surplus);
            }
            // The scheduler ends its account when it begins to choose the next thread: from then on the thread is what it is
            // about to be.
            _ if surplus <= CHOOSES_NS => t.since_ns = now - surplus,
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

/// What exceeds the scheduler's account of a stay on a CPU by no more than this is the time in which it chose the next thread
/// (another CPU's queue may be searched for it): some microseconds.
const CHOOSES_NS: u64 = 20_000;

/// Takes from user and kernel time what exceeds the scheduler's own account of the time on CPUs since the last switch that
/// was seen, and returns it: the thread was not running then, though no program said so.
#[inline(always)]
fn set_apart_surplus(t: &mut Thread, exec_ns: u64) -> u64 {
    let (user, kernel) = (t.user_ns - t.user_then_ns, t.kernel_ns - t.kernel_then_ns);
    let (here, ran) = (user + kernel, exec_ns.saturating_sub(t.exec_ns));
    let mut surplus = 0;
    if here > ran {
        surplus = here - ran;
        // The scheduler works in the kernel; what a hypervisor takes is mostly of the larger part.
        if kernel > user || surplus <= CHOOSES_NS && kernel >= surplus {
            surplus = if surplus < kernel { surplus } else { kernel };
            t.kernel_ns -= surplus;
        } else {
            surplus = if surplus < user { surplus } else { user };
            t.user_ns -= surplus;
        }
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
fn switch_to(next: Task, entry: Entry, now: u64) {
    settle(entry, now);
    let t = entry.get();
    let was = t.state;
    let exec_ns = next.exec_ns();
    // SAFETY: no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    // The scheduler's account of a thread stands still while it is off its CPU. So one that has grown, or a thread that seems
    // to be on a CPU already, tells of a run whose end was not seen.
    let is_missed = was == state::RUNNING || exec_ns != t.exec_ns;
    let mut ns = 0;
    entry.write(|t| {
        match was {
            // Not seen before: nobody knows what it did.
            state::UNKNOWN => {
                elapsed(t, now);
                mark(t, exec_ns);
            }
            _ if is_missed => account_missed_run(t, now, exec_ns),
            state::RUNNABLE => {
                ns = elapsed(t, now);
                t.runnable_ns += ns;
                t.waits += 1;
            }
            // Its wake-up was not seen, so its wait is not known: it is in the time it slept.
            _ => {
                t.flags = with_missed_run(t.flags);
                let ns = elapsed(t, now);
                blocked(t, ns);
            }
        }
        t.state = state::RUNNING;
        t.cpu = cpu;
    });
    if was == state::RUNNABLE && !is_missed {
        record_wait(t, cpu, ns);
    }
}

/// Accounts the time up to `now` of a thread that was on a CPU meanwhile, though no program saw it come or go (some sandboxes
/// run no programs in the context of their own processes): on a CPU for as long as the scheduler says, blocked otherwise,
/// since how long it waited for a CPU is not known.
#[inline(never)]
fn account_missed_run(t: &mut Thread, now: u64, exec_ns: u64) {
    let ns = elapsed(t, now);
    let seen = (t.user_ns - t.user_then_ns) + (t.kernel_ns - t.kernel_then_ns);
    let ran = exec_ns.saturating_sub(t.exec_ns).saturating_sub(seen);
    let ran = if ran < ns { ran } else { ns };
    if t.call != NO_CALL || t.flags & flags::KTHREAD != 0 {
        t.kernel_ns += ran;
    } else {
        t.user_ns += ran;
    }
    t.flags = cause::with(with_missed_run(t.flags), cause::OTHER);
    blocked(t, ns - ran);
    mark(t, exec_ns);
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
        wake(task, entry);
    }
    0
}

#[inline(always)]
fn wake(task: Task, entry: Entry) {
    if entry.get().since_ns < states_since_ns() {
        // SAFETY: no preconditions.
        settle(entry, unsafe { bpf_ktime_get_ns() });
    }
    let t = entry.get();
    let exec_ns = task.exec_ns();
    let is_missed = match t.state {
        // Woken before it left its CPU: it never stopped. But a thread that is not on a CPU has left it unseen.
        state::RUNNING if task.on_cpu() => return,
        state::RUNNING => true,
        state::UNKNOWN => false,
        _ => exec_ns != t.exec_ns && !task.on_cpu(),
    };
    // Woken twice, or before it left the CPU to which nobody saw it come: it is waiting for a CPU already, or will be found
    // out when it is switched away.
    if t.state == state::RUNNABLE && !is_missed {
        return;
    }
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if t.file != 0 && now - t.since_ns >= cause::LOOK_AGAIN_NS {
        if t.flags & flags::REMEMBERED != 0 {
            look_again(task, t);
        }
        // Where waits are long a look-up is cheap, and the descriptor may have become another file by the next wait.
        t.file = 0;
    }
    entry.write(|t| {
        if is_missed {
            account_missed_run(t, now, exec_ns);
        } else {
            let ns = elapsed(t, now);
            if t.state != state::UNKNOWN {
                blocked(t, ns);
            } else {
                mark(t, exec_ns);
            }
        }
        t.state = state::RUNNABLE;
    });
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
            t.parent_birth = RecordKey::birth_of(parent.process_start_ns());
            t.state = state::RUNNABLE;
        });
    }
    0
}
