//! Sees to it that a loop runs with exactly what was attached for it, and on a CPU that nobody took away.
//!
//! What is attached costs everybody. A measurement during which the set of tracing programs changed, or the hypervisor took
//! time from the CPU, is repeated; when patience is at an end it is taken as it is, and counted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use aya::programs::loaded_programs;

use crate::loops::Worker;
use crate::measure::Row;

/// Ids of programs.
pub type Programs = BTreeSet<u32>;

/// Times a measurement is repeated because of the hypervisor.
const REPEATS: u32 = 3;

/// The state of the watch.
pub struct Watch {
    /// How long the whole benchmark still waits for others to leave.
    patience: Duration,
    /// Those that do not go away: part of this machine.
    permanent: Programs,
    /// How many there were of them at the start.
    found: usize,
    measured: u32,
    repeated: u32,
    /// Taken although others came or went, or the CPU was away.
    disturbed: u32,
    slices: u64,
    /// Slices that did not count.
    dropped: u64,
}

impl Watch {
    /// Waits a while for the programs of others to go; those that stay count as part of the machine.
    /// `patience` is how long it waits in all.
    pub fn start(patience: Duration) -> Self {
        let mut watch = Self {
            patience: patience.min(Duration::from_secs(10)),
            permanent: Programs::new(),
            found: 0,
            measured: 0,
            repeated: 0,
            disturbed: 0,
            slices: 0,
            dropped: 0,
        };
        watch.wait_for(&Programs::new());
        watch.permanent = tracing_programs();
        watch.found = watch.permanent.len();
        watch.patience = patience;
        watch
    }

    /// What is loaded when nothing but these of ours and what is part of this machine is. What has gone is so no more.
    pub fn with(&mut self, ours: &Programs) -> Programs {
        let loaded = tracing_programs();
        self.permanent.retain(|id| loaded.contains(id));
        self.permanent.union(ours).copied().collect()
    }

    /// Measures a loop with these programs and no others: nanoseconds an operation.
    pub fn measure(&mut self, worker: &mut Worker, time: Duration, expected: &Programs) -> Result<f64> {
        let mut left = REPEATS;
        loop {
            let quiet = self.wait_for(expected);
            let cell = worker.measure(time)?;
            self.slices += u64::from(cell.kept + cell.dropped);
            self.dropped += u64::from(cell.dropped);
            let alone = quiet && tracing_programs() == *expected;
            let whole = cell.stolen == 0 && cell.kept > cell.dropped;
            let taken = if alone { whole || left == 0 } else { self.patience.is_zero() };
            if taken {
                self.measured += 1;
                self.disturbed += u32::from(!(alone && whole));
                return Ok(cell.ns);
            }
            self.repeated += 1;
            left -= u32::from(alone);
        }
    }

    /// Waits until these programs are loaded, and no others that trace.
    fn wait_for(&mut self, expected: &Programs) -> bool {
        let start = Instant::now();
        loop {
            if tracing_programs() == *expected {
                self.patience = self.patience.saturating_sub(start.elapsed());
                return true;
            }
            if start.elapsed() >= self.patience {
                self.patience = Duration::ZERO;
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What could not be kept away, and how many measurements there were.
    pub fn remarks(&self, rows: &[Row]) -> String {
        let unsteady: u32 = rows.iter().map(|row| row.unsteady).sum();
        let mut text = format!(
            "{} measurements of {} slices; {} slices did not count (the thread was made to leave the CPU); repeated: {} \
             measurements (the hypervisor took time, or others' BPF programs came or went; {} were taken all the same) and \
             {} differences (the CPU's speed changed).",
            self.measured, self.slices, self.dropped, self.repeated, self.disturbed, unsteady
        );
        if self.found > 0 {
            let (found, left) = (self.found, self.permanent.len());
            let _ = write!(
                text,
                " **{found} other tracing programs were there at the start, {left} at the end: a hook in use already makes the \
                 floor cheaper, so these factors do not compare with those of a machine without.**"
            );
        }
        text
    }
}

/// `BPF_PROG_TYPE_*` of include/uapi/linux/bpf.h: kprobe, tracepoint, perf event, raw tracepoint (writable), tracing.
const TRACING: [u32; 6] = [2, 5, 7, 17, 24, 26];

/// The loaded programs that hang on events of the kernel.
pub fn tracing_programs() -> Programs {
    let programs = loaded_programs().flatten();
    programs.filter(|p| TRACING.contains(&(p.program_type() as u32))).map(|p| p.id()).collect()
}
