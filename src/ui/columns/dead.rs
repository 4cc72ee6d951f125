//! The columns of the dead: of their groups, and of the latest of one group.

use super::{Column, Key, cell, plain_rate};
use crate::core::quality::Quality;
use crate::core::units::{self, DASH};
use crate::probes::lives::stats::{Dead, Status};
use crate::probes::network::stats::Traffic;
use crate::probes::time::stats::TimeSplit;
use crate::ui::ctx::Ctx;
use crate::ui::dead::{EndRow, GroupRow};
use crate::ui::widgets::table::{Cell, Width};

/// Processes, the dead: groups by command and parent.
pub const GROUPS: &[Column<GroupRow>] = &[
    Column {
        title: "COMMAND",
        width: Width::Fill(15),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(&r.group.comm)),
        cell: |r, c| name(if r.others { "others" } else { &r.group.comm }, c),
    },
    Column::text("PARENT", 15, 1, |r| Key::Text(&r.group.parent), |r, c| name(&r.group.parent, c)),
    Column::number(
        "died",
        8,
        0,
        |r| number(r.group.died),
        |r, c| counted(c.qualities.dead, &units::count(r.group.died), c),
    ),
    Column::number("now/s", 7, 2, |r| Key::Number(Some(r.per_s)), |r, c| rate(r.per_s, c)),
    Column::number("CPU", 8, 1, |r| Key::Number(Some(r.cpu)), cpu),
    Column::number(
        "cpu wait",
        9,
        7,
        |r| number(r.group.time.runnable_ns),
        |r, c| counted(r.worth(c.qualities.dead), &units::duration(r.group.time.runnable_ns), c),
    ),
    Column::number(
        "calls",
        8,
        3,
        |r| number(r.group.calls),
        |r, c| counted(r.worth(c.qualities.dead), &units::count(r.group.calls), c),
    ),
    Column::number(
        "bytes",
        9,
        6,
        |r| number(r.group.traffic.bytes()),
        |r, c| counted(r.worth(c.qualities.dead), &units::bytes(r.group.traffic.bytes() as f64), c),
    ),
    Column::number("life p50", 8, 2, |r| life(r.group.life(0.5)), |r, c| time(r.group.life(0.5), c)),
    Column::number("life p90", 8, 5, |r| life(r.group.life(0.9)), |r, c| time(r.group.life(0.9), c)),
    Column::number("failed", 7, 4, |r| number(r.group.failed), |r, c| bad(r.group.failed, r, c)),
    Column::number("killed", 7, 8, |r| number(r.group.killed), |r, c| bad(r.group.killed, r, c)),
];

/// The latest of a group.
pub const ENDS: &[Column<EndRow>] = &[
    Column::number("ago", 8, 0, |r| Key::Number(Some(r.late.unix_s)), ago),
    Column::number(
        "PID",
        7,
        0,
        |r| number(r.late.dead.id.pid.into()),
        |r, c| cell(r.late.dead.id.pid.to_string(), c.theme.dim),
    ),
    Column::number(
        "PPID",
        7,
        5,
        |r| number(r.late.dead.parent.into()),
        |r, c| cell(r.late.dead.parent.to_string(), c.theme.dim),
    ),
    Column::number(
        "life",
        9,
        1,
        |r| life(r.late.dead.end.map(|e| e.life_ns)),
        |r, c| time(r.late.dead.end.map(|e| e.life_ns), c),
    ),
    Column::number("CPU time", 9, 2, |r| life(on_cpu(&r.late.dead)), |r, c| time(on_cpu(&r.late.dead), c)),
    Column::number(
        "cpu wait",
        9,
        6,
        |r| life(r.late.dead.time.map(|t| t.runnable_ns)),
        |r, c| time(r.late.dead.time.map(|t| t.runnable_ns), c),
    ),
    Column::number("calls", 8, 3, |r| life(r.late.dead.calls), |r, c| known(r.late.dead.calls.map(units::count), c)),
    Column::number(
        "bytes",
        9,
        4,
        |r| life(r.late.dead.traffic.map(Traffic::bytes)),
        |r, c| known(r.late.dead.traffic.map(|t| units::bytes(t.bytes() as f64)), c),
    ),
    Column {
        title: "end",
        width: Width::Fill(16),
        right: false,
        rank: 0,
        key: Some(|r| Key::Number(r.late.dead.end.map(|e| f64::from(order(e.status))))),
        cell: end,
    },
];

const fn number(n: u64) -> Key<'static> {
    Key::Number(Some(n as f64))
}

const fn life(ns: Option<u64>) -> Key<'static> {
    match ns {
        Some(ns) => Key::Number(Some(ns as f64)),
        None => Key::Number(None),
    }
}

fn on_cpu(dead: &Dead) -> Option<u64> {
    dead.time.map(TimeSplit::on_cpu_ns)
}

fn name(name: &str, ctx: &Ctx<'_>) -> Cell<'static> {
    if name.is_empty() { cell(DASH, ctx.theme.dim) } else { cell(name.to_owned(), ctx.theme.text) }
}

fn counted(quality: Quality, text: &str, ctx: &Ctx<'_>) -> Cell<'static> {
    if quality == Quality::NotAvailable {
        return cell(DASH, ctx.theme.dim);
    }
    let nothing = text.starts_with("0 ") || text == "0";
    let style = if nothing { ctx.theme.dim } else { ctx.theme.text };
    cell(format!("{}{text}", quality.mark()), style)
}

fn known(text: Option<String>, ctx: &Ctx<'_>) -> Cell<'static> {
    text.map_or_else(|| cell(DASH, ctx.theme.dim), |text| counted(Quality::Exact, &text, ctx))
}

fn time(ns: Option<u64>, ctx: &Ctx<'_>) -> Cell<'static> {
    known(ns.map(units::duration), ctx)
}

fn rate(per_s: f64, ctx: &Ctx<'_>) -> Cell<'static> {
    counted(ctx.qualities.dead, &plain_rate(per_s), ctx)
}

fn cpu(row: &GroupRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let quality = row.worth(ctx.qualities.dead);
    let quality = if row.group.is_estimate { quality.worst(Quality::Estimate) } else { quality };
    counted(quality, &units::percent(row.cpu), ctx)
}

/// In whole intervals: those of the newest one died just now.
fn ago(row: &EndRow, ctx: &Ctx<'_>) -> Cell<'static> {
    cell(if row.ago_ns == 0 { "now".to_owned() } else { units::age(row.ago_ns) }, ctx.theme.text)
}

/// Of some the end is not known: then there may be more.
fn bad(count: u64, row: &GroupRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let shown = counted(ctx.qualities.dead.worst(row.group.end_quality()), &units::count(count), ctx);
    if count > 0 { shown.with_style(ctx.theme.warn) } else { shown }
}

const fn order(status: Status) -> u16 {
    match status {
        Status::Exited(code) => code as u16,
        Status::Killed(signal) => 256 + signal as u16,
    }
}

/// Names of the signals that end processes, by number from 1 (`signal(7)`; the same on most architectures).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

fn end(row: &EndRow, ctx: &Ctx<'_>) -> Cell<'static> {
    match row.late.dead.end.map(|end| end.status) {
        None => cell(DASH, ctx.theme.dim),
        Some(Status::Exited(0)) => cell("exit 0", ctx.theme.dim),
        Some(Status::Exited(code)) => cell(format!("exit {code}"), ctx.theme.warn),
        Some(Status::Killed(signal)) => {
            let name = usize::from(signal).checked_sub(1).and_then(|at| SIGNALS.get(at)).unwrap_or(&"");
            cell(format!("signal {signal} {name}"), ctx.theme.bad)
        }
    }
}
