//! Who is who: short lives, many lives, pids used twice, names that change, and calls that do not return.

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{self, Report, Running, TempDir, number, report};
use crate::workload::{self, arg, in_child, in_child_of, nanosleep, ns, reap};

pub const CASES: &[Case] = &[
    ("process::one_that_lives_50_ms_is_there", short_life),
    ("process::of_a_thousand_short_lives_none_is_lost", brood),
    ("process::a_reused_pid_does_not_inherit", reused_pid),
    ("process::exec_keeps_the_pid_and_shows_the_new_name", exec),
    ("process::a_call_that_does_not_return_is_stuck", stuck),
];

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    Some(match name {
        "short" => in_child(|| live_shortly(&args[0])).join(),
        "brood" => raise(arg(args, 0), arg(args, 1)),
        "reuse" => use_twice(),
        "rename" => rename(&args[0]),
        "getuid" => {
            workload::call(libc::SYS_getuid, arg(args, 0));
            json!({})
        }
        "block" => block_in_read(&args[0]),
        _ => return None,
    })
}

fn short_life() {
    let report = report(&["short", "mayfly"]);
    let process = report.process(number(&report.facts["pid"]));
    assert_eq!((process.0["comm"].as_str(), process.count("getppid")), (Some("mayfly"), 123));
}

fn live_shortly(comm: &str) -> Value {
    let comm = CString::new(comm).unwrap();
    // SAFETY: the name is a C string, of which the kernel takes the first 15 bytes.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) }, 0);
    workload::call(libc::SYS_getppid, 123);
    assert!(nanosleep(Duration::from_millis(50)));
    json!({})
}

fn brood() {
    let report = report(&["brood", "1000", "10"]);
    let counts: Vec<u64> = report.all().iter().map(|p| p.count("getppid")).filter(|n| *n > 0).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (1_000, 10_000), "{counts:?}");
    assert!(counts.iter().all(|n| *n == 10), "{counts:?}");
}

/// Children of 20 at a time, so that lives overlap and pids are not simply consecutive in death.
fn raise(children: u64, calls: u64) -> Value {
    let mut left = children;
    while left > 0 {
        let batch: Vec<i32> = (0..left.min(20)).map(|_| fork_caller(libc::SYS_getppid, calls)).collect();
        left -= batch.len() as u64;
        for pid in batch {
            reap(pid);
        }
    }
    json!({})
}

/// A child that makes these calls and ends.
fn fork_caller(number: libc::c_long, times: u64) -> i32 {
    // SAFETY: the process has one thread; the child makes plain calls and ends at once.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        workload::call(number, times);
        // SAFETY: ends the child without what its parent registered for its end.
        unsafe { libc::_exit(0) }
    }
    assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
    pid
}

fn reused_pid() {
    let report = report(&["reuse"]);
    let rows = report.processes(number(&report.facts["pid"]));
    let mut counts: Vec<(u64, u64)> = rows.iter().map(|p| (p.count("getppid"), p.count("getuid"))).collect();
    counts.sort_unstable();
    assert_eq!(counts, [(0, 70), (5_000, 0)], "(getppid, getuid) of the rows for that pid");
}

fn use_twice() -> Value {
    let first = fork_caller(libc::SYS_getppid, 5_000);
    reap(first);
    let second = in_child_of(
        || {
            workload::call(libc::SYS_getuid, 70);
            json!({})
        },
        || fork_as(first),
    );
    assert_eq!(second.pid, first);
    second.join()
}

/// Forks a child that gets this pid, which must be free.
pub fn fork_as(pid: i32) -> i32 {
    let wanted = [pid];
    // SAFETY: zeros are valid clone arguments: a plain fork without shared memory, so the child has a stack of its own.
    // The array of wanted pids outlives the call.
    let child = unsafe {
        let mut clone: libc::clone_args = std::mem::zeroed();
        clone.exit_signal = libc::SIGCHLD.unsigned_abs().into();
        clone.set_tid = wanted.as_ptr() as u64;
        clone.set_tid_size = 1;
        libc::syscall(libc::SYS_clone3, &raw const clone, size_of_val(&clone))
    };
    if child >= 0 {
        return i32::try_from(child).unwrap();
    }
    // Before Linux 5.5, or where the call is forbidden: aim at it until nobody else is faster.
    for _ in 0..1_000 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        // SAFETY: the process has one thread, so the child may go on as its parent would.
        match unsafe { libc::fork() } {
            // SAFETY: asks for its own pid.
            0 if unsafe { libc::syscall(libc::SYS_getpid) } == i64::from(pid) => return 0,
            // SAFETY: ends the child that got another pid.
            0 => unsafe { libc::_exit(0) },
            child if child == pid => return child,
            child => drop(reap(child)),
        }
    }
    panic!("pid {pid} was not to be had");
}

fn exec() {
    let report = report(&["rename", "chrysalis"]);
    let process = report.process(number(&report.facts["pid"]));
    assert_eq!(process.0["comm"], "chrysalis");
    assert_eq!((process.count("getppid"), process.count("getuid")), (11, 13));
}

/// A child that calls, becomes another program of this name, and calls again.
fn rename(comm: &str) -> Value {
    let dir = TempDir::new();
    let path = dir.join(comm);
    std::os::unix::fs::symlink(kscope::workload_path(), &path).unwrap();
    in_child(|| {
        workload::call(libc::SYS_getppid, 11);
        let mut command = Command::new(&path);
        let error =
            command.args(["--workload", "getuid", "13"]).env_remove("KSCOPE_FACTS").stderr(Stdio::null()).exec();
        panic!("exec: {error}")
    })
    .join()
}

/// The call begins while kscope measures: of one that began before, nobody knows when.
fn stuck() {
    let dir = TempDir::new();
    let fifo = dir.join("fifo");
    let mut command = Command::new(kscope::workload_path());
    command.args(["--workload", "block"]).arg(&fifo).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut blocked = command.spawn().unwrap();
    let pid = blocked.id().to_string();
    let mut said = BufReader::new(blocked.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();

    let mut running = Running::start(&["report", "--for", "5s", "--format", "json", "--pid", &pid]);
    let spawned = running.spawned;
    running.wait_until_measuring();
    let told = Instant::now();
    blocked.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    said.read_line(&mut String::new()).unwrap();
    wait_until_in_read(&pid);
    let entered = Instant::now();
    let output = running.finish();
    let ended = Instant::now();
    std::fs::write(&fifo, "x").unwrap();
    assert!(blocked.wait().unwrap().success());

    let report = Report::parse(&output, Value::Null);
    let stuck = report.json["stuck"].as_array().expect("an array of stuck calls");
    let row = stuck.iter().find(|s| s["pid"] == u64::from(blocked.id())).expect("the blocked process among the stuck");
    assert_eq!((row["syscall"].as_str(), number(&row["tid"])), (Some("read"), u64::from(blocked.id())), "{row}");
    // It was inside at the latest when seen there, and the interval began at the earliest with the program.
    let least = number(&report.json["interval_ns"]).saturating_sub(ns(entered - spawned));
    let most = ns(ended - told);
    let age = number(&row["age_ns"]);
    assert!((least..=most).contains(&age), "age {age} ns, which must be within {least}..={most}");
    assert!(least > 1_000_000_000, "a trial that proves little: {least}");
    assert!(stuck.iter().all(|s| s["pid"] == u64::from(blocked.id())), "others pass the filter: {stuck:?}");
}

/// Waits until the kernel says that the process sleeps in `read`.
fn wait_until_in_read(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let read = format!("{} ", libc::SYS_read);
    while !std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap().starts_with(&read) {
        assert!(Instant::now() < deadline, "it does not begin to read");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Says that it is there, waits to be told, says that it was, and reads from a FIFO until somebody writes.
fn block_in_read(path: &str) -> Value {
    let name = CString::new(path).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    // With both ends open, neither open nor read ends before something is written.
    let mut fifo = std::fs::File::options().read(true).write(true).open(path).unwrap();
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    println!("reading");
    fifo.read_exact(&mut [0]).unwrap();
    json!({})
}
