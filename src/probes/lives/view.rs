//! The dead: who died in the last minutes, by command and parent, and the latest of one group.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::stats::WINDOW_NS;
use super::window::LATEST;
use crate::core::units;
use crate::ui::columns::{ENDS, GROUPS};
use crate::ui::ctx::{Ctx, Group};
use crate::ui::dead;
use crate::ui::listing;
use crate::ui::widgets::pane::{fitting, pane};

/// Draws the groups.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let trouble = ctx.trouble(Group::Lives);
    let rows = if trouble.is_some() { &[] } else { &ctx.lists.dead[..] };
    let measured = trouble.is_none();
    let empty = trouble.unwrap_or_else(|| ctx.nobody("Nobody died in the last five minutes."));
    let lives = ctx.history.lives();
    let [forks, execs, ends] = lives.turnover_of_late().map(units::rate);
    let died: u64 = rows.iter().map(|row| row.group.died).fold(0, u64::saturating_add);
    let value = format!(
        "{} died in {}  forks {forks}  execs {execs}  ends {ends}",
        units::count(died),
        units::age(lives.span_ns().min(WINDOW_NS))
    );
    let value = if measured { value } else { units::DASH.to_owned() };
    let block = pane("The dead", fitting("The dead", &value, area), true, ctx.theme);
    let below = if ctx.look.filter.asks_more_than_a_name() {
        " the filter by pid or cgroup does not apply here: the dead of a group have many "
    } else {
        " what they did in their lives, as far as it was watched · Enter the latest of a group · Esc back "
    };
    let block = block.title_bottom(Line::styled(below, ctx.theme.dim));
    listing::draw(ctx, area, buf, block, (GROUPS, rows, &empty));
}

/// Draws the latest of a group.
pub fn draw_latest(number: u64, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let rows = &ctx.lists.ends[..];
    let group = dead::group(ctx.history, number);
    let value = match group {
        Some(group) => format!(
            "{} of {}  {} died  {} ran a program of their own",
            units::printable(&group.comm),
            if group.parent.is_empty() { units::DASH.into() } else { units::printable(&group.parent) },
            units::count(group.died),
            units::count(group.ran_program)
        ),
        None => String::new(),
    };
    let empty = if number == 0 {
        "There were too many names: of these only the sum is kept."
    } else {
        "The last of them died more than five minutes ago."
    };
    let below = format!(" the latest {LATEST} of a group are kept one by one · Esc back to the groups ");
    let block = pane("The dead ›", fitting("The dead ›", &value, area), true, ctx.theme);
    let block = block.title_bottom(Line::styled(below, ctx.theme.dim));
    listing::draw(ctx, area, buf, block, (ENDS, rows, empty));
}
