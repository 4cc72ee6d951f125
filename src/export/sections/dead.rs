//! Those that died, by command and parent.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::report::{Scope, measured};
use crate::core::quality::Quality;
use crate::core::units::{bytes, count, duration, percent, rate};
use crate::model::Snapshot;
use crate::probes::lives::stats::{Group, Groups};
use crate::probes::time::stats::TimeSplit;

/// Groups of their own; the rest is summed up.
const MOST: usize = 1_000;
/// Rows of the table.
const ROWS: usize = 15;

/// Processes that ended in the interval, in scope.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Processes that were made on the host.
    pub forks: u64,
    /// Programs that were begun on the host.
    pub execs: u64,
    /// Processes that ended on the host.
    pub ends: u64,
    /// Processes in scope that ended. One is reported with the sample after its end.
    pub died: u64,
    /// By command and parent, the largest group first.
    pub groups: Vec<Row>,
    /// What the numbers are worth, and over how long.
    #[serde(skip)]
    worth: (Quality, u64),
    /// Those for which there was no group left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<Row>,
}

/// Those of one command and one parent. What they did, they did while kscope watched.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Their last name.
    pub comm: String,
    /// Their parents' name.
    pub parent: String,
    /// How many.
    pub died: u64,
    /// How many ran a program of their own, and were not a mere copy of their parent.
    pub ran_program: u64,
    /// How many ended with another exit status than 0.
    pub failed: u64,
    /// How many a signal ended.
    pub killed: u64,
    /// How many there are of which it is not known how they ended and how long they lived: not in the numbers that say so.
    pub without_end: u64,
    /// How many there are of which it is not known what they did.
    pub without_account: u64,
    /// System calls that they completed; `null`, as for what follows, if of none of them it is known.
    pub calls: Option<u64>,
    /// Bytes that they sent.
    pub tx_bytes: Option<u64>,
    /// Bytes that they received.
    pub rx_bytes: Option<u64>,
    /// How long they lived.
    pub p50_life_ns: Option<u64>,
    /// 90 %.
    pub p90_life_ns: Option<u64>,
    /// The longest.
    pub max_life_ns: u64,
    /// Where their threads' time went.
    pub time: Option<TimeSplit>,
}

impl Row {
    fn of(group: &Group) -> Self {
        let known = group.account_quality() != Quality::NotAvailable;
        Self {
            comm: group.comm.to_string(),
            parent: group.parent.to_string(),
            died: group.died,
            ran_program: group.ran_program,
            failed: group.failed,
            killed: group.killed,
            without_end: group.without_end,
            without_account: group.without_account,
            calls: known.then_some(group.calls),
            tx_bytes: known.then_some(group.traffic.tx_bytes),
            rx_bytes: known.then_some(group.traffic.rx_bytes),
            p50_life_ns: group.life(0.5),
            p90_life_ns: group.life(0.9),
            max_life_ns: group.longest_ns,
            time: known.then_some(group.time),
        }
    }
}

/// The part, unless nothing measures it.
pub fn section(snapshot: &Snapshot, scope: &Scope, interval_ns: u64) -> Option<Section> {
    let quality = snapshot.qualities.dead;
    measured(quality, || {
        let chosen = || snapshot.dead.iter().filter(|dead| scope.holds(dead.id));
        let groups = Groups::of(chosen(), MOST);
        let mut rows: Vec<Row> = groups.iter().map(Row::of).collect();
        rows.sort_by(|a, b| (b.died, &a.comm, &a.parent).cmp(&(a.died, &b.comm, &b.parent)));
        let turnover = snapshot.turnover;
        Section {
            forks: turnover.forks,
            execs: turnover.execs,
            ends: turnover.ends,
            died: chosen().count() as u64,
            groups: rows,
            worth: (quality, interval_ns.max(1)),
            others: (groups.others.died > 0).then(|| Row::of(&groups.others)),
        }
    })
}

/// The largest groups.
pub fn write(section: Option<&Section>, out: &mut String) {
    let Some(section) = section else {
        let _ = writeln!(out, "\nThe dead  – not measured");
        return;
    };
    let (quality, interval_ns) = section.worth;
    let mark = quality.mark();
    let [died, forks, execs, ends] = [section.died, section.forks, section.execs, section.ends].map(count);
    let _ = writeln!(out, "\nThe dead  {mark}{died} ended; on the host {forks} forks, {execs} execs, {ends} ends");
    if section.groups.is_empty() {
        let _ = writeln!(out, "  none in scope ended");
        return;
    }
    let _ = writeln!(
        out,
        "  {:<16} {:<16} {:>8} {:>9} {:>8} {:>8} {:>9} {:>9} {:>9} {:>8}",
        "COMMAND", "PARENT", "died", "per s", "CPU", "calls", "bytes", "life p50", "life p90", "failed"
    );
    for row in section.groups.iter().take(ROWS).chain(&section.others) {
        line(row, mark, interval_ns, out);
    }
    if section.groups.len() > ROWS {
        let _ = writeln!(out, "  … and {} more groups", section.groups.len() - ROWS);
    }
}

fn line(row: &Row, mark: &str, interval_ns: u64, out: &mut String) {
    let dash = || "–".to_owned();
    let life = |ns: Option<u64>| ns.map_or_else(dash, duration);
    let least = if row.without_account > 0 { Quality::LowerBound.mark() } else { "" };
    let sum = |text: Option<String>| text.map_or_else(dash, |text| format!("{least}{text}"));
    let failed = if row.without_end < row.died { count(row.failed + row.killed) } else { dash() };
    let _ = writeln!(
        out,
        "  {:<16} {:<16} {:>8} {:>9} {:>8} {:>8} {:>9} {:>9} {:>9} {:>8}",
        if row.comm.is_empty() { "others" } else { &row.comm },
        if row.parent.is_empty() { "–" } else { &row.parent },
        format!("{mark}{}", count(row.died)),
        rate(row.died as f64 / (interval_ns as f64 / 1e9)),
        sum(row.time.map(|time| percent(time.on_cpu_ns() as f64 / interval_ns as f64))),
        sum(row.calls.map(count)),
        sum(row.tx_bytes.zip(row.rx_bytes).map(|(tx, rx)| bytes(tx.saturating_add(rx) as f64))),
        life(row.p50_life_ns),
        life(row.p90_life_ns),
        failed
    );
}
