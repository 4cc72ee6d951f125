//! The selected call: its distribution now, and behind it as dots what it was.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::Shown;
use super::baseline::Baseline;
use crate::core::latency::LatencyStats;
use crate::core::units;
use crate::probes::syscalls::names::name;
use crate::ui::charts::{insight, summary};
use crate::ui::ctx::{Ctx, Group};
use crate::ui::selection::RowId;
use crate::ui::widgets::histogram::HistogramPlot;
use crate::ui::widgets::pane::note;
use crate::ui::widgets::text::width;

/// From this height on there is a line that says what the dots are.
const LEGEND_FROM: u16 = 4;

/// Draws the pane.
pub fn draw(shown: &Shown<'_>, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let Some(RowId::Call(nr)) = ctx.selected else {
        if let Some(inner) = insight(ctx, area, buf, ("Latency", "", ""), Group::Syscalls) {
            note(buf, inner, "No call is selected.", ctx.theme);
        }
        return;
    };
    let title = name(nr);
    let latency = ctx.tick.call(nr);
    let room = area.width.saturating_sub(width(&title) + 7);
    let value = latency.as_deref().map_or_else(String::new, |l| summary(ctx, l, ctx.qualities.syscalls, room));
    let Some(inner) = insight(ctx, area, buf, (&title, &value, ""), Group::Syscalls) else { return };
    let found = shown.page.baseline.is_none().then(|| Baseline::earlier(ctx.history, nr)).flatten();
    let baseline = shown.page.baseline.as_ref().or(found.as_ref());
    let before = baseline.and_then(|baseline| baseline.call(nr));
    let legend = u16::from(inner.height >= LEGEND_FROM);
    let [plot, line] = Layout::vertical([Constraint::Fill(1), Constraint::Length(legend)]).areas(inner);
    let empty = LatencyStats::empty();
    let now = latency.as_deref().unwrap_or(&empty);
    let named = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
    let marks: Vec<(&str, u64)> = named.iter().filter_map(|&(n, q)| now.quantile(q).map(|ns| (n, ns))).collect();
    if now.is_empty() && before.is_none() {
        note(buf, plot, "Not called in this interval.", ctx.theme);
    } else {
        let ghost = before.map(|before| &before.histogram);
        HistogramPlot { histogram: &now.histogram, baseline: ghost, marks: &marks, theme: ctx.theme }.render(plot, buf);
    }
    let text = legend_of(baseline, before, line.width);
    Line::styled(text, ctx.theme.baseline).centered().render(line, buf);
}

/// `··· before: 41.2 k in 50 s, p99 40.0 µs  p50 4.10 µs (B pins)`, as much of it as fits.
fn legend_of(baseline: Option<&Baseline>, before: Option<&LatencyStats>, room: u16) -> String {
    let Some((baseline, before)) = baseline.zip(before) else {
        let pinned = baseline.is_some_and(|baseline| baseline.pinned);
        return if pinned { "not called before it was pinned".into() } else { "no baseline yet".into() };
    };
    let (what, key) = if baseline.pinned { ("pinned", "B lets go") } else { ("before", "B pins") };
    let over = format!("··· {what}: {} in {:.0} s", units::count(before.count()), baseline.seconds);
    let quantile = |q| before.quantile(q).map_or_else(|| units::DASH.into(), units::duration);
    let parts = [format!(", p99 {}", quantile(0.99)), format!("  p50 {}", quantile(0.5)), format!(" ({key})")];
    let mut text = over;
    for part in parts {
        if width(&text) + width(&part) <= room {
            text += &part;
        }
    }
    text
}
