//! Run-queue delays against the scheduler's own account of them: fields 2 and 3 of `/proc/PID/task/TID/schedstat`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{assert_close, number, report};
use crate::workload::{Schedstat, arg, in_child, nanosleep, pin, spin};

pub const CASES: &[Case] = &[
    ("runqueue::two_processes_on_one_cpu", processes),
    ("runqueue::two_threads_of_a_process_on_one_cpu", threads),
    ("runqueue::two_that_work_and_sleep_on_one_cpu", sleepers),
];

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    let busy = || spin(Duration::from_millis(arg(args, 0)));
    let children = match name {
        "compete-processes" => {
            pin();
            vec![in_child(|| account(|| busy_alone(busy))), in_child(|| account(|| busy_alone(busy)))]
        }
        "compete-threads" => {
            pin();
            vec![in_child(|| account(|| busy_threads(2, busy)))]
        }
        "compete-sleepers" => {
            pin();
            // Long work and few wake-ups: where one preempts, the scheduler counts from the wake-up, not from the switch.
            // That is microseconds, on an emulated machine 200, and of short waits that would be a visible part.
            let turns = || {
                for _ in 0..arg(args, 0) / 80 {
                    spin(Duration::from_millis(40));
                    assert!(nanosleep(Duration::from_millis(5)));
                }
            };
            vec![in_child(|| account(|| busy_alone(turns))), in_child(|| account(|| busy_alone(turns)))]
        }
        _ => return None,
    };
    Some(children.into_iter().map(crate::workload::Child::join).collect())
}

fn processes() {
    compare(&["compete-processes", "2000"], 2);
}

fn threads() {
    compare(&["compete-threads", "2000"], 1);
}

fn sleepers() {
    compare(&["compete-sleepers", "2000"], 2);
}

/// A child is born into the measurement, so what the scheduler has counted at its end is the growth since its begin.
fn compare(workload: &[&str], processes: usize) {
    let report = report(workload);
    let children = report.facts.as_array().unwrap();
    assert_eq!(children.len(), processes);
    for child in children {
        let shown = &report.process(number(&child["pid"])).0["runqueue"];
        let known = number(&child["run_delay_ns"]);
        assert!(known > 20_000_000, "a workload that did not wait: {child}");
        report.assert_waited("run-queue delay", number(&shown["total_ns"]), known, 0.05, 0);
        assert_close("waits", number(&shown["count"]), number(&child["timeslices"]), 0.05, 3);
        assert!(number(&shown["max_ns"]) <= number(&shown["total_ns"]), "{shown}");
    }
}

/// What the scheduler says of all threads that `work` gives back.
fn account(work: impl FnOnce() -> Schedstat) -> Value {
    let all = work();
    json!({ "run_delay_ns": all.run_delay_ns, "timeslices": all.timeslices })
}

fn busy_alone(work: impl FnOnce()) -> Schedstat {
    work();
    Schedstat::of_this_thread()
}

fn busy_threads(threads: u32, work: impl Fn() + Sync) -> Schedstat {
    let others = std::thread::scope(|s| {
        let started: Vec<_> = (0..threads).map(|_| s.spawn(|| busy_alone(&work))).collect();
        started.into_iter().map(|t| t.join().unwrap()).fold(Schedstat::default(), Schedstat::plus)
    });
    Schedstat::of_this_thread().plus(others)
}
