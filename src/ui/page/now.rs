//! What a process does besides: bytes of its network and its disks, switches, calls that have not returned, connections.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::Shown;
use crate::core::quality::Quality;
use crate::core::units::{byte_rate, duration, rate};
use crate::model::ProcessStats;
use crate::probes::stuck::stats::InFlight;
use crate::probes::syscalls::names::{name, waits};
use crate::ui::ctx::Ctx;
use crate::ui::widgets::pane::{note, pane};
use crate::ui::widgets::text::put;

/// Draws the pane.
pub fn draw(shown: &Shown<'_>, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let block = pane("Now", "", false, ctx.theme);
    let inner = block.inner(area);
    block.render(area, buf);
    let Some(process) = shown.process else { return note(buf, inner, "It is not there any more.", ctx.theme) };
    let mut lines = traffic(ctx, process);
    lines.push(disk(ctx, process));
    lines.push((switches(ctx, process), ctx.theme.text));
    lines.extend(connections(ctx, process));
    lines.extend(in_flight(ctx, process));
    for ((text, style), y) in lines.iter().zip(inner.y..inner.bottom()) {
        put(buf, inner.x + 1, y, text, inner.width.saturating_sub(2), *style);
    }
}

type Text = (String, Style);

fn traffic(ctx: &Ctx<'_>, process: &ProcessStats) -> Vec<Text> {
    let (quality, moved) = (ctx.qualities.network, process.traffic);
    if quality == Quality::NotAvailable {
        return vec![("network  –".into(), ctx.theme.dim)];
    }
    let style = if moved.bytes() == 0 { ctx.theme.dim } else { ctx.theme.text };
    let (mark, tx, rx) = (quality.mark(), ctx.per_s(moved.tx_bytes), ctx.per_s(moved.rx_bytes));
    vec![(format!("network  ▲ {mark}{}  ▼ {mark}{}", byte_rate(tx), byte_rate(rx)), style)]
}

fn disk(ctx: &Ctx<'_>, process: &ProcessStats) -> Text {
    let (quality, moved) = (process.disk.worth(ctx.qualities.disk), process.disk);
    if quality == Quality::NotAvailable {
        return ("disk     –".into(), ctx.theme.dim);
    }
    let style = if moved.is_nothing() { ctx.theme.dim } else { ctx.theme.text };
    let (mark, read, written) = (quality.mark(), ctx.per_s(moved.read_bytes), ctx.per_s(moved.write_bytes));
    (format!("disk     read {mark}{}, written {mark}{}", byte_rate(read), byte_rate(written)), style)
}

fn switches(ctx: &Ctx<'_>, process: &ProcessStats) -> String {
    let (own, pushed) = (ctx.per_s(process.voluntary), ctx.per_s(process.preempted));
    let mark = ctx.qualities.time.mark();
    format!("switches {mark}{} voluntary, {mark}{} preempted", rate(own), rate(pushed))
}

/// Its connections, where somebody had them looked at.
fn connections(ctx: &Ctx<'_>, process: &ProcessStats) -> Option<Text> {
    let mine = || ctx.snapshot().connections.iter().filter(|c| c.owner == Some(process.id) && !c.is_closed());
    let listening = mine().filter(|c| c.is_listening()).count();
    let open = mine().count() - listening;
    (open + listening > 0).then(|| (format!("sockets  {open} open, {listening} listening"), ctx.theme.text))
}

/// Its calls that have not returned, those that do not wait by design first.
fn in_flight(ctx: &Ctx<'_>, process: &ProcessStats) -> Vec<Text> {
    let mut calls: Vec<&InFlight> = ctx.snapshot().inflight.iter().filter(|c| c.process == process.id).collect();
    calls.sort_by_key(|call| (waits(call.nr), std::cmp::Reverse(call.age_ns), call.tid));
    let line = |call: &&InFlight| {
        let on = call.detail.as_ref().map(|detail| format!("  {}", detail.on)).unwrap_or_default();
        let age = format!("{}{}", call.age_quality.mark(), duration(call.age_ns));
        let style = if waits(call.nr) { ctx.theme.dim } else { ctx.theme.text };
        (format!("{age:>9}  {} {}{on}", call.tid, name(call.nr)), style)
    };
    let head = match calls.len() {
        0 if ctx.qualities.syscalls == Quality::NotAvailable => "calls in flight  –".to_owned(),
        0 => "no call is in flight".to_owned(),
        1 => "1 call in flight".to_owned(),
        n => format!("{n} calls in flight"),
    };
    std::iter::once((head, ctx.theme.dim)).chain(calls.iter().map(line)).collect()
}
