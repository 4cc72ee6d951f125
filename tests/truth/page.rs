//! The page of a process: its threads one by one against the scheduler's own account of each, and the limit of its cgroup
//! against the kernel's own count of what it took away.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use ::kscope::probes::page::quota::hierarchies;
use serde_json::Value;

use crate::Case;
use crate::kscope::{Report, Running, assert_close, number, workload_path};
use crate::workload::{Schedstat, nanosleep, spin};

pub const CASES: &[Case] = &[("page::each_thread_is_as_the_scheduler_says", threads)];

/// Need a CPU controller of cgroups, and the right to make a group.
pub const LIMITED: &[Case] = &[
    ("page::a_limit_of_cpu_time_is_as_the_kernel_says", limited),
    ("page::a_group_whose_name_is_no_utf_8_has_its_limit", strangely_named),
];

const BOUND: f64 = 0.02;
/// What a thread does between the two readings beside its work: it waits at a barrier, and falls asleep.
const EDGES_NS: u64 = 1_000_000;
/// How long threads work.
const LIFE: Duration = Duration::from_secs(2);

/// `page KIND`: threads that work when they are told to, and then stay until they are killed.
pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    if name != "page" {
        return None;
    }
    let kinds: &[fn()] = match args.first()?.as_str() {
        "threads" => &[busy, busy, sleepy, mixed],
        "busy" => &[busy],
        _ => return None,
    };
    let together = Barrier::new(kinds.len() + 1);
    std::thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(|| {
                together.wait();
                kind();
                together.wait();
                rest();
            });
        }
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
        together.wait();
        together.wait();
        println!("done");
    });
    Some(Value::Null)
}

fn busy() {
    spin(LIFE);
}

fn sleepy() {
    assert!(nanosleep(LIFE));
}

fn mixed() {
    let end = Instant::now() + LIFE;
    while Instant::now() < end {
        spin(Duration::from_millis(5));
        assert!(nanosleep(Duration::from_millis(20)));
    }
}

fn rest() {
    loop {
        nanosleep(Duration::from_secs(1_000));
    }
}

/// A process that ends with the trial.
struct Workload(Child);

impl Workload {
    /// Starts it and waits until it has so many threads.
    fn start(kind: &str, threads: usize) -> Self {
        let mut command = Command::new(workload_path());
        command.args(["--workload", "page", kind]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let workload = Self(command.spawn().unwrap());
        while workload.schedstats().len() < threads {
            std::thread::yield_now();
        }
        workload
    }

    /// Has it work, and waits for the end.
    fn work(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What the scheduler says of each thread.
    fn schedstats(&self) -> BTreeMap<u64, Schedstat> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        tasks
            .filter_map(|task| {
                let path = task.ok()?.path();
                let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
                Some((path.file_name()?.to_str()?.parse().ok()?, Schedstat::parse(&text)))
            })
            .collect()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A report on one process while it works, and what `look` sees before and after.
fn watch<T>(workload: &mut Workload, look: impl Fn(&Workload) -> T) -> (Report, T, T) {
    let pid = workload.pid().to_string();
    let mut running = Running::start(&["report", "--for", "60s", "--format", "json", "--pid", &pid]);
    running.wait_until_measuring();
    let before = look(workload);
    workload.work();
    let after = look(workload);
    (Report::parse(&running.stop(), Value::Null), before, after)
}

fn threads() {
    let mut workload = Workload::start("threads", 5);
    let (report, before, after) = watch(&mut workload, Workload::schedstats);
    let shown = report.json["page"]["threads"].as_array().expect("threads");
    assert_eq!(shown.len(), before.len());
    let interval_ns = number(&report.json["interval_ns"]);
    let mut sum = 0;
    for thread in shown {
        let time = |part: &str| number(&thread["time"][part]);
        let (was, is) = (before[&number(&thread["tid"])], after[&number(&thread["tid"])]);
        let on_cpu_ns = time("user_ns") + time("kernel_ns");
        assert_close("on CPU", on_cpu_ns, is.on_cpu_ns - was.on_cpu_ns, BOUND, EDGES_NS);
        // The scheduler does not know when a hypervisor took the CPU away: that part is shown apart as well.
        let waited_ns = time("runnable_ns") - time("stolen_ns");
        report.assert_waited("waiting for a CPU", waited_ns, is.run_delay_ns - was.run_delay_ns, BOUND, EDGES_NS);
        let wall_ns = on_cpu_ns + time("runnable_ns") + time("blocked_ns");
        assert_close("all of a thread", wall_ns, interval_ns, BOUND, 0);
        sum += wall_ns;
        let causes = thread["time"]["blocked_by"].as_object().unwrap().values().map(number).sum::<u64>();
        assert_eq!(causes, time("blocked_ns"), "{thread}");
    }
    let whole = &report.process(workload.pid().into()).0["time"];
    let whole_ns: u64 =
        ["user_ns", "kernel_ns", "runnable_ns", "blocked_ns"].iter().map(|part| number(&whole[part])).sum();
    assert_close("threads x wall time", whole_ns, interval_ns * before.len() as u64, BOUND, 0);
    assert_eq!(whole_ns, sum, "the threads are the process");
}

/// A group of its own, gone when dropped.
struct Group(PathBuf);

impl Group {
    /// One whose name ends with these bytes.
    fn new(end: &[u8]) -> std::io::Result<Self> {
        let mounts = std::fs::read("/proc/self/mounts")?;
        let name = [format!("kscope-truth-{}", std::process::id()).as_bytes(), end].concat();
        let path = |mount: &str| Path::new(mount).join(OsStr::from_bytes(&name));
        for hierarchy in hierarchies(&mounts) {
            let group = path(&hierarchy.mount);
            std::fs::create_dir(&group)?;
            let group = Self(group);
            let set = if hierarchy.unified {
                std::fs::write(group.0.join("cpu.max"), "20000 100000")
            } else {
                std::fs::write(group.0.join("cpu.cfs_period_us"), "100000")
                    .and_then(|()| std::fs::write(group.0.join("cpu.cfs_quota_us"), "20000"))
            };
            if set.is_ok() {
                return Ok(group);
            }
        }
        Err(std::io::Error::other("no hierarchy of cgroups has the CPU controller"))
    }

    /// Periods in which it was throttled, and for how long.
    fn throttled(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        let ns = field("throttled_time ").or_else(|| field("throttled_usec ").map(|us| us * 1_000)).unwrap();
        (field("nr_throttled ").unwrap(), ns)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A killed process leaves its group a moment later.
        while std::fs::remove_dir(&self.0).is_err_and(|e| e.kind() == std::io::ErrorKind::ResourceBusy) {
            std::thread::yield_now();
        }
    }
}

/// Why no limit can be set here, if so.
pub fn no_limits() -> Option<String> {
    Group::new(b"").err().map(|error| format!("needs to limit the CPU time of a cgroup: {error}"))
}

/// Whoever may make a group may call it by any bytes, those that are no UTF-8 too.
fn strangely_named() {
    let group = Group::new(b"-\xff").unwrap();
    let mut workload = Workload::start("busy", 2);
    std::fs::write(group.0.join("cgroup.procs"), workload.pid().to_string()).unwrap();
    let (report, ..) = watch(&mut workload, |_| ());
    let quota = &report.json["page"]["quota"];
    assert!(quota["cgroup"].as_str().is_some_and(|path| path.ends_with("-\u{fffd}")), "{}", report.json["page"]);
    assert_eq!((number(&quota["quota_ns"]), number(&quota["period_ns"])), (20_000_000, 100_000_000));
}

fn limited() {
    let group = Group::new(b"").unwrap();
    let mut workload = Workload::start("busy", 2);
    std::fs::write(group.0.join("cgroup.procs"), workload.pid().to_string()).unwrap();
    let (report, before, after) = watch(&mut workload, |_| group.throttled());
    let quota = &report.json["page"]["quota"];
    assert!(quota["cgroup"].as_str().is_some_and(|path| group.0.ends_with(path.trim_start_matches('/'))), "{quota}");
    assert_eq!((number(&quota["quota_ns"]), number(&quota["period_ns"])), (20_000_000, 100_000_000));
    // The period in which the work ended is over after it.
    assert_close("throttled periods", number(&quota["throttled"]), after.0 - before.0, 0.0, 1);
    assert_close("throttled", number(&quota["throttled_ns"]), after.1 - before.1, BOUND, 100_000_000);
    assert!(number(&quota["throttled"]) > 5, "a workload that was not throttled: {quota}");
    let time = &report.process(workload.pid().into()).0["time"];
    let on_cpu_ns = number(&time["user_ns"]) + number(&time["kernel_ns"]);
    assert!(on_cpu_ns * 10 < number(&report.json["interval_ns"]) * 3, "{time}");
    drop(workload);
}
