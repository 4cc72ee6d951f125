//! Overview: is something wrong, where, and who is behind it? The three insights side by side, and all processes below.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::charts::{bound, cpu_strip, heatmap, insight, summary, traffic};
use super::columns::WHO;
use super::ctx::{Ctx, Group};
use super::listing;
use super::widgets::pane::pane;
use super::widgets::text::put;
use crate::core::quality::Quality;
use crate::core::units;
use crate::verdicts::{NOTHING, UNJUDGED};

/// From this width on, the network has a pane of its own.
const THREE_FROM: u16 = 110;
/// From this height on there is room for more than one verdict.
const VERDICTS_FROM: u16 = 16;
/// Below these, only the table is left.
const TOP_FROM: (u16, u16) = (60, 15);

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let area = verdicts(ctx, area, buf);
    let top = if area.width < TOP_FROM.0 || area.height < TOP_FROM.1 { 0 } else { (area.height * 2 / 5).clamp(8, 20) };
    let [insights, who] = Layout::vertical([Constraint::Length(top), Constraint::Fill(1)]).areas(area);
    let three = area.width >= THREE_FROM;
    if top > 0 {
        let net = if three { (area.width / 4).min(40) } else { 0 };
        let widths = [Constraint::Fill(1), Constraint::Fill(1), Constraint::Length(net)];
        let [calls, delays, bytes] = Layout::horizontal(widths).areas(insights);
        syscalls(ctx, calls, buf);
        run_queue(ctx, delays, buf);
        if three {
            network(ctx, bytes, buf);
        }
    }
    let value = if three { String::new() } else { totals(ctx) };
    let block = pane("Who", &value, true, ctx.theme).title_bottom(legend(ctx));
    listing::draw(ctx, who, buf, block, (WHO, Some(&ctx.lists.processes), &ctx.nobody("No process was seen.")));
}

/// What stands out, line by line; what is left of the area. A small screen has the first one alone.
fn verdicts(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) -> Rect {
    let (all, selected) = &ctx.verdicts;
    let room = if area.height < VERDICTS_FROM { area.height.min(1) } else { (area.height / 8).max(1) };
    if area.height < 4 {
        return area;
    }
    let line = |y: u16, mark: &str, text: &str, style: Style, buf: &mut Buffer| {
        put(buf, area.x + 1, area.y + y, mark, 1, style);
        put(buf, area.x + 3, area.y + y, text, area.width.saturating_sub(4), style);
    };
    if all.is_empty() {
        line(0, "·", if ctx.is_procfs() { UNJUDGED } else { NOTHING }, ctx.theme.dim, buf);
        return Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    let shown = u16::try_from(all.len()).unwrap_or(u16::MAX).min(room);
    let first = selected.map_or(0, |at| at.saturating_sub(usize::from(shown) - 1));
    for (y, (at, verdict)) in (0..shown).zip(all.iter().enumerate().skip(first)) {
        let (mark, style) = if *selected == Some(at) { ("▸", ctx.theme.accent) } else { ("▲", ctx.theme.warn) };
        line(y, mark, &verdict.sentence, style, buf);
    }
    Rect { y: area.y + shown, height: area.height - shown, ..area }
}

fn syscalls(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let latency = &ctx.tick.syscalls;
    let value = summary(ctx, latency, ctx.qualities.syscalls, area.width.saturating_sub(19));
    let below = if ctx.look.hide_waiting { format!("working · {}", bound()) } else { bound() };
    if let Some(inner) = insight(ctx, area, buf, ("System calls", &value, &below), Group::Syscalls) {
        heatmap(ctx, inner, buf, |tick| Some(Cow::Borrowed(&tick.syscalls.histogram)));
    }
}

fn run_queue(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let latency = &ctx.tick.runqueue;
    let value = summary(ctx, latency, ctx.qualities.runqueue, area.width.saturating_sub(16));
    if let Some(inner) = insight(ctx, area, buf, ("Run queue", &value, &bound()), Group::Delays) {
        let [map, strip] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(inner);
        heatmap(ctx, map, buf, |tick| Some(Cow::Borrowed(&tick.runqueue.histogram)));
        cpu_strip(ctx, strip, buf);
    }
}

fn network(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let Some(inner) = insight(ctx, area, buf, ("Network", "", "payload"), Group::Network) else { return };
    let [tx, rx] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(inner);
    traffic(ctx, tx, buf, ("▲ sent", ctx.theme.tx), |t| t.traffic.tx_bytes);
    traffic(ctx, rx, buf, ("▼ received", ctx.theme.rx), |t| t.traffic.rx_bytes);
}

/// Both directions in a title, where there is no pane for them.
fn totals(ctx: &Ctx<'_>) -> String {
    let quality = ctx.qualities.network;
    if quality == Quality::NotAvailable {
        return format!("net {}", units::DASH);
    }
    let rate = |bytes| format!("{}{}", quality.mark(), units::byte_rate(ctx.per_s(bytes)));
    format!("net ▲ {}  ▼ {}", rate(ctx.tick.traffic.tx_bytes), rate(ctx.tick.traffic.rx_bytes))
}

/// What the colours of the wall bar mean, with the sum over all processes that pass.
fn legend<'a>(ctx: &Ctx<'a>) -> Line<'a> {
    let time = ctx.tick.time;
    let mut spans = vec![Span::raw(" ")];
    for ((part, style, shape), word) in ctx.time_parts(time).into_iter().zip(["user", "kernel", "waiting", "blocked"]) {
        let share = if time.total_ns() == 0 { 0.0 } else { part / time.total_ns() as f64 };
        let sample = if ctx.theme.mono { shape } else { '▇' };
        spans.push(Span::styled(format!("{sample} "), style));
        spans.push(Span::styled(
            format!("{word} {}{}  ", ctx.qualities.time.mark(), units::percent(share)),
            ctx.theme.dim,
        ));
    }
    Line::from(spans)
}
