//! Sees to it that a loop runs with exactly what was attached for it, and nobody else's BPF programs.
//!
//! What is attached costs everybody. A run during which the set of tracing programs changed is repeated; when patience is
//! at an end it is taken as it is, and counted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use aya::programs::loaded_programs;

use crate::loops::Loop;

/// Ids of programs.
pub type Programs = BTreeSet<u32>;

/// The state of the watch.
pub struct Watch {
    /// Those that do not go away: part of this machine.
    permanent: Programs,
    /// How long the whole benchmark still waits for others to leave.
    patience: Duration,
    /// Runs taken although others came or went.
    disturbed: u32,
}

impl Watch {
    /// Waits a while for the programs of others to go; those that stay count as part of the machine.
    /// `patience` is how long it waits in all.
    pub fn start(patience: Duration) -> Self {
        let mut watch = Self { permanent: Programs::new(), patience: Duration::from_secs(10), disturbed: 0 };
        watch.wait_for(&Programs::new());
        watch.permanent = tracing_programs();
        watch.patience = patience;
        watch
    }

    /// Waits until nothing is attached but what is there permanently; what is attached then.
    pub fn nothing(&mut self) -> Programs {
        let permanent = self.permanent.clone();
        self.wait_for(&permanent);
        permanent
    }

    /// Measures a loop with these programs and no others.
    pub fn measure(&mut self, l: &Loop, time: Duration, expected: &Programs) -> Result<f64> {
        loop {
            let quiet = self.wait_for(expected);
            let value = l.measure(time)?;
            if quiet && tracing_programs() == *expected {
                return Ok(value);
            }
            if self.patience.is_zero() {
                self.disturbed += 1;
                return Ok(value);
            }
        }
    }

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

    /// A sentence about what could not be kept away; empty when all was.
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        if !self.permanent.is_empty() {
            let _ = write!(text, " {} other tracing programs were attached all the time.", self.permanent.len());
        }
        if self.disturbed > 0 {
            let _ = write!(text, " During {} runs others' programs came or went.", self.disturbed);
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
