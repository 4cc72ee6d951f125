//! What rules look at: the few numbers of one interval that matter, small enough to keep a minute of them, and to be written
//! down as a fixture.
//!
//! Not here: judgement. Invariant: every number is one of the snapshot's; processes that did little are left out, and no
//! rule may take that for nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::quality::Quality;
use crate::model::{ProcessStats, Snapshot};
use crate::probes::stuck::stats::{InFlight, State};
use crate::probes::syscalls::names::waits;

/// Processes that are kept of an interval: the busiest.
const PROCESSES: usize = 32;
/// Calls that are kept of a process: those that took longest in all.
const CALLS: usize = 6;
/// Calls in flight that are kept: the oldest.
const STUCK: usize = 8;
/// A call in flight is a fact from this age on, ns.
const STUCK_NS: u64 = 5_000_000_000;

/// The facts of one interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Length of the interval, s.
    pub seconds: f64,
    /// CPUs that are online.
    pub cpus: u32,
    /// Thread time and run-queue delays are known.
    pub time_known: bool,
    /// System calls are known.
    pub calls_known: bool,
    /// The busiest processes, by pid.
    pub processes: Vec<ProcessFacts>,
    /// Run-queue delays by CPU, where there were any.
    pub run_queues: Vec<CpuFacts>,
    /// Calls that have not returned for long, and do not wait by design.
    pub stuck: Vec<StuckFacts>,
    /// Processes that ended, by name and by their parent's name: how many.
    pub ended: Vec<(String, String, u64)>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Its pid and birth: who it is.
    pub id: (u32, u32),
    /// Its name.
    pub comm: String,
    /// Its threads' time on CPUs, ns.
    pub on_cpu_ns: u64,
    /// Their time waiting for a CPU, ns.
    pub runnable_ns: u64,
    /// CPUs that they last ran on, modulo 64: a bit each.
    pub ran_on: u64,
    /// Its calls that do not wait by design.
    pub calls: Vec<CallFacts>,
}

/// One system call of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallFacts {
    /// Its number.
    pub nr: u32,
    /// How many completed.
    pub count: u64,
    /// The 99th percentile of their time, ns.
    pub p99_ns: u64,
    /// Their time in all, ns.
    pub total_ns: u64,
    /// Part of it blocked, ns.
    pub blocked_ns: u64,
    /// Part of it waiting for a CPU, ns.
    pub runnable_ns: u64,
}

/// The run queue of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFacts {
    /// Its number.
    pub cpu: u32,
    /// What threads waited for it in all, ns.
    pub waited_ns: u64,
    /// The 99th percentile of their delays, ns.
    pub p99_ns: u64,
}

/// A call that has not returned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StuckFacts {
    /// The process.
    pub id: (u32, u32),
    /// Its name.
    pub comm: String,
    /// The call.
    pub nr: u32,
    /// Since when, ns.
    pub age_ns: u64,
    /// Not even a signal would wake it.
    pub uninterruptible: bool,
    /// What it waits for, where that was asked.
    pub on: String,
}

impl Facts {
    /// The facts of an interval.
    pub fn of(snapshot: &Snapshot) -> Self {
        let known = |quality: Quality| quality != Quality::NotAvailable;
        Self {
            seconds: snapshot.seconds(),
            cpus: snapshot.host.cpus.max(1),
            time_known: known(snapshot.qualities.time) && known(snapshot.qualities.runqueue),
            calls_known: known(snapshot.qualities.syscalls),
            processes: busiest(snapshot),
            run_queues: run_queues(snapshot),
            stuck: stuck(snapshot),
            ended: ended(snapshot),
        }
    }
}

fn busiest(snapshot: &Snapshot) -> Vec<ProcessFacts> {
    let weight = |p: &ProcessStats| {
        let working = p.calls.iter().filter(|c| !waits(c.nr)).map(|c| c.latency.total_ns).fold(0, u64::saturating_add);
        p.time.on_cpu_ns().saturating_add(p.time.runnable_ns).saturating_add(working)
    };
    let mut order: Vec<(u64, &ProcessStats)> =
        snapshot.processes.iter().filter(|p| p.is_active()).map(|p| (weight(p), p)).collect();
    order.sort_by_key(|(weight, p)| (std::cmp::Reverse(*weight), p.id));
    order.truncate(PROCESSES);
    let mut kept: Vec<ProcessFacts> = order.into_iter().map(|(_, p)| process(p)).collect();
    kept.sort_by_key(|p| p.id);
    kept
}

fn process(stats: &ProcessStats) -> ProcessFacts {
    let mut calls: Vec<CallFacts> = stats
        .calls
        .iter()
        .filter(|c| !waits(c.nr))
        .map(|c| CallFacts {
            nr: c.nr,
            count: c.latency.count(),
            p99_ns: c.latency.quantile(0.99).unwrap_or(0),
            total_ns: c.latency.total_ns,
            blocked_ns: c.latency.blocked_ns,
            runnable_ns: c.latency.runnable_ns,
        })
        .collect();
    calls.sort_by_key(|c| (std::cmp::Reverse(c.total_ns), c.nr));
    calls.truncate(CALLS);
    ProcessFacts {
        id: (stats.id.pid, stats.id.birth),
        comm: stats.ident.comm.clone(),
        on_cpu_ns: stats.time.on_cpu_ns(),
        runnable_ns: stats.time.runnable_ns,
        #[expect(clippy::cast_possible_truncation, reason = "the upper half is folded onto the lower")]
        ran_on: (stats.ran_on | stats.ran_on >> 64) as u64,
        calls,
    }
}

fn run_queues(snapshot: &Snapshot) -> Vec<CpuFacts> {
    let waited = snapshot.cpus.iter().filter(|c| !c.delay.is_empty());
    let facts = waited.map(|c| CpuFacts {
        cpu: c.cpu,
        waited_ns: c.delay.total_ns,
        p99_ns: c.delay.quantile(0.99).unwrap_or(0),
    });
    facts.collect()
}

fn stuck(snapshot: &Snapshot) -> Vec<StuckFacts> {
    let old = |call: &&InFlight| call.age_ns >= STUCK_NS && !waits(call.nr) && call.process.pid != snapshot.own.pid;
    let facts = snapshot.inflight.iter().filter(old).take(STUCK).map(|call| StuckFacts {
        id: (call.process.pid, call.process.birth),
        comm: snapshot.process(call.process.pid).map(|p| p.ident.comm.clone()).unwrap_or_default(),
        nr: call.nr,
        age_ns: call.age_ns,
        uninterruptible: call.state == State::Uninterruptible,
        on: call.detail.as_ref().map(|d| d.on.clone()).unwrap_or_default(),
    });
    facts.collect()
}

fn ended(snapshot: &Snapshot) -> Vec<(String, String, u64)> {
    let mut groups: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for process in snapshot.processes.iter().filter(|p| p.exited) {
        let parent = process.parent.and_then(|id| snapshot.process(id.pid)).map_or("", |p| &p.ident.comm);
        *groups.entry((&process.ident.comm, parent)).or_default() += 1;
    }
    let mut groups: Vec<_> = groups.into_iter().map(|((name, parent), n)| (name.into(), parent.into(), n)).collect();
    groups.sort_by_key(|(_, _, n)| std::cmp::Reverse(*n));
    groups.truncate(STUCK);
    groups
}
