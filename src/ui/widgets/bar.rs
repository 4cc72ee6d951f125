//! One line that is divided: a stacked bar whose parts fill it exactly, and a meter for a single share.

use super::text::{put, width};
use crate::ui::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;
use ratatui::widgets::Widget;

const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// Seven eighths high, so that bars in neighbouring rows stay apart.
const BLOCK: char = '▇';

/// Parts of a whole side by side. Shares are relative to their sum, so the line is always full; it is a thin line when
/// there is nothing to divide.
#[derive(Clone, Copy, Debug)]
pub struct StackedBar<'a> {
    /// Share, style, and the character used in monochrome.
    pub parts: &'a [(f64, Style, char)],
    /// Decides between colours and shapes.
    pub theme: &'a Theme,
}

impl StackedBar<'_> {
    /// The bar as text of exactly `width` columns, for a cell of a table.
    pub fn spans(&self, width: u16) -> Vec<Span<'static>> {
        let cells = self.cells(width);
        if cells.iter().all(|&n| n == 0) {
            return vec![Span::styled("─".repeat(usize::from(width)), self.theme.border)];
        }
        let parts = self.parts.iter().zip(cells).filter(|&(_, n)| n > 0);
        parts
            .map(|(&(_, style, shape), n)| {
                let block = if self.theme.mono { shape } else { BLOCK };
                Span::styled(block.to_string().repeat(usize::from(n)), style)
            })
            .collect()
    }
}

impl StackedBar<'_> {
    /// Writes the name of each part below it, where it has room for the whole of it.
    pub fn names(&self, names: &[(&str, Style)], area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let mut x = area.x;
        for (cells, &(name, style)) in self.cells(area.width).into_iter().zip(names) {
            // A column between two names.
            if width(name) < cells {
                put(buf, x, area.y, name, cells, style);
            }
            x += cells;
        }
    }

    fn cells(&self, width: u16) -> Vec<u16> {
        divide(self.parts.iter().map(|&(share, ..)| share), width)
    }
}

impl Widget for StackedBar<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let mut x = area.x;
        for span in self.spans(area.width) {
            (x, _) = buf.set_stringn(x, area.y, &span.content, usize::from(area.right() - x), span.style);
        }
    }
}

/// Whole cells for each share by largest remainder: they sum to `width`, or are all 0 when no share is above 0.
fn divide(shares: impl Iterator<Item = f64>, width: u16) -> Vec<u16> {
    let shares: Vec<f64> = shares.map(|s| if s.is_finite() { s.max(0.0) } else { 0.0 }).collect();
    let largest = shares.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return vec![0; shares.len()];
    }
    // Divided by the largest first, so that the sum cannot overflow.
    let sum: f64 = shares.iter().map(|s| s / largest).sum();
    let exact: Vec<f64> = shares.iter().map(|s| s / largest / sum * f64::from(width)).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and width")]
    let mut cells: Vec<u16> = exact.iter().map(|e| e.floor() as u16).collect();
    let mut order: Vec<usize> = (0..shares.len()).filter(|&i| shares[i] > 0.0).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let mut missing = width.saturating_sub(cells.iter().sum());
    for &i in order.iter().cycle().take(usize::from(width)) {
        if missing == 0 {
            break;
        }
        cells[i] += 1;
        missing -= 1;
    }
    cells
}

/// `share` (0…1, more is capped) of `width` columns in eighth blocks, without padding; more than nothing is at least `▏`.
pub fn meter(share: f64, width: u16) -> String {
    if !share.is_finite() || share <= 0.0 || width == 0 {
        return String::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 8 * width")]
    let eighths = ((share.min(1.0) * f64::from(width) * 8.0).round() as usize).max(1);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::widgets::testing::{any_area, any_theme, draws_inside, screen, text_of};
    use proptest::prelude::*;

    #[test]
    fn parts_fill_the_line_exactly() {
        let theme = Theme::monochrome();
        let style = Style::new();
        let parts = [(1.0, style, '█'), (1.0, style, '▓'), (1.0, style, '▒'), (0.0, style, '░')];
        assert_eq!(screen(10, 1, StackedBar { parts: &parts, theme: &theme }), "████▓▓▓▒▒▒");
        assert_eq!(screen(4, 1, StackedBar { parts: &[(0.0, style, '█')], theme: &theme }), "────");
        assert_eq!(screen(4, 1, StackedBar { parts: &parts, theme: &Theme::default() }), "▇▇▇▇");
    }

    #[test]
    fn names_stand_below_their_parts_where_they_fit() {
        let (theme, style) = (Theme::monochrome(), Style::new());
        let bar = StackedBar { parts: &[(2.0, style, '█'), (1.0, style, '▒'), (3.0, style, '░')], theme: &theme };
        let area = Rect::new(0, 0, 12, 1);
        let mut buf = Buffer::empty(area);
        bar.names(&[("abc", style), ("de", style), ("fghij", style)], area, &mut buf);
        assert_eq!(text_of(&buf), "abc   fghij");
    }

    #[test]
    fn a_meter_has_eighths() {
        assert_eq!([0.0, 1e-6, 0.5, 0.53125, 2.0].map(|s| meter(s, 4)), ["", "▏", "██", "██▏", "████"]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_width(shares in proptest::collection::vec(0.0_f64..1e9, 1..9), width in 0_u16..200) {
            prop_assume!(shares.iter().any(|&s| s > 0.0));
            prop_assert_eq!(divide(shares.iter().copied(), width).iter().sum::<u16>(), width);
        }

        #[test]
        fn any_size_and_share(area in any_area(), shares in proptest::collection::vec(any::<f64>(), 0..6), theme in any_theme()) {
            let parts: Vec<_> = shares.iter().map(|&s| (s, theme.user, '█')).collect();
            draws_inside(area.clone(), |area, buf| StackedBar { parts: &parts, theme: &theme }.names(&[("a", theme.user), ("bc", theme.user)], area, buf));
            draws_inside(area, |area, buf| StackedBar { parts: &parts, theme: &theme }.render(area, buf));
            for &share in &shares {
                prop_assert!(meter(share, 9).chars().count() <= 9);
            }
        }
    }
}
