//! The arithmetic of run-queue delays. A delay is the time from becoming runnable (a wake-up, or losing the CPU while
//! able to go on) to being put on a CPU; it is counted when it ends, and charged to the CPU that ended it.

use crate::core::latency::LatencyStats;

/// Run-queue delays of one CPU in one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuStats {
    /// Number of the CPU.
    pub cpu: u32,
    /// Its delays.
    pub delay: LatencyStats,
}

/// The delays of all CPUs merged.
pub fn all_cpus(cpus: &[CpuStats]) -> LatencyStats {
    LatencyStats::sum(cpus.iter().map(|cpu| &cpu.delay))
}

/// Adds `from` to `into` by CPU; both stay sorted by number.
pub fn merge_cpus(into: &mut Vec<CpuStats>, from: &[CpuStats]) {
    for cpu in from {
        match into.binary_search_by_key(&cpu.cpu, |c| c.cpu) {
            Ok(at) => into[at].delay.merge(&cpu.delay),
            Err(at) => into.insert(at, cpu.clone()),
        }
    }
}
