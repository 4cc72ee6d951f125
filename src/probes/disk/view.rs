//! Disk: how long requests of block devices take, where they spend that time, and who asks for them.
//!
//! ```text
//! ╭ latency of what is selected, over time ─╮╭ queue and device ─╮
//! ╰─────────────────────────────────────────╯╰───────────────────╯
//! ╭ devices by direction (Enter: processes) ─────────────────────╮
//! ╰──────────────────────────────────────────────────────────────╯
//! ╭ who asks most ───────────────────────────────────────────────╮
//! ╰──────────────────────────────────────────────────────────────╯
//! ```

use std::borrow::Cow;
use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::stats::{Device, Direction, Flow};
use crate::core::latency::LatencyStats;
use crate::core::units;
use crate::model::ProcessStats;
use crate::ui::charts::{bound, heatmap, insight, summary};
use crate::ui::columns::{DISK_USERS, DISKS};
use crate::ui::ctx::{Ctx, Group, time};
use crate::ui::listing;
use crate::ui::place::Place;
use crate::ui::selection::RowId;
use crate::ui::widgets::bar::StackedBar;
use crate::ui::widgets::pane::{note, pane, wrap};
use crate::ui::widgets::text::{put, put_right, width};

/// Below these, only the table is left.
const TOP_FROM: (u16, u16) = (60, 15);
/// Columns of the pane that divides latencies.
const SPLIT: u16 = 44;
/// From this width on it has room.
const SPLIT_FROM: u16 = 100;
/// From this height on there is room for who asks most.
const WHO_FROM: u16 = 24;
/// Columns of a number.
const NUMBER: u16 = 9;
/// Columns of a rate.
const RATE: u16 = 12;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let height =
        if area.width < TOP_FROM.0 || area.height < TOP_FROM.1 { 0 } else { (area.height * 2 / 5).clamp(7, 16) };
    let users = ctx.place == Place::DiskUsers;
    let who = if users || area.height < WHO_FROM || area.width < TOP_FROM.0 { 0 } else { area.height / 4 };
    let [top, table, who] =
        Layout::vertical([Constraint::Length(height), Constraint::Fill(1), Constraint::Length(who)]).areas(area);
    if height > 0 {
        let split = if area.width < SPLIT_FROM { 0 } else { SPLIT };
        let [map, parts] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(split)]).areas(top);
        latencies(ctx, map, buf);
        if split > 0 {
            divided(ctx, parts, buf);
        }
    }
    if users {
        user_table(ctx, table, buf);
    } else {
        device_table(ctx, table, buf);
    }
    if who.height > 0 {
        asking(ctx, who, buf);
    }
}

/// What is selected: one direction of one device; all of them where none is, or where processes are listed.
fn selected(ctx: &Ctx<'_>) -> Option<(Device, Direction)> {
    match ctx.selected {
        Some(RowId::Disk(device, direction)) => Some((device, direction?)),
        _ => None,
    }
}

fn chosen_of(selected: Option<(Device, Direction)>) -> impl Fn(Device, Direction) -> bool {
    move |device, direction| selected.is_none_or(|one| one == (device, direction))
}

/// The name of what is selected.
fn title(ctx: &Ctx<'_>) -> String {
    let Some((device, direction)) = selected(ctx) else { return "Block I/O".to_owned() };
    let known = ctx.snapshot().disk.devices.iter().find(|d| d.device == device);
    known.map_or_else(|| "Block I/O".to_owned(), |d| format!("{} {}", d.name, direction.name()))
}

fn latencies(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let chosen = chosen_of(selected(ctx));
    let latency = ctx.snapshot().disk.latency(&chosen);
    let title = title(ctx);
    let value = if ctx.is_procfs() {
        let flows = ctx.snapshot().disk.flows().filter(|(d, f)| chosen(d.device, f.direction));
        let requests: u64 = flows.map(|(_, f)| f.requests()).sum();
        format!("{}{}", ctx.qualities.disk.mark(), units::rate(ctx.per_s(requests)))
    } else {
        summary(ctx, &latency, ctx.qualities.disk, area.width.saturating_sub(width(&title) + 7))
    };
    let below = format!("begin to end · {}{}", bound(), all_processes(ctx));
    let Some(inner) = insight(ctx, area, buf, (&title, &value, &below), Group::DiskTimes) else { return };
    heatmap(ctx, inner, buf, |tick| Some(Cow::Owned(tick.disk(&chosen).histogram)));
}

/// Filters choose processes, and a device is everybody's.
fn all_processes(ctx: &Ctx<'_>) -> &'static str {
    if ctx.look.filter.is_empty() { "" } else { " · all processes" }
}

/// Where requests spend their time: in the queue, or with the driver and its device.
fn divided(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let Some(inner) = insight(ctx, area, buf, ("Where", "", "queue + device = total"), Group::DiskTimes) else {
        return;
    };
    let chosen = chosen_of(selected(ctx));
    let flows: Vec<&Flow> =
        ctx.snapshot().disk.flows().filter(|(d, f)| chosen(d.device, f.direction)).map(|(_, f)| f).collect();
    let sum = |pick: fn(&Flow) -> &LatencyStats| LatencyStats::sum(flows.iter().map(|f| pick(f)));
    let (total, queue, device) = (sum(|f| &f.total), sum(|f| &f.queue), sum(|f| &f.device));
    let theme = ctx.theme;
    let mut y = inner.y;
    for (head, x) in ["p50", "p90", "p99"].into_iter().zip((inner.x + 13..).step_by(usize::from(NUMBER))) {
        put_right(buf, x, y, head, NUMBER, theme.dim);
    }
    let rows =
        [("▒ queue", &queue, theme.runnable), ("█ device", &device, theme.kernel), ("total", &total, theme.text)];
    for (name, latency, style) in rows {
        y += 1;
        if y >= inner.bottom() {
            return;
        }
        put(buf, inner.x + 1, y, name, 12, style);
        for (q, x) in [0.5, 0.9, 0.99].into_iter().zip((inner.x + 13..).step_by(usize::from(NUMBER))) {
            put_right(buf, x, y, &time(latency.quantile(q)), NUMBER, theme.text);
        }
    }
    let parts = [(queue.total_ns as f64, theme.runnable, '▒'), (device.total_ns as f64, theme.kernel, '█')];
    let bar = Rect { x: inner.x + 1, y: y + 1, width: inner.width.saturating_sub(2), height: 1 };
    if bar.y >= inner.bottom() {
        return;
    }
    StackedBar { parts: &parts, theme }.render(bar, buf);
    let unseen: u64 = flows.iter().map(|f| f.unseen).fold(0, u64::saturating_add);
    let mut says = vec![
        "Queue: scheduler, plug and waiting for a busy driver. A flush reaches the driver as another request: it has a total only."
            .to_owned(),
    ];
    if unseen > 0 {
        says.insert(0, format!("{} requests ended unseen: counted, without a latency.", units::count(unseen)));
    }
    let lines = says.iter().flat_map(|text| wrap(text, inner.width.saturating_sub(2)));
    for (line, y) in lines.zip(bar.y + 1..inner.bottom()) {
        put(buf, inner.x + 1, y, &line, inner.width.saturating_sub(2), theme.dim);
    }
}

fn device_table(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let trouble = ctx.trouble(Group::Disk);
    let rows = if trouble.is_some() { &[] } else { &ctx.lists.disks[..] };
    let empty = trouble.unwrap_or_else(|| {
        if ctx.table.text.is_empty() {
            "No block device has done anything since kscope was started.".to_owned()
        } else {
            ctx.nobody("")
        }
    });
    let value = if ctx.look.filter.is_empty() { "" } else { "all processes" };
    let mut block = pane("Devices", value, true, ctx.theme);
    if rows.iter().any(|row| row.direction.is_none()) {
        let below = " any: it makes no requests of what it gets (dm, md, zram), so nobody can say how long it takes ";
        block = block.title_bottom(Line::styled(below, ctx.theme.dim));
    }
    listing::draw(ctx, area, buf, block, (DISKS, rows, &empty));
}

/// Whose I/O is whose.
const SUBMITTED: &str = " by who submits: what is written through the page cache is a kernel thread's (kworker) ";

fn user_table(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let trouble = ctx.trouble(Group::Disk);
    let rows = trouble.is_none().then_some(&ctx.lists.processes);
    let empty = trouble.unwrap_or_else(|| ctx.nobody("No process had a block device do anything."));
    let block = pane("Processes", "requests that they submitted", true, ctx.theme)
        .title_bottom(Line::styled(SUBMITTED, ctx.theme.dim));
    listing::draw(ctx, area, buf, block, (DISK_USERS, rows, &empty));
}

/// Those that moved most, without the keys: Enter gives them a table.
fn asking(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let block = pane("Who", "Enter shows all", false, theme).title_bottom(Line::styled(SUBMITTED, theme.dim));
    let inner = block.inner(area);
    block.render(area, buf);
    if let Some(trouble) = ctx.trouble(Group::Disk) {
        return note(buf, inner, &trouble, theme);
    }
    let passing = ctx.snapshot().processes.iter().filter(|p| ctx.look.passes(p) && !p.disk.is_nothing());
    let mut all: Vec<&ProcessStats> = passing.collect();
    all.sort_by_key(|p| (Reverse((p.disk.bytes(), p.disk.requests())), p.id));
    if all.is_empty() {
        let hidden = ctx.snapshot().processes.iter().any(|p| p.disk.hidden > 0);
        let why = if hidden {
            "No process that may be asked moved bytes. What those of other users do is not ours to read."
        } else {
            "No process had a block device do anything in this interval."
        };
        return note(buf, inner, why, theme);
    }
    let mark = ctx.qualities.disk.mark();
    let columns = inner.x + 26;
    for (head, x) in ["read", "write", "requests"].into_iter().zip((columns..).step_by(usize::from(RATE))) {
        put_right(buf, x, inner.y, head, RATE, theme.dim);
    }
    for (process, y) in all.iter().zip(inner.y + 1..inner.bottom()) {
        put_right(buf, inner.x, y, &process.id.pid.to_string(), 7, theme.dim);
        put(buf, inner.x + 8, y, &process.ident.comm, 17, theme.text);
        let disk = process.disk;
        let rate = |bytes: u64| format!("{mark}{}", units::byte_rate(ctx.per_s(bytes)));
        let count = format!("{mark}{}", units::rate(ctx.per_s(disk.requests())));
        let count = if ctx.is_procfs() { units::DASH.to_owned() } else { count };
        let cells = [rate(disk.read_bytes), rate(disk.write_bytes), count];
        for (text, x) in cells.iter().zip((columns..).step_by(usize::from(RATE))) {
            put_right(buf, x, y, text, RATE, theme.text);
        }
    }
}
