//! The columns of the table of everything. Their titles are their names in the configuration, too.

use super::{
    Column, Key, bytes, call_rate, call_time, cell, count_key, delay, errors, measured, ns_key, on_cpu_quality,
    plain_rate,
};
use crate::core::quality::Quality;
use crate::core::units::{self, DASH};
use crate::probes::time::stats::Doing;
use crate::ui::ctx::Ctx;
use crate::ui::everything::{EveryRow, Lead};
use crate::ui::widgets::table::{Cell, NEVER, Width};

/// Processes: everything.
pub const EVERYTHING: &[Column<EveryRow>] = &[
    Column::number(
        "PID",
        7,
        0,
        |r| Key::Number(r.process().map(|p| f64::from(p.id.pid))),
        |r, c| cell(r.process().map(|p| p.id.pid.to_string()).unwrap_or_default(), c.theme.dim),
    ),
    Column {
        title: "COMMAND",
        width: Width::Fill(18),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(name(r))),
        cell: command,
    },
    Column::text("S", 1, 8, |r| Key::Text(r.doing().letter()), doing),
    Column::number(
        "THR",
        4,
        9,
        |r| number(r.sum(|p| p.threads.into())),
        |r, c| plain(r.sum(|p| p.threads.into()).to_string(), c),
    ),
    Column::text("USER", 8, 7, |r| Key::Text(user(r)), |r, c| cell(user(r).to_owned(), c.theme.dim)),
    Column::number(
        "on-cpu",
        7,
        1,
        |r| number(r.time().on_cpu_ns()),
        |r, c| share(r.time().on_cpu_ns(), r.quality(on_cpu_quality(c)), c),
    ),
    Column::number(
        "user",
        7,
        12,
        |r| number(r.time().user_ns),
        |r, c| share(r.time().user_ns, r.quality(c.qualities.time), c),
    ),
    Column::number(
        "kernel",
        7,
        12,
        |r| number(r.time().kernel_ns),
        |r, c| share(r.time().kernel_ns, r.quality(c.qualities.time), c),
    ),
    Column::number(
        "cpu wait",
        8,
        4,
        |r| number(r.time().runnable_ns),
        |r, c| share(r.time().runnable_ns, r.quality(on_cpu_quality(c)), c),
    ),
    Column::number(
        "blocked",
        8,
        13,
        |r| number(r.time().blocked_ns),
        |r, c| share(r.time().blocked_ns, r.quality(on_cpu_quality(c)), c),
    ),
    Column::number("calls/s", 8, 2, |r| count_key(r.calls()), |r, c| call_rate(r.calls(), c)),
    Column::number("err/s", 7, 6, |r| number(r.calls().errors), |r, c| errors(r.calls(), c)),
    Column::number("p99 call", 8, 3, |r| ns_key(r.calls().p99), |r, c| call_time(r.calls().p99, c)),
    Column::number("run-q p99", 9, 11, |r| ns_key(r.delay().p99), |r, c| delay(r.delay().p99, c)),
    Column::number("tx/s", 8, 5, |r| number(r.traffic().tx_bytes), |r, c| bytes(r.traffic().tx_bytes, c, c.theme.tx)),
    Column::number("rx/s", 8, 5, |r| number(r.traffic().rx_bytes), |r, c| bytes(r.traffic().rx_bytes, c, c.theme.rx)),
    Column::number("read/s", 8, 11, |r| number(r.disk().read_bytes), |r, c| requested(r.disk().read_bytes, r, c)),
    Column::number("write/s", 8, 11, |r| number(r.disk().write_bytes), |r, c| requested(r.disk().write_bytes, r, c)),
    Column::number("left/s", 7, 14, |r| number(r.sum(|p| p.voluntary)), |r, c| switches(r.sum(|p| p.voluntary), c)),
    Column::number("pushed/s", 8, 14, |r| number(r.sum(|p| p.preempted)), |r, c| switches(r.sum(|p| p.preempted), c)),
    // The order is that of the start: what began last is youngest. Turned, so that the oldest is on top.
    Column::number("age", 8, 10, |r| Key::Number(start_ns(r).map(|ns| -(ns as f64))), age),
    Column::number(
        "PPID",
        7,
        15,
        |r| Key::Number(r.process().map(|p| f64::from(p.ident.ppid))),
        |r, c| cell(r.process().map(|p| p.ident.ppid.to_string()).unwrap_or_default(), c.theme.dim),
    ),
    Column::text("CGROUP", 24, 16, |r| Key::Text(cgroup(r)), |r, c| cell(cgroup(r).to_owned(), c.theme.dim)),
];

/// Those that are shown unless others are chosen.
pub const SHOWN_AT_FIRST: &[&str] = &[
    "PID", "COMMAND", "S", "THR", "USER", "on-cpu", "cpu wait", "calls/s", "err/s", "p99 call", "tx/s", "rx/s",
    "read/s", "write/s", "age",
];

/// Columns of the name at least, where it is indented.
const INDENTED: u16 = 28;

/// The columns, of which those that `shows` says no to are never drawn. A tree needs room for names.
pub fn chosen(shows: impl Fn(usize) -> bool, is_tree: bool) -> Vec<Column<EveryRow>> {
    let column = |(at, c): (usize, &Column<EveryRow>)| {
        let rank = if shows(at) { c.rank } else { NEVER };
        let width = match c.width {
            Width::Fill(_) if is_tree => Width::Fill(INDENTED),
            width => width,
        };
        Column { title: c.title, width, right: c.right, rank, key: c.key, cell: c.cell }
    };
    EVERYTHING.iter().enumerate().map(column).collect()
}

const fn number(n: u64) -> Key<'static> {
    Key::Number(Some(n as f64))
}

fn name(row: &EveryRow) -> &str {
    match row.lead() {
        Some(lead @ Lead::Cgroup(..)) => lead.label(),
        _ => row.process().map_or("", |p| &p.ident.comm),
    }
}

fn user(row: &EveryRow) -> &str {
    row.process().map_or("", |p| &p.ident.user)
}

fn cgroup(row: &EveryRow) -> &str {
    match row.lead() {
        Some(Lead::Cgroup(path, _)) => path,
        _ => row.process().map_or("", |p| &p.ident.cgroup),
    }
}

fn start_ns(row: &EveryRow) -> Option<u64> {
    row.process().map(|p| p.start_ns).filter(|ns| *ns > 0)
}

/// Indented, with a sign of whether something is below it, and how much of that is hidden.
fn command(row: &EveryRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let in_tree = ctx.lists.everything.is_tree();
    let sign = match (in_tree, row.below, row.folded) {
        (false, ..) => "",
        (true, 0, _) => "  ",
        (true, _, true) => "+ ",
        (true, _, false) => "- ",
    };
    let indent = if in_tree { "  ".repeat(usize::from(row.depth)) } else { String::new() };
    let hidden = if row.folded { format!("  +{}", row.below) } else { String::new() };
    let name = name(row);
    let (text, style) = match row.process() {
        None => (name.to_owned(), ctx.theme.accent),
        Some(p) if p.exited => (format!("† {name}"), ctx.theme.dim),
        Some(p) if p.ident.kthread => (format!("[{name}]"), ctx.theme.dim),
        Some(_) => (name.to_owned(), ctx.theme.text),
    };
    let cmdline = row.process().filter(|_| ctx.wide).map(|p| p.ident.cmdline.as_str()).unwrap_or_default();
    let gap = if cmdline.is_empty() { "" } else { "  " };
    Cell::from(vec![
        ratatui::text::Span::styled(format!("{indent}{sign}"), ctx.theme.dim),
        ratatui::text::Span::styled(text, style),
        ratatui::text::Span::styled(format!("{hidden}{gap}{cmdline}"), ctx.theme.dim),
    ])
}

fn doing(row: &EveryRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let style = match row.doing() {
        Doing::DiskSleep => ctx.theme.warn,
        Doing::Runs => ctx.theme.good,
        Doing::Sleeps | Doing::Unknown => ctx.theme.dim,
    };
    if ctx.qualities.runqueue == Quality::NotAvailable {
        return cell(DASH, ctx.theme.dim);
    }
    cell(row.doing().letter(), style)
}

fn plain(text: String, ctx: &Ctx<'_>) -> Cell<'static> {
    cell(text, ctx.theme.dim)
}

/// Thread time as a share of one CPU's.
fn share(ns: u64, quality: Quality, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, quality, units::percent(ctx.per_s(ns) / 1e9), ns == 0)
}

/// Bytes of block devices.
fn requested(bytes: u64, row: &EveryRow, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, row.disk().worth(ctx.qualities.disk), units::bytes(ctx.per_s(bytes)), bytes == 0)
}

fn switches(times: u64, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, on_cpu_quality(ctx), plain_rate(ctx.per_s(times)), times == 0)
}

/// Since its start; the host's time since boot is in whole seconds.
fn age(row: &EveryRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let now_ns = ctx.snapshot().host.uptime_s.saturating_mul(1_000_000_000);
    let text =
        start_ns(row).map(|start_ns| units::age(now_ns.saturating_sub(start_ns) / 1_000_000_000 * 1_000_000_000));
    cell(text.unwrap_or_else(|| DASH.to_owned()), ctx.theme.dim)
}
