//! The rows of tables: what one interval says of each system call and of each program, ready to be sorted and shown.
//!
//! Not here: processes, of which there are too many to make a row of each (`processes.rs`); the order of rows and their
//! looks (`columns.rs`); nor which row is selected (`selection.rs`).
//!
//! Invariant: a row stays while what it stands for was seen in the last [`RECENT`] intervals, so tables do not flicker.

pub mod errors;
pub mod exemplars;

use std::borrow::Cow;

use super::history::{History, Look};
use super::selection::RowId;
use crate::core::hook::Hook;
use crate::core::latency::LatencyStats;
use crate::model::ProbeState;
use crate::probes::stuck::stats::{Detail, Fold, InFlight, folded};
use crate::probes::syscalls::names::{name, waits};

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
            max: latency.max().filter(|ns| *ns > 0),
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

/// One of kscope's own programs.
#[derive(Clone, Debug)]
pub struct ProgramRow {
    /// Its place in the list of probes.
    pub at: usize,
    /// Its name.
    pub name: &'static str,
    /// Its kind of hook.
    pub hook: Hook,
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

/// A call that has not returned, or all that wait by design in one process.
#[derive(Clone, Debug)]
pub struct StuckRow {
    /// The oldest call.
    pub call: InFlight,
    /// How many threads.
    pub threads: usize,
    /// Name of the process.
    pub comm: String,
    /// The call, or the calls with how many threads are in each.
    pub calls: String,
    /// They wait by design.
    pub idle: bool,
    /// It stands for all that wait by design in its process.
    pub folded: bool,
}

impl StuckRow {
    /// The thread, or how many there are.
    pub fn thread(&self) -> String {
        if self.threads > 1 { format!("×{}", self.threads) } else { self.call.tid.to_string() }
    }

    /// Does any text of it contain `text`, which is in small letters?
    fn contains(&self, text: &str) -> bool {
        let has = |t: &str| t.to_lowercase().contains(text);
        let detail = || self.detail().is_some_and(|d| has(&d.on) || has(&d.wchan));
        text.is_empty() || has(&self.comm) || has(&self.calls) || detail() || self.call.tid.to_string().contains(text)
    }

    /// What the oldest waits for, where that was asked.
    pub fn detail(&self) -> Option<&Detail> {
        self.call.detail.as_deref()
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

impl Row for StuckRow {
    fn id(&self) -> RowId {
        // A row of a process's idle threads is the process, whichever of them is the oldest.
        RowId::Thread(self.call.process, if self.folded { 0 } else { self.call.tid })
    }

    fn group(&self) -> u8 {
        u8::from(self.idle)
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

/// Rows in the order that is shown, each to be looked at when it is visible.
pub trait Rows<R> {
    /// How many there are.
    fn count(&self) -> usize;
    /// What `look` sees in the row at this place.
    fn with<T>(&self, at: usize, look: impl FnOnce(&R) -> T) -> Option<T>;
}

impl<R> Rows<R> for &[R] {
    fn count(&self) -> usize {
        self.len()
    }

    fn with<T>(&self, at: usize, look: impl FnOnce(&R) -> T) -> Option<T> {
        self.get(at).map(look)
    }
}

/// The system calls of the newest interval, and those of the last ones with zeros, whose name contains `text`.
pub fn calls(history: &History, look: &Look, text: &str) -> Vec<CallRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let mut seen = Vec::new();
    history.last(RECENT).for_each(|tick| tick.calls_made(&mut seen));
    seen.sort_unstable();
    seen.dedup();
    let total = |waiting: bool| -> u64 {
        tick.calls().iter().filter(|c| waits(c.nr) == waiting).map(|c| c.latency.total_ns).fold(0, u64::saturating_add)
    };
    let totals = [total(false), total(true)];
    let text = text.to_lowercase();
    let shown = seen.into_iter().filter(|&nr| look.keeps(nr) && name(nr).contains(&text));
    shown
        .map(|nr| {
            let latency = tick.call(nr).map(|l| Digest::of(&l)).unwrap_or_default();
            let waits = waits(nr);
            CallRow { nr, name: name(nr), waits, latency, share: share(latency.total_ns, totals[usize::from(waits)]) }
        })
        .collect()
}

/// The calls that have not returned, of processes that pass; those that wait by design folded unless they are asked for.
pub fn stuck(history: &History, look: &Look, text: &str) -> Vec<StuckRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let snapshot = &tick.snapshot;
    let process = |id| snapshot.processes.binary_search_by_key(&id, |p| p.id).ok().map(|at| &snapshot.processes[at]);
    let passes = |call: &&InFlight| {
        call.process.pid != snapshot.own.pid && process(call.process).is_some_and(|process| look.passes(process))
    };
    let folds = |nr| look.hide_waiting && waits(nr);
    let text = text.to_lowercase();
    let row = |fold: Fold<'_>| {
        let comm = process(fold.oldest.process).map(|p| p.ident.comm.clone()).unwrap_or_default();
        let of = |&(nr, n): &(u32, usize)| if n > 1 { format!("{} ×{n}", name(nr)) } else { name(nr).into_owned() };
        let calls = fold.calls.iter().map(of).collect::<Vec<_>>().join(", ");
        let nr = fold.oldest.nr;
        let call = fold.oldest.clone();
        StuckRow { call, threads: fold.threads, comm, calls, idle: waits(nr), folded: folds(nr) }
    };
    let rows = folded(snapshot.inflight.iter().filter(passes), folds).into_iter().map(row);
    rows.filter(|row| row.contains(&text)).collect()
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
                ProbeState::Running if tick.snapshot.basis.is_procfs() => (true, "read".to_owned()),
                ProbeState::Running => (
                    true,
                    probe
                        .fallback
                        .as_ref()
                        .map_or("attached".to_owned(), |why| format!("attached in place of what is better: {why}")),
                ),
                ProbeState::Idle => (true, "off until it is looked at".to_owned()),
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

/// A part of a whole, 0…1.
pub(super) fn share(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 / total as f64 }
}
