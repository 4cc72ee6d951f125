//! The columns of the tables of block devices, and of the processes that use them.

use super::{AGE_BAD_NS, AGE_WARN_NS, COMMAND, Column, Key, PID, USER, cell, measured, ns_key, plain_rate};
use crate::core::quality::Quality;
use crate::core::units;
use crate::ui::charts::bar;
use crate::ui::ctx::{Ctx, time};
use crate::ui::disk_rows::DiskRow;
use crate::ui::processes::ProcessRow;
use crate::ui::widgets::table::{Cell, Width};

/// Disk: devices by direction.
pub const DISKS: &[Column<DiskRow>] = &[
    Column {
        title: "DEVICE",
        width: Width::Fill(10),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(&r.name)),
        cell: |r, c| cell(r.name.clone(), if r.direction.is_some() { c.theme.text } else { c.theme.dim }),
    },
    Column::text("does", 6, 0, |r| Key::Text(r.does()), |r, c| cell(r.does(), direction_style(r, c))),
    Column::number(
        "req/s",
        8,
        1,
        |r| Key::Number(Some(r.requests as f64)),
        |r, c| measured(c, c.qualities.disk, plain_rate(c.per_s(r.requests)), r.requests == 0),
    ),
    Column::number(
        "bytes/s",
        10,
        2,
        |r| Key::Number(Some(r.bytes as f64)),
        |r, c| measured(c, c.qualities.disk, units::bytes(c.per_s(r.bytes)), r.bytes == 0),
    ),
    Column::number("p50", 8, 3, |r| ns_key(r.latency.p50), |r, c| latency(r.latency.p50, c)),
    Column::number("p90", 8, 7, |r| ns_key(r.latency.p90), |r, c| latency(r.latency.p90, c)),
    Column::number("p99", 8, 1, |r| ns_key(r.latency.p99), |r, c| latency(r.latency.p99, c)),
    Column::number("max", 8, 4, |r| ns_key(r.latency.max), |r, c| latency(r.latency.max, c)),
    Column::number("queued", 7, 3, |r| Key::Number(r.queued), queued),
    Column::picture("", 6, 8, |r, c| cell(bar(r.queued.unwrap_or(0.0), 6), c.theme.runnable)),
    Column::number(
        "err/s",
        7,
        6,
        |r| Key::Number(Some(r.latency.errors as f64)),
        |r, c| {
            let style = if r.latency.errors > 0 { c.theme.warn } else { c.theme.dim };
            let text = if c.is_procfs() { units::DASH.to_owned() } else { plain_rate(c.per_s(r.latency.errors)) };
            cell(text, style)
        },
    ),
    Column::number(
        "in flight",
        9,
        2,
        |r| Key::Number(Some(r.in_flight as f64)),
        |r, c| {
            let text = if c.is_procfs() { units::DASH.to_owned() } else { r.in_flight.to_string() };
            cell(text, if r.in_flight > 0 { c.theme.text } else { c.theme.dim })
        },
    ),
    Column::number("oldest", 8, 4, |r| ns_key(r.oldest_ns), oldest),
];

/// Disk: who asks for it.
pub const DISK_USERS: &[Column<ProcessRow>] = &[
    PID,
    COMMAND,
    Column::number(
        "read/s",
        10,
        1,
        |r| Key::Number(Some(r.process().disk.read_bytes as f64)),
        |r, c| moved(r.process().disk.read_bytes, r, c),
    ),
    Column::number(
        "write/s",
        10,
        1,
        |r| Key::Number(Some(r.process().disk.write_bytes as f64)),
        |r, c| moved(r.process().disk.write_bytes, r, c),
    ),
    Column::number(
        "reads/s",
        8,
        3,
        |r| Key::Number(Some(r.process().disk.reads as f64)),
        |r, c| requests(r.process().disk.reads, c),
    ),
    Column::number(
        "writes/s",
        8,
        3,
        |r| Key::Number(Some(r.process().disk.writes as f64)),
        |r, c| requests(r.process().disk.writes, c),
    ),
    Column::number(
        "others/s",
        8,
        6,
        |r| Key::Number(Some(r.process().disk.others as f64)),
        |r, c| requests(r.process().disk.others, c),
    ),
    Column::number(
        "in flight",
        9,
        2,
        |r| Key::Number(Some(r.process().disk.total_ns as f64)),
        |r, c| {
            let busy = r.process().disk.total_ns;
            // Requests in flight on average: their time over the interval's.
            measured(c, seen(c), format!("{:.2}", c.per_s(busy) / 1e9), busy == 0)
        },
    ),
    Column::picture("share", 8, 5, |r, c| cell(bar(r.share, 8), c.theme.accent)),
    Column { rank: 7, ..USER },
];

fn moved(bytes: u64, row: &ProcessRow, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, row.process().disk.worth(ctx.qualities.disk), units::bytes(ctx.per_s(bytes)), bytes == 0)
}

fn requests(count: u64, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, seen(ctx), plain_rate(ctx.per_s(count)), count == 0)
}

/// What those numbers are worth that only programs tell.
fn seen(ctx: &Ctx<'_>) -> Quality {
    if ctx.is_procfs() { Quality::NotAvailable } else { ctx.qualities.disk }
}

fn direction_style(row: &DiskRow, ctx: &Ctx<'_>) -> ratatui::style::Style {
    if row.requests > 0 { ctx.theme.text } else { ctx.theme.dim }
}

fn latency(ns: Option<u64>, ctx: &Ctx<'_>) -> Cell<'static> {
    let known = ns.filter(|_| ctx.qualities.disk != Quality::NotAvailable);
    cell(time(known), if known.is_some() { ctx.theme.text } else { ctx.theme.dim })
}

fn queued(row: &DiskRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let text = row.queued.map_or_else(|| units::DASH.to_owned(), units::percent);
    cell(text, if row.queued.is_some() { ctx.theme.text } else { ctx.theme.dim })
}

/// The age of the oldest in flight, by the thresholds of calls that do not return.
fn oldest(row: &DiskRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let style = match row.oldest_ns {
        Some(AGE_BAD_NS..) => ctx.theme.bad,
        Some(AGE_WARN_NS..) => ctx.theme.warn,
        Some(_) => ctx.theme.text,
        None => ctx.theme.dim,
    };
    cell(time(row.oldest_ns), style)
}
