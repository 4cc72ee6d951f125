//! Since when a thread sleeps that slept already when kscope came.
//!
//! No event tells. The scheduler's own account does: `se.exec_start` in `/proc/PID/task/TID/sched` is when it last ran, by the
//! clock of its CPU, which leaves out interrupts and stolen time. That clock is read off a thread of ours that runs on the
//! same CPU.
//!
//! Invariant: an age from here is an estimate, and never less than what was seen.

use std::collections::HashMap;
use std::fs;

use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The clocks of CPUs that were asked for.
#[derive(Debug, Default)]
pub struct Clocks(HashMap<usize, Option<u64>>);

impl Clocks {
    /// How long ago a thread last ran, ns; `None` where the kernel does not say, or its CPU is not for us to run on. `now` is
    /// read when a clock is.
    pub fn asleep_ns(&mut self, pid: u32, tid: u32, now: impl Fn() -> u64) -> Option<u64> {
        let dir = format!("/proc/{pid}/task/{tid}");
        let last_ran = exec_start_ns(&fs::read_to_string(format!("{dir}/sched")).ok()?)?;
        let cpu = last_cpu(&fs::read_to_string(format!("{dir}/stat")).ok()?)?;
        let behind = *self.0.entry(cpu).or_insert_with(|| clock_behind(cpu, &now));
        Some(now().saturating_sub(last_ran).saturating_sub(behind?))
    }
}

/// By how much the clock of a CPU is behind `now`.
fn clock_behind(cpu: usize, now: &impl Fn() -> u64) -> Option<u64> {
    let before = sched_getaffinity(None).ok()?;
    let mut only = CpuSet::new();
    // More CPUs than the set has room for.
    if cpu >= CpuSet::MAX_CPU {
        return None;
    }
    only.set(cpu);
    sched_setaffinity(None, &only).ok()?;
    let read = || {
        let tid = gettid().as_raw_nonzero();
        let text = fs::read_to_string(format!("/proc/self/task/{tid}/sched")).ok()?;
        (sched_getcpu() == cpu).then_some(())?;
        Some(now().saturating_sub(exec_start_ns(&text)?))
    };
    let behind = read();
    // It was allowed a moment ago.
    let _ = sched_setaffinity(None, &before);
    behind
}

/// `se.exec_start : 12345.678901`, in ms.
pub(crate) fn exec_start_ns(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("se.exec_start"))?.trim().strip_prefix(':')?;
    let (ms, fraction) = value.trim().split_once('.')?;
    let ns = format!("{fraction:0<6}").get(..6)?.parse::<u64>().ok()?;
    ms.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(ns)
}

/// Field 39 of `/proc/PID/stat`: the CPU it last ran on.
pub(crate) fn last_cpu(text: &str) -> Option<usize> {
    // After the name, which ends at the last parenthesis, come field 3 and the others.
    text.rsplit_once(')')?.1.split_whitespace().nth(36)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_the_scheduler_is_read() {
        let text =
            "x (1, #threads: 1)\n---\nse.exec_start                                :      22598356.520637\nse.x : 1\n";
        assert_eq!(exec_start_ns(text), Some(22_598_356_520_637));
        assert_eq!(exec_start_ns("se.exec_start : x"), None);
        assert_eq!(exec_start_ns("se.exec_start : 99999999999999999999.1"), None);
    }

    #[test]
    fn names_do_not_hide_the_cpu() {
        let rest = (3..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(last_cpu(&format!("12 (a) b) {rest}")), Some(39));
        assert_eq!(last_cpu("12 (a"), None);
    }
}
