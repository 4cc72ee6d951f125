//! Blame: whose time it was that a thread waited for a CPU. On demand, since it costs at each switch.
//!
//! A switch begins a stretch of its CPU and, of a thread that could go on, a wait; a wake-up begins a wait on the CPU that
//! the thread was put on. The switch to a thread ends its wait, and divides it by what the CPU did meanwhile
//! (`kscope_layout::blame`). Moved to another CPU while it waits, a thread has two waits, one after the other.
//!
//! Invariant: the parts of a wait add up to it. What is not known is a part, too.

mod cpu;
mod divide;
mod waiter;

use core::ffi::c_void;

use aya_ebpf::bindings::{BPF_ANY, BPF_F_MMAPABLE};
use aya_ebpf::helpers::generated::bpf_for_each_map_elem;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::blame::{Cpu, FLUSH_EVERY, Pair, PairKey, Stretch, Wait, inside};
use kscope_layout::{ABSENT, RecordKey, lost};

use crate::globals::{self, get};
use crate::maps::lose;
use crate::task::Task;
use crate::thread;
use cpu::{at, close_interrupt, enter_interrupt, interrupts_of, leave_interrupt, settle, turn};
use divide::{Ending, NONE, Sums, divide};
use waiter::{Accounts, Waiter, accounts_of};

/// What was waited, by victim, cause and offender.
#[map]
pub static BLAME_PAIRS: HashMap<PairKey, Pair> = HashMap::with_max_entries(1, 0);

/// Waits that have not ended, by thread.
#[map]
pub static BLAME_WAITS: HashMap<u32, Wait> = HashMap::with_max_entries(1, 0);

/// What each CPU did last.
#[map]
pub static BLAME_CPUS: Array<Cpu> = Array::with_max_entries(1, 0);

/// Since when all programs of blame have been attached, `CLOCK_MONOTONIC`. Whatever is older is from another time.
#[map]
pub static BLAME_SINCE: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[inline(always)]
fn opened_ns() -> u64 {
    // SAFETY: a map value; user space changes it, hence volatile.
    BLAME_SINCE.get_ptr(0).map_or(u64::MAX, |at| unsafe { at.read_volatile() })
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// `sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next[, unsigned int prev_state])`
#[btf_tracepoint(function = "sched_switch")]
pub fn blame_switch(ctx: BtfTracePointContext) -> i32 {
    let (now, opened) = (now_ns(), opened_ns());
    // SAFETY: no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(row) = BLAME_CPUS.get_ptr_mut(cpu).filter(|_| now >= opened) else { return 0 };
    let (prev, next) = (Waiter::new(ctx.arg(1)), Waiter::new(ctx.arg(2)));
    // SAFETY: a map value that only this CPU writes, and a switch is not interrupted.
    let row = unsafe { &mut *row };
    // None is open at a switch, unless its end was not seen.
    close_interrupt(row, now, opened);
    let accounts = next.accounts();
    if !settle(row, prev.owner(), opened, accounts.stolen_ns) && prev.tid != 0 {
        let number = row.begun.wrapping_sub(1);
        end_unseen(prev, cpu, (now, opened), at(row, number));
    }
    turn(row, [prev.owner(), next.owner()], now, accounts.stolen_ns);
    let prev_state = if get(&globals::SWITCH_ARGS) > 3 { ctx.arg::<u32>(3) } else { prev.task.state() };
    let may_go_on = ctx.arg::<u8>(0) != 0 || prev_state == 0;
    if may_go_on && prev.tid != 0 && thread::is_measured(prev.task) {
        begin(prev, cpu, now, row.interrupts_ns, prev.accounts());
    }
    if next.tid != 0 && thread::is_measured(next.task) {
        end(next, cpu, (now, opened), Sums::of(accounts, row.interrupts_ns));
    }
    0
}

/// Charges all waits in the queue of this CPU up to now, each time before the ring forgets what they waited for. Nobody else
/// changes them meanwhile: whoever would must have the lock of the queue, which a switch has. A program of its own, since in
/// another the verifier would follow it from each path that leads to it.
#[btf_tracepoint(function = "sched_switch")]
pub fn blame_flush(ctx: BtfTracePointContext) -> i32 {
    let (now, opened) = (now_ns(), opened_ns());
    // SAFETY: no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(row) = BLAME_CPUS.get_ptr(cpu).filter(|_| now >= opened) else { return 0 };
    // SAFETY: a map value, and a switch is not interrupted.
    if unsafe { (*row).begun } % FLUSH_EVERY != 0 {
        return 0;
    }
    let leaving = Waiter::new(ctx.arg(1)).tid;
    let mut flush = Flush { leaving, cpu, now, opened, interrupts_ns: interrupts_of(cpu, now, opened) };
    let waits = (&raw const BLAME_WAITS).cast_mut().cast();
    // SAFETY: `flush_one` takes what it is given here.
    unsafe { bpf_for_each_map_elem(waits, flush_one as *mut c_void, (&raw mut flush).cast(), 0) };
    0
}

/// `sched_wakeup(struct task_struct *p)`
#[btf_tracepoint(function = "sched_wakeup")]
pub fn blame_wakeup(ctx: BtfTracePointContext) -> i32 {
    wake(Waiter::new(ctx.arg(0)));
    0
}

/// `sched_wakeup_new(struct task_struct *p)`
#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn blame_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    wake(Waiter::new(ctx.arg(0)));
    0
}

/// `sched_migrate_task(struct task_struct *p, int dest_cpu)`: before the thread has got its new CPU.
#[btf_tracepoint(function = "sched_migrate_task")]
pub fn blame_migrate(ctx: BtfTracePointContext) -> i32 {
    let (waiter, to, opened) = (Waiter::new(ctx.arg(0)), ctx.arg::<u32>(1), opened_ns());
    if waiter.tid == 0 {
        return 0;
    }
    let Some(wait) = BLAME_WAITS.get_ptr_mut(&waiter.tid) else { return 0 };
    // SAFETY: a map value; the thread waits, so it is written by whoever holds the lock of its queue, as this does.
    let wait = unsafe { &mut *wait };
    let now = now_ns();
    if !is_whole(wait, waiter.task, opened) {
        return 0;
    }
    let from = Sums::of(waiter.accounts(), interrupts_of(wait.cpu, now, opened));
    divide(wait, &Ending { now, opened, sums: from }, &waiter.cpus());
    wait.queue = waiter.queue_on(to);
    let accounts = accounts_of(wait.queue);
    wait.since_ns = now;
    wait.began_ns = now;
    wait.cpu = to;
    wait.interrupts_ns = interrupts_of(to, now, opened);
    wait.stolen_ns = accounts.stolen_ns;
    wait.throttled_ns = accounts.throttled_ns;
    0
}

/// `irq_handler_entry(int irq, struct irqaction *action)`
#[btf_tracepoint(function = "irq_handler_entry")]
pub fn blame_irq_entry(_: BtfTracePointContext) -> i32 {
    enter_interrupt(inside::HARD);
    0
}

/// `irq_handler_exit(int irq, struct irqaction *action, int ret)`
#[btf_tracepoint(function = "irq_handler_exit")]
pub fn blame_irq_exit(_: BtfTracePointContext) -> i32 {
    leave_interrupt(inside::HARD);
    0
}

/// `softirq_entry(unsigned int vec_nr)`
#[btf_tracepoint(function = "softirq_entry")]
pub fn blame_softirq_entry(_: BtfTracePointContext) -> i32 {
    enter_interrupt(inside::SOFT);
    0
}

/// `softirq_exit(unsigned int vec_nr)`
#[btf_tracepoint(function = "softirq_exit")]
pub fn blame_softirq_exit(_: BtfTracePointContext) -> i32 {
    leave_interrupt(inside::SOFT);
    0
}

/// A thread was put into the queue of a CPU.
#[inline(always)]
fn wake(waiter: Waiter) {
    let (now, opened) = (now_ns(), opened_ns());
    // Woken before it left the CPU: it never stopped.
    if now < opened || waiter.tid == 0 || waiter.task.on_cpu() || !thread::is_measured(waiter.task) {
        return;
    }
    if let Some(wait) = BLAME_WAITS.get_ptr(&waiter.tid) {
        // Woken twice: it has been waiting all the time.
        // SAFETY: a map value.
        if is_whole(unsafe { &*wait }, waiter.task, opened) {
            return;
        }
    }
    let cpu = waiter.cpu();
    begin(waiter, cpu, now, interrupts_of(cpu, now, opened), waiter.accounts());
}

/// Is this a wait that still goes on? Not if it is from another time, or the thread has been on a CPU since.
#[inline(always)]
fn is_whole(wait: &Wait, task: Task, opened: u64) -> bool {
    wait.since_ns >= opened && wait.exec_ns == task.exec_ns()
}

#[inline(always)]
fn begin(waiter: Waiter, cpu: u32, now: u64, interrupts_ns: u64, accounts: Accounts) {
    // Filled in where it is: the stack has no room for one. Nobody takes one that begins at 0 for a wait.
    let _ = BLAME_WAITS.insert(&waiter.tid, &NO_WAIT, u64::from(BPF_ANY));
    let Some(wait) = BLAME_WAITS.get_ptr_mut(&waiter.tid) else { return lose(lost::BLAME) };
    // SAFETY: a map value; the thread waits, so it is written by whoever holds the lock of its queue, as this does.
    let wait = unsafe { &mut *wait };
    wait.began_ns = now;
    wait.exec_ns = waiter.task.exec_ns();
    wait.interrupts_ns = interrupts_ns;
    wait.stolen_ns = accounts.stolen_ns;
    wait.throttled_ns = accounts.throttled_ns;
    wait.queue = waiter.queue();
    wait.victim = waiter.owner();
    wait.cpu = cpu;
    wait.throttled = waiter.throttled();
    thread::barrier();
    wait.since_ns = now;
}

/// What a new wait holds before it is filled in.
static NO_WAIT: Wait = Wait {
    since_ns: 0,
    began_ns: 0,
    exec_ns: 0,
    interrupts_ns: 0,
    stolen_ns: 0,
    throttled_ns: 0,
    queue: 0,
    victim: RecordKey(0),
    cpu: 0,
    throttled: 0,
};

#[inline(always)]
fn end(waiter: Waiter, cpu: u32, (now, opened): (u64, u64), sums: Sums) {
    let Some(wait) = BLAME_WAITS.get_ptr_mut(&waiter.tid) else { return };
    // SAFETY: a map value; nobody writes it while its thread is switched to.
    let wait = unsafe { &mut *wait };
    if is_whole(wait, waiter.task, opened) {
        if wait.cpu != cpu {
            // It was moved, and that was not seen: nobody knows when.
            wait.cpu = ABSENT;
        }
        divide(wait, &Ending { now, opened, sums }, &waiter.cpus());
    }
    let _ = BLAME_WAITS.remove(&waiter.tid);
}

/// The thread leaves a CPU and was not seen to get it: it waited for all of the time in which it did not run. What happened
/// in the stretch `last`, in which it got the CPU, nobody knows.
#[inline(always)]
fn end_unseen(waiter: Waiter, cpu: u32, (now, opened): (u64, u64), last: &Stretch) {
    let Some(wait) = BLAME_WAITS.get_ptr_mut(&waiter.tid) else { return };
    // SAFETY: a map value; nobody writes it while its thread is on a CPU.
    let wait = unsafe { &mut *wait };
    let ran = waiter.task.exec_ns().saturating_sub(wait.exec_ns);
    let end = now.saturating_sub(ran);
    if wait.since_ns >= opened && end > wait.since_ns {
        if wait.cpu != cpu {
            wait.cpu = ABSENT;
        }
        let sums = Sums {
            interrupts_ns: last.interrupts_ns,
            stolen_ns: last.stolen_ns,
            throttled_ns: waiter.accounts().throttled_ns,
        };
        divide(wait, &Ending { now: end, opened, sums }, &waiter.cpus());
    }
    let _ = BLAME_WAITS.remove(&waiter.tid);
}

/// What charging up to now needs to know.
struct Flush {
    /// The thread that leaves the CPU: it does not wait, though an end of its wait that was not seen may be yet to be noted.
    leaving: u32,
    cpu: u32,
    now: u64,
    opened: u64,
    interrupts_ns: u64,
}

/// Charges one wait, if it is one of this CPU's.
extern "C" fn flush_one(_: *mut c_void, tid: *const u32, wait: *mut Wait, flush: *mut Flush) -> i64 {
    // SAFETY: a map value with its key, and what was passed in.
    let (tid, wait, flush) = unsafe { (*tid, &mut *wait, &*flush) };
    if tid == flush.leaving || wait.cpu != flush.cpu || wait.since_ns < flush.opened || wait.since_ns >= flush.now {
        return 0;
    }
    let accounts = accounts_of(wait.queue);
    let sums = Sums::of(accounts, flush.interrupts_ns);
    divide(wait, &Ending { now: flush.now, opened: flush.opened, sums }, &NONE);
    wait.since_ns = flush.now;
    wait.interrupts_ns = flush.interrupts_ns;
    wait.stolen_ns = accounts.stolen_ns;
    wait.throttled_ns = accounts.throttled_ns;
    0
}
