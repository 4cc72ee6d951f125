//! What a filter lets through, what is said when it lets nothing through, and the other two formats.

use crate::Case;
use crate::kscope::{Report, report_as, run};

/// Need no privileges.
pub const PLAIN_CASES: &[Case] = &[("arguments::bad_ones_are_status_2_and_a_sentence", bad_arguments)];

pub const KERNEL_CASES: &[Case] = &[
    ("filters::a_pid_that_nobody_has_is_named", unknown_pid),
    ("filters::a_name_that_nobody_has_gives_no_process", unknown_name),
    ("filters::csv_has_a_header_and_the_same_count", csv),
    ("filters::text_names_the_call_and_its_count", text),
];

fn bad_arguments() {
    let bad: [&[&str]; 6] = [
        &["report", "--format", "yaml"],
        &["report", "--for", "five"],
        &["report", "--for=-1s"],
        &["report", "--pid", "init"],
        &["report", "--no-such-option"],
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
    let report = Report::parse(&output, serde_json::Value::Null);
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
