//! The report as a value: the contract of `kscope report --format json`. Times in nanoseconds, sizes in bytes.
//!
//! A group of numbers whose probe does not run is `null`, never zero; `quality` says why by its word.
//!
//! Invariant: field names here are a contract; more may be added, none renamed.

use std::collections::HashSet;

use serde::Serialize;

use super::conservation::NetworkTotal;
use super::latency::LatencyRow;
use super::losses::DroppedRow;
use super::process::{DiskRow, TimeRow};
use super::sections::Sections;
use crate::core::histogram::ERROR_PERCENT;
use crate::core::ident::ProcessId;
use crate::core::insight::Insight;
use crate::core::latency::LatencyStats;
use crate::core::quality::Quality;
use crate::model::{Basis, ProbeState, ProcessStats, Qualities, Snapshot};
use crate::probes::network::stats::Traffic;
use crate::probes::own::stats::Counting;
use crate::probes::syscalls::names::name;
use crate::probes::syscalls::stats::{CallStats, merge_calls};
use crate::verdicts::Verdict;

/// Which processes a report is about.
#[derive(Clone, Debug)]
pub enum Scope {
    /// The whole host.
    Host,
    /// These processes.
    Only(HashSet<ProcessId>),
}

impl Scope {
    pub(super) fn holds(&self, id: ProcessId) -> bool {
        match self {
            Self::Host => true,
            Self::Only(ids) => ids.contains(&id),
        }
    }
}

/// How the command that was reported on ended.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CommandResult {
    /// Its process id.
    pub pid: u32,
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How long of it was measured, ns: from its beginning to its end, or to that of the report.
    #[serde(skip)]
    pub interval_ns: u64,
}

/// One report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    schema: u32,
    /// The machine.
    pub host: HostRow,
    /// Length of the interval; with a command, from its beginning to its end.
    pub interval_ns: u64,
    /// With a command: length of the interval of the host's numbers (CPUs, devices, interfaces, `self`), from the sample before
    /// the command to the one after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_interval_ns: Option<u64>,
    /// The processes that alone were measured (`--only`), by pid; empty where all were. The host's numbers are then theirs.
    pub only: Vec<u32>,
    /// What the numbers come from: `ebpf`, or `procfs` where the programs could not be loaded.
    pub source: &'static str,
    /// Why the programs could not be loaded, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingRow>,
    /// What each group of numbers is worth.
    pub quality: QualityRow,
    /// Largest error of a quantile in percent: of the host, and of processes.
    resolution: Resolution,
    /// What was left out to keep a budget.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sampling: Vec<SamplingRow>,
    /// The command, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandResult>,
    /// System calls of all processes in scope, dearest first.
    pub syscalls: Option<Vec<CallRow>>,
    /// Run-queue delays.
    pub runqueue: Option<RunqueueRow>,
    /// Bytes of all processes in scope.
    pub network: Option<NetworkTotal>,
    /// Processes in scope that did anything.
    pub processes: Vec<ProcessRow>,
    /// What answers why.
    #[serde(flatten)]
    pub sections: Sections,
    /// What kscope itself used and lost.
    #[serde(rename = "self")]
    pub own: OwnRow,
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct HostRow {
    /// Host name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: u32,
}

/// Why only procfs was read.
#[derive(Clone, Debug, Serialize)]
pub struct MissingRow {
    /// Why the programs could not be loaded.
    pub reason: String,
    /// What to do.
    pub advice: String,
}

impl MissingRow {
    fn of(basis: &Basis) -> Option<Self> {
        let Basis::Procfs { reason, advice } = basis else { return None };
        Some(Self { reason: reason.to_string(), advice: advice.to_string() })
    }
}

/// See [`Qualities`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QualityRow {
    /// System calls.
    pub syscalls: Quality,
    /// Run-queue delays.
    pub runqueue: Quality,
    /// Network bytes.
    pub network: Quality,
    /// Thread time.
    pub time: Quality,
    /// Errors by process, call and number.
    pub errors: Quality,
    /// Processes that ended.
    pub dead: Quality,
    /// Requests of block devices.
    pub disk: Quality,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Resolution {
    host_percent: f64,
    process_percent: f64,
}

/// How much of an insight's events was counted.
#[derive(Clone, Debug, Serialize)]
pub struct SamplingRow {
    /// The events, such as `system calls`.
    pub of: &'static str,
    /// One in so many was counted, at the sparsest.
    pub one_in: u32,
    /// The part of the time in which they were watched, 0…1.
    pub watched: f64,
    /// The longest window in which they were watched, 0 if they always were.
    pub window_ns: u64,
    /// The same in words.
    pub sentence: String,
}

/// One system call.
#[derive(Clone, Debug, Serialize)]
pub struct CallRow {
    /// Its name.
    pub name: String,
    /// Its number on this architecture.
    pub nr: u32,
    /// Its latencies.
    #[serde(flatten)]
    pub latency: LatencyRow,
    /// How many returned an error.
    pub errors: u64,
    /// How many times a signal cut one short and the kernel restarted it; not counted in `count`.
    pub interrupted: u64,
    /// The part of `count` that the kernel did not carry out, since seccomp or a tracer answered it: quantiles, times and the
    /// maximum are those of the others.
    pub denied: u64,
    /// Part of `total_ns` in which the thread was blocked.
    pub blocked_ns: u64,
    /// Part of `total_ns` in which it waited for a CPU.
    pub runnable_ns: u64,
}

/// Run-queue delays of the scope, and of each CPU.
#[derive(Clone, Debug, Serialize)]
pub struct RunqueueRow {
    /// Of the processes in scope.
    pub all: LatencyRow,
    /// Of each CPU; always those of the whole host.
    pub cpus: Vec<CpuRow>,
}

/// One CPU.
#[derive(Clone, Debug, Serialize)]
pub struct CpuRow {
    /// Its number.
    pub cpu: u32,
    /// Its delays.
    #[serde(flatten)]
    pub delay: LatencyRow,
}

/// Payload bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NetworkRow {
    /// Sent.
    pub tx_bytes: u64,
    /// Received.
    pub rx_bytes: u64,
}

impl From<Traffic> for NetworkRow {
    fn from(traffic: Traffic) -> Self {
        Self { tx_bytes: traffic.tx_bytes, rx_bytes: traffic.rx_bytes }
    }
}

/// One process.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessRow {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Pid of its parent, 0 if unknown.
    pub ppid: u32,
    /// It ended in the interval.
    pub exited: bool,
    /// Its threads at the end.
    pub threads: u32,
    /// Its system calls, dearest first.
    pub syscalls: Option<Vec<CallRow>>,
    /// Its run-queue delays.
    pub runqueue: Option<LatencyRow>,
    /// Its bytes.
    pub network: Option<NetworkRow>,
    /// What it had block devices do.
    pub disk: Option<DiskRow>,
    /// Where its threads' time went.
    pub time: Option<TimeRow>,
    /// What `time` and `runqueue` are worth, where that is less than those of other processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<ProcessQuality>,
}

/// What numbers of a process are worth of which runs on a CPU were missed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessQuality {
    /// Times on and off CPUs.
    pub time: Quality,
    /// Waits for a CPU.
    pub runqueue: Quality,
}

/// What kscope used and lost.
#[derive(Clone, Debug, Serialize)]
pub struct OwnRow {
    /// CPU time of its user space.
    pub cpu_ns: u64,
    /// The budget that was kept, as a share of the machine's CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// From the first counter of a sample to its last, ns, at most: by so much the intervals of two numbers may differ.
    pub spread_ns: u64,
    /// Memory of the kernel for its maps.
    pub map_bytes: u64,
    /// What was lost.
    pub dropped: DroppedRow,
    /// Sentences on rights that it could not give up, and on what it was told not to look at.
    pub notes: Vec<String>,
    /// Its programs.
    pub probes: Vec<ProbeRow>,
}

/// One program.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeRow {
    /// Its name.
    pub name: &'static str,
    /// Its kind of hook.
    pub hook: &'static str,
    /// Why it runs in place of what is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// It is attached.
    pub running: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it ran: `null` without `--cost`, since counting costs time.
    pub runs: Option<u64>,
    /// How long, in all.
    pub run_ns: Option<u64>,
    /// Events that it missed because it was at work on the same CPU.
    pub misses: Option<u64>,
}

impl Report {
    /// The report on `scope` of what happened in `snapshot`.
    pub fn new(snapshot: &Snapshot, scope: &Scope, command: Option<CommandResult>, verdicts: Vec<Verdict>) -> Self {
        let q = snapshot.qualities;
        // One that was asked for is in it even if it rested.
        let named = matches!(scope, Scope::Only(_));
        let chosen: Vec<&ProcessStats> = snapshot.processes.iter().filter(|p| scope.holds(p.id)).collect();
        let traffic = chosen.iter().fold(Traffic::default(), |sum, p| sum.plus(p.traffic));
        let interval_ns = command.map_or(snapshot.interval_ns, |command| command.interval_ns);
        Self {
            schema: 1,
            host: HostRow {
                name: snapshot.host.name.clone(),
                kernel: snapshot.host.kernel.clone(),
                cpus: snapshot.host.cpus,
            },
            interval_ns,
            host_interval_ns: command.map(|_| snapshot.interval_ns),
            only: snapshot.only.to_vec(),
            source: snapshot.basis.word(),
            missing: MissingRow::of(&snapshot.basis),
            quality: QualityRow {
                syscalls: q.syscalls,
                runqueue: q.runqueue,
                network: q.network,
                time: q.time,
                errors: q.errors,
                dead: q.dead,
                disk: q.disk,
            },
            resolution: Resolution { host_percent: ERROR_PERCENT, process_percent: ERROR_PERCENT },
            sampling: sampling_rows(snapshot),
            command,
            syscalls: measured(q.syscalls, || call_rows(&calls_of(snapshot, scope, &chosen))),
            runqueue: measured(q.runqueue, || runqueue_row(snapshot, scope, &chosen)),
            network: measured(q.network, || NetworkTotal::of(traffic.into(), snapshot)),
            processes: chosen
                .iter()
                .filter(|p| named || p.is_active() || p.exited)
                .map(|p| process_row(p, q, &snapshot.basis))
                .collect(),
            sections: Sections::of(snapshot, scope, verdicts, interval_ns),
            own: own_row(snapshot),
        }
    }
}

/// A group of numbers, or `None` if nothing measures it.
pub(super) fn measured<T>(quality: Quality, value: impl FnOnce() -> T) -> Option<T> {
    (quality != Quality::NotAvailable).then(value)
}

fn calls_of(snapshot: &Snapshot, scope: &Scope, chosen: &[&ProcessStats]) -> Vec<CallStats> {
    match scope {
        Scope::Host => snapshot.calls.clone(),
        Scope::Only(_) => {
            let mut calls = Vec::new();
            for process in chosen {
                merge_calls(&mut calls, &process.calls);
            }
            calls
        }
    }
}

fn sampling_rows(snapshot: &Snapshot) -> Vec<SamplingRow> {
    let sampling = &snapshot.sampling;
    let row = |(insight, sentence): (Insight, String)| {
        let share = sampling.shares[insight.place()?];
        let watched = 1.0 - share.unwatched_ns as f64 / snapshot.interval_ns.max(1) as f64;
        Some(SamplingRow {
            of: insight.subject(),
            one_in: share.one_in.max(1),
            watched: watched.max(0.0),
            window_ns: share.window_ns,
            sentence,
        })
    };
    sampling.sentences(snapshot.interval_ns).filter_map(row).collect()
}

fn call_rows(calls: &[CallStats]) -> Vec<CallRow> {
    let mut rows: Vec<CallRow> = calls
        .iter()
        .map(|call| CallRow {
            name: name(call.nr).into_owned(),
            nr: call.nr,
            latency: LatencyRow::of(&call.latency),
            errors: call.latency.errors,
            interrupted: call.latency.interrupted,
            denied: call.latency.denied,
            blocked_ns: call.latency.blocked_ns,
            runnable_ns: call.latency.runnable_ns,
        })
        .collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.latency.total_ns), row.nr));
    rows
}

fn runqueue_row(snapshot: &Snapshot, scope: &Scope, chosen: &[&ProcessStats]) -> RunqueueRow {
    let all = match scope {
        Scope::Host => snapshot.delays(),
        Scope::Only(_) => chosen.iter().fold(LatencyStats::empty(), |mut sum, p| {
            sum.merge(&p.runqueue);
            sum
        }),
    };
    let cpus = snapshot.cpus.iter().map(|c| CpuRow { cpu: c.cpu, delay: LatencyRow::of(&c.delay) }).collect();
    RunqueueRow { all: LatencyRow::of(&all), cpus }
}

fn process_row(process: &ProcessStats, quality: Qualities, basis: &Basis) -> ProcessRow {
    ProcessRow {
        pid: process.id.pid,
        comm: process.ident.comm.clone(),
        ppid: process.ident.ppid,
        exited: process.exited,
        threads: process.threads,
        syscalls: measured(quality.syscalls, || call_rows(&process.calls)),
        runqueue: measured(quality.runqueue, || LatencyRow::of(&process.runqueue)),
        network: measured(quality.network, || process.traffic.into()),
        disk: measured(process.disk.worth(quality.disk), || DiskRow::of(process.disk, basis)),
        time: measured(quality.time, || TimeRow::of(process.time, basis)),
        quality: (process.missed > 0).then(|| ProcessQuality {
            time: process.quality(quality.time),
            runqueue: process.quality(quality.runqueue),
        }),
    }
}

fn own_row(snapshot: &Snapshot) -> OwnRow {
    let stats = &snapshot.programs;
    let counted = stats.counting == Counting::Always;
    let probe = |(at, p): (usize, &crate::model::ProbeStatus)| {
        let reason = match &p.state {
            ProbeState::Running | ProbeState::Idle => None,
            ProbeState::Failed { reason, advice } => Some(format!("{reason} {advice}")),
        };
        let running = p.state == ProbeState::Running;
        let runs = stats.runs.get(at).filter(|_| running && counted);
        ProbeRow {
            name: p.name,
            hook: p.hook.name(),
            fallback: p.fallback.clone(),
            running,
            reason,
            runs: runs.map(|r| r.count),
            run_ns: runs.map(|r| r.time_ns),
            misses: stats.misses.get(at).copied().flatten(),
        }
    };
    OwnRow {
        cpu_ns: snapshot.own.cpu_ns,
        budget: snapshot.sampling.budget,
        rss_bytes: snapshot.own.rss_bytes,
        spread_ns: snapshot.own.spread_ns,
        map_bytes: snapshot.maps.iter().map(|map| map.bytes).sum(),
        dropped: DroppedRow::of(snapshot),
        notes: snapshot.notes.to_vec(),
        probes: snapshot.probes.iter().enumerate().map(probe).collect(),
    }
}
