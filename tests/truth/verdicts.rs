//! Verdicts: each rule speaks of the real situation it is about, and names who is in it.
//!
//! The facts of each situation are what the unit tests of the rules have as fixtures: `make fixtures` runs these trials and
//! writes them anew, with the processes of the situation alone.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kscope::core::interests::Interests;
use kscope::kernel::loader;
use kscope::source::{Intervals, Otherwise, Pace, When};
use kscope::verdicts::{Facts, Verdict, Window, verdicts};
use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{TempDir, run, workload_path};
use crate::workload::{self, nanosleep, pin, spin};

pub const CASES: &[Case] = &[
    ("verdicts::a_call_that_waits_for_a_cpu_is_said_with_who_ran", contended),
    ("verdicts::a_lock_and_an_uninterruptible_sleep_are_said", stuck),
    ("verdicts::a_storm_of_short_lives_is_said", short_lives),
    ("verdicts::the_report_has_them", report),
];

/// Longer than any trial; nobody stays behind when the tests are killed.
const LONG: Duration = Duration::from_mins(2);
/// Bytes that the reader reads at once: most of its time it is inside the call.
const READ: usize = 4 << 20;

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    if name != "situation" {
        return None;
    }
    let kind = args[0].as_str();
    let comm = std::ffi::CString::new(format!("truth-{kind}")).unwrap();
    // SAFETY: the name is a C string, of which the kernel takes the first 15 bytes.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) }, 0);
    println!("ready");
    let end = Instant::now() + LONG;
    match kind {
        "reader" => {
            pin();
            // Until the others come, nobody is in its way, whatever else this machine does.
            workload::stay_ahead();
            let (mut zero, mut buffer) = (File::open("/dev/zero").unwrap(), vec![0; READ]);
            while Instant::now() < end {
                zero.read_exact(&mut buffer).unwrap();
            }
        }
        "hog" => {
            pin();
            spin(LONG);
        }
        "parent" => {
            while Instant::now() < end {
                let pids: Vec<i32> = (0..20).map(|_| fork_and_end()).collect();
                for pid in pids {
                    workload::reap(pid);
                }
                assert!(nanosleep(Duration::from_millis(50)));
            }
        }
        _ => assert!(nanosleep(LONG)),
    }
    Some(json!({}))
}

fn fork_and_end() -> i32 {
    // SAFETY: the process has one thread; the child ends at once.
    match unsafe { libc::fork() } {
        // SAFETY: ends the child without running what its parent has registered for its own end.
        0 => unsafe { libc::_exit(0) },
        pid => pid,
    }
}

/// A process of a situation, until it is dropped.
struct Part(Child);

impl Part {
    fn start(kind: &str) -> Self {
        Self::of(&["--workload", "situation", kind])
    }

    fn of(args: &[&str]) -> Self {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(workload_path());
        let mut child = command.args(args).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        if args[1] == "situation" {
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        }
        Self(child)
    }
}

impl Part {
    /// Takes its precedence away.
    fn join_the_others(&self) {
        assert!(workload::schedule(self.0.id().cast_signed(), libc::SCHED_OTHER, 0));
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // SAFETY: a signal to the group that was made for it.
        unsafe { libc::kill(-self.0.id().cast_signed(), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}

/// Intervals of one length.
struct Steady {
    end: Instant,
}

impl Pace for Steady {
    fn end(&self) -> Instant {
        self.end
    }

    fn wait_until(&mut self, at: Instant) {
        std::thread::sleep(at.min(self.end).saturating_duration_since(Instant::now()));
    }

    fn looks(&mut self) -> Option<Interests> {
        None
    }
}

/// Measures in this process, interval by interval.
struct Watch {
    intervals: Intervals,
    facts: Vec<Facts>,
}

impl Watch {
    fn start() -> Self {
        let (loaded, otherwise) = (loader::load(), Otherwise::default());
        let mut intervals = Intervals::start(loaded, &otherwise, When::Never, None, Interests::default()).unwrap();
        intervals.begin_anew().unwrap();
        Self { intervals, facts: Vec::new() }
    }

    fn go_on(&mut self, intervals: usize, length: Duration) {
        for _ in 0..intervals {
            let (snapshot, _) = self.intervals.next(&mut Steady { end: Instant::now() + length }).unwrap();
            self.facts.push(Facts::of(&snapshot));
        }
    }

    /// Keeps the facts as a fixture, where that is asked for.
    fn keep(&self, fixture: &str) {
        if let Some(dir) = std::env::var_os("KSCOPE_FIXTURES") {
            write(&PathBuf::from(dir).join(format!("{fixture}.json")), &self.facts);
        }
    }

    /// What is said now.
    fn verdicts(self, fixture: &str) -> Vec<Verdict> {
        self.keep(fixture);
        verdicts(&Window::new(self.facts.iter()))
    }
}

/// Writes the facts without whoever else happened to be on this machine.
fn write(path: &Path, facts: &[Facts]) {
    let mut facts = facts.to_vec();
    for interval in &mut facts {
        interval.processes.retain(|p| p.comm.starts_with("truth-"));
        interval.stuck.retain(|s| s.comm.starts_with("truth-"));
        interval.ended.retain(|(comm, ..)| comm.starts_with("truth-"));
        for stuck in &mut interval.stuck {
            // The path is that of a temporary directory.
            stuck.on = stuck.on.rsplit('/').next().map(|rest| format!("fd 3 /run/{rest}")).unwrap_or_default();
        }
    }
    std::fs::write(path, serde_json::to_string(&facts).unwrap() + "\n").unwrap();
}

fn one<'a>(verdicts: &'a [Verdict], rule: &str, pid: Option<u32>) -> &'a Verdict {
    let found = verdicts.iter().find(|v| v.rule == rule && (pid.is_none() || v.pid == pid));
    found.unwrap_or_else(|| panic!("nothing by {rule} on {pid:?} in {verdicts:#?}"))
}

const STEP: Duration = Duration::from_millis(400);

fn contended() {
    let reader = Part::start("reader");
    let mut watch = Watch::start();
    watch.go_on(8, STEP);
    let _hogs: Vec<Part> = (0..3).map(|_| Part::start("hog")).collect();
    reader.join_the_others();
    watch.go_on(8, STEP);
    let said = watch.verdicts("contended");
    let pid = Some(reader.0.id());
    let slower = &one(&said, "slower", pid).sentence;
    assert!(slower.starts_with("p99 of read in truth-reader") && slower.contains("is waiting for a CPU"), "{slower}");
    assert!(slower.contains(" ran most"), "{slower}");
    let starved = &one(&said, "starved", pid).sentence;
    assert!(starved.contains("waits for a CPU in") && starved.contains("truth-hog (3 processes)"), "{starved}");
    let said_of_hogs = said.iter().find(|v| v.rule == "starved" && v.sentence.starts_with("truth-hog"));
    let hogs = &said_of_hogs.unwrap_or_else(|| panic!("the three are not one sentence: {said:#?}")).sentence;
    assert!(hogs.starts_with("truth-hog (3 processes) wait for a CPU in"), "{hogs}");
    assert!(one(&said, "one_cpu", None).sentence.contains("of all waiting"));
}

fn stuck() {
    let dir = TempDir::new();
    let lock = dir.join("lock");
    File::create(&lock).unwrap();
    let path = lock.to_str().unwrap();
    let mut watch = Watch::start();
    let _holder = Part::of(&["--workload", "stick", "hold", path]);
    watch.go_on(2, STEP);
    let waiter = Part::of(&["--workload", "stick", "lock", path]);
    let sleeper = Part::of(&["--workload", "stick", "uninterruptible", path]);
    watch.go_on(12, Duration::from_secs(1));
    let said = watch.verdicts("stuck");
    let locked = &one(&said, "locked", Some(waiter.0.id())).sentence;
    assert!(locked.contains("inside flock for") && locked.contains(", held by "), "{locked}");
    let asleep = &one(&said, "uninterruptible", Some(sleeper.0.id())).sentence;
    assert!(asleep.contains("inside clone in state D for"), "{asleep}");
}

fn short_lives() {
    let mut watch = Watch::start();
    watch.go_on(10, STEP);
    watch.keep("rest");
    let _parent = Part::start("parent");
    watch.go_on(4, STEP);
    let said = watch.verdicts("short_lives");
    let sentence = &one(&said, "short_lives", None).sentence;
    assert!(sentence.contains("truth-parent ends") && sentence.contains("started by truth-parent"), "{sentence}");
}

fn report() {
    let reader = Part::start("reader");
    reader.join_the_others();
    let _hogs: Vec<Part> = (0..3).map(|_| Part::start("hog")).collect();
    let output = run(&["report", "--for", "3s", "--format", "json"]);
    let json: Value = serde_json::from_str(&output.stdout).unwrap();
    let rows = json["verdicts"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["rule"] == "starved" && !row["when"].as_str().unwrap().is_empty()), "{rows:?}");
}
