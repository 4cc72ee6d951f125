//! Exemplars: single calls with their arguments. Reached by a call that is the slowest of its record in this epoch, which of
//! n calls happens about log n times, and by a few that are met by chance.
//!
//! Beyond that they are limited by call and octave: the slow, of which there are few, are not crowded out by the quick.
//!
//! Invariant: a ring has one writer, the program that runs on its CPU (the kernel runs it there once at a time). An entry whose
//! number is not 0 is whole.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use kscope_layout::exemplars::{Exemplar, LIMITS, MOST, MOST_BY_CHANCE, OCTAVES, TEXT, text};
use kscope_layout::{ABSENT, CALL_ROWS, RecordKey, Thread};

use crate::globals::{self, get};
use crate::maps::epoch;
use crate::thread::barrier;

/// The rings, one CPU's after the other's.
#[map]
pub static EXEMPLARS: Array<Exemplar> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How many each CPU has written.
#[map]
pub static EXEMPLARS_MADE: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// How many there were of a call and octave, and in which epoch: 16 bits each. Two CPUs may count one of theirs once.
#[map]
pub static EXEMPLARS_LEFT: Array<u32> = Array::with_max_entries(LIMITS, BPF_F_MMAPABLE);

/// Bytes of `struct sockaddr_in`.
const SHORT_ADDRESS: u32 = 16;

/// How a call came to be kept, in one word: its row, its bucket, and whether it was met by chance.
#[derive(Clone, Copy)]
pub struct How(pub u32);

impl How {
    const BY_CHANCE: u32 = 1 << 31;

    /// A call in this row whose latency is in this bucket; it was the slowest, or else met by chance.
    #[inline(always)]
    pub const fn new(row: u32, bucket: u32, slowest: bool) -> Self {
        Self(if slowest { 0 } else { Self::BY_CHANCE } | row << 8 | bucket & 0xff)
    }

    #[inline(always)]
    const fn row(self) -> u32 {
        self.0 >> 8 & (CALL_ROWS - 1)
    }

    /// Where its limit is counted.
    #[inline(always)]
    const fn cell(self) -> u32 {
        self.row() * OCTAVES + (self.0 >> 3 & (OCTAVES - 1))
    }

    #[inline(always)]
    const fn limit(self) -> u32 {
        if self.0 & Self::BY_CHANCE == 0 { MOST } else { MOST_BY_CHANCE }
    }
}

/// Keeps the call from which `t` returns at `now`. Out of line: few calls come here.
#[inline(never)]
pub fn keep(regs: *const u8, result: i64, t: *const Thread, now: u64, how: u32) {
    let how = How(how);
    if !is_within_limit(how) {
        return;
    }
    // SAFETY: no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(made) = EXEMPLARS_MADE.get_ptr_mut(cpu) else { return };
    // SAFETY: a map value, which this CPU alone writes.
    let number = unsafe { made.read_volatile() };
    let shift = get(&globals::EXEMPLARS_SHIFT);
    let at = cpu << shift | number as u32 & ((1 << shift) - 1);
    let Some(to) = EXEMPLARS.get_ptr_mut(at) else { return };
    // SAFETY: both are map values; volatile and fenced, since user space reads at the same time.
    unsafe {
        (&raw mut (*to).number).write_volatile(0);
        barrier();
        fill(to, &*t, now, result, how.row());
        arguments(to, regs);
        read_text(to, how.row());
        barrier();
        (&raw mut (*to).number).write_volatile(number + 1);
        made.write_volatile(number + 1);
    }
}

/// Counts one of a call and octave, if there may be another in this epoch.
#[inline(always)]
fn is_within_limit(how: How) -> bool {
    let Some(cell) = EXEMPLARS_LEFT.get_ptr_mut(how.cell()) else { return false };
    let epoch = epoch() << 16;
    // SAFETY: a map value. Two CPUs may write it at once; the limit is then passed by one.
    unsafe {
        let held = cell.read_volatile();
        let count = if held & 0xffff_0000 == epoch { held & 0xffff } else { 0 };
        if count >= how.limit() {
            return false;
        }
        cell.write_volatile(epoch | (count + 1));
    }
    true
}

#[inline(always)]
fn fill(to: *mut Exemplar, t: &Thread, now: u64, result: i64, row: u32) {
    // SAFETY: a map value.
    let to = unsafe { &mut *to };
    to.end_ns = now;
    to.latency_ns = if now > t.call_since_ns { now - t.call_since_ns } else { 1 };
    to.blocked_ns = t.blocked_ns - t.call_blocked_ns;
    to.runnable_ns = t.runnable_ns - t.call_runnable_ns;
    to.result = result;
    to.tid = t.tid;
    to.tgid = t.tgid;
    to.birth = RecordKey::birth_of(t.process_start_ns);
    to.row = row;
}

/// The arguments, which a call leaves in the registers that it was entered with.
#[inline(always)]
fn arguments(to: *mut Exemplar, regs: *const u8) {
    // SAFETY: a map value.
    let args = unsafe { &mut (*to).args };
    // SAFETY (of each load): the verifier knows `regs` to be a `struct pt_regs`, and checks the offset.
    let load = |offset: u32| unsafe { regs.add(offset as usize).cast::<u64>().read() };
    if get(&globals::REGS_DI) != ABSENT {
        args[0] = load(get(&globals::REGS_DI));
        args[1] = load(get(&globals::REGS_SI));
        args[2] = load(get(&globals::REGS_DX));
        args[3] = load(get(&globals::REGS_R10));
        args[4] = load(get(&globals::REGS_R8));
        args[5] = load(get(&globals::REGS_R9));
    } else if get(&globals::REGS_X) != ABSENT {
        let others = get(&globals::REGS_X);
        args[0] = load(get(&globals::REGS_ORIG_X0));
        args[1] = load(others + 8);
        args[2] = load(others + 16);
        args[3] = load(others + 24);
        args[4] = load(others + 32);
        args[5] = load(others + 40);
    }
}

/// Reads what an argument points to, if that is of interest for this call. Memory that is not there right now is not fetched.
#[inline(always)]
fn read_text(to: *mut Exemplar, row: u32) {
    // SAFETY: a map value.
    let to = unsafe { &mut *to };
    to.text[0] = 0;
    // SAFETY: a row is below their number; volatile, or the compiler would fold the values it was compiled with.
    let kind = unsafe { (&raw const globals::TEXTS).cast::<u8>().add(row as usize).read_volatile() };
    let which = (kind & text::ARGUMENT) as usize;
    let Some(argument) = to.args.get(which.wrapping_sub(1)) else { return };
    let (dst, src) = (to.text.as_mut_ptr().cast(), *argument as *const c_void);
    // SAFETY: both helpers write at most so many bytes of a map value, zeros if they fail.
    unsafe {
        if kind & text::ADDRESS == 0 {
            bpf_probe_read_user_str(dst, TEXT as u32, src);
        } else if bpf_probe_read_user(dst, TEXT as u32, src) < 0 {
            // A short one may lie at the end of what is mapped.
            bpf_probe_read_user(dst, SHORT_ADDRESS, src);
        }
    }
}
