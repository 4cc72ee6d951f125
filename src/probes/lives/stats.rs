//! The arithmetic of the dead: how one ended, and what they did by command and parent.
//!
//! What a dead process did is what it did while kscope watched: of one that was there before, that is not all.
//!
//! Invariant: nothing is dropped. What finds no group of its own is in [`Groups::others`], so the sums are those of all.

use std::collections::HashMap;
use std::sync::Arc;

use kscope_layout::bucket::scale3;

use crate::core::histogram::Histogram;
use crate::core::ident::ProcessId;
use crate::core::quality::Quality;
use crate::probes::network::stats::Traffic;
use crate::probes::time::stats::TimeSplit;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this status.
    Exited(u8),
    /// This signal ended it.
    Killed(u8),
}

impl Status {
    /// From what its parent gets from `wait`.
    pub const fn of_wait(status: u32) -> Self {
        let [low, code, ..] = status.to_le_bytes();
        match low & 0x7f {
            0 => Self::Exited(code),
            signal => Self::Killed(signal),
        }
    }

    /// Anything but exit status 0.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Exited(0))
    }
}

/// The end of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// From its start until its last thread began to exit, ns.
    pub life_ns: u64,
    /// How it ended.
    pub status: Status,
    /// It ran a program of its own, instead of going on as a copy of its parent.
    pub ran_program: bool,
}

/// A process that is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Dead {
    /// Who it was.
    pub id: ProcessId,
    /// Its last name; empty where nobody noted it.
    pub comm: Arc<str>,
    /// The one that made it, or who had adopted it if that one's name is not known any more; 0 if neither is known.
    pub parent: u32,
    /// Its name.
    pub parent_comm: Arc<str>,
    /// How it ended; `None` when the ledger had no room.
    pub end: Option<End>,
    /// How long kscope watched it, ns: its life, or since kscope began.
    pub watched_ns: u64,
    /// What it did meanwhile; `None` where a table had no room for its threads, or that was not watched all the time.
    pub time: Option<TimeSplit>,
    /// System calls that it completed.
    pub calls: Option<u64>,
    /// Bytes that it sent and received.
    pub traffic: Option<Traffic>,
}

/// How many processes were made, turned to another program, and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Processes made; threads are none.
    pub forks: u64,
    /// Programs begun.
    pub execs: u64,
    /// Processes that ended.
    pub ends: u64,
}

impl Turnover {
    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self {
            forks: self.forks.saturating_sub(prev.forks),
            execs: self.execs.saturating_sub(prev.execs),
            ends: self.ends.saturating_sub(prev.ends),
        }
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            forks: self.forks.saturating_add(other.forks),
            execs: self.execs.saturating_add(other.execs),
            ends: self.ends.saturating_add(other.ends),
        }
    }
}

/// The dead of one command and one parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Their last name.
    pub comm: Arc<str>,
    /// Their parents' name.
    pub parent: Arc<str>,
    /// How many.
    pub died: u64,
    /// Of those, how many ran a program of their own.
    pub ran_program: u64,
    /// How many ended with another exit status than 0.
    pub failed: u64,
    /// How many a signal ended.
    pub killed: u64,
    /// How many there are of which it is not known how they ended or how long they lived.
    pub without_end: u64,
    /// How many there are of which it is not known what they did.
    pub without_account: u64,
    /// Where their threads' time went.
    pub time: TimeSplit,
    /// Of their time on CPUs, what fell into the last [`WINDOW_NS`]; even use is assumed of those that lived longer.
    pub recent_cpu_ns: u64,
    /// Some lived longer than that.
    pub is_estimate: bool,
    /// System calls that they completed.
    pub calls: u64,
    /// Bytes that they sent and received.
    pub traffic: Traffic,
    /// How long they lived.
    pub lives: Histogram,
    /// The longest life, ns.
    pub longest_ns: u64,
}

/// How far back the dead are remembered, ns.
pub const WINDOW_NS: u64 = 300_000_000_000;

impl Group {
    fn new(comm: Arc<str>, parent: Arc<str>) -> Self {
        Self {
            comm,
            parent,
            died: 0,
            ran_program: 0,
            failed: 0,
            killed: 0,
            without_end: 0,
            without_account: 0,
            time: TimeSplit::default(),
            recent_cpu_ns: 0,
            is_estimate: false,
            calls: 0,
            traffic: Traffic::default(),
            lives: Histogram::new(),
            longest_ns: 0,
        }
    }

    fn add(&mut self, dead: &Dead) {
        self.died += 1;
        match dead.end {
            Some(end) => {
                self.ran_program += u64::from(end.ran_program);
                self.failed += u64::from(matches!(end.status, Status::Exited(code) if code != 0));
                self.killed += u64::from(matches!(end.status, Status::Killed(_)));
                // Bucket 0 is everything up to 59 ns, so 0 is in it.
                self.lives.add(u16::try_from(scale3(end.life_ns.max(1))).unwrap_or_default(), 1);
                self.longest_ns = self.longest_ns.max(end.life_ns);
            }
            None => self.without_end += 1,
        }
        if dead.time.is_none() || dead.calls.is_none() || dead.traffic.is_none() {
            self.without_account += 1;
        }
        let time = dead.time.unwrap_or_default();
        self.time = self.time.plus(time);
        self.is_estimate |= dead.watched_ns > WINDOW_NS;
        let recent_ns = if dead.watched_ns > WINDOW_NS {
            time.times(WINDOW_NS as f64 / dead.watched_ns as f64).on_cpu_ns()
        } else {
            time.on_cpu_ns()
        };
        self.recent_cpu_ns = self.recent_cpu_ns.saturating_add(recent_ns);
        self.calls = self.calls.saturating_add(dead.calls.unwrap_or_default());
        self.traffic = self.traffic.plus(dead.traffic.unwrap_or_default());
    }

    /// Adds all of `other`, whose names do not matter.
    pub fn merge(&mut self, other: &Self) {
        self.died = self.died.saturating_add(other.died);
        self.ran_program = self.ran_program.saturating_add(other.ran_program);
        self.failed = self.failed.saturating_add(other.failed);
        self.killed = self.killed.saturating_add(other.killed);
        self.without_end = self.without_end.saturating_add(other.without_end);
        self.without_account = self.without_account.saturating_add(other.without_account);
        self.time = self.time.plus(other.time);
        self.recent_cpu_ns = self.recent_cpu_ns.saturating_add(other.recent_cpu_ns);
        self.is_estimate |= other.is_estimate;
        self.calls = self.calls.saturating_add(other.calls);
        self.traffic = self.traffic.plus(other.traffic);
        self.lives.merge(&other.lives);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// What the numbers of what they did are worth: nothing, if of none of them that is known.
    pub const fn account_quality(&self) -> Quality {
        quality_of(self.without_account, self.died)
    }

    /// The same of how they ended and how long they lived.
    pub const fn end_quality(&self) -> Quality {
        quality_of(self.without_end, self.died)
    }

    /// The life that the share `q` of them did not outlive, ns; `None` if none is known.
    pub fn life(&self, q: f64) -> Option<u64> {
        self.lives.quantile(q, self.longest_ns)
    }
}

/// What a sum over `all` is worth that leaves out so many.
const fn quality_of(left_out: u64, all: u64) -> Quality {
    match left_out {
        0 => Quality::Exact,
        some if some < all => Quality::LowerBound,
        _ => Quality::NotAvailable,
    }
}

/// What makes a group: command and parent.
pub type Key = (Arc<str>, Arc<str>);

/// The dead by command and parent, so many groups at most.
#[derive(Clone, Debug)]
pub struct Groups {
    by_names: HashMap<Key, Group>,
    most: usize,
    /// Those for which there was no group left.
    pub others: Group,
}

impl Groups {
    /// None yet.
    pub fn new(most: usize) -> Self {
        Self { by_names: HashMap::new(), most, others: Group::new("".into(), "".into()) }
    }

    /// Those of a list.
    pub fn of<'a>(dead: impl IntoIterator<Item = &'a Dead>, most: usize) -> Self {
        let mut groups = Self::new(most);
        dead.into_iter().for_each(|one| groups.add(one));
        groups
    }

    /// Adds one.
    pub fn add(&mut self, dead: &Dead) {
        self.group(&dead.comm, &dead.parent_comm).add(dead);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.by_names.values().for_each(|group| self.group(&group.comm, &group.parent).merge(group));
        self.others.merge(&other.others);
    }

    fn group(&mut self, comm: &Arc<str>, parent: &Arc<str>) -> &mut Group {
        let key = (Arc::clone(comm), Arc::clone(parent));
        if self.by_names.len() >= self.most && !self.by_names.contains_key(&key) {
            return &mut self.others;
        }
        self.by_names.entry(key).or_insert_with(|| Group::new(Arc::clone(comm), Arc::clone(parent)))
    }

    /// The groups, in no order; [`Self::others`] is none of them.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_names.values()
    }

    /// One of them.
    pub fn get(&self, key: &Key) -> Option<&Group> {
        self.by_names.get(key)
    }

    /// All of them together.
    pub fn sum(&self) -> Group {
        let mut sum = self.others.clone();
        self.by_names.values().for_each(|group| sum.merge(group));
        sum
    }
}
