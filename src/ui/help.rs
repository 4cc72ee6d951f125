//! The help: every key of the present view, and what colours and marks mean.
//!
//! Not here: the keys themselves; they are the list in `keys.rs`.

use std::cell::Cell;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Widget};

use super::app::App;
use super::columns::{AGE_BAD_NS, AGE_WARN_NS};
use super::ctx::{COST_WARN, DELAY_BAD_NS, DELAY_WARN_NS};
use super::keys::{self, Motion};
use super::theme::Theme;
use super::view::View;
use super::widgets::pane::{pane, wrap};
use super::widgets::text::width;
use crate::core::units;
use crate::probes::errors::spin;

/// Lines that a page key moves.
const PAGE: u16 = 8;
/// Columns of the widest key.
const LABEL: u16 = 10;

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
pub fn draw(app: &App, scroll: &Cell<u16>, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let lines = lines(app, theme, area.width.saturating_sub(5));
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    let size = |n: usize, most: u16| u16::try_from(n).unwrap_or(most).min(most);
    let (w, h) = (size(widest + 5, area.width), size(lines.len() + 2, area.height));
    let place = Rect { x: area.x + (area.width - w) / 2, y: area.y + (area.height - h) / 2, width: w, height: h };
    Clear.render(place, buf);
    let more = size(lines.len(), u16::MAX).saturating_sub(h.saturating_sub(2));
    scroll.set(scroll.get().min(more));
    let hint = if more > 0 { " ↑↓ scroll · Esc closes " } else { " Esc closes " };
    let block =
        pane("Help", app.context().title(), true, theme).title_bottom(Line::styled(hint, theme.dim).right_aligned());
    let inner = block.inner(place);
    block.render(place, buf);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(1), ..inner };
    Paragraph::new(lines).scroll((scroll.get(), 0)).render(inner, buf);
}

fn lines<'a>(app: &App, theme: &'a Theme, room: u16) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for key in keys::of(app.context()) {
        let mut label = key.label;
        for help in wrap(key.help, room.saturating_sub(LABEL)) {
            let pad = " ".repeat(usize::from(LABEL.saturating_sub(width(label))));
            lines.push(Line::from(vec![
                Span::styled(label, theme.key),
                Span::styled(pad, theme.text),
                Span::styled(help, theme.text),
            ]));
            label = "";
        }
    }
    lines.push(Line::default());
    let (warn, bad) = (units::duration(DELAY_WARN_NS), units::duration(DELAY_BAD_NS));
    lines.push(Line::from(vec![
        Span::styled("run-queue delay  ", theme.dim),
        Span::styled(format!("from {warn}"), theme.warn),
        Span::styled("  ", theme.text),
        Span::styled(format!("from {bad}"), theme.bad),
    ]));
    let (warn, bad) = (units::duration(AGE_WARN_NS), units::duration(AGE_BAD_NS));
    lines.push(Line::from(vec![
        Span::styled("age of a call    ", theme.dim),
        Span::styled(format!("from {warn}"), theme.warn),
        Span::styled("  ", theme.text),
        Span::styled(format!("from {bad}"), theme.bad),
        Span::styled("  (not of waits by design)", theme.dim),
    ]));
    lines.push(Line::from(vec![
        Span::styled("connections      ", theme.dim),
        Span::styled("accept queue above half", theme.warn),
        Span::styled("  ", theme.text),
        Span::styled("sent again", theme.warn),
        Span::styled("  ", theme.text),
        Span::styled("close-wait", theme.warn),
    ]));
    lines.push(Line::from(vec![
        Span::styled("thread time      ", theme.dim),
        Span::styled("█ user  ", theme.user),
        Span::styled("▓ kernel  ", theme.kernel),
        Span::styled("▒ waiting for a CPU  ", theme.runnable),
        Span::styled("░ blocked", theme.blocked),
    ]));
    let cost = "user space and programs, of the CPU time of all CPUs  ";
    lines.push(Line::from(vec![
        Span::styled("cost             ", theme.dim),
        Span::styled(cost, theme.text),
        Span::styled(format!("from {}", units::percent(COST_WARN)), theme.warn),
    ]));
    if app.context() == View::Syscalls {
        for (at, rule) in spin::rules().iter().enumerate() {
            let what = if at == 0 { "runs in circles  " } else { "                 " };
            lines.push(Line::from(vec![Span::styled(what, theme.dim), Span::styled(rule.clone(), theme.text)]));
        }
    }
    for text in [
        "– not measured · 0 nothing · ≥ at least (events were lost) · ≈ sampled · ~ estimate",
        "† exited in this interval · [name] kernel thread · ⋯ waits by design",
        "quantiles are within ±4.4 %",
    ] {
        lines.extend(wrap(text, room).into_iter().map(|line| Line::styled(line, theme.dim)));
    }
    lines
}
