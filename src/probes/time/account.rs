//! Accounts of processes, made of the entries of their threads.
//!
//! Not here: how entries are read and which of them count (`probe.rs`).
//!
//! Invariant: the four times of an account sum to the time that its threads have lived, as far as that was seen.

use kscope_layout::cause::Beside;
use kscope_layout::{DEAD, NO_CALL, RecordKey, Thread, flags, missed_runs, state};

use super::causes::BlockedBy;
use super::stats::{Doing, TimeSplit};
use crate::core::ident::ProcessId;
use crate::probes::network::stats::Traffic;

/// What the threads of a process did, cumulative.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Where their time went.
    pub time: TimeSplit,
    /// What they sent and received.
    pub traffic: Traffic,
    /// Times one left a CPU of its own will.
    pub voluntary: u64,
    /// Times one was pushed off a CPU.
    pub preempted: u64,
    /// System calls that they completed, also those for which there was no record.
    pub calls: u64,
    /// Runs on a CPU of which no program saw the beginning or the end.
    pub missed: u64,
}

impl Account {
    /// Adds what others did.
    pub(super) fn add(&mut self, other: &Self) {
        self.time = self.time.plus(other.time);
        self.traffic = self.traffic.plus(other.traffic);
        self.voluntary = self.voluntary.saturating_add(other.voluntary);
        self.preempted = self.preempted.saturating_add(other.preempted);
        self.calls = self.calls.saturating_add(other.calls);
        self.missed = self.missed.saturating_add(other.missed);
    }
}

/// A process as its threads show it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessReading {
    /// Of all its threads, dead ones included.
    pub account: Account,
    /// Threads alive.
    pub threads: u32,
    /// Start of the process, ns of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// The process that made its first thread, where that was seen.
    pub parent: Option<ProcessId>,
    /// Its last name, if its main thread has begun to exit (or, failing that, another).
    pub last_comm: Option<[u8; 16]>,
    /// CPUs that its threads last ran on, modulo 128: a bit each.
    pub ran_on: u128,
    /// A kernel thread.
    pub kthread: bool,
    /// What its threads are doing, the most noteworthy of it.
    pub state: Doing,
}

/// Which process a thread belongs to.
pub(super) fn id_of(thread: &Thread) -> ProcessId {
    ProcessId { pid: thread.tgid, birth: RecordKey::birth_of(thread.process_start_ns) }
}

/// What a thread did up to its last event.
pub(super) fn account_of(Beside { thread, causes }: &Beside) -> Account {
    Account {
        time: TimeSplit {
            user_ns: thread.user_ns,
            kernel_ns: thread.kernel_ns,
            runnable_ns: thread.runnable_ns,
            blocked_ns: thread.blocked_ns,
            stolen_ns: thread.stolen_ns,
            blocked_by: BlockedBy::new(*causes).settled(thread.blocked_ns),
        },
        traffic: Traffic {
            tx_bytes: thread.tx_bytes,
            rx_bytes: thread.rx_bytes,
            tx_calls: thread.tx_calls.into(),
            rx_calls: thread.rx_calls.into(),
        },
        voluntary: thread.voluntary.into(),
        preempted: thread.preempted.into(),
        calls: thread.calls,
        missed: missed_runs(thread.flags).into(),
    }
}

/// The account with the time from the last event to `now_ns`, in which the thread has been doing what it did then.
pub(super) fn account_at(entry: &Beside, now_ns: u64) -> Account {
    let (thread, mut account) = (&entry.thread, account_of(entry));
    let (ns, time) = (now_ns.saturating_sub(thread.since_ns), &mut account.time);
    match thread.state {
        state::RUNNING if thread.call != NO_CALL || thread.flags & flags::KTHREAD != 0 => {
            time.kernel_ns = time.kernel_ns.saturating_add(ns);
        }
        state::RUNNING => time.user_ns = time.user_ns.saturating_add(ns),
        state::RUNNABLE => time.runnable_ns = time.runnable_ns.saturating_add(ns),
        state::SLEEPING | state::DISK_SLEEP => {
            time.blocked_ns = time.blocked_ns.saturating_add(ns);
            time.blocked_by = time.blocked_by.extended(thread.flags, ns);
        }
        _ => {}
    }
    account
}

/// What a living thread is doing.
pub(super) const fn doing(thread: &Thread) -> Doing {
    match thread.state {
        state::RUNNING | state::RUNNABLE => Doing::Runs,
        state::DISK_SLEEP => Doing::DiskSleep,
        state::SLEEPING => Doing::Sleeps,
        _ => Doing::Unknown,
    }
}

/// Adds who the thread is to what is known of its process.
pub(super) fn describe(process: &mut ProcessReading, thread: &Thread) {
    let main = thread.tid & !DEAD == thread.tgid;
    process.start_ns = thread.process_start_ns;
    process.kthread |= thread.flags & flags::KTHREAD != 0;
    if thread.flags & flags::EXITING != 0 && (main || process.last_comm.is_none()) {
        process.last_comm = Some(thread.comm);
    }
    if thread.parent_tgid != 0 && (main || process.parent.is_none()) {
        let parent = ProcessId { pid: thread.parent_tgid, birth: thread.parent_birth };
        // A second thread was made by its own process.
        if parent != id_of(thread) {
            process.parent = Some(parent);
        }
    }
}
