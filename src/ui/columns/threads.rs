//! The columns of the table of one process's threads.

use super::{Column, Key, cell, measured, on_cpu_quality};
use crate::core::units;
use crate::probes::syscalls::names::name;
use crate::probes::time::causes::Cause;
use crate::ui::ctx::Ctx;
use crate::ui::page::threads::ThreadRow;
use crate::ui::widgets::bar::StackedBar;
use crate::ui::widgets::table::{Cell, Width};

/// Columns of the bar.
const BAR: u16 = 16;

/// The threads of the process whose page is open.
pub const THREADS: &[Column<ThreadRow>] = &[
    Column::number(
        "TID",
        7,
        1,
        |r| Key::Number(Some(f64::from(r.thread.tid))),
        |r, c| cell(r.thread.tid.to_string(), c.theme.dim),
    ),
    Column {
        title: "NAME",
        width: Width::Fill(12),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(&r.thread.comm)),
        cell: |r, c| {
            let gone = if r.thread.exited { " †" } else { "" };
            cell(format!("{}{gone}", r.thread.comm), c.theme.text)
        },
    },
    Column::number(
        "on-cpu",
        7,
        0,
        |r| Key::Number(Some(r.thread.time.on_cpu_ns() as f64)),
        |r, c| {
            let ns = r.thread.time.on_cpu_ns();
            measured(c, on_cpu_quality(c), units::percent(c.per_s(ns) / 1e9), ns == 0)
        },
    ),
    Column::number(
        "user",
        8,
        4,
        |r| Key::Number(Some(r.thread.time.user_ns as f64)),
        |r, c| part(r.thread.time.user_ns, c),
    ),
    Column::number(
        "kernel",
        8,
        4,
        |r| Key::Number(Some(r.thread.time.kernel_ns as f64)),
        |r, c| part(r.thread.time.kernel_ns, c),
    ),
    Column::number(
        "cpu wait",
        8,
        2,
        |r| Key::Number(Some(r.thread.time.runnable_ns as f64)),
        |r, c| part(r.thread.time.runnable_ns, c),
    ),
    Column::number(
        "blocked",
        8,
        3,
        |r| Key::Number(Some(r.thread.time.blocked_ns as f64)),
        |r, c| part(r.thread.time.blocked_ns, c),
    ),
    Column::text(
        "mostly by",
        10,
        3,
        |r| Key::Text(top(r).map_or("", Cause::label)),
        |r, c| cell(top(r).map_or("", Cause::label), c.theme.dim),
    ),
    Column::picture("in", 12, 5, |r, c| {
        cell(r.thread.call.map(|nr| name(nr).into_owned()).unwrap_or_default(), c.theme.dim)
    }),
    Column::picture("wall time", BAR, 6, |r, c| {
        Cell::from(StackedBar { parts: &c.time_parts(r.thread.time), theme: c.theme }.spans(BAR))
    }),
];

fn top(row: &ThreadRow) -> Option<Cause> {
    row.thread.time.blocked_by.top().map(|(cause, _)| cause)
}

fn part(ns: u64, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, ctx.qualities.time, units::duration(ns), ns == 0)
}
