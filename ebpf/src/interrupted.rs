//! Calls that a signal cuts short: they return -ERESTART* to the kernel, which decides on its way out of it what the program gets.
//!
//! If a handler runs, the program gets EINTR, or the call is made again after the handler (-ERESTARTNOINTR, and -ERESTARTSYS with
//! SA_RESTART). If none does (the thread was stopped, or another thread took the signal), the kernel goes on with the call: it
//! makes it again, or `restart_syscall` in its place. Until that is known the call is held (`kscope_layout::HELD`).
//!
//! Invariant: a held call ends as one error, or goes on as the same call with its whole time; one that begins anew after a
//! handler, or whose process dies, is no call that completed.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::{ABSENT, HELD, NO_CALL, Thread, held_kind, row_in};

use crate::globals::{self, get};
use crate::latency::add_atomic32;
use crate::maps::calls_since_ns;
use crate::syscalls::{place_of, record_call, runs};
use crate::task::Task;
use crate::thread::{self, Entry, ran, settle};

const EINTR: i64 = 4;
/// `SA_RESTART` of include/uapi/asm-generic/signal-defs.h.
const SA_RESTART: u64 = 0x1000_0000;
/// `SIG_IGN` and, below it, `SIG_DFL`: what is above is a handler.
const SIG_IGN: u64 = 1;
/// `kscope_layout::held_kind` of -ERESTARTSYS and of -ERESTARTNOINTR.
const SYS: u32 = 0;
const NOINTR: u32 = 1;

/// In `sys_enter` of a thread that is in a call already, as far as was seen: true if it goes on with that. Out of line: it is
/// rare.
#[inline(never)]
pub fn goes_on(entry: Entry, row: u32, now: u64) -> bool {
    let call = entry.get().call;
    if call & HELD == 0 {
        return false;
    }
    let held = row_in(call);
    restarted(entry.get(), held);
    // Another one: its handler was not seen to begin.
    if row != held && row != get(&globals::RESTART_CALL) {
        return false;
    }
    entry.write(|t| {
        runs(t);
        ran(t, now);
        t.call = held;
    });
    true
}

/// `signal_deliver(int sig, struct kernel_siginfo *info, struct k_sigaction *ka)`: on the way out of the kernel.
#[btf_tracepoint(function = "signal_deliver")]
pub fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    if get(&globals::SIGACTION_HANDLER) == ABSENT || get(&globals::SIGACTION_FLAGS) == ABSENT {
        return 0;
    }
    let Some(entry) = thread::current() else { return 0 };
    let call = entry.get().call;
    if call == NO_CALL || call & HELD == 0 {
        return 0;
    }
    let action = ctx.arg::<*const u8>(2);
    // SAFETY: the verifier knows the argument to be a `struct k_sigaction`, and checks the offsets.
    let (handler, flags) = unsafe {
        let word = |offset: u32| action.add(offset as usize).cast::<u64>().read();
        (word(get(&globals::SIGACTION_HANDLER)), word(get(&globals::SIGACTION_FLAGS)))
    };
    if handler <= SIG_IGN {
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
    let (t, row) = (entry.get(), row_in(call));
    let kind = held_kind(call);
    if kind == NOINTR || kind == SYS && flags & SA_RESTART != 0 {
        restarted(t, row);
    } else if is_recorded(t) {
        record_call(registers, t, row, now, -EINTR);
    }
    0
}

/// The registers that the current thread brought into the kernel, where there is a helper that finds them (since 5.15).
#[inline(always)]
fn registers() -> Option<*const u8> {
    if get(&globals::HAS_TASK_REGS) == 0 {
        return None;
    }
    // SAFETY: the task is one that the verifier knows.
    Some(unsafe { bpf_task_pt_regs(Task::current().pointer().cast_mut().cast()) } as *const u8)
}

/// Counts that a call was cut short and is made again.
#[inline(never)]
fn restarted(t: &mut Thread, row: u32) {
    if is_recorded(t)
        && let Some(to) = place_of(t, row)
    {
        let weight = t.call_weight;
        // SAFETY: `sums` is in a map value.
        add_atomic32(unsafe { &raw mut (*to.sums).interrupted }, weight);
    }
}

/// Was the call seen from its beginning, and is it none of kscope's?
#[inline(always)]
fn is_recorded(t: &Thread) -> bool {
    t.call_since_ns >= calls_since_ns() && !globals::is_own(t.tgid)
}
