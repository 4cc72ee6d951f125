//! The table of threads: finding the entry of a thread, making it, and accounting its time.
//!
//! The usual look-up is an array access and one compare: the tag says whose slot it is. All that is rare (a new thread, a
//! taken slot, a dead entry that user space has not collected yet) is in `find_or_make`.
//!
//! Invariant: one writer at a time. A thread on a CPU is written by that CPU only; a thread off CPU only by the one that
//! wakes it or switches to it, which the run-queue lock orders after the switch away.

use core::arch::asm;
use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use kscope_layout::cause::{self, Beside};
use kscope_layout::{CACHE_CELLS, DEAD, NO_CALL, Thread, ThreadKey, flags, lost, state};

use crate::cause::blocked;
use crate::globals::{self, get};
use crate::latency::add_atomic32;
use crate::maps::{THREADS, THREADS_MORE, lose, states_since_ns, states_until_ns};
use crate::task::Task;

/// A thread's entry in a map.
#[derive(Clone, Copy)]
pub struct Entry(*mut Thread);

impl Entry {
    /// The fields, for reading and writing by the one writer.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the map value is shared with user space anyway; see the invariant above")]
    pub fn get(&self) -> &mut Thread {
        // SAFETY: the pointer comes from a map look-up that was not null, and map values outlive the program's run.
        unsafe { &mut *self.0 }
    }

    /// Changes the entry so that user space sees all of it or nothing: the sequence is odd in between.
    #[inline(always)]
    pub fn write(&self, change: impl FnOnce(&mut Thread)) {
        let seq = &raw mut self.get().seq;
        // SAFETY: a field of the map value above. Volatile and fenced: the order of these stores is what readers rely on.
        // x86 keeps it; where a CPU does not, a reader may take one torn reading, which the next one corrects.
        unsafe {
            let before = seq.read_volatile();
            seq.write_volatile(before.wrapping_add(1));
            barrier();
            change(self.get());
            barrier();
            seq.write_volatile(before.wrapping_add(2));
        }
    }
}

/// The entry of the thread this runs in. `None` if its process is not measured, and, counted as lost, when there is no room
/// for one.
#[inline(always)]
pub fn current() -> Option<Entry> {
    let both = bpf_get_current_pid_tgid();
    let tid = both as u32;
    if !globals::is_measured((both >> 32) as u32) {
        return None;
    }
    in_slot(tid).or_else(|| elsewhere(Task::current(), tid))
}

/// The same for `task`, whose thread id the caller has at hand.
#[inline(always)]
pub fn of(task: Task, tid: u32) -> Option<Entry> {
    if !is_measured(task) {
        return None;
    }
    in_slot(tid).or_else(|| elsewhere(task, tid))
}

/// Is the process of this thread measured?
#[inline(always)]
pub fn is_measured(task: Task) -> bool {
    !globals::is_narrowed() || globals::is_measured(task.tgid())
}

#[inline(always)]
fn elsewhere(task: Task, tid: u32) -> Option<Entry> {
    let found = find_or_make(task, tid);
    (!found.is_null()).then_some(Entry(found))
}

/// Makes the entry in the slot of a new thread's id final if it is that of another thread, which had the id before and whose last
/// switch was not seen: the new one must not go on with its numbers.
#[inline(always)]
pub fn end_namesake(tid: u32, start_ns: u64) {
    if let Some(entry) = in_slot(tid)
        && entry.get().start_ns != start_ns
    {
        entry.get().tid = tid | DEAD;
    }
}

/// The entry in the thread's own slot, if it is its own.
#[inline(always)]
pub fn in_slot(tid: u32) -> Option<Entry> {
    let slot = THREADS.get_ptr_mut(tid & get(&globals::SLOT_MASK))?;
    // SAFETY: not null, a map value. Volatile: user space frees slots.
    (unsafe { (&raw const (*slot).tid).read_volatile() } == tid).then_some(Entry(slot))
}

/// Everything that is rare. Out of line, and null for "none": a program's function returns one register.
#[inline(never)]
fn find_or_make(task: Task, tid: u32) -> *mut Thread {
    let key = ThreadKey { start_ns: task.start_ns(), tid, pad: 0 };
    if let Some(found) = THREADS_MORE.get_ptr_mut(&key) {
        return found.cast();
    }
    if let Some(slot) = claim(tid) {
        begin(slot, task);
        barrier();
        // The tag last: until it is there, nobody takes the slot for this thread's.
        // SAFETY: a field of a map value.
        unsafe { (&raw mut (*slot).tid).write_volatile(tid) };
        return slot;
    }
    let _ = THREADS_MORE.insert(&key, &EMPTY_BESIDE, u64::from(BPF_NOEXIST));
    let Some(made) = THREADS_MORE.get_ptr_mut(&key) else {
        lose(lost::THREADS);
        return ptr::null_mut();
    };
    let made: *mut Thread = made.cast();
    begin(made, task);
    // SAFETY: fields of a map value.
    unsafe {
        (*made).flags |= flags::BESIDE;
        (&raw mut (*made).tid).write_volatile(tid);
    }
    made
}

/// Keeps the compiler from moving memory accesses across.
#[inline(always)]
pub fn barrier() {
    // SAFETY: no instruction; it only claims to touch memory.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

/// Claims the slot of `tid` if nobody has it: the one who counts the claims of a free slot from 0 to 1 owns it. Two that
/// add at once both see 2 and go to the hash, and the slot stays unused. (A compare-and-swap would let one win but needs
/// 5.12.)
#[inline(always)]
fn claim(tid: u32) -> Option<*mut Thread> {
    let slot = THREADS.get_ptr_mut(tid & get(&globals::SLOT_MASK))?;
    // SAFETY: fields of a map value.
    unsafe {
        let claims = &raw mut (*slot).claims;
        if claims.read_volatile() != 0 {
            return None;
        }
        add_atomic32(claims, 1);
        (claims.read_volatile() == 1).then_some(slot)
    }
}

/// What a new entry holds before it is filled in.
static EMPTY_BESIDE: Beside = Beside { thread: EMPTY, causes: [0; cause::COUNT] };

const EMPTY: Thread = Thread {
    tid: 0,
    claims: 1,
    seq: 0,
    flags: 0,
    tgid: 0,
    state: state::UNKNOWN,
    process_start_ns: 0,
    start_ns: 0,
    parent_tgid: 0,
    cpu: 0,
    parent_birth: 0,
    file: 0,
    calls: 0,
    since_ns: 0,
    user_ns: 0,
    kernel_ns: 0,
    runnable_ns: 0,
    blocked_ns: 0,
    stolen_ns: 0,
    exec_ns: 0,
    user_then_ns: 0,
    kernel_then_ns: 0,
    call: NO_CALL,
    voluntary: 0,
    call_since_ns: 0,
    call_blocked_ns: 0,
    call_runnable_ns: 0,
    tx_bytes: 0,
    rx_bytes: 0,
    tx_calls: 0,
    rx_calls: 0,
    preempted: 0,
    waits: 0,
    comm: [0; 16],
    records: [0; CACHE_CELLS],
    queue_record: 0,
    call_weight: 1,
};

/// Fills in a new entry, all but the tag. User space has zeroed a slot when it freed it.
#[inline(always)]
fn begin(thread: *mut Thread, task: Task) {
    // SAFETY: ktime has no preconditions; the pointer is a map value.
    let (now, thread) = unsafe { (bpf_ktime_get_ns(), &mut *thread) };
    thread.flags = if task.is_kthread() { flags::KTHREAD } else { 0 };
    thread.tgid = task.tgid();
    thread.state = state::UNKNOWN;
    thread.process_start_ns = task.process_start_ns();
    thread.start_ns = task.start_ns();
    thread.since_ns = now;
    // Of a running thread this lags by up to a tick, so the next comparison finds nothing left over: the safe side.
    thread.exec_ns = task.exec_ns();
    thread.call = NO_CALL;
}

/// Makes the state unknown if the scheduler's programs were detached since it was noted. What the thread did until then is
/// accounted, what it did in between is nobody's.
#[inline(always)]
pub fn settle(entry: Entry, now: u64) {
    if entry.get().since_ns < states_since_ns() {
        entry.write(|t| forget_state(t, now));
    }
}

/// Out of line, since it is rare: what calls it is short.
#[inline(never)]
fn forget_state(t: &mut Thread, now: u64) {
    let until = states_until_ns();
    match t.state {
        state::RUNNING => ran(t, until),
        state::RUNNABLE => t.runnable_ns += elapsed(t, until),
        state::SLEEPING | state::DISK_SLEEP => {
            let ns = elapsed(t, until);
            blocked(t, ns);
        }
        _ => {}
    }
    t.state = state::UNKNOWN;
    t.since_ns = now;
}

/// Accounts the time up to `now` as time on a CPU, of the kernel's if inside a call.
#[inline(always)]
pub fn ran(thread: &mut Thread, now: u64) {
    let ns = elapsed(thread, now);
    if thread.call != NO_CALL || thread.flags & flags::KTHREAD != 0 {
        thread.kernel_ns += ns;
    } else {
        thread.user_ns += ns;
    }
}

/// Time since the entry was last accounted, and accounts it: the caller adds it to one of the four sums.
#[inline(always)]
pub fn elapsed(thread: &mut Thread, now: u64) -> u64 {
    let since = thread.since_ns;
    // Two CPUs' clocks can differ by some nanoseconds: time never runs backwards here.
    if now <= since {
        return 0;
    }
    thread.since_ns = now;
    now - since
}
