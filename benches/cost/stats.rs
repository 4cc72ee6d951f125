//! From many paired measurements to one figure and how sure it is: medians and their confidence intervals.
//!
//! The interval is that of order statistics: it asks nothing of how values are distributed. `n` values split the line, and the
//! true median lies between the `k`-th smallest and the `k`-th largest with a probability that is a sum of binomials.
//!
//! Pure. Invariant: a ratio is given only where the floor's cost is above zero beyond doubt.

/// How sure an interval is to hold the true median, where there are values enough (six).
const CONFIDENCE: f64 = 0.95;

/// A median with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// Half of the interval: what stands behind `±`.
    pub fn half(self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// The middle of `values`, 0 without any.
pub fn median(values: &[f64]) -> f64 {
    middle(&sorted(values))
}

/// What a quarter of `values` is below, 0 without any.
pub fn lower_quartile(values: &[f64]) -> f64 {
    sorted(values).get(values.len() / 4).copied().unwrap_or(0.0)
}

/// The median and its interval at 95 %; with fewer than six values the interval is their range. `None` without values.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let sorted = sorted(values);
    let cut = rank(sorted.len());
    let (low, high) = (*sorted.get(cut)?, *sorted.get(sorted.len().checked_sub(cut + 1)?)?);
    Some(Estimate { median: middle(&sorted), low, high })
}

/// How many times `floor` is `costs`: the median of the rounds' ratios, and its interval. Values are paired by round.
///
/// `None` where the floor's own cost is not above zero beyond doubt.
pub fn ratio(costs: &[f64], floor: &[f64]) -> Option<Estimate> {
    if estimate(floor)?.low <= 0.0 {
        return None;
    }
    let ratios: Vec<_> = costs.iter().zip(floor).map(|(&cost, &floor)| quotient(cost, floor)).collect();
    estimate(&ratios).filter(|r| r.low.is_finite() && r.high.is_finite())
}

/// A round in which the floor seemed to cost nothing says only that the ratio is beyond all others.
fn quotient(cost: f64, floor: f64) -> f64 {
    if floor > 0.0 { cost / floor } else { f64::INFINITY.copysign(cost) }
}

/// How many values to leave out at each end so that the rest holds the median with [`CONFIDENCE`].
fn rank(n: usize) -> usize {
    // Probability that at most k of n values lie below the median, for k = 0, 1, …
    let mut term = 0.5_f64.powf(n as f64);
    let mut below = term;
    let mut k = 0;
    while k < n && 2.0 * below <= 1.0 - CONFIDENCE {
        term *= (n - k) as f64 / (k + 1) as f64;
        below += term;
        k += 1;
    }
    k.saturating_sub(1)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The same for values that are not paired: the medians' quotient, and the widest that both intervals allow.
pub fn quotient_of_medians(costs: &[f64], floor: &[f64]) -> Option<Estimate> {
    let (cost, floor) = (estimate(costs)?, estimate(floor).filter(|f| f.low > 0.0)?);
    let low = cost.low / if cost.low < 0.0 { floor.low } else { floor.high };
    let high = cost.high / if cost.high < 0.0 { floor.high } else { floor.low };
    Some(Estimate { median: cost.median / floor.median, low, high })
}
