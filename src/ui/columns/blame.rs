//! The columns of the table of those who waited for a CPU.

use ratatui::style::Style;

use super::{Column, Key, PID, StackedBar, cell, measured};
use crate::core::quality::Quality;
use crate::core::units;
use crate::probes::blame::stats::Cause;
use crate::ui::ctx::Ctx;
use crate::ui::rows::share;
use crate::ui::theme::Theme;
use crate::ui::victims::VictimRow;
use crate::ui::widgets::table::{Cell, Width};

const WHY: u16 = 10;

/// Scheduler › blame: who waited.
pub const VICTIMS: &[Column<VictimRow>] = &[
    Column::number(
        PID.title,
        7,
        3,
        |r| Key::Number(r.victim.who.pid().map(f64::from)),
        |r, c| cell(r.victim.who.pid().map(|pid| pid.to_string()).unwrap_or_default(), c.theme.dim),
    ),
    Column {
        title: "WHO",
        width: Width::Fill(12),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(&r.name)),
        cell: |r, c| cell(r.short.clone(), c.theme.text),
    },
    Column::number(
        "waited",
        7,
        0,
        |r| Key::Number(Some(r.victim.wait_ns as f64)),
        |r, c| {
            let text = units::percent(c.per_s(r.victim.wait_ns) / 1e9);
            measured(c, c.qualities.blame, text, r.victim.wait_ns == 0)
        },
    ),
    Column::picture("why", WHY, 2, why),
    Column {
        title: "most for",
        width: Width::Fixed(17),
        right: false,
        rank: 1,
        key: Some(|r| Key::Number(Some(r.victim.parts.first().map_or(0.0, |part| share(part.ns, r.victim.wait_ns))))),
        cell: most,
    },
    Column::number("idle cpu", 8, 5, |r| Key::Number(Some(elsewhere(r))), |r, c| part(elsewhere(r), c, "≥")),
    Column::number("unknown", 7, 4, |r| Key::Number(Some(unknown(r))), |r, c| part(unknown(r), c, "")),
];

/// The colour of a cause, and its shape where there is no colour. The list of causes on the screen is the legend.
pub const fn look_of(cause: Cause, theme: &Theme) -> (Style, char) {
    match cause {
        Cause::Others => (theme.runnable, '█'),
        Cause::OwnThreads => (theme.user, '▓'),
        Cause::Interrupts => (theme.kernel, '▒'),
        Cause::Steal => (theme.tx, '≡'),
        Cause::Throttled => (theme.rx, '='),
        Cause::Idle => (theme.baseline, '░'),
        Cause::Unknown => (theme.blocked, '·'),
    }
}

fn why(row: &VictimRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let parts = Cause::ALL.map(|cause| {
        let (style, shape) = look_of(cause, ctx.theme);
        (row.victim.by_cause(cause) as f64, style, shape)
    });
    Cell::from(StackedBar { parts: &parts, theme: ctx.theme }.spans(WHY))
}

/// The process or the cause that has the largest part.
fn most(row: &VictimRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let (Some(part), Some(stats)) = (row.victim.parts.first(), &ctx.snapshot().blame) else {
        return cell("", ctx.theme.dim);
    };
    let share = units::percent(share(part.ns, row.victim.wait_ns));
    let who = part.offender.as_ref().map_or_else(|| part.cause.name().to_owned(), |who| who.short_name(stats));
    cell(format!("{share:>5} {who}"), ctx.theme.text)
}

fn elsewhere(row: &VictimRow) -> f64 {
    share(row.victim.elsewhere_ns, row.victim.wait_ns)
}

fn unknown(row: &VictimRow) -> f64 {
    share(row.victim.unexplained_ns(), row.victim.wait_ns)
}

fn part(share: f64, ctx: &Ctx<'_>, mark: &str) -> Cell<'static> {
    match ctx.qualities.blame {
        Quality::NotAvailable => cell(units::DASH, ctx.theme.dim),
        _ if share <= 0.0 => cell(units::percent(0.0), ctx.theme.dim),
        _ => cell(format!("{mark}{}", units::percent(share)), ctx.theme.text),
    }
}
