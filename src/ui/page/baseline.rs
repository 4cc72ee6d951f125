//! What the calls of a process were before, to hold the present against.
//!
//! Either what somebody pinned, or the earlier part of what is kept. Invariant: the present interval is never part of it.

use crate::core::latency::LatencyStats;
use crate::probes::syscalls::stats::CallStats;
use crate::ui::history::{History, TICKS, Tick};

/// Intervals that are pinned.
const PINNED: usize = 60;
/// The newest intervals, which are not "before".
const RECENT: usize = 10;

/// What calls were.
#[derive(Clone, Debug)]
pub struct Baseline {
    calls: Vec<CallStats>,
    /// How long it was measured, seconds.
    pub seconds: f64,
    /// Somebody pinned it.
    pub pinned: bool,
}

impl Baseline {
    /// The last minute of everything that passes the filter, to be kept.
    pub fn pin(history: &History) -> Self {
        let ticks: Vec<&Tick> = history.last(PINNED).collect();
        let mut made = Vec::new();
        for tick in &ticks {
            tick.calls_made(&mut made);
        }
        made.sort_unstable();
        made.dedup();
        let calls = made.into_iter().map(|nr| CallStats { nr, latency: merged(&ticks, nr) }).collect();
        Self { calls, seconds: seconds(&ticks), pinned: true }
    }

    /// One call in the earlier part of what is kept; `None` while there is none.
    pub fn earlier(history: &History, nr: u32) -> Option<Self> {
        let kept = history.last(TICKS).count();
        let ticks: Vec<&Tick> = history.last(TICKS).take(kept - RECENT.min(kept.div_ceil(2))).collect();
        let latency = merged(&ticks, nr);
        (!latency.is_empty()).then(|| Self {
            calls: vec![CallStats { nr, latency }],
            seconds: seconds(&ticks),
            pinned: false,
        })
    }

    /// What a call was, if it was made.
    pub fn call(&self, nr: u32) -> Option<&LatencyStats> {
        self.calls.binary_search_by_key(&nr, |c| c.nr).ok().map(|at| &self.calls[at].latency)
    }
}

fn merged(ticks: &[&Tick], nr: u32) -> LatencyStats {
    let mut sum = LatencyStats::empty();
    for latency in ticks.iter().filter_map(|tick| tick.call(nr)) {
        sum.merge(&latency);
    }
    sum
}

fn seconds(ticks: &[&Tick]) -> f64 {
    ticks.iter().map(|tick| tick.snapshot.seconds()).sum()
}
