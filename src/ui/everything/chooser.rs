//! The chooser of columns: a list of all of them, over the view, each shown or not.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Widget};

use super::Arrangement;
use crate::ui::columns::EVERYTHING;
use crate::ui::theme::Theme;
use crate::ui::widgets::pane::pane;

/// Draws it over `area`, with the cursor on the column at `cursor`.
pub fn draw(arrangement: &Arrangement, cursor: usize, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let size = |n: usize, most: u16| u16::try_from(n).unwrap_or(most).min(most);
    let (width, height) = (30.min(area.width), size(EVERYTHING.len() + 2, area.height));
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buf);
    let hint = Line::styled(" space shows or hides · Esc ", theme.dim).right_aligned();
    let block = pane("Columns", "", true, theme).title_bottom(hint);
    let inner = block.inner(place);
    block.render(place, buf);
    let line = |(at, column): (usize, &crate::ui::columns::Column<super::EveryRow>)| {
        let sign = match (arrangement.shows(at), column.rank) {
            (_, 0) => " ✓ ",
            (true, _) => "[x]",
            (false, _) => "[ ]",
        };
        let mark = if at == cursor { "▸" } else { " " };
        let style = if at == cursor { theme.selected } else { theme.text };
        Line::from(vec![Span::styled(mark, theme.accent), Span::styled(format!("{sign} {}", column.title), style)])
    };
    let room = usize::from(inner.height).max(1);
    let from = (cursor + 1).saturating_sub(room);
    let lines: Vec<Line<'_>> = EVERYTHING.iter().enumerate().map(line).skip(from).take(room).collect();
    Paragraph::new(lines).render(inner, buf);
}
