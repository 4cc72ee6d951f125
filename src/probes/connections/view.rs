//! Connections: who talks to whom, how much, and how well the way is; below them the sockets that listen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::stats::Protocol;
use crate::model::ProbeState;
use crate::ui::columns::CONNECTIONS;
use crate::ui::connections::ConnectionRow;
use crate::ui::ctx::{Ctx, Group};
use crate::ui::listing;
use crate::ui::widgets::pane::pane;

/// From this width on there is room for what the columns mean.
const WORDY: u16 = 100;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let rows = &ctx.lists.connections[..];
    let counts = counts(rows);
    let block = pane("Connections", &counts, true, ctx.theme).title_bottom(below(ctx, area.width));
    listing::draw(ctx, area, buf, block, (CONNECTIONS, rows, &empty(ctx)));
}

/// How many of each kind.
fn counts(rows: &[ConnectionRow]) -> String {
    let (listening, talking): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.connection.is_listening());
    let of = |protocol| talking.iter().filter(|row| row.connection.protocol == protocol).count();
    format!("{} tcp · {} udp · {} listening", of(Protocol::Tcp), of(Protocol::Udp), listening.len())
}

/// What is wrong, or what the columns mean.
fn below(ctx: &Ctx<'_>, width: u16) -> Line<'static> {
    let snapshot = ctx.snapshot();
    if let Some(trouble) = ctx.trouble(Group::Connections).filter(|_| is_attached(ctx)) {
        return Line::styled(format!(" {trouble} "), ctx.theme.warn);
    }
    if let Some(trouble) = &snapshot.unlisted.trouble {
        return Line::styled(format!(" {trouble} "), ctx.theme.warn);
    }
    let text = if width >= WORDY {
        " payload · again: segments sent again · ≥ older than kscope's look · dim: closed, shown once "
    } else {
        " dim: closed in this interval, shown once "
    };
    Line::styled(text, ctx.theme.dim)
}

/// Were the programs attached by the end of the interval, or do they fail to be?
fn is_attached(ctx: &Ctx<'_>) -> bool {
    let mut programs = ctx.snapshot().probes.iter().filter(|probe| probe.name.starts_with("conn_"));
    !programs.any(|probe| probe.state == ProbeState::Idle)
}

fn empty(ctx: &Ctx<'_>) -> String {
    if is_attached(ctx) {
        ctx.nobody("No IPv4 or IPv6 socket is connected or listens.")
    } else {
        "Connections are listed from the next interval on: they are measured only while they are looked at.".into()
    }
}
