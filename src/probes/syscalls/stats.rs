//! The arithmetic of system calls: rows of the host-wide table and of each process.
//!
//! Not here: how they are read (`probe.rs`) or named (`names.rs`).

use crate::core::latency::LatencyStats;

/// One system call in one interval, of the host or of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStats {
    /// Number of the call on this architecture, or a row of `kscope_layout` (`COMPAT_CALL`, `OTHER_CALL`).
    pub nr: u32,
    /// Its latencies, errors and sums.
    pub latency: LatencyStats,
}

/// Adds `from` to `into`, row by row; both stay sorted by number.
pub fn merge_calls(into: &mut Vec<CallStats>, from: &[CallStats]) {
    for call in from {
        match into.binary_search_by_key(&call.nr, |c| c.nr) {
            Ok(at) => into[at].latency.merge(&call.latency),
            Err(at) => into.insert(at, call.clone()),
        }
    }
}

/// All calls of a table that pass `keep`, merged into one distribution.
pub fn merged<'a>(calls: impl IntoIterator<Item = &'a CallStats>, keep: impl Fn(u32) -> bool) -> LatencyStats {
    LatencyStats::sum(calls.into_iter().filter(|c| keep(c.nr)).map(|c| &c.latency))
}
