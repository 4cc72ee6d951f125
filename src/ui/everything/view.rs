//! Draws the table of everything.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::Mode;
use crate::core::quality::Quality;
use crate::core::units;
use crate::ui::columns::chosen;
use crate::ui::ctx::Ctx;
use crate::ui::listing;
use crate::ui::widgets::pane::pane;

/// From this width on a tree has room for long names.
const ROOMY: u16 = 100;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let list = &ctx.lists.everything;
    let turnover = ctx.snapshot().turnover;
    let per_s = |count: u64| match ctx.qualities.dead {
        Quality::NotAvailable => units::DASH.to_owned(),
        _ => units::rate(ctx.per_s(count)),
    };
    let value = format!(
        "{} processes  {}  forks {}  ends {}",
        list.processes(),
        list.arrangement.mode.word(),
        per_s(turnover.forks),
        per_s(turnover.ends)
    );
    let value = crate::ui::widgets::pane::fitting("Processes", &value, area);
    let below = match list.arrangement.mode {
        Mode::Flat => " v tree · o columns · d the dead ",
        Mode::Tree => " + holds what is folded, summed up · f fold · v by cgroup · o columns · d the dead ",
        Mode::Cgroups => " a cgroup is the sum of what is below it · f fold · v flat · o columns · d the dead ",
    };
    let block = pane("Processes", value, true, ctx.theme).title_bottom(Line::styled(below, ctx.theme.dim));
    let columns = chosen(|at| list.arrangement.shows(at), list.is_tree() && area.width >= ROOMY);
    listing::draw(ctx, area, buf, block, (&columns, list, &ctx.nobody("No process was seen.")));
}
