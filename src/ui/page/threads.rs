//! The threads of a process: as rows of a table that has the keys, and folded into a pane that shows those that ran most.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::core::ident::ProcessId;
use crate::core::units::{self, percent};
use crate::probes::page::stats::{PageStats, ThreadStats};
use crate::ui::ctx::Ctx;
use crate::ui::history::{History, Look};
use crate::ui::rows::Row;
use crate::ui::selection::RowId;
use crate::ui::widgets::bar::StackedBar;
use crate::ui::widgets::pane::{note, pane};
use crate::ui::widgets::text::{fit, put, put_right};

/// Columns of a thread's name and of its share, where they are folded.
const NAME: u16 = 15;
const SHARE: u16 = 7;
/// The shortest bar that says anything.
const BAR: u16 = 8;

/// A thread.
#[derive(Clone, Debug)]
pub struct ThreadRow {
    /// Its process.
    pub process: ProcessId,
    /// The thread.
    pub thread: ThreadStats,
}

impl Row for ThreadRow {
    fn id(&self) -> RowId {
        RowId::Thread(self.process, self.thread.tid)
    }

    fn group(&self) -> u8 {
        0
    }
}

/// The threads of the process that is looked at, those whose name or id contains `text`.
pub fn rows(history: &History, look: &Look, text: &str) -> Vec<ThreadRow> {
    let page = history.latest().and_then(|tick| tick.snapshot.page.as_ref());
    // Whatever the page was opened for is what the filter holds.
    let Some(page) = page.filter(|page| look.filter.pids.contains(&page.id.pid)) else { return Vec::new() };
    let text = text.to_lowercase();
    let has = |t: &&ThreadStats| t.comm.to_lowercase().contains(&text) || t.tid.to_string().contains(&text);
    let threads = page.threads.iter().flatten().filter(has);
    threads.map(|thread| ThreadRow { process: page.id, thread: thread.clone() }).collect()
}

/// Why there is no thread to be seen, if that has a reason.
pub const fn why_none(more: Option<&PageStats>, is_procfs: bool) -> Option<&'static str> {
    match more {
        None if is_procfs => Some("Threads are told apart only with programs in the kernel."),
        None => Some("Its threads are told apart from the next interval on."),
        Some(PageStats { threads: None, .. }) => {
            Some("Threads are told apart only while everything is counted: a budget is kept now.")
        }
        Some(_) => None,
    }
}

/// How many there are.
pub fn summary(rows: &[ThreadRow]) -> String {
    let ran = rows.iter().filter(|row| row.thread.time.on_cpu_ns() > 0).count();
    format!("{}, {ran} of them ran", rows.len())
}

/// Those that ran most, a line each: id, name, bar, share of a CPU.
pub fn preview(more: Option<&PageStats>, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let threads: Vec<&ThreadStats> = more.and_then(|more| more.threads.as_ref()).into_iter().flatten().collect();
    let value = if threads.is_empty() { String::new() } else { format!("{}  Enter unfolds", threads.len()) };
    let block = pane("Threads", &value, false, ctx.theme);
    let inner = block.inner(area);
    block.render(area, buf);
    if let Some(why) = why_none(more, ctx.is_procfs()) {
        return note(buf, inner, why, ctx.theme);
    }
    let mut threads = threads;
    threads.sort_by_key(|t| (std::cmp::Reverse((t.time.on_cpu_ns(), t.time.runnable_ns)), t.tid));
    for (thread, y) in threads.iter().zip(inner.y..inner.bottom()) {
        let line = Rect { x: inner.x + 1, y, width: inner.width.saturating_sub(2), height: 1 };
        folded(thread, ctx, line, buf);
    }
}

fn folded(thread: &ThreadStats, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let ns = thread.time.on_cpu_ns();
    let style = if ns == 0 { ctx.theme.dim } else { ctx.theme.text };
    put(buf, area.x, area.y, &fit(&thread.comm, NAME), NAME.min(area.width), style);
    let share = percent(ctx.per_s(ns) / 1e9);
    let bar = area.width.saturating_sub(NAME + 1 + SHARE);
    let text = units::printable(&share);
    put_right(buf, area.right().saturating_sub(SHARE), area.y, &text, SHARE.min(area.width), style);
    if bar >= BAR {
        let parts = ctx.time_parts(thread.time);
        let spans: Vec<Span<'_>> = StackedBar { parts: &parts, theme: ctx.theme }.spans(bar);
        Line::from(spans).render(Rect { x: area.x + NAME + 1, width: bar, ..area }, buf);
    }
}
