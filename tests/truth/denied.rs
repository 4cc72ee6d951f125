//! Calls that the kernel does not carry out: seccomp answers them, or their number is none. Against what the workload got.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{Process, Report, number, report};
use crate::workload::{arg, in_child, reap};

pub const CASES: &[Case] = &[
    ("denied::a_call_that_seccomp_denies_is_an_error", by_filter),
    ("denied::a_call_that_a_supervisor_answers_is_counted", by_supervisor),
    ("denied::of_the_dead_none_is_lost", the_dead),
    ("denied::a_call_without_a_number_is_no_compat_call", no_number),
    ("denied::a_process_without_a_filter_has_none", none),
];

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    Some(match name {
        "denied" => in_child(denied).join(),
        "supervised" => in_child(supervised).join(),
        "denied-brood" => brood(arg(args, 0), arg(args, 1)),
        "no-number" => in_child(|| no_numbers(arg(args, 0))).join(),
        "forks-and-threads" => in_child(forks_and_threads).join(),
        _ => return None,
    })
}

/// Calls that return an error by a filter, that are trapped, and that ask a tracer who is not there.
const DENIED: u64 = 1_000;
const TRAPPED: u64 = 50;
const UNTRACED: u64 = 25;

/// A filter that answers each of these calls with its action, and allows all others. What `seccomp(2)` returns with `flags`.
fn install(rules: &[(libc::c_long, u32)], flags: libc::c_ulong) -> i64 {
    let statement = |code: u32, jt: usize, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: u8::try_from(jt).unwrap(),
        jf: 0,
        k,
    };
    // The number of the call is the first word of what a filter sees.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (at, (call, _)) in rules.iter().enumerate() {
        // Over the rest of the comparisons, the last return, and the actions before its own.
        let over = rules.len() - 1 - at + 1 + at;
        program.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, over, u32::try_from(*call).unwrap()));
    }
    program.push(statement(libc::BPF_RET, 0, libc::SECCOMP_RET_ALLOW));
    program.extend(rules.iter().map(|(_, action)| statement(libc::BPF_RET, 0, *action)));
    let filter = libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: numbers, and a program that outlives the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    }
}

fn errno_of(call: libc::c_long) -> i32 {
    // SAFETY: calls that take nothing.
    if unsafe { libc::syscall(call) } < 0 { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
}

static TRAPS: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_trap(_: libc::c_int) {
    TRAPS.fetch_add(1, Ordering::Relaxed);
}

/// Calls `handler` for a signal, with these flags.
pub fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int), flags: libc::c_int) {
    // SAFETY: zeros are a valid sigaction; the handlers of these trials do what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

fn denied() -> Value {
    handle(libc::SIGSYS, on_trap, 0);
    let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let rules = [
        (libc::SYS_getppid, eperm),
        (libc::SYS_getuid, libc::SECCOMP_RET_TRAP),
        (libc::SYS_geteuid, libc::SECCOMP_RET_TRACE),
    ];
    assert_eq!(install(&rules, 0), 0);
    let denied = (0..DENIED).filter(|_| errno_of(libc::SYS_getppid) == libc::EPERM).count();
    (0..TRAPPED).for_each(|_| assert_eq!(errno_of(libc::SYS_getuid), 0));
    let untraced = (0..UNTRACED).filter(|_| errno_of(libc::SYS_geteuid) == libc::ENOSYS).count();
    json!({ "denied": denied, "trapped": TRAPS.load(Ordering::Relaxed), "untraced": untraced })
}

/// Count, denied and errors of a call.
fn row(process: Process<'_>, call: &str) -> [u64; 3] {
    let Some(row) = process.call(call) else { panic!("no row for {call} in {}", process.0) };
    let counts = ["count", "denied", "errors"].map(|field| number(&row[field]));
    if counts[0] == counts[1] {
        assert!(row["p50_ns"].is_null() && row["max_ns"].is_null() && row["total_ns"] == 0, "a made-up latency: {row}");
    }
    counts
}

/// How often a call of a process failed with an error.
fn errors(report: &Report, pid: u64, call: &str, errno: i32) -> u64 {
    let rows = report.json["errors"].as_array().expect("an array of errors").iter();
    let of = |row: &&Value| row["pid"] == pid && row["call"] == call && row["errno"] == errno;
    rows.filter(of).map(|row| number(&row["count"])).sum()
}

fn by_filter() {
    let report = report(&["denied"]);
    let (facts, pid) = (&report.facts, number(&report.facts["pid"]));
    assert_eq!((&facts["denied"], &facts["trapped"], &facts["untraced"]), (&json!(1_000), &json!(50), &json!(25)));
    let process = report.process(pid);
    assert_eq!(row(process, "getppid"), [DENIED, DENIED, DENIED]);
    // Of a trap the program gets a signal, and no error.
    assert_eq!(row(process, "getuid"), [TRAPPED, TRAPPED, 0]);
    assert_eq!(row(process, "geteuid"), [UNTRACED, UNTRACED, UNTRACED]);
    assert_eq!(errors(&report, pid, "getppid", libc::EPERM), DENIED);
    assert_eq!(errors(&report, pid, "geteuid", libc::ENOSYS), UNTRACED);
    assert_eq!((report.json["quality"]["syscalls"].as_str(), process.call("compat")), (Some("exact"), None));
}

/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND` of include/uapi/linux/seccomp.h.
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;

/// A thread of its own, which has no filter, answers the calls: every other one with an error.
fn supervised() -> Value {
    let (sender, receiver) = channel();
    let supervisor = std::thread::spawn(move || (0..20).for_each(|turn| answer(receiver_fd(&receiver, turn), turn)));
    let listener = install(&[(libc::SYS_getgid, libc::SECCOMP_RET_USER_NOTIF)], libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    assert!(listener >= 0, "{}", std::io::Error::last_os_error());
    let failed = (0..20)
        .map(|_| {
            sender.send(i32::try_from(listener).unwrap()).unwrap();
            errno_of(libc::SYS_getgid)
        })
        .filter(|errno| *errno == libc::EACCES)
        .count();
    supervisor.join().unwrap();
    json!({ "failed": failed })
}

fn receiver_fd(receiver: &std::sync::mpsc::Receiver<i32>, turn: u64) -> i32 {
    receiver.recv().unwrap_or_else(|_| panic!("no call {turn}"))
}

fn answer(listener: i32, turn: u64) {
    // SAFETY: zeros are valid for both, and the kernel writes no more than their size.
    unsafe {
        let mut asked: libc::seccomp_notif = std::mem::zeroed();
        assert_eq!(libc::ioctl(listener, RECEIVE as _, &raw mut asked), 0, "{}", std::io::Error::last_os_error());
        let error = if turn.is_multiple_of(2) { -libc::EACCES } else { 0 };
        let mut response = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags: 0 };
        assert_eq!(libc::ioctl(listener, SEND as _, &raw mut response), 0, "{}", std::io::Error::last_os_error());
    }
}

fn by_supervisor() {
    let report = report(&["supervised"]);
    let pid = number(&report.facts["pid"]);
    assert_eq!(report.facts["failed"], 10);
    assert_eq!(row(report.process(pid), "getgid"), [20, 20, 10]);
    assert_eq!(errors(&report, pid, "getgid", libc::EACCES), 10);
}

fn the_dead() {
    let report = report(&["denied-brood", "200", "7"]);
    let rows = report.json["errors"].as_array().unwrap().iter().filter(|row| row["errno"] == libc::EPERM);
    let counts: Vec<u64> = rows.map(|row| number(&row["count"])).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (200, 1_400), "{counts:?}");
    let calls =
        |p: &Process<'_>| -> u64 { p.0["syscalls"].as_array().unwrap().iter().map(|row| number(&row["count"])).sum() };
    let brood: Vec<_> = report.all().into_iter().filter(|p| p.call("getppid").is_some()).collect();
    let by_record: u64 = brood.iter().map(calls).sum();
    let groups = report.json["dead"]["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["died"] == 200).expect("a group of 200");
    assert_eq!(number(&group["calls"]), by_record, "calls in all, and by record");
}

/// Children that are denied a call so many times, from their first one on, and end.
fn brood(children: u64, times: u64) -> Value {
    let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    assert_eq!(install(&[(libc::SYS_getppid, eperm)], 0), 0);
    for _ in 0..children {
        // SAFETY: the process has one thread; the child makes plain calls and ends without what its parent registered.
        let pid = unsafe {
            let pid = libc::fork();
            if pid == 0 {
                (0..times).for_each(|_| assert_eq!(libc::syscall(libc::SYS_getppid), -1));
                libc::_exit(0)
            }
            pid
        };
        reap(pid);
    }
    json!({})
}

fn no_number() {
    let report = report(&["no-number", "100"]);
    let pid = number(&report.facts["pid"]);
    let process = report.process(pid);
    assert_eq!(report.facts["failed"], 300);
    assert!(process.call("compat").is_none(), "{}", process.0);
    assert_eq!(row(process, "other"), [300, 0, 300]);
    assert_eq!(errors(&report, pid, "other", libc::ENOSYS), 300);
}

/// -1, the lowest number, and one far above all tables.
fn no_numbers(times: u64) -> Value {
    let calls = (0..times).flat_map(|_| [-1, i64::from(i32::MIN), 100_000]);
    json!({ "failed": calls.filter(|call| errno_of(*call) == libc::ENOSYS).count() })
}

/// What leaves a call that it did not enter (new processes and threads) is not denied.
fn none() {
    let report = report(&["forks-and-threads"]);
    for process in report.all() {
        for row in process.0["syscalls"].as_array().unwrap() {
            assert_eq!(row["denied"], 0, "{} {row}", process.0["comm"]);
        }
    }
}

fn forks_and_threads() -> Value {
    for _ in 0..100 {
        std::thread::spawn(|| errno_of(libc::SYS_getppid)).join().unwrap();
        // SAFETY: the other thread has ended; the child ends at once.
        let pid = unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(0)
            }
            pid
        };
        reap(pid);
        assert!(std::process::Command::new("true").status().unwrap().success());
    }
    json!({})
}
