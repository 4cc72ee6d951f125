//! A budget: what the kernel says of the programs' run time, and what a storm of calls knows of itself.

use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use serde_json::Value;

use crate::Case;
use crate::kscope::{Report, Running, call, number};
use crate::own::descriptors;
use crate::workload;

pub const CASES: &[Case] = &[
    ("budget::a_storm_of_calls_stays_within_it", dear_storm),
    ("budget::a_storm_of_calls_is_still_counted", storm),
    ("budget::a_storm_of_switches_is_still_counted", switches),
    ("budget::within_it_everything_is_exact", within),
];

/// Pairs of calls between two additions to the counter.
const BATCH: u64 = 500;

/// Processes that make system calls on all CPUs as fast as they can, very short ones and some of microseconds, until this is
/// gone.
struct Storm {
    counters: &'static [AtomicU64],
    children: Vec<libc::pid_t>,
}

impl Storm {
    fn begin() -> Self {
        let cpus = std::thread::available_parallelism().unwrap().get();
        // A cache line for each.
        let words = cpus * 8;
        // SAFETY: a new mapping, of whole words, that is never unmapped.
        let counters = unsafe {
            let memory = libc::mmap(
                std::ptr::null_mut(),
                words * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(memory, libc::MAP_FAILED);
            std::slice::from_raw_parts(memory.cast::<AtomicU64>(), words)
        };
        let zero = std::fs::File::open("/dev/zero").unwrap();
        let mut buffer = vec![0_u8; 128 << 10];
        // SAFETY: the child makes system calls and adds to memory, nothing else; it ends with its parent.
        let mut child = |at: usize| unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                loop {
                    for _ in 0..BATCH {
                        libc::syscall(libc::SYS_getppid);
                        libc::pread(zero.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0);
                    }
                    counters[at * 8].fetch_add(BATCH, Ordering::Relaxed);
                }
            }
            pid
        };
        Self { counters, children: (0..cpus).map(&mut child).collect() }
    }

    /// Calls of each kind made so far, to some thousands.
    fn calls(&self) -> u64 {
        self.counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        end(&self.children);
    }
}

fn end(children: &[libc::pid_t]) {
    for child in children {
        // SAFETY: a child of ours that was not waited for yet.
        unsafe {
            libc::kill(*child, libc::SIGKILL);
            libc::waitpid(*child, std::ptr::null_mut(), 0);
        }
    }
}

/// Pairs of processes that hand a byte to and fro, one for each CPU, until this is gone.
struct PingPong(Vec<libc::pid_t>);

impl PingPong {
    fn begin() -> Self {
        let pairs = std::thread::available_parallelism().unwrap().get();
        let pair = |_| {
            let (one, other) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
            [Self::player(&one.0, &other.1, true), Self::player(&other.0, &one.1, false)]
        };
        Self((0..pairs).flat_map(pair).collect())
    }

    fn player(from: &std::io::PipeReader, to: &std::io::PipeWriter, begins: bool) -> libc::pid_t {
        let mut byte = 0_u8;
        // SAFETY: the child reads and writes a byte of its own stack through open pipes, nothing else; it ends with its
        // parent.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if begins {
                    libc::write(to.as_raw_fd(), (&raw const byte).cast(), 1);
                }
                loop {
                    libc::read(from.as_raw_fd(), (&raw mut byte).cast(), 1);
                    libc::write(to.as_raw_fd(), (&raw const byte).cast(), 1);
                }
            }
            pid
        }
    }

    /// Time on CPUs in ns, and how often they were put on one.
    fn schedstat(&self) -> (u64, u64) {
        let one = |pid: &libc::pid_t| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            let fields: Vec<u64> = text.split_whitespace().map(|field| field.parse().unwrap()).collect();
            (fields[0], fields[2])
        };
        self.0.iter().map(one).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        end(&self.0);
    }
}

/// The share of the machine's CPU time that programs take in the next seconds, as the kernel counts it.
fn run_time_share(pid: u32, time: Duration) -> f64 {
    let _on = enable_stats(Stats::RunTime).expect("run statistics");
    let sum = || descriptors(pid, "prog_id", "run_time_ns").values().sum::<u64>();
    let (before, begin) = (sum(), std::time::Instant::now());
    std::thread::sleep(time);
    let cpus = std::thread::available_parallelism().unwrap().get();
    (sum() - before) as f64 / (begin.elapsed().as_nanos() as f64 * cpus as f64)
}

/// A report that keeps a budget of 1 %.
fn within_a_percent() -> Running {
    let mut running = Running::start(&["report", "--budget", "1%", "--for", "120s", "--format", "json"]);
    running.wait_until_measuring();
    running
}

fn dear_storm() {
    let _storm = Storm::begin();
    let mut running = within_a_percent();
    running.wait_for("system calls are counted in windows");
    let share = run_time_share(running.pid(), Duration::from_secs(4));
    running.stop();
    assert!(share <= 0.015, "programs ran for {:.2} % of the CPU time", share * 100.0);
}

/// Nobody counts the runs of programs meanwhile: it makes calls dearer, and what kscope knows of their price is that of the
/// last windows.
fn storm() {
    let storm = Storm::begin();
    let mut running = within_a_percent();
    let begin = storm.calls();
    running.wait_for("system calls are counted in windows");
    // Up to here every call was counted, or by chance one in some.
    let sampled = storm.calls();
    // A window is a sample of some hundred calls, off by 7 % (one standard deviation): of thirty, a bit over 1 % is left.
    std::thread::sleep(Duration::from_secs(30));
    let end = storm.calls();
    drop(storm);
    running.wait_for("all system calls are counted");
    let output = running.stop();
    let report = Report::parse(&output, Value::Null).json;

    assert_eq!(report["quality"]["syscalls"], "sampled");
    let others = (&report["quality"]["runqueue"], &report["quality"]["network"]);
    assert_eq!(others, (&"exact".into(), &"exact".into()), "{}", output.stderr);
    let row = &report["sampling"][0];
    assert!(row["of"] == "system calls" && number(&row["one_in"]) > 1, "{row}");
    assert!(row["watched"].as_f64().is_some_and(|watched| watched > 0.0 && watched < 0.9), "{row}");
    for name in ["getppid", "pread64"] {
        let seen = number(&call(&report, name).expect(name)["count"]).saturating_sub(sampled - begin);
        let known = end - sampled;
        let off = seen as f64 / known as f64 - 1.0;
        assert!(off.abs() <= 0.1, "{name}: {seen} of {known} sampled calls: off by {:.1} %", off * 100.0);
    }
}

fn switches() {
    let players = PingPong::begin();
    // All insights are too dear for it, the scheduler's programs as well.
    let mut running = Running::start(&["report", "--budget", "1%", "--for", "80s", "--format", "json"]);
    running.wait_until_measuring();
    let begin = players.schedstat();
    running.wait_for("waits for a CPU are counted in windows");
    let sampled = players.schedstat();
    std::thread::sleep(Duration::from_secs(15));
    let end = players.schedstat();
    let report = Report::parse(&running.stop(), Value::Null);
    let rows: Vec<_> = players.0.iter().map(|pid| report.process(pid.unsigned_abs().into()).0).collect();
    drop(players);

    assert_eq!(
        (&report.json["quality"]["runqueue"], &report.json["quality"]["time"]),
        (&"sampled".into(), &"sampled".into())
    );
    let sum = |get: &dyn Fn(&Value) -> u64| rows.iter().map(|row| get(row)).sum::<u64>();
    let waits = sum(&|row| number(&row["runqueue"]["count"])).saturating_sub(sampled.1 - begin.1);
    let on_cpu = sum(&|row| number(&row["time"]["user_ns"]) + number(&row["time"]["kernel_ns"]));
    let off = |seen: u64, known: u64| seen as f64 / known as f64 - 1.0;
    let (waits, on_cpu) = (off(waits, end.1 - sampled.1), off(on_cpu - (sampled.0 - begin.0), end.0 - sampled.0));
    // What the README states: a window is a short look at a load that varies.
    assert!(waits.abs() <= 0.25 && on_cpu.abs() <= 0.25, "off by {:.1} % and {:.1} %", waits * 100.0, on_cpu * 100.0);
}

fn within() {
    let mut running = Running::start(&["report", "--budget", "50%", "--for", "3s", "--format", "json"]);
    running.wait_until_measuring();
    workload::call(libc::SYS_getppid, 100_000);
    let report = Report::parse(&running.finish(), Value::Null);
    let own = report.process(std::process::id().into());
    assert_eq!(own.count("getppid"), 100_000);
    assert!(report.json["quality"]["syscalls"] == "exact" && report.json["sampling"].is_null());
    assert_eq!(report.json["self"]["budget"], 0.5);
}
