//! The arithmetic of thread time. For each thread the four parts sum to wall time; for a process, to threads x wall time.

use serde::Serialize;

use super::causes::BlockedBy;
use crate::core::latency::times;

/// What the threads of a process are doing: of several what is most noteworthy, as in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Nothing was heard of any of them, or none is left.
    #[default]
    Unknown,
    /// All sleep, and a signal would wake them.
    Sleeps,
    /// At least one is on a CPU, or waits for one.
    Runs,
    /// At least one sleeps and no signal wakes it.
    DiskSleep,
}

impl Doing {
    /// The letter that `ps` has for it.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Sleeps => "S",
            Self::Runs => "R",
            Self::DiskSleep => "D",
        }
    }
}

/// Where thread time went, cumulative or in an interval. Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeSplit {
    /// On CPU outside system calls (page faults and interrupts included).
    pub user_ns: u64,
    /// On CPU inside system calls; all CPU time of kernel threads.
    pub kernel_ns: u64,
    /// Ready, waiting for a CPU, one that the hypervisor had taken away included.
    pub runnable_ns: u64,
    /// Waiting for anything else.
    pub blocked_ns: u64,
    /// The part of `runnable_ns` that a hypervisor took (steal).
    pub stolen_ns: u64,
    /// The parts of `blocked_ns`, by what was waited for.
    pub blocked_by: BlockedBy,
}

impl TimeSplit {
    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(prev.user_ns),
            kernel_ns: self.kernel_ns.saturating_sub(prev.kernel_ns),
            runnable_ns: self.runnable_ns.saturating_sub(prev.runnable_ns),
            blocked_ns: self.blocked_ns.saturating_sub(prev.blocked_ns),
            stolen_ns: self.stolen_ns.saturating_sub(prev.stolen_ns),
            blocked_by: self.blocked_by.since(prev.blocked_by),
        }
    }

    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_add(other.user_ns),
            kernel_ns: self.kernel_ns.saturating_add(other.kernel_ns),
            runnable_ns: self.runnable_ns.saturating_add(other.runnable_ns),
            blocked_ns: self.blocked_ns.saturating_add(other.blocked_ns),
            stolen_ns: self.stolen_ns.saturating_add(other.stolen_ns),
            blocked_by: self.blocked_by.plus(other.blocked_by),
        }
    }

    /// What stands for `factor` times as much.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        let blocked_ns = times(self.blocked_ns, factor);
        Self {
            user_ns: times(self.user_ns, factor),
            kernel_ns: times(self.kernel_ns, factor),
            runnable_ns: times(self.runnable_ns, factor),
            blocked_ns,
            stolen_ns: times(self.stolen_ns, factor),
            blocked_by: self.blocked_by.times(factor).settled(blocked_ns),
        }
    }

    /// Time on a CPU.
    pub const fn on_cpu_ns(self) -> u64 {
        self.user_ns.saturating_add(self.kernel_ns)
    }

    /// All four parts: threads x wall time.
    pub const fn total_ns(self) -> u64 {
        self.on_cpu_ns().saturating_add(self.runnable_ns).saturating_add(self.blocked_ns)
    }
}
