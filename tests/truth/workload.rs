//! The other side: this executable as a process that does something it can count. Dispatch, and what workloads share.
//!
//! Invariant: facts are measured by the workload itself, with other means than kscope's, and written to the file named
//! by `KSCOPE_FACTS` after everything measured is over. What must be counted exactly is done by a forked child: a child
//! makes no calls of a loader or a start-up.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::accounts;
use crate::blame;
use crate::causes;
use crate::command;
use crate::connections;
use crate::dashboard;
use crate::denied;
use crate::disk;
use crate::doctor;
use crate::errors;
use crate::exemplars;
use crate::filters;
use crate::interrupted;
use crate::interval;
use crate::launched;
use crate::lives;
use crate::network;
use crate::ordinary;
use crate::page;
use crate::process;
use crate::runqueue;
use crate::storms;
use crate::stuck;
use crate::syscalls;
use crate::time;
use crate::unprivileged;
use crate::verdicts;

/// Runs the workload `args[0]` with the rest as its arguments.
pub fn main(args: &[String]) -> ExitCode {
    let Some((name, args)) = args.split_first() else { return ExitCode::from(2) };
    let groups = [
        syscalls::workload,
        runqueue::workload,
        network::workload,
        connections::workload,
        time::workload,
        doctor::workload,
        ordinary::workload,
        unprivileged::workload,
        causes::workload,
        page::workload,
        process::workload,
        errors::workload,
        denied::workload,
        interrupted::workload,
        exemplars::workload,
        lives::workload,
        dashboard::workload,
        disk::workload,
        command::workload,
        filters::workload,
        launched::workload,
        stuck::workload,
        verdicts::workload,
        blame::workload,
        storms::workload,
        interval::workload,
        accounts::workload,
    ];
    let Some(facts) = groups.iter().find_map(|group| group(name, args)) else {
        eprintln!("no workload {name}");
        return ExitCode::from(2);
    };
    match std::env::var_os("KSCOPE_FACTS") {
        Some(path) => publish(path.as_ref(), &facts),
        None => eprintln!("{facts}"),
    }
    ExitCode::SUCCESS
}

/// Writes facts so that a reader finds all or nothing.
pub fn publish(path: &std::path::Path, facts: &Value) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, format!("{facts}\n")).unwrap();
    std::fs::rename(draft, path).unwrap();
}

/// The argument at `at` as a number.
pub fn arg(args: &[String], at: usize) -> u64 {
    args.get(at).and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("argument {at} of {args:?} is no number"))
}

/// A system call without arguments, past any cache or vDSO.
pub fn call(number: libc::c_long, times: u64) {
    for _ in 0..times {
        // SAFETY: used for getppid and getuid, which take nothing and cannot fail.
        unsafe { libc::syscall(number) };
    }
}

/// Busy in user mode. The clock is read through the vDSO and seldom.
pub fn spin(time: Duration) {
    let end = Instant::now() + time;
    let mut word = 1_u64;
    while Instant::now() < end {
        for _ in 0..2_000 {
            word = std::hint::black_box(word.wrapping_mul(6_364_136_223_846_793_005).rotate_left(7));
        }
    }
}

/// One `nanosleep`, as such: the C library's own sleeps are `clock_nanosleep`. False when a signal cut it short.
pub fn nanosleep(time: Duration) -> bool {
    let request = timespec(time);
    // SAFETY: the request outlives the call; no remainder is asked for.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const request, std::ptr::null_mut::<libc::timespec>()) == 0 }
}

pub fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

pub fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

/// What the scheduler itself counts for a task, since it was created.
#[derive(Clone, Copy, Default)]
pub struct Schedstat {
    pub on_cpu_ns: u64,
    pub run_delay_ns: u64,
    pub timeslices: u64,
}

impl Schedstat {
    /// Of the calling thread.
    pub fn of_this_thread() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/thread-self/schedstat").unwrap())
    }

    /// Of the text of a `schedstat`.
    pub fn parse(text: &str) -> Self {
        let fields: Vec<u64> = text.split_whitespace().map(|f| f.parse().unwrap()).collect();
        Self { on_cpu_ns: fields[0], run_delay_ns: fields[1], timeslices: fields[2] }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            on_cpu_ns: self.on_cpu_ns + other.on_cpu_ns,
            run_delay_ns: self.run_delay_ns + other.run_delay_ns,
            timeslices: self.timeslices + other.timeslices,
        }
    }
}

/// What a hypervisor takes of the CPUs, as `/proc/stat` counts it.
pub struct Steal(u64);

impl Steal {
    /// From now on.
    pub fn begin() -> Self {
        Self(Self::ticks())
    }

    /// Up to now, at most: the kernel counts whole ticks on each CPU.
    pub fn ns(&self) -> u64 {
        let ticks = Self::ticks().saturating_sub(self.0);
        let cpus = u64::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
        if ticks == 0 { 0 } else { (ticks + cpus) * 10_000_000 }
    }

    /// The eighth number of the first line, in hundredths of a second.
    fn ticks() -> u64 {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        text.lines().next().and_then(|line| line.split_whitespace().nth(8)?.parse().ok()).unwrap_or(0)
    }
}

/// Keeps the calling thread, and what it starts from now on, on the last CPU it may use.
pub fn pin() {
    // SAFETY: cpu_set_t is a bit set, for which zeros are the empty set; both calls get its true size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of_val(&set);
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut set), 0);
        let last = (0..libc::CPU_SETSIZE as usize).rev().find(|cpu| libc::CPU_ISSET(*cpu, &set)).unwrap();
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(last, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const set), 0);
    }
}

/// Lets nothing ordinary run in place of the calling thread, where that is allowed: what it times around a call is then the
/// call, also on a busy machine.
pub fn stay_ahead() {
    // Without the privilege it fails and changes nothing.
    schedule(0, libc::SCHED_FIFO, 1);
}

/// Gives a process (0: the calling thread) another scheduling policy. True when that was done. Past the C library: musl's own
/// function only fails.
pub fn schedule(pid: i32, policy: i32, priority: i32) -> bool {
    // SAFETY: the kernel's parameters are the priority alone, which outlives the call.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, pid, policy, &raw const priority) == 0 }
}

/// A forked child that hands back facts when it ends.
pub struct Child {
    pub pid: i32,
    facts: PipeReader,
}

/// Runs `work` in a child. Only for single-threaded workloads: a fork copies no other thread.
pub fn in_child(work: impl FnOnce() -> Value) -> Child {
    in_child_of(work, || {
        // SAFETY: the process has one thread, so the child may go on as its parent would.
        unsafe { libc::fork() }
    })
}

/// [`in_child`] with another way to fork.
pub fn in_child_of(work: impl FnOnce() -> Value, fork: impl FnOnce() -> i32) -> Child {
    let (facts, writer) = std::io::pipe().unwrap();
    match fork() {
        0 => {
            drop(facts);
            end_with(work, writer)
        }
        pid => {
            assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
            Child { pid, facts }
        }
    }
}

fn end_with(work: impl FnOnce() -> Value, mut writer: PipeWriter) -> ! {
    let report = || writer.write_all(work().to_string().as_bytes()).unwrap();
    let status = i32::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(report)).is_err());
    // SAFETY: ends this process without running what its parent has registered for its own end.
    unsafe { libc::_exit(status) }
}

impl Child {
    /// Waits for its end. Its facts get its `pid`, `rusage_ns`, the CPU time the kernel charged to its whole life, and
    /// `main_on_cpu_ns`, what schedstat says of its first thread when that has ended: of a thread that runs it lags by a tick.
    pub fn join(mut self) -> Value {
        let mut text = String::new();
        self.facts.read_to_string(&mut text).unwrap();
        let main = at_end(self.pid);
        let rusage = reap(self.pid);
        let mut facts: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
        facts["pid"] = self.pid.into();
        facts["rusage_ns"] = rusage.into();
        facts["main_on_cpu_ns"] = main.on_cpu_ns.into();
        facts
    }
}

/// The schedstat of a child's first thread when it has ended, which it is waited for here without being reaped.
fn at_end(pid: i32) -> Schedstat {
    // SAFETY: the result is written to a live variable of the right type, of which zeros are a valid value.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let id = libc::id_t::try_from(pid).unwrap();
        assert_eq!(libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOWAIT), 0);
    }
    Schedstat::parse(&std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap())
}

/// Waits for a child to end well and gives its CPU time in ns.
pub fn reap(pid: i32) -> u64 {
    let mut status = 0;
    // SAFETY: both results are written to live variables of the right types; zeros are a valid rusage.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(pid, &raw mut status, 0, &raw mut usage), pid);
        usage
    };
    assert_eq!(status, 0, "wait status of child {pid}");
    let part = |t: libc::timeval| (t.tv_sec * 1_000_000 + t.tv_usec).unsigned_abs() * 1_000;
    part(usage.ru_utime) + part(usage.ru_stime)
}
