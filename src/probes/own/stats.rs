//! The arithmetic of kscope's own cost: runs of programs, use of maps, shares of CPU time.
//!
//! A program's run time is what the kernel measures around it (`bpf_prog_info.run_time_ns`): with about one reading of the
//! clock, without the dispatch of the hook.
//!
//! Invariant: what was not counted is `None`, never 0.

use std::sync::Arc;

use crate::core::quality::Quality;

/// How long runs are counted at a time, ms.
pub const WINDOW_MS: u64 = 50;
/// There is one window in each of these, ms.
pub const PERIOD_MS: u64 = 5_000;

/// Runs of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often it ran.
    pub count: u64,
    /// How long in all, ns.
    pub time_ns: u64,
}

impl Runs {
    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self { count: self.count.saturating_sub(prev.count), time_ns: self.time_ns.saturating_sub(prev.time_ns) }
    }

    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { count: self.count.saturating_add(other.count), time_ns: self.time_ns.saturating_add(other.time_ns) }
    }
}

/// When the kernel counts the runs of programs. Counting costs two readings of the clock an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// Never: nobody asked for it.
    #[default]
    Off,
    /// In windows, the first of which has not ended yet.
    Waiting,
    /// It cannot be had: why, and what to do.
    Denied(Arc<str>),
    /// In short windows. Runs are those of the last one: a state, as a load average is.
    Windows,
    /// All the time. Runs are counters.
    Always,
}

impl Counting {
    /// What numbers made from it are worth.
    pub const fn quality(&self) -> Quality {
        match self {
            Self::Off | Self::Waiting | Self::Denied(_) => Quality::NotAvailable,
            Self::Windows => Quality::Estimate,
            Self::Always => Quality::Exact,
        }
    }
}

/// Runs of all programs, in the order of the list of probes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunStats {
    /// When they were counted.
    pub counting: Counting,
    /// How long they were counted, ns.
    pub over_ns: u64,
    /// Runs by program.
    pub runs: Vec<Runs>,
    /// Events since the start that found the same program at work on their CPU, and so were missed; by program. `None`
    /// for one that is not loaded.
    pub misses: Vec<Option<u64>>,
    /// The part of the time in which a program is attached, for runs that were counted while it was; empty: all the time.
    pub attached: Vec<f64>,
}

impl RunStats {
    /// What was counted from `prev` to `next`.
    #[must_use]
    pub fn between(prev: &Self, next: &Self) -> Self {
        if next.counting != Counting::Always {
            return next.clone();
        }
        let was = |at: usize| prev.runs.get(at).copied().unwrap_or_default();
        Self {
            over_ns: next.over_ns.saturating_sub(prev.over_ns),
            runs: next.runs.iter().enumerate().map(|(at, runs)| runs.since(was(at))).collect(),
            ..next.clone()
        }
    }

    /// Appends what was counted in the interval that followed.
    pub fn append(&mut self, later: &Self) {
        let before = std::mem::replace(self, later.clone());
        if later.counting == Counting::Always {
            self.over_ns = self.over_ns.saturating_add(before.over_ns);
            for (mine, earlier) in self.runs.iter_mut().zip(&before.runs) {
                *mine = mine.plus(*earlier);
            }
        }
    }

    fn seconds(&self) -> Option<f64> {
        (self.counting.quality() != Quality::NotAvailable && self.over_ns > 0).then(|| self.over_ns as f64 / 1e9)
    }

    fn attached(&self, at: usize) -> f64 {
        self.attached.get(at).copied().unwrap_or(1.0)
    }

    /// Runs per second of the program at `at` in the list of probes.
    pub fn rate(&self, at: usize) -> Option<f64> {
        Some(self.rate_while_attached(at)? * self.attached(at))
    }

    /// The same while it is attached.
    pub fn rate_while_attached(&self, at: usize) -> Option<f64> {
        Some(self.runs.get(at)?.count as f64 / self.seconds()?)
    }

    /// Time of one run, ns; `None` also for a program that did not run.
    pub fn run_ns(&self, at: usize) -> Option<f64> {
        let runs = self.runs.get(at).filter(|runs| runs.count > 0)?;
        self.seconds().map(|_| runs.time_ns as f64 / runs.count as f64)
    }

    /// The share of one CPU that it took; 1.0 is all of it.
    pub fn share(&self, at: usize) -> Option<f64> {
        Some(self.runs.get(at)?.time_ns as f64 / 1e9 / self.seconds()? * self.attached(at))
    }

    /// The same of all programs.
    pub fn all(&self) -> Option<f64> {
        self.seconds().map(|_| (0..self.runs.len()).filter_map(|at| self.share(at)).sum())
    }

    /// Missed events of all programs since the start.
    pub fn missed(&self) -> u64 {
        self.misses.iter().flatten().fold(0, |sum, n| n.saturating_add(sum))
    }
}

/// What kscope takes, in CPUs: 1.0 is all the time of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Its user space, and the kernel on its behalf.
    pub user: f64,
    /// Its programs, in whatever process they run; `None` where that is not known.
    pub programs: Option<f64>,
    /// Of the sum: a lower bound as long as the programs' part is not known.
    pub quality: Quality,
}

impl Cost {
    /// From CPU time and what was counted of the programs.
    pub fn new(user: f64, stats: &RunStats) -> Self {
        let programs = stats.all();
        let quality = if programs.is_some() { stats.counting.quality() } else { Quality::LowerBound };
        Self { user, programs, quality }
    }

    /// All of it, in CPUs.
    pub fn of_one_cpu(self) -> f64 {
        self.user + self.programs.unwrap_or(0.0)
    }

    /// All of it, as a share of the machine's CPU time.
    pub fn of_machine(self, cpus: u32) -> f64 {
        self.of_one_cpu() / f64::from(cpus.max(1))
    }
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapUse {
    /// Its name in the kernel.
    pub name: &'static str,
    /// What an entry is.
    pub holds: &'static str,
    /// Entries in use.
    pub used: u64,
    /// Entries there is room for.
    pub max: u64,
    /// Memory of the kernel, bytes, all entries allocated at the start.
    pub bytes: u64,
    /// Events that found no room, since the start; `None` where every entry has its place.
    pub dropped: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stats(counting: Counting, over_ns: u64, count: u64, time_ns: u64) -> RunStats {
        RunStats {
            counting,
            over_ns,
            runs: vec![Runs { count, time_ns }],
            misses: vec![Some(count / 1_000)],
            attached: Vec::new(),
        }
    }

    #[test]
    fn counters_are_subtracted_and_windows_stand_for_themselves() {
        let (a, b) = (stats(Counting::Always, 100, 10, 900), stats(Counting::Always, 300, 70, 6_900));
        assert_eq!(RunStats::between(&a, &b), stats(Counting::Always, 200, 60, 6_000).with_misses(&b));
        let (a, b) = (stats(Counting::Windows, 50, 10, 900), stats(Counting::Windows, 51, 4, 200));
        assert_eq!(RunStats::between(&a, &b), b);
    }

    impl RunStats {
        fn with_misses(mut self, of: &Self) -> Self {
            self.misses.clone_from(&of.misses);
            self
        }
    }

    #[test]
    fn a_second_of_runs_becomes_rates_and_shares() {
        let stats = stats(Counting::Windows, 50_000_000, 5_000, 1_000_000);
        assert_eq!(stats.rate(0), Some(100_000.0));
        assert_eq!(stats.run_ns(0), Some(200.0));
        assert_eq!(stats.share(0), Some(0.02));
        let cost = Cost::new(0.01, &stats);
        assert_eq!((cost.of_one_cpu(), cost.of_machine(2), cost.quality), (0.03, 0.015, Quality::Estimate));
    }

    #[test]
    fn what_is_not_counted_is_not_zero() {
        for counting in [Counting::Off, Counting::Waiting, Counting::Denied("no".into())] {
            let stats = stats(counting, 1, 1, 1);
            assert_eq!((stats.rate(0), stats.run_ns(0), stats.share(0), stats.all()), (None, None, None, None));
            assert_eq!(Cost::new(0.004, &stats), Cost { user: 0.004, programs: None, quality: Quality::LowerBound });
        }
        let idle = stats(Counting::Always, 1_000_000_000, 0, 0);
        assert_eq!((idle.rate(0), idle.run_ns(0), idle.share(0)), (Some(0.0), None, Some(0.0)));
        assert_eq!(idle.rate(1), None);
    }

    proptest! {
        #[test]
        fn parts_of_an_interval_add_up(at in proptest::collection::vec((0_u64..1 << 40, 0_u64..1 << 40, 0_u64..1 << 40), 3)) {
            let mut sum = (0, 0, 0);
            let samples: Vec<RunStats> = at.iter().map(|(a, b, c)| {
                sum = (sum.0 + a, sum.1 + b, sum.2 + c);
                stats(Counting::Always, sum.0, sum.1, sum.2)
            }).collect();
            let mut parts = RunStats::between(&samples[0], &samples[1]);
            parts.append(&RunStats::between(&samples[1], &samples[2]));
            prop_assert_eq!(parts, RunStats::between(&samples[0], &samples[2]));
        }
    }
}
