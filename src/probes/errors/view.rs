//! Syscalls › errors: who runs in circles, in sentences, and below which calls fail with which error.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget as _;

use super::spin::spins;
use crate::core::quality::Quality;
use crate::core::units;
use crate::ui::columns::ERRORS;
use crate::ui::ctx::{Ctx, Group};
use crate::ui::listing;
use crate::ui::widgets::pane::{pane, wrap};
use crate::ui::widgets::text::put;

/// Lines of sentences at most.
const LINES: usize = 5;
/// From this height on they have a frame.
const FRAMED_FROM: u16 = 16;

/// Draws the place.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let trouble = ctx.trouble(Group::Syscalls);
    let framed = area.height >= FRAMED_FROM;
    let (frame, most) = if framed { (2, LINES) } else { (0, 1) };
    let mut lines = if trouble.is_some() { Vec::new() } else { said(ctx, area.width.saturating_sub(frame)) };
    let calm = lines.is_empty();
    lines.truncate(most);
    let height = if calm { 0 } else { u16::try_from(lines.len()).unwrap_or(0) + frame };
    let [above, table] = Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    write(ctx, &lines, framed, above, buf);
    let rows = if trouble.is_some() { &[] } else { &ctx.lists.errors[..] };
    let empty = trouble.unwrap_or_else(|| ctx.nobody("No call has failed lately."));
    let all: u64 = rows.iter().map(|row| row.count).fold(0, u64::saturating_add);
    let value = match ctx.qualities.errors {
        Quality::NotAvailable => units::DASH.to_owned(),
        quality => format!("{}{}", quality.mark(), units::rate(ctx.per_s(all))),
    };
    let block = pane("Syscalls › errors", &value, true, ctx.theme).title_bottom(below(ctx, calm));
    listing::draw(ctx, table, buf, block, (ERRORS, rows, &empty));
}

/// The sentences on those who run in circles, wrapped, each line with what stands before it.
fn said(ctx: &Ctx<'_>, room: u16) -> Vec<(&'static str, String)> {
    let found = spins(ctx.snapshot(), |process| ctx.look.passes(process));
    let lines = found.iter().flat_map(|spin| {
        let sentence = spin.sentence(ctx.qualities.errors.mark());
        let wrapped = wrap(&units::printable(&sentence), room.saturating_sub(2));
        wrapped.into_iter().enumerate().map(|(at, line)| (if at == 0 { "▲" } else { " " }, line))
    });
    lines.collect()
}

fn write(ctx: &Ctx<'_>, lines: &[(&str, String)], framed: bool, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let inner = if framed {
        let block = pane("Runs in circles", "", false, ctx.theme);
        let inner = block.inner(area);
        block.render(area, buf);
        inner
    } else {
        area
    };
    for ((mark, line), y) in lines.iter().zip(inner.y..inner.bottom()) {
        put(buf, inner.x, y, mark, inner.width, ctx.theme.warn);
        put(buf, inner.x + 2, y, line, inner.width.saturating_sub(2), ctx.theme.text);
    }
}

/// What is said of those of whom nothing is said, below the table.
fn below(ctx: &Ctx<'_>, calm: bool) -> Line<'static> {
    let text =
        if calm { " nobody runs in circles (? says what that is) · x single calls " } else { " x single calls " };
    Line::styled(text, ctx.theme.dim)
}
