//! What reading procfs costs by kscope's own readers and by the crate `procfs`, on the processes of this host: opening, reading
//! and parsing, all of it.
//!
//! Invariant: both read the same files of the same processes; who is gone meanwhile counts in neither.

use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::time::Instant;

use kscope::probes::connections::owners::sockets_of;
use kscope::source::procfs::texts;
use procfs::process::{FDTarget, Process};

/// Reads a file of a process; how many things are in it, if it could be read.
type Read = fn(u32, &mut Vec<u8>) -> Option<usize>;

/// A file with both its readers.
struct Line {
    file: &'static str,
    ours: Read,
    theirs: Read,
}

const LINES: [Line; 6] = [
    Line {
        file: "`/proc/PID/stat`",
        ours: |pid, buffer| texts::stat(whole(&format!("/proc/{pid}/stat"), buffer)?).map(|_| 1),
        theirs: |pid, _| process(pid)?.stat().ok().map(|_| 1),
    },
    Line {
        file: "`/proc/PID/schedstat`",
        ours: |pid, buffer| texts::schedstat(whole(&format!("/proc/{pid}/schedstat"), buffer)?).map(|_| 1),
        theirs: |pid, _| process(pid)?.schedstat().ok().map(|_| 1),
    },
    Line {
        file: "`/proc/PID/status`",
        ours: |pid, buffer| texts::switches(whole(&format!("/proc/{pid}/status"), buffer)?).map(|_| 1),
        theirs: |pid, _| process(pid)?.status().ok().map(|_| 1),
    },
    Line {
        file: "`/proc/PID/io`",
        ours: |pid, buffer| texts::io(whole(&format!("/proc/{pid}/io"), buffer)?).map(|_| 1),
        theirs: |pid, _| process(pid)?.io().ok().map(|_| 1),
    },
    Line {
        file: "sockets of `/proc/PID/fd`",
        ours: |pid, _| Some(sockets_of(pid).0.len()),
        theirs: |pid, _| {
            let files = process(pid)?.fd().ok()?.flatten();
            Some(files.filter(|file| matches!(file.target, FDTarget::Socket(_))).count())
        },
    },
    Line {
        file: "`stat`, `schedstat` and `io` of a process",
        ours: |pid, buffer| {
            texts::stat(whole(&format!("/proc/{pid}/stat"), buffer)?)?;
            texts::schedstat(whole(&format!("/proc/{pid}/schedstat"), buffer)?)?;
            texts::io(whole(&format!("/proc/{pid}/io"), buffer)?).map(|_| 1)
        },
        theirs: |pid, _| {
            let process = process(pid)?;
            let _ = (process.stat().ok()?, process.schedstat().ok()?, process.io().ok()?);
            Some(1)
        },
    },
];

fn process(pid: u32) -> Option<Process> {
    Process::new(pid.cast_signed()).ok()
}

/// As kscope reads what it reads at each tick: into a buffer that stays.
fn whole<'a>(path: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    File::open(path).ok()?.read_to_end(buffer).ok()?;
    Some(buffer)
}

/// The table: the median of so many rounds over all processes, µs for a process.
pub fn table(rounds: usize) -> String {
    let pids: Vec<u32> = procfs::process::all_processes()
        .map(|all| all.flatten().filter_map(|process| u32::try_from(process.pid).ok()).collect())
        .unwrap_or_default();
    let mut text = format!("{} processes, medians of {rounds} rounds.\n\n", pids.len());
    text.push_str("| µs for a process | kscope's reader | the crate's | factor |\n|---|---:|---:|---:|\n");
    for Line { file, ours, theirs } in LINES {
        let (mut own, mut other): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        // By turns, so that both see the same machine.
        for _ in 0..rounds {
            own.push(once(&pids, ours));
            other.push(once(&pids, theirs));
        }
        let (own, other) = (median(own), median(other));
        let _ = writeln!(text, "| {file} | {own:.2} | {other:.2} | {:.2} |", other / own);
    }
    text
}

/// µs of wall time for a process that could be read.
fn once(pids: &[u32], read: Read) -> f64 {
    let mut buffer = Vec::new();
    let begin = Instant::now();
    let read = pids.iter().filter(|pid| black_box(read(**pid, &mut buffer)).is_some()).count();
    begin.elapsed().as_secs_f64() * 1e6 / read.max(1) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
