//! What is attached while the loops run: nothing, empty programs, kscope, or a peer.
//!
//! Invariant: it is attached exactly as long as the [`Attached`] of it lives.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::watch::{Programs, tracing_programs};
use anyhow::{Context as _, Result, bail};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};
use kscope::kernel::loader::{self, Loaded};
use kscope::kernel::offsets::{Offsets, VMLINUX};
use kscope::kernel::programs::{Insight, PROGRAMS};
use rustix::process::{Pid, Signal, kill_process};

/// The empty programs; no bytes in a build without the feature `bench`.
pub static FLOOR: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kscope-floor"));

/// Which of the empty programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Does nothing.
    Empty,
    /// Reads the clock once.
    Clock,
}

/// A program that somebody else runs beside the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Looked for on the path.
    pub program: &'static str,
    /// What it is told.
    pub args: &'static [&'static str],
    /// It loads BPF programs: when those are there, it is attached.
    pub bpf: bool,
}

/// What a column of the table measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Empty programs on the hooks of these insights.
    Floor(Floor, &'static [Insight]),
    /// kscope's programs for these insights, with nobody reading.
    Kscope(&'static [Insight]),
    /// A whole program with its user space.
    Tool(Tool),
}

/// Something attached.
pub enum Attached {
    /// Empty programs, one object a hook.
    Floor { _objects: Vec<Ebpf> },
    /// kscope.
    Kscope { _loaded: Box<Loaded> },
    /// A running program.
    Tool(Running),
}

impl Variant {
    /// Attaches it, and returns once it is. The error says why it cannot be.
    pub fn attach(&self) -> Result<Attached> {
        match self {
            Self::Floor(floor, insights) => Ok(Attached::Floor { _objects: attach_floor(*floor, insights)? }),
            Self::Kscope(insights) => Ok(Attached::Kscope { _loaded: Box::new(loader::load_only(insights)?) }),
            Self::Tool(tool) => Running::start(*tool).map(Attached::Tool),
        }
    }
}

fn attach_floor(floor: Floor, insights: &[Insight]) -> Result<Vec<Ebpf>> {
    let (offsets, btf) = (Offsets::read(Path::new(VMLINUX))?, Btf::from_sys_fs()?);
    let name = match floor {
        Floor::Empty => "empty",
        Floor::Clock => "clock",
    };
    let wanted = PROGRAMS.iter().filter(|p| insights.contains(&p.insight) && offsets.has_tracepoint(p.name));
    wanted.map(|p| attach_one(name, p.name, &btf).with_context(|| format!("an empty program on {}", p.name))).collect()
}

fn attach_one(name: &str, tracepoint: &str, btf: &Btf) -> Result<Ebpf> {
    let mut object = EbpfLoader::new().btf(Some(btf)).load(FLOOR)?;
    let program: &mut BtfTracePoint = object.program_mut(name).context("it is not in the object")?.try_into()?;
    program.load(tracepoint, btf)?;
    program.attach()?;
    Ok(object)
}

/// A tool that runs until this is dropped.
pub struct Running {
    child: Child,
    errors: File,
    since: Instant,
    cpu_then: Duration,
}

impl Running {
    fn start(tool: Tool) -> Result<Self> {
        let errors = File::from(rustix::fs::memfd_create(c"errors", rustix::fs::MemfdFlags::CLOEXEC)?);
        let before = tracing_programs();
        let child = Command::new(tool.program)
            .args(tool.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.try_clone()?)
            .spawn()
            .with_context(|| format!("{} cannot be started", tool.program))?;
        let mut running = Self { child, errors, since: Instant::now(), cpu_then: Duration::ZERO };
        running.wait_until_attached(tool, &before)?;
        running.since = Instant::now();
        running.cpu_then = running.cpu();
        Ok(running)
    }

    /// Waits until its BPF programs are loaded and no more come; for a tool without any, a second and a half.
    fn wait_until_attached(&mut self, tool: Tool, before: &Programs) -> Result<()> {
        let (start, mut count, mut changed) = (Instant::now(), before.clone(), Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(50));
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once ({status}): {}", self.last_error());
            }
            let now = tracing_programs();
            if now != count {
                (count, changed) = (now, Instant::now());
            }
            let settled = changed.elapsed() > Duration::from_millis(500);
            if tool.bpf && !count.is_subset(before) && settled
                || !tool.bpf && start.elapsed() > Duration::from_millis(1500)
            {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(10) {
                bail!("it attached nothing within ten seconds: {}", self.last_error());
            }
        }
    }

    fn last_error(&self) -> String {
        let mut bytes = [0; 4096];
        let from = self.errors.metadata().map_or(0, |m| m.len().saturating_sub(bytes.len() as u64));
        let count = self.errors.read_at(&mut bytes, from).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..count]);
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("without a word");
        line.chars().filter(|c| !c.is_control()).take(120).collect()
    }

    /// CPU time of its user space so far, its own system calls included.
    fn cpu(&self) -> Duration {
        let stat =
            i32::try_from(self.child.id()).ok().and_then(|pid| procfs::process::Process::new(pid).ok()?.stat().ok());
        let ticks = stat.map_or(0, |stat| stat.utime + stat.stime);
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
    }

    /// The share of one CPU that it has used itself since it was attached, 0 to 1 a CPU.
    pub fn cpu_share(&self) -> f64 {
        self.cpu().saturating_sub(self.cpu_then).as_secs_f64() / self.since.elapsed().as_secs_f64()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let interrupted = Pid::from_child(&self.child);
        let _ = kill_process(interrupted, Signal::INT);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
