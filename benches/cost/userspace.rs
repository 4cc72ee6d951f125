//! What the programs that people watch cost in user space: kscope's dashboard, and others' where they are installed.
//!
//! Each runs in a terminal of its own (`pty.rs`), one at a time: first it is started a few times, then left alone at one
//! screen a second. CPU time is the process's own, user and system; what its BPF programs take of others is in the other
//! table. Idle processes are made so that there is something to list.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::crowd::{Idle, available_bytes, processes};
use crate::pty::Terminal;
use crate::stats::median;
use crate::tool::installed;

/// Characters that make a first frame, and numbers that make a first screen of data. kscope's screen before its first
/// numbers has seven: the keys of its views and the interval.
const FRAME: usize = 10;
const DATA: usize = 20;
/// How long a program may take to its first data.
const PATIENCE: Duration = Duration::from_secs(15);
/// Memory that 5,000 idle processes need, with as much left, bytes.
const ROOM: u64 = 3 << 30;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Starts of each program.
    pub starts: usize,
    /// How long each is left alone.
    pub rest: Duration,
    /// Also with 5,000 processes.
    pub crowd: bool,
    /// Others' programs too.
    pub peers: bool,
}

/// A program to watch with.
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    /// How it is named in the table.
    pub title: &'static str,
    program: &'static str,
    args: &'static [&'static str],
}

/// kscope.
pub const KSCOPE: &str = "kscope";

/// The first is ours. All draw once a second; btop is told by its configuration.
const WATCHERS: [Watcher; 4] = [
    Watcher { title: KSCOPE, program: env!("CARGO_BIN_EXE_kscope"), args: &[] },
    Watcher { title: "htop", program: "htop", args: &["-d", "10"] },
    Watcher { title: "btop", program: "btop", args: &["--utf-force"] },
    Watcher {
        title: "bpftrace, calls by process",
        program: "bpftrace",
        args: &["-e", "tracepoint:raw_syscalls:sys_enter { @[pid, args->id] = count(); } interval:s:1 { print(@); }"],
    },
];

/// What one of them cost.
pub struct Used {
    /// Who.
    pub title: &'static str,
    /// Processes on the machine meanwhile.
    pub processes: usize,
    /// From exec to the first frame and to the first data, ms: the median.
    pub frame_ms: Option<f64>,
    /// See `frame_ms`.
    pub data_ms: Option<f64>,
    /// CPU time at rest, of all its processes, in percent of one CPU.
    pub cpu_percent: f64,
    /// Resident memory after that, MiB: of those that work for it what is not of a file, which they share.
    pub rss_mib: f64,
    /// The most it ever was in the process itself, MiB.
    pub peak_mib: f64,
}

/// Measures all of them; the second list says who could not be, and why.
pub fn measure(effort: Effort) -> (Vec<Used>, Vec<String>) {
    let (mut used, mut failures) = (Vec::new(), Vec::new());
    let mut sizes = vec![300];
    if effort.crowd && available_bytes() > ROOM {
        sizes.push(5000);
    } else if effort.crowd {
        failures.push("Not measured: 5,000 processes: there is too little memory for them.".into());
    }
    for size in sizes {
        for watcher in WATCHERS.iter().take(if effort.peers { WATCHERS.len() } else { 1 }) {
            if !installed(watcher.program) {
                failures.push(format!("Not measured: {}: it is not installed.", watcher.title));
                continue;
            }
            // Others' processes come and go: they are counted anew each time.
            match Idle::up_to(size).and_then(|_idle| measure_one(watcher, effort)) {
                Ok(one) => used.push(one),
                Err(why) => failures.push(format!("Not measured: {} beside {size} processes: {why:#}.", watcher.title)),
            }
        }
    }
    (used, failures)
}

fn measure_one(watcher: &Watcher, effort: Effort) -> Result<Used> {
    eprintln!("bench: user space of {}, {} processes", watcher.title, processes());
    let home = Home::make()?;
    let (mut frames, mut data) = (Vec::new(), Vec::new());
    for _ in 1..effort.starts {
        let mut terminal = Terminal::start(&mut watcher.command(&home))?;
        frames.extend(terminal.wait(PATIENCE, |screen| screen.painted() >= FRAME)?);
        data.extend(terminal.wait_for_data()?);
    }
    let mut terminal = Terminal::start(&mut watcher.command(&home))?;
    frames.extend(terminal.wait(PATIENCE, |screen| screen.painted() >= FRAME)?);
    if frames.is_empty() {
        bail!("it drew nothing");
    }
    data.extend(terminal.wait_for_data()?);
    // What belongs to the start is over by then.
    terminal.wait(Duration::from_secs(2), |_| false)?;
    terminal.rest(watcher.title, effort.rest, &frames, &data)
}

impl Terminal {
    fn wait_for_data(&mut self) -> Result<Option<Duration>> {
        if self.screen.numbers() >= DATA {
            return Ok(Some(self.since.elapsed()));
        }
        self.wait(PATIENCE, |screen| screen.numbers() >= DATA)
    }

    fn rest(&mut self, title: &'static str, rest: Duration, frames: &[Duration], data: &[Duration]) -> Result<Used> {
        let before = cpu_time_with_kin(self.pid())?;
        let (start, end) = (self.since.elapsed(), self.since.elapsed() + rest);
        while self.since.elapsed() < end {
            let left = end.saturating_sub(self.since.elapsed());
            self.wait(left, |_| false)?;
            if cpu_time(self.pid()).is_err() {
                bail!("it ended by itself");
            }
        }
        let cpu = cpu_time_with_kin(self.pid())?.saturating_sub(before);
        let status = procfs::process::Process::new(self.pid().cast_signed())?.status()?;
        let anonymous = |pid: i32| procfs::process::Process::new(pid).ok()?.status().ok()?.rssanon;
        let of_kin: u64 = kin(self.pid()).into_iter().filter_map(|pid| anonymous(pid.cast_signed())).sum();
        let mib = |kib: Option<u64>| kib.unwrap_or(0) as f64 / 1024.0;
        let ms = |times: &[Duration]| {
            let ms: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
            (!ms.is_empty()).then(|| median(&ms))
        };
        Ok(Used {
            title,
            processes: processes(),
            frame_ms: ms(frames),
            data_ms: ms(data),
            cpu_percent: 100.0 * cpu.as_secs_f64() / self.since.elapsed().saturating_sub(start).as_secs_f64(),
            rss_mib: mib(status.vmrss) + mib(Some(of_kin)),
            peak_mib: mib(status.vmhwm),
        })
    }
}

impl Watcher {
    /// Nobody's own configuration or taste may decide.
    fn command(&self, home: &Home) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.args).env("HOME", &home.0).env("TERM", "xterm-256color").env("LANG", "C.UTF-8");
        command.env_remove("XDG_CONFIG_HOME").env_remove("NO_COLOR").env_remove("COLORTERM");
        command
    }
}

/// The processes that a process has started.
fn kin(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// CPU time of a process so far, with that of those it has started, which stay as long as it does.
fn cpu_time_with_kin(pid: u32) -> Result<Duration> {
    let of_kin: Duration = kin(pid).into_iter().filter_map(|pid| cpu_time(pid).ok()).sum();
    Ok(cpu_time(pid)? + of_kin)
}

/// CPU time of a process so far, user and system, by its own clock.
fn cpu_time(pid: u32) -> Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both are written where they may be.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    if failed {
        bail!("there is no process {pid} any more");
    }
    Ok(Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec)?))
}

/// A directory for what programs keep; goes with this.
struct Home(PathBuf);

impl Home {
    fn make() -> Result<Self> {
        let home = Self(std::env::temp_dir().join(format!("kscope-bench-{}.home", std::process::id())));
        let btop = home.0.join(".config/btop");
        fs::create_dir_all(&btop)?;
        fs::write(btop.join("btop.conf"), "#? Config file for btop v. 1.2.13\nupdate_ms=1000\n")?;
        Ok(home)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is left of it is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
