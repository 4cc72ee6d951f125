//! From estimates to Markdown.
//!
//! Pure. Costs come as shares of the work with nothing attached, and are printed in nanoseconds of its median.

use std::fmt::Write as _;

use crate::columns::{OURS, floor_of, position};
use crate::measure::{Peer, Row};
use crate::stats::{Estimate, estimate, median, quotient_of_medians, ratio};
use crate::userspace::Used;

/// The loops and what each column adds to them.
pub fn loops(rows: &[Row], peers: &[Peer]) -> String {
    // The floors of the parts are seen in the factors only.
    let ours: Vec<_> = (0..OURS.len()).filter(|&at| !OURS[at].title.starts_with("floor: ")).collect();
    let beside: Vec<_> = (0..peers.len()).filter(|&at| peers[at].failure.is_none()).collect();
    let mut head = vec!["ns".to_owned(), "nothing attached".to_owned()];
    head.extend(ours.iter().map(|&at| OURS[at].title.to_owned()));
    head.extend(beside.iter().map(|&at| peers[at].column.title.to_owned()));
    let mut lines: Vec<Vec<String>> =
        rows.iter().filter(|r| r.failure.is_none()).map(|r| line(r, &ours, &beside)).collect();
    let mut cpu = vec!["its own user space, of one CPU".to_owned(), "–".to_owned()];
    cpu.extend(ours.iter().map(|_| "–".to_owned()));
    cpu.extend(beside.iter().map(|&at| format!("{:.1} %", 100.0 * median(&peers[at].cpu))));
    lines.push(cpu);
    let mut text = markdown(&head, &lines);
    for row in rows {
        if let Some(why) = &row.failure {
            let _ = write!(text, "\nNot measured: {}: {why}.\n", row.of.title);
        }
    }
    for peer in peers {
        if let Some(why) = &peer.failure {
            let _ = write!(text, "\nNot measured: {}: {}.\n", peer.column.title, why.trim_end_matches('.'));
        }
    }
    text
}

fn line(row: &Row, ours: &[usize], beside: &[usize]) -> Vec<String> {
    let floor = position("floor").map_or(&[][..], |at| &row.costs[at]);
    let mut cells = vec![row.of.title.to_owned(), plain(&row.nothing)];
    cells.extend(ours.iter().map(|&at| {
        let times = floor_of(at).and_then(|floor| ratio(&row.costs[at], &row.costs[floor]));
        with_factor(cost(&row.costs[at], &row.nothing), times)
    }));
    cells.extend(
        beside
            .iter()
            .map(|&at| with_factor(cost(&row.beside[at], &row.nothing), quotient_of_medians(&row.beside[at], floor))),
    );
    cells
}

/// The programs that people watch, and what each takes.
pub fn user_space(used: &[Used], failures: &[String]) -> String {
    let head = ["", "processes", "first frame, ms", "first data, ms", "CPU at rest", "RSS, MiB", "peak, MiB"];
    let ms = |ms: Option<f64>| ms.map_or("–".into(), |ms| format!("{ms:.0}"));
    let lines = used.iter().map(|one| {
        vec![
            one.title.into(),
            one.processes.to_string(),
            ms(one.frame_ms),
            ms(one.data_ms),
            format!("{:.2} %", one.cpu_percent),
            format!("{:.1}", one.rss_mib),
            format!("{:.1}", one.peak_mib),
        ]
    });
    let mut text = markdown(&head.map(String::from), &lines.collect::<Vec<_>>());
    for failure in failures {
        let _ = write!(text, "\n{failure}\n");
    }
    text
}

/// `104 ± 1`.
fn plain(values: &[f64]) -> String {
    estimate(values).map_or("–".into(), |e| format!("{} ± {}", number(e.median), number(e.half())))
}

/// `+133 ± 2` of costs in shares, or `–` without any.
pub fn cost(shares: &[f64], nothing: &[f64]) -> String {
    let Some(share) = estimate(shares) else { return "–".into() };
    let scale = median(nothing);
    let sign = if share.median < 0.0 { '−' } else { '+' };
    format!("{sign}{} ± {}", number(share.median.abs() * scale), number(share.half() * scale))
}

/// `**2.13×** ± 0.05`.
pub fn factor(times: Estimate) -> String {
    format!("**{:.2}×** ± {:.2}", times.median, times.half())
}

/// The cost with its factor, where that is known better than by half of itself.
fn with_factor(cost: String, times: Option<Estimate>) -> String {
    match times.filter(|times| times.half() <= times.median / 2.0) {
        Some(times) => format!("{cost} ({})", factor(times)),
        None => cost,
    }
}

/// One decimal below 10, groups of three digits above.
pub fn number(value: f64) -> String {
    if value < 9.95 {
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
