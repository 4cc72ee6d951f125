//! What `kscope report` says, against what the scheduler and a sender say of the same time.
//!
//! The other accounts are read four times a second; what they were at the beginning and the end of a report lies between two readings.
//!
//! Invariant: only processes are compared that were there all the time, in one thread.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The line on stderr after which everything is counted.
const MEASURING: &str = "kscope: measuring";
/// Between two readings.
const EVERY: Duration = Duration::from_millis(250);
/// What is compared, in this order everywhere.
pub const WHAT: [&str; 4] = ["time on CPUs", "waiting for a CPU", "switches to it", "loopback bytes"];
/// Places in [`WHAT`].
const BYTES: usize = 3;

/// A report, with when it began.
pub struct Report {
    begin: Instant,
    json: Value,
}

impl Report {
    /// Everything that it says was lost; and single calls that were overwritten before they were read, which are a sample of all calls
    /// and in no sum.
    pub fn lost(&self) -> (u64, u64) {
        let dropped = self.json["self"]["dropped"].as_object().into_iter().flatten();
        dropped.filter_map(|(what, count)| Some((what, count.as_u64()?))).fold(
            (0, 0),
            |(lost, calls), (what, count)| {
                if what == "exemplars" { (lost, calls + count) } else { (lost + count, calls) }
            },
        )
    }

    fn end(&self) -> Instant {
        self.begin + Duration::from_nanos(self.json["interval_ns"].as_u64().unwrap_or(0))
    }

    /// The first three of [`WHAT`] of a process that has one row.
    fn of(&self, pid: u32) -> Option<[f64; 3]> {
        let mut rows = self.json["processes"].as_array()?.iter().filter(|row| row["pid"] == pid);
        let (row, none) = (rows.next()?, rows.next());
        let number = |value: &Value| value.as_f64();
        let time = &row["time"];
        let on_cpu = number(&time["user_ns"])? + number(&time["kernel_ns"])?;
        // The scheduler's account of waiting leaves out what a hypervisor took.
        let waiting = number(&time["runnable_ns"])? - number(&time["stolen_ns"])?;
        none.is_none().then_some([on_cpu, waiting, number(&row["runqueue"]["count"])?])
    }

    /// Payload that a process sent.
    fn sent(&self, pid: u32) -> Option<f64> {
        let row = self.json["processes"].as_array()?.iter().find(|row| row["pid"] == pid)?;
        row["network"]["tx_bytes"].as_f64()
    }
}

/// Runs a report of this length meanwhile.
pub fn report_in_background(time: Duration) -> JoinHandle<Result<Report>> {
    thread::spawn(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
        command.args(["report", "--format", "json", "--for", &format!("{}s", time.as_secs())]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (out, err) = (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
        // Read side by side: a report is longer than a pipe.
        let text = thread::spawn(move || std::io::read_to_string(out));
        let mut begin = None;
        let mut said = Vec::new();
        for line in BufReader::new(err).lines().map_while(Result::ok) {
            if line == MEASURING {
                begin = Some(Instant::now());
            }
            said.push(line);
        }
        let text = text.join().map_err(|_| anyhow::anyhow!("the reader of a report ended badly"))??;
        let status = child.wait()?;
        let Some(begin) = begin.filter(|_| status.success()) else {
            bail!("kscope report: {status}: {}", said.join("; "))
        };
        Ok(Report { begin, json: serde_json::from_str(&text).context("its report is not JSON")? })
    })
}

/// What the others say at one moment: of each process the first three of [`WHAT`], and the bytes sent.
type Reading = (Instant, BTreeMap<u32, [f64; 3]>, f64);

/// Reads the other accounts.
pub struct Oracle {
    readings: Arc<Mutex<Vec<Reading>>>,
    ends: Arc<AtomicBool>,
}

impl Oracle {
    /// Begins to read those of `pids`, and `sent`.
    pub fn start(pids: Vec<u32>, sent: Arc<AtomicU64>) -> Self {
        let oracle = Self { readings: Arc::default(), ends: Arc::default() };
        let (readings, ends) = (Arc::clone(&oracle.readings), Arc::clone(&oracle.ends));
        thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let of: BTreeMap<u32, [f64; 3]> =
                    pids.iter().filter_map(|pid| Some((*pid, schedstat(*pid)?))).collect();
                let reading = (Instant::now(), of, sent.load(Ordering::Relaxed) as f64);
                readings.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
                thread::sleep(EVERY);
            }
        });
        oracle
    }

    /// By how much a report differs, in percent, in the order of [`WHAT`]; `None` where there is nothing to compare.
    pub fn compare(&self, report: &Report) -> [Option<f64>; 4] {
        // What follows the end of the report has to be there, too.
        thread::sleep(EVERY * 2);
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(begin), Some(end)) = (at(&readings, report.begin), at(&readings, report.end())) else {
            return [None; 4];
        };
        let (mut shown, mut known) = ([0.0; 4], [0.0; 4]);
        for (pid, then) in &begin.1 {
            let (Some(now), Some(row)) = (end.1.get(pid), report.of(*pid)) else { continue };
            for place in 0..BYTES {
                shown[place] += row[place];
                known[place] += now[place] - then[place];
            }
        }
        shown[BYTES] = report.sent(std::process::id()).unwrap_or(0.0);
        known[BYTES] = end.2 - begin.2;
        std::array::from_fn(|place| (known[place] > 0.0).then(|| 100.0 * (shown[place] / known[place] - 1.0)))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// What was at that moment, between the readings around it.
fn at(readings: &[Reading], when: Instant) -> Option<Reading> {
    let after = readings.partition_point(|(time, ..)| *time < when);
    let (before, after) = (readings.get(after.checked_sub(1)?)?, readings.get(after)?);
    let part = (when - before.0).as_secs_f64() / (after.0 - before.0).as_secs_f64().max(1e-9);
    let between = |a: f64, b: f64| a + (b - a) * part;
    let of = before.1.iter().filter_map(|(pid, then)| {
        let now = after.1.get(pid)?;
        Some((*pid, std::array::from_fn(|place| between(then[place], now[place]))))
    });
    Some((when, of.collect(), between(before.2, after.2)))
}

/// Time on CPUs, time waiting for one, and how often it got one, by the scheduler; of a process with one thread.
fn schedstat(pid: u32) -> Option<[f64; 3]> {
    if fs::read_dir(format!("/proc/{pid}/task")).ok()?.count() != 1 {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let mut fields = text.split_whitespace().map(|field| field.parse::<f64>().ok());
    Some([fields.next()??, fields.next()??, fields.next()??])
}
