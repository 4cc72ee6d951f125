//! Blame against workloads that know who ran: two that compete for one CPU, threads of one process, a quota.
//!
//! The whole of a wait is held against the scheduler's own account (field 2 of `schedstat`), the division against what the
//! workload is made of. The competitors get nearly all of their CPU, whatever else runs on the host: what the rest takes is
//! charged to the rest, and is no mistake.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{Process, Report, Running, TempDir, assert_close, number, report, workload_path};
use crate::workload::{Child, Schedstat, arg, in_child, nanosleep, pin, spin};

pub const CASES: &[Case] = &[
    ("blame::two_busy_processes_blame_each_other", busy),
    ("blame::one_that_mostly_sleeps_blames_the_busy_one", sleepy),
    ("blame::threads_of_one_process_blame_their_own", threads),
    ("blame::a_wait_of_thousands_of_switches_is_known_to_its_beginning", talkers),
    ("blame::it_is_measured_only_if_asked_for", not_asked),
];

pub const QUOTA_CASES: &[Case] = &[("blame::a_throttled_process_blames_its_quota", throttled)];

/// The least that must be charged to the right one.
const LEAST: f64 = 0.95;
/// What is waited by the scheduler's account.
const BOUND: f64 = 0.05;

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    let busy = || spin(Duration::from_millis(arg(args, 0)));
    let children = match name {
        "blame-busy" => {
            come_first();
            vec![in_child(|| account(busy)), in_child(|| account(busy))]
        }
        "blame-sleepy" => {
            come_first();
            let turns = || {
                for _ in 0..arg(args, 0) / 10 {
                    spin(Duration::from_millis(3));
                    assert!(nanosleep(Duration::from_millis(7)));
                }
            };
            vec![in_child(|| account(turns)), in_child(|| account(busy))]
        }
        "blame-talkers" => {
            come_first();
            let [there, back] = [io::pipe().unwrap(), io::pipe().unwrap()];
            let one = talk(busy_ms(args), (&back.0, &there.1), true);
            let other = talk(busy_ms(args), (&there.0, &back.1), false);
            vec![in_child(|| account(busy)), one, other]
        }
        "blame-threads" => {
            come_first();
            vec![in_child(|| of_threads(busy))]
        }
        "blame-quota" => return Some(in_group(busy)),
        _ => return None,
    };
    Some(children.into_iter().map(Child::join).collect())
}

/// Why its programs cannot be loaded by this kernel, if so.
pub fn unsupported() -> Option<String> {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let has = symbols.lines().any(|line| line.split_whitespace().nth(2) == Some("bpf_loop"));
    (!has).then(|| "needs a kernel with bpf_loop, 5.17 or later".into())
}

fn account(work: impl FnOnce()) -> Value {
    work();
    json!({ "run_delay_ns": Schedstat::of_this_thread().run_delay_ns })
}

fn busy_ms(args: &[String]) -> Duration {
    Duration::from_millis(arg(args, 0))
}

/// One of two that wake each other all the time, each by a byte in a pipe.
fn talk(time: Duration, (mut from, mut to): (&io::PipeReader, &io::PipeWriter), begins: bool) -> Child {
    in_child(|| {
        let (end, mut byte, mut turns) = (Instant::now() + time, [0], 0_u64);
        if begins {
            to.write_all(&byte).unwrap();
        }
        // Whoever ends says so with another byte, or the other would wait for ever.
        while Instant::now() < end && byte[0] == 0 {
            from.read_exact(&mut byte).unwrap();
            to.write_all(&[0]).unwrap();
            turns += 1;
        }
        to.write_all(&[1]).unwrap();
        json!({ "turns": turns, "run_delay_ns": Schedstat::of_this_thread().run_delay_ns })
    })
}

/// Two busy threads beside the main one, which waits for them.
fn of_threads(work: impl Fn() + Sync) -> Value {
    let thread = || {
        work();
        Schedstat::of_this_thread().run_delay_ns
    };
    let ns: u64 = std::thread::scope(|s| {
        let started = [s.spawn(thread), s.spawn(thread)];
        started.into_iter().map(|t| t.join().unwrap()).sum()
    });
    json!({ "run_delay_ns": ns + Schedstat::of_this_thread().run_delay_ns })
}

/// Stays on one CPU, and leaves others next to nothing of it: by priority, and where sessions share a CPU evenly whatever
/// the priorities are, as a session of its own.
fn come_first() {
    pin();
    // SAFETY: neither call touches memory. Without the privilege they change nothing, and the trial says what else ran.
    unsafe {
        libc::setsid();
        libc::setpriority(libc::PRIO_PROCESS, 0, -20);
    }
    let _ = fs::write("/proc/self/autogroup", "-20");
}

/// A report on the whole host while a workload runs: beside the workload it shows who else had the CPU.
fn blame(workload: &[&str]) -> Report {
    let dir = TempDir::new();
    let facts = dir.join("facts.json");
    let mut running = Running::start(&["report", "--with", "blame", "--format", "json", "--for", "60s"]);
    running.wait_until_measuring();
    let mut command = Command::new(workload_path());
    let status = command.arg("--workload").args(workload).env("KSCOPE_FACTS", &facts).status().unwrap();
    assert!(status.success(), "the workload ended with {status}");
    let facts = serde_json::from_str(&fs::read_to_string(facts).unwrap()).unwrap();
    let report = Report::parse(&running.stop(), facts);
    assert_eq!(report.json["blame"]["quality"], "exact", "{}", report.json["blame"]["quality"]);
    report
}

/// The row of a victim, whose parts add up to its wait, which is that of the run queue and of the scheduler.
fn victim<'a>(report: &'a Report, child: &Value) -> &'a Value {
    let pid = number(&child["pid"]);
    let rows: Vec<&Value> =
        report.json["blame"]["victims"].as_array().expect("an array").iter().filter(|v| v["pid"] == pid).collect();
    let [row] = rows[..] else { panic!("{} rows for {pid}: {}", rows.len(), report.json["blame"]) };
    let waited = number(&row["wait_ns"]);
    let sum: u64 = parts(row).iter().map(|part| number(&part["ns"])).sum();
    assert_eq!(sum, waited, "the parts and the whole of {row}");
    let known = number(&child["run_delay_ns"]);
    assert!(known > 20_000_000, "a workload that did not wait: {child}");
    report.assert_waited("the wait, by schedstat", waited, known, BOUND, 0);
    // Counted by other programs, which read the clock for themselves.
    let Process(process) = report.process(pid);
    assert_close("the wait, by the run queue", waited, number(&process["runqueue"]["total_ns"]), 0.01, 0);
    row
}

fn parts(row: &Value) -> &Vec<Value> {
    row["by"].as_array().expect("an array of parts")
}

/// What of a victim's wait has this cause, and this offender if there is one.
fn charged(row: &Value, cause: &str, offender: Option<&Value>) -> u64 {
    let fits = |part: &&Value| part["cause"] == cause && offender.is_none_or(|o| part["pid"] == o["pid"]);
    parts(row).iter().filter(fits).map(|part| number(&part["ns"])).sum()
}

/// Nearly all that the workload is to blame for is charged to the right one. What others on the host took of the CPU, and
/// the hypervisor, is no more than they had, for each of the threads that waited.
fn assert_most(report: &Report, row: &Value, charged_ns: u64, threads: u64) {
    let waited = number(&row["wait_ns"]);
    let outside = outsiders(report, row);
    let ours = waited - outside.iter().map(|(_, ns)| ns).sum::<u64>() - charged(row, "steal", None);
    assert!(charged_ns as f64 >= LEAST * ours as f64, "{charged_ns} of {ours} ns ({waited} in all) in {row}");
    assert!(2 * ours > waited, "a host too busy to tell: {row}");
    // How long they were on CPUs is known by other programs, whose bound is that of `time`'s trials.
    let had: u64 = outside.iter().map(|(pid, _)| threads * on_cpu_ns(report, *pid)).sum();
    let took: u64 = outside.iter().map(|(_, ns)| ns).sum();
    assert!(took as f64 <= 1.02 * had as f64, "others are charged {took} ns and had {had}: {row}");
    // It may use one CPU only.
    assert_eq!(row["idle_elsewhere_ns"], 0, "{row}");
}

/// Processes that are none of the workload's, with their parts.
fn outsiders(report: &Report, row: &Value) -> Vec<(u64, u64)> {
    let ours: Vec<&Value> = report.facts.as_array().map_or(vec![&report.facts], |all| all.iter().collect());
    let outside = |part: &&Value| part["cause"] == "others" && ours.iter().all(|child| child["pid"] != part["pid"]);
    parts(row).iter().filter(outside).map(|part| (number(&part["pid"]), number(&part["ns"]))).collect()
}

/// The time on CPUs of all that had this pid, stolen time included: it was on the CPU then, though the CPU was not there.
fn on_cpu_ns(report: &Report, pid: u64) -> u64 {
    let time = |process: &Value| {
        ["user_ns", "kernel_ns", "stolen_ns"].iter().map(|part| number(&process["time"][part])).sum::<u64>()
    };
    report.processes(pid).iter().map(|process| time(process.0)).sum()
}

fn busy() {
    let report = blame(&["blame-busy", "2000"]);
    let [one, other] = &report.facts.as_array().unwrap()[..] else { panic!("two children") };
    for (child, offender) in [(one, other), (other, one)] {
        let row = victim(&report, child);
        assert_most(&report, row, charged(row, "others", Some(offender)), 1);
    }
}

fn sleepy() {
    let report = blame(&["blame-sleepy", "3000"]);
    let [sleepy, busy] = &report.facts.as_array().unwrap()[..] else { panic!("two children") };
    let row = victim(&report, sleepy);
    assert_most(&report, row, charged(row, "others", Some(busy)), 1);
}

fn talkers() {
    let report = blame(&["blame-talkers", "2000"]);
    let [busy, one, other] = &report.facts.as_array().unwrap()[..] else { panic!("three children") };
    assert!(number(&one["turns"]) > 2_000, "two that did not talk: {one}");
    let row = victim(&report, busy);
    assert_most(&report, row, charged(row, "others", Some(one)) + charged(row, "others", Some(other)), 1);
}

fn threads() {
    let report = blame(&["blame-threads", "2000"]);
    let row = victim(&report, &report.facts[0]);
    assert_most(&report, row, charged(row, "own_threads", None), 2);
}

fn not_asked() {
    let report = report(&["getppid", "1000"]).json;
    assert!(report["blame"].is_null(), "{}", report["blame"]);
    let programs = report["self"]["probes"].as_array().expect("an array");
    let ours: Vec<&Value> = programs.iter().filter(|p| p["name"].as_str().unwrap().starts_with("blame_")).collect();
    assert!(!ours.is_empty() && ours.iter().all(|p| p["running"] == false), "{ours:?}");
}

/// A fifth of a CPU.
const QUOTA_US: u64 = 20_000;
const PERIOD_US: u64 = 100_000;

/// Where control groups with a quota can be made: in the unified hierarchy, or below the controller of CPUs of the first.
fn groups() -> Option<PathBuf> {
    let unified = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|c| c == "cpu") {
        // Refused where it is on already, or where the group holds processes: making a quota shows it.
        let _ = fs::write(unified.join("cgroup.subtree_control"), "+cpu");
        return Some(unified.to_owned());
    }
    let first = unified.join("cpu");
    first.join("cpu.cfs_quota_us").exists().then_some(first)
}

/// Why there can be no quotas here, if so.
pub fn quotas() -> Option<String> {
    match groups().map(|parent| Group::new(&parent)) {
        Some(Some(_)) => None,
        Some(None) => Some("needs leave to make a control group with a CPU quota".into()),
        None => Some("needs the cpu controller of control groups".into()),
    }
}

/// A control group with a quota, gone when dropped.
struct Group(PathBuf);

impl Group {
    fn new(parent: &Path) -> Option<Self> {
        let group = Self(parent.join(format!("kscope-truth-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        let set = |file: &str, text: String| fs::write(group.0.join(file), text);
        if group.0.join("cpu.max").exists() {
            set("cpu.max", format!("{QUOTA_US} {PERIOD_US}")).ok()?;
            set("cpu.weight", "10000".into()).ok()?;
        } else {
            set("cpu.cfs_period_us", PERIOD_US.to_string()).ok()?;
            set("cpu.cfs_quota_us", QUOTA_US.to_string()).ok()?;
            set("cpu.shares", "100000".into()).ok()?;
        }
        Some(group)
    }

    /// How long it was throttled by its own account.
    fn throttled_ns(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
        value("throttled_usec ").map(|us| us * 1_000).or_else(|| value("throttled_time ")).unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group without processes is removed at once; one that is left over is no reason to fail.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Works within a quota on one CPU, and says how long the quota kept it from it.
fn in_group(work: impl FnOnce()) -> Value {
    let group = Group::new(&groups().unwrap()).unwrap();
    come_first();
    let procs = group.0.join("cgroup.procs");
    let child = in_child(|| {
        fs::write(&procs, "0").unwrap();
        account(work)
    });
    let mut facts = child.join();
    facts["throttled_ns"] = group.throttled_ns().into();
    facts
}

fn throttled() {
    let report = blame(&["blame-quota", "2000"]);
    let row = victim(&report, &report.facts);
    let known = number(&report.facts["throttled_ns"]);
    assert!(known > 500_000_000, "a quota that was not used up: {}", report.facts);
    if report.json["blame"]["tells"]["throttled"] == true {
        assert_close("throttled, by the group", charged(row, "throttled", None), known, BOUND, 0);
    }
}
