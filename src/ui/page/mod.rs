//! The page of one process: where its time went, and what it does.
//!
//! ```text
//!  Overview › 8812 nginx  worker process · www-data · nginx.service · 16 threads · up 3 d
//!  ╭ Where 16.0 s of thread time went ─────────────────────────────────────────────╮
//!  │ ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ │
//!  │ user    kernel   waiting for a CPU      disk  poll                             │
//!  ╰─────────────────────────────────────────────────────────────────────────────────╯
//!  ╭ System calls ──────────────────────────╮╭ write, against what it was ──────────╮
//!  ╰────────────────────────────────────────╯╰───────────────────────────────────────╯
//!  ╭ Threads ───────────────────────────╮╭ Run queue ──────────╮╭ Now ───────────────╮
//! ```
//!
//! On a small screen the lower panes give way, then the one at the right: the bar and a table remain. Enter turns the table of
//! calls into that of threads.
//!
//! Not here: how one gets there and back (`app/moves.rs`). Invariant: everything on it is of this process alone.

pub mod baseline;
mod call;
mod now;
pub mod threads;
mod wall;

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use self::baseline::Baseline;
use super::charts::{bound, heatmap, insight, summary};
use super::columns::{CALLS, THREADS};
use super::ctx::{Ctx, Group};
use super::listing;
use super::place::Place;
use super::widgets::pane::pane;
use super::widgets::text::put;
use crate::core::filter::Filter;
use crate::core::ident::ProcessId;
use crate::core::units;
use crate::model::ProcessStats;
use crate::probes::page::home::home_of;
use crate::probes::page::stats::PageStats;
use crate::probes::syscalls::names::waits;

/// From this width on there are panes side by side.
const BESIDE_FROM: u16 = 100;
/// From this height on there is a row of panes below the table.
const BELOW_FROM: u16 = 27;

/// An open page.
#[derive(Clone, Debug)]
pub struct Page {
    /// The process.
    pub id: ProcessId,
    /// The filter that holds again when the page is closed.
    pub filter: Filter,
    /// Which of its tables has the keys.
    pub place: Place,
    /// What its calls were when somebody said so.
    pub baseline: Option<Baseline>,
}

impl Page {
    /// A page that was just opened.
    pub const fn new(id: ProcessId, filter: Filter) -> Self {
        Self { id, filter, place: Place::First, baseline: None }
    }
}

/// What of a page is drawn.
struct Shown<'a> {
    page: &'a Page,
    /// The process, if it lived in the interval.
    process: Option<&'a ProcessStats>,
    /// What is read of it alone, once there is an interval of that.
    more: Option<&'a PageStats>,
}

/// Draws the page; `from` is the title of the view it was opened from.
pub fn draw(page: &Page, from: &str, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let more = ctx.snapshot().page.as_ref().filter(|more| more.id == page.id);
    let shown = Shown { page, process: ctx.tick.process(page.id), more };
    let wall = wall::height(&shown, area);
    let below =
        if area.height >= BELOW_FROM && page.place == Place::First { (area.height / 3).clamp(8, 14) } else { 0 };
    let rows = [Constraint::Length(1), Constraint::Length(wall), Constraint::Fill(1), Constraint::Length(below)];
    let [head, wall, middle, below] = Layout::vertical(rows).areas(area);
    header(&shown, from, ctx, head, buf);
    if !wall.is_empty() {
        wall::draw(&shown, ctx, wall, buf);
    }
    if page.place == Place::Threads {
        return thread_table(&shown, ctx, middle, buf);
    }
    let beside = if area.width >= BESIDE_FROM { (area.width * 2 / 5).clamp(36, 64) } else { 0 };
    let [table, chosen] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(beside)]).areas(middle);
    call_table(ctx, table, buf);
    if beside > 0 {
        call::draw(&shown, ctx, chosen, buf);
    }
    if below.is_empty() {
        return;
    }
    if beside == 0 {
        return threads::preview(shown.more, ctx, below, buf);
    }
    let parts = [Constraint::Fill(4), Constraint::Fill(3), Constraint::Length(beside)];
    let [list, delays, facts] = Layout::horizontal(parts).areas(below);
    threads::preview(shown.more, ctx, list, buf);
    run_queue(ctx, delays, buf);
    now::draw(&shown, ctx, facts, buf);
}

/// Where one is, and who this is: as much of it as fits.
fn header(shown: &Shown<'_>, from: &str, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let ident = shown.process.map(|p| &*p.ident);
    let name = ident.map(|ident| units::printable(&ident.comm)).unwrap_or_default();
    let crumb = format!("{from} › {} {name}", shown.page.id.pid);
    let room = area.width.saturating_sub(2);
    let used = put(buf, area.x + 1, area.y, &crumb, room, ctx.theme.title);
    let Some((process, ident)) = shown.process.zip(ident) else { return };
    let mut facts = vec![ident.user.clone()];
    facts.extend(home_of(&ident.cgroup).map(|home| home.to_string()));
    if home_of(&ident.cgroup).is_none() && ident.cgroup.len() > 1 {
        facts.push(ident.cgroup.clone());
    }
    facts.push(if process.threads == 1 { "1 thread".into() } else { format!("{} threads", process.threads) });
    facts.extend(shown.more.map(|more| format!("up {}", units::age(more.age_ns))));
    facts.extend(process.exited.then(|| "† exited".into()));
    facts.extend((ident.ppid > 0).then(|| format!("child of {}", ident.ppid)));
    facts.extend((!ident.cmdline.is_empty()).then(|| ident.cmdline.clone()));
    facts.retain(|fact| !fact.is_empty());
    put(buf, area.x + 1 + used + 2, area.y, &facts.join(" · "), room.saturating_sub(used + 2), ctx.theme.dim);
}

fn call_table(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let trouble = ctx.trouble(Group::Syscalls);
    let rows = if trouble.is_some() { &[] } else { &ctx.lists.calls[..] };
    let hidden = ctx.tick.calls().iter().filter(|c| waits(c.nr)).count();
    let below = if ctx.look.hide_waiting && trouble.is_none() {
        format!(" {hidden} waiting calls hidden (w) ")
    } else {
        String::new()
    };
    let value = summary(ctx, &ctx.tick.syscalls, ctx.qualities.syscalls, area.width.saturating_sub(20));
    let block = pane("System calls", &value, true, ctx.theme).title_bottom(Line::styled(below, ctx.theme.dim));
    let empty = trouble.unwrap_or_else(|| ctx.nobody("It made no system call."));
    listing::draw(ctx, area, buf, block, (CALLS, rows, &empty));
}

fn thread_table(shown: &Shown<'_>, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let rows = &ctx.lists.threads[..];
    let value = threads::summary(rows);
    let block = pane("Threads", &value, true, ctx.theme);
    let empty =
        threads::why_none(shown.more, ctx.is_procfs()).map_or_else(|| ctx.nobody("It has no thread."), str::to_owned);
    listing::draw(ctx, area, buf, block, (THREADS, rows, &empty));
}

fn run_queue(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let latency = &ctx.tick.runqueue;
    let value = summary(ctx, latency, ctx.qualities.runqueue, area.width.saturating_sub(16));
    if let Some(inner) = insight(ctx, area, buf, ("Run queue", &value, &bound()), Group::Delays) {
        heatmap(ctx, inner, buf, |tick| Some(Cow::Borrowed(&tick.runqueue.histogram)));
    }
}
