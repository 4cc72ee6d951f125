//! The last intervals, oldest first, each with what the present filter makes of it: heatmaps, sparklines and the question
//! "was it there a moment ago" are answered from here.
//!
//! Not a recording: it forgets. Bounded by a number of intervals and by memory, whichever is reached first.
//!
//! Invariant: every tick was derived with the same [`Look`], the one last given.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::filter::Filter;
use crate::core::histogram::Scale;
use crate::core::ident::ProcessId;
use crate::core::latency::LatencyStats;
use crate::model::{ProcessStats, Snapshot};
use crate::probes::network::stats::Traffic;
use crate::probes::runqueue::stats::all_cpus;
use crate::probes::syscalls::names::waits;
use crate::probes::syscalls::stats::{CallStats, merge_calls, merged};

/// Intervals kept at most.
pub const TICKS: usize = 240;
/// Memory of the snapshots kept at most, bytes; a busy machine of thousands of processes keeps fewer intervals.
const BUDGET: usize = 64 << 20;

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Which processes.
    pub filter: Filter,
    /// Leave out the system calls that wait by design.
    pub hide_waiting: bool,
}

impl Look {
    /// Does this process pass the filter?
    pub fn passes(&self, process: &ProcessStats) -> bool {
        self.filter.matches(process.id.pid, &process.ident.comm, &process.ident.cgroup)
    }

    /// Is this system call shown?
    pub fn keeps(&self, nr: u32) -> bool {
        !(self.hide_waiting && waits(nr))
    }
}

/// One interval as it is looked at.
#[derive(Debug)]
pub struct Tick {
    /// What happened.
    pub snapshot: Arc<Snapshot>,
    /// System calls of the processes that pass; `None` without a filter, when those of the snapshot hold.
    filtered: Option<Vec<CallStats>>,
    /// All calls that are shown, merged.
    pub syscalls: LatencyStats,
    /// All run-queue delays, merged.
    pub runqueue: LatencyStats,
    /// Bytes of the processes that pass.
    pub traffic: Traffic,
    weight: usize,
}

impl Tick {
    fn new(snapshot: Arc<Snapshot>, look: &Look, weight: usize) -> Self {
        let passing = || snapshot.processes.iter().filter(|p| look.passes(p));
        let traffic = passing().fold(Traffic::default(), |sum, p| sum.plus(p.traffic));
        let (filtered, runqueue) = if look.filter.is_empty() {
            (None, all_cpus(&snapshot.cpus))
        } else {
            let (mut calls, mut delays) = (Vec::new(), LatencyStats::empty(Scale::Three));
            for process in passing() {
                merge_calls(&mut calls, &process.calls);
                delays.merge(&process.runqueue);
            }
            (Some(calls), delays)
        };
        let calls = filtered.as_deref().unwrap_or(&snapshot.calls);
        let syscalls = merged(calls, |nr| look.keeps(nr), Scale::Three);
        Self { snapshot, filtered, syscalls, runqueue, traffic, weight }
    }

    /// System calls by number: of the host, or of the processes that pass a filter.
    pub fn calls(&self) -> &[CallStats] {
        self.filtered.as_deref().unwrap_or(&self.snapshot.calls)
    }

    /// One system call, if it was made.
    pub fn call(&self, nr: u32) -> Option<&LatencyStats> {
        let calls = self.calls();
        calls.binary_search_by_key(&nr, |c| c.nr).ok().map(|at| &calls[at].latency)
    }

    /// One process, if it lived.
    pub fn process(&self, id: ProcessId) -> Option<&ProcessStats> {
        let processes = &self.snapshot.processes;
        processes.binary_search_by_key(&id, |p| p.id).ok().map(|at| &processes[at])
    }
}

/// The ring. A clone shares its ticks, so freezing the screen costs nothing.
#[derive(Clone, Debug, Default)]
pub struct History {
    ticks: VecDeque<Arc<Tick>>,
    weight: usize,
}

impl History {
    /// Adds the interval that followed, and forgets the oldest beyond the bounds.
    pub fn push(&mut self, snapshot: Arc<Snapshot>, look: &Look) {
        let weight = weight_of(&snapshot);
        self.ticks.push_back(Arc::new(Tick::new(snapshot, look, weight)));
        self.weight += weight;
        while self.ticks.len() > TICKS || (self.weight > BUDGET && self.ticks.len() > 1) {
            if let Some(oldest) = self.ticks.pop_front() {
                self.weight -= oldest.weight;
            }
        }
    }

    /// Derives every tick anew, for another look.
    pub fn look_again(&mut self, look: &Look) {
        for tick in &mut self.ticks {
            *tick = Arc::new(Tick::new(Arc::clone(&tick.snapshot), look, tick.weight));
        }
    }

    /// The newest interval.
    pub fn latest(&self) -> Option<&Tick> {
        self.ticks.back().map(Arc::as_ref)
    }

    /// The last `n` intervals, oldest first.
    pub fn last(&self, n: usize) -> impl DoubleEndedIterator<Item = &Tick> {
        self.ticks.iter().skip(self.ticks.len().saturating_sub(n)).map(Arc::as_ref)
    }

    /// A number of each of the last `n` intervals, oldest first, with zeros before the first one.
    pub fn series(&self, n: usize, number: impl Fn(&Tick) -> f64) -> Vec<f64> {
        let mut out = vec![0.0; n.saturating_sub(self.ticks.len())];
        out.extend(self.last(n).map(number));
        out
    }

    /// The last trace of a pid: the process, and the end of the interval it was last seen in (seconds since 1970).
    pub fn last_seen(&self, pid: u32) -> Option<(&ProcessStats, f64)> {
        self.ticks.iter().rev().find_map(|t| t.snapshot.process(pid).map(|p| (p, t.snapshot.unix_s)))
    }
}

/// About how much memory a snapshot keeps alive.
fn weight_of(snapshot: &Snapshot) -> usize {
    let latency = |l: &LatencyStats| l.histogram.iter().count() * size_of::<(u16, u64)>();
    let calls = |calls: &[CallStats]| calls.iter().map(|c| size_of::<CallStats>() + latency(&c.latency)).sum::<usize>();
    let processes = snapshot.processes.iter();
    processes.map(|p| size_of::<ProcessStats>() + calls(&p.calls) + latency(&p.runqueue)).sum::<usize>()
        + calls(&snapshot.calls)
        + snapshot.cpus.iter().map(|c| latency(&c.delay)).sum::<usize>()
        + size_of::<Snapshot>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::histogram::Histogram;
    use crate::model::Ident;
    use crate::probes::time::stats::TimeSplit;

    const READ: u32 = 0;

    /// 10 calls of `read` on the host, 4 of them by process 7.
    fn snapshot(second: u32) -> Arc<Snapshot> {
        let calls = |scale, count| {
            let mut latency = LatencyStats::empty(scale);
            latency.histogram = Histogram::new(scale);
            latency.histogram.add(20, count);
            vec![CallStats { nr: READ, latency }]
        };
        let process = ProcessStats {
            id: ProcessId { pid: 7, birth: 1 },
            parent: None,
            ident: Arc::new(Ident { comm: "reader".into(), ..Ident::default() }),
            threads: 1,
            exited: false,
            calls: calls(Scale::Three, 4),
            runqueue: LatencyStats::empty(Scale::Three),
            traffic: Traffic { tx_bytes: 5, ..Traffic::default() },
            time: TimeSplit::default(),
            voluntary: 0,
            preempted: 0,
        };
        Arc::new(Snapshot {
            unix_s: f64::from(second),
            interval_ns: 1_000_000_000,
            calls: calls(Scale::Three, 10),
            processes: vec![process],
            ..Snapshot::default()
        })
    }

    fn look(pid: u32) -> Look {
        Look { filter: Filter::new(vec![pid], None, None), hide_waiting: false }
    }

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let mut history = History::default();
        (0..500).for_each(|s| history.push(snapshot(s), &Look::default()));
        assert_eq!(history.last(1000).count(), TICKS);
        assert_eq!(history.latest().map(|t| t.snapshot.unix_s), Some(499.0));
        assert_eq!(history.weight, history.ticks.iter().map(|t| t.weight).sum::<usize>());
    }

    #[test]
    fn a_filter_is_applied_to_what_was_and_to_what_comes() {
        let mut history = History::default();
        history.push(snapshot(0), &Look::default());
        let counted = |h: &History| h.series(3, |t| t.syscalls.count() as f64);
        assert_eq!(counted(&history), [0.0, 0.0, 10.0]);
        history.look_again(&look(7));
        history.push(snapshot(1), &look(7));
        assert_eq!(counted(&history), [0.0, 4.0, 4.0]);
        assert_eq!(history.latest().map(|t| t.syscalls.histogram.scale()), Some(Scale::Three));
        history.look_again(&look(8));
        assert_eq!(counted(&history), [0.0, 0.0, 0.0]);
        assert_eq!(history.latest().map(|t| t.traffic.tx_bytes), Some(0));
        assert!(history.last_seen(7).is_some() && history.last_seen(8).is_none());
    }
}
