//! The columns of the table of connections.

use ratatui::style::Style;

use super::{Column, Key, PID, cell};
use crate::core::quality::Quality;
use crate::core::units::{self, DASH};
use crate::probes::connections::stats::{Path, State};
use crate::ui::connections::ConnectionRow;
use crate::ui::ctx::Ctx;
use crate::ui::widgets::table::{Cell, Width};

/// Network: connections and listening sockets.
pub const CONNECTIONS: &[Column<ConnectionRow>] = &[
    Column::number(
        PID.title,
        7,
        1,
        |r| Key::Number(r.owner().map(|id| f64::from(id.pid))),
        |r, c| cell(r.owner().map_or_else(|| DASH.into(), |id| id.pid.to_string()), c.theme.dim),
    ),
    Column::text("COMMAND", 12, 2, |r| Key::Text(&r.comm), |r, c| cell(r.comm.clone(), text_style(r, c))),
    Column::text(
        "proto",
        5,
        6,
        |r| Key::Text(r.connection.protocol.word()),
        |r, c| cell(r.connection.protocol.word(), c.theme.dim),
    ),
    Column {
        title: "local",
        width: Width::Fill(15),
        right: false,
        rank: 2,
        key: Some(|r| Key::Text(&r.local)),
        cell: |r, c| cell(r.local.clone(), text_style(r, c)),
    },
    Column {
        title: "peer",
        width: Width::Fill(15),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(&r.peer)),
        cell: peer,
    },
    Column::text("state", 10, 4, |r| Key::Text(r.connection.state.word()), state),
    Column::number("age", 7, 8, |r| Key::Number(Some(r.connection.age_ns as f64)), age),
    Column::number(
        "tx/s",
        8,
        1,
        |r| Key::Number(Some(r.connection.tx_bytes as f64)),
        |r, c| moved(r, r.connection.tx_bytes, c, c.theme.tx),
    ),
    Column::number(
        "rx/s",
        8,
        1,
        |r| Key::Number(Some(r.connection.rx_bytes as f64)),
        |r, c| moved(r, r.connection.rx_bytes, c, c.theme.rx),
    ),
    Column::number("rtt", 7, 5, |r| of_path(r, |p| p.rtt_ns as f64), |r, c| path(r, c, |p| units::duration(p.rtt_ns))),
    Column::number("cwnd", 5, 9, |r| of_path(r, |p| f64::from(p.cwnd)), |r, c| path(r, c, |p| p.cwnd.to_string())),
    Column::number("again", 6, 5, |r| Key::Number(Some(r.connection.retransmits as f64)), again),
];

/// What is gone is dim.
fn text_style(row: &ConnectionRow, ctx: &Ctx<'_>) -> Style {
    if row.connection.is_closed() { ctx.theme.dim } else { ctx.theme.text }
}

fn of_path<'a>(row: &ConnectionRow, pick: fn(&Path) -> f64) -> Key<'a> {
    Key::Number(row.connection.path.as_ref().map(pick))
}

fn path(row: &ConnectionRow, ctx: &Ctx<'_>, show: fn(&Path) -> String) -> Cell<'static> {
    match &row.connection.path {
        Some(path) => cell(show(path), ctx.theme.text),
        None => cell(blank(row), ctx.theme.dim),
    }
}

/// What listens moves nothing: that is neither zero nor unknown.
fn blank(row: &ConnectionRow) -> &'static str {
    if row.connection.is_listening() { "" } else { DASH }
}

/// The other end; of a listening socket what waits to be accepted, amber when that is more than half of what may.
fn peer(row: &ConnectionRow, ctx: &Ctx<'_>) -> Cell<'static> {
    match row.connection.backlog() {
        Some(queue) => {
            let style = if row.connection.is_crowded() { ctx.theme.warn } else { ctx.theme.dim };
            cell(format!("{}/{} wait", queue.received, queue.sent), style)
        }
        None if row.connection.peer.is_none() => cell(row.peer.clone(), ctx.theme.dim),
        None => cell(row.peer.clone(), text_style(row, ctx)),
    }
}

fn state(row: &ConnectionRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let style = match row.connection.state {
        State::Established => ctx.theme.good,
        State::CloseWait => ctx.theme.warn,
        _ => ctx.theme.dim,
    };
    cell(row.connection.state.word(), style)
}

fn age(row: &ConnectionRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let mark = if row.connection.age_is_exact { "" } else { "≥" };
    cell(format!("{mark}{}", units::age(row.connection.age_ns)), ctx.theme.dim)
}

fn moved(row: &ConnectionRow, bytes: u64, ctx: &Ctx<'_>, style: Style) -> Cell<'static> {
    if row.connection.is_listening() {
        return cell("", ctx.theme.dim);
    }
    counted(ctx, units::bytes(ctx.per_s(bytes)), bytes == 0, style)
}

/// A number that the programs counted.
fn counted(ctx: &Ctx<'_>, text: String, nothing: bool, style: Style) -> Cell<'static> {
    let quality = ctx.qualities.connections;
    let mut shown = super::measured(ctx, quality, text, nothing);
    if !nothing && quality != Quality::NotAvailable {
        shown.style = Some(style);
    }
    shown
}

fn again(row: &ConnectionRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let n = row.connection.retransmits;
    if row.connection.is_listening() {
        return cell("", ctx.theme.dim);
    }
    counted(ctx, units::count(n), n == 0, ctx.theme.warn)
}
