//! The threads of one process and the CPU time that its cgroup may use: subtraction and adding up.
//!
//! Not here: how they are read. Invariant: a thread is (tid, start), so a reused id never inherits; one that was not in the
//! sample before has lived since it was born, or since it was first looked at, and is left out of that interval.

use serde::Serialize;

use crate::core::ident::ProcessId;
use crate::probes::time::stats::TimeSplit;

/// What a thread has done since kscope knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadSample {
    /// Thread id.
    pub tid: u32,
    /// Start, ns of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// Its name, made printable; empty if unknown.
    pub comm: String,
    /// It is gone; this is its last sample.
    pub exited: bool,
    /// Where its time went.
    pub time: TimeSplit,
    /// Number of the call it is in.
    pub call: Option<u32>,
    /// It was made after the sample before: all that it did belongs to this interval.
    pub is_new: bool,
}

/// The process whose page is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSample {
    /// Which one.
    pub id: ProcessId,
    /// Since it was started, ns.
    pub age_ns: u64,
    /// Its threads, by id and start.
    pub threads: Vec<ThreadSample>,
    /// What its cgroup allows.
    pub quota: Option<Quota>,
}

/// What a cgroup has to do with CPU time: the nearest one above the process that has a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// Its path in the hierarchy.
    pub cgroup: String,
    /// CPU time that it may use in a period, ns.
    pub quota_ns: u64,
    /// The period, ns.
    pub period_ns: u64,
    /// Periods in which it ran.
    pub periods: u64,
    /// Those in which its time was used up.
    pub throttled: u64,
    /// How long its CPUs were kept from running it, all added up, ns.
    pub throttled_ns: u64,
}

/// A thread in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadStats {
    /// Thread id.
    pub tid: u32,
    /// Start, ns of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// Its name.
    pub comm: String,
    /// It ended in this interval.
    pub exited: bool,
    /// Where its time went.
    pub time: TimeSplit,
    /// The call it was in at the end.
    pub call: Option<u32>,
}

/// The process in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageStats {
    /// Which one.
    pub id: ProcessId,
    /// Since it was started, ns, at the end.
    pub age_ns: u64,
    /// Its threads, by id and start; `None` where they cannot be told apart, since only a part of the events was counted.
    pub threads: Option<Vec<ThreadStats>>,
    /// What its cgroup has done to it in the interval.
    pub quota: Option<Quota>,
}

impl PageStats {
    /// What happened from `prev` to `next`, if both are of the same process. One that was not looked at before has no
    /// interval yet.
    pub fn between(prev: Option<&PageSample>, next: Option<&PageSample>) -> Option<Self> {
        let (prev, next) = prev.zip(next).filter(|(prev, next)| prev.id == next.id)?;
        let key = |t: &ThreadSample| (t.tid, t.start_ns);
        let stats = |now: &ThreadSample| {
            let was = prev.threads.binary_search_by_key(&key(now), key).ok().map(|at| &prev.threads[at]);
            let then = match was {
                Some(was) => was.time,
                None if now.is_new => TimeSplit::default(),
                None => return None,
            };
            let (comm, time) = (now.comm.clone(), now.time.since(then));
            Some(ThreadStats { tid: now.tid, start_ns: now.start_ns, comm, exited: now.exited, time, call: now.call })
        };
        let threads = next.threads.iter().filter_map(stats).collect();
        let quota = next.quota.as_ref().map(|now| now.since(prev.quota.as_ref()));
        Some(Self { id: next.id, age_ns: next.age_ns, threads: Some(threads), quota })
    }

    /// Adds the interval that followed.
    pub fn append(&mut self, later: &Self) {
        if self.id != later.id {
            return self.clone_from(later);
        }
        self.age_ns = later.age_ns;
        match (&mut self.threads, &later.threads) {
            (Some(mine), Some(theirs)) => append_threads(mine, theirs),
            _ => self.threads = None,
        }
        self.quota = match (self.quota.take(), &later.quota) {
            (Some(mine), Some(theirs)) => Some(mine.plus(theirs)),
            (mine, theirs) => theirs.clone().or(mine),
        };
    }
}

fn append_threads(mine: &mut Vec<ThreadStats>, theirs: &[ThreadStats]) {
    let key = |t: &ThreadStats| (t.tid, t.start_ns);
    for thread in theirs {
        match mine.binary_search_by_key(&key(thread), key) {
            Ok(at) => {
                let time = mine[at].time.plus(thread.time);
                mine[at] = ThreadStats { time, ..thread.clone() };
            }
            Err(at) => mine.insert(at, thread.clone()),
        }
    }
}

impl Quota {
    /// CPUs that it may use.
    pub fn cpus(&self) -> f64 {
        self.quota_ns as f64 / self.period_ns.max(1) as f64
    }

    fn since(&self, prev: Option<&Self>) -> Self {
        let Some(prev) = prev.filter(|prev| prev.cgroup == self.cgroup) else {
            return Self { periods: 0, throttled: 0, throttled_ns: 0, ..self.clone() };
        };
        Self {
            periods: self.periods.saturating_sub(prev.periods),
            throttled: self.throttled.saturating_sub(prev.throttled),
            throttled_ns: self.throttled_ns.saturating_sub(prev.throttled_ns),
            ..self.clone()
        }
    }

    fn plus(&self, later: &Self) -> Self {
        if self.cgroup != later.cgroup {
            return later.clone();
        }
        Self {
            periods: self.periods.saturating_add(later.periods),
            throttled: self.throttled.saturating_add(later.throttled),
            throttled_ns: self.throttled_ns.saturating_add(later.throttled_ns),
            ..later.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(tid: u32, start_ns: u64, user_ns: u64, is_new: bool) -> ThreadSample {
        let time = TimeSplit { user_ns, ..TimeSplit::default() };
        ThreadSample { tid, start_ns, time, is_new, ..ThreadSample::default() }
    }

    fn page(threads: Vec<ThreadSample>) -> PageSample {
        let quota = Quota { cgroup: "/a".into(), throttled_ns: threads.len() as u64 * 10, ..Quota::default() };
        PageSample { id: ProcessId { pid: 7, birth: 1 }, threads, quota: Some(quota), ..PageSample::default() }
    }

    #[test]
    fn threads_are_subtracted_by_identity() {
        let prev = page(vec![thread(7, 1, 100, false), thread(8, 2, 50, false)]);
        let next = page(vec![
            thread(7, 1, 130, false),
            thread(8, 9, 40, true),
            thread(9, 3, 1_000, false),
            thread(10, 4, 5, true),
        ]);
        let between = PageStats::between(Some(&prev), Some(&next)).unwrap();
        let user: Vec<_> = between.threads.as_ref().unwrap().iter().map(|t| (t.tid, t.time.user_ns)).collect();
        assert_eq!(user, [(7, 30), (8, 40), (10, 5)], "a reused id begins anew; one not looked at before is left out");
        assert_eq!(between.quota.as_ref().unwrap().throttled_ns, 20);
        let mut sum = between.clone();
        sum.append(&between);
        assert_eq!(sum.threads.unwrap()[0].time.user_ns, 60);
        assert_eq!(sum.quota.unwrap().throttled_ns, 40);
    }

    #[test]
    fn another_process_has_no_interval_yet() {
        let prev = page(vec![thread(7, 1, 100, false)]);
        let other = PageSample { id: ProcessId { pid: 7, birth: 2 }, ..prev.clone() };
        assert_eq!(PageStats::between(Some(&prev), Some(&other)), None);
        assert_eq!(PageStats::between(None, Some(&prev)), None);
    }
}
