//! Reads the table of threads, and collects the dead from it.
//!
//! Every thread has one entry as long as it lives and until it was read once after its death; then what it did is kept
//! here, in its process's account, and the entry is freed. So nothing is counted twice, and nothing is lost in between.
//!
//! Invariant: only entries of threads that are gone are ever written from user space.

use std::collections::{HashMap, HashSet};
use std::io;

use bytemuck::Zeroable as _;
use kscope_layout::cause::{Beside, Causes};
use kscope_layout::{DEAD, NO_CALL, RecordKey, Thread, ThreadKey, flags, row_in, state, with_missed_run};

use super::account::{ProcessReading, account_at, account_of, describe, doing, id_of};
pub use super::copies::Copies;
use super::copies::{free, read_entry, stands};
use super::remembered::{self, Doubts};
use super::running;
use super::stats::TimeSplit;
use crate::core::ident::ProcessId;
use crate::core::quality::Quality;
use crate::kernel::maps::{Hash, SharedArray};
use crate::privileged::eyes::Eyes;
use crate::probes::page::probe::Watched;
use crate::probes::page::stats::ThreadSample;
use crate::probes::stuck::stats::{InFlight, State};

/// What one pass over the table found.
#[derive(Debug, Default)]
pub struct Threads {
    /// Every process that has or had threads since it was first seen.
    pub processes: HashMap<ProcessId, ProcessReading>,
    /// Calls in flight.
    pub inflight: Vec<InFlight>,
    /// Slots of the table that hold a living thread.
    pub slots: usize,
    /// Living threads that found their slot taken.
    pub more: usize,
    /// The process that is looked at, if it has or had threads.
    pub watched: Option<Watched>,
}

/// How far what the entries say can be trusted, when programs are not attached all the time. Times of `CLOCK_MONOTONIC`; by
/// default all but the present is 0, which is: to the full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Horizon {
    /// The time of the sample.
    pub now_ns: u64,
    /// The scheduler's programs have been attached since then.
    pub states_since_ns: u64,
    /// They had been detached then.
    pub states_until_ns: u64,
    /// Those of the calls have been attached since then.
    pub calls_since_ns: u64,
    /// They had been detached then.
    pub calls_until_ns: u64,
}

impl Horizon {
    /// Until when it is known what the thread is doing.
    fn known_until(self, thread: &Thread) -> u64 {
        if thread.since_ns < self.states_since_ns { self.states_until_ns } else { self.now_ns }
    }

    /// True if the thread is certainly in the call that it was seen to enter: no return can have been missed since, or it
    /// has been asleep in it all the time.
    fn knows_call(self, thread: &Thread) -> bool {
        let asleep =
            matches!(thread.state, state::SLEEPING | state::DISK_SLEEP) && self.known_until(thread) == self.now_ns;
        thread.call_since_ns >= self.calls_since_ns || (asleep && thread.since_ns <= self.calls_until_ns)
    }

    /// True for a thread that is gone, but whose last switch was not watched.
    fn missed_the_end(self, thread: &Thread) -> bool {
        let missed = self.states_until_ns != 0 && thread.flags & flags::EXITING != 0;
        missed && !exists(thread.tgid, thread.tid)
    }
}

/// Where the threads are.
#[derive(Debug)]
pub struct Table<'a> {
    /// Threads by slot.
    pub slots: &'a SharedArray<Thread>,
    /// Their blocked time by cause, by the same slots.
    pub causes: &'a SharedArray<Causes>,
    /// Those that found their slot taken.
    pub more: &'a mut Hash<ThreadKey, Beside>,
}

/// Reads the table of threads and keeps the accounts of dead ones.
#[derive(Debug, Default)]
pub struct ThreadReader {
    /// What dead threads did, by process, until [`Self::forget`].
    dead: HashMap<ProcessId, ProcessReading>,
    /// Thread ids and sequences of those that were on or waiting for a CPU in the last pass.
    busy: HashMap<u32, u32>,
    /// Memory that is used again at the next pass.
    spare: HashMap<ProcessId, ProcessReading>,
    running: Vec<Beside>,
    doubts: Doubts,
    /// Slots that held a thread when they were looked for.
    taken: Vec<usize>,
    /// Room for their copies.
    room: Vec<(usize, Beside)>,
    /// The process whose threads are told apart, by pid.
    watched: Option<u32>,
}

impl ThreadReader {
    /// One that has looked at nothing yet, and asks through these eyes what threads wait for.
    pub fn new(eyes: Eyes) -> Self {
        Self { doubts: Doubts::new(eyes), ..Self::default() }
    }

    /// Tells the threads of this process apart from now on.
    pub const fn watch(&mut self, pid: Option<u32>) {
        self.watched = pid;
    }

    /// Looks for the slots that hold a thread, without reading it: most of the table is free, and passing over that takes
    /// longer than reading the threads does.
    pub fn find(&mut self, slots: &SharedArray<Thread>, causes: &SharedArray<Causes>) {
        self.taken.clear();
        for index in 0..slots.len() {
            let Some(at) = slots.at(index) else { break };
            // SAFETY: `at` comes from `SharedArray::at`; volatile as the kernel writes at the same time.
            if unsafe { (&raw const (*at).tid).read_volatile() } != 0 {
                // That part of the array is mapped now, too.
                let _ = causes.at(index);
                self.taken.push(index);
            }
        }
        // Its memory is there before it is needed.
        self.room = vec![(0, Beside::zeroed()); self.taken.len()];
    }

    /// Copies the entries in the slots that [`Self::find`] has found, and those beside the slots. A thread that was born since
    /// is in the next copies.
    pub fn copy(&mut self, table: &mut Table<'_>) -> io::Result<Copies> {
        let mut copies = Copies { slots: std::mem::take(&mut self.room), more: Vec::new() };
        copies.slots.clear();
        for index in self.taken.iter().copied() {
            let Some(at) = table.slots.at(index).zip(table.causes.at(index)) else { break };
            copies.slots.extend(read_entry(at).map(|entry| (index, entry)));
        }
        table.more.for_each(|key, entry| copies.more.push((key, *entry)))?;
        Ok(copies)
    }

    /// Reads all threads and collects the dead.
    pub fn read(&mut self, table: Table<'_>, horizon: Horizon) -> io::Result<Threads> {
        let mut table = table;
        self.find(table.slots, table.causes);
        let copies = self.copy(&mut table)?;
        self.take_in(copies, table, horizon)
    }

    /// The same from copies that were made at the horizon's time.
    pub fn take_in(&mut self, copies: Copies, table: Table<'_>, horizon: Horizon) -> io::Result<Threads> {
        let Table { slots, causes, more } = table;
        let mut out = Threads { processes: std::mem::take(&mut self.spare), ..Threads::default() };
        out.processes.clone_from(&self.dead);
        self.running.clear();
        let busy_before = std::mem::take(&mut self.busy);
        for (index, entry) in copies.slots {
            let Some(at) = slots.at(index).zip(causes.at(index)) else { break };
            let thread = &entry.thread;
            if matches!(thread.state, state::RUNNING | state::RUNNABLE) {
                self.busy.insert(thread.tid, thread.seq);
            }
            let gone = || vanished(thread, &busy_before, horizon.now_ns) || horizon.missed_the_end(thread);
            // A thread that has stirred since it was copied has more to tell.
            if thread.tid & DEAD != 0 || gone() && stands(at.0, thread) {
                self.bury(&entry, &mut out);
                free(at);
            } else {
                out.slots += 1;
                self.take(&entry, &mut out, horizon);
            }
        }
        let mut done = Vec::new();
        for (key, entry) in copies.more {
            let thread = &entry.thread;
            // One that has a slot as well was made twice (`ebpf/src/found.rs`): nobody writes this one any more.
            if thread.tid & DEAD != 0 || has_slot(slots, thread) || horizon.missed_the_end(thread) {
                done.push((key, entry));
            } else if thread.tid != 0 {
                out.more += 1;
                self.take(&entry, &mut out, horizon);
            }
        }
        for (key, entry) in done {
            // Counted only if it was still there: an entry is never counted twice.
            if more.remove(&key)? {
                self.bury(&entry, &mut out);
            }
        }
        self.take_running(slots, &mut out, horizon);
        for entry in self.doubts.resolve() {
            self.add(&entry, &mut out, horizon);
        }
        out.inflight.sort_by_key(|call| (std::cmp::Reverse(call.age_ns), call.tid));
        if let Some(watched) = &mut out.watched {
            watched.threads.sort_by_key(|thread| (thread.tid, thread.start_ns));
        }
        Ok(out)
    }

    /// Takes back what a pass has found, for its memory.
    pub fn reuse(&mut self, processes: HashMap<ProcessId, ProcessReading>) {
        self.spare = processes;
    }

    /// A process as the last pass found it, once that has been given back.
    pub fn last(&self, id: ProcessId) -> Option<ProcessReading> {
        self.spare.get(&id).copied()
    }

    /// Drops the account of a process that is gone and was reported.
    pub fn forget(&mut self, id: ProcessId) {
        self.dead.remove(&id);
    }

    fn bury(&mut self, entry: &Beside, out: &mut Threads) {
        for processes in [&mut self.dead, &mut out.processes] {
            let process = processes.entry(id_of(&entry.thread)).or_default();
            process.account.add(&account_of(entry));
            describe(process, &entry.thread);
        }
        self.note(entry, account_of(entry).time, true, out);
    }

    /// Keeps what one thread did apart, if its process is looked at.
    fn note(&self, entry: &Beside, time: TimeSplit, exited: bool, out: &mut Threads) {
        let thread = &entry.thread;
        if self.watched != Some(thread.tgid) {
            return;
        }
        let watched = out.watched.get_or_insert_default();
        // The pid may have been somebody else's in this very interval: the later one is looked at.
        if watched.start_ns > thread.process_start_ns {
            return;
        }
        if watched.start_ns < thread.process_start_ns {
            *watched = Watched { id: id_of(thread), start_ns: thread.process_start_ns, threads: Vec::new() };
        }
        let call = (thread.call != NO_CALL && !exited).then_some(row_in(thread.call));
        let (tid, start_ns) = (thread.tid & !DEAD, thread.start_ns);
        watched.threads.push(ThreadSample { tid, start_ns, exited, time, call, ..ThreadSample::default() });
    }

    /// Adds a living thread to its process, or keeps it for later if something is to be found out of it first.
    fn take(&mut self, entry: &Beside, out: &mut Threads, horizon: Horizon) {
        if entry.thread.state == state::RUNNING {
            self.running.push(*entry);
        } else if remembered::is_in_doubt(&entry.thread) {
            self.doubts.push(entry);
        } else {
            self.add(entry, out, horizon);
        }
    }

    fn take_running(&mut self, slots: &SharedArray<Thread>, out: &mut Threads, horizon: Horizon) {
        let running = std::mem::take(&mut self.running);
        let (on_cpu, lag_ns) = (last_on_cpus(&running), running::lag_ns());
        for mut entry in running.iter().copied() {
            let thread = &mut entry.thread;
            let now_ns = horizon.known_until(thread);
            // What a program has noted since then shows that the thread was on its CPU.
            let unseen = running::is_in_doubt(thread, now_ns)
                .then(|| running::ask(thread.tgid, thread.tid))
                .flatten()
                .filter(|_| stands_in(slots, thread))
                .and_then(|told| running::unseen(thread, now_ns, told, lag_ns));
            if let Some(unseen) = unseen {
                running::correct(&mut entry, unseen, now_ns);
            } else if on_cpu.get(&thread.cpu).is_some_and(|since| *since > thread.since_ns) {
                // A CPU runs one thread: the one it switched to last. Of another that seems to run there, the switch away was
                // not seen (some sandboxes keep programs from running in the context of their own processes).
                thread.state = state::UNKNOWN;
                thread.flags = with_missed_run(thread.flags);
            }
            self.add(&entry, out, horizon);
        }
        self.running = running;
    }

    fn add(&self, entry: &Beside, out: &mut Threads, horizon: Horizon) {
        let thread = &entry.thread;
        let account = account_at(entry, horizon.known_until(thread));
        let process = out.processes.entry(id_of(thread)).or_default();
        process.account.add(&account);
        process.threads += 1;
        process.ran_on |= 1 << (thread.cpu % u128::BITS);
        process.state = process.state.max(doing(thread));
        describe(process, thread);
        out.inflight.extend(in_flight(thread, horizon));
        self.note(entry, account.time, false, out);
    }
}

/// Which of the wanted processes have a thread that is not dead.
pub fn with_threads(
    slots: &SharedArray<Thread>,
    more: &mut Hash<ThreadKey, Beside>,
    wanted: impl Fn(ProcessId) -> bool,
) -> io::Result<HashSet<ProcessId>> {
    let mut found = HashSet::new();
    let mut look = |tid: u32, id: ProcessId| {
        if tid != 0 && tid & DEAD == 0 && wanted(id) {
            found.insert(id);
        }
    };
    for at in (0..slots.len()).filter_map(|index| slots.at(index)) {
        // SAFETY: `at` comes from `SharedArray::at`; volatile as the kernel writes at the same time. Most slots are free: one
        // word of them is enough.
        unsafe {
            let tid = (&raw const (*at).tid).read_volatile();
            if tid != 0 && tid & DEAD == 0 {
                let start_ns = (&raw const (*at).process_start_ns).read_volatile();
                let pid = (&raw const (*at).tgid).read_volatile();
                look(tid, ProcessId { pid, birth: RecordKey::birth_of(start_ns) });
            }
        }
    }
    more.for_each(|_, entry| look(entry.thread.tid, id_of(&entry.thread)))?;
    Ok(found)
}

/// Does the array hold this thread, too?
fn has_slot(slots: &SharedArray<Thread>, thread: &Thread) -> bool {
    let index = thread.tid as usize & slots.len().wrapping_sub(1);
    slots.at(index).is_some_and(|at| {
        // SAFETY: `at` comes from `SharedArray::at`; volatile as the kernel writes at the same time.
        let (tid, start_ns) =
            unsafe { ((&raw const (*at).tid).read_volatile(), (&raw const (*at).start_ns).read_volatile()) };
        (tid, start_ns) == (thread.tid, thread.start_ns)
    })
}

/// True for a thread that seems to be on or waiting for a CPU, but has not stirred since the last pass and is not there any
/// more: a thread that calls exec takes the id of its process's first thread, so its old id ends without a last switch.
///
/// A thread that exits gives up its id before its last switch, and may wait long for the CPU it needs for that (`SCHED_IDLE`):
/// it is there all the same, and its last switch would make a process of its own of it.
fn vanished(thread: &Thread, busy_before: &HashMap<u32, u32>, now_ns: u64) -> bool {
    let exits = thread.flags & flags::EXITING != 0 && now_ns.saturating_sub(thread.since_ns) < EXITS_NS;
    !exits && busy_before.get(&thread.tid) == Some(&thread.seq) && !exists(thread.tgid, thread.tid)
}

/// A thread that began to exit and has not stirred for so long has ended, though nobody saw it, ns.
const EXITS_NS: u64 = 300_000_000_000;

/// Asks the kernel whether a thread exists, a zombie included, by a signal that is none. A process exists as long as its
/// main thread does.
pub fn exists(process: u32, thread: u32) -> bool {
    // SAFETY: signal 0 only checks; any numbers are allowed.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Is this still what the array holds of the thread? True, too, for a thread that has its entry beside the array.
fn stands_in(slots: &SharedArray<Thread>, copy: &Thread) -> bool {
    let index = copy.tid as usize & slots.len().wrapping_sub(1);
    copy.flags & flags::BESIDE != 0 || slots.at(index).is_some_and(|at| stands(at, copy))
}

/// When each CPU's running thread was last heard of.
fn last_on_cpus(running: &[Beside]) -> HashMap<u32, u64> {
    let mut last = HashMap::new();
    for Beside { thread, .. } in running {
        let since = last.entry(thread.cpu).or_insert(0);
        *since = thread.since_ns.max(*since);
    }
    last
}

/// The call a thread is inside. One that sleeps but was not seen entering a call is in one all the same, or has a page fault:
/// it has no number yet, and its age is at least what was seen of its sleep.
fn in_flight(thread: &Thread, horizon: Horizon) -> Option<InFlight> {
    let state = match thread.state {
        state::SLEEPING => State::Sleeping,
        state::DISK_SLEEP => State::Uninterruptible,
        _ => State::Working,
    };
    let seen = thread.call != NO_CALL && thread.call_since_ns != 0 && horizon.knows_call(thread);
    if !seen && (state == State::Working || thread.flags & flags::KTHREAD != 0) {
        return None;
    }
    let (nr, since_ns) = if seen { (row_in(thread.call), thread.call_since_ns) } else { (NO_CALL, thread.since_ns) };
    Some(InFlight {
        process: id_of(thread),
        tid: thread.tid,
        nr,
        age_ns: horizon.now_ns.saturating_sub(since_ns),
        age_quality: if seen { Quality::Exact } else { Quality::LowerBound },
        state,
        detail: None,
    })
}
