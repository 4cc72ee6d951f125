//! Calls that a signal interrupts: those that end with EINTR, and those that the kernel makes again. Against what the
//! workload got, and what the scheduler says of it.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Case;
use crate::denied::handle;
use crate::kscope::{Report, number, report};
use crate::workload::{Schedstat, in_child, nanosleep, ns, timespec};

pub const CASES: &[Case] = &[
    ("interrupted::a_call_that_a_handler_ends_fails_with_eintr", by_handler),
    ("interrupted::a_call_that_was_stopped_is_one_call", by_stop),
];

pub fn workload(name: &str, _: &[String]) -> Option<Value> {
    Some(match name {
        "eintr" => in_child(eintr).join(),
        "stopped" => stopped(),
        _ => return None,
    })
}

/// How often each call is interrupted.
const TIMES: u64 = 10;

extern "C" fn nothing(_: libc::c_int) {}

/// What a call does before a signal comes: wait without end.
type Wait = fn(i32) -> bool;

/// By the error that the kernel has inside: -ERESTARTSYS (`readv`), -ERESTARTNOHAND (`pause`, `ppoll`), `-ERESTART_RESTARTBLOCK`
/// (`nanosleep`, `poll` by another name), and -EINTR itself (`epoll_pwait`).
const WAITS: [(&str, Wait); 5] = [
    ("readv", |pipe| {
        let mut byte = [0_u8];
        let buffer = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
        // SAFETY: a buffer of one byte.
        unsafe { libc::readv(pipe, &raw const buffer, 1) < 0 }
    }),
    ("ppoll", |pipe| {
        let mut of = libc::pollfd { fd: pipe, events: libc::POLLIN, revents: 0 };
        let none = std::ptr::null::<u8>();
        // SAFETY: one descriptor; no limit and no mask.
        unsafe { libc::syscall(libc::SYS_ppoll, &raw mut of, 1, none, none, 8) < 0 }
    }),
    ("nanosleep", |_| !nanosleep(Duration::from_hours(1))),
    ("clock_nanosleep", |_| {
        let request = timespec(Duration::from_hours(1));
        let none = std::ptr::null::<u8>();
        // SAFETY: the request outlives the call.
        unsafe { libc::syscall(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, 0, &raw const request, none) < 0 }
    }),
    ("epoll_pwait", |_| {
        // SAFETY: an epoll of nothing, and room for one event.
        unsafe {
            let (epoll, mut event) = (libc::epoll_create1(0), libc::epoll_event { events: 0, u64: 0 });
            let failed = libc::epoll_pwait(epoll, &raw mut event, 1, -1, std::ptr::null()) < 0;
            libc::close(epoll);
            failed
        }
    }),
];

fn every(time: Duration) {
    let each = libc::timeval { tv_sec: 0, tv_usec: time.subsec_micros().into() };
    let timer = libc::itimerval { it_interval: each, it_value: each };
    // SAFETY: the request outlives the call; the old timer is not asked for.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);
}

/// How long `work` took, and the part of it in which the thread ran or waited for a CPU, ns.
fn timed(work: impl FnOnce()) -> (u64, u64) {
    let (from, before) = (Instant::now(), Schedstat::of_this_thread());
    work();
    let (elapsed, after) = (ns(from.elapsed()), Schedstat::of_this_thread());
    let other = (after.on_cpu_ns - before.on_cpu_ns).saturating_add(after.run_delay_ns - before.run_delay_ns);
    (elapsed, other)
}

/// A timer goes on and on: a signal that comes before the call is no loss.
fn eintr() -> Value {
    let (pipe, _writer) = std::io::pipe().unwrap();
    handle(libc::SIGALRM, nothing, 0);
    every(Duration::from_millis(20));
    let mut facts = json!({});
    for (name, wait) in WAITS {
        let mut failed = 0;
        let (elapsed, other) = timed(|| {
            for _ in 0..TIMES {
                assert!(wait(pipe.as_raw_fd()), "{name} went on");
                failed += u64::from(std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR));
            }
        });
        facts[name] = json!({ "failed": failed, "elapsed_ns": elapsed, "other_ns": other });
    }
    every(Duration::ZERO);
    facts
}

fn by_handler() {
    let report = report(&["eintr"]);
    let pid = number(&report.facts["pid"]);
    for (name, _) in WAITS {
        let row = report.process(pid).call(name).unwrap_or_else(|| panic!("no row for {name}"));
        let facts = &report.facts[name];
        assert_eq!(facts["failed"], TIMES);
        assert_eq!((number(&row["count"]), number(&row["errors"])), (TIMES, TIMES), "{row}");
        let errors = report.json["errors"].as_array().unwrap().iter();
        let eintr: u64 = errors
            .filter(|e| e["pid"] == pid && e["call"] == name && e["errno"] == libc::EINTR)
            .map(|e| number(&e["count"]))
            .sum();
        assert_eq!((eintr, number(&row["interrupted"])), (TIMES, 0), "{row}");
        assert_inside(row, facts);
    }
    assert_eq!(report.json["quality"]["syscalls"], "exact");
    no_restart_call(&report, pid);
}

/// The calls of a row took no longer than what was timed around them, and all of that in which the thread did not run.
///
/// Interrupts that come while the thread runs or waits for its CPU are in neither account of schedstat. Of runs after a
/// wake-up they are 4 to 5 % (`accounts.rs`).
fn assert_inside(row: &Value, facts: &Value) {
    let (elapsed, other) = (number(&facts["elapsed_ns"]), number(&facts["other_ns"]));
    let (total, blocked) = (number(&row["total_ns"]), number(&row["blocked_ns"]));
    assert!(blocked <= total && total <= elapsed, "{row}, {facts}");
    assert!(total >= elapsed.saturating_sub(other + other / 10), "{row}, {facts}");
}

fn no_restart_call(report: &Report, pid: u64) {
    let process = report.process(pid);
    assert!(process.call("restart_syscall").is_none(), "{:?}", process.call("restart_syscall"));
}

/// The calls that are stopped, in their order, and how often. The kernel goes on with a stopped `nanosleep` by another call, and
/// makes the others again.
const STOPPED: [(&str, libc::c_long, usize); 3] =
    [("nanosleep", libc::SYS_nanosleep, 2), ("ppoll", libc::SYS_ppoll, 1), ("readv", libc::SYS_readv, 2)];

/// `restart_syscall` of x86-64 and of ARM.
const RESTART: libc::c_long = libc::SYS_restart_syscall;

fn stopped() -> Value {
    let (pipe, mut writer) = std::io::pipe().unwrap();
    let child = in_child(|| {
        let slept = timed(|| assert!(nanosleep(Duration::from_millis(900))));
        let polled = timed(|| {
            let mut of = libc::pollfd { fd: -1, events: 0, revents: 0 };
            let (limit, none) = (timespec(Duration::from_millis(900)), std::ptr::null::<u8>());
            // SAFETY: one descriptor that is none, a limit, and no mask.
            let found = unsafe { libc::syscall(libc::SYS_ppoll, &raw mut of, 1, &raw const limit, none, 8) };
            assert_eq!(found, 0);
        });
        let read = timed(|| {
            let mut byte = [0_u8];
            let buffer = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
            // SAFETY: a buffer of one byte.
            assert_eq!(unsafe { libc::readv(pipe.as_raw_fd(), &raw const buffer, 1) }, 1);
        });
        let facts = |(elapsed, other): (u64, u64)| json!({ "elapsed_ns": elapsed, "other_ns": other });
        json!({ "nanosleep": facts(slept), "ppoll": facts(polled), "readv": facts(read) })
    });
    for (_, number, times) in STOPPED {
        for turn in 0..times {
            // It sleeps in the call, not in one before.
            let is_in = |text: &str| {
                let nr = text.split_whitespace().next().and_then(|nr| nr.parse().ok());
                nr == Some(number) || turn > 0 && nr == Some(RESTART)
            };
            await_text(child.pid, "syscall", is_in);
            await_text(child.pid, "stat", |text| text.contains(") S "));
            signal(child.pid, libc::SIGSTOP);
            await_text(child.pid, "stat", |text| text.contains(") T "));
            signal(child.pid, libc::SIGCONT);
        }
        if number == libc::SYS_readv {
            await_text(child.pid, "stat", |text| text.contains(") S "));
            writer.write_all(&[1]).unwrap();
        }
    }
    child.join()
}

fn signal(pid: i32, signal: libc::c_int) {
    // SAFETY: a child that has not been reaped.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn await_text(pid: i32, file: &str, is_there: impl Fn(&str) -> bool) {
    while !is_there(&std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn by_stop() {
    let report = report(&["stopped"]);
    let pid = number(&report.facts["pid"]);
    no_restart_call(&report, pid);
    for (name, _, times) in STOPPED {
        let row = report.process(pid).call(name).unwrap_or_else(|| panic!("no row for {name}"));
        assert_eq!(number(&row["errors"]), 0, "{row}");
        assert_eq!(number(&row["interrupted"]), times as u64, "{row}");
        assert_eq!(row["count"], 1, "{row}");
        assert_inside(row, &report.facts[name]);
    }
}
