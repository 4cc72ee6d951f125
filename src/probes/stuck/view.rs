//! Stuck: which threads are inside a call that does not return, for how long, and what they wait for.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::core::units;
use crate::ui::columns::STUCK;
use crate::ui::ctx::{Ctx, Group};
use crate::ui::listing;
use crate::ui::widgets::pane::pane;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let trouble = ctx.trouble(Group::Syscalls);
    let rows = if trouble.is_some() { &[] } else { &ctx.lists.stuck[..] };
    let measured = trouble.is_none();
    let empty = trouble.unwrap_or_else(|| ctx.nobody("No thread is inside a system call."));
    let all: usize = rows.iter().map(|row| row.threads).sum();
    let value = if measured { format!("{all} calls have not returned") } else { units::DASH.to_owned() };
    let block = pane("Stuck now", &value, true, ctx.theme).title_bottom(below(ctx, area.width));
    listing::draw(ctx, area, buf, block, (STUCK, rows, &empty));
}

/// From this width on there is room for what the letters mean.
const LEGEND_FROM: u16 = 110;

fn below(ctx: &Ctx<'_>, width: u16) -> Line<'static> {
    let idle = if ctx.look.hide_waiting {
        " waits by design are one row a process (w shows each)"
    } else {
        " ⋯ waits by design (w folds them)"
    };
    let legend = if width < LEGEND_FROM { "" } else { " · S sleeps  D not even a signal wakes it  R works" };
    Line::styled(format!("{idle}{legend} "), ctx.theme.dim)
}
