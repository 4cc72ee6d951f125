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
use kscope_layout::{Buckets, CALL_ROWS, Control, Head, MAX_ONLY, RecordKey, Row, Thread, ThreadKey, lost};
use syscalls::Sysno;

use super::advice::{self, LoadError, program_failure};
use super::attach::Attached;
use super::call_classes::classes;
use super::maps::{Hash, SharedArray, Stack};
use super::offsets::{Offsets, VMLINUX};
use super::programs::{HOOK, Insight, PROGRAMS, Program};
use super::sizing::{HostFacts, Sizes, parse_possible_cpus};
use crate::core::arguments;
use crate::core::quality::Quality;
use crate::model::{ProbeState, ProbeStatus, Qualities};
use crate::probes::blame::stats::Tells;

/// The programs as they were built; empty where they could not be (see build.rs).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kscope-ebpf"));

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
    /// What is attached; when it goes, everything is detached.
    pub attached: Attached,
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
    offsets: Offsets,
    /// The threads that were there before were found.
    found: bool,
    /// What each insight is worth, given which programs run.
    pub qualities: Qualities,
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
    check()?;
    raise_memlock_limit();
    // Types are parsed for three: our offsets, aya's loader, which does so by itself, and its programs. Side by side, or
    // each would make the first numbers come some 20 ms later.
    let (offsets, btf, loader) = thread::scope(|scope| {
        let (btf, loader) = (scope.spawn(Btf::from_sys_fs), scope.spawn(EbpfLoader::new));
        (Offsets::read(Path::new(VMLINUX)), btf.join(), loader.join())
    });
    let (offsets, btf) = (offsets?, btf.unwrap_or_else(|panic| resume_unwind(panic))?);
    let loader = loader.unwrap_or_else(|panic| resume_unwind(panic));
    let sizes = Sizes::of(host_facts());
    let ebpf = create(loader, &offsets, sizes, only).map_err(|e| LoadError::Object(Box::new(e)))?;
    let maps = open_maps(&ebpf, sizes)?;
    let mut attached = Attached::new(ebpf);
    let wanted = PROGRAMS.iter().filter(|p| insights.contains(&p.insight));
    let wanted = wanted.filter(|p| !p.is_spare || offsets.has_tracepoint(p.tracepoint));
    let idle = |name| ProbeStatus { name, hook: HOOK, state: ProbeState::Idle };
    let begin = |p: &Program| {
        if p.insight.is_on_demand() { idle(p.name) } else { attach(&mut attached, *p, &offsets, Some(&btf)) }
    };
    let probes: Vec<_> = wanted.map(begin).collect();
    // Not before: a thread that is found on a CPU and leaves it before the programs see it would seem to run for ever.
    let found = attached.load_finder(&btf).and_then(|()| attached.find_threads());
    if !probes.iter().any(|p| p.state == ProbeState::Running) {
        let first = probes.into_iter().find_map(|p| match p.state {
            ProbeState::Failed { reason, .. } => Some(reason),
            ProbeState::Running | ProbeState::Idle => None,
        });
        return Err(LoadError::NothingRuns { first: first.unwrap_or_default() });
    }
    let qualities = qualities(&probes, found.is_ok());
    drop(btf);
    give_memory_back();
    if let Err(error) = &found {
        tracing::warn!("threads that were there before are found only when they stir: {}", advice::chain(error));
    }
    let programs = probes.iter().map(|probe| attached.descriptor(probe.name)).collect();
    let (only, probes, found) = (only.into(), probes.into(), found.is_ok());
    Ok(Loaded { attached, maps, sizes, only, probes, programs, offsets, found, qualities })
}

impl Loaded {
    /// Attaches the programs of an insight that is measured on demand, and loads those that were not asked for before. The
    /// list of probes says how each stands then.
    pub fn open(&mut self, insight: Insight) -> Result<(), LoadError> {
        let mut of_insight = PROGRAMS.iter().filter(|p| p.insight == insight);
        let is_loaded = of_insight.all(|p| self.attached.has(p.name));
        let btf = if is_loaded { None } else { Some(Btf::from_sys_fs()?) };
        self.change(insight, |attached, offsets, program| attach(attached, program, offsets, btf.as_ref()).state);
        if btf.is_some() {
            drop(btf);
            give_memory_back();
        }
        self.programs = self.probes.iter().map(|probe| self.attached.descriptor(probe.name)).collect();
        Ok(())
    }

    /// Detaches the programs of an insight that is measured on demand.
    pub fn close(&mut self, insight: Insight) -> Result<(), ProgramError> {
        self.attached.detach(insight)?;
        self.change(insight, |_, _, _| ProbeState::Idle);
        Ok(())
    }

    /// What blame can tell apart on this kernel.
    pub fn blame_tells(&self) -> Tells {
        let queue = self.offsets.has_all(&["TASK_QUEUE", "QUEUE_CPU"]);
        Tells {
            throttled: queue && self.offsets.has_all(&["QUEUE_THROTTLED", "QUEUE_THROTTLED_SINCE", "CPU_CLOCK"]),
            steal: queue && self.offsets.has_all(&["CPU_STOLEN"]),
            elsewhere: self.offsets.has_all(&["TASK_CPUS"]),
        }
    }

    /// Changes the state of the programs of an insight; those that failed stay so.
    fn change(&mut self, insight: Insight, state: impl Fn(&mut Attached, &Offsets, Program) -> ProbeState) {
        let mut probes = self.probes.to_vec();
        for probe in probes.iter_mut().filter(|p| !matches!(p.state, ProbeState::Failed { .. })) {
            if let Some(program) = program(probe.name).filter(|p| p.insight == insight) {
                probe.state = state(&mut self.attached, &self.offsets, program);
            }
        }
        self.probes = probes.into();
        self.qualities = qualities(&self.probes, self.found);
    }
}

/// The program of that name.
fn program(name: &str) -> Option<Program> {
    PROGRAMS.iter().find(|p| p.name == name).copied()
}

/// Attaches one program, and loads it first if that is to be done; how it stands then.
fn attach(attached: &mut Attached, program: Program, offsets: &Offsets, btf: Option<&Btf>) -> ProbeStatus {
    let (name, program) = (program.name, Program { tracepoint: offsets.tracepoint_of(program), ..program });
    let done = match btf {
        Some(btf) if !attached.has(name) => attached.load(program, btf),
        _ => attached.attach(program.insight),
    };
    let state = match done {
        Ok(()) => ProbeState::Running,
        Err(error) => {
            tracing::warn!("{name}: {}", advice::chain(&error));
            let (reason, advice) =
                program_failure(program.tracepoint, offsets.has_tracepoint(program.tracepoint), &error);
            ProbeState::Failed { reason, advice }
        }
    };
    ProbeStatus { name, hook: HOOK, state }
}

fn create(loader: EbpfLoader<'_>, offsets: &Offsets, sizes: Sizes, only: &[u32]) -> Result<Ebpf, aya::EbpfError> {
    let mut chosen = [0; MAX_ONLY];
    chosen.iter_mut().zip(only).for_each(|(place, pid)| *place = *pid);
    let masks = [
        ("SLOT_MASK", sizes.thread_slots - 1),
        ("SHARD_MASK", sizes.call_shards - 1),
        ("SIGRETURN_CALL", Sysno::rt_sigreturn as u32),
        ("SELF_TGID", std::process::id()),
        ("EXEMPLARS_SHIFT", sizes.exemplars_shift),
    ];
    let texts = arguments::texts();
    let mut loader = loader;
    for (name, value) in offsets.globals() {
        loader.override_global(name, value, true);
    }
    for (name, value) in &masks {
        loader.override_global(name, value, true);
    }
    let classes = classes();
    loader.override_global("CALL_CLASSES", &classes[..], true);
    loader.override_global("ONLY", &chosen[..], true);
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

fn open_maps(ebpf: &Ebpf, sizes: Sizes) -> Result<Maps, LoadError> {
    Ok(Maps {
        threads: shared(ebpf, "THREADS", sizes.thread_slots)?,
        causes: shared(ebpf, "CAUSES", sizes.thread_slots)?,
        threads_more: Hash::new(map_fd(ebpf, "THREADS_MORE")?),
        records: open_records(ebpf, sizes.records)?,
        calls: shared(ebpf, "CALLS", sizes.call_shards * CALL_ROWS)?,
        cpus: shared(ebpf, "CPUS", sizes.cpus)?,
        connections: Hash::new(map_fd(ebpf, "CONNECTIONS")?),
        disk: open_disk(ebpf, sizes)?,
        control: shared(ebpf, "CONTROL", 1)?,
        deaths: Hash::new(map_fd(ebpf, "DEATHS")?),
        lives: shared(ebpf, "LIVES", events::COUNT)?,
        lost: shared(ebpf, "LOST", lost::COUNT)?,
        errors: Hash::new(map_fd(ebpf, "ERRORS")?),
        exemplars: ExemplarMaps {
            rings: shared(ebpf, "EXEMPLARS", sizes.exemplars())?,
            made: shared(ebpf, "EXEMPLARS_MADE", sizes.cpus)?,
        },
        blame: BlameMaps {
            pairs: Hash::new(map_fd(ebpf, "BLAME_PAIRS")?),
            waits: Hash::new(map_fd(ebpf, "BLAME_WAITS")?),
            since: shared(ebpf, "BLAME_SINCE", 1)?,
        },
    })
}

/// Opens the maps of the records and puts every slot on the stack: the slots in use stay close together.
fn open_records(ebpf: &Ebpf, slots: u32) -> Result<RecordMaps, LoadError> {
    Ok(RecordMaps {
        index: Hash::new(map_fd(ebpf, "INDEX")?),
        heads: shared(ebpf, "HEADS", slots)?,
        buckets: shared(ebpf, "BUCKETS", slots)?,
        free: stack_of_free(ebpf, "FREE", slots)?,
    })
}

fn open_disk(ebpf: &Ebpf, sizes: Sizes) -> Result<DiskMaps, LoadError> {
    stack_of_free(ebpf, "DISKS_FREE", sizes.disks)?;
    Ok(DiskMaps {
        requests: Hash::new(map_fd(ebpf, "REQUESTS")?),
        devices: Hash::new(map_fd(ebpf, "DEVICES")?),
        rows: shared(ebpf, "DISKS", sizes.disks * direction::COUNT)?,
        processes: Hash::new(map_fd(ebpf, "DISK_PROCESSES")?),
    })
}

/// A stack with the numbers of all slots, the first on top.
fn stack_of_free(ebpf: &Ebpf, name: &'static str, slots: u32) -> Result<Stack<u32>, LoadError> {
    let free = Stack::new(map_fd(ebpf, name)?);
    for slot in (0..slots).rev() {
        free.push(slot).map_err(|error| LoadError::Map { name, error })?;
    }
    Ok(free)
}

fn shared<T: Pod>(ebpf: &Ebpf, name: &'static str, len: u32) -> Result<SharedArray<T>, LoadError> {
    let fd = map_fd(ebpf, name)?;
    SharedArray::map(fd, len as usize).map_err(|error| LoadError::Map { name, error })
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

/// An insight is worth nothing when one of its programs does not run; thread time needs the scheduler's and the calls'.
fn qualities(probes: &[ProbeStatus], found: bool) -> Qualities {
    let of = |insight: Insight| {
        let runs = PROGRAMS
            .iter()
            .filter(|p| p.insight == insight && !p.is_spare)
            .all(|p| probes.iter().any(|s| s.name == p.name && s.state == ProbeState::Running));
        if runs { Quality::Exact } else { Quality::NotAvailable }
    };
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

/// Parsing BTF takes 18 MB for some milliseconds, which the allocator would keep for ever.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it only returns free pages to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Kernels before 5.11 charge maps to the limit of locked memory. Failing is fine everywhere else.
fn raise_memlock_limit() {
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
        pid_max: read("/proc/sys/kernel/pid_max").trim().parse().unwrap_or(4_194_304),
    }
}
