//! What a group of latencies did in an interval: the distribution with its sums, and how it is subtracted from the
//! kernel's cumulative counters.
//!
//! Invariant: `between` takes two readings of the same record; a record that was not there before counts from zero.

use kscope_layout::Latency;

use super::histogram::{Histogram, Scale};

/// The latencies of one kind in one interval. Times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyStats {
    /// The distribution. Its count is the number of completed calls or waits.
    pub histogram: Histogram,
    /// Sum of all durations.
    pub total_ns: u64,
    /// Part of it blocked (system calls only).
    pub blocked_ns: u64,
    /// Part of it waiting for a CPU (system calls only).
    pub runnable_ns: u64,
    /// The longest; 0 when there was none. Of threads of one process that set a maximum at the same moment the larger can be
    /// lost: then it is the lower bound of its bucket.
    pub max_ns: u64,
    /// How many returned an error.
    pub errors: u64,
    /// How many a signal cut short for a restart; not in the histogram.
    pub interrupted: u64,
}

impl LatencyStats {
    /// Nothing happened.
    pub const fn empty(scale: Scale) -> Self {
        Self {
            histogram: Histogram::new(scale),
            total_ns: 0,
            blocked_ns: 0,
            runnable_ns: 0,
            max_ns: 0,
            errors: 0,
            interrupted: 0,
        }
    }

    /// What happened between two readings. `max_ns` is the true maximum of the interval, 0 if it is not known.
    pub fn between<const N: usize>(scale: Scale, prev: Option<&Latency<N>>, next: &Latency<N>, max_ns: u64) -> Self {
        let base = |pick: fn(&Latency<N>) -> u64| pick(next).wrapping_sub(prev.map_or(0, pick));
        let small = |pick: fn(&Latency<N>) -> u32| u64::from(pick(next).wrapping_sub(prev.map_or(0, pick)));
        let histogram = Histogram::between(scale, prev.map(|p| &p.buckets[..]), &next.buckets);
        let max_ns = histogram.lower_bound_of_max().map_or(0, |low| max_ns.max(low));
        Self {
            histogram,
            total_ns: base(|l| l.total_ns),
            blocked_ns: base(|l| l.blocked_ns),
            runnable_ns: base(|l| l.runnable_ns),
            max_ns,
            errors: small(|l| l.errors),
            interrupted: small(|l| l.interrupted),
        }
    }

    /// Completed calls or waits.
    pub fn count(&self) -> u64 {
        self.histogram.count()
    }

    /// True when nothing completed and nothing was interrupted.
    pub const fn is_empty(&self) -> bool {
        self.histogram.is_empty() && self.interrupted == 0
    }

    /// The quantile `q` in ns, clamped to the maximum; `None` when nothing completed.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        self.histogram.quantile(q, self.max_ns)
    }

    /// Mean duration in ns; `None` when nothing completed.
    pub fn mean_ns(&self) -> Option<u64> {
        self.total_ns.checked_div(self.count())
    }

    /// What stands for `factor` times as much, measured in a window of `window_ns`: each duration counts for as many more as
    /// were cut by the ends of the window. The maximum is that of what was seen.
    #[must_use]
    pub fn scaled(&self, factor: f64, window_ns: u64) -> Self {
        let histogram = self.histogram.scaled(|ns| factor * cut_by_window(ns, window_ns));
        let sum = |h: &Histogram| h.iter().map(|(at, n)| h.scale().midpoint(at) * n as f64).sum::<f64>();
        // Long ones weigh more in the sums than in the count.
        let (before, after) = (sum(&self.histogram), sum(&histogram));
        let by_time = if before > 0.0 { after / before } else { factor };
        Self {
            histogram,
            total_ns: times(self.total_ns, by_time),
            blocked_ns: times(self.blocked_ns, by_time),
            runnable_ns: times(self.runnable_ns, by_time),
            max_ns: self.max_ns,
            errors: times(self.errors, factor),
            interrupted: times(self.interrupted, factor),
        }
    }

    /// Adds what `other` holds, of another interval or of another process.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.merge(&other.histogram);
        self.total_ns += other.total_ns;
        self.blocked_ns += other.blocked_ns;
        self.runnable_ns += other.runnable_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
        self.errors += other.errors;
        self.interrupted += other.interrupted;
    }
}

/// For how many durations one stands that lay whole within a window: of such a length, only this part of them do.
fn cut_by_window(ns: f64, window_ns: u64) -> f64 {
    /// Nobody can tell from the few that were almost as long as the window.
    const MOST: f64 = 10.0;
    let part = 1.0 - ns / window_ns.max(1) as f64;
    (1.0 / part.max(1.0 / MOST)).min(MOST)
}

/// A count that stands for `factor` times as many.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and factors are not negative")]
pub fn times(count: u64, factor: f64) -> u64 {
    (count as f64 * factor).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope_layout::Record;

    fn record(total: u64, bucket: usize, count: u32) -> Record {
        let mut r: Record = bytemuck::Zeroable::zeroed();
        r.total_ns = total;
        r.buckets[bucket] = count;
        r
    }

    #[test]
    fn a_new_record_counts_from_zero_and_an_old_one_from_where_it_was() {
        let (first, second) = (record(100, 3, 2), record(180, 3, 5));
        let new = LatencyStats::between(Scale::Two, None, &first, 100);
        assert_eq!((new.count(), new.total_ns, new.max_ns), (2, 100, 100));
        let grown = LatencyStats::between(Scale::Two, Some(&first), &second, 95);
        assert_eq!((grown.count(), grown.total_ns, grown.max_ns), (3, 80, 95));
    }

    #[test]
    fn a_maximum_that_was_lost_is_at_least_its_buckets_lower_bound() {
        // Bucket 3 of scale 2 begins at 2^6.5 ns.
        assert_eq!(LatencyStats::between(Scale::Two, None, &record(100, 3, 1), 0).max_ns, 90);
    }

    #[test]
    fn what_a_window_cuts_counts_for_more() {
        let mut seen = LatencyStats::between(Scale::Two, None, &record(1_000, 3, 8), 100);
        seen.errors = 2;
        // Much shorter than the window: none was cut.
        let short = seen.scaled(50.0, 20_000_000);
        assert_eq!((short.count(), short.total_ns, short.errors, short.max_ns), (400, 50_000, 100, 100));
        // Half as long: only every other one lay within.
        let half = seen.scaled(50.0, 200);
        assert!((half.count() as f64 / 800.0 - 1.0).abs() < 0.1, "{}", half.count());
    }

    #[test]
    fn a_quiet_record_has_no_maximum() {
        let r = record(100, 3, 2);
        let quiet = LatencyStats::between(Scale::Two, Some(&r), &r, 60);
        assert!(quiet.is_empty());
        assert_eq!((quiet.max_ns, quiet.quantile(0.5)), (0, None));
    }
}
