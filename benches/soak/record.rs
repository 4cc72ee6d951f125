//! What was seen at each look, and its table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::drift::WHAT;
use crate::tree::Used;

/// One look.
pub struct Record {
    /// Since the dashboard was started.
    pub at: Duration,
    /// What the dashboard and its processes hold.
    pub used: Used,
    /// What the report of the last minute says was lost, and how many single calls were overwritten.
    pub lost: (u64, u64),
    /// Bytes that the dashboard drew since the look before: none is a dashboard that stands still.
    pub drawn: u64,
    /// By how much it differs from other accounts, percent.
    pub drift: [Option<f64>; 4],
}

/// All of it.
pub struct Soak {
    /// The looks.
    pub records: Vec<Record>,
    /// Losses and differences of the report that lasted all the time.
    pub whole: ((u64, u64), [Option<f64>; 4]),
}

impl Record {
    /// Minutes since the start.
    pub fn minutes(&self) -> f64 {
        self.at.as_secs_f64() / 60.0
    }

    /// One line for whoever waits.
    pub fn line(&self) -> String {
        format!("{:.1} min: {}", self.minutes(), cells(self).join(", "))
    }
}

/// A size in MiB.
pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:+.2} %"))
}

fn cells(record: &Record) -> Vec<String> {
    let used = record.used;
    let mut cells = vec![
        format!("{:.2} MiB", mib(used.rss_kib)),
        format!("{:.2} MiB", mib(used.pss_kib)),
        used.processes.to_string(),
        used.threads.to_string(),
        used.descriptors.to_string(),
        format!("{:.0} KiB", record.drawn as f64 / 1024.0),
        record.lost.0.to_string(),
        record.lost.1.to_string(),
    ];
    cells.extend(record.drift.map(percent));
    cells
}

/// The table, a line a look.
pub fn table(soak: &Soak) -> String {
    let mut out = format!(
        "| minute | RSS | PSS | processes | threads | descriptors | drawn | lost | single calls overwritten | {} |\n|--:|{}\n",
        WHAT.join(" | "),
        "--:|".repeat(8 + WHAT.len())
    );
    for record in &soak.records {
        let _ = writeln!(out, "| {:.1} | {} |", record.minutes(), cells(record).join(" | "));
    }
    let ((lost, calls), drift) = &soak.whole;
    let _ = writeln!(out, "| all | | | | | | | {lost} | {calls} | {} |", drift.map(percent).join(" | "));
    out
}
