//! The last intervals, oldest first, each with what the present filter makes of it: heatmaps, sparklines and the question
//! "was it there a moment ago" are answered from here.
//!
//! The newest is whole; the others are packed (`packed.rs`) and without what only the newest is asked for. Not a
//! recording: it forgets. Bounded by a number of intervals and by memory, whichever is reached first.
//!
//! Invariant: every tick was derived with the same [`Look`], the one last given.

use std::collections::VecDeque;
use std::sync::Arc;

use super::kept::Kept;
use super::rows::RECENT;
pub use super::tick::Tick;
use crate::core::filter::Filter;
use crate::core::ident::ProcessId;
use crate::model::{Ident, ProcessStats, Snapshot};
use crate::probes::lives::window::Window as Lives;
use crate::probes::syscalls::names::waits;
use crate::verdicts::{Facts, Verdict, Window, verdicts};

/// Intervals kept at most: a quarter of an hour at one a second.
pub const TICKS: usize = 900;
/// Memory that they take at most, bytes; a busy machine of thousands of processes keeps fewer intervals.
pub const BUDGET: usize = 16 << 20;

/// Intervals that verdicts are made from.
const FACTS: usize = 60;

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
        self.lets(process.id, &process.ident)
    }

    pub(super) fn lets(&self, id: ProcessId, ident: &Ident) -> bool {
        self.filter.is_empty() || self.filter.matches(id.pid, &ident.comm, &ident.cgroup)
    }

    /// Is this system call shown?
    pub fn keeps(&self, nr: u32) -> bool {
        !(self.hide_waiting && waits(nr))
    }
}

/// Since when a process of the newest tick has been there, and when it last did something, in ticks.
#[derive(Clone, Copy, Debug)]
struct Presence {
    /// Ticks that it was in, the newest included.
    ticks: u16,
    /// Ticks since it waited for a CPU; 0 in the newest.
    delayed: u16,
    /// Ticks since it moved bytes.
    talking: u16,
    /// Ticks since a block device did something for it.
    on_disk: u16,
}

impl Presence {
    fn of(before: Option<Self>, process: &ProcessStats) -> Self {
        let since =
            |did: bool, before: Option<u16>| if did { 0 } else { before.map_or(u16::MAX, |n| n.saturating_add(1)) };
        Self {
            ticks: before.map_or(1, |b| b.ticks.saturating_add(1)),
            delayed: since(!process.runqueue.is_empty(), before.map(|b| b.delayed)),
            talking: since(process.traffic.bytes() > 0, before.map(|b| b.talking)),
            on_disk: since(!process.disk.is_nothing(), before.map(|b| b.on_disk)),
        }
    }
}

/// The ring. A clone shares its ticks, so freezing the screen costs next to nothing.
#[derive(Clone, Debug, Default)]
pub struct History {
    ticks: VecDeque<Arc<Tick>>,
    /// Of each process of the newest tick.
    presence: Vec<Presence>,
    /// What the rules look at, of the last intervals.
    facts: VecDeque<Arc<Facts>>,
    verdicts: Vec<Verdict>,
    kept: Kept,
    /// Those who died of late. Shared, so that freezing the screen keeps it as it is.
    lives: Arc<Lives>,
    weight: usize,
}

impl History {
    /// Adds the interval that followed, packs the one before, and forgets the oldest beyond the bounds.
    pub fn push(&mut self, snapshot: Arc<Snapshot>, look: &Look) {
        self.meet(&snapshot);
        self.judge(&snapshot);
        self.kept.push(&snapshot, RECENT);
        let interval_ns = snapshot.interval_ns;
        Arc::make_mut(&mut self.lives).add(snapshot.unix_s, interval_ns, &snapshot.dead, snapshot.turnover);
        if let Some(last) = self.ticks.pop_back() {
            let packed = last.pack(&snapshot, self.ticks.back().map(Arc::as_ref));
            self.weight = self.weight - last.weight() + packed.weight();
            self.ticks.push_back(Arc::new(packed));
        }
        let tick = Tick::new(snapshot, look);
        self.weight += tick.weight();
        self.ticks.push_back(Arc::new(tick));
        self.forget();
    }

    /// What stands out, the weightiest first.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    fn judge(&mut self, snapshot: &Snapshot) {
        self.facts.push_back(Arc::new(Facts::of(snapshot)));
        if self.facts.len() > FACTS {
            self.facts.pop_front();
        }
        self.verdicts = verdicts(&Window::new(self.facts.iter().map(Arc::as_ref)));
    }

    /// Notes who is there.
    fn meet(&mut self, snapshot: &Snapshot) {
        let old = self.ticks.back().map_or(&[][..], |tick| &tick.snapshot.processes);
        let mut before = old.iter().zip(&self.presence).peekable();
        let presence = snapshot.processes.iter().map(|process| {
            while before.next_if(|(p, _)| p.id < process.id).is_some() {}
            Presence::of(before.next_if(|(p, _)| p.id == process.id).map(|(_, was)| *was), process)
        });
        self.presence = presence.collect();
    }

    fn forget(&mut self) {
        while self.ticks.len() > TICKS || (self.weight > BUDGET && self.ticks.len() > 1) {
            if let Some(oldest) = self.ticks.pop_front() {
                self.weight -= oldest.weight();
            }
        }
    }

    /// Derives every tick anew, for another look.
    pub fn look_again(&mut self, look: &Look) {
        for tick in &mut self.ticks {
            *tick = Arc::new(tick.looked_at(look));
        }
        self.weight = self.ticks.iter().map(|tick| tick.weight()).sum();
        self.forget();
    }

    /// Single calls and errors of late.
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The newest interval.
    pub fn latest(&self) -> Option<&Arc<Tick>> {
        self.ticks.back()
    }

    /// Those who died of late.
    pub fn lives(&self) -> &Lives {
        &self.lives
    }

    /// Memory that all intervals take, bytes: at most [`BUDGET`], unless the newest alone takes more.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// From the begin of the oldest to the end of the newest, seconds. By the lengths of intervals: the time of day may be set.
    pub fn span_s(&self) -> f64 {
        self.ticks.iter().map(|tick| tick.snapshot.seconds()).sum()
    }

    /// Seconds that the last `n` intervals cover, each as long as it was. Those before the first count as the middle one.
    pub fn reach_s(&self, n: usize) -> f64 {
        let mut lengths: Vec<f64> = self.last(n).map(|tick| tick.snapshot.seconds()).collect();
        lengths.sort_by(f64::total_cmp);
        let middle = lengths.get(lengths.len() / 2).copied().unwrap_or(1.0);
        lengths.iter().sum::<f64>() + middle * (n - lengths.len()) as f64
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

    /// A number of a process in each of the last `n` intervals, oldest first: 0 where it did nothing, `None` where it
    /// was not there.
    pub fn course(&self, id: ProcessId, n: usize, number: impl Fn(&Tick) -> Option<f64>) -> Vec<Option<f64>> {
        let processes = self.latest().map_or(&[][..], |tick| &tick.snapshot.processes);
        let at = processes.binary_search_by_key(&id, |p| p.id).ok();
        let there = at.and_then(|at| self.presence.get(at)).map_or(0, |p| usize::from(p.ticks));
        let shown = n.min(self.ticks.len());
        let absent = shown - there.min(shown);
        let ticks = self.last(n).enumerate();
        ticks.map(|(at, tick)| (at >= absent).then(|| number(tick).unwrap_or(0.0))).collect()
    }

    /// Did the process at this place of the newest tick wait for a CPU in the last `n` intervals?
    pub fn was_delayed(&self, at: usize, n: usize) -> bool {
        self.presence.get(at).is_some_and(|p| usize::from(p.delayed) < n)
    }

    /// Did it move bytes?
    pub fn was_talking(&self, at: usize, n: usize) -> bool {
        self.presence.get(at).is_some_and(|p| usize::from(p.talking) < n)
    }

    /// Did a block device do something for it?
    pub fn was_on_disk(&self, at: usize, n: usize) -> bool {
        self.presence.get(at).is_some_and(|p| usize::from(p.on_disk) < n)
    }

    /// The last trace of a pid: who it was, and the end of the interval it was last seen in (seconds since 1970).
    pub fn last_seen(&self, pid: u32) -> Option<(&Ident, f64)> {
        self.ticks.iter().rev().find_map(|tick| {
            let ident = tick.who(pid)?;
            Some((ident, tick.snapshot.unix_s))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::histogram::Histogram;
    use crate::core::latency::LatencyStats;
    use crate::model::Ident;
    use crate::probes::network::stats::Traffic;
    use crate::probes::syscalls::stats::CallStats;
    use crate::probes::time::stats::TimeSplit;

    const READ: u32 = 0;

    /// 10 calls of `read` on the host, 4 of them by process 7.
    fn snapshot(second: u32) -> Arc<Snapshot> {
        let calls = |count| {
            let mut latency = LatencyStats::empty();
            latency.histogram = Histogram::new();
            latency.histogram.add(20, count);
            vec![CallStats { nr: READ, latency }]
        };
        let process = ProcessStats {
            id: ProcessId { pid: 7, birth: 1 },
            parent: None,
            ident: Arc::new(Ident { comm: "reader".into(), ..Ident::default() }),
            threads: 1,
            exited: false,
            calls: calls(4),
            runqueue: LatencyStats::empty(),
            traffic: Traffic { tx_bytes: 5, ..Traffic::default() },
            time: TimeSplit::default(),
            ..ProcessStats::default()
        };
        Arc::new(Snapshot {
            unix_s: f64::from(second),
            interval_ns: 1_000_000_000,
            calls: calls(10),
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
        (0..1200).for_each(|s| history.push(snapshot(s), &Look::default()));
        assert_eq!(history.last(2000).count(), TICKS);
        assert_eq!(history.latest().map(|t| t.snapshot.unix_s), Some(1199.0));
        assert_eq!(history.weight, history.ticks.iter().map(|t| t.weight()).sum::<usize>());
    }

    #[test]
    fn time_is_the_sum_of_intervals_whatever_the_clock_says() {
        let mut history = History::default();
        (0..10).for_each(|s| history.push(snapshot(s), &Look::default()));
        // Stopped for a minute, and the time of day was set back by an hour and forth by two.
        let late = Snapshot { interval_ns: 60_000_000_000, unix_s: -3_590.0, ..(*snapshot(0)).clone() };
        history.push(Arc::new(late), &Look::default());
        history.push(snapshot(3_600), &Look::default());
        assert_eq!((history.span_s(), history.reach_s(2), history.reach_s(12)), (71.0, 61.0, 71.0));
        // Where nothing was measured yet, an interval is an ordinary one.
        assert_eq!((history.reach_s(20), History::default().reach_s(5)), (79.0, 5.0));
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
        history.look_again(&look(8));
        assert_eq!(counted(&history), [0.0, 0.0, 0.0]);
        assert_eq!(history.latest().map(|t| t.traffic.tx_bytes), Some(0));
        assert!(history.last_seen(7).is_some() && history.last_seen(8).is_none());
    }

    /// Process 7 rests.
    fn resting(second: u32) -> Arc<Snapshot> {
        let mut snapshot = (*snapshot(second)).clone();
        let process = &mut snapshot.processes[0];
        (process.calls, process.traffic) = (Vec::new(), Traffic::default());
        Arc::new(snapshot)
    }

    #[test]
    fn what_a_tick_says_outlives_its_packing() {
        let mut history = History::default();
        for second in 0..4 {
            history.push(if second == 1 { resting(second) } else { snapshot(second) }, &Look::default());
        }
        let id = ProcessId { pid: 7, birth: 1 };
        let sent = |t: &Tick| t.traffic_of(id).map(|t| t.tx_bytes as f64);
        assert_eq!(history.course(id, 9, sent), [5.0, 0.0, 5.0, 5.0].map(Some));
        let made = |t: &Tick| t.call_of(id, READ).map(|l| l.count() as f64);
        assert_eq!(history.course(id, 3, made), [0.0, 4.0, 4.0].map(Some));
        assert_eq!(history.series(4, |t| t.call(READ).map_or(0.0, |l| l.count() as f64)), [10.0; 4]);
        let nobody = ProcessId { pid: 8, birth: 1 };
        assert_eq!(history.course(nobody, 2, made), [None, None]);
    }

    #[test]
    fn who_was_not_there_is_blank_and_who_did_something_is_remembered() {
        let mut history = History::default();
        let empty = Snapshot { interval_ns: 1, ..Snapshot::default() };
        history.push(Arc::new(empty), &Look::default());
        history.push(snapshot(1), &Look::default());
        (2..5).for_each(|second| history.push(resting(second), &Look::default()));
        let id = ProcessId { pid: 7, birth: 1 };
        let sent = |t: &Tick| t.traffic_of(id).map(|t| t.tx_bytes as f64);
        assert_eq!(history.course(id, 5, sent), [None, Some(5.0), Some(0.0), Some(0.0), Some(0.0)]);
        assert!(history.was_talking(0, 4) && !history.was_talking(0, 3) && !history.was_delayed(0, 900));
        assert_eq!(history.last_seen(7).map(|(ident, s)| (ident.comm.as_str(), s)), Some(("reader", 4.0)));
    }

    #[test]
    fn memory_is_bounded_whatever_is_kept() {
        let mut history = History::default();
        let mut dear = (*snapshot(0)).clone();
        // Processes that live for one interval each: nobody else keeps their names.
        for second in 0..60 {
            let one = snapshot(second).processes[0].clone();
            let ident = || Arc::new(Ident { cgroup: "x".repeat(200), ..Ident::default() });
            let of = |pid| ProcessStats {
                id: ProcessId { pid, birth: second },
                ident: ident(),
                exited: true,
                ..one.clone()
            };
            dear.processes = (1..2_000).map(of).collect();
            history.push(Arc::new(dear.clone()), &Look::default());
            assert!(history.weight() <= BUDGET);
        }
        let kept = history.last(TICKS).count();
        assert!((10..60).contains(&kept), "{kept}");
        history.look_again(&look(7));
        assert_eq!(history.weight, history.ticks.iter().map(|t| t.weight()).sum::<usize>());
    }
}
