//! Processes that run in circles, told from what their calls return: rules with stated thresholds, one sentence each.
//!
//! Pure. Invariant: a rule speaks only of numbers that the snapshot holds; below its thresholds it says nothing.

use syscalls::Sysno;

use super::names::{EAGAIN, EINTR, ENOENT};
use super::stats::ErrorCount;
use crate::core::arguments::{self, Argument};
use crate::core::ident::ProcessId;
use crate::core::units::{percent, rate};
use crate::model::{ProcessStats, Snapshot};
use crate::probes::syscalls::names::name;

/// Calls of one kind that return EAGAIN so often a second are a loop, if most of them do.
pub const AGAIN_PER_S: f64 = 1_000.0;
/// `futex` that finds its value changed so often a second is contention.
pub const FUTEX_PER_S: f64 = 1_000.0;
/// If at least this part of them does.
pub const FUTEX_SHARE: f64 = 0.25;
/// `sched_yield` so often a second is a storm.
pub const YIELDS_PER_S: f64 = 5_000.0;
/// Paths that are not there so often a second are a search, if most of those asked for are not.
pub const SEARCHES_PER_S: f64 = 500.0;
/// Calls that return EINTR so often a second are a storm of signals, if most of them do.
pub const INTERRUPTED_PER_S: f64 = 100.0;
/// Most of them.
pub const MOST: f64 = 0.5;

/// The rules in words, for the help.
pub fn rules() -> [String; 3] {
    let most = percent(MOST);
    [
        format!("said when above {most} of a call: EAGAIN {}, EINTR {}", rate(AGAIN_PER_S), rate(INTERRUPTED_PER_S)),
        format!("ENOENT of calls with a path {} and above {most} of them", rate(SEARCHES_PER_S)),
        format!(
            "futex EAGAIN {} and {} of them, sched_yield {}",
            rate(FUTEX_PER_S),
            percent(FUTEX_SHARE),
            rate(YIELDS_PER_S)
        ),
    ]
}

/// What a process does in circles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It asks for what is not there yet.
    Again,
    /// Its threads contend for a lock.
    Futex,
    /// It gives its CPU away again and again.
    Yield,
    /// It looks for files that do not exist.
    Search,
    /// Signals keep it from finishing.
    Interrupted,
}

impl Kind {
    /// Its name in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Again => "eagain_loop",
            Self::Futex => "futex_contention",
            Self::Yield => "yield_storm",
            Self::Search => "enoent_search",
            Self::Interrupted => "eintr_storm",
        }
    }
}

/// A process that runs in circles.
#[derive(Clone, Debug, PartialEq)]
pub struct Spin {
    /// Who.
    pub id: ProcessId,
    /// Its name.
    pub comm: String,
    /// How.
    pub kind: Kind,
    /// Number of the call; of a search the one that searches most.
    pub nr: u32,
    /// How often a second.
    pub per_s: f64,
    /// Which part of these calls; 1 for a storm of `sched_yield`.
    pub share: f64,
}

impl Spin {
    /// It as a sentence. `mark` is that of the quality of errors.
    pub fn sentence(&self, mark: &str) -> String {
        let (who, call) = (format!("{} ({})", self.comm, self.id.pid), name(self.nr));
        let (often, share) = (format!("{mark}{}", rate(self.per_s)), percent(self.share));
        match self.kind {
            Kind::Again => {
                format!("{who} asks in a loop: {call} returns EAGAIN {often}, {share} of its calls")
            }
            Kind::Futex => {
                format!("{who} contends for a lock: futex finds its value changed {often}, {share} of its calls")
            }
            Kind::Yield => format!("{who} gives its CPU away {often} with sched_yield: it spins until another is done"),
            Kind::Search => {
                format!(
                    "{who} searches: {often} of its paths do not exist, {share} of those asked for, most with {call}"
                )
            }
            Kind::Interrupted => {
                format!("{who} is interrupted: {call} returns EINTR {often}, {share} of its calls")
            }
        }
    }
}

/// The processes that run in circles, the most often first.
pub fn spins(snapshot: &Snapshot, passes: impl Fn(&ProcessStats) -> bool) -> Vec<Spin> {
    let seconds = snapshot.seconds();
    let mut found = Vec::new();
    for process in snapshot.processes.iter().filter(|p| !p.calls.is_empty() && passes(p)) {
        let of = Process { stats: process, errors: snapshot.errors.of(process.id), seconds };
        found.extend(of.failing());
        found.extend(of.yielding());
        found.extend(of.searching());
    }
    found.sort_by(|a, b| b.per_s.total_cmp(&a.per_s).then(a.id.cmp(&b.id)));
    found
}

/// One process while it is looked at.
struct Process<'a> {
    stats: &'a ProcessStats,
    errors: &'a [ErrorCount],
    seconds: f64,
}

impl Process<'_> {
    fn spin(&self, kind: Kind, nr: u32, count: u64, of: u64) -> Spin {
        Spin {
            id: self.stats.id,
            comm: self.stats.ident.comm.clone(),
            kind,
            nr,
            per_s: count as f64 / self.seconds,
            share: count as f64 / of.max(1) as f64,
        }
    }

    /// How often a call was made.
    fn made(&self, nr: u32) -> u64 {
        let at = self.stats.calls.binary_search_by_key(&nr, |call| call.nr);
        at.map_or(0, |at| self.stats.calls[at].latency.count())
    }

    fn failing(&self) -> impl Iterator<Item = Spin> {
        self.errors.iter().filter_map(|e| {
            let (kind, per_s, share) = match (e.errno, Sysno::new(e.nr as usize)) {
                (EAGAIN, Some(Sysno::futex)) => (Kind::Futex, FUTEX_PER_S, FUTEX_SHARE),
                (EAGAIN, _) => (Kind::Again, AGAIN_PER_S, MOST),
                (EINTR, _) => (Kind::Interrupted, INTERRUPTED_PER_S, MOST),
                _ => return None,
            };
            let spin = self.spin(kind, e.nr, e.count, self.made(e.nr));
            (spin.per_s >= per_s && spin.share > share).then_some(spin)
        })
    }

    fn yielding(&self) -> Option<Spin> {
        let nr = Sysno::sched_yield as u32;
        let made = self.made(nr);
        Some(self.spin(Kind::Yield, nr, made, made)).filter(|spin| spin.per_s >= YIELDS_PER_S)
    }

    fn searching(&self) -> Option<Spin> {
        let missing = || self.errors.iter().filter(|e| e.errno == ENOENT && takes_a_path(e.nr));
        let most = missing().max_by_key(|e| e.count)?;
        let asked = self.stats.calls.iter().filter(|call| takes_a_path(call.nr)).map(|call| call.latency.count()).sum();
        let spin = self.spin(Kind::Search, most.nr, missing().map(|e| e.count).sum(), asked);
        (spin.per_s >= SEARCHES_PER_S && spin.share > MOST).then_some(spin)
    }
}

/// Does this call look something up by its path?
fn takes_a_path(nr: u32) -> bool {
    arguments::of(nr).is_some_and(|all| all.contains(&Argument::Path))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::arguments::NEWFSTATAT;
    use crate::core::histogram::Histogram;
    use crate::core::latency::LatencyStats;
    use crate::model::Ident;
    use crate::probes::errors::stats::Errors;
    use crate::probes::syscalls::stats::CallStats;

    const ID: ProcessId = ProcessId { pid: 7, birth: 1 };

    /// Two seconds in which a process made these calls, of which so many failed so.
    fn said(calls: &[(Sysno, u64)], failed: &[(Sysno, u32, u64)]) -> Vec<String> {
        let made = |&(call, count): &(Sysno, u64)| {
            let mut latency = LatencyStats::empty();
            latency.histogram = Histogram::new();
            latency.histogram.add(20, count);
            CallStats { nr: call as u32, latency }
        };
        let mut calls: Vec<_> = calls.iter().map(made).collect();
        calls.sort_by_key(|call| call.nr);
        let process = ProcessStats {
            id: ID,
            ident: Arc::new(Ident { comm: "busy".into(), ..Ident::default() }),
            calls,
            ..ProcessStats::default()
        };
        let error = |&(call, errno, count): &(Sysno, u32, u64)| ErrorCount { id: ID, nr: call as u32, errno, count };
        let mut by_process: Vec<_> = failed.iter().map(error).collect();
        by_process.sort_by_key(|e| (e.nr, e.errno));
        let snapshot = Snapshot {
            interval_ns: 2_000_000_000,
            processes: vec![process],
            errors: Errors { by_process, host: Vec::new() },
            ..Snapshot::default()
        };
        spins(&snapshot, |_| true).iter().map(|spin| spin.sentence("")).collect()
    }

    #[test]
    fn a_loop_of_eagain_is_said_when_it_is_often_and_most_of_the_calls() {
        let expected = "busy (7) asks in a loop: read returns EAGAIN 2.00 k/s, 80 % of its calls";
        assert_eq!(said(&[(Sysno::read, 5_000)], &[(Sysno::read, EAGAIN, 4_000)]), [expected]);
        assert!(said(&[(Sysno::read, 2_000)], &[(Sysno::read, EAGAIN, 1_999)]).is_empty(), "seldom");
        assert!(said(&[(Sysno::read, 8_000)], &[(Sysno::read, EAGAIN, 4_000)]).is_empty(), "not most");
    }

    #[test]
    fn futexes_that_find_their_value_changed_are_contention() {
        let said = |failed| said(&[(Sysno::futex, 10_000)], &[(Sysno::futex, EAGAIN, failed)]);
        assert_eq!(
            said(3_000),
            ["busy (7) contends for a lock: futex finds its value changed 1.50 k/s, 30 % of its calls"]
        );
        assert!(said(2_500).is_empty() && said(1_999).is_empty());
    }

    #[test]
    fn a_storm_of_yields_needs_no_error() {
        let storm = said(&[(Sysno::sched_yield, 10_000)], &[]);
        assert_eq!(storm, ["busy (7) gives its CPU away 5.00 k/s with sched_yield: it spins until another is done"]);
        assert!(said(&[(Sysno::sched_yield, 9_999)], &[]).is_empty());
    }

    #[test]
    fn a_search_adds_up_all_calls_with_a_path() {
        let calls = [(Sysno::openat, 900), (NEWFSTATAT, 700), (Sysno::read, 90_000)];
        let failed = [(Sysno::openat, ENOENT, 500), (NEWFSTATAT, ENOENT, 700)];
        let expected = format!(
            "busy (7) searches: 600 /s of its paths do not exist, 75 % of those asked for, most with {}",
            NEWFSTATAT.name()
        );
        assert_eq!(said(&calls, &failed), [expected]);
        assert!(said(&calls, &failed[..1]).is_empty());
    }

    #[test]
    fn signals_that_keep_a_call_from_finishing_are_said() {
        assert_eq!(
            said(&[(Sysno::read, 300)], &[(Sysno::read, EINTR, 250)]),
            ["busy (7) is interrupted: read returns EINTR 125 /s, 83 % of its calls"]
        );
        assert!(said(&[(Sysno::read, 300)], &[(Sysno::read, EINTR, 199)]).is_empty());
    }
}
