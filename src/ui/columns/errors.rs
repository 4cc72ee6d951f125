//! The columns of the table of errors.

use super::{Column, Key, PID, cell, measured, plain_rate};
use crate::core::quality::Quality;
use crate::core::units;
use crate::ui::ctx::Ctx;
use crate::ui::rows::errors::ErrorRow;
use crate::ui::widgets::table::{Cell, Width};

/// Syscalls › errors.
pub const ERRORS: &[Column<ErrorRow>] = &[
    Column::number("err/s", 8, 0, |r| Key::Number(Some(r.count as f64)), rate),
    Column::number("of calls", 8, 2, |r| Key::Number(Some(r.share)), share),
    Column::text("CALL", 16, 0, |r| Key::Text(&r.call), |r, c| cell(r.call.clone(), c.theme.text)),
    Column::text("error", 12, 0, |r| Key::Text(&r.error), |r, c| cell(r.error.clone(), c.theme.warn)),
    Column {
        title: "which means",
        width: Width::Fill(16),
        right: false,
        rank: 4,
        key: None,
        cell: |r, c| cell(r.meaning, c.theme.dim),
    },
    Column::number(
        PID.title,
        7,
        3,
        |r| Key::Number(Some(f64::from(r.id.pid))),
        |r, c| cell(r.id.pid.to_string(), c.theme.dim),
    ),
    Column::text("COMMAND", 15, 1, |r| Key::Text(&r.comm), command),
];

fn rate(row: &ErrorRow, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, ctx.qualities.errors, plain_rate(ctx.per_s(row.count)), row.count == 0)
}

fn share(row: &ErrorRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let quality = ctx.qualities.errors.worst(ctx.qualities.syscalls);
    // Of two lower bounds the part of one in the other is neither.
    let quality = if quality == Quality::LowerBound { Quality::Estimate } else { quality };
    measured(ctx, quality, units::percent(row.share), row.count == 0)
}

fn command(row: &ErrorRow, ctx: &Ctx<'_>) -> Cell<'static> {
    if row.exited { cell(format!("† {}", row.comm), ctx.theme.dim) } else { cell(row.comm.clone(), ctx.theme.text) }
}
