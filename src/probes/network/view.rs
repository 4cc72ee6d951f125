//! Network: which process moves how many bytes, and how that compares with what the interfaces carry.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Widget};

use super::stats::Interface;
use crate::core::units;
use crate::ui::charts::{insight, traffic};
use crate::ui::columns::TALKING;
use crate::ui::ctx::{Ctx, Group};
use crate::ui::history::Tick;
use crate::ui::listing;
use crate::ui::widgets::pane::pane;
use crate::ui::widgets::spark::spark;
use crate::ui::widgets::text::{put, put_right};

/// Below these, only the table is left.
const TOP_FROM: (u16, u16) = (60, 15);
/// Columns of a rate.
const RATE: u16 = 12;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let height = if area.width < TOP_FROM.0 || area.height < TOP_FROM.1 {
        0
    } else {
        (area.height * 2 / 5).clamp(8, 18)
    };
    let [top, table] = Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    if height > 0 {
        let [payload, wire] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(top);
        sockets(ctx, payload, buf);
        interfaces(ctx, wire, buf);
    }
    let trouble = ctx.trouble(Group::Network);
    let rows = if trouble.is_some() { &[] } else { ctx.processes };
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

/// What `/proc/net/dev` counts; this needs no program in the kernel.
fn interfaces(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let value = if ctx.look.filter.is_empty() { "" } else { "all processes" };
    let below = " with headers, retransmits and forwarding ";
    let block: Block<'_> = pane("Wire", value, false, theme).title_bottom(Line::styled(below, theme.dim).right_aligned());
    let inner = block.inner(area);
    block.render(area, buf);
    let snapshot = ctx.snapshot();
    let mut interfaces: Vec<&Interface> = snapshot.interfaces.iter().collect();
    interfaces.sort_by_key(|i| (std::cmp::Reverse(i.tx_bytes + i.rx_bytes), &i.name));
    let name = 10.min(inner.width);
    let trend = inner.width.saturating_sub(name + 2 * RATE + 2);
    put(buf, inner.x, inner.y, "interface", name, theme.dim);
    put_right(buf, inner.x + name, inner.y, "▲ sent", RATE, theme.tx);
    put_right(buf, inner.x + name + RATE, inner.y, "▼ received", RATE, theme.rx);
    for (interface, y) in interfaces.into_iter().zip(inner.y + 1..inner.bottom()) {
        let idle = interface.tx_bytes + interface.rx_bytes == 0;
        let style = |busy| if idle { theme.dim } else { busy };
        let rate = |bytes| units::byte_rate(ctx.per_s(bytes));
        put(buf, inner.x, y, &interface.name, name, style(theme.text));
        put_right(buf, inner.x + name, y, &rate(interface.tx_bytes), RATE, style(theme.tx));
        put_right(buf, inner.x + name + RATE, y, &rate(interface.rx_bytes), RATE, style(theme.rx));
        if trend >= 8 && !idle {
            let carried = |t: &Tick| {
                let same = t.snapshot.interfaces.iter().find(|i| i.name == interface.name);
                same.map(|i| (i.tx_bytes + i.rx_bytes) as f64 / t.snapshot.seconds())
            };
            let values = ctx.history.last(usize::from(trend)).map(carried);
            let line = spark(values, usize::from(trend), None);
            put(buf, inner.x + name + 2 * RATE + 2, y, &line, trend, theme.dim);
        }
    }
}
