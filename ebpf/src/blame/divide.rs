//! Dividing a wait by what its CPU did meanwhile.
//!
//! Loops are calls of `bpf_loop` (since 5.17): the verifier would follow one of our own turn by turn, and give up.
//!
//! Invariant: the parts of a wait add up to it. What is not known is a part, too.

use core::ffi::c_void;
use core::ptr::null_mut;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use kscope_layout::blame::{IDLE_OWNER, Pair, PairKey, STRETCHES, UNKNOWN_OWNER, Wait, cause};
use kscope_layout::{RecordKey, lost};

use super::waiter::Accounts;
use super::{BLAME_CPUS, BLAME_PAIRS};
use crate::latency::add_atomic;
use crate::maps::lose;

/// The end of a wait, or of its part on one CPU.
pub struct Ending {
    /// When.
    pub now: u64,
    /// Since when it is measured.
    pub opened: u64,
    /// What the sums were.
    pub sums: Sums,
}

/// The running sums of a CPU and a queue at a moment.
pub struct Sums {
    /// Time of the CPU in interrupts.
    pub interrupts_ns: u64,
    /// What was stolen of it.
    pub stolen_ns: u64,
    /// How long the queue had been throttled.
    pub throttled_ns: u64,
}

impl Sums {
    #[inline(always)]
    pub fn of(accounts: Accounts, interrupts_ns: u64) -> Self {
        Self { interrupts_ns, stolen_ns: accounts.stolen_ns, throttled_ns: accounts.throttled_ns }
    }
}

/// No CPUs.
pub const NONE: [u64; WORDS] = [0; WORDS];

/// Charges a wait, from where it has been charged to, to those whose time it was. At its end it is also asked which of
/// `cpus` were idle meanwhile.
#[inline(never)]
pub fn divide(wait: &Wait, ending: &Ending, cpus: &[u64; WORDS]) -> u32 {
    let victim = wait.victim;
    let whole = ending.now.saturating_sub(wait.since_ns);
    // A thread is throttled when it could go on in user mode: that is the beginning of its wait.
    let throttled = if wait.throttled != 0 { ending.sums.throttled_ns.saturating_sub(wait.throttled_ns) } else { 0 };
    let throttled = throttled.min(whole);
    add(victim, cause::THROTTLED, UNKNOWN_OWNER, throttled, 0);
    walk(wait, victim, ending, throttled);
    let looks = cpus[0] | cpus[1] != 0 && ending.now.saturating_sub(wait.began_ns) >= WORTH_MOVING;
    let elsewhere = if looks { idle_elsewhere(wait, ending, cpus) } else { 0 };
    add(victim, cause::WHOLE, UNKNOWN_OWNER, whole, elsewhere);
    0
}

/// Goes back over the stretches of the CPU up to the beginning of the wait, or the end of its throttling.
#[inline(never)]
fn walk(wait: &Wait, victim: RecordKey, ending: &Ending, throttled: u64) -> u32 {
    let from = wait.since_ns + throttled;
    let (Some(row), Some(walk)) = (BLAME_CPUS.get_ptr(wait.cpu), BLAME_WALKS.get_ptr_mut(0)) else {
        add(victim, cause::UNKNOWN, UNKNOWN_OWNER, ending.now.saturating_sub(from), 0);
        return 0;
    };
    // SAFETY: a map value. Of another CPU it may be written now, one word at a time: what is torn is clamped.
    let begun = unsafe { (*row).begun };
    // Where in a stretch the throttling ended is known, but not the sums at that time: none of them is taken for more.
    let known = throttled == 0;
    let start = Walk {
        cpu: wait.cpu,
        begun,
        opened: ending.opened,
        from,
        until: ending.now,
        interrupts: ending.sums.interrupts_ns,
        stolen: ending.sums.stolen_ns,
        from_interrupts: if known { wait.interrupts_ns } else { u64::MAX },
        from_stolen: if known { wait.stolen_ns } else { u64::MAX },
        victim,
        offenders: [RecordKey(0); 2],
        others: [0; 2],
        own: 0,
        in_interrupts: 0,
        taken: 0,
        idle: 0,
        unknown: 0,
    };
    // SAFETY: the walk is a map value, `step` needs nothing. No reference to it lives while `step` changes it. A loop of our
    // own would be followed turn by turn by the verifier.
    let walk = unsafe {
        walk.write(start);
        bpf_loop(STRETCHES as u32, step as *mut c_void, null_mut(), 0);
        &*walk
    };
    add(victim, cause::OTHERS, walk.offenders[0], walk.others[0], 0);
    add(victim, cause::OTHERS, walk.offenders[1], walk.others[1], 0);
    add(victim, cause::OWN_THREADS, UNKNOWN_OWNER, walk.own, 0);
    add(victim, cause::INTERRUPTS, UNKNOWN_OWNER, walk.in_interrupts, 0);
    add(victim, cause::STEAL, UNKNOWN_OWNER, walk.taken, 0);
    add(victim, cause::IDLE, UNKNOWN_OWNER, walk.idle, 0);
    add(victim, cause::UNKNOWN, UNKNOWN_OWNER, walk.unknown + walk.until.saturating_sub(from), 0);
    0
}

/// Where the walk of each CPU has come to: it makes one at a time, since interrupts are off wherever a wait is divided. The
/// stack, of which older kernels count more, has no room for it.
#[map]
pub static BLAME_WALKS: PerCpuArray<Walk> = PerCpuArray::with_max_entries(1, 0);

/// Where a walk has come to. Parts of other processes are added one by one, the rest at its end.
pub struct Walk {
    cpu: u32,
    begun: u64,
    opened: u64,
    /// Where it ends.
    from: u64,
    /// How far it has come, with the sums of the CPU at that time.
    until: u64,
    interrupts: u64,
    stolen: u64,
    /// The sums where it ends.
    from_interrupts: u64,
    from_stolen: u64,
    victim: RecordKey,
    /// The last two other processes that were met, and their parts: often two take turns.
    offenders: [RecordKey; 2],
    others: [u64; 2],
    own: u64,
    in_interrupts: u64,
    taken: u64,
    idle: u64,
    unknown: u64,
}

/// One stretch back. 1 ends the walk.
extern "C" fn step(back: u32, _: *mut c_void) -> i64 {
    let Some(walk) = BLAME_WALKS.get_ptr_mut(0) else { return 1 };
    // SAFETY: a map value that only this CPU uses.
    let walk = unsafe { &mut *walk };
    let Some(row) = BLAME_CPUS.get_ptr(walk.cpu) else { return 1 };
    let number = walk.begun.wrapping_sub(1 + u64::from(back));
    // SAFETY: a map value.
    let stretch = unsafe { (*row).stretches[number as usize & (STRETCHES - 1)] };
    if walk.until <= walk.from || stretch.since_ns < walk.opened {
        return 1;
    }
    let (mut since, mut interrupts, mut stolen) = (stretch.since_ns, stretch.interrupts_ns, stretch.stolen_ns);
    if since <= walk.from {
        (since, interrupts, stolen) = (walk.from, walk.from_interrupts, walk.from_stolen);
    }
    if since < walk.until {
        let ns = walk.until - since;
        let taken = walk.stolen.saturating_sub(stolen).min(ns);
        let broken = walk.interrupts.saturating_sub(interrupts).min(ns - taken);
        walk.taken += taken;
        walk.in_interrupts += broken;
        (walk.until, walk.interrupts, walk.stolen) = (since, interrupts, stolen);
        walk.ran(stretch.owner, ns - taken - broken);
    }
    0
}

impl Walk {
    #[inline(always)]
    fn ran(&mut self, owner: RecordKey, ns: u64) {
        if owner == self.victim {
            self.own += ns;
        } else if owner == IDLE_OWNER {
            self.idle += ns;
        } else if owner == UNKNOWN_OWNER {
            self.unknown += ns;
        } else if owner == self.offenders[0] {
            self.others[0] += ns;
        } else if owner == self.offenders[1] {
            self.others[1] += ns;
        } else {
            add(self.victim, cause::OTHERS, self.offenders[1], self.others[1], 0);
            (self.offenders[1], self.others[1]) = (self.offenders[0], self.others[0]);
            (self.offenders[0], self.others[0]) = (owner, ns);
        }
    }
}

/// Adds to a pair. Threads of one process on several CPUs may do so at once.
#[inline(never)]
fn add(victim: RecordKey, why: u32, offender: RecordKey, ns: u64, elsewhere_ns: u64) -> u32 {
    if ns == 0 {
        return 0;
    }
    let key = PairKey { victim: RecordKey(victim.0 | u64::from(why)), offender };
    let mut pair = BLAME_PAIRS.get_ptr_mut(&key);
    if pair.is_none() {
        let _ = BLAME_PAIRS.insert(&key, &Pair { ns: 0, elsewhere_ns: 0 }, u64::from(BPF_NOEXIST));
        pair = BLAME_PAIRS.get_ptr_mut(&key);
    }
    let Some(pair) = pair else {
        lose(lost::BLAME);
        return 0;
    };
    // SAFETY: a map value.
    unsafe {
        add_atomic(&raw mut (*pair).ns, ns);
        if elsewhere_ns != 0 {
            add_atomic(&raw mut (*pair).elsewhere_ns, elsewhere_ns);
        }
    }
    0
}

/// Words of a set of CPUs that are looked at: the first 128.
pub const WORDS: usize = 2;
/// Shorter waits are over before a thread could have been moved, ns.
const WORTH_MOVING: u64 = 50_000;

/// How long in the wait another CPU was idle that the thread may use, at least: of the one that was so the longest, what
/// its last two times of idling say.
#[inline(never)]
fn idle_elsewhere(wait: &Wait, ending: &Ending, cpus: &[u64; WORDS]) -> u64 {
    let mut look =
        Look { cpus: *cpus, here: wait.cpu, opened: ending.opened, since: wait.began_ns, now: ending.now, longest: 0 };
    // SAFETY: `look_at` takes what it is given here.
    unsafe { bpf_loop(64 * WORDS as u32, look_at as *mut c_void, (&raw mut look).cast(), 0) };
    look.longest.min(look.now.saturating_sub(look.since))
}

/// Looking at one CPU after the other.
struct Look {
    cpus: [u64; WORDS],
    here: u32,
    opened: u64,
    since: u64,
    now: u64,
    longest: u64,
}

/// One CPU. 1 ends the look.
extern "C" fn look_at(cpu: u32, look: *mut Look) -> i64 {
    // SAFETY: `bpf_loop` passes on what it was given.
    let look = unsafe { &mut *look };
    let Some(row) = BLAME_CPUS.get_ptr(cpu) else { return 1 };
    let word = if cpu < 64 { look.cpus[0] } else { look.cpus[1] };
    if word >> (cpu & 63) & 1 == 0 || cpu == look.here {
        return 0;
    }
    // SAFETY: a map value that its CPU may be writing.
    let (since, from, until) = unsafe {
        (
            (&raw const (*row).idle_since_ns).read_volatile(),
            (&raw const (*row).idled_from_ns).read_volatile(),
            (&raw const (*row).idled_until_ns).read_volatile(),
        )
    };
    let mut idle = 0;
    if since != 0 && since >= look.opened {
        idle = look.now.saturating_sub(since.max(look.since));
    }
    // Not if that is the time that has just ended, read twice.
    if since == 0 || until <= since {
        idle += until.min(look.now).saturating_sub(from.max(look.since));
    }
    look.longest = look.longest.max(idle);
    0
}
