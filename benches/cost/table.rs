//! From samples to Markdown: medians, their spread, costs and ratios.
//!
//! Pure. Invariant: a ratio is printed only where both costs stand out of their spread.

use std::fmt::Write as _;

/// What one column cost in one loop: a value a round, ns an operation more than with nothing attached.
pub type Costs = Vec<f64>;

/// The middle of `values`, 0 without any.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// Median absolute deviation from the median.
pub fn spread(values: &[f64]) -> f64 {
    let middle = median(values);
    median(&values.iter().map(|v| (v - middle).abs()).collect::<Vec<_>>())
}

/// How many times the floor's cost; `None` where one of the two is lost in the noise.
pub fn ratio(costs: &[f64], floor: &[f64]) -> Option<f64> {
    let stands_out = |values: &[f64]| median(values) > 3.0 * spread(values) && values.len() > 1;
    (stands_out(costs) && stands_out(floor)).then(|| median(costs) / median(floor))
}

/// `104 ± 1`.
pub fn plain(values: &[f64]) -> String {
    format!("{} ± {}", number(median(values)), number(spread(values)))
}

/// `+133 ± 2`, or `–` without values.
pub fn cost(values: &[f64]) -> String {
    if values.is_empty() {
        return "–".into();
    }
    let middle = median(values);
    let sign = if middle < 0.0 { '−' } else { '+' };
    format!("{sign}{} ± {}", number(middle.abs()), number(spread(values)))
}

/// The same with the ratio: `+133 ± 2 (2.40×)`.
pub fn cost_and_ratio(values: &[f64], floor: &[f64]) -> String {
    match ratio(values, floor) {
        Some(ratio) => format!("{} (**{ratio:.2}×**)", cost(values)),
        None => cost(values),
    }
}

/// One decimal below 10, groups of three digits above.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A table with its first column left-aligned and the others to the right.
pub fn markdown(head: &[String], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|---|{}\n", head.join(" | "), "---:|".repeat(head.len().saturating_sub(1)));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}
