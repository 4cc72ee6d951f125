//! The columns of the table of calls that have not returned.

use super::{Column, Key, PID, cell};
use crate::core::units;
use crate::probes::stuck::stats::State;
use crate::ui::ctx::Ctx;
use crate::ui::rows::StuckRow;
use crate::ui::widgets::table::{Cell, Width};

/// A call that has not returned for so long is amber, ns.
pub const AGE_WARN_NS: u64 = 1_000_000_000;
/// And from here on red, ns.
pub const AGE_BAD_NS: u64 = 10_000_000_000;

/// Stuck: calls that have not returned.
pub const STUCK: &[Column<StuckRow>] = &[
    Column::number("age", 10, 0, |r| Key::Number(Some(r.call.age_ns as f64)), age),
    Column::number(
        PID.title,
        7,
        0,
        |r| Key::Number(Some(f64::from(r.call.process.pid))),
        |r, c| cell(r.call.process.pid.to_string(), c.theme.dim),
    ),
    Column::number("TID", 7, 6, |r| Key::Number(Some(f64::from(r.call.tid))), |r, c| cell(r.thread(), c.theme.dim)),
    Column::text("COMMAND", 15, 1, |r| Key::Text(&r.comm), |r, c| cell(r.comm.clone(), c.theme.text)),
    Column::text("S", 1, 2, |r| Key::Text(r.call.state.letter()), state),
    Column::text(
        "call",
        16,
        0,
        |r| Key::Text(&r.calls),
        |r, c| cell(r.calls.clone(), if r.idle { c.theme.dim } else { c.theme.text }),
    ),
    Column {
        title: "waits for",
        width: Width::Fill(16),
        right: false,
        rank: 3,
        key: Some(|r| Key::Text(r.detail().map_or("", |d| &d.on))),
        cell: |r, c| cell(r.detail().map(|d| d.on.clone()).unwrap_or_default(), c.theme.text),
    },
    Column::text(
        "wait channel",
        22,
        5,
        |r| Key::Text(r.detail().map_or("", |d| &d.wchan)),
        |r, c| cell(r.detail().map(|d| d.wchan.clone()).unwrap_or_default(), c.theme.dim),
    ),
];

/// The age of a call, by the thresholds that the help states; a wait by design is as old as it is meant to be.
fn age(row: &StuckRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let style = match row.call.age_ns {
        _ if row.idle => ctx.theme.dim,
        AGE_BAD_NS.. => ctx.theme.bad,
        AGE_WARN_NS.. => ctx.theme.warn,
        _ => ctx.theme.text,
    };
    cell(format!("{}{}", row.call.age_quality.mark(), units::duration(row.call.age_ns)), style)
}

fn state(row: &StuckRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let style = match row.call.state {
        State::Uninterruptible => ctx.theme.warn,
        State::Working => ctx.theme.good,
        State::Sleeping => ctx.theme.dim,
    };
    cell(row.call.state.letter(), style)
}
