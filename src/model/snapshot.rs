//! What happened between two samples: the only thing views, reports and exports ever see.
//!
//! Invariant: [`Snapshot::between`] is a pure function of its two samples, so live, replay and tests agree.

use std::sync::Arc;

use kscope_layout::{RUN_QUEUE, Row, max_of};

use super::blame::BlameStats;
use super::records::{Change, Walk};
use super::sample::{Basis, Host, Ident, Lost, Own, ProbeStatus, ProcessSample, Qualities, Sample};
use super::sampling::{Sampling, split_by_calls};
use crate::core::histogram::Histogram;
use crate::core::ident::ProcessId;
use crate::core::latency::{LatencyStats, Unsorted};
use crate::core::quality::Quality;
use crate::probes::connections::stats::{self as connections, Connection, Unlisted};
use crate::probes::disk::stats::{DiskStats, DiskTraffic};
use crate::probes::errors::stats::Errors;
use crate::probes::exemplars::stats::Exemplars;
use crate::probes::lives::stats::{Dead, Turnover};
use crate::probes::network::stats::{Conservation, Interface, Traffic};
use crate::probes::own::stats::{Cost, MapUse, RunStats};
use crate::probes::page::stats::PageStats;
use crate::probes::runqueue::stats::{CpuStats, all_cpus, merge_cpus};
use crate::probes::stuck::stats::InFlight;
use crate::probes::syscalls::stats::{CallStats, merge_calls};
use crate::probes::time::stats::{Doing, TimeSplit};

/// What happened in one interval.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// End of the interval, seconds since 1970, UTC.
    pub unix_s: f64,
    /// The same moment, ns of `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Length of the interval, ns; never 0 in a snapshot that was measured.
    pub interval_ns: u64,
    /// The machine, at the end.
    pub host: Host,
    /// System calls of the whole host, by number.
    pub calls: Vec<CallStats>,
    /// Run-queue delays of each CPU.
    pub cpus: Vec<CpuStats>,
    /// Every process that lived in the interval, by identity.
    pub processes: Vec<ProcessStats>,
    /// Processes that ended in the interval.
    pub dead: Vec<Dead>,
    /// How many processes were made and ended.
    pub turnover: Turnover,
    /// Calls in flight at the end, oldest first.
    pub inflight: Vec<InFlight>,
    /// The process that somebody looks at, once it has been looked at for the whole interval.
    pub page: Option<PageStats>,
    /// Block devices.
    pub disk: DiskStats,
    /// Wire bytes of each interface.
    pub interfaces: Vec<Interface>,
    /// Connections and listening sockets, by cookie, with what they moved in the interval; none while nobody looks. One that
    /// was closed in the interval is among them once.
    pub connections: Vec<Connection>,
    /// Connections that are not listed.
    pub unlisted: Unlisted,
    /// Who ran while others waited; `None` if that was not measured.
    pub blame: Option<BlameStats>,
    /// What kscope used in the interval (`rss_bytes`: at its end).
    pub own: Own,
    /// Runs of its programs: those of the interval, or of the last window in which they were counted.
    pub programs: RunStats,
    /// How full its maps were, at the end.
    pub maps: Vec<MapUse>,
    /// What was lost in the interval.
    pub lost: Lost,
    /// What was lost since the start.
    pub lost_ever: Lost,
    /// System calls that failed.
    pub errors: Errors,
    /// Single calls, the slowest among them.
    pub exemplars: Exemplars,
    /// How much of what happened was counted.
    pub sampling: Sampling,
    /// What the numbers come from.
    pub basis: Basis,
    /// What each group of numbers is worth.
    pub qualities: Qualities,
    /// The processes that alone are measured, by pid; none where all are. Numbers of the host are then theirs.
    pub only: Arc<[u32]>,
    /// The probes and how they stand.
    pub probes: Arc<[ProbeStatus]>,
    /// See [`Sample::notes`].
    pub notes: Arc<[String]>,
}

/// One process in one interval.
#[derive(Clone, Debug, Default)]
pub struct ProcessStats {
    /// Identity.
    pub id: ProcessId,
    /// The process that created it, where that was seen.
    pub parent: Option<ProcessId>,
    /// Who it is.
    pub ident: Arc<Ident>,
    /// When it began, ns of `CLOCK_BOOTTIME`; 0 if unknown.
    pub start_ns: u64,
    /// What its threads were doing at the end.
    pub doing: Doing,
    /// Threads alive at the end.
    pub threads: u32,
    /// It ended in this interval.
    pub exited: bool,
    /// Its system calls by number.
    pub calls: Vec<CallStats>,
    /// Its run-queue delays.
    pub runqueue: LatencyStats,
    /// Its bytes.
    pub traffic: Traffic,
    /// What it had block devices do.
    pub disk: DiskTraffic,
    /// Where its threads' time went.
    pub time: TimeSplit,
    /// CPUs that its threads last ran on at the end, modulo 128: a bit each.
    pub ran_on: u128,
    /// Times a thread left a CPU of its own will.
    pub voluntary: u64,
    /// Times a thread was pushed off a CPU.
    pub preempted: u64,
    /// Runs on a CPU of which no program saw the beginning or the end.
    pub missed: u64,
}

impl ProcessStats {
    /// What its times on and waits for a CPU are worth where those of all are worth `of_all`: less than others' where a run
    /// was missed, since how the process waited around that run is not known.
    #[must_use]
    pub fn quality(&self, of_all: Quality) -> Quality {
        if self.missed > 0 { of_all.worst(Quality::LowerBound) } else { of_all }
    }

    /// True when it did anything at all in the interval.
    pub const fn is_active(&self) -> bool {
        !self.calls.is_empty()
            || !self.runqueue.is_empty()
            || self.traffic.bytes() > 0
            || !self.disk.is_nothing()
            || self.time.on_cpu_ns() > 0
    }
}

impl Snapshot {
    /// What happened from `prev` to `next`.
    pub fn between(prev: &Sample, next: &Sample) -> Self {
        let mut records = Walk::new(&prev.records, &next.records);
        let mut before = prev.processes.iter().peekable();
        let processes = next
            .processes
            .iter()
            .map(|process| {
                while before.next_if(|p| p.id < process.id).is_some() {}
                let was = before.next_if(|p| p.id == process.id);
                process_between(was, process, (&mut records, next.epoch))
            })
            .collect();
        let lost = next.lost.since(prev.lost);
        let mut between = Self {
            unix_s: next.unix_s,
            at_ns: next.at_ns,
            interval_ns: next.at_ns.saturating_sub(prev.at_ns),
            host: next.host.clone(),
            calls: rows_between(&prev.calls, &next.calls, next.epoch)
                .map(|(nr, latency)| CallStats { nr, latency })
                .filter(|c| !c.latency.is_empty())
                .collect(),
            cpus: rows_between(&prev.cpus, &next.cpus, next.epoch)
                .map(|(cpu, delay)| CpuStats { cpu, delay })
                .chain(next.cpu_waits.iter().map(|waits| unsorted_between(&prev.cpu_waits, *waits)))
                .collect(),
            processes,
            dead: next.dead.iter().map(|dead| next.sampling.known_of(dead)).collect(),
            turnover: next.turnover.since(prev.turnover),
            disk: next.disk.since(&prev.disk, next.at_ns, next.epoch),
            inflight: next.inflight.clone(),
            page: PageStats::between(prev.page.as_ref(), next.page.as_ref()),
            interfaces: next.interfaces.iter().map(|i| interface_between(&prev.interfaces, i)).collect(),
            connections: connections::between(&prev.connections, &next.connections),
            unlisted: Unlisted { trouble: next.connections_trouble.clone(), ..Unlisted::default() },
            blame: next.blame.as_ref().map(|b| BlameStats::between(prev.blame.as_ref(), b, (prev.at_ns, next.at_ns))),
            own: own_between(prev.own, next.own),
            programs: RunStats::between(&prev.programs, &next.programs),
            maps: next.maps.clone(),
            lost,
            lost_ever: next.lost,
            errors: Errors::between(&prev.errors, &next.errors),
            exemplars: (*next.exemplars).clone(),
            sampling: next.sampling,
            basis: next.basis.clone(),
            qualities: next.sampling.lower(next.qualities.lowered_by(next.lost)),
            only: Arc::clone(&next.only),
            probes: Arc::clone(&next.probes),
            notes: Arc::clone(&next.notes),
        };
        if !between.sampling.is_all() {
            between.page.iter_mut().for_each(|page| page.threads = None);
        }
        split_by_calls(&mut between);
        between
    }

    /// Appends the interval that followed this one. What a state at the end is (`inflight`, `host`) is taken from `later`.
    pub fn append(&mut self, later: &Self) {
        self.unix_s = later.unix_s;
        self.at_ns = later.at_ns;
        self.interval_ns = self.interval_ns.saturating_add(later.interval_ns);
        self.host = later.host.clone();
        merge_calls(&mut self.calls, &later.calls);
        merge_cpus(&mut self.cpus, &later.cpus);
        for process in &later.processes {
            match self.processes.binary_search_by_key(&process.id, |p| p.id) {
                Ok(at) => self.processes[at].append(process),
                Err(at) => self.processes.insert(at, process.clone()),
            }
        }
        self.dead.extend_from_slice(&later.dead);
        self.turnover = self.turnover.plus(later.turnover);
        self.disk.append(&later.disk);
        self.inflight.clone_from(&later.inflight);
        match (&mut self.page, &later.page) {
            (Some(mine), Some(theirs)) => mine.append(theirs),
            (mine, theirs) => *mine = theirs.clone().or_else(|| mine.take()),
        }
        for interface in &later.interfaces {
            match self.interfaces.iter_mut().find(|i| i.name == interface.name) {
                Some(mine) => {
                    mine.tx_bytes = mine.tx_bytes.saturating_add(interface.tx_bytes);
                    mine.rx_bytes = mine.rx_bytes.saturating_add(interface.rx_bytes);
                }
                None => self.interfaces.push(interface.clone()),
            }
        }
        connections::append(&mut self.connections, &later.connections, &mut self.unlisted);
        self.unlisted.trouble.clone_from(&later.unlisted.trouble);
        match (&mut self.blame, &later.blame) {
            (Some(mine), Some(later)) => mine.append(later),
            (None, later) => self.blame.clone_from(later),
            (Some(_), None) => {}
        }
        self.own = Own {
            cpu_ns: self.own.cpu_ns.saturating_add(later.own.cpu_ns),
            spread_ns: self.own.spread_ns.max(later.own.spread_ns),
            ..later.own
        };
        self.programs.append(&later.programs);
        self.maps.clone_from(&later.maps);
        self.lost = self.lost.plus(later.lost);
        self.lost_ever = later.lost_ever;
        self.errors.append(&later.errors);
        self.exemplars.append(&later.exemplars);
        self.sampling.append(&later.sampling);
        self.qualities = self.sampling.lower(later.qualities.lowered_by(self.lost));
        self.basis.clone_from(&later.basis);
        self.probes = Arc::clone(&later.probes);
    }

    /// Seconds the interval lasted, for rates; never 0.
    pub fn seconds(&self) -> f64 {
        (self.interval_ns.max(1)) as f64 / 1e9
    }

    /// What kscope itself took of CPU time.
    pub fn cost(&self) -> Cost {
        Cost::new(self.own.cpu_ns as f64 / self.interval_ns.max(1) as f64, &self.programs)
    }

    /// Run-queue delays of the host: of its CPUs, or of its processes where nobody tells those of CPUs.
    pub fn delays(&self) -> LatencyStats {
        if self.cpus.is_empty() {
            LatencyStats::sum(self.processes.iter().map(|process| &process.runqueue))
        } else {
            all_cpus(&self.cpus)
        }
    }

    /// Payload of all processes.
    pub fn traffic(&self) -> Traffic {
        self.processes.iter().fold(Traffic::default(), |sum, p| sum.plus(p.traffic))
    }

    /// The name of a process; empty if it is not in the snapshot.
    pub fn comm(&self, id: ProcessId) -> &str {
        let at = self.processes.binary_search_by_key(&id, |p| p.id).ok();
        at.map_or("", |at| &self.processes[at].ident.comm)
    }

    /// Payload of all processes against what the interfaces carried.
    pub fn conservation(&self) -> Conservation {
        Conservation::of(self.traffic(), &self.interfaces)
    }

    /// The process with this pid that lived last, if any lived in the interval.
    pub fn process(&self, pid: u32) -> Option<&ProcessStats> {
        let from = self.processes.partition_point(|p| p.id.pid < pid);
        self.processes[from..].iter().take_while(|p| p.id.pid == pid).max_by_key(|p| !p.exited)
    }
}

impl ProcessStats {
    fn append(&mut self, later: &Self) {
        self.ident = Arc::clone(&later.ident);
        self.start_ns = self.start_ns.max(later.start_ns);
        self.doing = later.doing;
        self.threads = later.threads;
        self.exited = later.exited;
        merge_calls(&mut self.calls, &later.calls);
        self.runqueue.merge(&later.runqueue);
        self.traffic = self.traffic.plus(later.traffic);
        self.disk = self.disk.plus(later.disk);
        self.time = self.time.plus(later.time);
        self.ran_on |= later.ran_on;
        self.voluntary = self.voluntary.saturating_add(later.voluntary);
        self.preempted = self.preempted.saturating_add(later.preempted);
        self.missed = self.missed.saturating_add(later.missed);
    }
}

impl Lost {
    /// What was lost since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self {
            threads: self.threads.saturating_sub(prev.threads),
            records: self.records.saturating_sub(prev.records),
            errors: self.errors.saturating_sub(prev.errors),
            disk: self.disk.saturating_sub(prev.disk),
            blame: self.blame.saturating_sub(prev.blame),
            connections: self.connections.saturating_sub(prev.connections),
            dead: self.dead.saturating_sub(prev.dead),
        }
    }

    /// Both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            threads: self.threads.saturating_add(other.threads),
            records: self.records.saturating_add(other.records),
            errors: self.errors.saturating_add(other.errors),
            disk: self.disk.saturating_add(other.disk),
            blame: self.blame.saturating_add(other.blame),
            connections: self.connections.saturating_add(other.connections),
            dead: self.dead.saturating_add(other.dead),
        }
    }
}

impl Qualities {
    /// Losses make lower bounds of exactly what they touch: an event of a thread without an entry is missing everywhere, a
    /// latency without a record only in the distributions by process.
    #[must_use]
    pub fn lowered_by(self, lost: Lost) -> Self {
        let lower = |quality: Quality, by: bool| if by { quality.worst(Quality::LowerBound) } else { quality };
        let (threads, records) = (lost.threads > 0, lost.records > 0);
        Self {
            syscalls: lower(self.syscalls, threads || records),
            runqueue: lower(self.runqueue, threads || records),
            network: lower(self.network, threads),
            time: lower(self.time, threads),
            errors: lower(self.errors, threads || lost.errors > 0),
            disk: lower(self.disk, lost.disk > 0),
            blame: lower(self.blame, threads || lost.blame > 0),
            connections: lower(self.connections, lost.connections > 0),
            dead: lower(self.dead, threads || lost.dead > 0),
        }
    }
}

fn own_between(prev: Own, next: Own) -> Own {
    Own { cpu_ns: next.cpu_ns.saturating_sub(prev.cpu_ns), spread_ns: next.spread_ns.max(prev.spread_ns), ..next }
}

fn max_in(slots: [u64; 2], epoch: u32) -> u64 {
    max_of(slots[(epoch & 1) as usize], epoch)
}

fn rows_between(prev: &[(u32, Row)], next: &[(u32, Row)], epoch: u32) -> impl Iterator<Item = (u32, LatencyStats)> {
    next.iter().map(move |(id, row)| {
        let was = prev.binary_search_by_key(id, |(i, _)| *i).ok().map(|at| &prev[at].1);
        let histogram = Histogram::between(was.map(|w| &w.buckets[..]), &row.buckets);
        (*id, LatencyStats::between(was.map(|w| &w.sums), &row.sums, histogram, max_in(row.sums.max, epoch)))
    })
}

fn unsorted_between(prev: &[(u32, Unsorted)], (cpu, now): (u32, Unsorted)) -> CpuStats {
    let was = prev.iter().find(|(number, _)| *number == cpu).map_or(Unsorted::default(), |(_, was)| *was);
    let mut delay = LatencyStats::empty();
    delay.add_unsorted(now.since(was));
    CpuStats { cpu, delay }
}

fn interface_between(prev: &[Interface], next: &Interface) -> Interface {
    // An interface that has just appeared has no "before": its counters start with it.
    let (tx, rx) = prev.iter().find(|i| i.name == next.name).map_or((0, 0), |i| (i.tx_bytes, i.rx_bytes));
    Interface {
        name: next.name.clone(),
        carrier: next.carrier,
        tx_bytes: next.tx_bytes.saturating_sub(tx),
        rx_bytes: next.rx_bytes.saturating_sub(rx),
    }
}

fn record_between(change: Change<'_>, epoch: u32) -> LatencyStats {
    let histogram = Histogram::between_sparse(change.buckets_then, change.buckets);
    LatencyStats::between(change.was, change.now, histogram, max_in(change.now.max, epoch))
}

fn process_between(
    was: Option<&ProcessSample>,
    now: &ProcessSample,
    (records, epoch): (&mut Walk<'_>, u32),
) -> ProcessStats {
    let mut runqueue = LatencyStats::empty();
    let mut calls = Vec::new();
    records.of(now.id, |change| {
        let latency = record_between(change, epoch);
        if change.what == RUN_QUEUE {
            runqueue = latency;
        } else if !latency.is_empty() {
            calls.push(CallStats { nr: change.what, latency });
        }
    });
    runqueue.add_unsorted(was.map_or(now.waits, |w| now.waits.since(w.waits)));
    ProcessStats {
        id: now.id,
        parent: now.parent,
        ident: Arc::clone(&now.ident),
        start_ns: now.start_ns,
        doing: now.doing,
        threads: now.threads,
        exited: now.exited,
        calls,
        runqueue,
        traffic: was.map_or(now.traffic, |w| now.traffic.since(w.traffic)),
        disk: was.map_or(now.disk, |w| now.disk.since(w.disk)),
        time: was.map_or(now.time, |w| now.time.since(w.time)),
        ran_on: now.ran_on,
        voluntary: now.voluntary - was.map_or(0, |w| w.voluntary.min(now.voluntary)),
        preempted: now.preempted - was.map_or(0, |w| w.preempted.min(now.preempted)),
        missed: now.missed.abs_diff(was.map_or(0, |w| w.missed)),
    }
}
