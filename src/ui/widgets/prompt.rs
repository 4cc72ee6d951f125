//! A line of input: its state, how keys change it, and how it is drawn.
//!
//! It does not know what is asked or what an answer means; whoever asks puts the error in.
//!
//! Invariant: the text holds no control character.

use super::text::{put, width};
use crate::core::units::printable;
use crate::ui::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::Widget;
use unicode_width::UnicodeWidthChar;

/// Longer input is a mistaken paste.
const MAX_CHARS: usize = 4096;

/// What is being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// What is asked, drawn before the input.
    pub label: String,
    /// What was typed so far.
    pub text: String,
    /// The cursor, in characters from the start of the text; beyond the end means the end.
    pub cursor: usize,
    /// What is wrong with the text; goes away with the next change.
    pub error: Option<String>,
}

impl Prompt {
    /// An empty input.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// Puts a character before the cursor; control and invisible characters are ignored.
    pub fn insert(&mut self, c: char) {
        let mut buffer = [0; 4];
        let hostile = matches!(printable(c.encode_utf8(&mut buffer)), std::borrow::Cow::Owned(_));
        if hostile || self.text.chars().count() >= MAX_CHARS {
            return;
        }
        let at = self.byte_of(self.cursor);
        self.text.insert(at, c);
        self.cursor = self.text[..at].chars().count() + 1;
        self.error = None;
    }

    /// Removes the character before the cursor.
    pub fn backspace(&mut self) {
        let end = self.byte_of(self.cursor);
        if let Some((start, _)) = self.text[..end].char_indices().next_back() {
            self.text.remove(start);
            self.cursor = self.text[..start].chars().count();
            self.error = None;
        }
    }

    /// Moves the cursor one character left.
    pub fn left(&mut self) {
        self.cursor = self.cursor.min(self.text.chars().count()).saturating_sub(1);
    }

    /// Moves the cursor one character right.
    pub fn right(&mut self) {
        self.cursor = self.cursor.saturating_add(1).min(self.text.chars().count());
    }

    /// Moves the cursor to the start.
    pub const fn home(&mut self) {
        self.cursor = 0;
    }

    /// Moves the cursor behind the last character.
    pub fn end(&mut self) {
        self.cursor = self.text.chars().count();
    }

    /// Empties the input.
    pub fn clear(&mut self) {
        self.text.clear();
        self.cursor = 0;
        self.error = None;
    }

    fn byte_of(&self, cursor: usize) -> usize {
        self.text.char_indices().nth(cursor).map_or(self.text.len(), |(at, _)| at)
    }
}

/// Draws a [`Prompt`] on one line: label, text with the cursor as a reversed cell, and the error if there is one.
#[derive(Clone, Copy, Debug)]
pub struct PromptLine<'a> {
    /// What is drawn.
    pub prompt: &'a Prompt,
    /// The styles.
    pub theme: &'a Theme,
}

impl Widget for PromptLine<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let Prompt { label, text, cursor, error } = self.prompt;
        let mut x = area.x + put(buf, area.x, area.y, label, area.width, self.theme.accent);
        if !label.is_empty() && x < area.right() {
            x += 1;
        }
        let mut right = area.right();
        if let Some(error) = error {
            // The error gives way before the input does.
            let typed = width(&printable(text)).saturating_add(3).clamp(12, 40);
            let room = (right - x).saturating_sub(typed).min(width(&printable(error)));
            if room > 3 {
                right -= room;
                put(buf, right, area.y, error, room, self.theme.bad);
                right -= 2;
            }
        }
        // One column stays free for a cursor behind the text.
        let room = usize::from(right.saturating_sub(x));
        let clean = printable(text);
        let chars: Vec<(char, usize)> = clean.chars().map(|c| (c, c.width().unwrap_or(0))).collect();
        let cursor = (*cursor).min(chars.len());
        let under = chars.get(cursor).map_or(1, |&(_, w)| w.max(1));
        let mut start = cursor;
        let mut used = under;
        while start > 0 && used + chars[start - 1].1 <= room {
            start -= 1;
            used += chars[start].1;
        }
        let caret = Style::new().add_modifier(Modifier::REVERSED);
        for (i, c) in chars.iter().map(|&(c, _)| c).chain([' ']).enumerate().skip(start) {
            if x >= right {
                break;
            }
            let style = if i == cursor { self.theme.text.patch(caret) } else { self.theme.text };
            x += put(buf, x, area.y, c.encode_utf8(&mut [0; 4]), right - x, style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::widgets::testing::{any_area, any_theme, draws_inside, screen};
    use proptest::prelude::*;

    fn typed(text: &str) -> Prompt {
        let mut prompt = Prompt::new("filter");
        text.chars().for_each(|c| prompt.insert(c));
        prompt
    }

    #[test]
    fn editing() {
        let mut prompt = typed("ngnix\x1b\n");
        assert_eq!((prompt.text.as_str(), prompt.cursor), ("ngnix", 5));
        prompt.left();
        prompt.left();
        prompt.backspace();
        prompt.home();
        prompt.right();
        prompt.end();
        prompt.insert('é');
        assert_eq!((prompt.text.as_str(), prompt.cursor), ("ngixé", 5));
        prompt.clear();
        prompt.backspace();
        assert_eq!(prompt, Prompt::new("filter"));
    }

    #[test]
    fn drawing() {
        let theme = Theme::monochrome();
        let show = |prompt: &Prompt, columns| screen(columns, 1, PromptLine { prompt, theme: &theme });
        let mut prompt = typed("1402,8812,77");
        assert_eq!(show(&prompt, 40), "filter 1402,8812,77");
        assert_eq!(show(&prompt, 14), "filter 812,77");
        prompt.error = Some("no process 77".into());
        assert_eq!(show(&prompt, 40), "filter 1402,8812,77        no process 77");
        assert_eq!(show(&prompt, 4), "fil…");
    }

    proptest! {
        #[test]
        fn any_keys_at_any_size(
            area in any_area(),
            keys in proptest::collection::vec((0_u8..8, any::<char>()), 0..80),
            (cursor, error) in (any::<Option<usize>>(), any::<Option<String>>()),
            theme in any_theme(),
        ) {
            let mut prompt = Prompt::new("pid");
            prompt.cursor = cursor.unwrap_or(0);
            for (key, c) in keys {
                match key {
                    0 => prompt.backspace(),
                    1 => prompt.left(),
                    2 => prompt.right(),
                    3 => prompt.home(),
                    4 => prompt.end(),
                    _ => prompt.insert(c),
                }
            }
            prompt.error = error;
            draws_inside(area, |area, buf| PromptLine { prompt: &prompt, theme: &theme }.render(area, buf));
        }
    }
}
