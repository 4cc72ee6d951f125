//! What a CPU did last: the ring of its stretches, its time in interrupts, and since when it idles.
//!
//! Not counted as interrupts are those that have no handler of a device: timer ticks and messages between CPUs.
//!
//! Invariant: only the CPU itself writes its entry.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use kscope_layout::RecordKey;
use kscope_layout::blame::{Cpu, IDLE_OWNER, STRETCHES, Stretch, UNKNOWN_OWNER};

use super::{BLAME_CPUS, now_ns, opened_ns};

/// The entry of the CPU this runs on.
#[inline(always)]
fn this_cpu() -> Option<&'static mut Cpu> {
    // SAFETY: no preconditions; a map value that only this CPU writes.
    BLAME_CPUS.get_ptr_mut(unsafe { bpf_get_smp_processor_id() }).map(|row| unsafe { &mut *row })
}

/// A hard interrupt may break into a soft one, not the other way round: the outer one counts.
#[inline(always)]
pub fn enter_interrupt(kind: u32) {
    let Some(row) = this_cpu() else { return };
    if row.inside == 0 {
        row.interrupt_since_ns = now_ns();
    }
    row.inside |= kind;
}

#[inline(always)]
pub fn leave_interrupt(kind: u32) {
    let Some(row) = this_cpu() else { return };
    if row.inside & !kind == 0 {
        close_interrupt(row, now_ns(), opened_ns());
    }
    row.inside &= !kind;
}

/// Accounts the interrupt the CPU is in, if it is in one. The sum first: what breaks in here finds it still inside.
#[inline(always)]
pub fn close_interrupt(row: &mut Cpu, now: u64, opened: u64) {
    if row.inside != 0 && row.interrupt_since_ns >= opened {
        row.interrupts_ns += now.saturating_sub(row.interrupt_since_ns);
    }
    row.inside = 0;
}

/// The time that a CPU has spent in interrupts by `now`, the one it is in included.
#[inline(always)]
fn interrupts_at(row: &Cpu, now: u64, opened: u64) -> u64 {
    let open = if row.inside != 0 && row.interrupt_since_ns >= opened {
        now.saturating_sub(row.interrupt_since_ns)
    } else {
        0
    };
    row.interrupts_ns + open
}

#[inline(always)]
pub fn interrupts_of(cpu: u32, now: u64, opened: u64) -> u64 {
    // SAFETY: a map value; another CPU may be writing it, and each field is one word.
    BLAME_CPUS.get_ptr(cpu).map_or(0, |row| interrupts_at(unsafe { &*row }, now, opened))
}

/// Says whose the stretch was that ends, if that is not known: of the first it is who leaves. `false` if it was said to be
/// somebody else's: then a switch was not seen (some sandboxes run no programs in the context of their own processes), and it
/// is nobody's.
#[inline(always)]
pub fn settle(row: &mut Cpu, leaving: RecordKey, opened: u64, stolen_ns: u64) -> bool {
    let (interrupts_ns, begun) = (row.interrupts_ns, row.begun);
    let last = at(row, begun.wrapping_sub(1));
    if begun == 0 || last.since_ns < opened {
        start(row, Stretch { since_ns: opened, interrupts_ns, stolen_ns, owner: leaving });
        if leaving == IDLE_OWNER {
            row.idle_since_ns = opened;
        }
        return true;
    }
    let is_so = last.owner == leaving;
    if !is_so {
        last.owner = UNKNOWN_OWNER;
    }
    is_so
}

/// Begins the stretch of who comes.
#[inline(always)]
pub fn turn(row: &mut Cpu, [leaving, coming]: [RecordKey; 2], now: u64, stolen_ns: u64) {
    start(row, Stretch { since_ns: now, interrupts_ns: row.interrupts_ns, stolen_ns, owner: coming });
    if leaving == IDLE_OWNER && row.idle_since_ns != 0 {
        row.idled_from_ns = row.idle_since_ns;
        row.idled_until_ns = now;
    }
    row.idle_since_ns = if coming == IDLE_OWNER { now } else { 0 };
}

#[inline(always)]
pub fn at(row: &mut Cpu, number: u64) -> &mut Stretch {
    &mut row.stretches[number as usize & (STRETCHES - 1)]
}

#[inline(always)]
fn start(row: &mut Cpu, stretch: Stretch) {
    let number = row.begun;
    *at(row, number) = stretch;
    row.begun = number + 1;
}
