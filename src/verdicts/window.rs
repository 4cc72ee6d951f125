//! The intervals that rules look at: the last few as "now", and what was before them.
//!
//! Invariant: "before" is empty until there is enough of it to compare with.

use std::collections::BTreeMap;

use super::facts::{CallFacts, CpuFacts, Facts, ProcessFacts};

/// Intervals that are "now".
pub const NOW: usize = 3;
/// Intervals that "before" has at least, to be compared with.
pub const BEFORE: usize = 6;

/// The intervals, oldest first.
#[derive(Clone, Debug)]
pub struct Window<'a> {
    all: Vec<&'a Facts>,
}

impl<'a> Window<'a> {
    /// A window of these intervals, oldest first.
    pub fn new(all: impl Iterator<Item = &'a Facts>) -> Self {
        Self { all: all.collect() }
    }

    /// The newest interval.
    pub fn newest(&self) -> Option<&'a Facts> {
        self.all.last().copied()
    }

    /// The last few intervals.
    pub fn now(&self) -> &[&'a Facts] {
        &self.all[self.all.len().saturating_sub(NOW)..]
    }

    /// Those before, if there are enough of them.
    pub fn before(&self) -> &[&'a Facts] {
        let before = &self.all[..self.all.len().saturating_sub(NOW)];
        if before.len() < BEFORE { &[] } else { before }
    }

    /// All of them.
    pub fn all(&self) -> &[&'a Facts] {
        &self.all
    }

    /// Length of "now", s.
    pub fn seconds(&self) -> f64 {
        self.now().iter().map(|f| f.seconds).sum::<f64>().max(1e-9)
    }

    /// The processes of "now", each with what it did in all of it.
    pub fn processes(&self) -> Vec<ProcessFacts> {
        let mut sums: BTreeMap<(u32, u32), ProcessFacts> = BTreeMap::new();
        for process in self.now().iter().flat_map(|f| &f.processes) {
            let sum = sums.entry(process.id).or_insert_with(|| ProcessFacts { id: process.id, ..Default::default() });
            sum.comm.clone_from(&process.comm);
            sum.on_cpu_ns = sum.on_cpu_ns.saturating_add(process.on_cpu_ns);
            sum.runnable_ns = sum.runnable_ns.saturating_add(process.runnable_ns);
            sum.ran_on |= process.ran_on;
            for call in &process.calls {
                match sum.calls.iter_mut().find(|c| c.nr == call.nr) {
                    Some(all) => all.add(call),
                    None => sum.calls.push(call.clone()),
                }
            }
        }
        sums.into_values().collect()
    }

    /// The run queues of "now".
    pub fn run_queues(&self) -> Vec<CpuFacts> {
        let mut sums: BTreeMap<u32, CpuFacts> = BTreeMap::new();
        for queue in self.now().iter().flat_map(|f| &f.run_queues) {
            let sum = sums.entry(queue.cpu).or_insert(CpuFacts { cpu: queue.cpu, ..CpuFacts::default() });
            sum.waited_ns = sum.waited_ns.saturating_add(queue.waited_ns);
            sum.p99_ns = sum.p99_ns.max(queue.p99_ns);
        }
        sums.into_values().collect()
    }

    /// The 99th percentiles of a call of a process in intervals that have at least `least` of them.
    pub fn p99s(intervals: &[&Facts], id: (u32, u32), nr: u32, least: u64) -> Vec<u64> {
        let of = |facts: &&Facts| {
            let at = facts.processes.binary_search_by_key(&id, |p| p.id).ok()?;
            let call = facts.processes[at].calls.iter().find(|c| c.nr == nr)?;
            (call.count >= least).then_some(call.p99_ns)
        };
        intervals.iter().filter_map(of).collect()
    }
}

impl CallFacts {
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.p99_ns = self.p99_ns.max(other.p99_ns);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.blocked_ns = self.blocked_ns.saturating_add(other.blocked_ns);
        self.runnable_ns = self.runnable_ns.saturating_add(other.runnable_ns);
    }
}

/// The middle one; `None` of nothing.
pub fn median(mut of: Vec<u64>) -> Option<u64> {
    of.sort_unstable();
    of.get(of.len() / 2).copied()
}
