//! Rungs below the best: what is counted by the next one, or why it cannot be, in words.
//!
//! Which rung a kernel has is found by asking for it. A trial passes where the rung counts rightly, and where it is refused
//! for a stated reason and nothing is shown in place of the numbers.

use serde_json::Value;

use crate::Case;
use crate::kscope::{Report, number, report_as};

pub const CASES: &[Case] = &[
    ("ladder::without_tracepoints_bytes_are_counted_by_fexit_or_it_says_why", || below("fexit")),
    ("ladder::without_fexit_bytes_are_counted_by_kprobes_or_it_says_why", || below("kprobe")),
    ("ladder::what_does_not_depend_on_the_rung_is_counted_all_the_same", calls),
];

const BYTES: u64 = 1_000_000;

fn below(hook: &str) {
    let (output, facts) =
        report_as(&["--from-hook", hook, "--format", "json"], &["tcp", "v4", &BYTES.to_string(), "peek"]);
    let report = Report::parse(&output, facts);
    let programs = programs(&report.json);
    let running: Vec<&Value> = programs.iter().copied().filter(|p| p["running"] == true).collect();
    if running.is_empty() {
        refused(&report.json, &programs, hook);
        return;
    }
    let sender = report.process(number(&report.facts["sender"]["pid"])).0;
    let receiver = report.process(number(&report.facts["receiver"]["pid"])).0;
    assert_eq!((number(&sender["network"]["tx_bytes"]), number(&sender["network"]["rx_bytes"])), (BYTES, 0));
    assert_eq!((number(&receiver["network"]["tx_bytes"]), number(&receiver["network"]["rx_bytes"])), (0, BYTES));
    let exact = running.iter().all(|p| p["hook"] == "fexit");
    assert!(exact || running.iter().all(|p| p["hook"] == "kprobe" || p["hook"] == "kretprobe"), "{running:?}");
    assert_eq!(report.json["quality"]["network"], if exact { "exact" } else { "lower_bound" });
    for program in running {
        let why = program["fallback"].as_str().expect("why it is not on a better rung");
        assert!(why.contains("tp_btf was not tried") || why.contains("no tracepoint"), "{why}");
    }
}

/// No number is shown, and each rung that was tried says what it met.
fn refused(report: &Value, programs: &[&Value], from: &str) {
    assert_eq!(report["quality"]["network"], "not_available");
    assert!(report["network"].is_null(), "{}", report["network"]);
    assert!(!programs.is_empty(), "no program of the network is listed");
    for program in programs {
        let reason = program["reason"].as_str().expect("a reason");
        assert!(reason.contains("tp_btf was not tried") || reason.contains("no tracepoint"), "{reason}");
        assert!(from == "kprobe" || reason.contains("fexit"), "{reason}");
        assert!(reason.contains("kprobe"), "{reason}");
    }
}

fn calls() {
    let (output, facts) = report_as(&["--from-hook", "kprobe", "--format", "json"], &["getppid", "10000"]);
    let report = Report::parse(&output, facts);
    assert_eq!(report.json["quality"]["syscalls"], "exact");
    assert_eq!(report.process(number(&report.facts["pid"])).count("getppid"), 10_000);
}

/// The programs on bytes of the network, and no others, may be on other rungs.
fn programs(report: &Value) -> Vec<&Value> {
    let all = report["self"]["probes"].as_array().expect("an array of programs");
    let (network, others): (Vec<&Value>, Vec<&Value>) =
        all.iter().partition(|p| p["hook"] != "tp_btf" || p["name"].as_str().is_some_and(|n| n.starts_with("sock_")));
    assert!(others.iter().all(|p| p["fallback"].is_null()), "{others:?}");
    network
}
