//! The rows of tables: what one interval says of each system call and of each process, ready to be sorted and shown.
//!
//! Not here: the order of rows and their looks (`columns.rs`), nor which row is selected (`selection.rs`).
//!
//! Invariant: a row stays while what it stands for was seen in the last [`RECENT`] intervals, so tables do not flicker.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::history::{History, Look, Tick};
use super::selection::RowId;
use crate::core::histogram::Scale;
use crate::core::ident::ProcessId;
use crate::core::latency::LatencyStats;
use crate::model::{Ident, ProbeState, ProcessStats};
use crate::probes::network::stats::Traffic;
use crate::probes::syscalls::names::{name, waits};
use crate::probes::syscalls::stats::merged;
use crate::probes::time::stats::TimeSplit;

/// How many intervals back something counts as present.
pub const RECENT: usize = 30;

/// A distribution in the numbers that tables show. Times in ns; `None` where nothing completed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Digest {
    /// Completed calls or waits.
    pub count: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Sum of durations.
    pub total_ns: u64,
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    pub p999: Option<u64>,
    /// The longest.
    pub max: Option<u64>,
}

impl Digest {
    /// The numbers of a distribution.
    pub fn of(latency: &LatencyStats) -> Self {
        let count = latency.count();
        let quantile = |q| latency.quantile(q);
        Self {
            count,
            errors: latency.errors,
            total_ns: latency.total_ns,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: (latency.max_ns > 0).then_some(latency.max_ns),
        }
    }
}

/// A system call.
#[derive(Clone, Debug)]
pub struct CallRow {
    /// Its number.
    pub nr: u32,
    /// Its name.
    pub name: Cow<'static, str>,
    /// It waits by design; such rows stand below those that work.
    pub waits: bool,
    /// Its latencies.
    pub latency: Digest,
    /// Its part of the time spent in all calls of its kind (working or waiting), 0…1.
    pub share: f64,
}

/// A process.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    /// Identity.
    pub id: ProcessId,
    /// Who it is.
    pub ident: Arc<Ident>,
    /// It ended in this interval.
    pub exited: bool,
    /// Threads alive.
    pub threads: u32,
    /// Its system calls: those that are shown, or the one whose callers are listed.
    pub calls: Digest,
    /// The call that most of its slowest percent of calls were.
    pub slow_call: Option<u32>,
    /// Its run-queue delays.
    pub delay: Digest,
    /// Where its threads' time went.
    pub time: TimeSplit,
    /// Its bytes.
    pub traffic: Traffic,
    /// Its part of what the table is about, 0…1.
    pub share: f64,
}

/// One of kscope's own programs.
#[derive(Clone, Debug)]
pub struct ProgramRow {
    /// Its place in the list of probes.
    pub at: usize,
    /// Its name.
    pub name: &'static str,
    /// Its kind of hook.
    pub hook: &'static str,
    /// It is attached.
    pub running: bool,
    /// That it is, or why not and what to do.
    pub state: String,
    /// Runs per second, where they are counted.
    pub rate: Option<f64>,
    /// Time of a run, ns.
    pub run_ns: Option<f64>,
    /// The share of one CPU that it takes.
    pub share: Option<f64>,
    /// Its part of the time of all programs, 0…1.
    pub part: Option<f64>,
    /// Events it missed since the start.
    pub misses: Option<u64>,
}

/// Which processes a table lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// All that pass the filter.
    Everybody,
    /// Those that make one system call.
    Callers(u32),
    /// Those that waited for a CPU.
    Delayed,
    /// Those that moved bytes.
    Talking,
}

impl Who {
    fn has(self, process: &ProcessStats) -> bool {
        match self {
            Self::Everybody => true,
            Self::Callers(nr) => process.calls.binary_search_by_key(&nr, |c| c.nr).is_ok(),
            Self::Delayed => !process.runqueue.is_empty(),
            Self::Talking => process.traffic.bytes() > 0,
        }
    }

    fn part(self, row: &ProcessRow) -> u64 {
        match self {
            Self::Everybody => row.time.on_cpu_ns(),
            Self::Callers(_) => row.calls.total_ns,
            Self::Delayed => row.delay.total_ns,
            Self::Talking => row.traffic.bytes(),
        }
    }
}

/// Something a table can list.
pub trait Row {
    /// Its identity.
    fn id(&self) -> RowId;
    /// Rows of a higher group stand below those of a lower one, whatever the order.
    fn group(&self) -> u8;
}

impl Row for CallRow {
    fn id(&self) -> RowId {
        RowId::Call(self.nr)
    }

    fn group(&self) -> u8 {
        u8::from(self.waits)
    }
}

impl Row for ProcessRow {
    fn id(&self) -> RowId {
        RowId::Process(self.id)
    }

    fn group(&self) -> u8 {
        0
    }
}

impl Row for ProgramRow {
    fn id(&self) -> RowId {
        RowId::Program(self.at)
    }

    fn group(&self) -> u8 {
        0
    }
}

/// The identities of rows, in their order.
pub fn ids<R: Row>(rows: &[R]) -> impl Iterator<Item = RowId> + '_ {
    rows.iter().map(Row::id)
}

/// The system calls of the newest interval, and those of the last ones with zeros, whose name contains `text`.
pub fn calls(history: &History, look: &Look, text: &str) -> Vec<CallRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let mut seen: Vec<u32> = history.last(RECENT).flat_map(|t| t.calls().iter().map(|c| c.nr)).collect();
    seen.sort_unstable();
    seen.dedup();
    let total = |waiting: bool| -> u64 {
        tick.calls().iter().filter(|c| waits(c.nr) == waiting).map(|c| c.latency.total_ns).sum()
    };
    let totals = [total(false), total(true)];
    let text = text.to_lowercase();
    let shown = seen.into_iter().filter(|&nr| look.keeps(nr) && name(nr).contains(&text));
    shown
        .map(|nr| {
            let latency = tick.call(nr).map(Digest::of).unwrap_or_default();
            let waits = waits(nr);
            CallRow { nr, name: name(nr), waits, latency, share: share(latency.total_ns, totals[usize::from(waits)]) }
        })
        .collect()
}

/// kscope's programs whose name contains `text`. No filter applies to them.
pub fn programs(history: &History, text: &str) -> Vec<ProgramRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let counted = &tick.snapshot.programs;
    let all = counted.all();
    let text = text.to_lowercase();
    let listed = tick.snapshot.probes.iter().enumerate().filter(|(_, probe)| probe.name.contains(&text));
    listed
        .map(|(at, probe)| {
            let (running, state) = match &probe.state {
                ProbeState::Running => (true, "attached".to_owned()),
                ProbeState::Failed { reason, advice } => (false, format!("{reason} {advice}")),
            };
            let share = counted.share(at).filter(|_| running);
            ProgramRow {
                at,
                name: probe.name,
                hook: probe.hook,
                running,
                state,
                rate: counted.rate(at).filter(|_| running),
                run_ns: counted.run_ns(at),
                share,
                part: share.zip(all).map(|(share, all)| if all > 0.0 { share / all } else { 0.0 }),
                misses: counted.misses.get(at).copied().flatten(),
            }
        })
        .collect()
}

/// The processes of the newest interval that pass the filter, contain `text`, and belong to `who`.
pub fn processes(history: &History, look: &Look, text: &str, who: Who) -> Vec<ProcessRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let recent: HashSet<ProcessId> = match who {
        Who::Everybody => HashSet::new(),
        _ => history
            .last(RECENT)
            .flat_map(|t| t.snapshot.processes.iter().filter(|p| who.has(p)).map(|p| p.id))
            .collect(),
    };
    let text = text.to_lowercase();
    let listed =
        passing(tick, look).filter(|p| who == Who::Everybody || recent.contains(&p.id)).filter(|p| contains(p, &text));
    let mut rows: Vec<ProcessRow> = listed.map(|p| row_of(p, look, who)).collect();
    let total = rows.iter().map(|row| who.part(row)).sum();
    for row in &mut rows {
        row.share = share(who.part(row), total);
    }
    rows
}

/// The processes of an interval that pass the filter.
pub fn passing<'a>(tick: &'a Tick, look: &'a Look) -> impl Iterator<Item = &'a ProcessStats> {
    tick.snapshot.processes.iter().filter(|p| look.passes(p))
}

fn row_of(process: &ProcessStats, look: &Look, who: Who) -> ProcessRow {
    let keep = |nr: u32| match who {
        Who::Callers(call) => nr == call,
        _ => look.keeps(nr),
    };
    let latency = merged(&process.calls, keep, Scale::Three);
    let calls = Digest::of(&latency);
    let slow_call = calls.p99.and_then(|p99| slowest(process, keep, p99));
    ProcessRow {
        id: process.id,
        ident: Arc::clone(&process.ident),
        exited: process.exited,
        threads: process.threads,
        calls,
        slow_call,
        delay: Digest::of(&process.runqueue),
        time: process.time,
        traffic: process.traffic,
        share: 0.0,
    }
}

/// The call with most values in buckets that reach `from_ns`.
fn slowest(process: &ProcessStats, keep: impl Fn(u32) -> bool, from_ns: u64) -> Option<u32> {
    let slow = |latency: &LatencyStats| -> u64 {
        let histogram = &latency.histogram;
        let reaches = |index| histogram.scale().bounds(index).1 >= from_ns as f64;
        histogram.iter().filter(|&(index, _)| reaches(index)).map(|(_, n)| n).sum()
    };
    let candidates = process.calls.iter().filter(|c| keep(c.nr)).map(|c| (slow(&c.latency), c.nr));
    candidates.filter(|&(n, _)| n > 0).max().map(|(_, nr)| nr)
}

fn contains(process: &ProcessStats, text: &str) -> bool {
    let ident = &process.ident;
    text.is_empty()
        || [&ident.comm, &ident.cmdline, &ident.user].iter().any(|t| t.to_lowercase().contains(text))
        || process.id.pid.to_string().contains(text)
}

fn share(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 / total as f64 }
}
