//! Exemplars: the slowest calls against what the workload passed, got and timed.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{self, Output, Report, Running, TempDir, assert_close, number, report};
use crate::own::descriptors;
use crate::workload::{self, in_child, nanosleep, ns, stay_ahead};

pub const CASES: &[Case] = &[
    ("exemplars::the_slowest_call_is_kept_whole", slowest),
    ("exemplars::a_path_is_what_was_asked_for", path),
    ("exemplars::an_address_is_whom_it_connected_to", address),
    ("exemplars::the_argument_of_a_thread_is_its_own", thread),
    ("exemplars::a_storm_keeps_few", storm),
];

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    match name {
        "slow-read" => slow_read(),
        "open-fifo" => Some(in_child(|| open_fifo(&args[0])).join()),
        "connect" => Some(in_child(connect_to_nobody).join()),
        "slow-thread" => Some(slow_thread()),
        _ => None,
    }
}

const BYTES: usize = 777;

/// Quick reads and a slow one from a pipe. The facts are written before it ends, and it ends when its standard input does: so a
/// descriptor is still open when it is asked what it is.
fn slow_read() -> ! {
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let (pipe, mut writer) = std::io::pipe().unwrap();
    let late = std::thread::spawn(move || {
        assert!(nanosleep(Duration::from_millis(300)));
        writer.write_all(&[1; 5]).unwrap();
        writer
    });
    stay_ahead();
    let mut buffer = [0_u8; BYTES];
    let mut read = |fd: i32, len: usize| {
        let begin = Instant::now();
        // SAFETY: the buffer has `BYTES`, and at most so many are asked for.
        let result = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), len) };
        (ns(begin.elapsed()), result)
    };
    (0..200).for_each(|_| assert_eq!(read(zeros.as_raw_fd(), 16).1, 16));
    let (took, result) = read(pipe.as_raw_fd(), BYTES);
    let _writer = late.join().unwrap();
    let facts = json!({
        "pid": std::process::id(),
        "took_ns": took,
        "result": result,
        "fd": pipe.as_raw_fd(),
        "address": buffer.as_ptr() as u64,
        "file": std::fs::read_link(format!("/proc/self/fd/{}", pipe.as_raw_fd())).unwrap(),
    });
    workload::publish(std::env::var_os("KSCOPE_FACTS").unwrap().as_ref(), &facts);
    let mut end = String::new();
    std::io::stdin().read_line(&mut end).unwrap();
    std::process::exit(0)
}

fn slowest() {
    let (report, _child) = while_it_lives(&["slow-read"]);
    let (row, facts) = (&exemplars(&report, "read", &report.facts["pid"])[0], &report.facts);
    assert_eq!(row["tid"], facts["pid"], "{row}");
    assert_eq!((row["result"].as_i64(), &row["error"]), (Some(5), &Value::Null), "{row}");
    // The workload's clock includes the way into the call and back.
    let (shown, known) = (number(&row["latency_ns"]), number(&facts["took_ns"]));
    assert!(shown <= known, "{row} and {facts}");
    assert_close("latency", shown, known, 0.02, 0);
    assert_close("blocked", number(&row["blocked_ns"]), known, 0.02, 0);
    let args: Vec<u64> = row["args"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(args[..3], [number(&facts["fd"]), number(&facts["address"]), BYTES as u64], "{row}");
    assert_eq!(row["file"], facts["file"], "{row}");
    let shown = format!("fd {} ~{}, 777 B = 5", facts["fd"], facts["file"].as_str().unwrap());
    assert_eq!(row["shown"], shown.as_str(), "{row}");
}

/// The report on the host while the workload runs, which has done its work and lives on.
fn while_it_lives(workload: &[&str]) -> (Report, Alive) {
    let dir = TempDir::new();
    let path = dir.join("facts.json");
    let mut running = Running::start(&["report", "--for", "60s", "--format", "json"]);
    running.wait_until_measuring();
    let mut command = Command::new(kscope::workload_path());
    command.arg("--workload").args(workload).env("KSCOPE_FACTS", &path).stdin(Stdio::piped());
    let mut child = Alive(command.spawn().unwrap());
    while !path.exists() {
        assert!(child.0.try_wait().unwrap().is_none(), "it ended without facts");
        std::thread::sleep(Duration::from_millis(5));
    }
    let output: Output = running.stop();
    (Report::parse(&output, serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()), child)
}

/// A workload that ends when this does.
struct Alive(Child);

impl Drop for Alive {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The rows of a call and process, the slowest first.
fn exemplars<'a>(report: &'a Report, call: &str, pid: &Value) -> Vec<&'a Value> {
    let rows = report.json["exemplars"].as_array().expect("an array of exemplars").iter();
    let rows: Vec<_> = rows.filter(|row| row["call"] == call && row["pid"] == *pid).collect();
    assert!(!rows.is_empty(), "no {call} of {pid}");
    assert!(rows.is_sorted_by_key(|row| std::cmp::Reverse(number(&row["latency_ns"]))), "{rows:?}");
    rows
}

/// Opening a FIFO takes until somebody opens its other end.
fn path() {
    let dir = TempDir::new();
    let path = dir.join("fifo");
    let report = report(&["open-fifo", &path.to_string_lossy()]);
    let row = exemplars(&report, "openat", &report.facts["pid"])[0];
    assert_eq!((row["text"].as_str(), &row["error"]), (path.to_str(), &Value::Null), "{row}");
    assert_eq!(
        (number(&row["args"][2]), &row["result"]),
        (u64::from(libc::O_CLOEXEC.unsigned_abs()), &report.facts["fd"])
    );
    let shown = format!("{}, RDONLY|CLOEXEC = {}", path.display(), report.facts["fd"]);
    assert_eq!(row["shown"], shown.as_str(), "{row}");
    let (shown, known) = (number(&row["latency_ns"]), number(&report.facts["took_ns"]));
    assert!(shown <= known && shown > known / 2, "{row}, itself it saw {known} ns");
}

fn open_fifo(path: &str) -> Value {
    let path = CString::new(path).unwrap();
    let open = |flags: libc::c_int| {
        // SAFETY: the path is a C string.
        let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags | libc::O_CLOEXEC) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        fd
    };
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let other = in_child(|| {
        assert!(nanosleep(Duration::from_millis(110)));
        json!({ "fd": open(libc::O_WRONLY) })
    });
    let begin = Instant::now();
    let fd = open(libc::O_RDONLY);
    let facts = json!({ "fd": fd, "took_ns": ns(begin.elapsed()) });
    other.join();
    facts
}

fn address() {
    let report = report(&["connect"]);
    let row = exemplars(&report, "connect", &report.facts["pid"])[0];
    assert_eq!(row["text"].as_str(), report.facts["address"].as_str(), "{row}");
    assert_eq!(row["error"], "ECONNREFUSED", "{row}");
}

/// To a port that was just closed.
fn connect_to_nobody() -> Value {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    json!({ "address": address.to_string() })
}

fn thread() {
    let report = report(&["slow-thread"]);
    let facts = &report.facts;
    let row = exemplars(&report, "nanosleep", &facts["pid"])[0];
    assert_eq!(row["tid"], facts["tid"], "{row}");
    let inside = 150_000_000..=number(&facts["took_ns"]);
    assert!(inside.contains(&number(&row["latency_ns"])), "{row} is not within {inside:?}");
}

/// One of four threads sleeps longest.
fn slow_thread() -> Value {
    let sleep = |time| {
        let begin = Instant::now();
        assert!(nanosleep(time));
        // SAFETY: no preconditions.
        (unsafe { libc::syscall(libc::SYS_gettid) }, ns(begin.elapsed()))
    };
    std::thread::scope(|s| {
        let short = move || {
            for _ in 0..20 {
                sleep(Duration::from_millis(1));
            }
        };
        (0..3).for_each(|_| drop(s.spawn(short)));
        let (tid, took_ns) = s.spawn(move || sleep(Duration::from_millis(150))).join().unwrap();
        json!({ "pid": std::process::id(), "tid": tid, "took_ns": took_ns })
    })
}

/// A million calls leave at most what the limits allow: 16 of each octave of one call and epoch. None is overwritten before it is
/// read, which would happen to more than the rings hold.
fn storm() {
    let mut running = Running::start(&["report", "--for", "60s", "--format", "json"]);
    running.wait_until_measuring();
    let before = written(running.pid());
    workload::call(libc::SYS_getppid, 1_000_000);
    let after = written(running.pid());
    let report = Report::parse(&running.stop(), Value::Null);
    let made = report.process(std::process::id().into()).count("getppid");
    assert!(made >= 1_000_000, "{made}");
    assert!(exemplars(&report, "getppid", &std::process::id().into()).len() <= 3);
    assert_eq!(number(&report.json["self"]["dropped"]["exemplars"]), 0);
    if let (Some(before), Some(after)) = (before, after) {
        // With all that the others on the host do meanwhile.
        assert!(after - before < 20_000, "{} of {made} and more", after - before);
    }
}

/// How many exemplars the programs of a kscope have written, where bpftool is installed to ask the kernel.
fn written(pid: u32) -> Option<u64> {
    let maps = descriptors(pid, "map_id", "memlock");
    let json = |args: &[&str]| -> Option<Value> {
        serde_json::from_slice(&Command::new("bpftool").arg("-j").args(args).output().ok()?.stdout).ok()
    };
    let id = maps
        .keys()
        .map(u64::to_string)
        .find(|id| json(&["map", "show", "id", id]).is_some_and(|map| map["name"] == "EXEMPLARS_MADE"))?;
    let dump = json(&["map", "dump", "id", &id])?;
    let bytes = |value: &Value| -> BTreeMap<usize, u64> {
        let hex = |byte: &Value| u64::from_str_radix(byte.as_str()?.trim_start_matches("0x"), 16).ok();
        value.as_array().into_iter().flatten().filter_map(hex).enumerate().collect()
    };
    let number = |entry: &Value| bytes(&entry["value"]).into_iter().map(|(at, byte)| byte << (8 * at)).sum::<u64>();
    Some(dump.as_array()?.iter().map(number).sum())
}
