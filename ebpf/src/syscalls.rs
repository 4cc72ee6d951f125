//! System calls: raw_syscalls' sys_enter and sys_exit.
//!
//! The number at exit cannot be trusted (`rt_sigreturn` shows -1), so it is kept from the entry. An exit without an entry
//! (a child leaving clone, a call in flight when the programs were attached) is no sample.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::bucket::scale3;
use kscope_layout::exemplars::ONE_IN;
use kscope_layout::{CALL_ROWS, COMPAT_CALL, NO_CALL, OTHER_CALL, RecordKey, Thread, cache_cell, state};

use crate::errors;
use crate::exemplars::{self, How};
use crate::globals::{self, get};
use crate::latency::{Place, add_atomic, add_atomic32, record};
use crate::maps::{CALLS, calls_one_in, calls_since_ns, epoch, weight};
use crate::task::Task;
use crate::thread::{self, ran, settle};

/// `__X32_SYSCALL_BIT`: the number is of the x32 table.
const X32: u64 = 0x4000_0000;
/// -ERESTARTSYS … -ERESTART_RESTARTBLOCK of include/linux/errno.h: a signal came, the call will be made again.
const RESTART: core::ops::RangeInclusive<i64> = -516..=-512;
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
    let row = t.call;
    if row == NO_CALL {
        return 0;
    }
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    settle(entry, now);
    entry.write(|t| {
        runs(t);
        ran(t, now);
        t.call = NO_CALL;
    });
    // One that was entered before may be another call: the return of that one was perhaps not seen.
    if t.call_since_ns >= calls_since_ns() && !globals::is_own(t.tgid) {
        let result = if row == get(&globals::SIGRETURN_CALL) { 0 } else { ctx.arg::<i64>(1) };
        record_call(&ctx, t, row, now, result);
    }
    0
}

/// It makes a call, so it is on a CPU. But one whose switch to the CPU was not seen keeps its state until it is switched
/// away, which then finds out how long it really ran (`runqueue.rs`).
#[inline(always)]
fn runs(t: &mut Thread) {
    if t.state == state::UNKNOWN {
        t.state = state::RUNNING;
    }
}

/// The row of the system-call table for a number.
#[inline(always)]
pub fn row_of(task: Task, nr: u64) -> u32 {
    if nr & X32 != 0 || task.in_compat_call() {
        COMPAT_CALL
    } else if nr < u64::from(COMPAT_CALL) {
        nr as u32
    } else {
        OTHER_CALL
    }
}

/// Records a call that returned. Only the record of the process is written: user space adds up what all records hold. One
/// without a record is counted in a row of the host, so that the host's calls stay exact.
#[inline(always)]
fn record_call(ctx: &BtfTracePointContext, t: &mut Thread, row: u32, now: u64, result: i64) {
    let key = RecordKey::new(t.tgid, t.process_start_ns, row);
    let place = record(&mut t.records[cache_cell(row)], key, row);
    let Some(to) = place.or_else(|| CALLS.get_ptr_mut(row_of_host(row)).map(Place::in_row)) else { return };
    let weight = t.call_weight;
    // SAFETY: `sums` is in a map value. Most calls neither fail nor leave the CPU: those additions are worth their branch.
    unsafe {
        if RESTART.contains(&result) {
            add_atomic32(&raw mut (*to.sums).interrupted, weight);
            return;
        }
        if result < 0 && result >= FIRST_ERROR {
            add_atomic32(&raw mut (*to.sums).errors, weight);
            errors::count(key.0, result.unsigned_abs() as u32, weight);
        }
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
    if slowest || now & (ONE_IN - 1) == 0 {
        exemplars::keep(ctx.arg(0), result, t, now, How::new(row, bucket, slowest).0);
    }
}

/// The place of a row in the table of calls without a record.
#[inline(never)]
fn row_of_host(row: u32) -> u32 {
    // SAFETY: no preconditions.
    let shard = unsafe { bpf_get_smp_processor_id() } & get(&globals::SHARD_MASK);
    shard * CALL_ROWS + row
}
