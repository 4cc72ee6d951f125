//! Draws the table that has the keys: its rows in its columns, framed, with the place of the cursor below.
//!
//! Not here: what the columns are (`columns.rs`) or how a table is laid out (`widgets::table`).

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Widget};

use super::columns;
use super::ctx::Ctx;
use super::rows::{Row, Rows};
use super::widgets::pane::note;
use super::widgets::table::{Column, Table, Width, visible_offset};
use super::widgets::text::fit;

/// Below these a frame costs more than it gives.
const FRAMED_WIDTH: u16 = 60;
const FRAMED_HEIGHT: u16 = 6;
/// Below this width names are cut before the sorted column is.
const TINY: u16 = 30;

/// Draws `rows` in `area`, framed by `block` where there is room, or the sentence `empty` where there is no row.
pub fn draw<R: Row>(
    ctx: &Ctx<'_>,
    area: Rect,
    buf: &mut Buffer,
    block: Block<'_>,
    (columns, rows, empty): (&[columns::Column<R>], impl Rows<R>, &str),
) {
    let len = rows.count();
    let inner = if area.width >= FRAMED_WIDTH && area.height >= FRAMED_HEIGHT {
        let place = if len == 0 { 0 } else { ctx.table.cursor.index() + 1 };
        let below = Line::styled(format!(" {place}/{len} "), ctx.theme.dim).right_aligned();
        let mut block = block.title_bottom(below);
        // With no row at all, the sentence fills the pane instead.
        if !ctx.absent.is_empty() && len > 0 {
            let absent = format!(" {} ", ctx.absent.join(" "));
            let absent = fit(&absent, area.width / 2).into_owned();
            block = block.title_top(Line::styled(absent, ctx.theme.warn).right_aligned());
        }
        let inner = block.inner(area);
        block.render(area, buf);
        // Numbers do not touch the frame.
        Rect { width: inner.width.saturating_sub(1), ..inner }
    } else {
        area
    };
    if len == 0 {
        return note(buf, inner, empty, ctx.theme);
    }
    let table = ctx.table;
    let heads: Vec<Column<'_>> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Column {
            title: column.title,
            width: match column.width {
                Width::Fill(least) if inner.width < TINY => Width::Fill(least.min(8)),
                width => width,
            },
            right: column.right,
            // What rows are sorted by is never given up.
            priority: if at == table.sort { 0 } else { column.rank },
            sorted: (at == table.sort).then_some(table.falling),
        })
        .collect();
    let page = usize::from(inner.height.saturating_sub(1));
    let selected = table.cursor.index();
    let offset = visible_offset(selected, table.cursor.offset.get(), page, len);
    table.cursor.offset.set(offset);
    table.cursor.page.set(page);
    let of = |row: &R| columns.iter().map(|column| (column.cell)(row, ctx)).collect();
    let cells = |at: usize| rows.with(at, of).unwrap_or_default();
    let theme = ctx.theme;
    Table { columns: &heads, rows: &cells, len, selected: Some(selected), offset, theme, focused: true }
        .render(inner, buf);
}
