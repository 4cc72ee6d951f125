//! What kscope's eBPF programs write and its user space reads: the layouts of map keys and values, and the bucket function.
//!
//! Not here: anything that reads a clock, a map or a kernel structure. No offset of a kernel structure either; those come
//! from the running kernel's BTF (`src/kernel/offsets.rs`).
//!
//! Invariant: every type is `repr(C)` without padding, and all counters are cumulative: they only grow while their owner
//! lives, `u32` ones modulo 2^32. Nobody but the reaper in user space ever resets an entry, and only one that is dead.
#![no_std]

pub mod blame;
pub mod bucket;
pub mod cause;
pub mod connections;
pub mod disk;
pub mod errors;
pub mod exemplars;
pub mod lives;

use bucket::SCALE3_LEN;

/// Set in [`Thread::tid`] once the thread has left its last CPU: the entry is final, user space counts and frees it.
pub const DEAD: u32 = 1 << 31;
/// [`Thread::call`] while the thread is in user mode.
pub const NO_CALL: u32 = u32::MAX;
/// Bit of [`Thread::call`] beside the row: a signal cut the call short (-ERESTART*), and whether the program gets EINTR or the
/// kernel makes the call again is not decided yet. See [`held`].
pub const HELD: u32 = 1 << 16;
/// Rows of the global system-call table; numbers at or above go to [`OTHER_CALL`].
pub const CALL_ROWS: u32 = 512;
/// Row of system calls made through a compatibility entry (`int 0x80`, x32, 32-bit ARM): their numbers mean other calls.
pub const COMPAT_CALL: u32 = 510;
/// Row of system calls whose number is beyond the table.
pub const OTHER_CALL: u32 = 511;
/// "What" of a [`RecordKey`] that holds run-queue delays instead of a system call's latency.
pub const RUN_QUEUE: u32 = 1023;

/// Processes that can be chosen to be measured alone.
pub const MAX_ONLY: usize = 16;

/// Processes that kscope has, at most: the one that draws, and those that work for it.
pub const MAX_OWN: usize = 4;

/// What a thread is doing, as the last event told.
pub mod state {
    /// Nothing is known yet: no event was seen since the programs were attached.
    pub const UNKNOWN: u32 = 0;
    /// On a CPU.
    pub const RUNNING: u32 = 1;
    /// Ready, waiting for a CPU.
    pub const RUNNABLE: u32 = 2;
    /// Off CPU, waiting for something other than a CPU, interruptible.
    pub const SLEEPING: u32 = 3;
    /// The same, uninterruptible (state D).
    pub const DISK_SLEEP: u32 = 4;
}

/// Bits of [`Thread::flags`].
pub mod flags {
    /// A kernel thread: all its CPU time is kernel time.
    pub const KTHREAD: u32 = 1;
    /// It has begun to exit; [`super::Thread::comm`] holds its last name.
    pub const EXITING: u32 = 2;
    /// It existed before the programs were attached.
    pub const FOUND: u32 = 4;
    /// Its entry is in the hash, for those that found their slot taken. (Bits 8 to 10: see [`super::cause`].)
    pub const BESIDE: u32 = 8;
    /// It is in a function that moves bytes of the network, and what that returns counts. Only where kprobes measure it.
    pub const MOVES: u32 = 16;
    /// What it returns there may be longer than what it copies. Only where kprobes measure it.
    pub const CUTS: u32 = 32;
    /// Its present cause was not looked up but remembered: see [`super::cause::remembered`]. (Bits 8 to 10: the cause.)
    pub const REMEMBERED: u32 = 1 << 11;
    /// Bits from here on count the runs that no program saw from beginning to end, modulo 65,536: see [`super::missed_runs`].
    pub const MISSED_SHIFT: u32 = 16;
}

/// Runs on a CPU of which no program saw the beginning or the end, in [`Thread::flags`], modulo 65,536. Of such a thread the
/// time on CPUs is the scheduler's own account; how it waited in between is not known.
#[inline(always)]
pub const fn missed_runs(flags: u32) -> u32 {
    flags >> flags::MISSED_SHIFT
}

/// The flags with one more missed run.
#[inline(always)]
pub const fn with_missed_run(flags: u32) -> u32 {
    flags.wrapping_add(1 << flags::MISSED_SHIFT)
}

/// One thread: who it is, what it is doing, and what it has done since its entry was made. Times in nanoseconds of
/// `CLOCK_MONOTONIC` unless said otherwise.
///
/// The entry lives in an array at `tid & (slots - 1)`, or, when that slot is taken, in a hash keyed by [`ThreadKey`].
/// Only one CPU at a time writes it: the one the thread runs on, or the one that wakes it while it is off CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Thread {
    /// The tag: 0 is a free slot, [`DEAD`] marks a final entry.
    pub tid: u32,
    /// How often the slot was claimed since it was freed: the one that counts to 1 owns it (see `ebpf/src/thread.rs`).
    pub claims: u32,
    /// Odd while the entry is being written.
    pub seq: u32,
    /// See [`flags`].
    pub flags: u32,
    /// The process id as user space knows it.
    pub tgid: u32,
    /// See [`state`].
    pub state: u32,
    /// Start of the process (its group leader), `CLOCK_BOOTTIME`; with [`Self::tgid`] the identity of the process.
    pub process_start_ns: u64,
    /// Start of this thread, `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// The process that created this thread; 0 where that was not seen.
    pub parent_tgid: u32,
    /// CPU it runs on or ran on last.
    pub cpu: u32,
    /// Birth of the creator's process, as [`RecordKey::birth_of`] has it; 0 where that was not seen.
    pub parent_birth: u32,
    /// The kind of file it waited for last through a descriptor, and that descriptor: see [`cause::remembered`].
    pub file: u32,
    /// System calls that it completed, as those of the records; here they are counted also when there is no record left.
    pub calls: u64,
    /// Up to when the four times below are accounted; what came after belongs to the present state.
    pub since_ns: u64,
    /// On CPU, not inside a system call (page faults and interrupts included).
    pub user_ns: u64,
    /// On CPU inside a system call; all CPU time of a kernel thread.
    pub kernel_ns: u64,
    /// Ready and waiting for a CPU; with what the hypervisor took of its CPU.
    pub runnable_ns: u64,
    /// Waiting for anything else.
    pub blocked_ns: u64,
    /// Part of [`Self::runnable_ns`] in which it was on a CPU that the hypervisor had taken away (steal).
    pub stolen_ns: u64,
    /// The scheduler's own account of its time on CPUs at the last switch, which leaves out what was stolen.
    pub exec_ns: u64,
    /// [`Self::user_ns`] at the last switch.
    pub user_then_ns: u64,
    /// [`Self::kernel_ns`] at the last switch.
    pub kernel_then_ns: u64,
    /// Row of the system call it is inside, or [`NO_CALL`]; see also [`HELD`].
    pub call: u32,
    /// Times it left a CPU of its own will.
    pub voluntary: u32,
    /// When that call was entered.
    pub call_since_ns: u64,
    /// [`Self::blocked_ns`] when the call was entered.
    pub call_blocked_ns: u64,
    /// [`Self::runnable_ns`] when the call was entered.
    pub call_runnable_ns: u64,
    /// Payload bytes sent through IPv4 and IPv6 sockets.
    pub tx_bytes: u64,
    /// Payload bytes received through IPv4 and IPv6 sockets.
    pub rx_bytes: u64,
    /// Sends that moved bytes.
    pub tx_calls: u32,
    /// Receives that moved bytes.
    pub rx_calls: u32,
    /// Times it left a CPU while it could have gone on: preempted, or yielding.
    pub preempted: u32,
    /// Times it was put on a CPU after waiting for one.
    pub waits: u32,
    /// Its name when it began to exit; zeros before.
    pub comm: [u8; 16],
    /// Where the records of the calls are that it made last: see [`cache_cell`] and [`pack_slot`].
    pub records: [u32; CACHE_CELLS],
    /// The same for its process's record of run-queue delays.
    pub queue_record: u32,
    /// How many calls the one it is inside stands for. (With it an entry is four cache lines, and an index a shift.)
    pub call_weight: u32,
}

/// Key of a thread that found its slot taken: the start time tells two users of one tid apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ThreadKey {
    /// Start of the thread, `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// Thread id.
    pub tid: u32,
    /// Zero.
    pub pad: u32,
}

/// Key of a latency record: a process and what is measured of it.
///
/// A process is its tgid (22 bits, the kernel's `PID_MAX_LIMIT`) and its birth, so a reused pid gets records of its own. Keys
/// are ordered by process (tgid, then birth), then by what is measured. None is 0: no process has the id 0.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct RecordKey(pub u64);

impl RecordKey {
    const TGID_BITS: u32 = 22;
    const WHAT_BITS: u32 = 10;
    const BIRTH_BITS: u32 = 32;

    /// Key of `what` (a row of the system-call table or [`RUN_QUEUE`]) in the process (`tgid`, `process_start_ns`).
    #[inline(always)]
    pub const fn new(tgid: u32, process_start_ns: u64, what: u32) -> Self {
        Self::of(tgid, Self::birth_of(process_start_ns), what)
    }

    /// The same for a process whose birth is known.
    #[inline(always)]
    pub const fn of(tgid: u32, birth: u32, what: u32) -> Self {
        let tgid = tgid as u64 & ((1 << Self::TGID_BITS) - 1);
        let what = what as u64 & ((1 << Self::WHAT_BITS) - 1);
        Self(tgid << (Self::BIRTH_BITS + Self::WHAT_BITS) | (birth as u64) << Self::WHAT_BITS | what)
    }

    /// Start of a process in microseconds (of 1024 ns), modulo 2^32: two users of one pid would have to be born 73 minutes
    /// apart to the microsecond, with the first not yet forgotten, to be taken for one.
    #[inline(always)]
    pub const fn birth_of(process_start_ns: u64) -> u32 {
        ((process_start_ns >> 10) & 0xffff_ffff) as u32
    }

    /// The process id.
    pub const fn tgid(self) -> u32 {
        (self.0 >> (Self::BIRTH_BITS + Self::WHAT_BITS)) as u32
    }

    /// What is measured.
    pub const fn what(self) -> u32 {
        (self.0 & ((1 << Self::WHAT_BITS) - 1)) as u32
    }

    /// See [`Self::birth_of`].
    pub const fn birth(self) -> u32 {
        (self.0 >> Self::WHAT_BITS & 0xffff_ffff) as u32
    }
}

/// Counts by bucket, modulo 2^32.
pub type Buckets = [u32; SCALE3_LEN];

/// What is summed up of latencies beside their distribution.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Sums {
    /// Sum of all durations, ns. It grows with each of them, so one that stands still has nothing new in its buckets.
    pub total_ns: u64,
    /// Part of it spent blocked (for system calls).
    pub blocked_ns: u64,
    /// Part of it spent waiting for a CPU (for system calls).
    pub runnable_ns: u64,
    /// The longest of an even and of an odd epoch: see [`pack_max`].
    pub max: [u64; 2],
    /// Calls that returned an error.
    pub errors: u32,
    /// Times that a signal cut a call short and the kernel restarted it: no latency sample, not in the buckets.
    pub interrupted: u32,
    /// Calls that the kernel did not carry out, since seccomp or a tracer answered them: when they began is not known, so they
    /// are in no bucket and no time. Those that got an error are in `errors`.
    pub denied: u32,
    /// Zero.
    pub pad: u32,
}

/// The dense part of a record, one cache line: its buckets are at the same index in another array, and looked at only when this has changed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Head {
    /// The sums.
    pub sums: Sums,
    /// Whose record it is; 0 for a slot that nobody has.
    pub key: RecordKey,
}

/// A row of a table of the host: calls whose record could not be had, or the run-queue delays of a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Row {
    /// The sums.
    pub sums: Sums,
    /// The distribution. The count is their sum.
    pub buckets: Buckets,
}

/// [`Thread::call`] of a call in `row` that returned `result`, one of `-ERESTARTSYS` (-512) to
/// `-ERESTART_RESTARTBLOCK` (-516).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "three bits are kept")]
pub const fn held(row: u32, result: i64) -> u32 {
    HELD | ((-512 - result) as u32 & 7) << HELD_KIND | row & (CALL_ROWS - 1)
}

/// Where [`held`] keeps the result.
const HELD_KIND: u32 = 17;

/// How far below -ERESTARTSYS the result of a held call was.
#[inline(always)]
pub const fn held_kind(call: u32) -> u32 {
    call >> HELD_KIND & 7
}

/// The row in a [`Thread::call`], held or not; [`NO_CALL`] if it is in none.
#[inline(always)]
pub const fn row_in(call: u32) -> u32 {
    if call == NO_CALL { NO_CALL } else { call & (CALL_ROWS - 1) }
}

/// Cells of a thread's cache of record slots.
pub const CACHE_CELLS: usize = 8;
/// Bits of a cached word that hold the slot.
const SLOT_BITS: u32 = 22;
/// Slots that a record can have: the highest number is never one.
pub const MAX_SLOTS: u32 = (1 << SLOT_BITS) - 2;

/// The cell of the cache for a row of the system-call table. The factor keeps calls apart that are often made by one thread
/// (`read`, `write`, `futex` and `epoll_wait`; `openat`, `fstat` and `close`): plain remainders put many of them into one.
#[inline(always)]
pub const fn cache_cell(what: u32) -> usize {
    (what.wrapping_mul(0x34c8_d03b) >> 29) as usize
}

/// A cached slot, with what it is for.
#[inline(always)]
pub const fn pack_slot(what: u32, slot: u32) -> u32 {
    what << SLOT_BITS | (slot + 1)
}

/// The slot for `what` in a cached word; [`MAX_SLOTS`] or more when the word is for something else, or 0.
#[inline(always)]
pub const fn slot_in(cached: u32, what: u32) -> u32 {
    (cached ^ what << SLOT_BITS).wrapping_sub(1)
}

/// Bits of a packed maximum that hold nanoseconds (78 hours); the rest is the epoch.
const MAX_NS_BITS: u32 = 48;

/// A maximum with the epoch it belongs to, in one word that is written at once.
///
/// User space starts an epoch with each sample; the programs keep the maximum of the present epoch in the slot of its
/// parity, so the one that just closed can be read at leisure: a true maximum of the interval, though nothing is ever reset.
#[inline(always)]
pub const fn pack_max(epoch: u32, ns: u64) -> u64 {
    let limit = (1 << MAX_NS_BITS) - 1;
    let ns = if ns > limit { limit } else { ns };
    (epoch as u64) << MAX_NS_BITS | ns
}

/// The maximum in `packed` if it belongs to `epoch`, else 0.
#[inline(always)]
pub const fn max_of(packed: u64, epoch: u32) -> u64 {
    if packed >> MAX_NS_BITS == (epoch & 0xffff) as u64 { packed & ((1 << MAX_NS_BITS) - 1) } else { 0 }
}

/// The one element of the control map: user space writes, programs read.
///
/// Zeros mean that everything is counted all the time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Control {
    /// The present epoch of the maxima; 16 bits are used.
    pub epoch: u32,
    /// Of so many system calls one is recorded, as so many: a power of two. 0 and 1: all are.
    pub calls_one_in: u32,
    /// The same of waits for a CPU.
    pub waits_one_in: u32,
    /// The same of sends and receives.
    pub transfers_one_in: u32,
    /// Calls entered before are not recorded: their programs were not attached all the time since. [`BLIND`] while they
    /// are not attached.
    pub calls_since_ns: u64,
    /// What threads did before, and not since, is not known any more: the scheduler's programs were not attached all the
    /// time since. [`BLIND`] while they are not.
    pub states_since_ns: u64,
    /// Until when it was known, before that.
    pub states_until_ns: u64,
    /// [`BLIND`] while sends and receives are not counted.
    pub transfers_since_ns: u64,
    /// Every call that was entered since was seen to be. [`BLIND`] while some are left out.
    pub entries_since_ns: u64,
}

/// A time later than any: nothing is known since.
pub const BLIND: u64 = u64::MAX;

/// What was lost, by index in the map of losses.
pub mod lost {
    /// Events of threads for which there was no entry left.
    pub const THREADS: u32 = 0;
    /// Latencies for which there was no record left; those of the host have them.
    pub const RECORDS: u32 = 1;
    /// Errors for which there was no counter left; their calls are counted.
    pub const ERRORS: u32 = 2;
    /// Requests of block devices for which there was no room.
    pub const DISK: u32 = 3;
    /// Waits whose causes found no room.
    pub const BLAME: u32 = 4;
    /// Connections for which there was no room.
    pub const CONNECTIONS: u32 = 5;
    /// Processes that ended and found no room in the ledger.
    pub const DEAD: u32 = 6;
    /// Number of counters.
    pub const COUNT: u32 = 7;
}

/// What a program finds instead of the offset of a structure field that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_keys_give_back_their_parts() {
        let key = RecordKey::new(4_194_303, 123_456_789_012, RUN_QUEUE);
        let birth = RecordKey::birth_of(123_456_789_012);
        assert_eq!((key.tgid(), key.birth(), key.what()), (4_194_303, birth, RUN_QUEUE));
        assert_ne!(key, RecordKey::new(4_194_303, 123_456_790_100, RUN_QUEUE));
    }

    #[test]
    fn keys_are_ordered_by_process_and_then_by_what_is_measured() {
        let keys = [RecordKey::of(1, 9, 5), RecordKey::of(2, 3, 1023), RecordKey::of(2, 4, 0), RecordKey::of(2, 4, 1)];
        assert!(keys.is_sorted());
    }

    #[test]
    fn a_cached_slot_serves_only_what_it_is_for() {
        for what in [0, 1, 232, OTHER_CALL, RUN_QUEUE] {
            for slot in [0, 1, 32_767, MAX_SLOTS - 1] {
                assert_eq!(slot_in(pack_slot(what, slot), what), slot);
                let others = (0..=RUN_QUEUE).filter(|other| *other != what);
                assert!(others.map(|other| slot_in(pack_slot(what, slot), other)).all(|slot| slot >= MAX_SLOTS));
            }
            assert!(slot_in(0, what) >= MAX_SLOTS);
        }
        assert!((0..CALL_ROWS).all(|what| cache_cell(what) < CACHE_CELLS));
    }

    #[test]
    fn a_maximum_belongs_to_its_epoch() {
        let packed = pack_max(7, 1_000);
        assert_eq!((max_of(packed, 7), max_of(packed, 8)), (1_000, 0));
        assert_eq!(max_of(pack_max(65_543, 5), 65_543), 5);
    }

    #[test]
    fn a_held_call_keeps_its_row_and_its_result() {
        for row in [0, 7, OTHER_CALL] {
            assert_eq!((row_in(held(row, -516)), held_kind(held(row, -516)), row_in(row)), (row, 4, row));
            assert!(held(row, -512) != NO_CALL && held(row, -512) & HELD != 0 && held_kind(held(row, -512)) == 0);
        }
        assert_eq!(row_in(NO_CALL), NO_CALL);
    }

    #[test]
    fn layouts_have_no_padding() {
        assert_eq!(size_of::<Thread>(), 256);
        assert_eq!(size_of::<Head>(), 64);
        assert_eq!(size_of::<Row>(), 56 + 4 * SCALE3_LEN);
    }
}
