//! `report -- COMMAND`: the numbers are those of the command from its start to its end, and its exit status is kscope's.
//!
//! What a command did is compared with what strace counts of the same command, and how long it ran with what it timed itself.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use serde_json::{Value, json};

use crate::kscope::{Output, Process, Report, Running, TempDir, number, run, workload_path};
use crate::workload::{arg, ns, schedule};
use crate::{Case, btf, privileges, strace_missing, trial};

const CASES: &[Case] = &[
    ("launched::a_short_command_is_measured_and_not_the_wait_for_its_start", short),
    ("launched::the_interval_is_as_long_as_the_command_ran", interval),
    ("launched::kscope_exits_with_the_status_of_the_command", statuses),
    ("launched::a_command_that_cannot_be_started_is_126_or_127", not_started),
    ("launched::a_command_that_outlives_the_time_goes_on", outlives),
    ("launched::children_left_behind_are_not_waited_for", left_behind),
    ("launched::children_left_behind_are_waited_for_on_request", waited_for),
    ("launched::an_interrupt_from_the_terminal_ends_both", interrupted),
];

const WITH_STRACE: &[Case] =
    &[("launched::calls_are_those_that_strace_counts", || STRACED.iter().for_each(|line| same_calls(line)))];

pub fn trials() -> Vec<Trial> {
    let plain = CASES.iter().map(|case| trial(*case, &[privileges, btf]));
    plain.chain(WITH_STRACE.iter().map(|case| trial(*case, &[privileges, btf, strace_missing]))).collect()
}

/// Commands that make the same calls each time: alone, and with children one after the other.
const STRACED: &[&[&str]] = &[
    &["/bin/true"],
    &["cat", "/proc/self/comm"],
    &["sh", "-c", "/bin/true; /bin/echo x | cat; exec /bin/true"],
    &["/bin/sleep", "0.05"],
];

/// `kscope report` ahead of all ordinary threads, and so is its command: a busy machine makes neither longer.
fn ahead(args: &[&str]) -> Output {
    ahead_with(Command::new(env!("CARGO_BIN_EXE_kscope")), args)
}

fn ahead_with(mut command: Command, args: &[&str]) -> Output {
    command.args(["report", "--format", "json"]).args(args);
    // SAFETY: one system call, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            schedule(0, libc::SCHED_FIFO, 1);
            Ok(())
        })
    };
    Running::spawn(command).finish()
}

fn parsed(output: &Output) -> Report {
    Report::parse(output, Value::Null)
}

/// The row of the command itself.
fn root(report: &Report) -> Process<'_> {
    report.process(number(&report.json["command"]["pid"]))
}

/// The four times of a process.
fn life(process: Process<'_>) -> u64 {
    let time = &process.0["time"];
    ["user_ns", "kernel_ns", "runnable_ns", "blocked_ns"].iter().map(|part| number(&time[part])).sum()
}

fn short() {
    let output = ahead(&["--", "/bin/true"]);
    let report = parsed(&output);
    assert_eq!(report.json["command"]["status"], 0);
    let (process, interval) = (root(&report), number(&report.json["interval_ns"]));
    println!("/bin/true: {interval} ns, of them {}", process.0["time"]);
    assert_eq!(process.0["time"]["blocked_by"]["socket"], 0, "it uses no socket: {}", process.0["time"]);
    // From its birth to its last switch, it is inside the interval; beside it there is a fork and a wait.
    assert!(life(process) <= interval, "{} of {interval} ns", life(process));
    report.assert_lasted("interval and life of /bin/true", interval, life(process), Duration::from_millis(5));
    for call in ["dup2", "recvmsg", "rt_sigaction", "statx"] {
        assert_eq!(process.count(call), 0, "{call} is a call of kscope's, before the command began");
    }
    assert_eq!(process.count("execve"), 1);
}

impl Report {
    /// Fails unless `shown` is `known`, or longer by `most` and what a hypervisor took meanwhile.
    fn assert_lasted(&self, what: &str, shown: u64, known: u64, most: Duration) {
        let range = known..=known + ns(most) + self.stolen_ns();
        assert!(range.contains(&shown), "{what}: shown {shown} ns, known {known} ns");
    }
}

/// The workload knows how long it was there; that it is loaded and ends comes on top.
fn interval() {
    let dir = TempDir::new();
    let facts = dir.join("facts.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
    command.env("KSCOPE_FACTS", &facts);
    let output = ahead_with(command, &["--", workload_path().to_str().unwrap(), "--workload", "lasts", "300"]);
    let facts = std::fs::read_to_string(&facts).unwrap_or_else(|e| panic!("no facts ({e}): {}", output.stderr));
    let report = Report::parse(&output, serde_json::from_str(&facts).unwrap());
    let (shown, known) = (number(&report.json["interval_ns"]), number(&report.facts["lived_ns"]));
    println!("the workload was there for {known} ns, the interval is {shown} ns");
    report.assert_lasted("the interval", shown, known, Duration::from_millis(20));
    assert!(number(&report.json["host_interval_ns"]) >= shown, "samples are before and after");
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    (name == "lasts").then(|| {
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(arg(args, 0)));
        json!({ "lived_ns": ns(begin.elapsed()) })
    })
}

fn statuses() {
    for (script, expected, status, signal) in [
        ("exit 0", 0, json!(0), Value::Null),
        ("exit 3", 3, json!(3), Value::Null),
        ("exit 255", 255, json!(255), Value::Null),
        ("kill -KILL $$", 128 + 9, Value::Null, json!(9)),
        ("kill -TERM $$", 128 + 15, Value::Null, json!(15)),
    ] {
        let output = run(&["report", "--format", "json", "--", "sh", "-c", script]);
        let report = parsed(&output);
        println!("{script}: exit status {:?}", output.status.code());
        assert_eq!(output.status.code(), Some(expected), "{script}: {}", output.stderr);
        let command = &report.json["command"];
        assert_eq!((&command["status"], &command["signal"]), (&status, &signal), "{script}");
    }
    // What goes wrong with kscope itself is no status of the command.
    let output = run(&["report", "-o", "/nowhere/report", "--", "sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
}

fn not_started() {
    let dir = TempDir::new();
    let plain = dir.join("plain");
    std::fs::write(&plain, "text").unwrap();
    let plain = plain.to_str().unwrap();
    for (program, expected, reason) in [
        ("/nowhere/program", 127, "No such file"),
        ("no-such-program-anywhere", 127, "No such file"),
        (plain, 126, "Permission denied"),
        ("/", 126, "Permission denied"),
    ] {
        let output = run(&["report", "--", program]);
        println!("{program}: exit status {:?}, {}", output.status.code(), output.stderr.trim());
        assert_eq!(output.status.code(), Some(expected), "{program}: {}", output.stderr);
        assert!(output.stderr.contains(program) && output.stderr.contains(reason), "{}", output.stderr);
        assert_eq!(output.stdout, "", "there is nothing to report");
    }
}

/// Ends a process when dropped, also when the trial fails.
struct Ended(Pid);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

fn pid_of(value: &Value) -> Pid {
    Pid::from_raw(i32::try_from(number(value)).unwrap()).unwrap()
}

fn outlives() {
    let output = ahead(&["--for", "300ms", "--", "sh", "-c", "exec sleep 60 >/dev/null 2>&1"]);
    let report = parsed(&output);
    let command = &report.json["command"];
    let ended = Ended(pid_of(&command["pid"]));
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert_eq!((&command["status"], &command["signal"]), (&Value::Null, &Value::Null));
    assert!(test_kill_process(ended.0).is_ok(), "the command goes on");
    let (process, interval) = (root(&report), number(&report.json["interval_ns"]));
    println!("a command that goes on: {interval} ns, of them {}", process.0["time"]);
    assert_eq!(process.0["exited"], false);
    report.assert_lasted("the interval", interval, ns(Duration::from_millis(300)), Duration::from_millis(20));
    report.assert_lasted("interval and life", interval, life(process), Duration::from_millis(5));
}

fn left_behind() {
    let output = ahead(&["--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & exit 4"]);
    let report = parsed(&output);
    let living: Vec<_> = report.all().into_iter().filter(|p| p.0["exited"] == false).collect();
    let [sleep] = living[..] else { panic!("one sleep goes on in {}", report.json["processes"]) };
    let _ended = Ended(pid_of(&sleep.0["pid"]));
    assert_eq!(output.status.code(), Some(4), "{}", output.stderr);
    assert_eq!(root(&report).0["exited"], true);
}

/// A child, and one whose parents have ended: both are waited for.
fn waited_for() {
    let script = "sleep 0.3 >/dev/null 2>&1 & (setsid sleep 0.6 >/dev/null 2>&1 &) ; exit 4";
    let output = ahead(&["--children", "--", "sh", "-c", script]);
    let report = parsed(&output);
    assert_eq!(output.status.code(), Some(4), "{}", output.stderr);
    // One C library sleeps by this call, the other by that.
    let slept = |p: &Process<'_>| p.count("clock_nanosleep") + p.count("nanosleep") == 1;
    let sleeps: Vec<_> = report.all().into_iter().filter(slept).collect();
    assert_eq!(sleeps.len(), 2, "{}", report.json["processes"]);
    assert!(report.all().iter().all(|p| p.0["exited"] == true), "{}", report.json["processes"]);
    let interval = number(&report.json["interval_ns"]);
    let longest = sleeps.iter().map(|p| life(*p)).max().unwrap();
    println!("with --children: {interval} ns; the longest sleep lived {longest} ns");
    assert!(longest >= ns(Duration::from_millis(600)));
    report.assert_lasted("the interval", interval, longest, Duration::from_millis(50));
    // Refused without a command.
    assert_eq!(run(&["report", "--children"]).status.code(), Some(2));
}

/// Ctrl-C goes to all processes in the foreground.
fn interrupted() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
    command.args(["report", "--format", "json", "--", "sh", "-c", "echo begun; exec sleep 60"]).process_group(0);
    let mut kscope = Running::spawn(command);
    kscope.wait_for("begun");
    let group = Pid::from_raw(i32::try_from(kscope.pid()).unwrap()).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    let output = kscope.finish();
    println!("interrupted: exit status {:?}", output.status.code());
    assert_eq!(output.status.code(), Some(128 + 2), "{}", output.stderr);
    assert_eq!(parsed(&output).json["command"]["signal"], 2);
}

/// What strace counts of a command and its children, from its `execve` on, against the report's calls.
fn same_calls(line: &[&str]) {
    let dir = TempDir::new();
    let path = dir.join("calls");
    let status = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o", path.to_str().unwrap()])
        .args(line)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "strace {line:?}: {status}");
    let text = std::fs::read_to_string(&path).unwrap();
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, calls) = (fields.next()?, fields.next()?.parse::<u64>().ok()?);
        (name != "total").then(|| (name.to_owned(), calls))
    };
    let mut known: Vec<_> = text.lines().filter_map(row).collect();
    let output = run(&[&["report", "--format", "json", "--"], line].concat());
    let report = parsed(&output);
    let rows = report.json["syscalls"].as_array().unwrap();
    let shown =
        |row: &Value| (row["name"].as_str().unwrap().to_owned(), number(&row["count"]) + number(&row["interrupted"]));
    let mut shown: Vec<_> = rows.iter().map(shown).filter(|(_, calls)| *calls > 0).collect();
    known.sort();
    shown.sort();
    println!("{line:?}: {} calls by strace", known.iter().map(|row| row.1).sum::<u64>());
    assert_eq!(shown, known, "{line:?}: shown and known");
}
