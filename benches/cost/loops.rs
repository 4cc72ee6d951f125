//! The loops whose price is measured: the list, and the process that each of them runs in.
//!
//! A loop's process lives through all measurements of it and is told each time how long to run, so that what is compared
//! has the same memory, the same caches and the same partner. It sits on one CPU, with its partner, and before everything
//! else there (`SCHED_FIFO` where that is allowed): other load hardly touches it. A measurement is the lower quartile of
//! slices of about 0.2 ms, since whatever disturbs a slice (an interrupt, a hypervisor) only ever makes it longer; slices
//! in which the thread was made to leave the CPU do not count at all.
//!
//! Not here: what is attached meanwhile (`attach.rs`, `tool.rs`), what a loop does (`work.rs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::CpuSet;

use crate::stats::lower_quartile;
use crate::work::{self, Work};

/// One loop.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// How the process that runs it is told which.
    pub key: &'static str,
    /// What it does, and what one operation is.
    pub title: &'static str,
    /// Its work, made ready in its process.
    pub start: fn() -> Result<Work>,
    /// How many times as long as a system call's loop it is measured.
    pub longer: u32,
    /// Runs are long and keep all CPUs busy: measured in the full run only, in fewer rounds, without a CPU of its own.
    pub heavy: bool,
    /// It makes processes, which fill the maps when nobody reads them.
    pub makes_processes: bool,
}

/// All of them, in the order of the table.
pub const LOOPS: [Loop; 11] = [
    of("getppid", "`getppid`", || Ok(work::getppid())),
    of("mix", "ten different calls, per call", work::mix),
    of("pipe", "pipe ping-pong", work::pipe),
    of("tcp", "TCP ping-pong", work::tcp),
    of("udp", "UDP ping-pong", work::udp),
    Loop { longer: 3, ..of("flood", "TCP flood, per MiB", work::flood) },
    of("udp-flood", "UDP flood, per datagram of 1 KiB", work::udp_flood),
    Loop { longer: 2, makes_processes: true, ..of("fork", "fork, exit, wait", || Ok(work::fork())) },
    Loop { longer: 2, makes_processes: true, ..of("exec", "`/bin/true`: spawn, exec, wait", || Ok(work::exec())) },
    Loop { longer: 2, makes_processes: true, ..of("find", "`find /`, per entry", || Ok(work::find())) },
    Loop { heavy: true, makes_processes: true, ..of("compile", "a parallel compile, per file", work::compile) },
];

const fn of(key: &'static str, title: &'static str, start: fn() -> Result<Work>) -> Loop {
    Loop { key, title, start, longer: 1, heavy: false, makes_processes: false }
}

/// Shortest slice that the reading of the clock is nothing of.
const SLICE: Duration = Duration::from_micros(200);

/// What one measurement gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Nanoseconds an operation: the lower quartile of the slices.
    pub ns: f64,
    /// Slices it is of.
    pub kept: u32,
    /// Slices in which the thread was made to leave the CPU.
    pub dropped: u32,
    /// Clock ticks that the hypervisor took from the CPU meanwhile.
    pub stolen: u64,
}

/// The process of a loop; ends with this.
pub struct Worker {
    child: Child,
    /// `None` once it is told to end.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

/// A loop that has not answered for so long never will (datagrams can be lost).
const LONGEST: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

impl Worker {
    /// Starts it. The error says why it cannot be measured here.
    pub fn start(l: &Loop) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--loop", l.key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, to, from })
    }

    /// Runs the loop for about `time`.
    pub fn measure(&mut self, time: Duration) -> Result<Cell> {
        writeln!(self.to.as_mut().context("no pipe")?, "{}", time.as_micros())?;
        let answer = &mut [PollFd::new(self.from.get_ref(), PollFlags::IN)];
        if rustix::event::poll(answer, Some(&LONGEST))? == 0 {
            bail!("it does not answer");
        }
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().with_context(|| format!("the loop's process said {line:?}"));
        Ok(Cell { ns: next()?.parse()?, kept: next()?.parse()?, dropped: next()?.parse()?, stolen: next()?.parse()? })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Asked to, it takes its partner and its files with it; one that hangs has to be made to.
        self.to = None;
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(2) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process of a loop does: for each line of microseconds, one measurement.
pub fn serve(key: &str) -> Result<()> {
    let Some(found) = LOOPS.iter().find(|l| l.key == key) else { bail!("there is no loop {key}") };
    let cpu = if found.heavy { None } else { Some(settle_on_one_cpu()?) };
    let mut work = (found.start)()?;
    let batch = if found.heavy { 1 } else { fill_a_slice(&mut work)? };
    for line in std::io::stdin().lines() {
        let cell = run(&mut work, batch, Duration::from_micros(line?.trim().parse()?), cpu)?;
        println!("{} {} {} {}", cell.ns, cell.kept, cell.dropped, cell.stolen);
    }
    Ok(())
}

/// How many operations take a slice. Warms up as it looks for it.
fn fill_a_slice(work: &mut Work) -> Result<u32> {
    let mut batch = 1;
    loop {
        let start = Instant::now();
        (work.run)(batch)?;
        if start.elapsed() >= SLICE {
            return Ok(batch);
        }
        batch *= 2;
    }
}

fn run(work: &mut Work, batch: u32, time: Duration, cpu: Option<usize>) -> Result<Cell> {
    // What was attached a moment ago is not in the caches yet.
    let start = Instant::now();
    while cpu.is_some() && start.elapsed() < time / 5 {
        (work.run)(batch)?;
    }
    let (mut kept, mut disturbed) = (Vec::new(), Vec::new());
    let (stolen, start) = (stolen_ticks(cpu), Instant::now());
    while kept.is_empty() && disturbed.len() < 20 || start.elapsed() < time {
        let before = involuntary_switches();
        let start = Instant::now();
        let operations = (work.run)(batch)?;
        let ns = start.elapsed().as_nanos() as f64 / operations;
        let quiet = cpu.is_none() || involuntary_switches() == before;
        if quiet { kept.push(ns) } else { disturbed.push(ns) }
    }
    let ns = lower_quartile(if kept.is_empty() { &disturbed } else { &kept });
    let count = |slices: &[f64]| u32::try_from(slices.len()).unwrap_or(u32::MAX);
    let stolen = stolen_ticks(cpu).saturating_sub(stolen);
    Ok(Cell { ns, kept: count(&kept), dropped: count(&disturbed), stolen })
}

/// How often this thread was made to leave its CPU.
fn involuntary_switches() -> i64 {
    // SAFETY: a rusage is plain numbers, for which zeros are valid; the kernel fills ours.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_nivcsw
    }
}

/// What the hypervisor gave to others of this CPU, in clock ticks; a loop on all CPUs is too long to be spared.
fn stolen_ticks(cpu: Option<usize>) -> u64 {
    let Some(cpu) = cpu else { return 0 };
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{cpu}");
    let line = text.lines().find(|line| line.split(' ').next() == Some(&name));
    line.and_then(|line| line.split_whitespace().nth(8)?.parse().ok()).unwrap_or(0)
}

/// The last CPU this process may run on: the first one often serves interrupts. Partners inherit it.
fn settle_on_one_cpu() -> Result<usize> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).context("no CPU is allowed")?;
    let mut one = CpuSet::new();
    one.set(last);
    rustix::thread::sched_setaffinity(None, &one)?;
    // SAFETY: the parameter is read during the call only.
    let first = unsafe {
        let parameter = libc::sched_param { sched_priority: 1 };
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter)
    };
    if first != 0 {
        rustix::process::setpriority_process(None, -20)?;
    }
    Ok(last)
}
