//! The columns of the table of kscope's own programs.

use super::{Column, Key, cell, measured, part, plain_rate, trend};
use crate::core::quality::Quality;
use crate::core::units::{self, DASH};
use crate::ui::charts::bar;
use crate::ui::ctx::Ctx;
use crate::ui::rows::ProgramRow;
use crate::ui::widgets::table::{Cell, Width};

const NAME: u16 = 18;

/// Self: kscope's programs.
pub const PROGRAMS: &[Column<ProgramRow>] = &[
    Column::text("PROGRAM", NAME, 0, |r| Key::Text(r.name), |r, c| cell(r.name, c.theme.text)),
    Column::text("hook", 6, 6, |r| Key::Text(r.hook.rung_name()), |r, c| cell(r.hook.rung_name(), c.theme.dim)),
    Column::number(
        "runs/s",
        8,
        2,
        |r| Key::Number(r.rate),
        |r, c| number(r.rate.map(|rate| (plain_rate(rate), rate == 0.0)), c),
    ),
    Column::number(
        "ns/run",
        7,
        3,
        |r| Key::Number(r.run_ns),
        |r, c| number(r.run_ns.map(|ns| (format!("{ns:.0}"), false)), c),
    ),
    Column::number(
        "of a CPU",
        9,
        1,
        |r| Key::Number(r.share),
        |r, c| number(r.share.map(|share| (units::fine_percent(share), share == 0.0)), c),
    ),
    Column::number("part", 6, 5, |r| Key::Number(r.part), |r, c| r.part.map_or_else(|| dash(c), |p| part(p, c))),
    Column::picture("", 6, 7, |r, c| cell(bar(r.part.unwrap_or(0.0), 6), c.theme.accent)),
    Column::number("misses", 7, 4, |r| Key::Number(r.misses.map(|n| n as f64)), misses),
    Column::picture("trend", super::TREND, 9, |r, c| trend(c, c.theme.dim, |tick| tick.snapshot.programs.share(r.at))),
    Column {
        title: "state",
        width: Width::Fill(8),
        right: false,
        rank: 8,
        key: Some(|r| Key::Text(&r.state)),
        cell: |r, c| cell(r.state.clone(), if r.running { c.theme.dim } else { c.theme.warn }),
    },
];

fn dash(ctx: &Ctx<'_>) -> Cell<'static> {
    cell(DASH, ctx.theme.dim)
}

/// A number made from counted runs, and whether it is nothing. Nothing in a window is not nothing at all.
fn number(known: Option<(String, bool)>, ctx: &Ctx<'_>) -> Cell<'static> {
    let Some((text, nothing)) = known else { return dash(ctx) };
    let mark = ctx.snapshot().programs.counting.quality().mark();
    cell(format!("{mark}{text}"), if nothing { ctx.theme.dim } else { ctx.theme.text })
}

/// Events that were missed make lower bounds of what the program counts.
fn misses(row: &ProgramRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let Some(misses) = row.misses else { return dash(ctx) };
    let mut shown = measured(ctx, Quality::Exact, units::count(misses), misses == 0);
    if misses > 0 {
        shown.style = Some(ctx.theme.warn);
    }
    shown
}
