//! What a group of latencies did in an interval: the distribution with its sums, and how it is subtracted from the
//! kernel's cumulative counters.
//!
//! Invariant: `between` takes two readings of the same record; a record that was not there before counts from zero.

use kscope_layout::Sums;

use super::histogram::{Histogram, Sum, midpoint};

/// Durations of which only the number and the sum are known, cumulative or in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsorted {
    /// How many ended.
    pub count: u64,
    /// How long all of them took, ns.
    pub total_ns: u64,
}

impl Unsorted {
    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self { count: self.count.saturating_sub(prev.count), total_ns: self.total_ns.saturating_sub(prev.total_ns) }
    }
}

/// The latencies of one kind in one interval. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyStats {
    /// The distribution. Its count is the number of completed calls or waits, but for those that follow.
    pub histogram: Histogram,
    /// Those that are in the sum alone: how long each took is not known. Then there are no quantiles and no maximum.
    pub unsorted: u64,
    /// Calls that the kernel did not carry out, since seccomp or a tracer answered them: counted, but in no time and no quantile.
    pub denied: u64,
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
    pub const fn empty() -> Self {
        Self {
            histogram: Histogram::new(),
            unsorted: 0,
            denied: 0,
            total_ns: 0,
            blocked_ns: 0,
            runnable_ns: 0,
            max_ns: 0,
            errors: 0,
            interrupted: 0,
        }
    }

    /// What happened between two readings of the sums, and of the buckets, which are subtracted already. `max_ns` is the true
    /// maximum of the interval, 0 if it is not known.
    pub fn between(prev: Option<&Sums>, next: &Sums, histogram: Histogram, max_ns: u64) -> Self {
        let none = Sums::default();
        let prev = prev.unwrap_or(&none);
        let max_ns = histogram.lower_bound_of_max().map_or(0, |low| max_ns.max(low));
        Self {
            histogram,
            unsorted: 0,
            denied: next.denied.wrapping_sub(prev.denied).into(),
            total_ns: next.total_ns.wrapping_sub(prev.total_ns),
            blocked_ns: next.blocked_ns.wrapping_sub(prev.blocked_ns),
            runnable_ns: next.runnable_ns.wrapping_sub(prev.runnable_ns),
            max_ns,
            errors: next.errors.wrapping_sub(prev.errors).into(),
            interrupted: next.interrupted.wrapping_sub(prev.interrupted).into(),
        }
    }

    /// All of `many`.
    pub fn sum<'a>(many: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut all, mut sum) = (Self::empty(), Sum::default());
        for one in many {
            sum.add(&one.histogram);
            all.add_sums(one);
        }
        all.histogram = sum.histogram();
        all
    }

    /// Calls that returned, or waits: those whose time is known, and those that were denied.
    pub fn count(&self) -> u64 {
        self.timed().saturating_add(self.denied)
    }

    /// Those of them whose time is known, each by itself or in the sum.
    fn timed(&self) -> u64 {
        self.histogram.count().saturating_add(self.unsorted)
    }

    /// Adds durations of which only the number and the sum are known.
    pub const fn add_unsorted(&mut self, more: Unsorted) {
        self.unsorted = self.unsorted.saturating_add(more.count);
        self.total_ns = self.total_ns.saturating_add(more.total_ns);
    }

    /// The longest; `None` where that is not known. 0 when there was none.
    pub const fn max(&self) -> Option<u64> {
        let unknown = self.unsorted > 0 || self.denied > 0 && self.histogram.is_empty();
        if unknown { None } else { Some(self.max_ns) }
    }

    /// True when nothing was counted at all. (A call that was read half counted, its error before its bucket, is something:
    /// the rest of it comes with the next reading.)
    pub const fn is_empty(&self) -> bool {
        self.histogram.is_empty()
            && self.unsorted == 0
            && self.denied == 0
            && self.total_ns == 0
            && self.interrupted == 0
            && self.errors == 0
    }

    /// The quantile `q` in ns, clamped to the maximum; `None` when nothing completed, and where it is not known.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.unsorted > 0 { None } else { self.histogram.quantile(q, self.max_ns) }
    }

    /// Mean duration in ns; `None` when nothing completed.
    pub fn mean_ns(&self) -> Option<u64> {
        self.total_ns.checked_div(self.timed())
    }

    /// What stands for `factor` times as much, measured in a window of `window_ns`: each duration counts for as many more as
    /// were cut by the ends of the window. The maximum is that of what was seen.
    #[must_use]
    pub fn scaled(&self, factor: f64, window_ns: u64) -> Self {
        let histogram = self.histogram.scaled(|ns| factor * cut_by_window(ns, window_ns));
        let sum = |h: &Histogram| h.iter().map(|(at, n)| midpoint(at) * n as f64).sum::<f64>();
        // Long ones weigh more in the sums than in the count.
        let (before, after) = (sum(&self.histogram), sum(&histogram));
        let by_time = if before > 0.0 { after / before } else { factor };
        Self {
            histogram,
            unsorted: times(self.unsorted, factor),
            denied: times(self.denied, factor),
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
        self.add_sums(other);
    }

    fn add_sums(&mut self, other: &Self) {
        self.unsorted = self.unsorted.saturating_add(other.unsorted);
        self.denied = self.denied.saturating_add(other.denied);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.blocked_ns = self.blocked_ns.saturating_add(other.blocked_ns);
        self.runnable_ns = self.runnable_ns.saturating_add(other.runnable_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.errors = self.errors.saturating_add(other.errors);
        self.interrupted = self.interrupted.saturating_add(other.interrupted);
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

    fn sums(total_ns: u64) -> Sums {
        Sums { total_ns, ..Sums::default() }
    }

    fn counted(index: u16, count: u64) -> Histogram {
        let mut histogram = Histogram::new();
        histogram.add(index, count);
        histogram
    }

    #[test]
    fn a_new_record_counts_from_zero_and_an_old_one_from_where_it_was() {
        let new = LatencyStats::between(None, &sums(100), counted(3, 2), 100);
        assert_eq!((new.count(), new.total_ns, new.max_ns), (2, 100, 100));
        let grown = LatencyStats::between(Some(&sums(100)), &sums(180), counted(3, 3), 95);
        assert_eq!((grown.count(), grown.total_ns, grown.max_ns), (3, 80, 95));
    }

    #[test]
    fn a_maximum_that_was_lost_is_at_least_its_buckets_lower_bound() {
        // Bucket 3 begins at 2^-23.75 s, 70.9 ns.
        assert_eq!(LatencyStats::between(None, &sums(100), counted(3, 1), 0).max_ns, 70);
    }

    #[test]
    fn what_a_window_cuts_counts_for_more() {
        let mut seen = LatencyStats::between(None, &sums(1_000), counted(6, 8), 110);
        seen.errors = 2;
        // Much shorter than the window: none was cut.
        let short = seen.scaled(50.0, 20_000_000);
        assert_eq!((short.count(), short.total_ns, short.errors, short.max_ns), (400, 50_000, 100, 110));
        // Half as long: only every other one lay within.
        let half = seen.scaled(50.0, 200);
        assert!((half.count() as f64 / 800.0 - 1.0).abs() < 0.1, "{}", half.count());
    }

    #[test]
    fn what_is_known_by_its_sum_alone_has_neither_quantiles_nor_a_maximum() {
        let mut waits = LatencyStats::empty();
        waits.add_unsorted(Unsorted { count: 4, total_ns: 100 }.since(Unsorted { count: 1, total_ns: 40 }));
        assert_eq!((waits.count(), waits.total_ns, waits.mean_ns()), (3, 60, Some(20)));
        assert_eq!((waits.quantile(0.5), waits.max(), waits.is_empty()), (None, None, false));
        waits.merge(&LatencyStats::between(None, &sums(100), counted(3, 2), 100));
        assert_eq!((waits.count(), waits.quantile(0.5), waits.max()), (5, None, None));
    }

    #[test]
    fn a_denied_call_is_counted_and_has_no_time() {
        let denied = Sums { denied: 5, errors: 5, ..Sums::default() };
        let mut calls = LatencyStats::between(None, &denied, Histogram::new(), 0);
        assert_eq!((calls.count(), calls.errors, calls.mean_ns(), calls.max()), (5, 5, None, None));
        assert!(!calls.is_empty() && calls.quantile(0.5).is_none());
        calls.merge(&LatencyStats::between(None, &sums(160), counted(3, 2), 80));
        // A quantile is the midpoint of its bucket, of 70.9 to 77.3 ns.
        let measured = (calls.mean_ns(), calls.max(), calls.quantile(0.5));
        assert_eq!((calls.count(), measured), (7, (Some(80), Some(80), Some(74))));
    }

    #[test]
    fn a_quiet_record_has_no_maximum() {
        let quiet = LatencyStats::between(Some(&sums(100)), &sums(100), counted(3, 0), 60);
        assert!(quiet.is_empty());
        assert_eq!((quiet.max_ns, quiet.quantile(0.5)), (0, None));
    }
}
