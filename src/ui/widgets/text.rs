//! Text in cells: cut to a width in columns and defused on the way.
//!
//! Not for layout: a piece of text, a width, nothing else. Widths are those of Unicode, so that wide characters count two.

use crate::core::units::printable;
use ratatui::buffer::Buffer;
use ratatui::style::Style;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that `text` takes.
pub fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// `text` without control characters and at most `columns` wide; what was cut is shown as `…`.
pub fn fit(text: &str, columns: u16) -> Cow<'_, str> {
    let text = printable(text);
    if width(&text) <= columns {
        return text;
    }
    let Some(room) = columns.checked_sub(1) else { return Cow::Borrowed("") };
    let mut used = 0;
    let mut out = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > usize::from(room) {
            break;
        }
        out.push(c);
    }
    out.push('…');
    Cow::Owned(out)
}

/// Writes `text` at `(x, y)`, at most `columns` wide and inside the buffer; returns the columns used.
pub fn put(buf: &mut Buffer, x: u16, y: u16, text: &str, columns: u16, style: Style) -> u16 {
    if y < buf.area.top() || y >= buf.area.bottom() || x < buf.area.left() || x >= buf.area.right() {
        return 0;
    }
    let columns = columns.min(buf.area.right() - x);
    let text = fit(text, columns);
    buf.set_stringn(x, y, &text, usize::from(columns), style);
    width(&text)
}

/// As [`put`], with the text at the right end of the `columns`.
pub fn put_right(buf: &mut Buffer, x: u16, y: u16, text: &str, columns: u16, style: Style) {
    let text = fit(text, columns);
    let pad = columns.saturating_sub(width(&text));
    put(buf, x.saturating_add(pad), y, &text, columns - pad, style);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_characters_count_two_columns() {
        assert_eq!(fit("postgres", 8), "postgres");
        assert_eq!(fit("postgres", 5), "post…");
        assert_eq!(fit("漢字漢字", 6), "漢字…");
        assert_eq!(fit("ab", 0), "");
    }

    proptest! {
        #[test]
        fn never_wider_than_asked(text in any::<String>(), columns in 0_u16..40) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
        }
    }
}
