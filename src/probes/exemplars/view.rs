//! Syscalls › a call › its slowest: single calls of the last minute with their arguments, and the octaves of latencies that they
//! are from, one of which can be chosen.

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Direction, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;

use super::stats::KEPT_S;
use crate::core::histogram::{PER_OCTAVE, bounds};
use crate::core::units;
use crate::probes::syscalls::names::name;
use crate::ui::charts::bar;
use crate::ui::columns::EXEMPLARS;
use crate::ui::ctx::{Ctx, Group};
use crate::ui::listing;
use crate::ui::place::Listed;
use crate::ui::rows::exemplars::{Octave, octaves};
use crate::ui::widgets::pane::{note, pane};
use crate::ui::widgets::text::{put, put_right};

/// From this width on the octaves stand beside the table, from this height on below it.
const BESIDE_FROM: u16 = 100;
const BELOW_FROM: u16 = 18;
/// Columns of the octaves beside the table.
const OCTAVES: u16 = 33;
/// Columns of a bound, of a count, and of how many are kept.
const BOUND: u16 = 8;
const COUNT: u16 = 7;
const KEPT: u16 = 5;

/// Draws the place.
pub fn draw(ctx: &Ctx<'_>, listed: Listed, area: Rect, buf: &mut Buffer) {
    let (direction, size) = match (area.width, area.height) {
        (BESIDE_FROM.., _) => (Direction::Horizontal, OCTAVES),
        (_, BELOW_FROM..) => (Direction::Vertical, area.height * 2 / 5),
        _ => (Direction::Vertical, 0),
    };
    let parts = [Constraint::Fill(1), Constraint::Length(size)];
    let [rows, beside] = Layout::new(direction, parts).areas(area);
    let octaves = octaves(ctx.history, ctx.look, listed.nr);
    list(ctx, listed, &octaves, rows, buf);
    if !beside.is_empty() {
        distribution(ctx, listed, &octaves, beside, buf);
    }
}

fn list(ctx: &Ctx<'_>, listed: Listed, octaves: &BTreeMap<u16, Octave>, area: Rect, buf: &mut Buffer) {
    let trouble = ctx.trouble(Group::Syscalls);
    let rows = if trouble.is_some() { &[] } else { &ctx.lists.exemplars[..] };
    let call = name(listed.nr);
    let title = format!("Syscalls › {call} › single calls");
    let value = listed.octave.map_or_else(|| format!("last {KEPT_S:.0} s"), range);
    let empty = trouble.unwrap_or_else(|| ctx.nobody(&nothing(&call, listed, octaves)));
    let block = pane(&title, &value, true, ctx.theme).title_bottom(legend(ctx));
    listing::draw(ctx, area, buf, block, (EXEMPLARS, rows, &empty));
}

/// What the colours mean, and what is left to say, below the table.
fn legend(ctx: &Ctx<'_>) -> Line<'static> {
    let dim = |text| Span::styled(text, ctx.theme.dim);
    Line::from(vec![
        Span::styled(" ▓ works", ctx.theme.kernel),
        Span::styled(" ▒ waits for a CPU", ctx.theme.runnable),
        Span::styled(" ░ blocked", ctx.theme.blocked),
        dim(" · ~ asked after the call · ← → one octave "),
    ])
}

/// Why nothing is listed.
fn nothing(call: &str, listed: Listed, octaves: &BTreeMap<u16, Octave>) -> String {
    let calls: u64 = octaves.values().map(|octave| octave.calls).fold(0, u64::saturating_add);
    match listed.octave {
        _ if calls == 0 => format!("{call} was not called in the last minute."),
        None => format!("No {call} of the last minute is kept: of quick calls only a few are."),
        Some(octave) => format!("No {call} of {} is kept: of quick calls only a few are.", range(octave)),
    }
}

/// `1.02 ms–2.05 ms`: what an octave holds.
fn range(octave: u16) -> String {
    let bound = |octave: u16| units::duration(lower_ns(octave));
    if octave == 0 { format!("up to {}", bound(1)) } else { format!("{}–{}", bound(octave), bound(octave + 1)) }
}

/// Where an octave begins, ns.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bound is at most 128 s")]
fn lower_ns(octave: u16) -> u64 {
    let per_octave = u16::try_from(PER_OCTAVE).unwrap_or(u16::MAX);
    let first = octave.saturating_sub(1).saturating_mul(per_octave).saturating_add(1);
    if octave == 0 { 0 } else { bounds(first).0.round() as u64 }
}

/// The calls of the last minute by octave, and how many of each are kept; the chosen one is marked.
fn distribution(ctx: &Ctx<'_>, listed: Listed, octaves: &BTreeMap<u16, Octave>, area: Rect, buf: &mut Buffer) {
    let block = pane("last minute", "", false, ctx.theme)
        .title_bottom(Line::styled(" calls, and how many kept ", ctx.theme.dim).right_aligned());
    let inner = block.inner(area);
    block.render(area, buf);
    let (Some(first), Some(last)) = (octaves.keys().next(), octaves.keys().next_back()) else {
        return note(buf, inner, "Not called in the last minute.", ctx.theme);
    };
    let most = octaves.values().map(|octave| octave.calls).max().unwrap_or(0);
    let wide = inner.width.saturating_sub(2 + BOUND + COUNT + KEPT);
    // Where there is not room for all, the slow ones are shown.
    let first = (*first).max(last.saturating_sub(inner.height.saturating_sub(1)));
    for (octave, y) in (first..=*last).zip(inner.y..inner.bottom()) {
        let Octave { calls, kept } = octaves.get(&octave).copied().unwrap_or_default();
        let chosen = listed.octave == Some(octave);
        let style = if chosen { ctx.theme.accent } else { ctx.theme.text };
        put(buf, inner.x, y, if chosen { "▸" } else { " " }, 1, ctx.theme.accent);
        put_right(buf, inner.x + 1, y, &units::duration(lower_ns(octave)), BOUND, style);
        let share = if most == 0 { 0.0 } else { calls as f64 / most as f64 };
        let heat = ctx.theme.heat_of(calls as f64, most as f64).unwrap_or(ctx.theme.text);
        put(buf, inner.x + BOUND + 2, y, &bar(share, wide), wide, heat);
        let right = inner.right().saturating_sub(COUNT + KEPT);
        let mark = ctx.qualities.syscalls.mark();
        let none = if calls == 0 { ctx.theme.dim } else { ctx.theme.text };
        put_right(buf, right, y, &format!("{mark}{}", units::count(calls)), COUNT, none);
        let none = if kept == 0 { ctx.theme.dim } else { ctx.theme.accent };
        put_right(buf, right + COUNT, y, &kept.to_string(), KEPT, none);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octaves_are_named_by_their_bounds() {
        assert_eq!(range(0), "up to 60 ns");
        assert_eq!(range(1), "60 ns–119 ns");
        assert_eq!(range(15), "977 µs–1.95 ms");
    }
}
