//! Programs that others run beside the loops: kscope's own report, and the peers.
//!
//! Invariant: what a tool attaches is attached as long as its [`Running`] lives.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::watch::{Programs, tracing_programs};

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

/// Whether a program lies on the path, or where it says.
pub fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Mounts tracefs where there is none, for this process and those it starts: it goes with them.
///
/// Some tools look for it below debugfs only, which brings its own.
pub fn mount_tracefs() -> io::Result<()> {
    if Path::new("/sys/kernel/tracing/events").exists() && Path::new("/sys/kernel/debug/tracing/events").exists() {
        return Ok(());
    }
    // SAFETY: it has no preconditions.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE)?;
    mount(c"tracefs", c"/sys/kernel/tracing", c"tracefs", 0)?;
    mount(c"debugfs", c"/sys/kernel/debug", c"debugfs", 0)
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the strings end with a zero and are read during the call; no data is given.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A tool that runs until this is dropped.
pub struct Running {
    child: Child,
    errors: File,
    since: Instant,
    cpu_then: Duration,
}

impl Running {
    /// Starts it, and returns once it has attached what it will. The error says why it has not.
    pub fn start(tool: Tool) -> Result<Self> {
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
