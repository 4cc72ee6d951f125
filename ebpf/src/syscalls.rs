//! System calls: raw_syscalls' sys_enter and sys_exit.
//!
//! The number at exit cannot be trusted (`rt_sigreturn` shows -1), so it is kept from the entry. An exit without an entry
//! (a child leaving clone, a call in flight when the programs were attached) is no sample; but see `denied.rs`. What a signal
//! cuts short is in `interrupted.rs`.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::bucket::scale3;
use kscope_layout::exemplars::ONE_IN;
use kscope_layout::{CALL_ROWS, COMPAT_CALL, NO_CALL, OTHER_CALL, RecordKey, Thread, cache_cell, held, row_in, state};

use crate::denied;
use crate::errors;
use crate::exemplars::{self, How};
use crate::globals::{self, get};
use crate::interrupted;
use crate::latency::{Place, add_atomic, add_atomic32, record};
use crate::maps::{CALLS, calls_one_in, calls_since_ns, epoch, weight};
use crate::task::Task;
use crate::thread::{self, ran, settle};

/// `__X32_SYSCALL_BIT`: the number is of the x32 table.
const X32: u32 = 0x4000_0000;
/// No number of that table is so far above it.
const X32_CALLS: u32 = 1024;
/// -ERESTARTSYS … -ERESTART_RESTARTBLOCK of include/linux/errno.h: a signal came, and the kernel may make the call again.
pub const RESTART: core::ops::RangeInclusive<i64> = -516..=-512;
/// Results from here to -1 are errors (MAX_ERRNO).
const FIRST_ERROR: i64 = -4095;

/// `sys_enter(struct pt_regs *regs, long id)`
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    let Some(weight) = weight(calls_one_in()) else { return 0 };
    // The task is needed to tell compatibility calls, and knows its id: one helper instead of two.
    let task = Task::current();
    let Some(entry) = thread::of(task, task.current_tid()) else { return 0 };
    let row = row_of(task, ctx.arg::<u64>(1));
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    settle(entry, now);
    // In a call already: a signal cut that one short, or its return was not seen.
    if entry.get().call != NO_CALL && interrupted::goes_on(entry, row, now) {
        return 0;
    }
    entry.write(|t| {
        runs(t);
        ran(t, now);
        t.call = row;
        t.call_since_ns = now;
        t.call_weight = weight;
        t.call_blocked_ns = t.blocked_ns;
        t.call_runnable_ns = t.runnable_ns;
    });
    0
}

/// `sys_exit(struct pt_regs *regs, long ret)`
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let Some(entry) = thread::current() else { return 0 };
    let t = entry.get();
    let mut row = t.call;
    if row >= CALL_ROWS {
        if row == NO_CALL {
            denied::left(ctx.arg(0), ctx.arg(1), entry);
            return 0;
        }
        // Cut short, and gone on with by an entry that was not counted.
        row = row_in(row);
    }
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    settle(entry, now);
    let result = if row == get(&globals::SIGRETURN_CALL) { 0 } else { ctx.arg::<i64>(1) };
    let is_cut_short = RESTART.contains(&result);
    entry.write(|t| {
        runs(t);
        ran(t, now);
        t.call = if is_cut_short { held(row, result) } else { NO_CALL };
    });
    if is_cut_short {
        return 0;
    }
    // One that was entered before may be another call: the return of that one was perhaps not seen.
    if t.call_since_ns >= calls_since_ns() && !globals::is_own(t.tgid) {
        record_call(|| Some(ctx.arg(0)), t, row, now, result);
    }
    0
}

/// It makes a call, so it is on a CPU. But one whose switch to the CPU was not seen keeps its state until it is switched
/// away, which then finds out how long it really ran (`runqueue.rs`).
#[inline(always)]
pub fn runs(t: &mut Thread) {
    if t.state == state::UNKNOWN {
        t.state = state::RUNNING;
    }
}

/// The row of the system-call table for a number.
#[inline(always)]
pub fn row_of(task: Task, nr: u64) -> u32 {
    // A number is an int; some of those that are none, such as -1, have the bit as well.
    if (nr as u32).wrapping_sub(X32) < X32_CALLS || task.in_compat_call() {
        COMPAT_CALL
    } else if (nr as u32) < COMPAT_CALL {
        nr as u32
    } else {
        OTHER_CALL
    }
}

/// Where the calls in a row are recorded. Only the record of the process is written: user space adds up what all records hold.
/// One without a record is counted in a row of the host, so that the host's calls stay exact.
#[inline(always)]
pub fn place_of(t: &mut Thread, row: u32) -> Option<Place> {
    let key = RecordKey::new(t.tgid, t.process_start_ns, row);
    let place = record(&mut t.records[cache_cell(row)], key, row);
    place.or_else(|| CALLS.get_ptr_mut(row_of_host(row)).map(Place::in_row))
}

/// Counts what a call returned if that is an error.
#[inline(always)]
pub fn count_error(to: Place, t: &Thread, row: u32, result: i64, weight: u32) {
    if result < 0 && result >= FIRST_ERROR {
        // SAFETY: `sums` is in a map value.
        add_atomic32(unsafe { &raw mut (*to.sums).errors }, weight);
        let key = RecordKey::new(t.tgid, t.process_start_ns, row);
        errors::count(key.0, result.unsigned_abs() as u32, weight);
    }
}

/// Records a call that returned; `regs` finds the registers that it was entered with.
#[inline(always)]
pub fn record_call(regs: impl FnOnce() -> Option<*const u8>, t: &mut Thread, row: u32, now: u64, result: i64) {
    let Some(to) = place_of(t, row) else { return };
    let weight = t.call_weight;
    count_error(to, t, row, result, weight);
    // SAFETY: `sums` is in a map value. Most calls do not leave the CPU: those additions are worth their branch.
    unsafe {
        let (blocked_ns, runnable_ns) = (t.blocked_ns - t.call_blocked_ns, t.runnable_ns - t.call_runnable_ns);
        if blocked_ns != 0 {
            add_atomic(&raw mut (*to.sums).blocked_ns, blocked_ns * u64::from(weight));
        }
        if runnable_ns != 0 {
            add_atomic(&raw mut (*to.sums).runnable_ns, runnable_ns * u64::from(weight));
        }
    }
    t.calls += u64::from(weight);
    // Between the clocks of two CPUs it can be nothing.
    let ns = if now > t.call_since_ns { now - t.call_since_ns } else { 1 };
    let bucket = scale3(ns);
    let slowest = to.add(bucket, ns, weight, epoch());
    // The low bits of the clock are chance enough, and cost nothing.
    if (slowest || now & (ONE_IN - 1) == 0)
        && let Some(regs) = regs()
    {
        exemplars::keep(regs, result, t, now, How::new(row, bucket, slowest).0);
    }
}

/// The place of a row in the table of calls without a record.
#[inline(never)]
fn row_of_host(row: u32) -> u32 {
    // SAFETY: no preconditions.
    let shard = unsafe { bpf_get_smp_processor_id() } & get(&globals::SHARD_MASK);
    shard * CALL_ROWS + row
}
