//! One reading of everything, at one moment. All counters are cumulative; times in nanoseconds of `CLOCK_MONOTONIC`.

use std::sync::Arc;

use kscope_layout::Row;

use super::blame::BlameSample;
use super::disk::DiskSample;
use super::records::Records;
use super::sampling::Sampling;
use crate::core::hook::Hook;
use crate::core::ident::ProcessId;
use crate::core::latency::Unsorted;
use crate::core::quality::Quality;
use crate::probes::connections::stats::Connection;
use crate::probes::disk::stats::DiskTraffic;
use crate::probes::errors::stats::Errors;
use crate::probes::exemplars::stats::Exemplars;
use crate::probes::lives::stats::{Dead, Turnover};
use crate::probes::network::stats::{Interface, Traffic};
use crate::probes::own::stats::{MapUse, RunStats};
use crate::probes::page::stats::PageSample;
use crate::probes::stuck::stats::InFlight;
use crate::probes::time::stats::{Doing, TimeSplit};

/// What the numbers come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// kscope's programs in the kernel.
    #[default]
    Programs,
    /// `/proc` alone, because the programs could not be loaded: one sentence on why, one on what to do.
    Procfs {
        /// Why.
        reason: Arc<str>,
        /// What to do.
        advice: Arc<str>,
    },
}

impl Basis {
    /// True where no program runs.
    pub const fn is_procfs(&self) -> bool {
        matches!(self, Self::Procfs { .. })
    }

    /// The word for it in reports.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Programs => "ebpf",
            Self::Procfs { .. } => "procfs",
        }
    }
}

/// One reading.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When it was taken, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The same moment as seconds since 1970, UTC.
    pub unix_s: f64,
    /// The epoch that this sample closed: the maxima of the interval before it.
    pub epoch: u32,
    /// The machine.
    pub host: Host,
    /// System calls of the host that were ever made, by number: of all processes, those gone included.
    pub calls: Vec<(u32, Row)>,
    /// Run-queue delays by CPU.
    pub cpus: Vec<(u32, Row)>,
    /// The same where only their number and sum are known.
    pub cpu_waits: Vec<(u32, Unsorted)>,
    /// Latency records. Those of a process that was reported as exited may stay for some samples.
    pub records: Arc<Records>,
    /// Processes, sorted by identity.
    pub processes: Vec<ProcessSample>,
    /// Processes that are gone since the sample before: those that exited, and those of which only the end was seen.
    pub dead: Vec<Dead>,
    /// Processes made and ended since the start.
    pub turnover: Turnover,
    /// Calls in flight, oldest first.
    pub inflight: Vec<InFlight>,
    /// The process that somebody looks at.
    pub page: Option<PageSample>,
    /// Block devices.
    pub disk: DiskSample,
    /// Network interfaces, by name.
    pub interfaces: Vec<Interface>,
    /// Connections and listening sockets, by cookie; none while nobody looks.
    pub connections: Vec<Connection>,
    /// Why some sockets are not listed, as a sentence.
    pub connections_trouble: Option<String>,
    /// Who ran while others waited, while that is measured.
    pub blame: Option<BlameSample>,
    /// What kscope itself used.
    pub own: Own,
    /// Runs of its programs.
    pub programs: RunStats,
    /// How full its maps are.
    pub maps: Vec<MapUse>,
    /// What was lost since the start.
    pub lost: Lost,
    /// Errors that were ever counted.
    pub errors: Arc<Errors>,
    /// Single calls that returned since the sample before.
    pub exemplars: Arc<Exemplars>,
    /// How much was counted since the sample before.
    pub sampling: Sampling,
    /// What the numbers come from.
    pub basis: Basis,
    /// What each group of numbers is worth, before losses are looked at.
    pub qualities: Qualities,
    /// The processes that alone are measured, by pid; none where all are.
    pub only: Arc<[u32]>,
    /// The probes and how they stand.
    pub probes: Arc<[ProbeStatus]>,
    /// Sentences on rights that kscope could not give up, and on what it was told not to look at.
    pub notes: Arc<[String]>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: u32,
    /// Load average of one minute.
    pub load: f64,
    /// Threads of the whole machine (scheduling entities, as `/proc/loadavg` counts them).
    pub threads: u32,
    /// Seconds since boot.
    pub uptime_s: u64,
}

/// Who a process is, for people. Read from procfs; shared between samples while it does not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ident {
    /// Its name, untrusted bytes made printable.
    pub comm: String,
    /// Its command line, made printable; empty for kernel threads and for processes that were gone too soon.
    pub cmdline: String,
    /// Name of the user it runs as, or the number where there is no name; empty if never read.
    pub user: String,
    /// Its cgroup (version 2 path), empty if unknown.
    pub cgroup: String,
    /// Pid of its parent; 0 if unknown.
    pub ppid: u32,
    /// A kernel thread.
    pub kthread: bool,
}

/// Cumulative counters of a process: of its living threads and of those that died.
#[derive(Clone, Debug, Default)]
pub struct ProcessSample {
    /// Identity.
    pub id: ProcessId,
    /// The process that created it, where that was seen.
    pub parent: Option<ProcessId>,
    /// Who it is.
    pub ident: Arc<Ident>,
    /// When it began, ns of `CLOCK_BOOTTIME`; 0 if unknown.
    pub start_ns: u64,
    /// What its threads are doing.
    pub doing: Doing,
    /// Threads alive.
    pub threads: u32,
    /// It is gone; this is its last sample.
    pub exited: bool,
    /// Where its threads' time went.
    pub time: TimeSplit,
    /// Its traffic.
    pub traffic: Traffic,
    /// Its waits for a CPU, where only their number and sum are known; otherwise it has a record of them.
    pub waits: Unsorted,
    /// CPUs that its threads last ran on, modulo 128: a bit each.
    pub ran_on: u128,
    /// What it had block devices do.
    pub disk: DiskTraffic,
    /// Times a thread left a CPU of its own will.
    pub voluntary: u64,
    /// Times a thread was pushed off a CPU.
    pub preempted: u64,
    /// Runs on a CPU of which no program saw the beginning or the end.
    pub missed: u64,
}

/// What kscope itself used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its process id.
    pub pid: u32,
    /// CPU time of its user-space process, ns.
    pub cpu_ns: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Time it took to read the sample before, ns.
    pub read_ns: u64,
    /// Time from the first counter that was read to the last, ns: by so much the intervals of two numbers of a sample may
    /// differ. Of a snapshot: the longest of its samples.
    pub spread_ns: u64,
}

/// What was lost, as counts of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Events of threads for which there was no entry.
    pub threads: u64,
    /// Latencies for which there was no record of the process.
    pub records: u64,
    /// Errors for which there was no counter.
    pub errors: u64,
    /// Requests of block devices for which there was no room.
    pub disk: u64,
    /// Waits whose causes found no room.
    pub blame: u64,
    /// Connections for which there was no room.
    pub connections: u64,
    /// Processes that ended and found no room in the ledger.
    pub dead: u64,
}

impl Lost {
    /// All of it, as a number of events.
    pub fn total(self) -> u64 {
        [self.threads, self.records, self.errors, self.disk, self.blame, self.connections, self.dead]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// The quality of each group of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qualities {
    /// System calls.
    pub syscalls: Quality,
    /// Run-queue delays.
    pub runqueue: Quality,
    /// Network bytes.
    pub network: Quality,
    /// Thread time.
    pub time: Quality,
    /// Errors by call, process and number.
    pub errors: Quality,
    /// Requests of block devices.
    pub disk: Quality,
    /// Who ran while others waited.
    pub blame: Quality,
    /// Bytes by connection.
    pub connections: Quality,
    /// Processes that ended.
    pub dead: Quality,
}

/// One program and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Name of the program.
    pub name: &'static str,
    /// Kind of hook.
    pub hook: Hook,
    /// Does it run?
    pub state: ProbeState,
    /// Why it runs in place of what is better, as sentences; `None` where nothing is.
    pub fallback: Option<String>,
}

/// Whether a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeState {
    /// Attached.
    Running,
    /// Not attached, because nobody looks at what it measures.
    Idle,
    /// Not attached: one sentence on why, one on what to do.
    Failed {
        /// Why.
        reason: String,
        /// What to do.
        advice: String,
    },
}
