//! The maps of the programs with anything in them, read as kscope reads them, sample after sample, and subtracted and shown as it does.
//!
//! The kernel is trusted; its counters are not: a program of ours may be wrong, and what an unprivileged process does ends up in them.

use std::io;
use std::sync::Arc;

use super::show::show;
use super::world::{Bytes, World};
use crate::core::ident::ProcessId;
use crate::core::units::printable_bytes;
use crate::model::{Ident, Lost, Own, ProcessSample, Records, Sample, Sampling, Share, Snapshot};
use crate::probes::blame::probe::BlameReader;
use crate::probes::blame::stats::Tells;
use crate::probes::connections::diag;
use crate::probes::connections::probe::{ConnectionReader, counted};
use crate::probes::connections::stats::{Connection, Protocol};
use crate::probes::disk::probe::DiskReader;
use crate::probes::errors::probe::ErrorReader;
use crate::probes::exemplars::probe::ExemplarReader;
use crate::probes::lives::probe::{Known, Ledger, drain, read_turnover};
use crate::probes::network::probe::interfaces;
use crate::probes::network::stats::Carrier;
use crate::probes::own::stats::{Counting, RunStats, Runs};
use crate::probes::page::quota;
use crate::probes::page::stats::PageSample;
use crate::probes::runqueue::probe::read_cpus;
use crate::probes::syscalls::probe::RecordReader;
use crate::probes::time::probe::{Horizon, Table, ThreadReader, Threads};

/// Samples that are read of one input.
const SAMPLES: usize = 3;
/// Elements that are written before each.
const CHANGES: usize = 12;

/// Maps that any bytes were written into.
pub fn maps(bytes: &[u8]) {
    let read = samples(&mut Bytes(bytes));
    // Out of descriptors or memory: nothing was read.
    let Ok((samples, choice)) = read else { return };
    let parts: Vec<Snapshot> = samples.windows(2).map(|two| Snapshot::between(&two[0], &two[1])).collect();
    show(parts, choice);
}

fn samples(bytes: &mut Bytes<'_>) -> io::Result<(Vec<Sample>, u8)> {
    let (choice, world) = (bytes.take(), World::new()?);
    let (mut world, mut readers) = (world, Readers::default());
    readers.threads.watch(Some(bytes.take::<u8>().into()));
    readers.blame.begin(&world.blame, bytes.take::<u8>().into(), Tells::default());
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        for _ in 0..CHANGES {
            if !bytes.is_empty() {
                world.change(bytes)?;
            }
        }
        samples.push(readers.sample(&mut world, bytes)?);
    }
    Ok((samples, choice))
}

/// All readers, as `Live` has them.
#[derive(Default)]
struct Readers {
    threads: ThreadReader,
    records: RecordReader,
    errors: ErrorReader,
    exemplars: ExemplarReader,
    disk: DiskReader,
    ledger: Ledger,
    connections: ConnectionReader,
    blame: BlameReader,
    epoch: u32,
}

impl Readers {
    fn sample(&mut self, world: &mut World, bytes: &mut Bytes<'_>) -> io::Result<Sample> {
        let epoch = self.epoch;
        self.epoch = epoch.wrapping_add(1);
        let (at_ns, unix_s) = (bytes.take::<u64>(), f64::from(bytes.take::<u32>()));
        let horizon = Horizon { now_ns: at_ns, ..Horizon::default() };
        let table = Table { slots: &world.threads, causes: &world.causes, more: &mut world.more };
        let threads = self.threads.read(table, horizon)?;
        let errors = self.errors.read(&mut world.errors)?;
        self.ledger.take(drain(&mut world.deaths)?);
        let records = self.records.read(&world.records, epoch);
        let disk = self.disk.read(&mut world.disk, at_ns)?;
        let mut processes = processes(&threads, &records);
        for process in &mut processes {
            process.disk = disk.processes.get(&process.id).copied().unwrap_or_default();
        }
        let exemplars = self.exemplars.read(&world.exemplars, (at_ns, unix_s), &processes, false);
        let known = Known { readings: &threads.processes, name: |_| None, watched_ns: bytes.take() };
        let dead = self.ledger.bury(&processes, &known);
        self.disk.forget_the_gone(&disk, &world.disk, |_| at_ns & 1 == 0)?;
        if let Some(gone) = processes.iter().find(|p| p.exited) {
            // There is no stack to give slots back to.
            let _ = self.records.free(gone.id, &world.records, epoch);
            self.errors.free(gone.id, &world.errors)?;
            self.threads.forget(gone.id);
        }
        let blame = self.blame.read(&mut world.blame, &processes)?;
        let connections = self.connections(world, bytes, at_ns)?;
        let lost = |what: u32| world.lost.get(what as usize).unwrap_or(0);
        Ok(Sample {
            at_ns,
            unix_s,
            epoch,
            calls: self.records.host_calls(&world.without_record, epoch),
            cpus: read_cpus(&world.cpus),
            page: page(&threads, at_ns),
            connections,
            interfaces: interfaces(&line(bytes), |_| Carrier::Device).collect(),
            turnover: read_turnover(&world.lives),
            own: Own { cpu_ns: bytes.take(), ..Own::default() },
            programs: RunStats {
                counting: Counting::Always,
                over_ns: bytes.take(),
                runs: vec![Runs { count: bytes.take(), time_ns: bytes.take() }],
                misses: vec![Some(bytes.take())],
                attached: Vec::new(),
            },
            lost: Lost {
                threads: lost(0),
                records: lost(1),
                errors: lost(2),
                disk: lost(3),
                blame: lost(4),
                connections: lost(5),
                dead: lost(6),
            },
            sampling: sampling(bytes),
            inflight: threads.inflight,
            disk: disk.devices,
            records,
            processes,
            errors,
            exemplars,
            dead,
            blame,
            ..Sample::default()
        })
    }

    fn connections(&self, world: &mut World, bytes: &mut Bytes<'_>, now_ns: u64) -> io::Result<Vec<Connection>> {
        let mut counted = counted(&mut world.connections)?;
        let is_listed = bytes.take::<u8>() & 1 == 0;
        self.connections.retire(&world.connections, &mut counted, |_| is_listed, now_ns)?;
        let mut cookies: Vec<u64> = counted.keys().copied().collect();
        cookies.sort_unstable();
        let socket = diag::socket(&bytes.take::<[u8; 104]>(), Protocol::Tcp);
        let listed = |cookie: u64| socket.as_ref().filter(|_| cookie & 1 == 0);
        let join = |cookie: u64| self.connections.joined(cookie, (counted.get(&cookie), listed(cookie)), now_ns);
        Ok(cookies.into_iter().filter_map(join).collect())
    }
}

/// All processes, sorted: with who they are made up, since the process table would be asked for strangers.
fn processes(threads: &Threads, records: &Records) -> Vec<ProcessSample> {
    let mut ids: Vec<ProcessId> = threads.processes.keys().copied().chain(records.processes()).collect();
    ids.sort_unstable();
    ids.dedup();
    let process = |id: ProcessId| {
        let Some(reading) = threads.processes.get(&id) else { return ProcessSample { id, ..ProcessSample::default() } };
        let comm = printable_bytes(&reading.last_comm.unwrap_or_default());
        ProcessSample {
            id,
            parent: reading.parent,
            ident: Arc::new(Ident { comm, kthread: reading.kthread, ..Ident::default() }),
            start_ns: reading.start_ns,
            doing: reading.state,
            threads: reading.threads,
            exited: reading.threads == 0,
            time: reading.account.time,
            traffic: reading.account.traffic,
            ran_on: reading.ran_on,
            voluntary: reading.account.voluntary,
            preempted: reading.account.preempted,
            ..ProcessSample::default()
        }
    };
    ids.into_iter().map(process).collect()
}

fn page(threads: &Threads, at_ns: u64) -> Option<PageSample> {
    let watched = threads.watched.clone()?;
    let stat = format!("nr_periods {at_ns}\nnr_throttled {at_ns}\nthrottled_usec {at_ns}\n");
    let quota = quota::unified("/a", &format!("{at_ns} 100000"), &stat);
    let age_ns = at_ns.saturating_sub(watched.start_ns);
    Some(PageSample { id: watched.id, age_ns, threads: watched.threads, quota })
}

/// An interface that counted this.
fn line(bytes: &mut Bytes<'_>) -> Vec<u8> {
    format!("eth0: {} 0 0 0 0 0 0 0 {}", bytes.take::<u64>(), bytes.take::<u64>()).into_bytes()
}

fn sampling(bytes: &mut Bytes<'_>) -> Sampling {
    if bytes.take::<u8>() & 3 != 1 {
        return Sampling::default();
    }
    let mut share = || Share { one_in: bytes.take::<u8>().into(), unwatched_ns: bytes.take(), window_ns: bytes.take() };
    Sampling {
        budget: Some(0.01),
        shares: [share(), share(), share()],
        call_overhead_ns: 100.0,
        switch_overhead_ns: 50.0,
    }
}
