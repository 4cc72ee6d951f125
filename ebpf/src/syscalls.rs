//! System calls: raw_syscalls' sys_enter and sys_exit.
//!
//! The number at exit cannot be trusted (`rt_sigreturn` shows -1), so it is kept from the entry. An exit without an entry
//! (a child leaving clone, a call in flight when the programs were attached) is no sample.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::bucket::scale3;
use kscope_layout::{CALL_ROWS, COMPAT_CALL, NO_CALL, OTHER_CALL, Record, RecordKey, Row, Thread, state};

use crate::globals::{self, get};
use crate::latency::{add_atomic, add_atomic32, add_record, add_row, record};
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
    let Some(entry) = thread::of(task, task.tid()) else { return 0 };
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
    // One that was entered before may be another call: the return of that one was perhaps not seen.
    let whole = t.call_since_ns >= calls_since_ns();
    let call = Call {
        ns: now.saturating_sub(t.call_since_ns),
        blocked_ns: t.blocked_ns - t.call_blocked_ns,
        runnable_ns: t.runnable_ns - t.call_runnable_ns,
        result: if row == get(&globals::SIGRETURN_CALL) { 0 } else { ctx.arg::<i64>(1) },
        weight: t.call_weight,
    };
    settle(entry, now);
    entry.write(|t| {
        runs(t);
        ran(t, now);
        t.call = NO_CALL;
    });
    if whole && t.tgid != get(&globals::SELF_TGID) {
        call.record(row, &RecordKey::new(t.tgid, t.process_start_ns, row));
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
fn row_of(task: Task, nr: u64) -> u32 {
    if nr & X32 != 0 || task.in_compat_call() {
        COMPAT_CALL
    } else if nr < u64::from(COMPAT_CALL) {
        nr as u32
    } else {
        OTHER_CALL
    }
}

/// A call that returned.
struct Call {
    ns: u64,
    blocked_ns: u64,
    runnable_ns: u64,
    result: i64,
    weight: u32,
}

impl Call {
    #[inline(always)]
    fn record(&self, row: u32, key: &RecordKey) {
        let (index, epoch) = (scale3(self.ns), epoch());
        // SAFETY: no preconditions.
        let shard = unsafe { bpf_get_smp_processor_id() } & get(&globals::SHARD_MASK);
        if let Some(to) = CALLS.get_ptr_mut(shard * CALL_ROWS + row) {
            self.add_to::<{ kscope_layout::bucket::SCALE3_LEN }>(to, |to: *mut Row| {
                add_row(to, index, self.ns, self.weight, epoch);
            });
        }
        if let Some(to) = record(key) {
            self.add_to::<{ kscope_layout::bucket::SCALE2_LEN }>(to, |to: *mut Record| {
                add_record(to, index, self.ns, self.weight, epoch);
            });
        }
    }

    #[inline(always)]
    fn add_to<const N: usize>(
        &self,
        to: *mut kscope_layout::Latency<N>,
        add_sample: impl FnOnce(*mut kscope_layout::Latency<N>),
    ) {
        // SAFETY: `to` is a map value. Most calls neither fail nor leave the CPU: those additions are worth their branch.
        unsafe {
            if RESTART.contains(&self.result) {
                add_atomic32(&raw mut (*to).interrupted, self.weight);
                return;
            }
            if self.result < 0 && self.result >= FIRST_ERROR {
                add_atomic32(&raw mut (*to).errors, self.weight);
            }
            if self.blocked_ns != 0 {
                add_atomic(&raw mut (*to).blocked_ns, self.blocked_ns * u64::from(self.weight));
            }
            if self.runnable_ns != 0 {
                add_atomic(&raw mut (*to).runnable_ns, self.runnable_ns * u64::from(self.weight));
            }
        }
        add_sample(to);
    }
}
