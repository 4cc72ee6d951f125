//! Quantiles over a window of intervals: buckets of many snapshots merged into one high-resolution histogram.
//!
//! Not a recorder: it holds what the kernel already counted, for as long as it is shown.
//!
//! Invariant: every value is the midpoint of a bucket, so the error is that of the histograms merged.

use super::histogram::{Histogram, midpoint_ns};

/// The distribution of a window.
pub struct Window {
    merged: hdrhistogram::Histogram<u64>,
    max_ns: u64,
}

impl Window {
    /// Merges distributions, each with its true maximum (0 if unknown).
    pub fn of<'a>(parts: impl IntoIterator<Item = (&'a Histogram, u64)>) -> Option<Self> {
        // Two digits: finer than any bucket that comes in.
        let mut merged = hdrhistogram::Histogram::new_with_max(Self::HIGHEST_NS, 2).ok()?;
        let mut max_ns = 0;
        for (histogram, max) in parts {
            max_ns = max_ns.max(max);
            for (index, count) in histogram.iter() {
                merged.saturating_record_n(midpoint_ns(index), count);
            }
        }
        (!merged.is_empty()).then_some(Self { merged, max_ns })
    }

    /// Above the overflow bound of the buckets, 128 s.
    const HIGHEST_NS: u64 = 1 << 38;

    /// The quantile `q` (0…1) in ns, clamped to the true maximum.
    pub fn quantile(&self, q: f64) -> u64 {
        let value = self.merged.value_at_quantile(q);
        if self.max_ns == 0 { value } else { value.min(self.max_ns) }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.merged.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::histogram::midpoint;

    #[test]
    fn an_empty_window_is_none() {
        assert!(Window::of([(&Histogram::new(), 0)]).is_none());
    }

    #[test]
    fn quantiles_are_those_of_all_parts_together() {
        let (mut fast, mut slow) = (Histogram::new(), Histogram::new());
        fast.add(40, 98);
        slow.add(80, 2);
        let window = Window::of([(&fast, 0), (&slow, 0)]).unwrap();
        let near = |ns: u64, midpoint: f64| (ns as f64 / midpoint - 1.0).abs() < 0.01;
        assert_eq!(window.count(), 100);
        assert!(near(window.quantile(0.5), midpoint(40)));
        assert!(near(window.quantile(0.99), midpoint(80)));
    }
}
