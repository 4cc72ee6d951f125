//! Scheduler: how long threads that could run waited for a CPU: on which CPU, how the delays are distributed, and whose.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::stats::CpuStats;
use crate::core::units;
use crate::ui::charts::{bar, bound, cpu_cell, heatmap, insight, log_share, summary};
use crate::ui::columns::DELAYED;
use crate::ui::ctx::{Ctx, DELAY_WARN_NS, Group, time};
use crate::ui::listing;
use crate::ui::widgets::histogram::HistogramPlot;
use crate::ui::widgets::pane::pane;
use crate::ui::widgets::text::{put, put_right};

/// Below these, only the table is left.
const TOP_FROM: (u16, u16) = (60, 15);
/// From this width on a heatmap stands beside the histogram.
const THREE_FROM: u16 = 150;
/// Columns of a short entry of a CPU: number, bar, 99th percentile.
const ENTRY: u16 = 23;
/// From this width of the pane on each CPU has a line with all its numbers.
const FULL_LINE: u16 = 50;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let height =
        if area.width < TOP_FROM.0 || area.height < TOP_FROM.1 { 0 } else { (area.height * 9 / 20).clamp(8, 24) };
    let [top, table] = Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    if height > 0 {
        let third = if area.width >= THREE_FROM { area.width / 3 } else { 0 };
        let widths = [Constraint::Fill(1), Constraint::Fill(1), Constraint::Length(third)];
        let [by_cpu, plot, map] = Layout::horizontal(widths).areas(top);
        cpus(ctx, by_cpu, buf);
        histogram(ctx, plot, buf);
        if !map.is_empty()
            && let Some(inner) = insight(ctx, map, buf, ("Over time", "", ""), Group::RunQueue)
        {
            heatmap(ctx, inner, buf, |tick| Some(&tick.runqueue.histogram));
        }
    }
    let trouble = ctx.trouble(Group::RunQueue);
    let rows = if trouble.is_some() { &[] } else { ctx.processes };
    let empty = trouble.unwrap_or_else(|| ctx.nobody("No process waited for a CPU."));
    let block = pane("Processes by delay", "", true, ctx.theme)
        .title_bottom(Line::styled(" waited: threads × time, 100 % is one thread all the time ", ctx.theme.dim));
    listing::draw(ctx, table, buf, block, (DELAYED, rows, &empty));
}

fn histogram(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let delay = &ctx.tick.runqueue;
    let value = summary(ctx, delay, ctx.qualities.runqueue, area.width.saturating_sub(16));
    let Some(inner) = insight(ctx, area, buf, ("Run queue", &value, &bound(delay)), Group::RunQueue) else { return };
    let marks: Vec<(&str, u64)> = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]
        .into_iter()
        .filter_map(|(name, q)| delay.quantile(q).map(|ns| (name, ns)))
        .collect();
    HistogramPlot { histogram: &delay.histogram, baseline: None, marks: &marks, theme: ctx.theme }.render(inner, buf);
}

/// Each CPU in as much detail as there is room for: a line, a short entry, or one cell of a grid.
fn cpus(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let all = if ctx.look.filter.is_empty() { "p99" } else { "p99 of all processes" };
    let below = "bars 1 µs – 100 ms, logarithmic";
    let Some(inner) = insight(ctx, area, buf, ("By CPU", all, below), Group::RunQueue) else { return };
    let cpus = &ctx.snapshot().cpus;
    let rows = usize::from(inner.height);
    let columns = cpus.len().div_ceil(rows.max(1)).max(1);
    if columns == 1 && inner.width >= FULL_LINE {
        for (cpu, y) in cpus.iter().zip(inner.top()..inner.bottom()) {
            line(ctx, cpu, Rect { y, height: 1, ..inner }, buf);
        }
    } else if columns * usize::from(ENTRY) <= usize::from(inner.width) {
        entries(ctx, cpus, inner, buf);
    } else {
        grid(ctx, cpus, inner, buf);
    }
}

/// `3 ████████▎      1.81 k/s   9.12 µs   9.42 ms   88.0 ms`: rate, p50, p99, maximum.
fn line(ctx: &Ctx<'_>, cpu: &CpuStats, area: Rect, buf: &mut Buffer) {
    let numbers = [
        (units::rate(ctx.per_s(cpu.delay.count())), ctx.theme.dim),
        (time(cpu.delay.quantile(0.5)), ctx.theme.dim),
        (time(cpu.delay.quantile(0.99)), style_of(ctx, cpu.delay.quantile(0.99))),
    ];
    let wide = area.width.saturating_sub(5 + 10 * 3 + 1);
    entry(ctx, cpu, Rect { width: 5 + wide, ..area }, wide, buf);
    for ((text, style), x) in numbers.iter().zip((area.x + 5 + wide..).step_by(10)) {
        put_right(buf, x, area.y, text, 10, *style);
    }
}

fn style_of(ctx: &Ctx<'_>, ns: Option<u64>) -> Style {
    ns.map_or(ctx.theme.dim, |ns| ctx.delay_style(ns))
}

/// Number and bar of a CPU.
fn entry(ctx: &Ctx<'_>, cpu: &CpuStats, area: Rect, wide: u16, buf: &mut Buffer) {
    put_right(buf, area.x, area.y, &cpu.cpu.to_string(), 4, ctx.theme.dim);
    let Some(p99) = cpu.delay.quantile(0.99) else { return };
    let style = if p99 < DELAY_WARN_NS { ctx.theme.good } else { ctx.delay_style(p99) };
    put(buf, area.x + 5, area.y, &bar(log_share(p99), wide), area.width.saturating_sub(5), style);
}

/// Columns of short entries, downwards.
fn entries(ctx: &Ctx<'_>, cpus: &[CpuStats], area: Rect, buf: &mut Buffer) {
    let rows = cpus.len().div_ceil(cpus.len().div_ceil(usize::from(area.height.max(1))).max(1));
    for (column, x) in cpus.chunks(rows.max(1)).zip((area.x..area.right()).step_by(usize::from(ENTRY))) {
        for (cpu, y) in column.iter().zip(area.top()..area.bottom()) {
            entry(ctx, cpu, Rect { x, y, width: 13, height: 1 }, 8, buf);
            let p99 = cpu.delay.quantile(0.99);
            put_right(buf, x + 13, y, &time(p99), 8, style_of(ctx, p99));
        }
    }
}

/// Rows of single cells in groups of eight, each row with the number of its first CPU.
fn grid(ctx: &Ctx<'_>, cpus: &[CpuStats], area: Rect, buf: &mut Buffer) {
    let groups = usize::from(area.width.saturating_sub(6) / 9).max(1);
    let (room, per_row) = (groups * 8 * usize::from(area.height), groups * 8);
    // More CPUs than cells: each cell is the worst of several neighbours.
    let each = cpus.len().div_ceil(room.max(1)).max(1);
    let cells: Vec<(u32, Option<u64>)> =
        cpus.chunks(each).map(|some| (some[0].cpu, some.iter().filter_map(|c| c.delay.quantile(0.99)).max())).collect();
    for (row, y) in cells.chunks(per_row).zip(area.top()..area.bottom()) {
        let mut spans = vec![Span::styled(format!("{:>4} ", row[0].0), ctx.theme.dim)];
        for group in row.chunks(8) {
            spans.extend(group.iter().map(|&(_, p99)| cpu_cell(ctx, p99)));
            spans.push(Span::raw(" "));
        }
        Line::from(spans).render(Rect { y, height: 1, ..area }, buf);
    }
}
