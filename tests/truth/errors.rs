//! Errors: by process, call and number, against what the workload knows and what strace counts; and what is said of them.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{self, Report, Running, TempDir, number, report};
use crate::workload::{self, arg, in_child, reap};

pub const CASES: &[Case] = &[
    ("errors::each_is_counted_by_its_number", by_number),
    ("errors::of_the_dead_none_is_lost", the_dead),
    ("errors::a_loop_of_eagain_is_said", eagain_loop),
    ("errors::a_search_and_a_storm_of_yields_are_said", search_and_yields),
    ("errors::who_never_fails_has_none", none),
];

/// That one compares with strace.
pub const STRACE_CASES: &[Case] = &[("errors::strace_counts_the_same", as_strace_counts)];

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    Some(match name {
        "failures" => in_child(failures).join(),
        "failing-brood" => brood(arg(args, 0)),
        "eagain" => in_child(|| read_nothing(arg(args, 0), arg(args, 1))).join(),
        "search-and-yield" => in_child(|| search_and_yield(arg(args, 0))).join(),
        "successes" => in_child(|| succeed(arg(args, 0))).join(),
        _ => return None,
    })
}

/// What the child does: so many calls, each of which ends with this error.
const FAILURES: [(&str, i32, u64); 5] = [
    ("openat", libc::ENOENT, 1_000),
    ("openat", libc::EISDIR, 500),
    ("openat", libc::ENOTDIR, 250),
    ("close", libc::EBADF, 125),
    ("read", libc::EAGAIN, 60),
];

fn failures() -> Value {
    let (pipe, _writer) = non_blocking_pipe();
    for (call, errno, times) in FAILURES {
        for _ in 0..times {
            let result = match errno {
                libc::ENOENT => open(c"/kscope/is/not/here", libc::O_RDONLY),
                libc::EISDIR => open(c"/", libc::O_WRONLY),
                libc::ENOTDIR => open(c"/dev/null/x", libc::O_RDONLY),
                libc::EBADF => {
                    // SAFETY: there is no such descriptor.
                    i64::from(unsafe { libc::close(-1) })
                }
                _ => read_byte(pipe.as_raw_fd()),
            };
            assert_eq!((result, std::io::Error::last_os_error().raw_os_error()), (-1, Some(errno)), "{call}");
        }
    }
    json!({})
}

fn open(path: &CStr, flags: libc::c_int) -> i64 {
    // SAFETY: the path is a C string.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) }
}

fn read_byte(fd: i32) -> i64 {
    let mut byte = [0_u8];
    // SAFETY: a buffer of one byte, and one byte asked for.
    unsafe { libc::read(fd, byte.as_mut_ptr().cast(), 1) as i64 }
}

fn non_blocking_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
    (reader, writer)
}

/// The errors of a process, by call and number.
fn errors_of(report: &Report, pid: u64) -> BTreeMap<(String, u64), u64> {
    let rows = report.json["errors"].as_array().expect("an array of errors").iter();
    rows.filter(|row| row["pid"] == pid)
        .map(|row| ((row["call"].as_str().unwrap().to_owned(), number(&row["errno"])), number(&row["count"])))
        .collect()
}

fn by_number() {
    let report = report(&["failures"]);
    let pid = number(&report.facts["pid"]);
    let known = FAILURES.map(|(call, errno, times)| ((call.to_owned(), u64::from(errno.unsigned_abs())), times));
    assert_eq!(errors_of(&report, pid), BTreeMap::from(known));
    assert_eq!(report.json["quality"]["errors"], "exact");
    // What is counted by number is what is counted as errors of the call.
    for call in ["openat", "close", "read"] {
        let sum: u64 = FAILURES.iter().filter(|(of, ..)| *of == call).map(|(.., times)| times).sum();
        assert_eq!(number(&report.process(pid).call(call).expect("a row")["errors"]), sum, "{call}");
    }
    let row = report.json["errors"].as_array().unwrap().iter().find(|row| row["pid"] == pid).unwrap();
    assert_eq!((row["name"].as_str(), row["count"].as_u64()), (Some("ENOENT"), Some(1_000)), "the most often first");
}

/// One run under both: what strace counts of the programs it runs is what kscope counts of the same processes. strace sees
/// restarted calls as errors, too, and this workload has none.
fn as_strace_counts() {
    let dir = TempDir::new();
    let table = dir.join("strace");
    let mut command = vec!["report", "--format", "json", "--", "strace", "-f", "-c", "-U", "name,errors", "-o"];
    let (path, itself) = (table.to_string_lossy().into_owned(), kscope::workload_path().to_string_lossy().into_owned());
    command.extend([path.as_str(), itself.as_str(), "--workload", "failures"]);
    let output = Running::start(&command).finish();
    assert!(output.status.success(), "{}", output.stderr);
    let report = Report::parse(&output, Value::Null);
    let strace: Vec<u64> =
        report.all().iter().filter(|p| p.0["comm"] == "strace").map(|p| number(&p.0["pid"])).collect();
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for row in report.json["errors"].as_array().unwrap().iter().filter(|row| !strace.contains(&number(&row["pid"]))) {
        *counted.entry(row["call"].as_str().unwrap().to_owned()).or_default() += number(&row["count"]);
    }
    let known = strace_table(&table);
    assert!(known["openat"] >= 1_750, "{known:?}");
    assert_eq!(counted, known);
}

/// The errors by call of `strace -c`: its rows have a name and, where there were any, a number.
fn strace_table(path: &Path) -> BTreeMap<String, u64> {
    let mut text = String::new();
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (call, errors) = (fields.next()?, fields.next()?.parse().ok()?);
        (call != "total").then(|| (call.to_owned(), errors))
    };
    text.lines().filter_map(row).collect()
}

fn the_dead() {
    let report = report(&["failing-brood", "600"]);
    let rows = report.json["errors"].as_array().unwrap().iter().filter(|row| row["errno"] == libc::ENOTDIR);
    let counts: Vec<u64> = rows.map(|row| number(&row["count"])).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (600, 1_800), "{counts:?}");
}

/// Children that fail three times each and end, 20 at a time.
fn brood(children: u64) -> Value {
    let mut left = children;
    while left > 0 {
        let batch: Vec<i32> = (0..left.min(20)).map(|_| fail_and_end()).collect();
        left -= batch.len() as u64;
        for pid in batch {
            reap(pid);
        }
    }
    json!({})
}

fn fail_and_end() -> i32 {
    // SAFETY: the process has one thread; the child makes plain calls and ends at once, without what its parent registered.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            for _ in 0..3 {
                open(c"/dev/null/x", libc::O_RDONLY);
            }
            libc::_exit(0)
        }
        assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
        pid
    }
}

/// The sentences about a process, by their kind.
fn said(report: &Report, pid: u64) -> BTreeMap<String, String> {
    let rows = report.json["spins"].as_array().expect("an array").iter().filter(|row| row["pid"] == pid);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|row| (text(&row["kind"]), text(&row["sentence"]))).collect()
}

/// Two of three reads find nothing.
fn eagain_loop() {
    let report = report(&["eagain", "200000", "100000"]);
    let pid = number(&report.facts["pid"]);
    assert_eq!(errors_of(&report, pid), BTreeMap::from([(("read".into(), 11), 200_000)]));
    let said = said(&report, pid);
    assert_eq!(said.keys().collect::<Vec<_>>(), ["eagain_loop"]);
    let sentence = &said["eagain_loop"];
    assert!(sentence.contains("read returns EAGAIN") && sentence.contains("67 % of its calls"), "{sentence}");
}

/// So many reads of nothing, and so many that read a byte.
fn read_nothing(empty: u64, full: u64) -> Value {
    let (pipe, _writer) = non_blocking_pipe();
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    (0..empty).for_each(|_| assert_eq!(read_byte(pipe.as_raw_fd()), -1));
    (0..full).for_each(|_| assert_eq!(read_byte(zeros.as_raw_fd()), 1));
    json!({})
}

fn search_and_yields() {
    let report = report(&["search-and-yield", "100000"]);
    let said = said(&report, number(&report.facts["pid"]));
    assert_eq!(said.keys().collect::<Vec<_>>(), ["enoent_search", "yield_storm"], "{said:?}");
    assert!(said["enoent_search"].contains("most with openat"), "{said:?}");
}

fn search_and_yield(times: u64) -> Value {
    (0..times).for_each(|_| assert_eq!(open(c"/kscope/is/not/here", libc::O_RDONLY), -1));
    workload::call(libc::SYS_sched_yield, times);
    json!({})
}

fn none() {
    let report = report(&["successes", "10000"]);
    let pid = number(&report.facts["pid"]);
    assert_eq!(report.process(pid).count("read"), 10_000);
    assert!(errors_of(&report, pid).is_empty() && said(&report, pid).is_empty(), "{}", report.json["errors"]);
}

fn succeed(times: u64) -> Value {
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    (0..times).for_each(|_| assert_eq!(read_byte(zeros.as_raw_fd()), 1));
    json!({})
}
