//! A table of text: sorted column marked, one row selected, columns given up by priority when it is narrow.
//!
//! Rows are asked for only when they are visible. It does not sort, filter or scroll: it is told.

use super::text::{fit, put, put_right, width};
use crate::ui::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;
use ratatui::widgets::Widget;
use std::borrow::Cow;

/// Columns for the mark of the selected row, at the left.
const MARK: u16 = 1;
/// Columns between two columns of the table.
const GAP: u16 = 2;

/// The priority of a column that is not shown, whatever room there is.
pub const NEVER: u8 = u8::MAX;

/// How wide a column is, in terminal columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Always this wide.
    Fixed(u16),
    /// At least this wide; takes an equal part of what is left.
    Fill(u16),
}

impl Width {
    const fn least(self) -> u16 {
        match self {
            Self::Fixed(n) | Self::Fill(n) => n,
        }
    }
}

/// The head of a column.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its width.
    pub width: Width,
    /// Whether its cells and title are right-aligned, as numbers are.
    pub right: bool,
    /// 0 is never given up; the highest goes first when there is no room.
    pub priority: u8,
    /// Whether rows are sorted by it, and then whether the largest comes first.
    pub sorted: Option<bool>,
}

/// What is written in one cell.
#[derive(Clone, Debug, Default)]
pub struct Cell<'a> {
    /// Its text; anything may be in it.
    pub text: Cow<'a, str>,
    /// Its style, over that of the text of the theme.
    pub style: Option<Style>,
    /// Styled pieces instead of the text, such as a stacked bar.
    pub spans: Vec<Span<'a>>,
}

impl Cell<'_> {
    /// The same cell in `style`.
    #[must_use]
    pub const fn with_style(mut self, style: Style) -> Self {
        self.style = Some(style);
        self
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self { text: Cow::Borrowed(text), ..Self::default() }
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self { text: Cow::Owned(text), ..Self::default() }
    }
}

impl<'a> From<Cow<'a, str>> for Cell<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self { text, ..Self::default() }
    }
}

impl<'a> From<Vec<Span<'a>>> for Cell<'a> {
    fn from(spans: Vec<Span<'a>>) -> Self {
        Self { spans, ..Self::default() }
    }
}

/// A header line and the rows from `offset` on.
pub struct Table<'a> {
    /// The columns, left to right.
    pub columns: &'a [Column<'a>],
    /// The cells of a row, one for each column; called for visible rows only.
    pub rows: &'a dyn Fn(usize) -> Vec<Cell<'a>>,
    /// How many rows there are.
    pub len: usize,
    /// The selected row.
    pub selected: Option<usize>,
    /// The first row shown, from [`visible_offset`].
    pub offset: usize,
    /// The styles.
    pub theme: &'a Theme,
    /// Whether keys go to this table.
    pub focused: bool,
}

/// The first row to show on `height` rows so that `selected` is visible, moving from `offset` as little as possible.
pub fn visible_offset(selected: usize, offset: usize, height: usize, len: usize) -> usize {
    let selected = selected.min(len.saturating_sub(1));
    let lowest = (selected + 1).saturating_sub(height);
    // A list that became shorter leaves no blank rows below it.
    let last = len.saturating_sub(height);
    offset.min(last).max(lowest).min(selected)
}

/// `(column, x relative to the table, width)` of the columns that fit in `room`, left to right.
fn layout(columns: &[Column<'_>], room: u16) -> Vec<(usize, u16, u16)> {
    let mut kept: Vec<usize> = (0..columns.len()).filter(|&at| columns[at].priority != NEVER).collect();
    let need = |kept: &[usize]| {
        let widths: u32 = kept.iter().map(|&i| u32::from(columns[i].width.least())).sum();
        widths + u32::from(MARK) + u32::from(GAP) * u32::try_from(kept.len().saturating_sub(1)).unwrap_or(0)
    };
    while need(&kept) > u32::from(room) {
        let droppable = kept.iter().enumerate().filter(|&(_, &i)| columns[i].priority > 0);
        // Of equal priority the rightmost goes first.
        let Some((at, _)) = droppable.max_by_key(|&(at, &i)| (columns[i].priority, at)) else { break };
        kept.remove(at);
    }
    let fills = kept.iter().filter(|&&i| matches!(columns[i].width, Width::Fill(_))).count();
    let mut spare = u16::try_from(u32::from(room).saturating_sub(need(&kept))).unwrap_or(0);
    let mut fills = u16::try_from(fills).unwrap_or(u16::MAX);
    let mut x = MARK;
    let mut out = Vec::with_capacity(kept.len());
    for i in kept {
        let mut wide = columns[i].width.least();
        if matches!(columns[i].width, Width::Fill(_)) {
            let extra = spare.div_ceil(fills.max(1));
            (wide, spare, fills) = (wide.saturating_add(extra), spare - extra, fills.saturating_sub(1));
        }
        if x >= room {
            break;
        }
        wide = wide.min(room - x);
        out.push((i, x, wide));
        x = x.saturating_add(wide).saturating_add(GAP);
    }
    out
}

impl Table<'_> {
    fn header(&self, area: Rect, cells: &[(usize, u16, u16)], buf: &mut Buffer) {
        for &(i, x, wide) in cells {
            let column = &self.columns[i];
            let (arrow, style) = match column.sorted {
                Some(true) => ("▾", self.theme.accent),
                Some(false) => ("▴", self.theme.accent),
                None => ("", self.theme.dim),
            };
            let title = fit(column.title, wide.saturating_sub(width(arrow)));
            // The space before the arrow is the first thing to go.
            let gap = if !arrow.is_empty() && width(&title) + 2 <= wide { " " } else { "" };
            let text = format!("{title}{gap}{arrow}");
            if column.right {
                put_right(buf, area.x + x, area.y, &text, wide, style);
            } else {
                put(buf, area.x + x, area.y, &text, wide, style);
            }
        }
    }

    fn row(&self, row: usize, area: Rect, y: u16, cells: &[(usize, u16, u16)], buf: &mut Buffer) {
        let content = (self.rows)(row);
        for &(i, x, wide) in cells {
            let Some(cell) = content.get(i) else { continue };
            let x = area.x + x;
            if !cell.spans.is_empty() {
                let mut at = x;
                for span in &cell.spans {
                    at += put(buf, at, y, &span.content, (x + wide).saturating_sub(at), span.style);
                }
            } else if self.columns[i].right {
                put_right(buf, x, y, &cell.text, wide, cell.style.unwrap_or(self.theme.text));
            } else {
                put(buf, x, y, &cell.text, wide, cell.style.unwrap_or(self.theme.text));
            }
        }
        if self.selected == Some(row) {
            let mark = if self.focused { self.theme.accent } else { self.theme.dim };
            put(buf, area.x, y, "▸", MARK, mark);
            // Where keys do not go there is no bar, so that one row of the screen stands out.
            if self.focused {
                buf.set_style(Rect { y, height: 1, ..area }, self.theme.selected);
                // Reversed shades would say the opposite.
                for &(_, x, width) in
                    cells.iter().filter(|&&(i, ..)| content.get(i).is_some_and(|c| !c.spans.is_empty()))
                {
                    let shades = Rect { x: area.x + x, y, width, height: 1 };
                    buf.set_style(shades, Style::new().remove_modifier(Modifier::REVERSED));
                }
            }
        }
    }
}

impl Widget for Table<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let cells = layout(self.columns, area.width);
        self.header(area, &cells, buf);
        for (row, y) in (self.offset..self.len).zip(area.y + 1..area.bottom()) {
            self.row(row, area, y, &cells, buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::widgets::testing::{any_area, any_theme, draws_inside, screen};
    use proptest::prelude::*;
    use std::cell::RefCell;

    fn column(title: &str, width: Width, right: bool, priority: u8) -> Column<'_> {
        Column { title, width, right, priority, sorted: None }
    }

    fn columns() -> Vec<Column<'static>> {
        let mut columns = vec![
            column("PID", Width::Fixed(7), true, 0),
            column("COMMAND", Width::Fill(8), false, 0),
            column("calls/s", Width::Fixed(9), true, 1),
            column("p99", Width::Fixed(8), true, 0),
            column("in", Width::Fixed(10), false, 3),
            column("tx/s", Width::Fixed(9), true, 2),
        ];
        columns[2].sorted = Some(true);
        columns
    }

    fn draw(width: u16, height: u16, len: usize, offset: usize) -> String {
        let rows = |i: usize| -> Vec<Cell<'_>> {
            let names = ["nginx", "ffmpeg -i input.mkv", "postgres: \x1b[2Jwriter", "漢字漢字漢字", "sh"];
            let calls = ["38.2 k", "1.10 k", "11.8 k", "412", "0"];
            vec![
                format!("{}", 8812 + i).into(),
                names[i % 5].into(),
                calls[i % 5].into(),
                "9.10 ms".into(),
                "write".into(),
                "71.0 MiB".into(),
            ]
        };
        let (columns, theme) = (columns(), Theme::monochrome());
        let table =
            Table { columns: &columns, rows: &rows, len, selected: Some(1), offset, theme: &theme, focused: true };
        screen(width, height, table)
    }

    #[test]
    fn wide_has_every_column() {
        insta::assert_snapshot!(draw(72, 7, 5, 0));
    }

    #[test]
    fn narrow_gives_up_columns_by_priority() {
        insta::assert_snapshot!(draw(40, 4, 5, 0));
        insta::assert_snapshot!(draw(18, 4, 5, 0));
    }

    #[test]
    fn only_visible_rows_are_asked_for() {
        let asked = RefCell::new(Vec::new());
        let rows = |i: usize| -> Vec<Cell<'_>> {
            asked.borrow_mut().push(i);
            Vec::new()
        };
        let (columns, theme) = (columns(), Theme::default());
        let table = Table {
            columns: &columns,
            rows: &rows,
            len: 1_000_000,
            selected: None,
            offset: 500,
            theme: &theme,
            focused: false,
        };
        screen(80, 4, table);
        assert_eq!(*asked.borrow(), [500, 501, 502]);
    }

    #[test]
    fn scrolling_is_stable() {
        assert_eq!(visible_offset(3, 0, 5, 100), 0);
        assert_eq!(visible_offset(5, 0, 5, 100), 1);
        assert_eq!(visible_offset(5, 3, 5, 100), 3);
        assert_eq!(visible_offset(2, 3, 5, 100), 2);
        assert_eq!(visible_offset(99, 0, 5, 100), 95);
        assert_eq!(visible_offset(9, 90, 5, 10), 5);
        assert_eq!(visible_offset(0, 7, 0, 0), 0);
    }

    proptest! {
        #[test]
        fn the_selected_row_is_visible(selected in 0_usize..50, offset in 0_usize..60, height in 1_usize..30, len in 1_usize..50) {
            let offset = visible_offset(selected, offset, height, len);
            let selected = selected.min(len - 1);
            prop_assert!(offset <= selected && selected < offset + height);
        }

        #[test]
        fn any_size_and_content(
            area in any_area(),
            texts in proptest::collection::vec(any::<String>(), 0..6),
            widths in proptest::collection::vec((any::<bool>(), any::<u16>(), any::<bool>(), 0_u8..4, any::<Option<bool>>()), 0..6),
            (len, offset, selected) in (any::<usize>(), any::<usize>(), any::<Option<usize>>()),
            theme in any_theme(),
        ) {
            let columns: Vec<Column<'_>> = widths.iter().map(|&(fill, n, right, priority, sorted)| {
                let n = n >> (n % 16);
                Column { title: "tïtle\n", width: if fill { Width::Fill(n) } else { Width::Fixed(n) }, right, priority, sorted }
            }).collect();
            let rows = |_: usize| -> Vec<Cell<'_>> { texts.iter().map(|t| t.as_str().into()).collect() };
            let table = Table { columns: &columns, rows: &rows, len, selected, offset, theme: &theme, focused: true };
            draws_inside(area, |area, buf| table.render(area, buf));
        }
    }
}
