//! procfs as a source of samples: what anybody may read, where kscope's programs could not be loaded.
//!
//! Times and waits of processes, what devices and interfaces moved, sockets. Not here: whatever happens between two readings
//! and leaves no trace: system calls, distributions, short lives, bytes of sockets.
//!
//! Invariant: what is not known is marked as not available, never zero.

mod account;
mod rungs;
mod tasks;
pub mod texts;

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Source;
use super::host::{boottime_ns, monotonic_ns, read_cpu_ns, read_host, read_own, unix_s};
use super::origin::Otherwise;
use crate::core::interests::Interests;
use crate::core::latency::Unsorted;
use crate::kernel::advice::LoadError;
use crate::model::ProbeStatus;
use crate::model::{Basis, Own, ProcessSample, Qualities, Sample};
use crate::privileged::Services;
use crate::probes::connections::probe::{ConnectionReader, Reading};
use crate::probes::disk::probe::{DiskReader, read_diskstats};
use crate::probes::network::probe::{count_interfaces, named_interfaces};
use crate::probes::own::stats::{Counting, RunStats};

/// Reads procfs.
#[derive(Debug)]
pub struct Procfs {
    basis: Basis,
    only: Arc<[u32]>,
    probes: Arc<[ProbeStatus]>,
    qualities: Qualities,
    tasks: tasks::Tasks,
    disks: DiskReader,
    connections: ConnectionReader,
    services: Services,
    interests: Interests,
    began: Instant,
    last_read: Duration,
}

impl Procfs {
    /// A source for where loading failed with this error.
    pub fn instead_of(error: &LoadError, Otherwise { only, services }: &Otherwise<'_>) -> Self {
        let basis = rungs::basis(error);
        Self {
            probes: rungs::probes(&basis, rungs::exists),
            qualities: rungs::qualities(rungs::exists, !only.is_empty()),
            basis,
            only: (*only).into(),
            tasks: tasks::Tasks::default(),
            disks: DiskReader::default(),
            connections: ConnectionReader::new(services),
            services: services.clone(),
            interests: Interests::default(),
            began: Instant::now(),
            last_read: Duration::ZERO,
        }
    }

    /// One line on what is missing, why, and how to get it.
    pub fn notice(&self) -> Option<String> {
        rungs::notice(&self.basis)
    }

    /// Reads from now on what is looked at, as far as procfs tells of it.
    pub fn look(&mut self, interests: Interests) -> io::Result<()> {
        let before = std::mem::replace(&mut self.interests, interests);
        self.connections.want_names(interests.names)?;
        if before.connections && !interests.connections {
            self.connections = ConnectionReader::new(&self.services);
        }
        if interests.blame && !before.blame {
            return Err(io::Error::other("only programs in the kernel see who ran while others waited"));
        }
        Ok(())
    }

    fn read_connections(&mut self, at_ns: u64, processes: &[ProcessSample]) -> io::Result<Reading> {
        if !self.interests.connections {
            return Ok(Reading::default());
        }
        self.connections.read(None, at_ns, (processes, &*self.only))
    }

    /// Waits by CPU; where only some processes are measured, those of CPUs are not theirs.
    fn cpu_waits(&self) -> Vec<(u32, Unsorted)> {
        if !self.only.is_empty() {
            return Vec::new();
        }
        let text = fs::read_to_string("/proc/schedstat").unwrap_or_default();
        texts::cpu_waits(&text).into_iter().map(|(cpu, count, total_ns)| (cpu, Unsorted { count, total_ns })).collect()
    }
}

impl Source for Procfs {
    fn sample(&mut self) -> io::Result<Sample> {
        let begin = Instant::now();
        let (at_ns, since_boot_ns, unix_s) = (monotonic_ns(), boottime_ns(), unix_s());
        // What is counted, the short texts of the host first. What describes it comes after.
        let interfaces = count_interfaces();
        let disks = read_diskstats();
        let cpu_waits = self.cpu_waits();
        let tasks = self.tasks.count(&self.only, since_boot_ns);
        tasks.map_err(|error| io::Error::other(format!("/proc cannot be read: {error}")))?;
        let cpu_ns = read_cpu_ns();
        let spread_ns = monotonic_ns().saturating_sub(at_ns);
        let processes = self.tasks.complete();
        let connections = self.read_connections(at_ns, &processes)?;
        let sample = Sample {
            at_ns,
            unix_s,
            host: read_host(),
            cpu_waits,
            processes,
            disk: self.disks.read_counted(&disks),
            interfaces: named_interfaces(&interfaces),
            connections: connections.list,
            connections_trouble: connections.trouble,
            own: Own { spread_ns, ..read_own(cpu_ns, self.last_read) },
            programs: self.no_runs(),
            basis: self.basis.clone(),
            qualities: self.qualities,
            only: Arc::clone(&self.only),
            probes: Arc::clone(&self.probes),
            notes: Arc::clone(&self.services.notes),
            ..Sample::default()
        };
        self.last_read = begin.elapsed();
        Ok(sample)
    }
}

impl Procfs {
    /// There are no programs, so what they take is known: nothing.
    fn no_runs(&self) -> RunStats {
        let over_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        RunStats { counting: Counting::Always, over_ns, ..RunStats::default() }
    }
}
