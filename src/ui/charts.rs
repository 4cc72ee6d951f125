//! Pictures that several views draw from the history: heatmaps with their titles, traffic, the strip of CPUs.
//!
//! Not here: the widgets themselves, which know nothing of snapshots.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};

use super::ctx::{Ctx, Group, time};
use super::history::Tick;
use super::widgets::heatmap::Heatmap;
use super::widgets::pane::{note, pane};
use super::widgets::text::{put, width};
use crate::core::histogram::{ERROR_PERCENT, Histogram};
use crate::core::latency::LatencyStats;
use crate::core::quality::Quality;
use crate::core::units;
use crate::probes::runqueue::stats::CpuStats;

/// Rate, median and 99th percentile, as the title of a pane `room` columns wide: `412 k/s  p50 1.90 µs  p99 1.24 ms`.
pub fn summary(ctx: &Ctx<'_>, latency: &LatencyStats, quality: Quality, room: u16) -> String {
    if quality == Quality::NotAvailable {
        return units::DASH.into();
    }
    let rate = format!("{}{}", quality.mark(), units::rate(ctx.per_s(latency.count())));
    if latency.max().is_none() {
        return rate;
    }
    let (p50, p99) = (time(latency.quantile(0.5)), time(latency.quantile(0.99)));
    let candidates = [format!("{rate}  p50 {p50}  p99 {p99}"), format!("{rate}  p99 {p99}"), format!("p99 {p99}")];
    candidates.into_iter().find(|text| width(text) <= room).unwrap_or_default()
}

/// A bar that leaves a line between itself and the row above; a sliver is more than nothing.
pub fn bar(share: f64, width: u16) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the width")]
    let cells = (share.clamp(0.0, 1.0) * f64::from(width)).round() as usize;
    match cells {
        0 if share > 0.0 && width > 0 => "▏".to_owned(),
        _ => "▇".repeat(cells),
    }
}

/// `±4.4 %`: how far quantiles of these values can be off.
pub fn bound() -> String {
    format!("±{ERROR_PERCENT} %")
}

/// A heatmap of one distribution of each interval, the newest at the right.
pub fn heatmap(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer, pick: impl Fn(&Tick) -> Option<Cow<'_, Histogram>>) {
    let picked: Vec<_> = ctx.history.last(usize::from(area.width)).map(pick).collect();
    let blank = usize::from(area.width).saturating_sub(picked.len());
    let empty = Histogram::new();
    let mut columns: Vec<Option<&Histogram>> = vec![None; blank];
    columns.extend(picked.iter().map(|histogram| Some(histogram.as_deref().unwrap_or(&empty))));
    // One interval may be much longer than asked for (a kscope that was stopped): what the axis says is the sum of all.
    let seconds_per_column = ctx.history.reach_s(columns.len()) / columns.len().max(1) as f64;
    Heatmap { columns: &columns, seconds_per_column, theme: ctx.theme }.render(area, buf);
}

/// The frame of a pane; draws why there is nothing in it, when its group is not measured, and then returns no room.
pub fn insight(
    ctx: &Ctx<'_>,
    area: Rect,
    buf: &mut Buffer,
    (title, value, below): (&str, &str, &str),
    group: Group,
) -> Option<Rect> {
    let trouble = ctx.trouble(group);
    let value = if trouble.is_some() && !group.is_distribution() { units::DASH } else { value };
    let mut block = pane(title, value, false, ctx.theme);
    if !below.is_empty() && trouble.is_none() && width(below) + 4 <= area.width {
        block = block.title_bottom(Line::styled(format!(" {below} "), ctx.theme.dim).right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
    match trouble {
        Some(sentence) => {
            note(buf, inner, &sentence, ctx.theme);
            None
        }
        None => Some(inner),
    }
}

/// A line of traffic, `▲ sent  84.2 MiB/s`, and below it its course, as high as there is room.
pub fn traffic(
    ctx: &Ctx<'_>,
    area: Rect,
    buf: &mut Buffer,
    (label, style): (&str, Style),
    bytes: impl Fn(&Tick) -> u64,
) {
    if area.height == 0 {
        return;
    }
    let now = bytes(ctx.tick) as f64 / ctx.snapshot().seconds();
    let text = format!("{}{}", ctx.qualities.network.mark(), units::byte_rate(now));
    put(buf, area.x, area.y, label, area.width, style);
    let x = area.right().saturating_sub(width(&text));
    if x > area.x + width(label) {
        put(buf, x, area.y, &text, width(&text), style);
    }
    let chart = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let series = ctx.history.series(usize::from(area.width), |t| bytes(t) as f64 / t.snapshot.seconds());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes a second fit")]
    let data: Vec<u64> = series.into_iter().map(|v| v as u64).collect();
    // Some air above the highest.
    let top = data.iter().copied().max().unwrap_or(0).saturating_mul(5) / 4;
    Sparkline::default().data(data).max(top).style(style).render(chart, buf);
}

/// Where a delay lies between 1 µs (0) and 100 ms (1), on a logarithmic scale.
pub fn log_share(ns: u64) -> f64 {
    (((ns.max(1) as f64).log10() - 3.0) / 5.0).clamp(0.0, 1.0)
}

const LEVELS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// One cell for the 99th percentile of a CPU, by height and, from the thresholds on, by colour.
pub fn cpu_cell(ctx: &Ctx<'_>, p99: Option<u64>) -> Span<'static> {
    let Some(ns) = p99 else { return Span::styled("·", ctx.theme.dim) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the levels")]
    let level = (log_share(ns) * 7.0).round() as usize;
    Span::styled(LEVELS[level.min(7)], ctx.delay_bar_style(ns))
}

/// The 99th percentiles of all CPUs on one line, `cpu 0 ▁▁▂█ 63`; where there are more than columns, the worst of each.
pub fn cpu_strip(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let cpus = &ctx.snapshot().cpus;
    let (Some(first), Some(last)) = (cpus.first(), cpus.last()) else { return };
    let of_all = if ctx.look.filter.is_empty() { "" } else { "host " };
    let (begin, end) = (format!("{of_all}p99 by cpu {} ", first.cpu), format!(" {}", last.cpu));
    let room = usize::from(area.width.saturating_sub(width(&begin) + width(&end)));
    if room == 0 || area.height == 0 {
        return;
    }
    let each = cpus.len().div_ceil(room).max(1);
    let worst = |group: &[CpuStats]| group.iter().filter_map(|c| c.delay.quantile(0.99)).max();
    let mut spans = vec![Span::styled(begin, ctx.theme.dim)];
    // Few CPUs get wide cells, so that the strip spans the pane.
    let repeat = (room / cpus.len().div_ceil(each)).clamp(1, 6);
    for group in cpus.chunks(each) {
        let cell = cpu_cell(ctx, worst(group));
        spans.push(Span::styled(cell.content.repeat(repeat), cell.style));
    }
    spans.push(Span::styled(end, ctx.theme.dim));
    Line::from(spans).render(area, buf);
}
