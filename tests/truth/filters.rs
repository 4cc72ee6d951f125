//! What a filter lets through, what is said when it lets nothing through, and the other two formats.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use ::kscope::kernel::loader;
use ::kscope::kernel::programs::Insight;
use kscope_layout::RecordKey;
use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{self, Report, Running, call, number, report_as, run};
use crate::workload;

/// Need no privileges.
pub const PLAIN_CASES: &[Case] = &[("arguments::bad_ones_are_status_2_and_a_sentence", bad_arguments)];

pub const KERNEL_CASES: &[Case] = &[
    ("filters::a_pid_that_nobody_has_is_named", unknown_pid),
    ("filters::a_name_that_nobody_has_gives_no_process", unknown_name),
    ("filters::csv_has_a_header_and_the_same_count", csv),
    ("filters::text_names_the_call_and_its_count", text),
    ("filters::only_the_chosen_process_is_measured", only),
    ("filters::others_have_no_entry_when_one_is_chosen", only_in_the_kernel),
];

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    (name == "when-told").then(|| {
        println!("ready");
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
        workload::call(libc::SYS_getppid, workload::arg(args, 0));
        json!({})
    })
}

fn bad_arguments() {
    let bad: [&[&str]; 9] = [
        &["report", "--format", "yaml"],
        &["report", "--for", "five"],
        &["report", "--for=-1s"],
        &["report", "--pid", "init"],
        &["report", "--no-such-option"],
        &["report", "--only", "--", "--pid"],
        &["report", "--only", "--pid", "1", "--", "command"],
        &["report", "--pid", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "--only"],
        &["no-such-command"],
    ];
    for args in bad {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "status of {args:?}; stderr: {}", output.stderr);
        assert_eq!(output.stdout, "", "stdout of {args:?}");
        assert!(output.stderr.contains(' ') && output.stderr.lines().count() <= 12, "{args:?}: {}", output.stderr);
        let offender = args.last().unwrap().trim_start_matches("--for=");
        assert!(output.stderr.contains(offender), "{args:?} does not name {offender}: {}", output.stderr);
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    }
}

/// A pid that is free now: the largest that the kernel could give, which it does only after all the others.
fn free_pid() -> String {
    let max: u32 = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap().trim().parse().unwrap();
    let free = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    (1..max).rev().find(free).unwrap().to_string()
}

fn unknown_pid() {
    let pid = free_pid();
    let output = run(&["report", "--for", "1s", "--format", "json", "--pid", &pid]);
    let sentence = format!("no process {pid}");
    assert!(output.stderr.contains(&sentence), "stderr does not say \"{sentence}\": {}", output.stderr);
    assert!(output.status.code().is_some_and(|code| code < 2), "{}: {}", output.status, output.stderr);
}

fn unknown_name() {
    let output = run(&["report", "--for", "1s", "--format", "json", "--comm", "nobody-is-*-so"]);
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    let report = Report::parse(&output, Value::Null);
    assert_eq!(report.all().len(), 0, "{}", report.json["processes"]);
}

fn csv() {
    let (output, _) = report_as(&["--format", "csv"], &["getppid", "1234"]);
    let mut lines = output.stdout.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let count = header.iter().position(|name| *name == "count").expect("a column named count");
    let rows: Vec<_> = lines.filter(|row| row.contains(&"getppid")).collect();
    assert!(!rows.is_empty(), "no row for getppid in {}", output.stdout);
    for row in rows {
        assert_eq!((row.len(), row[count]), (header.len(), "1234"), "{row:?} under {header:?}");
    }
}

fn text() {
    let (output, _) = report_as(&["--format", "text"], &["getppid", "543"]);
    let row = output.stdout.lines().find(|line| line.contains("getppid"));
    let row = row.unwrap_or_else(|| panic!("no line for getppid in {}", output.stdout));
    assert!(row.split_whitespace().any(|word| word == "543"), "{row}");
    assert!(!output.stdout.contains('\u{1b}'), "escape sequences where no terminal is");
}

/// A process that waits to be told, and then makes calls.
struct Told {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Told {
    fn start(calls: u64) -> Self {
        let mut command = Command::new(kscope::workload_path());
        command.args(["--workload", "when-told", &calls.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        Self { child, said }
    }

    fn tell_and_wait(mut self) {
        self.child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(self.child.wait().unwrap().success());
        drop(self.said);
    }
}

fn only() {
    let (chosen, other) = (Told::start(12_345), Told::start(777));
    let (pid, other_pid) = (chosen.child.id(), other.child.id());
    let mut running =
        Running::start(&["report", "--for", "60s", "--format", "json", "--only", "--pid", &pid.to_string()]);
    running.wait_until_measuring();
    other.tell_and_wait();
    chosen.tell_and_wait();
    let report = Report::parse(&running.stop(), Value::Null);
    assert_eq!(report.json["only"], json!([pid]));
    assert_eq!(report.process(pid.into()).count("getppid"), 12_345);
    let row = call(&report.json, "getppid").expect("a row for getppid");
    assert_eq!(number(&row["count"]), 12_345);
    assert!(report.processes(other_pid.into()).is_empty(), "{}", report.json["processes"]);
}

/// A filter hides the others in any case; that they are not even counted shows in the tables of the kernel.
fn only_in_the_kernel() {
    let (chosen, other) = (Told::start(100), Told::start(100));
    let pid = chosen.child.id();
    let loaded = loader::load_with(&Insight::ALL, &[pid]).unwrap();
    other.tell_and_wait();
    chosen.tell_and_wait();
    workload::call(libc::SYS_getppid, 100);
    let threads = &loaded.maps.threads;
    let owners: Vec<u32> =
        (0..threads.len()).filter_map(|at| threads.get(at)).filter(|t| t.tid != 0).map(|t| t.tgid).collect();
    assert!(!owners.is_empty() && owners.iter().all(|owner| *owner == pid), "{owners:?}, not only {pid}");
    let heads = &loaded.maps.records.heads;
    let keys = (0..heads.len()).filter_map(|at| heads.get(at)).map(|head| head.key).filter(|key| key.0 != 0);
    let owners: Vec<u32> = keys.map(RecordKey::tgid).collect();
    assert!(!owners.is_empty() && owners.iter().all(|owner| *owner == pid), "{owners:?}, not only {pid}");
}
