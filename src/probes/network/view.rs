//! Network: which process moves how many bytes, and how that compares with what the interfaces carry.

use std::cmp::Reverse;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::stats::{Carrier, Conservation, Interface};
use crate::core::units;
use crate::probes::connections;
use crate::ui::charts::{insight, traffic};
use crate::ui::columns::TALKING;
use crate::ui::ctx::{Ctx, Group};
use crate::ui::history::Tick;
use crate::ui::listing;
use crate::ui::place::Place;
use crate::ui::widgets::pane::pane;
use crate::ui::widgets::spark::spark;
use crate::ui::widgets::text::{put, put_right};

/// Below these, only the table is left.
const TOP_FROM: (u16, u16) = (60, 15);
/// Columns of a rate.
const RATE: u16 = 12;
/// Columns of the name of an interface.
const NAME: u16 = 11;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    if ctx.place == Place::Connections {
        return connections::view::draw(ctx, area, buf);
    }
    let height =
        if area.width < TOP_FROM.0 || area.height < TOP_FROM.1 { 0 } else { (area.height * 2 / 5).clamp(8, 18) };
    let [top, table] = Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    if height > 0 {
        let [payload, wire] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(top);
        sockets(ctx, payload, buf);
        interfaces(ctx, wire, buf);
    }
    let trouble = ctx.trouble(Group::Network);
    let rows = trouble.is_none().then_some(&ctx.lists.processes);
    let empty = trouble.unwrap_or_else(|| ctx.nobody("No process moved bytes through an IPv4 or IPv6 socket."));
    let block = pane("Processes", "payload bytes of their sockets", true, ctx.theme);
    listing::draw(ctx, table, buf, block, (TALKING, rows, &empty));
}

fn sockets(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let below = "what programs hand over and get";
    let Some(inner) = insight(ctx, area, buf, ("Payload", "", below), Group::Network) else { return };
    let [tx, rx] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(inner);
    traffic(ctx, tx, buf, ("▲ sent", ctx.theme.tx), |t| t.traffic.tx_bytes);
    traffic(ctx, rx, buf, ("▼ received", ctx.theme.rx), |t| t.traffic.rx_bytes);
}

/// What `/proc/net/dev` counts, which needs no program in the kernel, and what of it no process's payload accounts for.
fn interfaces(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let value = if ctx.look.filter.is_empty() { "" } else { "all processes" };
    let block = pane("Wire", value, false, theme);
    let below = match area.width {
        ..50 => " rest: headers, kernel, … ",
        50..90 => " rest: headers, ACKs, buffers, kernel, … ",
        _ => " rest: headers, ACKs, resent, buffers, kernel sockets, splice, forwarding, namespaces ",
    };
    let block = block.title_bottom(Line::styled(below, theme.dim).right_aligned());
    let inner = block.inner(area);
    block.render(area, buf);
    let [list, totals] = Layout::vertical([Constraint::Fill(1), Constraint::Length(4)]).areas(inner);
    let row = |buf: &mut Buffer, y: u16, (name, style): (&str, Style), tx: &str, rx: &str| {
        let [tx_style, rx_style] = if style == theme.dim { [theme.dim; 2] } else { [theme.tx, theme.rx] };
        put(buf, inner.x, y, name, NAME, style);
        put_right(buf, inner.x + NAME, y, tx, RATE, tx_style);
        put_right(buf, inner.x + NAME + RATE, y, rx, RATE, rx_style);
    };
    row(buf, list.y, ("interface", theme.dim), "▲ sent", "▼ received");
    let rate = |bytes| units::byte_rate(ctx.per_s(bytes));
    let mut interfaces: Vec<&Interface> = ctx.snapshot().interfaces.iter().collect();
    interfaces.sort_by_key(|i| (Reverse(i.tx_bytes.saturating_add(i.rx_bytes)), &i.name));
    for (interface, y) in interfaces.iter().zip(list.y + 1..list.bottom()) {
        let idle = interface.tx_bytes == 0 && interface.rx_bytes == 0;
        let style = if idle || interface.carrier == Carrier::Virtual { theme.dim } else { theme.text };
        row(buf, y, (&interface.name, style), &rate(interface.tx_bytes), &rate(interface.rx_bytes));
        if !idle {
            course(ctx, interface, Rect { y, height: 1, ..inner }, buf);
        }
    }
    for x in totals.left()..totals.right() {
        put(buf, x, totals.y, "─", 1, theme.border);
    }
    // Each packet once: what virtual interfaces carry is counted again where it leaves the host.
    let sum = Conservation::of(ctx.tick.payload, &ctx.snapshot().interfaces);
    let wire = [sum.tx_bytes, sum.rx_bytes].map(|bytes| rate(bytes.saturating_add(sum.loopback_bytes)));
    row(buf, totals.y + 1, ("wire", theme.text), &wire[0], &wire[1]);
    let known = ctx.trouble(Group::Network).is_none();
    let shown = |text: String| if known { text } else { units::DASH.to_owned() };
    let payload = [sum.payload.tx_bytes, sum.payload.rx_bytes].map(|bytes| shown(rate(bytes)));
    row(buf, totals.y + 2, ("payload", theme.text), &payload[0], &payload[1]);
    let rest = [sum.tx_unattributed(), sum.rx_unattributed()].map(|bytes| {
        let sign = if bytes < 0 { "−" } else { "" };
        shown(format!("~{sign}{}", rate(bytes.unsigned_abs())))
    });
    row(buf, totals.y + 3, ("rest", theme.dim), &rest[0], &rest[1]);
}

/// The course of what an interface carried, right of its numbers, where there is room.
fn course(ctx: &Ctx<'_>, interface: &Interface, area: Rect, buf: &mut Buffer) {
    let begin = NAME + 2 * RATE + 2;
    let wide = area.width.saturating_sub(begin + 1);
    if wide < 8 {
        return;
    }
    let carried = |tick: &Tick| {
        let same = tick.snapshot.interfaces.iter().find(|i| i.name == interface.name);
        same.map(|i| (i.tx_bytes + i.rx_bytes) as f64 / tick.snapshot.seconds())
    };
    let values: Vec<Option<f64>> = ctx.history.last(usize::from(wide)).map(carried).collect();
    let top = values.iter().flatten().copied().fold(0.0, f64::max) * 8.0 / 7.0;
    let line = spark(values.into_iter(), usize::from(wide), Some(top));
    put(buf, area.x + begin, area.y, &line, wide, ctx.theme.dim);
}
