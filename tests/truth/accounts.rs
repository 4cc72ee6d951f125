//! Accounts of the whole host: no process has more than the scheduler gives it, whatever runs no program saw.
//!
//! On some hosts programs do not run in the context of certain processes; there the first trial is hard, elsewhere it is easy.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{number, report, run, workload_path};
use crate::workload::{Schedstat, in_child, nanosleep, pin, schedule, spin};

pub const CASES: &[Case] = &[
    ("accounts::no_process_has_more_than_its_schedstat_grew", ten_starts),
    ("accounts::what_schedstat_charges_before_the_switch_is_a_wait", short_sleeps),
    ("accounts::a_thread_whose_process_was_reaped_makes_no_process", ghosts),
];

/// The scheduler brings its account of a running thread up to date with each tick, every 10 ms at least (`CONFIG_HZ=100`).
const TICK_NS: u64 = 10_000_000;
/// A wait begins for kscope when the thread is woken and ends when it is switched to. `schedstat` ends it at the last reading
/// of the CPU's clock, which on an idle CPU is that of the wake-up: the way out of idle, up to so long, is left out.
const OUT_OF_IDLE_NS: u64 = 100_000;

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    match (name, args.first().map(String::as_str)) {
        ("accounts", Some("wake")) => loop {
            nanosleep(Duration::from_micros(50));
        },
        ("accounts", Some("sleep")) => Some(in_child(sleep_shortly).join()),
        ("accounts", Some("ghosts")) => Some(Value::from((0..4).map(|_| leave_a_thread()).collect::<Vec<_>>())),
        _ => None,
    }
}

/// What the scheduler has counted of the threads of a process, which threads these are, and whether any of them is ready.
#[derive(Default)]
struct Account {
    sum: Schedstat,
    threads: Vec<u64>,
    is_ready: bool,
}

/// The accounts of all processes. Those that end meanwhile are left out.
fn accounts() -> HashMap<u64, Account> {
    let numbered = |dir: &str| -> Vec<u64> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let mut all = HashMap::new();
    for pid in numbered("/proc") {
        let mut account = Account::default();
        for tid in numbered(&format!("/proc/{pid}/task")) {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}"));
            let (Ok(text), Ok(stat)) = (read("schedstat"), read("stat")) else { continue };
            account.sum = account.sum.plus(Schedstat::parse(&text));
            account.threads.push(tid);
            account.is_ready |= stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('R'));
        }
        account.threads.sort_unstable();
        all.insert(pid, account);
    }
    all
}

fn ten_starts() {
    let mut wakers: Vec<_> = (0..3)
        .map(|_| {
            Command::new(workload_path())
                .args(["--workload", "accounts", "wake"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut checked = 0;
    let wrong: Vec<String> = (0..10).flat_map(|_| one_start(&mut checked)).collect();
    for waker in &mut wakers {
        waker.kill().unwrap();
        waker.wait().unwrap();
    }
    assert!(checked > 10, "hardly any process stood still: {checked}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Which processes have more than they can have in one report.
fn one_start(checked: &mut usize) -> Vec<String> {
    let before = accounts();
    let output = run(&["report", "--for", "1s", "--format", "json"]);
    let after = accounts();
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut wrong = Vec::new();
    for process in report["processes"].as_array().unwrap() {
        let pid = number(&process["pid"]);
        let Some((was, is)) = before.get(&pid).zip(after.get(&pid)).filter(|(was, is)| was.threads == is.threads)
        else {
            continue;
        };
        *checked += 1;
        let ran = is.sum.on_cpu_ns - was.sum.on_cpu_ns + if is.is_ready { TICK_NS } else { 0 };
        let shown = number(&process["time"]["user_ns"]) + number(&process["time"]["kernel_ns"]);
        let waits = number(&process["runqueue"]["count"]);
        let delay = is.sum.run_delay_ns - was.sum.run_delay_ns + waits * OUT_OF_IDLE_NS;
        let waited = number(&process["runqueue"]["total_ns"]);
        if shown > ran || waited > delay {
            wrong.push(format!("{} {pid}: ran {shown} of {ran} ns, waited {waited} of {delay}", process["comm"]));
        }
        if number(&process["threads"]) < is.threads.len() as u64 && process["quality"].is_object() {
            wrong.push(format!("{} {pid}: {} of {} threads", process["comm"], process["threads"], is.threads.len()));
        }
    }
    wrong
}

fn sleep_shortly() -> Value {
    pin();
    for _ in 0..3_000 {
        assert!(nanosleep(Duration::from_micros(50)));
    }
    let all = Schedstat::of_this_thread();
    json!({ "exec_ns": all.on_cpu_ns, "run_delay_ns": all.run_delay_ns, "waits": all.timeslices })
}

/// Where a thread is woken on an idle CPU, the scheduler charges it for the way out of idle: what it has more than kscope shows
/// on the CPU, kscope shows as a wait.
fn short_sleeps() {
    let report = report(&["accounts", "sleep"]);
    let process = report.process(number(&report.facts["pid"])).0;
    let shown = number(&process["time"]["user_ns"]) + number(&process["time"]["kernel_ns"]);
    let waited = number(&process["runqueue"]["total_ns"]);
    let (ran, delay) = (number(&report.facts["exec_ns"]), number(&report.facts["run_delay_ns"]));
    let more_waited = waited.saturating_sub(delay) + 1_000_000;
    assert!(shown <= ran + 1_000_000, "{shown} ns on a CPU, by the scheduler {ran}");
    assert!(ran - shown.min(ran) <= more_waited, "ran {shown} of {ran} ns, waited {waited}, by the scheduler {delay}");
}

/// A process whose first thread ends before its last one, which runs only where no other thread wants to: its parent, which
/// comes first, learns of the end and is at work on the only CPU before the thread has left it for the last time.
fn leave_a_thread() -> Value {
    pin();
    let pid = {
        // SAFETY: the workload has one thread here; the child makes one more and ends by itself.
        match unsafe { libc::fork() } {
            0 => {
                std::thread::spawn(|| {
                    assert!(schedule(0, libc::SCHED_IDLE, 0));
                    spin(Duration::from_millis(30));
                    // SAFETY: it ends this thread, the last one of its process.
                    unsafe { libc::syscall(libc::SYS_exit, 0) };
                });
                // SAFETY: it ends this thread alone.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
                unreachable!("a thread that has exited")
            }
            pid => pid,
        }
    };
    assert!(schedule(0, libc::SCHED_FIFO, 10));
    let mut status = 0;
    // SAFETY: the child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1_500) {
        spin(Duration::from_millis(10));
    }
    assert!(schedule(0, libc::SCHED_OTHER, 0));
    json!({ "pid": pid })
}

fn ghosts() {
    let report = report(&["accounts", "ghosts"]);
    let nameless: Vec<_> = report.all().into_iter().filter(|p| p.0["comm"] == "").map(|p| &p.0["pid"]).collect();
    assert!(nameless.is_empty(), "processes without a name: {nameless:?}");
    for facts in report.facts.as_array().unwrap() {
        let rows = report.processes(number(&facts["pid"]));
        assert_eq!(rows.len(), 1, "rows of one process");
    }
    let died = number(&report.json["dead"]["died"]);
    let ends = number(&report.json["dead"]["ends"]);
    assert!(died <= ends, "{died} died of {ends} that ended");
}
