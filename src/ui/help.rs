//! The help: every key of the present view, and what colours and marks mean.
//!
//! Not here: the keys themselves; they are the list in `keys.rs`.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Widget};

use super::app::App;
use super::ctx::{DELAY_BAD_NS, DELAY_WARN_NS};
use super::keys::{self, Motion};
use super::theme::Theme;
use super::widgets::pane::pane;
use super::widgets::text::width;
use crate::core::units;

/// Lines that a page key moves.
const PAGE: u16 = 8;
/// Columns of the widest key.
const LABEL: usize = 10;

/// The new place after a key that moves.
pub const fn scrolled(from: u16, motion: Motion) -> u16 {
    match motion {
        Motion::Up => from.saturating_sub(1),
        Motion::Down => from.saturating_add(1),
        Motion::PageUp => from.saturating_sub(PAGE),
        Motion::PageDown => from.saturating_add(PAGE),
        Motion::First => 0,
        Motion::Last => u16::MAX,
    }
}

/// Draws it over `area`, from line `scroll` on.
pub fn draw(app: &App, scroll: u16, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let lines = lines(app, theme);
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    let size = |n: usize, most: u16| u16::try_from(n).unwrap_or(most).min(most);
    let (w, h) = (size(widest + 4, area.width), size(lines.len() + 2, area.height));
    let place = Rect { x: area.x + (area.width - w) / 2, y: area.y + (area.height - h) / 2, width: w, height: h };
    Clear.render(place, buf);
    let more = size(lines.len(), u16::MAX).saturating_sub(h.saturating_sub(2));
    let hint = if more > 0 { " ↑↓ scroll · Esc closes " } else { " Esc closes " };
    let block = pane("Help", app.view.title(), true, theme).title_bottom(Line::styled(hint, theme.dim).right_aligned());
    let inner = block.inner(place);
    block.render(place, buf);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(1), ..inner };
    Paragraph::new(lines).scroll((scroll.min(more), 0)).render(inner, buf);
}

fn lines<'a>(app: &App, theme: &'a Theme) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = keys::of(app.view)
        .map(|key| {
            let pad = " ".repeat(LABEL.saturating_sub(usize::from(width(key.label))));
            Line::from(vec![
                Span::styled(key.label, theme.key),
                Span::styled(pad, theme.text),
                Span::styled(key.help, theme.text),
            ])
        })
        .collect();
    lines.push(Line::default());
    let (warn, bad) = (units::duration(DELAY_WARN_NS), units::duration(DELAY_BAD_NS));
    lines.push(Line::from(vec![
        Span::styled("run-queue delay  ", theme.dim),
        Span::styled(format!("from {warn}"), theme.warn),
        Span::styled("  ", theme.text),
        Span::styled(format!("from {bad}"), theme.bad),
    ]));
    lines.push(Line::from(vec![
        Span::styled("thread time      ", theme.dim),
        Span::styled("█ user  ", theme.user),
        Span::styled("▓ kernel  ", theme.kernel),
        Span::styled("▒ waiting for a CPU  ", theme.runnable),
        Span::styled("░ blocked", theme.blocked),
    ]));
    lines.push(Line::styled("– not measured   0 nothing   ≥ at least (events were lost)   ~ estimate", theme.dim));
    lines.push(Line::styled("† exited in this interval   [name] kernel thread   ⋯ waits by design", theme.dim));
    lines.push(Line::styled("quantiles are within ±4.4 %, of filtered views and processes within ±9.1 %", theme.dim));
    lines
}
