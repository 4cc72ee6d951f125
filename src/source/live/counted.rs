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
use crate::probes::syscalls::probe::count_without;
use crate::probes::time::probe::{Copies, Horizon, Table};
use std::sync::Arc;

/// Counters are read so often at most.
const TRIES: u32 = 4;
/// Reading them again is worth it if it took longer than this, ns.
const QUICK_NS: u64 = 600_000;
/// And so much longer for each thread, ns.
const QUICK_NS_A_THREAD: u64 = 500;

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
    pub threads: Copies,
    /// How far they can be trusted.
    pub horizon: Horizon,
    /// `/proc/net/dev`.
    pub interfaces: Vec<u8>,
    /// Single calls.
    pub exemplars: Came,
    /// Latencies by process.
    pub records: Arc<Records>,
    /// System calls without a record.
    pub without_record: Vec<(u32, Row)>,
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
    /// Processes that ended. They count as gone by their threads, so these are read when everything is counted.
    pub deaths: Vec<(RecordKey, Death)>,
    /// What was lost.
    pub lost: Lost,
    /// CPU time of kscope, ns.
    pub own_cpu_ns: u64,
    /// From the first counter that was read to the last, ns.
    pub spread_ns: u64,
    /// Reading once more would change nothing: no window was closed, and no pair of blame taken out.
    repeatable: bool,
}

impl Live {
    /// Closes the epoch and reads all counters, again if that took unusually long: after a rest, caches are cold, and a
    /// hypervisor takes the CPU when it likes. Counters are cumulative, so reading them once more loses nothing.
    pub(super) fn count(&mut self) -> io::Result<Counted> {
        let epoch = self.close_epoch();
        let mut counted = self.count_once(epoch)?;
        for _ in 1..TRIES {
            let most_ns = QUICK_NS + QUICK_NS_A_THREAD * counted.threads.len() as u64;
            if counted.spread_ns <= most_ns || !counted.repeatable {
                break;
            }
            let exemplars = std::mem::take(&mut counted.exemplars);
            counted = self.count_once(epoch)?;
            counted.exemplars.follow(exemplars);
        }
        counted.deaths = drain(&mut self.kernel.maps.deaths)?;
        Ok(counted)
    }

    /// Reads all counters but the ledger of the dead. Their order is that of `ARCHITECTURE.md`.
    fn count_once(&mut self, epoch: u32) -> io::Result<Counted> {
        self.threads.find(&self.kernel.maps.threads, &self.kernel.maps.causes);
        let (at_ns, since_boot_ns, unix_s) = (monotonic_ns(), boottime_ns(), unix_s());
        let frozen = self.watch.freeze(at_ns);
        if frozen {
            self.tell();
        }
        let horizon = self.watch.horizon(at_ns);
        let maps = &mut self.kernel.maps;
        let mut table = Table { slots: &maps.threads, causes: &maps.causes, more: &mut maps.threads_more };
        let threads = self.threads.copy(&mut table)?;
        // Beside the payload, which is in the threads.
        let interfaces = count_interfaces();
        self.errors.count(&mut maps.errors)?;
        let exemplars = self.exemplars.take(&maps.exemplars);
        let records = self.records.read(&maps.records, epoch);
        let without_record = count_without(&maps.calls, epoch);
        let cpus = read_cpus(&maps.cpus);
        let disk = self.disk.count(&mut maps.disk)?;
        let looked = self.interests.connections.then(|| connections::counted(&mut maps.connections));
        let connections = looked.transpose()?;
        let blame = self.blame.count(&mut maps.blame)?;
        let turnover = read_turnover(&maps.lives);
        let (lost, own_cpu_ns) = (self.lost(), read_cpu_ns());
        let spread_ns = monotonic_ns().saturating_sub(at_ns);
        Ok(Counted {
            at_ns,
            since_boot_ns,
            unix_s,
            epoch,
            threads,
            horizon,
            interfaces,
            exemplars,
            records,
            without_record,
            cpus,
            disk,
            connections,
            blame,
            turnover,
            deaths: Vec::new(),
            lost,
            own_cpu_ns,
            spread_ns,
            repeatable: !frozen && !self.interests.blame,
        })
    }
}
