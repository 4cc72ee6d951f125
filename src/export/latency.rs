//! A distribution as the report has it.
//!
//! Invariant: what is not known is `null`, never zero.

use serde::Serialize;

use crate::core::histogram::Histogram;
use crate::core::latency::LatencyStats;

/// A distribution in numbers. Quantiles are `null` when nothing was counted.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyRow {
    /// Calls that returned, or waits.
    pub count: u64,
    /// Sum.
    pub total_ns: u64,
    /// Quantiles, midpoints of their buckets, at most the maximum.
    pub p50_ns: Option<u64>,
    /// 90 %.
    pub p90_ns: Option<u64>,
    /// 99 %.
    pub p99_ns: Option<u64>,
    /// 99.9 %.
    pub p999_ns: Option<u64>,
    /// The longest; `null` where only their sum is known.
    pub max_ns: Option<u64>,
    /// The buckets, for the text report.
    #[serde(skip)]
    pub histogram: Histogram,
}

impl LatencyRow {
    pub(super) fn of(stats: &LatencyStats) -> Self {
        Self {
            count: stats.count(),
            total_ns: stats.total_ns,
            p50_ns: stats.quantile(0.5),
            p90_ns: stats.quantile(0.9),
            p99_ns: stats.quantile(0.99),
            p999_ns: stats.quantile(0.999),
            max_ns: stats.max(),
            histogram: stats.histogram.clone(),
        }
    }
}
