//! The frame of a pane, whose title carries the current value, and the sentence of a pane that has nothing to show.

use super::text::{fit, width};
use crate::core::units::printable;
use crate::ui::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders};

/// A thin frame with `title`, then `value` in the accent colour; either may be empty.
pub fn pane<'a>(title: &'a str, value: &'a str, focused: bool, theme: &Theme) -> Block<'a> {
    let mut spans = Vec::new();
    for (text, style) in [(title, theme.title), (value, theme.accent)] {
        if !text.is_empty() {
            spans.push(Span::raw(if spans.is_empty() { " " } else { "  " }));
            spans.push(Span::styled(printable(text), style));
        }
    }
    if !spans.is_empty() {
        spans.push(Span::raw(" "));
    }
    let border = if focused { theme.border_focus } else { theme.border };
    Block::new()
        .borders(Borders::ALL)
        .border_type(BorderType::Rounded)
        .border_style(border)
        .style(theme.text)
        .title_top(Line::from(spans))
}

/// The leading parts of `value`, which two spaces separate, that a [`pane`] as wide as `area` shows whole beside `title`:
/// a number that is cut is another number.
pub fn fitting<'a>(title: &str, value: &'a str, area: Rect) -> &'a str {
    // Two corners, a space on either side, two between title and value.
    let room = area.width.saturating_sub(width(&printable(title)).saturating_add(6));
    let mut value = value;
    while width(&printable(value)) > room {
        value = value.rfind("  ").map_or("", |at| value[..at].trim_end());
    }
    value
}

/// A sentence in the middle of an empty pane, wrapped between words.
pub fn note(f: &mut Buffer, area: Rect, text: &str, theme: &Theme) {
    let area = area.intersection(f.area);
    let room = area.width.saturating_sub(2).min(72);
    if room == 0 || area.height == 0 {
        return;
    }
    let lines = wrap(&printable(text), room);
    let shown = lines.len().min(usize::from(area.height));
    let top = area.y + (area.height - u16::try_from(shown).unwrap_or(area.height)) / 2;
    for (line, y) in lines.iter().take(shown).zip(top..) {
        let line = fit(line, room);
        let x = area.x + (area.width - width(&line)) / 2;
        f.set_stringn(x, y, &line, usize::from(room), theme.dim);
    }
}

/// `text` in lines of at most `columns` where words allow it, broken between words.
pub fn wrap(text: &str, columns: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line).saturating_add(width(word)) < columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::widgets::testing::{any_area, any_theme, draws_inside, text_of};
    use proptest::prelude::*;
    use ratatui::widgets::Widget;

    #[test]
    fn a_pane_names_its_value_and_says_why_it_is_empty() {
        let theme = Theme::default();
        let area = Rect::new(0, 0, 44, 6);
        let mut buf = Buffer::empty(area);
        let block = pane("System calls", "412 k/s", true, &theme);
        let inner = block.inner(area);
        block.render(area, &mut buf);
        note(&mut buf, inner, "No process matches the filter. Press p and an empty line to see all.", &theme);
        insta::assert_snapshot!(text_of(&buf));
        assert_eq!(buf[(0, 0)].style().fg, theme.border_focus.fg);
        assert_eq!(buf[(16, 0)].style().fg, theme.accent.fg);
    }

    #[test]
    fn values_are_whole_or_not_there() {
        let value = "412 k/s  p50 1.9 µs  p99 1.24 ms";
        let at = |wide| fitting("System calls", value, Rect::new(0, 0, wide, 3));
        assert_eq!(
            [60, 50, 49, 38, 37, 25, 24, 0].map(at),
            [value, value, "412 k/s  p50 1.9 µs", "412 k/s  p50 1.9 µs", "412 k/s  p50 1.9 µs", "412 k/s", "", ""]
        );
    }

    proptest! {
        #[test]
        fn any_size_and_text(area in any_area(), text in any::<String>(), theme in any_theme()) {
            prop_assert!(text.starts_with(fitting(&text, &text, area.0)));
            draws_inside(area.clone(), |area, buf| note(buf, area, &text, &theme));
            draws_inside(area, |area, buf| pane(&text, &text, false, &theme).render(area, buf));
        }
    }
}
