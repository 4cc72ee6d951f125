//! What is counted together: the numbers of one sample, read back to back right after its clock.
//!
//! ```text
//!  look for threads · close the epoch · clock │ threads · interfaces · errors · exemplars · records · CPUs · disks · … │ details
//!                                             └─────────────────────── spread ───────────────────────────────────────┘
//! ```
//!
//! Not here: whatever describes what was counted (names, descriptors, what calls in flight wait for). That takes up to a
//! hundred times longer, and an interval would be as much longer than what was counted in it.
//!
//! Invariant: between the clock and the last counter nothing is read but counters.

use std::io;

use kscope_layout::lives::Death;
use kscope_layout::{RecordKey, Row};

use super::super::host::{boottime_ns, monotonic_ns, read_cpu_ns, unix_s};
use super::Live;
use crate::model::{Lost, Records};
use crate::probes::blame::probe::Pairs;
use crate::probes::connections::probe::{self as connections, Counted as Connections};
use crate::probes::disk::probe::Counts as Disk;
use crate::probes::exemplars::probe::Came;
use crate::probes::lives::probe::{drain, read_turnover};
use crate::probes::lives::stats::Turnover;
use crate::probes::network::probe::count_interfaces;
use crate::probes::runqueue::probe::read_cpus;
use crate::probes::time::probe::{Table, Threads};
use std::sync::Arc;

/// Counters as of one moment, and how far from it the last of them was read.
#[derive(Debug)]
pub struct Counted {
    /// The moment, ns of `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The same, ns of `CLOCK_BOOTTIME`.
    pub since_boot_ns: u64,
    /// The same, seconds since 1970.
    pub unix_s: f64,
    /// The epoch that was closed.
    pub epoch: u32,
    /// Threads, and the calls that they are in.
    pub threads: Threads,
    /// `/proc/net/dev`.
    pub interfaces: Vec<u8>,
    /// Single calls.
    pub exemplars: Came,
    /// Latencies by process.
    pub records: Arc<Records>,
    /// Latencies of the host by call.
    pub calls: Vec<(u32, Row)>,
    /// Run-queue delays by CPU.
    pub cpus: Vec<(u32, Row)>,
    /// Block I/O.
    pub disk: Disk,
    /// Connections; `None` while nobody looks.
    pub connections: Option<Connections>,
    /// Who ran while others waited.
    pub blame: Pairs,
    /// Processes made and ended.
    pub turnover: Turnover,
    /// Processes that ended.
    pub deaths: Vec<(RecordKey, Death)>,
    /// What was lost.
    pub lost: Lost,
    /// CPU time of kscope, ns.
    pub own_cpu_ns: u64,
    /// From the first counter that was read to the last, ns.
    pub spread_ns: u64,
}

impl Live {
    /// Closes the epoch and reads all counters. Their order is that of `ARCHITECTURE.md`.
    pub(super) fn count(&mut self) -> io::Result<Counted> {
        self.threads.find(&self.kernel.maps.threads, &self.kernel.maps.causes);
        let epoch = self.close_epoch();
        let (at_ns, since_boot_ns, unix_s) = (monotonic_ns(), boottime_ns(), unix_s());
        if self.watch.freeze(at_ns) {
            self.tell();
        }
        let horizon = self.watch.horizon(at_ns);
        let maps = &mut self.kernel.maps;
        let table = Table { slots: &maps.threads, causes: &maps.causes, more: &mut maps.threads_more };
        let threads = self.threads.read_found(table, horizon)?;
        // Beside the payload, which is in the threads.
        let interfaces = count_interfaces();
        self.errors.count(&mut maps.errors)?;
        let exemplars = self.exemplars.take(&maps.exemplars);
        let records = self.records.read(&maps.records, epoch);
        let calls = self.records.host_calls(&maps.calls, epoch);
        let cpus = read_cpus(&maps.cpus);
        let disk = self.disk.count(&mut maps.disk)?;
        let looked = self.interests.connections.then(|| connections::counted(&mut maps.connections));
        let connections = looked.transpose()?;
        let blame = self.blame.count(&mut maps.blame)?;
        let turnover = read_turnover(&maps.lives);
        let deaths = drain(&mut maps.deaths)?;
        let (lost, own_cpu_ns) = (self.lost(), read_cpu_ns());
        let spread_ns = monotonic_ns().saturating_sub(at_ns);
        Ok(Counted {
            at_ns,
            since_boot_ns,
            unix_s,
            epoch,
            threads,
            interfaces,
            exemplars,
            records,
            calls,
            cpus,
            disk,
            connections,
            blame,
            turnover,
            deaths,
            lost,
            own_cpu_ns,
            spread_ns,
        })
    }
}
