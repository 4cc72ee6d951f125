//! Where thread time went: the four parts against wall time, on-CPU time against the scheduler's and `wait4`'s account.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use kscope::probes::time::stats::TimeSplit;
use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{assert_close, number, report};
use crate::workload::{self, Schedstat, arg, in_child, nanosleep, ns, spin};

pub const CASES: &[Case] = &[
    ("time::a_busy_thread", || compare("busy", "0")),
    ("time::a_sleeping_thread", || compare("asleep", "0")),
    ("time::a_thread_that_works_and_sleeps", || compare("mixed", "0")),
    ("time::a_thread_that_is_busy_in_the_kernel", || compare("kernel", "0")),
    ("time::four_busy_threads", || compare("busy", "4")),
    ("time::four_threads_that_work_and_sleep", || compare("mixed", "4")),
];

const BOUND: f64 = 0.02;
/// The child's first and last steps (returning from fork, handing back its facts, giving up its memory), which it cannot
/// see itself. It decides only where there is next to nothing to count: the on-CPU time of one that sleeps.
const EDGES_NS: u64 = 1_000_000;
/// Long enough that those steps are far below the bound.
const LIFE: Duration = Duration::from_millis(1_800);

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    let work: fn() -> Duration = match (name, args.first()?.as_str()) {
        ("time", "busy") => || {
            spin(LIFE);
            Duration::ZERO
        },
        ("time", "asleep") => || {
            assert!(nanosleep(LIFE));
            LIFE
        },
        ("time", "mixed") => mixed,
        ("time", "kernel") => read_zeros,
        _ => return None,
    };
    Some(in_child(|| live(arg(args, 1), work)).join())
}

fn compare(kind: &str, threads: &str) {
    let report = report(&["time", kind, threads]);
    let facts = &report.facts;
    let row = &report.process(number(&facts["pid"])).0["time"];
    let part = |name: &str| number(&row[name]);
    let parts = TimeSplit {
        user_ns: part("user_ns"),
        kernel_ns: part("kernel_ns"),
        runnable_ns: part("runnable_ns"),
        blocked_ns: part("blocked_ns"),
        stolen_ns: part("stolen_ns"),
        ..TimeSplit::default()
    };
    assert_close("all four parts", parts.total_ns(), number(&facts["wall_ns"]), BOUND, EDGES_NS);
    assert_close("on CPU, by rusage", parts.on_cpu_ns(), number(&facts["rusage_ns"]), BOUND, EDGES_NS);
    let by_schedstat = number(&facts["main_on_cpu_ns"]) + number(&facts["others_on_cpu_ns"]);
    assert_close("on CPU, by schedstat", parts.on_cpu_ns(), by_schedstat, BOUND, EDGES_NS);
    // What the CPUs' other users do decides how much of the rest is waiting for one: only this much is certain.
    let asleep_ns = number(&facts["asleep_ns"]) as f64;
    assert!(parts.blocked_ns as f64 >= asleep_ns * (1.0 - BOUND), "less blocked than asleep ({asleep_ns} ns): {row}");
    let (large, on_cpu_ns) = match kind {
        "busy" => (parts.user_ns, parts.on_cpu_ns()),
        "kernel" => (parts.kernel_ns, parts.on_cpu_ns()),
        _ => return,
    };
    assert!(10 * large > 9 * on_cpu_ns, "on a CPU, but on the wrong side of the border: {row}");
}

/// Works in `threads` threads, or without any in the main one, and adds up what each saw of its own life. `work` gives
/// back how long it asked to sleep.
fn live(threads: u64, work: fn() -> Duration) -> Value {
    let (begin, mut all_ns, mut seen) = (Instant::now(), 0, Schedstat::default());
    let mut asleep = if threads == 0 { work() } else { Duration::ZERO };
    std::thread::scope(|s| {
        let started: Vec<_> = (0..threads)
            .map(|_| {
                s.spawn(move || {
                    let begin = Instant::now();
                    let asleep = work();
                    (asleep, Schedstat::of_this_thread(), ns(begin.elapsed()))
                })
            })
            .collect();
        for thread in started {
            let (slept, stat, wall_ns) = thread.join().unwrap();
            asleep += slept;
            seen = seen.plus(stat);
            all_ns += wall_ns;
        }
    });
    json!({ "wall_ns": all_ns + ns(begin.elapsed()), "others_on_cpu_ns": seen.on_cpu_ns, "asleep_ns": ns(asleep) })
}

fn mixed() -> Duration {
    let nap = Duration::from_millis(3);
    let (end, mut asleep) = (Instant::now() + LIFE, Duration::ZERO);
    while Instant::now() < end {
        spin(Duration::from_millis(2));
        workload::call(libc::SYS_getppid, 100);
        assert!(nanosleep(nap));
        asleep += nap;
    }
    asleep
}

fn read_zeros() -> Duration {
    let mut zeros = File::open("/dev/zero").unwrap();
    let mut block = vec![0_u8; 1 << 20];
    let end = Instant::now() + LIFE;
    while Instant::now() < end {
        zeros.read_exact(&mut block).unwrap();
    }
    Duration::ZERO
}
