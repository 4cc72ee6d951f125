//! Runs the program under test and reads what it says: `kscope report` around a workload, or around whatever a trial
//! does while it measures.
//!
//! Invariant: nothing here waits for ever; a program that hangs is killed and the trial fails with what it had said.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workload::Steal;

/// Longer than any trial's program takes, short enough to be waited for.
const DEADLINE: Duration = Duration::from_secs(90);
/// The line on stderr after which everything is counted.
const MEASURING: &str = "kscope: measuring";

/// The executable of these tests, which is also the workload.
pub fn workload_path() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// A directory of its own, gone when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = || {
            let unique = format!("kscope-truth-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            std::env::temp_dir().join(unique)
        };
        // One that was killed left its own behind, and its pid is used again.
        let made = |path: &PathBuf| match std::fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            done => done.map(|()| true).unwrap(),
        };
        Self(std::iter::repeat_with(next).find(made).unwrap())
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A leftover in the temporary directory is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running kscope.
pub struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    lines: Receiver<String>,
    stderr: String,
    steal: Steal,
    pub spawned: Instant,
}

/// What a kscope that ended has said.
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// See [`Report::stolen_ns`].
    stolen_ns: u64,
}

impl Running {
    /// Runs a command that turns into kscope, or starts it.
    pub fn spawn(mut command: Command) -> Self {
        let (spawned, steal) = (Instant::now(), Steal::begin());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kscope starts");
        let (mut out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stdout = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let (sender, lines) = channel();
        std::thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).try_for_each(|l| sender.send(l)));
        Self { child, stdout, lines, stderr: String::new(), steal, spawned }
    }

    /// `kscope ARGS` in the background.
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
        command.args(args);
        Self::spawn(command)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that all probes are attached and the first sample is taken.
    pub fn wait_until_measuring(&mut self) {
        while !self.stderr.lines().any(|line| line == MEASURING) {
            self.next_line().unwrap_or_else(|| panic!("kscope ended before it measured: {}", self.stderr));
        }
    }

    /// Waits until it says something with `text` in it.
    pub fn wait_for(&mut self, text: &str) {
        while !self.stderr.contains(text) {
            self.next_line().unwrap_or_else(|| panic!("kscope ended and never said {text:?}: {}", self.stderr));
        }
    }

    /// Asks it to stop measuring, and waits until it has ended.
    pub fn stop(self) -> Output {
        self.ask_to_stop();
        self.finish()
    }

    /// Asks it to stop measuring.
    pub fn ask_to_stop(&self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::INT)
            .expect("it runs as long as it measures");
    }

    /// Kills it, or a process of its, and waits until it has ended.
    pub fn kill(self, pid: u32) -> Output {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        self.finish()
    }

    /// Waits until it has ended.
    pub fn finish(mut self) -> Output {
        while self.next_line().is_some() {}
        let deadline = self.spawned + DEADLINE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => self.give_up(),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Output { status, stdout: self.stdout.join().unwrap(), stderr: self.stderr, stolen_ns: self.steal.ns() }
    }

    /// The next line of stderr; `None` when it is closed.
    fn next_line(&mut self) -> Option<()> {
        let left = (self.spawned + DEADLINE).saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                writeln!(self.stderr, "{line}").unwrap();
                Some(())
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => self.give_up(),
        }
    }

    fn give_up(&mut self) -> ! {
        let _ = self.child.kill();
        panic!("kscope did not end in {DEADLINE:?}; it said: {}", self.stderr);
    }
}

/// A report as JSON, with the facts of its workload (null without one).
pub struct Report {
    pub json: Value,
    pub facts: Value,
    /// What a hypervisor took of all CPUs while kscope ran, at most.
    pub stolen_ns: u64,
}

/// Runs `kscope ARGS` to its end.
pub fn run(args: &[&str]) -> Output {
    Running::start(args).finish()
}

/// `kscope report ARGS -- WORKLOAD` and the facts of the workload.
pub fn report_as(args: &[&str], workload: &[&str]) -> (Output, Value) {
    let dir = TempDir::new();
    let facts = dir.join("facts.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
    command.arg("report").args(args).arg("--").arg(workload_path()).arg("--workload").args(workload);
    let output = Running::spawn({
        command.env("KSCOPE_FACTS", &facts);
        command
    })
    .finish();
    assert!(output.status.success(), "kscope ended with {}: {}", output.status, output.stderr);
    let text = std::fs::read_to_string(&facts).unwrap_or_else(|e| panic!("no facts ({e}): {}", output.stderr));
    (output, serde_json::from_str(&text).unwrap())
}

/// The report on a workload, in JSON. Nothing may have been lost.
pub fn report(workload: &[&str]) -> Report {
    let (output, facts) = report_as(&["--format", "json"], workload);
    let report = Report::parse(&output, facts);
    assert_eq!(report.json["command"]["status"], 0, "exit status of the workload in {}", report.json["command"]);
    report
}

impl Report {
    pub fn parse(output: &Output, facts: Value) -> Self {
        let json: Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {:?}; stderr: {}", output.stdout, output.stderr));
        assert_eq!(json["schema"], 1);
        let dropped = &json["self"]["dropped"];
        assert_eq!((&dropped["threads"], &dropped["latency"]), (&Value::from(0), &Value::from(0)), "losses");
        Self { json, facts, stolen_ns: output.stolen_ns }
    }

    /// Of what a run said in another way, which may have lost something and ran on a machine of which nothing was stolen.
    pub const fn of(json: Value, facts: Value) -> Self {
        Self { json, facts, stolen_ns: 0 }
    }

    /// What a hypervisor took of all CPUs while kscope ran, at most, ns.
    pub const fn stolen_ns(&self) -> u64 {
        self.stolen_ns
    }

    /// Fails unless `shown` is the wait that the scheduler knows of, to a part of it (`bound`) and `floor`.
    ///
    /// Where a wake-up preempts, the scheduler ends the wait when it begins, and does not look at its clock again
    /// (`rq_clock_skip_update`). If a hypervisor has taken that CPU away, the thread waits on and the scheduler never learns:
    /// what was stolen meanwhile may be in the wait besides.
    pub fn assert_waited(&self, what: &str, shown: u64, known: u64, bound: f64, floor: u64) {
        let besides = shown.saturating_sub(known).min(self.stolen_ns);
        assert_close(what, shown - besides, known, bound, floor);
    }

    /// The rows of all processes that had this pid.
    pub fn processes(&self, pid: u64) -> Vec<Process<'_>> {
        self.all().into_iter().filter(|p| p.0["pid"] == pid).collect()
    }

    /// The row of a pid that only one process had.
    pub fn process(&self, pid: u64) -> Process<'_> {
        match self.processes(pid)[..] {
            [one] => one,
            ref many => panic!("{} rows for pid {pid} in {}", many.len(), self.json["processes"]),
        }
    }

    pub fn all(&self) -> Vec<Process<'_>> {
        self.json["processes"].as_array().expect("an array of processes").iter().map(Process).collect()
    }
}

/// One row of `processes`.
#[derive(Clone, Copy, Debug)]
pub struct Process<'a>(pub &'a Value);

impl<'a> Process<'a> {
    /// The row of a system call, if it was made.
    pub fn call(self, name: &str) -> Option<&'a Value> {
        call(self.0, name)
    }

    /// How often a system call completed.
    pub fn count(self, name: &str) -> u64 {
        self.call(name).map_or(0, |row| number(&row["count"]))
    }
}

/// The row of a system call in `owner`'s list (a process, or the whole report).
pub fn call<'a>(owner: &'a Value, name: &str) -> Option<&'a Value> {
    owner["syscalls"].as_array().expect("an array of system calls").iter().find(|row| row["name"] == name)
}

/// A field that must be a number: one that is missing is a failure, not zero.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Fails unless `shown` is within `bound` (a part of `known`, plus `floor`) of it.
pub fn assert_close(what: &str, shown: u64, known: u64, bound: f64, floor: u64) {
    let allowed = known as f64 * bound + floor as f64;
    let off = shown.abs_diff(known) as f64;
    assert!(off <= allowed, "{what}: shown {shown}, known {known}: off by {:.3} %", off * 100.0 / known.max(1) as f64);
}
