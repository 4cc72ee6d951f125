//! The result as a Markdown table: a row for each step, a column for each machine, and how it grows.

use std::fmt::Write as _;

use kscope::core::units;

use super::generate::Size;
use super::measure::{Outcome, Step};

/// One machine and what its steps cost.
pub type Measured = (Size, Vec<Step>);

/// The table; the first `growing` columns are machines that grow.
pub fn markdown(columns: &[Measured], growing: usize) -> String {
    let mut text = String::from("| processes");
    let mut cell = |value: &dyn Fn(&Size) -> u32, name: &str| {
        if !name.is_empty() {
            let _ = write!(text, "\n| {name}");
        }
        for (size, _) in columns {
            let _ = write!(text, " | {}", value(size));
        }
        text.push_str(" | |");
        if name.is_empty() {
            let _ = write!(text, "\n|---|{}---:|", "---:|".repeat(columns.len()));
        }
    };
    cell(&|s| s.processes, "");
    cell(&|s| s.threads, "threads");
    cell(&|s| s.cpus, "CPUs");
    cell(&|s| s.calls, "system calls");
    let _ = writeln!(text, "\n| **step** {}| **grows as** |", "| ".repeat(columns.len()));
    let Some((_, steps)) = columns.first() else { return text };
    for (row, (name, _)) in steps.iter().enumerate() {
        let _ = write!(text, "| {name}");
        for (_, steps) in columns {
            let _ = write!(text, " | {}", steps.get(row).map_or_else(String::new, |(_, outcome)| shown(outcome)));
        }
        let _ = writeln!(text, " | {} |", growth(&columns[..growing], row));
    }
    text
}

/// `1.20 ms, 34 × 5.6 KiB`: time, allocations and their bytes.
fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Missing => units::DASH.to_owned(),
        Outcome::Held(bytes, ticks) => format!("{} in {ticks}", units::bytes(*bytes as f64)),
        Outcome::Cost(cost) if cost.allocations == 0 => format!("{}, 0", units::duration(cost.whole_ns())),
        Outcome::Cost(cost) => format!(
            "{}, {} in {}",
            units::duration(cost.whole_ns()),
            units::bytes(cost.bytes as f64),
            units::count(cost.allocations as u64)
        ),
    }
}

/// The number that is compared: time, or memory.
pub fn number(outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Cost(cost) => Some(cost.ns.max(1.0)),
        Outcome::Held(bytes, _) => Some((*bytes).max(1) as f64),
        Outcome::Missing => None,
    }
}

/// The power of the number of processes that fits the upper half of the sizes: `n^0.98`.
fn growth(columns: &[Measured], row: usize) -> String {
    let points: Vec<(f64, f64)> = columns
        .iter()
        .filter_map(|(size, steps)| Some((f64::from(size.processes).ln(), number(&steps.get(row)?.1)?.ln())))
        .collect();
    let upper = &points[points.len() / 2..];
    let n = upper.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| upper.iter().map(pick).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (rise, run) =
        upper.iter().fold((0.0, 0.0), |sum, p| (sum.0 + (p.0 - x) * (p.1 - y), sum.1 + (p.0 - x).powi(2)));
    if upper.len() < 2 || run == 0.0 { units::DASH.to_owned() } else { format!("n^{:.2}", rise / run) }
}
