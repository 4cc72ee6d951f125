//! Scheduler: how long threads that could run waited for a CPU: on which CPU, how the delays are distributed, and whose.

use std::borrow::Cow;
use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::stats::CpuStats;
use crate::core::units;
use crate::ui::charts::{bar, bound, cpu_cell, heatmap, insight, log_share, summary};
use crate::ui::columns::{DELAYED, plain_rate};
use crate::ui::ctx::{Ctx, Group, time};
use crate::ui::listing;
use crate::ui::widgets::histogram::HistogramPlot;
use crate::ui::widgets::pane::pane;
use crate::ui::widgets::text::{put, put_right};

/// Below these, only the table is left.
const TOP_FROM: (u16, u16) = (60, 15);
/// From this width on a heatmap stands beside the histogram.
const THREE_FROM: u16 = 150;
/// Columns of a short entry of a CPU, at least and at most: number, bar, 99th percentile.
const ENTRY: (u16, u16) = (18, 28);
/// CPUs of a grid that stand together.
const GROUP: usize = 8;
/// Columns of each number on a full line.
const NUMBER: u16 = 10;
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
            && let Some(inner) = insight(ctx, map, buf, ("Over time", "", ""), Group::Delays)
        {
            heatmap(ctx, inner, buf, |tick| Some(Cow::Borrowed(&tick.runqueue.histogram)));
        }
    }
    let trouble = ctx.trouble(Group::RunQueue);
    let rows = trouble.is_none().then_some(&ctx.lists.processes);
    let empty = trouble.unwrap_or_else(|| ctx.nobody("No process waited for a CPU."));
    let block = pane("Processes by delay", "", true, ctx.theme)
        .title_bottom(Line::styled(" waited: threads × time, 100 % is one thread all the time ", ctx.theme.dim));
    listing::draw(ctx, table, buf, block, (DELAYED, rows, &empty));
}

fn histogram(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let delay = &ctx.tick.runqueue;
    let value = summary(ctx, delay, ctx.qualities.runqueue, area.width.saturating_sub(16));
    let Some(inner) = insight(ctx, area, buf, ("Run queue", &value, &bound()), Group::Delays) else { return };
    let marks: Vec<(&str, u64)> = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]
        .into_iter()
        .filter_map(|(name, q)| delay.quantile(q).map(|ns| (name, ns)))
        .collect();
    HistogramPlot { histogram: &delay.histogram, baseline: None, marks: &marks, theme: ctx.theme }.render(inner, buf);
}

/// Each CPU in as much detail as there is room for: a line, a short entry, or one cell of a grid.
fn cpus(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let below = "bars: p99, 1 µs – 100 ms, logarithmic";
    let Some(inner) = insight(ctx, area, buf, ("By CPU", &worst(ctx), below), Group::Delays) else { return };
    let cpus = &ctx.snapshot().cpus;
    let rows = usize::from(inner.height);
    let columns = cpus.len().div_ceil(rows.max(1)).max(1);
    if columns == 1 && inner.width >= FULL_LINE {
        let heads = u16::from(cpus.len() < rows);
        if heads > 0 {
            for (head, x) in
                ["waits/s", "p50", "p99"].iter().zip((inner.right() - 1 - 3 * NUMBER..).step_by(usize::from(NUMBER)))
            {
                put_right(buf, x, inner.y, head, NUMBER, ctx.theme.dim);
            }
        }
        for (cpu, y) in cpus.iter().zip(inner.top() + heads..inner.bottom()) {
            line(ctx, cpu, Rect { y, height: 1, ..inner }, buf);
        }
    } else if columns * usize::from(ENTRY.0) <= usize::from(inner.width) {
        entries(ctx, cpus, inner, buf);
    } else {
        grid(ctx, cpus, inner, buf);
    }
}

/// `3 ▇▇▇▇▇▇▇▇      1.81 k   9.12 µs   9.42 ms`: waits a second, p50, p99.
fn line(ctx: &Ctx<'_>, cpu: &CpuStats, area: Rect, buf: &mut Buffer) {
    let numbers = [
        (plain_rate(ctx.per_s(cpu.delay.count())), ctx.theme.dim),
        (time(cpu.delay.quantile(0.5)), ctx.theme.dim),
        (time(cpu.delay.quantile(0.99)), style_of(ctx, cpu.delay.quantile(0.99))),
    ];
    let wide = area.width.saturating_sub(5 + NUMBER * 3 + 1);
    entry(ctx, cpu, Rect { width: 5 + wide, ..area }, wide, buf);
    for ((text, style), x) in numbers.iter().zip((area.x + 5 + wide..).step_by(usize::from(NUMBER))) {
        put_right(buf, x, area.y, text, NUMBER, *style);
    }
}

fn style_of(ctx: &Ctx<'_>, ns: Option<u64>) -> Style {
    ns.map_or(ctx.theme.dim, |ns| ctx.delay_style(ns))
}

/// Number and bar of a CPU.
fn entry(ctx: &Ctx<'_>, cpu: &CpuStats, area: Rect, wide: u16, buf: &mut Buffer) {
    put_right(buf, area.x, area.y, &cpu.cpu.to_string(), 4, ctx.theme.dim);
    let Some(p99) = cpu.delay.quantile(0.99) else { return };
    let room = area.width.saturating_sub(5);
    put(buf, area.x + 5, area.y, &bar(log_share(p99), wide), room, ctx.delay_bar_style(p99));
}

/// Columns of short entries, downwards.
fn entries(ctx: &Ctx<'_>, cpus: &[CpuStats], area: Rect, buf: &mut Buffer) {
    let columns = cpus.len().div_ceil(usize::from(area.height).max(1)).max(1);
    let wide = u16::try_from(usize::from(area.width) / columns).unwrap_or(ENTRY.1).clamp(ENTRY.0, ENTRY.1);
    let bar = wide - 5 - 9;
    for (column, x) in cpus.chunks(cpus.len().div_ceil(columns).max(1)).zip((area.x..).step_by(usize::from(wide))) {
        for (cpu, y) in column.iter().zip(area.top()..area.bottom()) {
            entry(ctx, cpu, Rect { x, y, width: 5 + bar, height: 1 }, bar, buf);
            let p99 = cpu.delay.quantile(0.99);
            put_right(buf, x + 5 + bar, y, &time(p99), 8, style_of(ctx, p99));
        }
    }
}

/// Rows of cells in groups of eight, each row with the number of its first CPU; few CPUs get wide cells.
fn grid(ctx: &Ctx<'_>, cpus: &[CpuStats], area: Rect, buf: &mut Buffer) {
    let most = usize::from(area.width.saturating_sub(6) / 9).max(1);
    let rows = usize::from(area.height).max(1);
    // More CPUs than cells: each cell is the worst of several neighbours.
    let each = cpus.len().div_ceil(most * GROUP * rows).max(1);
    let cells: Vec<(u32, Option<u64>)> =
        cpus.chunks(each).map(|some| (some[0].cpu, some.iter().filter_map(|c| c.delay.quantile(0.99)).max())).collect();
    let groups = cells.len().div_ceil(rows * GROUP).max(1);
    let wide = (usize::from(area.width.saturating_sub(6)) - groups.min(most)) / (groups * GROUP);
    for (row, y) in cells.chunks(groups * GROUP).zip(area.top()..area.bottom()) {
        let mut spans = vec![Span::styled(format!("{:>4} ", row[0].0), ctx.theme.dim)];
        for group in row.chunks(GROUP) {
            for &(_, p99) in group {
                let cell = cpu_cell(ctx, p99);
                spans.push(Span::styled(cell.content.repeat(wide.clamp(1, 6)), cell.style));
            }
            spans.push(Span::raw(" "));
        }
        Line::from(spans).render(Rect { y, height: 1, ..area }, buf);
    }
}

/// `worst p99 9.42 ms on cpu 35`.
fn worst(ctx: &Ctx<'_>) -> String {
    let all = if ctx.look.filter.is_empty() { "" } else { " (all processes)" };
    let p99 = |cpu: &CpuStats| cpu.delay.quantile(0.99).map(|ns| (ns, cpu.cpu));
    let worst = ctx.snapshot().cpus.iter().filter_map(p99).max_by_key(|&(ns, cpu)| (ns, Reverse(cpu)));
    worst.map_or_else(String::new, |(ns, cpu)| format!("worst p99 {} on cpu {cpu}{all}", units::duration(ns)))
}
