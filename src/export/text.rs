//! The report for people: aligned tables, and the distribution of the dearest calls as bars.

use std::fmt::Write as _;

use super::latency::LatencyRow;
use super::report::{CallRow, Report};
use crate::core::histogram::{Histogram, PER_OCTAVE, boundary};
use crate::core::quality::Quality;
use crate::core::units::{byte_rate, bytes, count, duration, percent, rate};
use crate::probes::syscalls::names::waits;
use kscope_layout::bucket::OCTAVES;

/// Rows of each table.
const ROWS: usize = 15;
/// Calls whose distribution is drawn.
const DRAWN: usize = 3;
/// Width of the longest bar in cells.
const BAR: usize = 40;

/// The report as text.
pub fn to_text(report: &Report) -> String {
    let mut out = String::new();
    heading(&mut out, report);
    syscalls(&mut out, report);
    runqueue(&mut out, report);
    network(&mut out, report);
    processes(&mut out, report);
    report.sections.write(&mut out);
    footer(&mut out, report);
    out
}

fn seconds(report: &Report) -> f64 {
    report.interval_ns.max(1) as f64 / 1e9
}

/// Of what is said of kscope itself.
fn host_interval_ns(report: &Report) -> f64 {
    report.host_interval_ns.unwrap_or(report.interval_ns).max(1) as f64
}

fn heading(out: &mut String, report: &Report) {
    let host = &report.host;
    let _ = writeln!(
        out,
        "{} · Linux {} · {} CPU{} · measured for {}",
        host.name,
        host.kernel,
        host.cpus,
        if host.cpus == 1 { "" } else { "s" },
        duration(report.interval_ns)
    );
    if !report.only.is_empty() {
        let pids: Vec<String> = report.only.iter().map(u32::to_string).collect();
        let _ = writeln!(out, "measured were only these processes, not their children: pid {}", pids.join(", "));
    }
    if report.source == "procfs" {
        let _ = writeln!(
            out,
            "from /proc alone: user and kernel time in steps of 10 ms, waits when they end; short processes, and the waits of threads that ended, are missed"
        );
    }
    if let Some(command) = &report.command {
        let end = match (command.status, command.signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            _ => "still running".into(),
        };
        let _ = writeln!(out, "command: pid {}, {end}", command.pid);
    }
}

fn syscalls(out: &mut String, report: &Report) {
    let Some(rows) = &report.syscalls else {
        let _ = writeln!(out, "\nSystem calls  – not measured");
        return;
    };
    let mark = report.quality.syscalls.mark();
    let total: u64 = rows.iter().map(|r| r.latency.count).fold(0, u64::saturating_add);
    let _ = writeln!(out, "\nSystem calls  {mark}{} calls, {}", count(total), rate(total as f64 / seconds(report)));
    if rows.is_empty() {
        let _ = writeln!(out, "  none completed");
        return;
    }
    let _ = writeln!(
        out,
        "  {:<24} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "CALL", "calls", "errors", "p50", "p90", "p99", "p99.9", "max", "total"
    );
    for row in rows.iter().take(ROWS) {
        let waiting = if waits(row.nr) { " (waits)" } else { "" };
        let _ = writeln!(
            out,
            "  {:<24} {:>8} {:>8} {} {:>10}",
            format!("{}{waiting}", row.name),
            format!("{mark}{}", count(row.latency.count)),
            count(row.errors),
            quantiles(&row.latency),
            duration(row.latency.total_ns)
        );
    }
    if rows.len() > ROWS {
        let _ = writeln!(out, "  … and {} more", rows.len() - ROWS);
    }
    let denied = rows.iter().map(|r| r.denied).fold(0, u64::saturating_add);
    if denied > 0 {
        let _ = writeln!(out, "  {} of them were answered by seccomp or a tracer: these have no time", count(denied));
    }
    let working = rows.iter().filter(|r| !waits(r.nr) && r.latency.count > r.denied);
    for row in working.take(DRAWN) {
        distribution(out, row);
    }
}

fn quantiles(row: &LatencyRow) -> String {
    let cell = |value: Option<u64>| value.map_or_else(|| "–".into(), duration);
    let max = row.max_ns.filter(|_| row.count > 0).map_or_else(|| "–".into(), duration);
    format!(
        "{:>9} {:>9} {:>9} {:>9} {:>9}",
        cell(row.p50_ns),
        cell(row.p90_ns),
        cell(row.p99_ns),
        cell(row.p999_ns),
        max
    )
}

/// One line an octave, the low ones first, from the first that holds something to the last.
fn distribution(out: &mut String, row: &CallRow) {
    let _ = writeln!(out, "\n  {}", row.name);
    let octaves = by_octave(&row.latency.histogram);
    let top = octaves.iter().map(|o| o.count).max().unwrap_or(0).max(1);
    for octave in &octaves {
        let _ = writeln!(
            out,
            "  {:>9} … {:<9} {:<width$} {}",
            octave.low,
            octave.high,
            bar(octave.count, top),
            count(octave.count),
            width = BAR
        );
    }
}

struct Octave {
    low: String,
    high: String,
    count: u64,
}

fn by_octave(histogram: &Histogram) -> Vec<Octave> {
    let per_octave = PER_OCTAVE;
    let octave = |index: u16| if index == 0 { 0 } else { (u32::from(index) - 1) / per_octave + 1 };
    let (Some(first), Some(last)) = (histogram.iter().next(), histogram.iter().last()) else { return Vec::new() };
    // Octave 0 is everything up to the lowest boundary; each ends at twice the one before, the last nowhere.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 128 s")]
    let edge = |n: u32| if n > OCTAVES { "∞".into() } else { duration(boundary(f64::from(n)).round() as u64) };
    (octave(first.0)..=octave(last.0))
        .map(|n| Octave {
            low: if n == 0 { "0 ns".into() } else { edge(n - 1) },
            high: edge(n),
            count: histogram.iter().filter(|(i, _)| octave(*i) == n).map(|(_, c)| c).fold(0, u64::saturating_add),
        })
        .collect()
}

/// A bar in eighths of a cell; anything above zero is seen.
fn bar(value: u64, top: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (u128::from(value) * (BAR as u128) * 8).div_ceil(u128::from(top));
    let eighths = usize::try_from(eighths).unwrap_or(BAR * 8).min(BAR * 8);
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

fn runqueue(out: &mut String, report: &Report) {
    let Some(row) = &report.runqueue else {
        let _ = writeln!(out, "\nRun queue  – not measured");
        return;
    };
    let mark = report.quality.runqueue.mark();
    let waited = format!("{mark}{} waits, {} in all", count(row.all.count), duration(row.all.total_ns));
    let _ = writeln!(out, "\nRun queue  {waited}");
    let head = ["waits", "p50", "p90", "p99", "p99.9", "max"];
    let _ = writeln!(
        out,
        "  {:<18} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", head[0], head[1], head[2], head[3], head[4], head[5]
    );
    let mut line = |label: &str, row: &LatencyRow| {
        let _ = writeln!(out, "  {label:<18} {:>8} {}", count(row.count), quantiles(row));
    };
    line("all", &row.all);
    for cpu in row.cpus.iter().take(ROWS) {
        line(&format!("cpu {} (host)", cpu.cpu), &cpu.delay);
    }
}

fn network(out: &mut String, report: &Report) {
    match &report.network {
        None => {
            let _ = writeln!(out, "\nNetwork  – not measured");
        }
        Some(n) => {
            let (mark, s) = (report.quality.network.mark(), seconds(report));
            let _ = writeln!(
                out,
                "\nNetwork  payload sent {mark}{} ({}), received {mark}{} ({})",
                bytes(n.bytes.tx_bytes as f64),
                byte_rate(n.bytes.tx_bytes as f64 / s),
                bytes(n.bytes.rx_bytes as f64),
                byte_rate(n.bytes.rx_bytes as f64 / s)
            );
            n.conservation.write(out, mark);
        }
    }
}

fn processes(out: &mut String, report: &Report) {
    let mut rows: Vec<_> = report.processes.iter().collect();
    rows.sort_by_key(|p| (std::cmp::Reverse(p.time.map_or(0, |t| t.on_cpu_ns().saturating_add(t.runnable_ns))), p.pid));
    let _ = writeln!(out, "\nProcesses  {}", rows.len());
    if rows.is_empty() {
        let _ = writeln!(out, "  none in scope did anything");
        return;
    }
    let _ = writeln!(
        out,
        "  {:>7} {:<16} {:>8} {:>9} {:>8} {:>8} {:>9} {:>9}  thread time: user, kernel, waiting for CPU, blocked (mostly by)",
        "PID", "COMMAND", "calls", "queue p99", "user", "kernel", "tx", "rx"
    );
    for p in rows.iter().take(ROWS) {
        let calls = p.syscalls.as_ref().map(|c| c.iter().map(|r| r.latency.count).fold(0, u64::saturating_add));
        let mark = report.quality.time.mark();
        let share = |ns: u64| format!("{mark}{}", percent(ns as f64 / report.interval_ns.max(1) as f64));
        let dash = || "–".to_owned();
        let net =
            |pick: fn(u64, u64) -> u64| p.network.map_or_else(dash, |n| bytes(pick(n.tx_bytes, n.rx_bytes) as f64));
        let split = p
            .time
            .map_or_else(dash, |t| [t.user_ns, t.kernel_ns, t.runnable_ns, t.blocked_ns].map(duration).join(", "));
        let most = p.time.and_then(|t| t.blocked_by?.top()).map(|(cause, _)| format!(" ({})", cause.label()));
        let split = split + &most.unwrap_or_default();
        let _ = writeln!(
            out,
            "  {:>7} {:<16} {:>8} {:>9} {:>8} {:>8} {:>9} {:>9}  {split}",
            p.pid,
            format!("{}{}", p.comm, if p.exited { " †" } else { "" }),
            calls.map_or_else(dash, count),
            p.runqueue.as_ref().and_then(|r| r.p99_ns).map_or_else(dash, duration),
            p.time.map_or_else(dash, |t| share(t.user_ns)),
            p.time.map_or_else(dash, |t| share(t.kernel_ns)),
            net(|tx, _| tx),
            net(|_, rx| rx),
        );
    }
    if rows.len() > ROWS {
        let _ = writeln!(out, "  … and {} more", rows.len() - ROWS);
    }
}

/// What the programs took, where it was counted.
fn programs(out: &mut String, report: &Report) {
    let counted: Vec<(u64, u64)> = report.own.probes.iter().filter_map(|p| Some((p.runs?, p.run_ns?))).collect();
    if counted.is_empty() {
        return;
    }
    let (runs, ns) = counted.iter().fold((0, 0), |sum, one| (one.0.saturating_add(sum.0), one.1.saturating_add(sum.1)));
    let _ = writeln!(
        out,
        "Its programs: {} of one CPU, {} runs, {} each. Counting them made each run dearer.",
        percent(ns as f64 / host_interval_ns(report)),
        count(runs),
        ns.checked_div(runs).map_or_else(|| "–".into(), duration)
    );
}

fn footer(out: &mut String, report: &Report) {
    let own = &report.own;
    let lost = own.dropped.all();
    let share = percent(own.cpu_ns as f64 / host_interval_ns(report));
    let _ = writeln!(
        out,
        "\nkscope itself: {share} of one CPU in user space, {} resident; {} events lost. Its own system calls are not counted.",
        bytes(own.rss_bytes as f64),
        count(lost)
    );
    programs(out, report);
    let _ = writeln!(out, "Quantiles are within 4.4 %. † ended in the interval.");
    if let Some(missing) = &report.missing {
        let _ = writeln!(
            out,
            "– is what only programs in the kernel tell, ~ an estimate. {} {}",
            missing.reason, missing.advice
        );
        return;
    }
    // One that rests has no reason not to run.
    for (probe, reason) in own.probes.iter().filter_map(|p| Some((p, p.reason.as_deref()?))) {
        let _ = writeln!(out, "{} does not run: {reason}", probe.name);
    }
    let of_less = report.quality.of_quality(Quality::LowerBound);
    if !of_less.is_empty() {
        let _ = writeln!(out, "≥ Events were lost: of {} there was at least as much as is said.", of_less.join(", "));
    }
    for row in &report.sampling {
        let _ = writeln!(out, "≈ To keep the budget, {}.", row.sentence);
    }
}
