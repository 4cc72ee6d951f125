//! The page of one process: where its time went, and what it does.
//!
//! ```text
//!  Overview › 8812 nginx  worker process · www-data · /system.slice/nginx.service · 16 threads
//!  ╭ Where 16.0 s of thread time went ─────────────────────────────────────────────╮
//!  │ ███▓▓▓▓▒▒▒▒░░░░░░░░░                                                           │
//!  ╰─────────────────────────────────────────────────────────────────────────────────╯
//!  ╭ System calls ──────────────────────────────────────────────────────────────────╮
//! ```
//!
//! Not here: how one gets there and back (`app/moves.rs`). Invariant: everything on it is of this process alone.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use super::columns::CALLS;
use super::ctx::Ctx;
use super::listing;
use super::widgets::pane::pane;
use super::widgets::text::put;
use crate::core::filter::Filter;
use crate::core::ident::ProcessId;
use crate::core::units;

/// An open page.
#[derive(Clone, Debug)]
pub struct Page {
    /// The process.
    pub id: ProcessId,
    /// The filter that holds again when the page is closed.
    pub filter: Filter,
}

/// Draws the page; `from` is the title of the view it was opened from.
pub fn draw(page: &Page, from: &str, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    header(page, from, ctx, head, buf);
    let block = pane("System calls", "", true, ctx.theme);
    let rows = &ctx.lists.calls[..];
    listing::draw(ctx, body, buf, block, (CALLS, rows, &ctx.nobody("It made no system call.")));
}

fn header(page: &Page, from: &str, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let process = ctx.tick.process(page.id);
    let name = process.map(|p| units::printable(&p.ident.comm)).unwrap_or_default();
    let crumb = format!("{from} › {} {name}", page.id.pid);
    put(buf, area.x + 1, area.y, &crumb, area.width.saturating_sub(2), ctx.theme.title);
}
