//! Draws the lines that would measure the present view with other tools, over it.
//!
//! Not here: the lines (`command.rs`). They stand without a frame at their sides, so that a terminal selects nothing but them.

use std::cell::Cell;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Borders, Clear, Paragraph, Widget};

use super::app::App;
use super::command::{Command, MOST_PIDS, commands};
use super::widgets::pane::{pane, wrap};

/// Draws them over `area`, from line `scroll` on.
pub fn draw(app: &App, scroll: &Cell<u16>, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let asked = app.asked();
    let mut lines: Vec<Line<'_>> = Vec::new();
    if asked.too_many {
        let text = format!("More than {MOST_PIDS} processes pass the filter: the lines are of all processes.");
        lines.extend(wrap(&text, area.width).into_iter().map(|text| Line::styled(text, theme.warn)));
        lines.push(Line::default());
    }
    for Command { tool, line, shows, lacks } in commands(&asked) {
        lines.push(Line::from(vec![Span::styled(format!("{tool:<9}"), theme.key), Span::styled(shows, theme.text)]));
        lines.extend(wrap(&line, area.width).into_iter().map(|text| Line::styled(text, theme.accent)));
        let lacks = format!("not in it: {lacks}");
        lines.extend(wrap(&lacks, area.width).into_iter().map(|text| Line::styled(text, theme.dim)));
        lines.push(Line::default());
    }
    lines.pop();
    let height = u16::try_from(lines.len() + 2).unwrap_or(area.height).min(area.height);
    let place = Rect { y: area.y + area.height - height, height, ..area };
    Clear.render(place, buf);
    let room = height.saturating_sub(2);
    let more = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(room);
    scroll.set(scroll.get().min(more));
    let hint = if more > 0 { " ↑↓ scroll · Esc closes " } else { " Esc closes " };
    let block = pane("The same by other tools", app.context().title(), true, theme)
        .borders(Borders::TOP | Borders::BOTTOM)
        .title_bottom(Line::styled(hint, theme.dim).right_aligned());
    let inner = block.inner(place);
    block.render(place, buf);
    Paragraph::new(lines).scroll((scroll.get(), 0)).render(inner, buf);
}
