//! Where a result is kept: the tables in `docs/performance.md`, one sentence in `README.md`, each between its marks.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::columns::{floor_of, position};
use crate::marks;
use crate::measure::Row;
use crate::stats::{Estimate, ratio};
use crate::table::{cost, factor};
use crate::userspace::{KSCOPE, Used};

const DOCUMENT: &str = "docs/performance.md";
const README: &str = "README.md";

/// Writes both.
pub fn keep(text: &str, rows: &[Row], used: &[Used]) -> Result<()> {
    marks::put(DOCUMENT, text)?;
    marks::put(README, &sentence(rows, used))
}

/// What the README says: a system call, the dearest loop, and the dashboard at rest.
fn sentence(rows: &[Row], used: &[Used]) -> String {
    let mut lines = Vec::new();
    let all = position("kscope").zip(position("kscope").and_then(floor_of));
    if let Some((kscope, floor)) = all {
        let times = |row: &Row| ratio(&row.costs[kscope], &row.costs[floor]);
        let call = rows.iter().find(|row| row.of.key == "getppid" && row.failure.is_none());
        if let Some((row, times)) = call.and_then(|row| Some((row, times(row)?))) {
            let longer = cost(&row.costs[kscope], &row.nothing);
            lines.push(format!(
                "A system call (`getppid`) takes {} ns longer: {} what empty programs on the same hooks add.",
                longer.trim_start_matches('+'),
                factor(times)
            ));
        }
        // Where the factor is known to a fifth at least.
        let known = |times: &Estimate| times.half() <= times.median / 5.0;
        let worst = rows.iter().filter_map(|row| Some((row, times(row).filter(known)?)));
        if let Some((row, times)) = worst.max_by(|a, b| a.1.median.total_cmp(&b.1.median)) {
            let kscope = cost(&row.costs[kscope], &row.nothing);
            let nothing = crate::stats::median(&row.nothing);
            let operation = crate::table::number(nothing);
            lines.push(format!(
                "The worst line: {}, {kscope} ns on {operation} ns, {} the floor.",
                row.of.title,
                factor(times)
            ));
        }
    }
    if let Some(rest) = used.iter().find(|one| one.title == KSCOPE) {
        lines.push(format!(
            "The dashboard at rest takes {:.2} % of one CPU and {:.0} MiB (1 s, 200x50, {} processes).",
            rest.cpu_percent, rest.rss_mib, rest.processes
        ));
    }
    lines.push(format!("Measured on {}.", machine()));
    lines.join("\n")
}

/// CPUs and kernel.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown CPU");
    let uname = rustix::system::uname();
    format!(
        "{} x {}, Linux {} ({}), {}",
        cpus.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy(),
        date(),
    )
}

/// Of today, in UTC.
fn date() -> String {
    let output = Command::new("date").args(["-u", "+%F"]).output().map(|o| o.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().into()
}

/// Runnable threads over the last minute.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().into()
}
