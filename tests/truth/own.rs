//! What kscope says of its own programs, against what the kernel says of them.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{Report, Running, number, report, report_as, run};
use crate::separate::kin;
use crate::workload;

pub const CASES: &[Case] = &[
    ("own::each_call_is_a_run_of_the_programs_on_calls", counted),
    ("own::runs_are_those_that_the_kernel_shows", as_the_kernel_says),
    ("own::without_being_asked_nothing_is_counted", not_asked),
    ("own::maps_take_what_the_kernel_says", map_memory),
    ("own::the_doctor_finds_every_program_well", doctor),
];

/// Why runs cannot be counted by this user, if so.
pub fn privileges() -> Option<String> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let have = u64::from_str_radix(effective.trim(), 16).ok()?;
    (have & CAP_SYS_ADMIN == 0).then(|| "needs CAP_SYS_ADMIN".into())
}

/// The programs that run: what is dear is not attached unless it is asked for.
fn programs(report: &Value) -> Vec<&Value> {
    report["self"]["probes"].as_array().expect("an array of programs").iter().filter(|p| p["running"] == true).collect()
}

fn program<'a>(report: &'a Value, name: &str) -> &'a Value {
    programs(report).into_iter().find(|p| p["name"] == name).expect("the program")
}

fn counted() {
    let (output, facts) = report_as(&["--cost", "--format", "json"], &["getppid", "100000"]);
    let report = Report::parse(&output, facts);
    for name in ["sys_enter", "sys_exit"] {
        let row = program(&report.json, name);
        let (runs, ns) = (number(&row["runs"]), number(&row["run_ns"]));
        assert!(runs >= 100_000, "{row}");
        // No program does its work within one nanosecond, and none needs a millisecond.
        assert!((runs..runs * 1_000_000).contains(&ns), "{row}");
        assert_eq!(number(&row["misses"]), 0, "{row}");
    }
    let (text, _) = report_as(&["--cost"], &["getppid", "1000"]);
    assert!(text.stdout.contains("Its programs: "), "{}", text.stdout);
}

fn not_asked() {
    let report = report(&["getppid", "1000"]);
    for row in programs(&report.json) {
        // What is measured on demand is not loaded before: nobody knows what it missed.
        let misses = if row["running"] == true { json!(0) } else { Value::Null };
        assert!(row["runs"].is_null() && row["run_ns"].is_null() && row["misses"] == misses, "{row}");
    }
}

/// What the kernel itself shows of the descriptors of a process, by `prog_id` or `map_id`; one that is open twice is once
/// in it.
pub fn descriptors(pid: u32, id: &str, field: &str) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().parse().ok()
        };
        if let (Some(id), Some(value)) = (value(id), value(field)) {
            found.insert(id, value);
        }
    }
    found
}

/// Runs since the start by program, from bpftool where it is installed.
fn from_bpftool(ids: &BTreeMap<u64, u64>) -> BTreeMap<String, u64> {
    let mut runs = BTreeMap::new();
    for id in ids.keys() {
        let Ok(output) = Command::new("bpftool").args(["-j", "prog", "show", "id", &id.to_string()]).output() else {
            break;
        };
        let Ok(program) = serde_json::from_slice::<Value>(&output.stdout) else { continue };
        if let Some(name) = program["name"].as_str() {
            // It does not mention what is 0.
            runs.insert(name.to_owned(), program["run_cnt"].as_u64().unwrap_or(0));
        }
    }
    runs
}

/// Counters only grow. So what was counted between two readings within the interval is at most what the report says; and
/// the report, whose interval is not much longer, does not say ten times more.
fn as_the_kernel_says() {
    let mut running = Running::start(&["report", "--cost", "--for", "3s", "--format", "json"]);
    running.wait_until_measuring();
    let before = descriptors(running.pid(), "prog_id", "run_cnt");
    let before_by_name = from_bpftool(&before);
    workload::call(libc::SYS_getppid, 300_000);
    std::thread::sleep(Duration::from_secs(1));
    let after = descriptors(running.pid(), "prog_id", "run_cnt");
    let after_by_name = from_bpftool(&after);
    let report = Report::parse(&running.finish(), Value::Null).json;

    let running = programs(&report).into_iter().filter(|row| row["running"] == true);
    let said: u64 = running.map(|row| number(&row["runs"])).sum();
    let grown: u64 = after.iter().map(|(id, runs)| runs - before[id]).sum();
    assert!(grown >= 600_000, "the kernel itself counted {grown}");
    assert!((grown..grown * 10).contains(&said), "said {said}, the kernel {grown}");
    for (name, runs) in after_by_name {
        let grown = runs - before_by_name[&name];
        // bpftool shows the first 15 bytes of a name.
        let row = programs(&report).into_iter().find(|p| p["name"].as_str().is_some_and(|n| n.starts_with(&name)));
        let Some(row) = row.filter(|_| grown > 10_000) else { continue };
        let said = number(&row["runs"]);
        assert!((grown..grown * 10).contains(&said), "{name}: said {said}, bpftool {grown}");
    }
}

/// Computed from sizes, against the memory that the kernel charges: the small maps beside the five are all it may lack.
fn map_memory() {
    let mut running = Running::start(&["report", "--for", "1s", "--format", "json"]);
    running.wait_until_measuring();
    // All of them are held by the process that made them.
    let holder = kin(running.pid(), "kscope-helper").expect("a helper");
    let known: u64 = descriptors(holder, "map_id", "memlock").values().sum();
    let report = Report::parse(&running.finish(), Value::Null).json;
    let said = number(&report["self"]["map_bytes"]);
    assert!(said <= known && known - said < 128 << 10, "said {said}, the kernel {known}");
}

fn doctor() {
    let output = run(&["doctor"]);
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    let report = report(&["getppid", "1"]).json;
    for row in programs(&report) {
        let name = row["name"].as_str().expect("a name");
        assert!(output.stdout.lines().any(|l| l.starts_with("ok ") && l.contains(name)), "{name}: {}", output.stdout);
    }
    assert!(output.stdout.contains("of kernel memory for maps"), "{}", output.stdout);
}
