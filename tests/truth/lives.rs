//! The dead: how many, whose, how long they lived, how they ended and what they did, whatever storm they died in.
//!
//! A storm between two samples is made by stopping kscope while it rages.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::Case;
use crate::dashboard::{large_dashboard, wait_for_view};
use crate::kscope::{self, Report, Running, TempDir, assert_close, number, report};
use crate::workload::{self, arg, nanosleep, ns, pin};

pub const CASES: &[Case] = &[
    ("lives::a_storm_of_10000_between_two_samples_loses_nothing", storm),
    ("lives::what_finds_no_room_in_the_ledger_is_counted", overflow),
    ("lives::the_dead_are_grouped_by_command_and_parent", groups),
    ("lives::lives_are_as_long_as_they_were", length),
    ("lives::exec_keeps_one_identity_and_the_last_name", exec),
];

/// Name of those who fork, and of those who die.
const PARENT: &str = "matriarch";
const CHILD: &str = "mayfly";
/// Calls that each of them makes and completes; to exit is a call that does not return.
const CALLS: u64 = 5;

pub const SCREEN_CASES: &[Case] = &[("lives::a_folded_family_is_the_sum_of_its_members", family)];

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    Some(match name {
        "storm" => rage(arg(args, 0)),
        "storm-on-one-cpu" => {
            pin();
            rage(arg(args, 0))
        }
        "ends" => end_in_ways(&args[0]),
        "lives" => live(arg(args, 0)),
        "family" => raise_family(),
        _ => return None,
    })
}

/// The report of a kscope that sleeps while so many die, and the facts of those.
fn through(storm: &str, children: u64) -> (Value, Value) {
    let dir = TempDir::new();
    let facts = dir.join("facts.json");
    let mut running = Running::start(&["report", "--for", "80s", "--format", "json"]);
    running.wait_until_measuring();
    let pid = Pid::from_raw(running.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let mut command = Command::new(kscope::workload_path());
    command.args(["--workload", storm, &children.to_string()]).env("KSCOPE_FACTS", &facts);
    assert!(command.status().unwrap().success());
    kill_process(pid, Signal::CONT).unwrap();
    let output = running.stop();
    let facts = serde_json::from_str(&std::fs::read_to_string(facts).unwrap()).unwrap();
    (serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {}", output.stderr)), facts)
}

/// The group of those of this name whose parent had that one.
fn group<'a>(report: &'a Value, comm: &str, parent: &str) -> &'a Value {
    let groups = report["dead"]["groups"].as_array().expect("groups of the dead");
    let mut found = groups.iter().filter(|g| g["comm"] == comm && g["parent"] == parent);
    let one = found.next().unwrap_or_else(|| panic!("no group {comm} of {parent} in {groups:?}"));
    assert!(found.next().is_none(), "two groups {comm} of {parent}");
    one
}

fn on_cpu(group: &Value) -> u64 {
    number(&group["time"]["user_ns"]) + number(&group["time"]["kernel_ns"])
}

fn storm() {
    const CHILDREN: u64 = 10_000;
    let (report, facts) = through("storm", CHILDREN);
    let dropped = &report["self"]["dropped"];
    assert_eq!((number(&dropped["threads"]), number(&dropped["dead"])), (0, 0), "{dropped}");
    assert_eq!(report["quality"]["dead"], "exact");
    let dead = group(&report, CHILD, PARENT);
    let known = ["died", "failed", "killed", "ran_program", "without_end", "without_account", "calls"];
    let shown = known.map(|name| number(&dead[name]));
    assert_eq!(shown, [CHILDREN, number(&facts["failed"]), 0, 0, 0, 0, CALLS * CHILDREN], "{known:?} of {dead}");
    // Across CPUs the scheduler takes a part of what a child waited for its running (see `overflow`), and never the other way.
    let (shown, known) = (on_cpu(dead) as f64, number(&facts["rusage_ns"]) as f64);
    let waited = number(&dead["time"]["runnable_ns"]) as f64;
    assert!(shown <= 1.01 * known && known <= 1.01 * (shown + waited), "{shown} and {waited} of {known} ns: {dead}");
    // Records are not enough for so many; the calls that they miss are known by number.
    let calls = |p: &kscope::Process<'_>| p.count("getppid");
    let report = Report::of(report, facts);
    let by_process: u64 = report.all().iter().map(calls).sum();
    // Among the missed are other calls, and waits for a CPU.
    let (made, missed) = ((CALLS - 1) * CHILDREN, number(&report.json["self"]["dropped"]["latency"]));
    assert!(by_process <= made && by_process + missed >= made, "{by_process} and {missed} of {made}");
}

/// More than the ledger holds, and not more than the table of threads.
fn overflow() {
    const CHILDREN: u64 = 14_000;
    // On one CPU, since the scheduler lets a child run on an idle one from when it was woken, not from when that CPU has woken
    // up: of 100 us each that was 2 to 4 %, the more the busier the hypervisor is.
    let (report, facts) = through("storm-on-one-cpu", CHILDREN);
    let lost = number(&report["self"]["dropped"]["dead"]);
    assert!(lost > 0, "a trial that proves little: {}", report["self"]["dropped"]);
    assert_eq!(report["quality"]["dead"], "lower_bound");
    let groups = report["dead"]["groups"].as_array().unwrap();
    let sum = |name: &str| -> u64 { groups.iter().map(|g| number(&g[name])).sum() };
    assert_eq!(sum("died"), number(&report["dead"]["died"]));
    // Somebody else on the host may be dying while the last sample is taken: it has ended and is not reported yet.
    let not_yet = number(&report["dead"]["ends"]).abs_diff(sum("died"));
    assert!(not_yet < 5, "{not_yet} ends that were not reported");
    assert!(sum("without_end").abs_diff(lost) <= not_yet, "{lost} lost, and {} without end", sum("without_end"));
    // Of one whose end was lost the name is known, and what it did; who its parent was is known from its birth.
    let dead = group(&report, CHILD, PARENT);
    assert_eq!((number(&dead["died"]), number(&dead["calls"])), (CHILDREN, CALLS * CHILDREN), "{dead}");
    assert_close("CPU time of the dead", on_cpu(dead), number(&facts["rusage_ns"]), 0.01, 0);
}

/// Children, 20 at a time, of which each tenth fails.
fn rage(children: u64) -> Value {
    rename(PARENT);
    let mut failed = 0;
    let mut left = children;
    while left > 0 {
        let batch: Vec<i32> = (0..left.min(20))
            .map(|at| {
                let status = i32::from(at % 10 == 0);
                failed += status;
                mayfly(|| workload::call(libc::SYS_getppid, CALLS - 1), status)
            })
            .collect();
        left -= batch.len() as u64;
        for pid in batch {
            wait(pid);
        }
    }
    json!({"failed": failed, "rusage_ns": rusage_of_children()})
}

/// Gives the process this name: one call.
fn rename(comm: &str) {
    let comm = std::ffi::CString::new(comm).unwrap();
    // SAFETY: the name is a C string, of which the kernel takes the first 15 bytes.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) }, 0);
}

/// A child that makes no call but to take its name, those of `work`, and to exit.
fn mayfly(work: impl FnOnce(), status: i32) -> i32 {
    let pid = plain_fork();
    if pid == 0 {
        rename(CHILD);
        work();
        // SAFETY: ends the child without what its parent registered for its end.
        unsafe { libc::_exit(status) }
    }
    pid
}

/// A fork without what the C library does in the child.
fn plain_fork() -> i32 {
    // SAFETY: zeros are valid clone arguments: a plain fork without shared memory, so the child has a stack of its own. The
    // process has one thread.
    let pid = unsafe {
        let mut clone: libc::clone_args = std::mem::zeroed();
        clone.exit_signal = libc::SIGCHLD.unsigned_abs().into();
        libc::syscall(libc::SYS_clone3, &raw const clone, size_of_val(&clone))
    };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    i32::try_from(pid).unwrap()
}

/// The wait status of a child.
fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the status is written to a live variable.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

/// CPU time of all children that were waited for, ns.
fn rusage_of_children() -> u64 {
    // SAFETY: zeros are a valid rusage, which is written to.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    let part = |t: libc::timeval| (t.tv_sec * 1_000_000 + t.tv_usec).unsigned_abs() * 1_000;
    part(usage.ru_utime) + part(usage.ru_stime)
}

fn groups() {
    let dir = TempDir::new();
    let program = dir.join("chrysalis");
    std::os::unix::fs::symlink(kscope::workload_path(), &program).unwrap();
    let report = report(&["ends", program.to_str().unwrap()]);
    let known = ["died", "ran_program", "failed", "killed", "without_end", "without_account"];
    let shown = |comm: &str, parent: &str| known.map(|name| number(&group(&report.json, comm, parent)[name]));
    assert_eq!(shown(CHILD, PARENT), [30, 0, 10, 10, 0, 0], "{known:?}");
    assert_eq!(shown("chrysalis", PARENT), [5, 5, 5, 0, 0, 0], "{known:?}");
    // The parent of the orphan was dead before it, and is not the one who adopted it.
    assert_eq!(shown("orphan", "gone"), [1, 0, 0, 0, 0, 0], "{known:?}");
    assert_eq!(shown("gone", PARENT), [1, 0, 0, 0, 0, 0], "{known:?}");
    assert_eq!(shown(PARENT, "kscope"), [1, 1, 0, 0, 0, 0], "{known:?}");
    assert_eq!(number(&report.json["dead"]["died"]), 38, "{}", report.json["dead"]);
}

/// Ten children that end well, ten that fail, ten that are killed, five programs that fail, and an orphan.
fn end_in_ways(program: &str) -> Value {
    rename(PARENT);
    let die = || {
        // SAFETY: asks for its own death.
        unsafe { libc::syscall(libc::SYS_kill, libc::syscall(libc::SYS_getpid), libc::SIGKILL) };
    };
    for _ in 0..10 {
        assert_eq!(wait(mayfly(|| {}, 0)), 0);
        assert_eq!(wait(mayfly(|| {}, 3)), 3 << 8);
        assert_eq!(wait(mayfly(die, 0)), libc::SIGKILL);
    }
    for _ in 0..5 {
        let pid = plain_fork();
        if pid == 0 {
            let mut command = Command::new(program);
            let error = command.args(["--workload", "there is none"]).stderr(Stdio::null()).exec();
            panic!("exec: {error}");
        }
        assert_eq!(wait(pid), 2 << 8);
    }
    let (mut orphan_is_gone, writer) = std::io::pipe().unwrap();
    let pid = plain_fork();
    if pid == 0 {
        rename("gone");
        if plain_fork() == 0 {
            rename("orphan");
            nanosleep(Duration::from_millis(20));
        }
        // SAFETY: ends the child without what its parent registered for its end.
        unsafe { libc::_exit(0) }
    }
    drop(writer);
    assert_eq!(wait(pid), 0);
    // Its end of the pipe is closed when the orphan ends.
    std::io::Read::read_to_end(&mut orphan_is_gone, &mut Vec::new()).unwrap();
    json!({})
}

fn length() {
    let report = report(&["lives", "41"]);
    let dead = group(&report.json, CHILD, PARENT);
    assert_eq!(number(&dead["died"]), 41);
    // A life is longer than what the child saw of it, and shorter than what its parent did: so are their medians. What is
    // shown is the middle of a bucket, at most 4.4 % off.
    let within = |what: &str, least: &str, most: &str| {
        let (shown, least, most) = (number(&dead[what]), number(&report.facts[least]), number(&report.facts[most]));
        let range = (least as f64 / 1.045)..=(most as f64 * 1.045);
        assert!(range.contains(&(shown as f64)), "{what}: {shown}, which must be within {range:?}");
    };
    within("p50_life_ns", "median_seen_ns", "median_waited_ns");
    within("max_life_ns", "longest_seen_ns", "longest_waited_ns");
}

/// Children one after the other that live some milliseconds each, other ones each time.
fn live(children: u64) -> Value {
    rename(PARENT);
    let (mut seen, mut waited) = (Vec::new(), Vec::new());
    for at in 0..children {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let begin = Instant::now();
        let pid = mayfly(
            || {
                let begin = Instant::now();
                nanosleep(Duration::from_micros(2_000 + at * 100));
                std::io::Write::write_all(&mut writer, &ns(begin.elapsed()).to_le_bytes()).unwrap();
            },
            0,
        );
        assert_eq!(wait(pid), 0);
        waited.push(ns(begin.elapsed()));
        let mut bytes = [0; 8];
        std::io::Read::read_exact(&mut reader, &mut bytes).unwrap();
        seen.push(u64::from_le_bytes(bytes));
    }
    seen.sort_unstable();
    waited.sort_unstable();
    let median = |all: &[u64]| all[all.len() / 2];
    json!({
        "median_seen_ns": median(&seen), "longest_seen_ns": seen.last(),
        "median_waited_ns": median(&waited), "longest_waited_ns": waited.last(),
    })
}

fn exec() {
    let report = report(&["rename", "imago"]);
    let process = report.process(number(&report.facts["pid"]));
    assert_eq!((process.0["comm"].as_str(), process.0["exited"].as_bool()), (Some("imago"), Some(true)));
    let dead: Vec<&Value> = report.json["dead"]["groups"].as_array().unwrap().iter().collect();
    let (one, rest): (Vec<&Value>, Vec<&Value>) = dead.into_iter().partition(|g| g["comm"] == "imago");
    assert_eq!((one.len(), number(&one[0]["died"]), number(&one[0]["ran_program"])), (1, 1, 1));
    // The other one that died is the workload that made it.
    assert_eq!(rest.len(), 1, "{rest:?}");
    let calls: u64 = process.0["syscalls"].as_array().unwrap().iter().map(|call| number(&call["count"])).sum();
    assert_eq!(number(&one[0]["calls"]), calls, "its calls by record, and in all");
}

/// Names of a parent, and of its children.
const FAMILY: [&str; 2] = ["truth-fam", "truth-fam-kid"];

/// A family that is busy until it is dropped.
struct Family(std::process::Child);

impl Drop for Family {
    fn drop(&mut self) {
        // It may have ended by itself. Its children end with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn family() {
    let family = Family(Command::new(kscope::workload_path()).args(["--workload", "family"]).spawn().unwrap());
    let terminal = large_dashboard();
    terminal.press(&["7"]);
    wait_for_view(&terminal, "Processes");
    terminal.press(&["v", "/"]);
    terminal.type_text(FAMILY[0]);
    terminal.press(&["Enter"]);
    terminal.wait("a busy family", |screen| {
        let kids = rows(screen, FAMILY[1]);
        kids.len() == 3 && kids.iter().all(|row| on_cpu_percent(row) > 1.0)
    });
    terminal.press(&["Space"]);
    let open = terminal.wait("what is frozen", |screen| screen.contains("paused"));
    let members: Vec<&str> = rows(&open, FAMILY[0]);
    // The kernel knows whose children they are.
    let path = format!("/proc/{0}/task/{0}/children", family.0.id());
    let of_kernel: BTreeSet<String> =
        std::fs::read_to_string(path).unwrap().split_whitespace().map(str::to_owned).collect();
    let below: BTreeSet<String> = members[1..].iter().map(|row| pid_of(row)).collect();
    assert_eq!((pid_of(members[0]), below), (family.0.id().to_string(), of_kernel), "{open}");
    terminal.press(&["Home", "f"]);
    let folded = terminal.wait("a folded family", |screen| screen.contains(&format!("+ {}", FAMILY[0])));
    let sum: f64 = members.iter().map(|row| on_cpu_percent(row)).sum();
    let shown = rows(&folded, FAMILY[0]);
    assert_eq!(shown.len(), 1, "{folded}");
    // Each number is rounded, to a percent at most.
    let rounded = 0.5 * (members.len() + 1) as f64;
    assert!((on_cpu_percent(shown[0]) - sum).abs() <= rounded, "{sum} % in {open}, and {folded}");
}

/// The lines of a table with this name in them.
fn rows<'a>(screen: &'a str, name: &str) -> Vec<&'a str> {
    screen.lines().filter(|line| line.contains(name) && line.contains('%')).collect()
}

/// The number of the first column that has a percent sign.
fn on_cpu_percent(row: &str) -> f64 {
    let words: Vec<&str> = row.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "%").unwrap_or_else(|| panic!("no share in {row}"));
    words[at - 1].trim_start_matches('<').parse().unwrap_or_else(|_| panic!("no number in {row}"))
}

fn pid_of(row: &str) -> String {
    let is_pid = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    row.split(|c: char| c.is_whitespace() || c == '│' || c == '▸').find(is_pid).unwrap_or_default().to_owned()
}

/// A parent with three children, all busy some of the time, for longer than any trial.
fn raise_family() -> Value {
    rename(FAMILY[0]);
    for _ in 0..3 {
        if plain_fork() == 0 {
            // SAFETY: asks to be killed when the parent ends.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }, 0);
            rename(FAMILY[1]);
            be_busy();
            // SAFETY: ends the child without what its parent registered for its end.
            unsafe { libc::_exit(0) }
        }
    }
    be_busy();
    json!({})
}

fn be_busy() {
    let end = Instant::now() + Duration::from_mins(2);
    while Instant::now() < end {
        workload::spin(Duration::from_millis(5));
        nanosleep(Duration::from_millis(20));
    }
}
