//! What is known of an interval in which only a part of the events was counted, to keep a budget (`core/budget.rs`).
//!
//! One event in N stands for N already in the kernel. What remains is the time in which an insight's programs were not
//! attached: what the window showed is scaled to the whole interval. A window is not like the rest of the time in two ways,
//! and both are corrected for:
//!
//! * A call or switch that is measured takes longer, so a busy process makes fewer of them in a window. They are scaled by the
//!   CPU time it took outside, over the CPU time it took inside less what measuring added to it.
//! * A call that takes a good part of a window often does not lie within it whole. Of duration `d` in a window `w`, only
//!   `1 - d/w` of them do, so each counts for that many more.
//!
//! Pure. Invariant: what was counted all the time comes out unchanged; what was not is never better than `Sampled`.

use std::collections::BTreeMap;

use super::sample::Qualities;
use super::snapshot::{ProcessStats, Snapshot};
use crate::core::ident::ProcessId;
use crate::core::insight::{Insight, NETWORK, RUN_QUEUE, SYSCALLS};
use crate::core::latency::{LatencyStats, times};
use crate::core::quality::Quality;
use crate::core::units;
use crate::probes::errors::stats::Errors;
use crate::probes::exemplars::stats::Exemplars;
use crate::probes::lives::stats::Dead;
use crate::probes::network::stats::Traffic;
use crate::probes::syscalls::stats::CallStats;
use crate::probes::time::stats::TimeSplit;

/// How much of an insight's events was counted in an interval. The default is all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// One event in so many; 0 and 1 are all.
    pub one_in: u32,
    /// So long its programs were not attached, ns.
    pub unwatched_ns: u64,
    /// The longest window in which they were; 0 when they always were.
    pub window_ns: u64,
}

impl Share {
    /// Nothing was left out.
    pub const fn is_all(self) -> bool {
        self.one_in <= 1 && self.unwatched_ns == 0
    }
}

/// How much was counted in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// The budget that is kept, as a share of the machine's CPU time.
    pub budget: Option<f64>,
    /// By insight, in the order of [`Insight::SAMPLED`].
    pub shares: [Share; 3],
    /// What attached programs add to a system call, ns; 0 where it was not measured.
    pub call_overhead_ns: f64,
    /// What they add to a switch from one thread to another, ns; 0 where it was not measured.
    pub switch_overhead_ns: f64,
}

impl Sampling {
    /// Nothing was left out.
    pub fn is_all(&self) -> bool {
        self.shares.iter().all(|share| share.is_all())
    }

    /// Adds the interval that followed.
    pub fn append(&mut self, later: &Self) {
        for (mine, theirs) in self.shares.iter_mut().zip(later.shares) {
            mine.one_in = mine.one_in.max(theirs.one_in);
            mine.unwatched_ns = mine.unwatched_ns.saturating_add(theirs.unwatched_ns);
            mine.window_ns = mine.window_ns.max(theirs.window_ns);
        }
        self.budget = later.budget;
        self.call_overhead_ns = self.call_overhead_ns.max(later.call_overhead_ns);
        self.switch_overhead_ns = self.switch_overhead_ns.max(later.switch_overhead_ns);
    }

    /// What the numbers are worth.
    #[must_use]
    pub fn lower(&self, qualities: Qualities) -> Qualities {
        let lower = |quality: Quality, at: usize| {
            if self.shares[at].is_all() { quality } else { quality.worst(Quality::Sampled) }
        };
        Qualities {
            syscalls: lower(qualities.syscalls, SYSCALLS),
            runqueue: lower(qualities.runqueue, RUN_QUEUE),
            network: lower(qualities.network, NETWORK),
            // On and off CPU comes from the scheduler, user and kernel from the calls.
            time: lower(lower(qualities.time, RUN_QUEUE), SYSCALLS),
            errors: lower(qualities.errors, SYSCALLS),
            dead: if self.is_all() { qualities.dead } else { qualities.dead.worst(Quality::Sampled) },
            ..qualities
        }
    }

    /// What is known of a process that is gone: nothing of what was watched in windows, since its whole life is not a window.
    #[must_use]
    pub fn known_of(&self, dead: &Dead) -> Dead {
        let always = |at: usize| self.shares[at].unwatched_ns == 0 && self.shares[at].window_ns == 0;
        Dead {
            time: dead.time.filter(|_| always(RUN_QUEUE) && always(SYSCALLS)),
            calls: dead.calls.filter(|_| always(SYSCALLS)),
            traffic: dead.traffic.filter(|_| always(NETWORK)),
            ..dead.clone()
        }
    }

    /// A sentence for each insight of which something was left out, in an interval of `interval_ns`.
    pub fn sentences(&self, interval_ns: u64) -> impl Iterator<Item = (Insight, String)> + '_ {
        let left_out = Insight::SAMPLED.into_iter().zip(self.shares).filter(|(_, share)| !share.is_all());
        left_out.map(move |(insight, share)| (insight, sentence(insight, share, interval_ns)))
    }
}

fn sentence(insight: Insight, share: Share, interval_ns: u64) -> String {
    let what = insight.subject();
    let counted = if share.one_in > 1 {
        format!("1 in {} {what} is counted", share.one_in)
    } else {
        format!("{what} are counted")
    };
    if share.unwatched_ns == 0 {
        return counted;
    }
    let part = 100.0 * (1.0 - share.unwatched_ns as f64 / interval_ns.max(1) as f64);
    let window = units::duration(share.window_ns);
    format!("{counted}, {:.1} % of the time, in windows of {window}: longer ones are not seen", part.max(0.0))
}

/// One interval out of its parts, in their order. In each part an insight was either watched or not.
pub fn joined(parts: Vec<Snapshot>) -> Option<Snapshot> {
    let whole_ns: u64 = parts.iter().map(|part| part.interval_ns).fold(0, u64::saturating_add);
    let on_cpu =
        |snapshot: &Snapshot| -> Vec<_> { snapshot.processes.iter().map(|p| (p.id, p.time.on_cpu_ns())).collect() };
    let times: Vec<_> = parts.iter().map(on_cpu).collect();
    let cpu_of = |id| -> u64 {
        times
            .iter()
            .filter_map(|t| t.binary_search_by_key(&id, |e| e.0).ok().map(|at| t[at].1))
            .fold(0, u64::saturating_add)
    };
    let mut whole: Option<Snapshot> = None;
    for mut part in parts {
        let windows = std::array::from_fn(|at| Window::of(&part, at, whole_ns));
        // Before anything is scaled: how much of the CPU time in the window was the processes' own.
        let own = own_shares(&part, windows);
        for (at, window) in windows.into_iter().enumerate() {
            let share = part.sampling.shares[at];
            match window {
                None if share.unwatched_ns > 0 && share.unwatched_ns >= part.interval_ns => blank(&mut part, at),
                None => {}
                Some(window) => match at {
                    SYSCALLS => scale_calls(&mut part, window, &own, windows[RUN_QUEUE].is_none().then_some(&cpu_of)),
                    RUN_QUEUE => scale_waits(&mut part, window, &own),
                    _ => part.processes.iter_mut().for_each(|p| p.traffic = p.traffic.times(window.factor())),
                },
            }
        }
        match &mut whole {
            Some(whole) => whole.append(&part),
            None => whole = Some(part),
        }
    }
    let mut whole = whole?;
    split_by_calls(&mut whole);
    Some(whole)
}

/// Divides CPU time into user and kernel by what the sampled calls took, since most calls were not seen at work.
pub fn split_by_calls(snapshot: &mut Snapshot) {
    if snapshot.sampling.shares[SYSCALLS].is_all() {
        return;
    }
    for process in snapshot.processes.iter_mut().filter(|p| !p.ident.kthread) {
        let busy = |call: &CallStats| {
            let l = &call.latency;
            l.total_ns.saturating_sub(l.blocked_ns).saturating_sub(l.runnable_ns)
        };
        let on_cpu = process.time.on_cpu_ns();
        process.time.kernel_ns = process.calls.iter().map(busy).fold(0, u64::saturating_add).min(on_cpu);
        process.time.user_ns = on_cpu - process.time.kernel_ns;
    }
}

/// Nothing was watched: what came in by accident is no number.
fn blank(part: &mut Snapshot, at: usize) {
    match at {
        SYSCALLS => {
            part.calls.clear();
            part.errors = Errors::default();
            part.exemplars = Exemplars::default();
            part.processes.iter_mut().for_each(|p| p.calls.clear());
        }
        RUN_QUEUE => {
            part.cpus.clear();
            for process in &mut part.processes {
                process.runqueue = LatencyStats::empty();
                process.time = TimeSplit::default();
                (process.voluntary, process.preempted) = (0, 0);
            }
        }
        _ => part.processes.iter_mut().for_each(|p| p.traffic = Traffic::default()),
    }
}

/// A window in an interval.
#[derive(Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name")]
struct Window {
    watched_ns: u64,
    whole_ns: u64,
    /// From the sample before the window to the one at its end.
    part_ns: u64,
}

impl Window {
    /// The window that an insight had in this part.
    fn of(part: &Snapshot, at: usize, whole_ns: u64) -> Option<Self> {
        let share = part.sampling.shares[at];
        let watched_ns = part.interval_ns.saturating_sub(share.unwatched_ns);
        let part_ns = part.interval_ns;
        (share.window_ns > 0 && watched_ns > 0).then_some(Self { watched_ns, whole_ns, part_ns })
    }

    /// CPU time of a process within the window, as far as the part shows it. What was noticed only at its first call in the
    /// window (`ebpf/src/syscalls.rs`) may have been before: its threads cannot have run for longer than the window.
    fn cpu_ns(self, process: &ProcessStats) -> f64 {
        let in_part = process.time.on_cpu_ns() as f64 * self.watched_ns as f64 / self.part_ns.max(1) as f64;
        in_part.min(self.watched_ns as f64 * f64::from(process.threads.max(1)))
    }

    /// By time alone.
    fn factor(self) -> f64 {
        self.whole_ns as f64 / self.watched_ns as f64
    }
}

/// A process that takes less of a window than this is not slowed by being measured.
const BUSY: f64 = 0.1;
/// Of the CPU time in a window at least this much is the process's own, whatever the overhead is thought to be.
const LEAST_OWN: f64 = 0.2;

/// Of each process, in their order: the part of the CPU time it took in a window that was not taken by measuring it; `None`
/// for one that hardly ran.
fn own_shares(part: &Snapshot, windows: [Option<Window>; 3]) -> Vec<Option<f64>> {
    let Some(window) = windows.into_iter().flatten().next() else { return Vec::new() };
    let sampling = &part.sampling;
    let cost = |at: usize, ns: f64| if windows[at].is_some() { ns } else { 0.0 };
    let own = |process: &ProcessStats| {
        // The part is a little longer than the window in it, unless the scheduler was watched in the window only.
        let on_cpu = process.time.on_cpu_ns() as f64;
        let watched = if windows[RUN_QUEUE].is_none() { window.cpu_ns(process) } else { on_cpu };
        let calls: u64 = process.calls.iter().map(|c| c.latency.count()).fold(0, u64::saturating_add);
        let taken = calls as f64 * cost(SYSCALLS, sampling.call_overhead_ns)
            + process.runqueue.count() as f64 * cost(RUN_QUEUE, sampling.switch_overhead_ns);
        (watched >= BUSY * window.watched_ns as f64).then(|| (1.0 - taken / watched).max(LEAST_OWN))
    };
    part.processes.iter().map(own).collect()
}

/// `cpu_of` is the CPU time of a process in the whole interval, where that is known.
fn scale_calls(part: &mut Snapshot, window: Window, own: &[Option<f64>], cpu_of: Option<&impl Fn(ProcessId) -> u64>) {
    // By call: counted, and what that is scaled to; for the table of the host.
    let mut sums = BTreeMap::<u32, (f64, f64)>::new();
    let mut factors = BTreeMap::new();
    for (process, own) in part.processes.iter_mut().zip(own) {
        let factor = match (own, cpu_of) {
            (None, _) => window.factor(),
            (Some(own), None) => window.factor() / own,
            (Some(own), Some(cpu_of)) => {
                let watched = window.cpu_ns(process);
                1.0 + (cpu_of(process.id) as f64 - watched) / (watched * own)
            }
        };
        factors.insert(process.id, factor);
        for call in &mut process.calls {
            let sum = sums.entry(call.nr).or_default();
            let count = call.latency.count() as f64;
            *sum = (sum.0 + count, sum.1 + count * factor);
            call.latency = call.latency.scaled(factor, window.watched_ns);
        }
    }
    part.errors.scale(|id| factors.get(&id).copied().unwrap_or_else(|| window.factor()), window.factor());
    for call in &mut part.calls {
        let factor = sums.get(&call.nr).filter(|s| s.0 > 0.0).map_or_else(|| window.factor(), |s| s.1 / s.0);
        call.latency = call.latency.scaled(factor, window.watched_ns);
    }
}

fn scale_waits(part: &mut Snapshot, window: Window, own: &[Option<f64>]) {
    let by_time = window.factor();
    let (mut counted, mut scaled) = (0.0, 0.0);
    for (process, own) in part.processes.iter_mut().zip(own) {
        let factor = by_time / own.unwrap_or(1.0);
        counted += process.runqueue.count() as f64;
        scaled += process.runqueue.count() as f64 * factor;
        process.runqueue = process.runqueue.scaled(factor, window.watched_ns);
        process.time = process.time.times(by_time);
        process.voluntary = times(process.voluntary, factor);
        process.preempted = times(process.preempted, factor);
    }
    let factor = if counted > 0.0 { scaled / counted } else { by_time };
    for cpu in &mut part.cpus {
        cpu.delay = cpu.delay.scaled(factor, window.watched_ns);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::histogram::Histogram;
    use crate::model::Ident;

    const MS: u64 = 1_000_000;
    /// `getppid`.
    const CALL: u32 = 110;
    const BUSY_PID: u32 = 7;
    const IDLE_PID: u32 = 8;

    fn latency(count: u64) -> LatencyStats {
        let mut latency = LatencyStats::empty();
        latency.histogram = Histogram::new();
        // 100 ns.
        latency.histogram.add(6, count);
        latency.total_ns = 100 * count;
        latency
    }

    fn process(pid: u32, count: u64, cpu_ns: u64) -> ProcessStats {
        ProcessStats {
            id: ProcessId { pid, birth: 1 },
            parent: None,
            ident: Arc::new(Ident::default()),
            threads: 1,
            exited: false,
            calls: if count > 0 { vec![CallStats { nr: CALL, latency: latency(count) }] } else { Vec::new() },
            runqueue: LatencyStats::empty(),
            traffic: Traffic { tx_bytes: 10, ..Traffic::default() },
            time: TimeSplit { user_ns: cpu_ns, ..TimeSplit::default() },
            voluntary: 0,
            preempted: 0,
            ..ProcessStats::default()
        }
    }

    /// A part in which the busy process was on a CPU all the time and made `calls`, and another made `few`.
    fn part(length_ns: u64, share: Share, calls: u64, few: u64) -> Snapshot {
        let sum = calls + few;
        let shares = [share, Share::default(), Share::default()];
        Snapshot {
            interval_ns: length_ns,
            calls: if sum > 0 { vec![CallStats { nr: CALL, latency: latency(sum) }] } else { Vec::new() },
            processes: vec![process(BUSY_PID, calls, length_ns), process(IDLE_PID, few, 0)],
            sampling: Sampling { budget: None, shares, call_overhead_ns: 150.0, switch_overhead_ns: 0.0 },
            ..Snapshot::default()
        }
    }

    fn unwatched(length_ns: u64, calls: u64) -> Snapshot {
        part(length_ns, Share { unwatched_ns: length_ns, ..Share::default() }, calls, 0)
    }

    fn count(snapshot: &Snapshot, pid: u32) -> u64 {
        snapshot.process(pid).into_iter().flat_map(|p| &p.calls).map(|c| c.latency.count()).sum()
    }

    fn near(shown: u64, known: u64) -> bool {
        shown.abs_diff(known) as f64 <= 0.01 * known as f64
    }

    /// A call takes 100 ns alone and 250 ns measured: ten million a second, but only 80,000 in a window of 20 ms.
    fn interval() -> Vec<Snapshot> {
        let window = Share { unwatched_ns: 0, window_ns: 20 * MS, one_in: 1 };
        // What the programs counted between the sample and their end is in the last part.
        vec![unwatched(480 * MS, 0), part(20 * MS, window, 80_000, 20), unwatched(500 * MS, 7_777)]
    }

    #[test]
    fn a_busy_process_is_scaled_by_what_it_would_have_done_unmeasured() {
        let whole = joined(interval()).unwrap();
        let known = 80_000 + 980 * MS / 100;
        assert!(near(count(&whole, BUSY_PID), known), "{} of {known}", count(&whole, BUSY_PID));
        assert_eq!(whole.interval_ns, 1_000 * MS);
    }

    #[test]
    fn one_that_hardly_runs_is_scaled_by_time_and_the_host_by_both() {
        let whole = joined(interval()).unwrap();
        assert!(near(count(&whole, IDLE_PID), 20 * 50), "{}", count(&whole, IDLE_PID));
        let host: u64 = whole.calls.iter().map(|c| c.latency.count()).sum();
        assert!(near(host, count(&whole, BUSY_PID) + count(&whole, IDLE_PID)), "{host}");
    }

    #[test]
    fn what_was_watched_all_the_time_is_not_touched_and_quality_says_which_was_not() {
        let whole = joined(interval()).unwrap();
        assert_eq!(whole.traffic().tx_bytes, 3 * 20);
        let lowered = whole.sampling.lower(Qualities::default());
        assert_eq!((lowered.syscalls, lowered.time), (Quality::Sampled, Quality::Sampled));
        assert_eq!((lowered.runqueue, lowered.network), (Quality::Exact, Quality::Exact));
        let said: Vec<_> = whole.sampling.sentences(whole.interval_ns).collect();
        assert_eq!(said.len(), 1);
        assert!(said[0].1.contains("2.0 % of the time"), "{said:?}");
    }

    #[test]
    fn cpu_time_is_divided_by_what_the_calls_took_and_stays_whole() {
        let whole = joined(interval()).unwrap();
        let time = whole.process(BUSY_PID).unwrap().time;
        assert_eq!(time.on_cpu_ns(), 1_000 * MS);
        assert!(time.kernel_ns > 900 * MS, "{time:?}");
    }

    #[test]
    fn an_interval_of_one_part_is_that_part() {
        let one = part(1_000 * MS, Share::default(), 5, 0);
        let whole = joined(vec![one.clone()]).unwrap();
        assert_eq!((count(&whole, BUSY_PID), whole.processes[0].time), (5, one.processes[0].time));
        assert!(joined(Vec::new()).is_none());
    }
}
