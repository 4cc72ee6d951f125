//! A latency distribution on OpenTelemetry's exponential buckets of seconds, sparse: only buckets that hold something are kept.
//!
//! It is what a snapshot holds for each call of each process, so it must be small and quick to merge. It is not the
//! recorder (that is the kernel) and it never sees a single value.
//!
//! Invariant: `buckets` is sorted by index, without zeros; merging and subtracting are exact.

use super::latency::times;
use kscope_layout::bucket::{MIN_EXP, OCTAVES, SCALE3_BUCKETS};

/// Buckets an octave: scale 3 of OpenTelemetry.
pub const PER_OCTAVE: u32 = 8;
/// Buckets in all, under- and overflow included.
pub const BUCKETS: usize = SCALE3_BUCKETS;
/// Largest relative error of a quantile, in percent, as the interface states it.
pub const ERROR_PERCENT: f64 = 4.4;

/// Nanoseconds of a second, in which the boundaries are powers of two.
const SECOND_NS: f64 = 1e9;

/// The boundary so many octaves above the lowest one, in nanoseconds.
pub fn boundary(octaves: f64) -> f64 {
    f64::exp2(f64::from(MIN_EXP) + octaves) * SECOND_NS
}

/// How many octaves above the lowest boundary so many nanoseconds are; below 0 in the underflow bucket.
pub fn octaves_above(ns: f64) -> f64 {
    (ns / SECOND_NS).log2() - f64::from(MIN_EXP)
}

/// Lower bound (exclusive) and upper bound (inclusive) of a bucket in nanoseconds. The underflow bucket begins at 0, the
/// overflow bucket has no end (infinity).
pub fn bounds(index: u16) -> (f64, f64) {
    let edge = |i: u16| boundary(f64::from(i) / f64::from(PER_OCTAVE));
    match usize::from(index) {
        0 => (0.0, edge(0)),
        i if i >= BUCKETS - 1 => (boundary(f64::from(OCTAVES)), f64::INFINITY),
        _ => (edge(index - 1), edge(index)),
    }
}

/// Geometric midpoint of a bucket in ns: the value shown for what is inside. For the ends, their finite bound.
pub fn midpoint(index: u16) -> f64 {
    match bounds(index) {
        (0.0, high) => high,
        (low, f64::INFINITY) => low,
        (low, high) => (low * high).sqrt(),
    }
}

/// The same in whole nanoseconds, which are in the bucket: of the lowest one they are not rounded up.
pub fn midpoint_ns(index: u16) -> u64 {
    let ns = midpoint(index);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a midpoint is at most 128 s")]
    let whole = if index == 0 { ns.floor() } else { ns.round() } as u64;
    whole
}

/// Counts by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<(u16, u64)>,
}

impl Histogram {
    /// An empty histogram.
    pub const fn new() -> Self {
        Self { buckets: Vec::new() }
    }

    /// From `(index, count)` with rising indices and counts above zero.
    pub fn rising(buckets: impl Iterator<Item = (u16, u64)>) -> Self {
        Self { buckets: buckets.collect() }
    }

    /// What was counted between two readings of the same cumulative buckets, modulo 2^32 as the kernel counts.
    pub fn between(prev: Option<&[u32]>, next: &[u32]) -> Self {
        let mut buckets = Vec::new();
        for (index, &now) in next.iter().enumerate().take(BUCKETS) {
            let before = prev.and_then(|p| p.get(index)).copied().unwrap_or(0);
            let count = now.wrapping_sub(before);
            if count != 0 {
                #[expect(clippy::cast_possible_truncation, reason = "an index is below 250")]
                buckets.push((index as u16, u64::from(count)));
            }
        }
        buckets.shrink_to_fit();
        Self { buckets }
    }

    /// The same from readings that leave out what is 0, both sorted by index.
    pub fn between_sparse(prev: &[(u16, u32)], next: &[(u16, u32)]) -> Self {
        let mut buckets = Vec::with_capacity(next.len());
        let mut grown = |index: u16, was: u32, now: u32| {
            if was != now {
                buckets.push((index, u64::from(now.wrapping_sub(was))));
            }
        };
        let mut before = prev.iter().copied().peekable();
        for &(index, now) in next {
            // A counter that has wrapped to 0 is not in the later reading.
            while let Some((gone, was)) = before.next_if(|(i, _)| *i < index) {
                grown(gone, was, 0);
            }
            grown(index, before.next_if(|(i, _)| *i == index).map_or(0, |(_, n)| n), now);
        }
        before.for_each(|(gone, was)| grown(gone, was, 0));
        buckets.shrink_to_fit();
        Self { buckets }
    }

    /// `(index, count)` of each bucket that holds something, rising.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.buckets.iter().copied()
    }

    /// Memory of the buckets, bytes.
    pub const fn weight(&self) -> usize {
        self.buckets.capacity() * size_of::<(u16, u64)>()
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|&(_, n)| n).fold(0, u64::saturating_add)
    }

    /// True when nothing was counted.
    pub const fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// What the largest value exceeds at least, in whole ns: the lower bound of the highest bucket. `None` when empty.
    pub fn lower_bound_of_max(&self) -> Option<u64> {
        let (index, _) = self.buckets.last()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 128 s")]
        Some(bounds(*index).0 as u64)
    }

    /// Adds `count` values to a bucket.
    pub fn add(&mut self, index: u16, count: u64) {
        if count == 0 {
            return;
        }
        match self.buckets.binary_search_by_key(&index, |&(i, _)| i) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (index, count)),
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (index, count) in other.iter() {
            self.add(index, count);
        }
    }

    /// Each value counted `factor` times, which depends on its midpoint in ns; rounded.
    #[must_use]
    pub fn scaled(&self, factor: impl Fn(f64) -> f64) -> Self {
        let mut out = Self::new();
        for (index, count) in self.iter() {
            out.add(index, times(count, factor(midpoint(index))));
        }
        out
    }

    /// The value below which the share `q` (0…1) of all values lies, in ns: the midpoint of the bucket of that rank,
    /// clamped to the true maximum where one is known (`max_ns` not 0). `None` when the histogram is empty.
    pub fn quantile(&self, q: f64, max_ns: u64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the count")]
        let rank = ((q * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for (index, n) in self.iter() {
            seen = n.saturating_add(seen);
            if seen >= rank {
                return Some(value_of(index, max_ns));
            }
        }
        None
    }
}

/// What is shown for a value in a bucket, given the largest of all (0 if unknown).
fn value_of(index: u16, max_ns: u64) -> u64 {
    if usize::from(index) == BUCKETS - 1 && max_ns != 0 {
        return max_ns;
    }
    let value = midpoint_ns(index);
    if max_ns == 0 { value } else { value.min(max_ns) }
}

/// The sum of many histograms, without looking for each bucket.
pub struct Sum {
    counts: [u64; BUCKETS],
}

impl Default for Sum {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Sum {
    /// Adds all of `other`.
    pub fn add(&mut self, other: &Histogram) {
        for (index, count) in other.iter() {
            let sum = &mut self.counts[usize::from(index)];
            *sum = sum.saturating_add(count);
        }
    }

    /// The sum.
    pub fn histogram(&self) -> Histogram {
        let filled = || (0_u16..).zip(&self.counts).filter(|(_, n)| **n != 0);
        let mut buckets = Vec::with_capacity(filled().count());
        buckets.extend(filled().map(|(index, n)| (index, *n)));
        Histogram { buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope_layout::bucket::scale3;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut h = Histogram::new();
        for &v in values {
            h.add(u16::try_from(scale3(v)).unwrap(), 1);
        }
        h
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::new().quantile(0.5, 0), None);
    }

    #[test]
    fn counters_that_wrapped_are_subtracted_modulo_32_bits() {
        let h = Histogram::between(Some(&[u32::MAX - 1, 0]), &[3, 0]);
        assert_eq!(h.iter().collect::<Vec<_>>(), [(0, 5)]);
    }

    #[test]
    fn sparse_readings_are_subtracted_as_dense_ones_are() {
        let (prev, next) = ([(0, u32::MAX - 1), (2, u32::MAX), (9, 1)], [(0, 3), (4, 2), (9, 1)]);
        let dense = |sparse: &[(u16, u32)]| {
            let mut all = [0; 12];
            for (i, n) in sparse {
                all[usize::from(*i)] = *n;
            }
            all
        };
        let h = Histogram::between_sparse(&prev, &next);
        assert_eq!(h.iter().collect::<Vec<_>>(), [(0, 5), (2, 1), (4, 2)]);
        assert_eq!(h, Histogram::between(Some(&dense(&prev)), &dense(&next)));
    }

    #[test]
    fn a_midpoint_in_whole_nanoseconds_is_in_its_bucket() {
        for index in 0..u16::try_from(BUCKETS - 1).unwrap() {
            assert_eq!(scale3(midpoint_ns(index)), u32::from(index));
        }
    }

    #[test]
    fn the_overflow_bucket_shows_the_true_maximum() {
        let h = of(&[200_000_000_000]);
        assert_eq!(h.quantile(0.5, 200_000_000_000), Some(200_000_000_000));
    }

    proptest! {
        #[test]
        fn a_value_lies_within_the_bounds_of_its_bucket(v in 60_u64..=128_000_000_000) {
            let index = u16::try_from(scale3(v)).unwrap();
            let (low, high) = bounds(index);
            prop_assert!(low * (1.0 - 1e-9) <= v as f64 && v as f64 <= high * (1.0 + 1e-9));
        }

        #[test]
        fn quantiles_are_within_the_stated_error(
            mut values in proptest::collection::vec(60_u64..=128_000_000_000, 1..200),
            q in 0.01_f64..1.0,
        ) {
            let h = of(&values);
            values.sort_unstable();
            #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a rank")]
            let rank = (q * values.len() as f64).ceil() as usize;
            let truth = values[rank.clamp(1, values.len()) - 1] as f64;
            let shown = h.quantile(q, *values.last().unwrap()).unwrap() as f64;
            // What is stated is rounded to a decimal: half a bucket of scale 3 is 4.43 %.
            prop_assert!((shown / truth - 1.0).abs() * 100.0 < ERROR_PERCENT + 0.05, "{shown} for {truth}");
        }

        #[test]
        fn merging_is_exact_and_in_any_order(
            a in proptest::collection::vec(0_u64..1 << 38, 0..60),
            b in proptest::collection::vec(0_u64..1 << 38, 0..60),
        ) {
            let all: Vec<u64> = a.iter().chain(&b).copied().collect();
            let mut ab = of(&a);
            ab.merge(&of(&b));
            prop_assert_eq!(&ab, &of(&all));
            let mut sum = Sum::default();
            sum.add(&of(&a));
            sum.add(&of(&b));
            prop_assert_eq!(sum.histogram(), ab);
        }
    }
}
