//! Loads the object, attaches what can be attached, and hands over the maps.
//!
//! Each program that cannot run is a reason in the list of probes, not an end. Only where nothing can be measured at all
//! is there an error.
//!
//! Invariant: no program is attached any more when [`Loaded`] is gone.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use aya::maps::Map;
use aya::programs::ProgramError;
use aya::{Btf, Ebpf, EbpfLoader};
use bytemuck::Pod;
use kscope_layout::blame::{Pair, PairKey, Wait};
use kscope_layout::cause::{Beside, Causes};
use kscope_layout::connections::Connection;
use kscope_layout::disk::{Asked, DeviceRow, Started, direction};
use kscope_layout::errors::ErrorKey;
use kscope_layout::exemplars::Exemplar;
use kscope_layout::lives::{Death, events};
use kscope_layout::{Buckets, CALL_ROWS, Control, Head, MAX_ONLY, MAX_OWN, RecordKey, Row, Thread, ThreadKey, lost};
use syscalls::Sysno;

use super::advice::{self, LoadError};
use super::attach::Attached;
use super::call_classes::classes;
use super::held::Held;
use super::ladder;
use super::local::Local;
use super::maps::{Hash, SharedArray, Stack};
use super::memory;
use super::offsets::{Offsets, VMLINUX};
use super::programs::Insight;
use super::sizing::{HostFacts, Sizes, parse_possible_cpus};
use crate::core::arguments;
use crate::core::quality::Quality;
use crate::model::{ProbeState, ProbeStatus, Qualities};
use crate::privileged::Services;
use crate::privileged::helper::Helper;
use crate::probes::blame::stats::Tells;

/// The programs as they were built; empty where they could not be (see build.rs).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kscope-ebpf"));

/// The maps that are read, in the order in which their descriptors are handed over.
pub(crate) const MAPS: [&str; 24] = [
    "THREADS",
    "CAUSES",
    "THREADS_MORE",
    "CALLS",
    "CPUS",
    "CONNECTIONS",
    "CONTROL",
    "DEATHS",
    "LIVES",
    "LOST",
    "ERRORS",
    "EXEMPLARS",
    "EXEMPLARS_MADE",
    "BLAME_PAIRS",
    "BLAME_WAITS",
    "BLAME_SINCE",
    "INDEX",
    "HEADS",
    "BUCKETS",
    "FREE",
    "REQUESTS",
    "DEVICES",
    "DISKS",
    "DISK_PROCESSES",
];

/// The maps, ready to be read.
#[derive(Debug)]
pub struct Maps {
    /// Threads by slot.
    pub threads: SharedArray<Thread>,
    /// Their blocked time by cause, by the same slots.
    pub causes: SharedArray<Causes>,
    /// Threads that found their slot taken.
    pub threads_more: Hash<ThreadKey, Beside>,
    /// The records of processes.
    pub records: RecordMaps,
    /// Calls whose record could not be had: `CALL_ROWS` rows a shard.
    pub calls: SharedArray<Row>,
    /// Run-queue delays by CPU.
    pub cpus: SharedArray<Row>,
    /// Connections by cookie, while somebody looks at them.
    pub connections: Hash<u64, Connection>,
    /// Block I/O.
    pub disk: DiskMaps,
    /// The epoch.
    pub control: SharedArray<Control>,
    /// Processes that ended, until they are read.
    pub deaths: Hash<RecordKey, Death>,
    /// Forks, execs and ends, by `kscope_layout::lives::events`.
    pub lives: SharedArray<u64>,
    /// What was lost, by `kscope_layout::lost`.
    pub lost: SharedArray<u64>,
    /// Errors by process, call and number.
    pub errors: Hash<ErrorKey, u64>,
    /// The exemplars.
    pub exemplars: ExemplarMaps,
    /// Who ran while others waited.
    pub blame: BlameMaps,
}

/// The maps that hold exemplars.
#[derive(Debug)]
pub struct ExemplarMaps {
    /// The rings, one CPU's after the other's: `rings.len() / made.len()` each.
    pub rings: SharedArray<Exemplar>,
    /// How many each CPU has written.
    pub made: SharedArray<u64>,
}

/// The maps of blame.
#[derive(Debug)]
pub struct BlameMaps {
    /// What was waited, by victim, cause and offender.
    pub pairs: Hash<PairKey, Pair>,
    /// Waits that have not ended, by thread.
    pub waits: Hash<u32, Wait>,
    /// One element: since when it is measured.
    pub since: SharedArray<u64>,
}

/// The maps that hold the records, by slot.
#[derive(Debug)]
pub struct RecordMaps {
    /// Slots by process and what is measured.
    pub index: Hash<RecordKey, u32>,
    /// Sums and keys.
    pub heads: SharedArray<Head>,
    /// Distributions.
    pub buckets: SharedArray<Buckets>,
    /// Slots that no record has.
    pub free: Stack<u32>,
}

/// The maps of block I/O.
#[derive(Debug)]
pub struct DiskMaps {
    /// Requests in flight, by their address.
    pub requests: Hash<u64, Started>,
    /// Slots by device number.
    pub devices: Hash<u32, u32>,
    /// What devices did, by slot and direction.
    pub rows: SharedArray<DeviceRow>,
    /// What processes had them do.
    pub processes: Hash<RecordKey, Asked>,
}

/// The loaded and attached programs with their maps.
#[derive(Debug)]
pub struct Loaded {
    /// What holds the programs; when it goes, everything is detached.
    pub attached: Held,
    /// The maps.
    pub maps: Maps,
    /// The sizes they were made with.
    pub sizes: Sizes,
    /// The processes that alone are measured; none where all are.
    pub only: Arc<[u32]>,
    /// Every program and how it stands.
    pub probes: Arc<[ProbeStatus]>,
    /// Descriptors of the programs, in the same order; `None` for those that were not loaded.
    pub programs: Vec<Option<OwnedFd>>,
    /// The threads that were there before were found.
    found: bool,
    /// What blame can tell apart on this kernel.
    tells: Tells,
    /// Who does what the process that reads the maps may not.
    pub services: Services,
    /// What each insight is worth, given which programs run.
    pub qualities: Qualities,
}

/// Every program and how it stands, with descriptors of those that were loaded, in the same order.
#[derive(Debug)]
pub struct Standing {
    /// How they stand.
    pub probes: Vec<ProbeStatus>,
    /// Their descriptors.
    pub programs: Vec<Option<OwnedFd>>,
}

/// Says at once what would make loading fail, as far as that can be known without trying.
pub fn check() -> Result<(), LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoPrograms);
    }
    advice::require_capabilities()?;
    advice::require_host_pids()
}

/// Loads and attaches everything that can be.
pub fn load() -> Result<Loaded, LoadError> {
    load_with(&Insight::ALL, &[])
}

/// Loads and attaches the programs of these insights; the others are not available, and not in the list of probes.
pub fn load_only(insights: &[Insight]) -> Result<Loaded, LoadError> {
    load_with(insights, &[])
}

/// The same, to measure nothing but these processes (all, if there is none; at most [`MAX_ONLY`]): of others the programs
/// keep nothing, and return at once.
pub fn load_with(insights: &[Insight], only: &[u32]) -> Result<Loaded, LoadError> {
    raise_memlock_limit();
    check()?;
    let (local, descriptors) = load_here(insights, only, &[std::process::id()])?;
    memory::give_back();
    let standing = local.standing();
    let (found, tells) = (local.found, local.tells());
    Loaded::new(Held::Here(Box::new(local)), &descriptors, only, standing, (found, tells))
}

/// The same in the helper: its description of what it loaded, with the maps.
pub fn load_by(helper: Result<Helper, LoadError>, only: &[u32], services: Services) -> Result<Loaded, LoadError> {
    let (remote, told) = helper?.loaded()?;
    let loaded = Loaded::new(Held::There(remote), &told.maps, only, told.standing, (told.found, told.tells))?;
    Ok(Loaded { services, ..loaded })
}

/// Loads and attaches, for the processes `own` to work with, where [`check`] has found nothing; what holds the programs, and
/// the maps by their place in [`MAPS`].
pub(crate) fn load_here(insights: &[Insight], only: &[u32], own: &[u32]) -> Result<(Local, Vec<OwnedFd>), LoadError> {
    // Types are parsed for three: our offsets, aya's loader, which does so by itself, and its programs. Side by side, or
    // each would make the first numbers come some 20 ms later.
    let (offsets, btf, loader) = thread::scope(|scope| {
        let (btf, loader) = (scope.spawn(Btf::from_sys_fs), scope.spawn(EbpfLoader::new));
        (Offsets::read(Path::new(VMLINUX)), btf.join(), loader.join())
    });
    let (offsets, btf) = (offsets?, btf.unwrap_or_else(|panic| resume_unwind(panic))?);
    let loader = loader.unwrap_or_else(|panic| resume_unwind(panic));
    let sizes = Sizes::of(host_facts());
    let ebpf = create(loader, &offsets, sizes, only, own).map_err(|e| LoadError::Object(Box::new(e)))?;
    fill(&ebpf, "FREE", sizes.records)?;
    fill(&ebpf, "DISKS_FREE", sizes.disks)?;
    let descriptors = MAPS.iter().map(|name| map_fd(&ebpf, name)).collect::<Result<_, _>>()?;
    let local = Local::attach(Attached::new(ebpf), offsets, &btf, insights);
    if !local.probes.iter().any(|p| p.state == ProbeState::Running) {
        let first = local.probes.into_iter().find_map(|p| match p.state {
            ProbeState::Failed { reason, .. } => Some(reason),
            ProbeState::Running | ProbeState::Idle => None,
        });
        return Err(LoadError::NothingRuns { first: first.unwrap_or_default() });
    }
    Ok((local, descriptors))
}

impl Loaded {
    fn new(
        attached: Held,
        descriptors: &[OwnedFd],
        only: &[u32],
        standing: Standing,
        (found, tells): (bool, Tells),
    ) -> Result<Self, LoadError> {
        let sizes = Sizes::of(host_facts());
        let maps = open_maps(descriptors, sizes)?;
        let Standing { probes, programs } = standing;
        let qualities = qualities(&probes, found);
        let (only, probes, services) = (only.into(), probes.into(), Services::default());
        Ok(Self { attached, maps, sizes, only, probes, programs, found, tells, services, qualities })
    }

    /// Attaches the programs of an insight that is measured on demand, and loads those that were not asked for before. The
    /// list of probes says how each stands then.
    pub fn open(&mut self, insight: Insight) -> Result<(), LoadError> {
        let standing = self.attached.open(insight)?;
        self.stand(standing);
        Ok(())
    }

    /// Detaches the programs of an insight that is measured on demand.
    pub fn close(&mut self, insight: Insight) -> Result<(), ProgramError> {
        let standing = self.attached.close(insight)?;
        self.stand(standing);
        Ok(())
    }

    /// What blame can tell apart on this kernel.
    pub const fn blame_tells(&self) -> Tells {
        self.tells
    }

    fn stand(&mut self, Standing { probes, programs }: Standing) {
        self.qualities = qualities(&probes, self.found);
        (self.probes, self.programs) = (probes.into(), programs);
    }
}

fn create(
    loader: EbpfLoader<'_>,
    offsets: &Offsets,
    sizes: Sizes,
    only: &[u32],
    own: &[u32],
) -> Result<Ebpf, aya::EbpfError> {
    let mut chosen = [0; MAX_ONLY];
    chosen.iter_mut().zip(only).for_each(|(place, pid)| *place = *pid);
    let mut processes = [0; MAX_OWN];
    processes.iter_mut().zip(own).for_each(|(place, pid)| *place = *pid);
    let values = [
        ("SLOT_MASK", sizes.thread_slots - 1),
        ("SHARD_MASK", sizes.call_shards - 1),
        ("SIGRETURN_CALL", Sysno::rt_sigreturn as u32),
        ("RECVFROM_CALL", Sysno::recvfrom as u32),
        ("RECVMSG_CALL", Sysno::recvmsg as u32),
        ("RECVMMSG_CALL", Sysno::recvmmsg as u32),
        ("RESTART_CALL", Sysno::restart_syscall as u32),
        ("EXEMPLARS_SHIFT", sizes.exemplars_shift),
    ];
    let texts = arguments::texts();
    let mut loader = loader;
    for (name, value) in offsets.globals() {
        loader.override_global(name, value, true);
    }
    for (name, value) in &values {
        loader.override_global(name, value, true);
    }
    let classes = classes();
    loader.override_global("CALL_CLASSES", &classes[..], true);
    loader.override_global("ONLY", &chosen[..], true);
    loader.override_global("OWN", &processes[..], true);
    loader.override_global("TEXTS", &texts[..], true);
    let entries = [
        ("THREADS", sizes.thread_slots),
        ("CAUSES", sizes.thread_slots),
        ("THREADS_MORE", sizes.threads_more),
        ("INDEX", sizes.records),
        ("HEADS", sizes.records),
        ("BUCKETS", sizes.records),
        ("FREE", sizes.records),
        ("CALLS", sizes.call_shards * CALL_ROWS),
        ("CPUS", sizes.cpus),
        ("ERRORS", sizes.errors),
        ("EXEMPLARS", sizes.exemplars()),
        ("EXEMPLARS_MADE", sizes.cpus),
        ("DEATHS", sizes.deaths),
        ("CONNECTIONS", sizes.connections),
        ("BLAME_PAIRS", sizes.blame_pairs),
        ("BLAME_WAITS", sizes.blame_waits),
        ("BLAME_CPUS", sizes.cpus),
        ("REQUESTS", sizes.requests),
        ("DEVICES", sizes.disks),
        ("DISKS", sizes.disks * direction::COUNT),
        ("DISKS_FREE", sizes.disks),
        ("DISK_PROCESSES", sizes.disk_processes),
    ];
    for (name, entries) in entries {
        loader.map_max_entries(name, entries);
    }
    loader.load(OBJECT)
}

fn open_maps(of: &[OwnedFd], sizes: Sizes) -> Result<Maps, LoadError> {
    Ok(Maps {
        threads: shared(of, "THREADS", sizes.thread_slots)?,
        causes: shared(of, "CAUSES", sizes.thread_slots)?,
        threads_more: Hash::new(own(of, "THREADS_MORE")?),
        records: open_records(of, sizes.records)?,
        calls: shared(of, "CALLS", sizes.call_shards * CALL_ROWS)?,
        cpus: shared(of, "CPUS", sizes.cpus)?,
        connections: Hash::new(own(of, "CONNECTIONS")?),
        disk: open_disk(of, sizes)?,
        control: shared(of, "CONTROL", 1)?,
        deaths: Hash::new(own(of, "DEATHS")?),
        lives: shared(of, "LIVES", events::COUNT)?,
        lost: shared(of, "LOST", lost::COUNT)?,
        errors: Hash::new(own(of, "ERRORS")?),
        exemplars: ExemplarMaps {
            rings: shared(of, "EXEMPLARS", sizes.exemplars())?,
            made: shared(of, "EXEMPLARS_MADE", sizes.cpus)?,
        },
        blame: BlameMaps {
            pairs: Hash::new(own(of, "BLAME_PAIRS")?),
            waits: Hash::new(own(of, "BLAME_WAITS")?),
            since: shared(of, "BLAME_SINCE", 1)?,
        },
    })
}

fn open_records(of: &[OwnedFd], slots: u32) -> Result<RecordMaps, LoadError> {
    Ok(RecordMaps {
        index: Hash::new(own(of, "INDEX")?),
        heads: shared(of, "HEADS", slots)?,
        buckets: shared(of, "BUCKETS", slots)?,
        free: Stack::new(own(of, "FREE")?),
    })
}

fn open_disk(of: &[OwnedFd], sizes: Sizes) -> Result<DiskMaps, LoadError> {
    Ok(DiskMaps {
        requests: Hash::new(own(of, "REQUESTS")?),
        devices: Hash::new(own(of, "DEVICES")?),
        rows: shared(of, "DISKS", sizes.disks * direction::COUNT)?,
        processes: Hash::new(own(of, "DISK_PROCESSES")?),
    })
}

/// Puts the numbers of all slots on a stack, the first on top: the slots in use stay close together.
fn fill(ebpf: &Ebpf, name: &'static str, slots: u32) -> Result<(), LoadError> {
    let free = Stack::new(map_fd(ebpf, name)?);
    (0..slots).rev().try_for_each(|slot| free.push(slot)).map_err(|error| LoadError::Map { name, error })
}

fn shared<T: Pod>(of: &[OwnedFd], name: &'static str, len: u32) -> Result<SharedArray<T>, LoadError> {
    let fd = own(of, name)?;
    SharedArray::map(fd, len as usize).map_err(|error| LoadError::Map { name, error })
}

/// A descriptor of its own for a map that is there.
fn own(of: &[OwnedFd], name: &'static str) -> Result<OwnedFd, LoadError> {
    let at = MAPS.iter().position(|map| *map == name);
    let fd = at.and_then(|at| of.get(at)).ok_or_else(|| io::Error::other("it is not among those that were made"));
    fd.and_then(OwnedFd::try_clone).map_err(|error| LoadError::Map { name, error })
}

/// A descriptor of our own for a map. (The original stays: programs are loaded with it later.)
fn map_fd(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, LoadError> {
    let error = |error| LoadError::Map { name, error };
    match ebpf.map(name) {
        Some(Map::Array(data) | Map::HashMap(data) | Map::Stack(data)) => {
            data.fd().as_fd().try_clone_to_owned().map_err(error)
        }
        _ => Err(error(io::Error::other("it is not in the object"))),
    }
}

/// What each insight is worth; thread time needs the scheduler's programs and the calls'.
fn qualities(probes: &[ProbeStatus], found: bool) -> Qualities {
    let of = |insight: Insight| ladder::quality(insight, probes);
    let time = of(Insight::RunQueue).worst(of(Insight::Syscalls));
    Qualities {
        syscalls: of(Insight::Syscalls),
        runqueue: of(Insight::RunQueue),
        network: of(Insight::Network),
        // A thread that was not found at start is unknown until it stirs.
        time: if found { time } else { time.worst(Quality::LowerBound) },
        errors: of(Insight::Syscalls),
        disk: of(Insight::Disk),
        blame: of(Insight::Blame),
        connections: of(Insight::Connections),
        dead: of(Insight::Exits),
    }
}

/// Kernels before 5.11 charge maps to the limit of locked memory. Failing is fine everywhere else.
pub(crate) fn raise_memlock_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!("the limit of locked memory stays as it is: {error}");
    }
}

/// What the sizes of the maps depend on.
pub(super) fn host_facts() -> HostFacts {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    HostFacts {
        cpus: parse_possible_cpus(&read("/sys/devices/system/cpu/possible")).unwrap_or(1),
        // 4,194,304 is the highest the kernel allows (PID_MAX_LIMIT): the safe guess.
        pid_max: procfs::sys::kernel::pid_max().ok().and_then(|max| max.try_into().ok()).unwrap_or(4_194_304),
    }
}
