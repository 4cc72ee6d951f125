//! The columns of the table of single calls.

use super::{Column, Key, PID, cell};
use crate::core::units;
use crate::ui::ctx::Ctx;
use crate::ui::rows::exemplars::ExemplarRow;
use crate::ui::widgets::bar::StackedBar;
use crate::ui::widgets::table::{Cell, Width};

/// Width of the bar that divides a call.
const PARTS: u16 = 8;

/// Syscalls › a call › its slowest.
pub const EXEMPLARS: &[Column<ExemplarRow>] = &[
    Column::number(
        "took",
        8,
        0,
        |r| Key::Number(Some(r.of.latency_ns as f64)),
        |r, c| cell(units::duration(r.of.latency_ns), c.theme.text),
    ),
    Column::number("ago", 7, 4, |r| Key::Number(Some(r.age_ns as f64)), |r, c| cell(units::age(r.age_ns), c.theme.dim)),
    Column::picture("of it", PARTS, 2, parts),
    Column::number("blocked", 8, 6, |r| Key::Number(Some(r.of.blocked_ns as f64)), |r, c| time(r.of.blocked_ns, c)),
    Column::number("for cpu", 8, 6, |r| Key::Number(Some(r.of.runnable_ns as f64)), |r, c| time(r.of.runnable_ns, c)),
    Column::number(
        PID.title,
        7,
        5,
        |r| Key::Number(Some(f64::from(r.of.id.pid))),
        |r, c| cell(r.of.id.pid.to_string(), c.theme.dim),
    ),
    Column::number(
        "TID",
        7,
        7,
        |r| Key::Number(Some(f64::from(r.of.tid))),
        |r, c| cell(r.of.tid.to_string(), c.theme.dim),
    ),
    Column::text("COMMAND", 12, 1, |r| Key::Text(&r.of.comm), |r, c| cell(r.of.comm.to_string(), c.theme.text)),
    Column {
        title: "arguments",
        width: Width::Fill(28),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(&r.arguments)),
        cell: |r, c| cell(r.arguments.clone(), c.theme.text),
    },
    Column::number("result", 9, 3, |r| Key::Text(&r.result), result),
];

/// Blocked, waiting for a CPU, and the rest, in the colours of thread time.
fn parts(row: &ExemplarRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let of = &row.of;
    let rest = of.latency_ns.saturating_sub(of.blocked_ns).saturating_sub(of.runnable_ns);
    let parts = [
        (rest as f64, ctx.theme.kernel, '▓'),
        (of.runnable_ns as f64, ctx.theme.runnable, '▒'),
        (of.blocked_ns as f64, ctx.theme.blocked, '░'),
    ];
    Cell::from(StackedBar { parts: &parts, theme: ctx.theme }.spans(PARTS))
}

fn time(ns: u64, ctx: &Ctx<'_>) -> Cell<'static> {
    cell(units::duration(ns), if ns == 0 { ctx.theme.dim } else { ctx.theme.text })
}

fn result(row: &ExemplarRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let style = if row.of.errno().is_some() { ctx.theme.warn } else { ctx.theme.text };
    cell(row.result.clone(), style)
}
