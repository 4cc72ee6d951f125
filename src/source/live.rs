//! The running kernel as a source of samples.
//!
//! What is counted is read first and at once (`counted.rs`), what describes it after. Order matters: threads are read before
//! records. A process that is gone by then has made its last record, so what it left behind is complete in this sample. Its
//! slots are given back when nobody can hold them any more (`leaving.rs`).

mod counted;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::programs::ProgramError;
use kscope_layout::{Control, NO_CALL, lost};
use syscalls::Sysno;

use super::Source;
use super::host::{monotonic_ns, read_host, read_own};
use super::leaving::Leaving;
use super::missed;
use super::procs::Processes;
use super::watch::Watch;
use crate::core::budget::Plan;
use crate::core::ident::ProcessId;
use crate::core::insight::Insight;
use crate::core::interests::Interests;
use crate::kernel::loader::Loaded;
use crate::kernel::programs::PROGRAMS;
use crate::kernel::run_stats::{Meter, When};
use crate::model::{Basis, Lost, Own, ProcessSample, Records, Sample};
use crate::privileged;
use crate::probes::blame::probe::BlameReader;
use crate::probes::connections::probe::{ConnectionReader, Counted as Connections, Reading};
use crate::probes::disk::probe::{DiskReader, DiskReading};
use crate::probes::errors::probe::ErrorReader;
use crate::probes::exemplars::probe::ExemplarReader;
use crate::probes::lives::probe::{Known, Ledger};
use crate::probes::lives::stats::Dead;
use crate::probes::network::probe::named_interfaces;
use crate::probes::own::probe::{Used, map_uses};
use crate::probes::page::probe::PageReader;
use crate::probes::stuck::probe::StuckReader;
use crate::probes::stuck::stats::InFlight;
use crate::probes::syscalls::names::waits;
use crate::probes::syscalls::probe::RecordReader;
use crate::probes::time::account::ProcessReading;
use crate::probes::time::probe::{Table, ThreadReader, exists, with_threads};
use crate::probes::time::running::threads_of;
use counted::Counted;

/// From this age on a call in flight is asked what it waits for even if nobody looks, ns.
const OLD_NS: u64 = 5_000_000_000;

/// Reads the maps of attached programs, and procfs for names.
#[derive(Debug)]
pub struct Live {
    kernel: Loaded,
    meter: Meter,
    threads: ThreadReader,
    records: RecordReader,
    errors: ErrorReader,
    exemplars: ExemplarReader,
    disk: DiskReader,
    processes: Processes,
    leaving: Leaving,
    epoch: u32,
    watch: Watch,
    /// Processes without a living thread in the last sample that were there all the same.
    threadless: HashSet<ProcessId>,
    last_read: Duration,
    interests: Interests,
    stuck: StuckReader,
    ledger: Ledger,
    /// When it began to watch.
    began_ns: u64,
    connections: ConnectionReader,
    blame: BlameReader,
    page: PageReader,
}

impl Live {
    /// A source that reads `kernel` and has the runs of its programs counted.
    pub fn new(mut kernel: Loaded, runs: When) -> Self {
        Self {
            meter: Meter::start(std::mem::take(&mut kernel.programs), kernel.attached.counter(), runs),
            threads: ThreadReader::new(kernel.services.eyes.clone()),
            exemplars: ExemplarReader::new(kernel.services.eyes.clone()),
            stuck: StuckReader::new(kernel.services.eyes.clone()),
            connections: ConnectionReader::new(&kernel.services),
            processes: Processes::new(kernel.services.book.clone()),
            kernel,
            records: RecordReader::default(),
            errors: ErrorReader::default(),
            disk: DiskReader::default(),
            leaving: Leaving::default(),
            epoch: 0,
            watch: Watch::default(),
            threadless: HashSet::new(),
            last_read: Duration::ZERO,
            interests: Interests::default(),
            ledger: Ledger::default(),
            began_ns: monotonic_ns(),
            blame: BlameReader::default(),
            page: PageReader::default(),
        }
    }

    /// Attaches the programs of these insights (by [`Insight::SAMPLED`]) that are detached.
    pub fn open(&mut self, insights: [bool; 3]) -> Result<(), ProgramError> {
        for (at, insight) in chosen(insights) {
            if self.watch.is_open(at) {
                continue;
            }
            self.kernel.attached.attach(insight)?;
            self.watch.open(at, monotonic_ns());
            self.tell();
            if insight == Insight::RunQueue {
                self.kernel.attached.find_threads()?;
            }
        }
        Ok(())
    }

    /// Detaches the programs of these insights. What they count until they are gone is in no sample.
    pub fn close(&mut self, insights: [bool; 3]) -> Result<(), ProgramError> {
        for (at, insight) in chosen(insights) {
            self.watch.close(at, monotonic_ns());
            self.tell();
            self.kernel.attached.detach(insight)?;
        }
        Ok(())
    }

    /// Measures from now on what is looked at, and nothing dear besides.
    pub fn look(&mut self, interests: Interests) -> io::Result<()> {
        let before = std::mem::replace(&mut self.interests, interests);
        self.threads.watch(interests.page);
        for insight in Insight::ON_DEMAND {
            match (before.wants(insight), interests.wants(insight)) {
                (false, true) => {
                    self.clear(insight)?;
                    self.kernel.open(insight).map_err(io::Error::other)?;
                    self.meter.include(std::mem::take(&mut self.kernel.programs));
                    if insight == Insight::Blame {
                        self.blame.begin(&self.kernel.maps.blame, monotonic_ns(), self.kernel.blame_tells());
                    }
                }
                (true, false) => {
                    self.kernel.close(insight).map_err(io::Error::other)?;
                    self.clear(insight)?;
                }
                _ => {}
            }
        }
        self.connections.want_names(interests.names)?;
        if before.connections && !interests.connections {
            self.connections.rest(&mut self.kernel.maps.connections)?;
        }
        Ok(())
    }

    /// Connections, if they were counted.
    fn read_connections(
        &mut self,
        counted: Option<Connections>,
        at_ns: u64,
        processes: &[ProcessSample],
    ) -> io::Result<Reading> {
        let Some(counted) = counted else { return Ok(Reading::default()) };
        let among = (processes, &*self.kernel.only);
        self.connections.read(Some((&self.kernel.maps.connections, counted)), at_ns, among)
    }

    /// Forgets what is left of an earlier time in which this was measured.
    fn clear(&mut self, insight: Insight) -> io::Result<()> {
        if insight == Insight::Blame { self.blame.clear(&mut self.kernel.maps.blame) } else { Ok(()) }
    }

    /// Asks only processes that run for their names, until [`Self::catch_up`].
    pub const fn hurry(&mut self) {
        self.processes.hurry();
    }

    /// Asks for the names that were left out.
    pub fn catch_up(&mut self) {
        for (id, execs) in self.processes.unasked() {
            if let Some(reading) = self.threads.last(id) {
                self.processes.ident(id, &reading, execs, false);
            }
        }
    }

    /// Counts one event in so many from now on, by insight.
    pub fn count_one_in(&mut self, one_in: [u32; 3]) {
        self.watch.count_one_in(one_in, monotonic_ns());
        self.tell();
    }

    /// What was open only for a window stays open.
    pub fn stay_open(&mut self) {
        self.watch.stay_open();
        self.tell();
    }

    /// Has the runs of programs counted at other times.
    pub fn count_runs_when(&mut self, when: When) {
        let meter =
            std::mem::replace(&mut self.meter, Meter::start(Vec::new(), self.kernel.attached.counter(), When::Never));
        self.meter = meter.restarted(when);
    }

    /// Counts the runs of programs while `wait` takes: see [`Meter::count`].
    pub fn count_runs(&mut self, plan: &Plan, wait: impl FnOnce()) {
        let part = |at: usize| if plan.windows[at] { plan.part } else { 1.0 };
        let attached = self.kernel.probes.iter().map(|p| sampled_insight(p.name).map_or(1.0, part)).collect();
        self.meter.count(attached, wait);
    }

    /// Passes on to the programs what they count.
    fn tell(&self) {
        if let Some(control) = self.kernel.maps.control.at(0) {
            let told = Control { epoch: self.epoch, ..self.watch.control() };
            // SAFETY: inside the mapping, aligned. The programs read the fields one by one at the same time; each is one word.
            unsafe { control.write_volatile(told) };
        }
    }

    /// Starts a new epoch of maxima and returns the one that is closed by it.
    fn close_epoch(&mut self) -> u32 {
        let closed = self.epoch;
        self.epoch = self.epoch.wrapping_add(1);
        self.tell();
        closed
    }

    /// Forgets processes that are gone: their last numbers are in the sample that is being made. Frees the records of those
    /// that make no more.
    fn forget_the_gone(&mut self, processes: &[ProcessSample], epoch: u32) -> io::Result<()> {
        for process in processes.iter().filter(|p| p.exited) {
            self.threads.forget(process.id);
            self.processes.forget(process.id);
            self.threadless.remove(&process.id);
            self.leaving.add(process.id);
        }
        let maps = &mut self.kernel.maps;
        let (slots, more) = (&maps.threads, &mut maps.threads_more);
        let pid_is_free = |id: ProcessId| !exists(id.pid, id.pid) || is_reused(id, processes);
        let settled = self.leaving.settle(pid_is_free, |ids| with_threads(slots, more, |id| ids.contains(&id)))?;
        for id in settled {
            self.records.free(id, &maps.records, epoch)?;
            self.errors.free(id, &maps.errors)?;
        }
        Ok(())
    }

    /// The calls in flight; what they wait for, if somebody looks, and with it those that were entered before kscope came.
    fn in_flight(&mut self, mut calls: Vec<InFlight>, at_ns: u64) -> Vec<InFlight> {
        let all = self.interests.stuck;
        // Verdicts speak of old calls that were meant to return, whatever is looked at. There are few of them.
        let worth = |call: &InFlight| all || call.age_ns >= OLD_NS && call.nr != NO_CALL && !waits(call.nr);
        // Not kscope's own: they are in no distribution either.
        calls.retain(|call| (all || call.nr != NO_CALL) && !privileged::is_own(call.process.pid));
        self.stuck.complete(&mut calls, worth, at_ns, monotonic_ns);
        calls
    }

    fn lost(&self) -> Lost {
        let count = |what: u32| self.kernel.maps.lost.get(what as usize).unwrap_or(0);
        Lost {
            threads: count(lost::THREADS),
            records: count(lost::RECORDS),
            errors: count(lost::ERRORS),
            disk: count(lost::DISK),
            blame: count(lost::BLAME),
            connections: count(lost::CONNECTIONS),
            dead: count(lost::DEAD),
        }
    }

    /// All processes of a sample, sorted. One that appeared after the threads were read has records but no reading yet: it is
    /// in the sample all the same, or what its records hold now would be taken for old in the next one. One that was reported
    /// as exited has records, too, and is not in the sample.
    fn processes(
        &mut self,
        readings: &HashMap<ProcessId, ProcessReading>,
        records: &Records,
        disk: &DiskReading,
    ) -> Vec<ProcessSample> {
        let mut ids: Vec<ProcessId> = readings.keys().copied().collect();
        ids.extend(records.processes().filter(|id| !self.leaving.holds(*id)));
        ids.sort_unstable();
        ids.dedup();
        let asked = |id: &ProcessId| disk.processes.get(id).copied().unwrap_or_default();
        ids.iter().map(|id| ProcessSample { disk: asked(id), ..self.process(*id, readings.get(id), records) }).collect()
    }

    /// Those among the processes of a sample that are gone, and those of which only the end was seen.
    fn dead(
        &mut self,
        processes: &[ProcessSample],
        readings: &HashMap<ProcessId, ProcessReading>,
        at_ns: u64,
    ) -> Vec<Dead> {
        let watched_ns = at_ns.saturating_sub(self.began_ns);
        let known = Known { readings, name: |id| self.processes.name(id), watched_ns };
        self.ledger.bury(processes, &known)
    }

    /// Is a process gone of which no living thread was found? Its pid may still be there: a zombie, somebody else by now, or
    /// a thread was born into a part of the table that had been read already. The last has a thread in the next sample.
    fn is_gone(&mut self, id: ProcessId) -> bool {
        !exists(id.pid, id.pid) || !self.threadless.insert(id)
    }

    fn process(&mut self, id: ProcessId, reading: Option<&ProcessReading>, records: &Records) -> ProcessSample {
        let Some(reading) = reading else { return ProcessSample { id, ..ProcessSample::default() } };
        let exited = reading.threads == 0 && (self.ledger.holds(id) || self.is_gone(id));
        if reading.threads > 0 {
            self.threadless.remove(&id);
        }
        ProcessSample {
            id,
            parent: reading.parent,
            ident: self.processes.ident(id, reading, execs(records, id), exited),
            start_ns: reading.start_ns,
            doing: reading.state,
            threads: threads_there(id, reading),
            exited,
            time: reading.account.time,
            traffic: reading.account.traffic,
            ran_on: reading.ran_on,
            voluntary: reading.account.voluntary,
            preempted: reading.account.preempted,
            missed: reading.account.missed,
            ..ProcessSample::default()
        }
    }
}

impl Source for Live {
    fn sample(&mut self) -> io::Result<Sample> {
        let begin = Instant::now();
        self.processes.next_round();
        let counted = self.count()?;
        let (at_ns, unix_s, epoch) = (counted.at_ns, counted.unix_s, counted.epoch);
        let Counted { records, cpus, lost, .. } = counted;
        let maps = &mut self.kernel.maps;
        let table = Table { slots: &maps.threads, causes: &maps.causes, more: &mut maps.threads_more };
        let threads = self.threads.take_in(counted.threads, table, counted.horizon)?;
        let calls = self.records.all_calls(&counted.without_record, epoch);
        let page = threads.watched.map(|watched| self.page.complete(watched, counted.since_boot_ns));
        let inflight = self.in_flight(threads.inflight, at_ns);
        self.ledger.take(counted.deaths);
        let disk = self.disk.complete(counted.disk, &mut self.kernel.maps.disk, at_ns)?;
        let processes = self.processes(&threads.processes, &records, &disk);
        let peers = self.interests.exemplars || self.interests.connections;
        let exemplars = self.exemplars.complete(&counted.exemplars, (at_ns, unix_s), &processes, peers);
        let dead = self.dead(&processes, &threads.processes, at_ns);
        let is_listed = |id| processes.binary_search_by_key(&id, |p| p.id).is_ok();
        self.disk.forget_the_gone(&disk, &self.kernel.maps.disk, is_listed)?;
        let errors = self.errors.list();
        self.forget_the_gone(&processes, epoch)?;
        self.threads.reuse(threads.processes);
        let connections = self.read_connections(counted.connections, at_ns, &processes)?;
        let blame = self.blame.complete(counted.blame, &processes);
        let used = Used {
            slots: threads.slots,
            more: threads.more,
            records: records.list().len(),
            calls: calls.len(),
            cpus: cpus.len(),
            errors: self.errors.used(),
            exemplars: self.exemplars.used(),
            deaths: dead.len(),
            connections: connections.used,
            pairs: blame.as_ref().map_or(0, |b| b.reading.pairs.len()),
            requests: disk.used.0,
            disks: disk.used.1,
            disk_processes: disk.processes.len(),
        };
        let programs = self.meter.read();
        let qualities = missed::lowered(self.kernel.qualities, &self.kernel.probes, &programs.misses);
        let sample = Sample {
            at_ns,
            unix_s,
            epoch,
            host: read_host(),
            calls,
            cpus,
            cpu_waits: Vec::new(),
            basis: Basis::Programs,
            records,
            processes,
            inflight,
            dead,
            turnover: counted.turnover,
            page,
            disk: disk.devices,
            interfaces: named_interfaces(&counted.interfaces),
            connections: connections.list,
            connections_trouble: connections.trouble,
            blame,
            own: Own { spread_ns: counted.spread_ns, ..read_own(counted.own_cpu_ns, self.last_read) },
            programs,
            maps: map_uses(self.kernel.sizes, used, lost),
            lost,
            errors,
            exemplars,
            sampling: self.watch.sampling(at_ns),
            qualities,
            only: Arc::clone(&self.kernel.only),
            probes: Arc::clone(&self.kernel.probes),
            notes: Arc::clone(&self.kernel.services.notes),
        };
        self.last_read = begin.elapsed();
        Ok(sample)
    }
}

/// The insights that are chosen, with their places.
fn chosen(insights: [bool; 3]) -> impl Iterator<Item = (usize, Insight)> {
    Insight::SAMPLED.into_iter().enumerate().filter(move |(at, _)| insights[*at])
}

/// The place of the insight that a program is for, if it can be sampled.
pub fn sampled_insight(program: &str) -> Option<usize> {
    PROGRAMS.iter().find(|p| p.name == program)?.insight.place()
}

/// Threads of a process that is there. Where runs of it were missed, programs do not see all of its threads.
fn threads_there(id: ProcessId, reading: &ProcessReading) -> u32 {
    let told = (reading.threads > 0 && reading.account.missed > 0).then(|| threads_of(id.pid)).flatten();
    reading.threads.max(told.unwrap_or_default())
}

/// Has somebody else got the pid of this process?
fn is_reused(id: ProcessId, processes: &[ProcessSample]) -> bool {
    let from = processes.partition_point(|p| p.id.pid < id.pid);
    let same = processes[from..].iter().take_while(|p| p.id.pid == id.pid);
    same.filter(|p| p.id != id).any(|p| p.threads > 0)
}

/// How often a process called `execve` or `execveat`: after one, it has another name.
fn execs(records: &Records, id: ProcessId) -> u64 {
    let calls = [Sysno::execve, Sysno::execveat].map(|call| call as u32);
    let made = records.of(id).iter().filter(|record| calls.contains(&record.key.what()));
    made.flat_map(|record| records.buckets(record)).map(|(_, n)| u64::from(*n)).sum()
}
