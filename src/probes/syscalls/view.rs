//! Syscalls: which calls are made, how long they take, which fail; beside them the selected one as a distribution.
//!
//! Enter turns the table of calls into the table of the processes that make the selected one.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Direction, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::names::{name, waits};
use crate::core::histogram::Histogram;
use crate::core::ident::ProcessId;
use crate::core::latency::LatencyStats;
use crate::core::units;
use crate::core::window::Window;
use crate::probes::{errors, exemplars};
use crate::ui::charts::{bound, heatmap, insight, summary};
use crate::ui::columns::{CALLERS, CALLS};
use crate::ui::ctx::{Ctx, Group};
use crate::ui::history::{TICKS, Tick};
use crate::ui::listing;
use crate::ui::place::Place;
use crate::ui::selection::RowId;
use crate::ui::widgets::histogram::HistogramPlot;
use crate::ui::widgets::pane::{note, pane};
use crate::ui::widgets::text::width;

/// From this width on the distribution stands beside the table, from this height on below it.
const BESIDE_FROM: u16 = 100;
const BELOW_FROM: u16 = 18;
/// From this height of the pane on there is a heatmap below the histogram.
const HEATMAP_FROM: u16 = 18;
/// The window of the quantiles below the histogram, seconds.
const WINDOW_S: f64 = 60.0;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    match ctx.place {
        Place::Errors => return errors::view::draw(ctx, area, buf),
        Place::Exemplars(listed) => return exemplars::view::draw(ctx, listed, area, buf),
        _ => {}
    }
    let (direction, size) = match (area.width, area.height) {
        (BESIDE_FROM.., _) => (Direction::Horizontal, (area.width * 3 / 10).clamp(36, 64)),
        (_, BELOW_FROM..) => (Direction::Vertical, area.height * 2 / 5),
        _ => (Direction::Vertical, 0),
    };
    let parts = [Constraint::Fill(1), Constraint::Length(size)];
    let [table, chosen] = Layout::new(direction, parts).areas(area);
    listed(ctx, table, buf);
    if !chosen.is_empty() {
        detail(ctx, chosen, buf);
    }
}

fn listed(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let empty = |what: &str| ctx.trouble(Group::Syscalls).unwrap_or_else(|| ctx.nobody(what));
    let value = summary(ctx, &ctx.tick.syscalls, ctx.qualities.syscalls, area.width.saturating_sub(16));
    if let Some(nr) = ctx.place.callers_of() {
        let title = format!("Syscalls › {}", name(nr));
        let block = pane(&title, "by process", true, ctx.theme).title_bottom(below(ctx));
        let empty = empty(&format!("No process makes {} now.", name(nr)));
        let rows = ctx.trouble(Group::Syscalls).is_none().then_some(&ctx.lists.processes);
        return listing::draw(ctx, area, buf, block, (CALLERS, rows, &empty));
    }
    let block = pane("Syscalls", &value, true, ctx.theme).title_bottom(below(ctx));
    let rows = if ctx.trouble(Group::Syscalls).is_some() { &[] } else { &ctx.lists.calls[..] };
    listing::draw(ctx, area, buf, block, (CALLS, rows, &empty("No system call was made.")));
}

/// What is left out, below the table.
fn below(ctx: &Ctx<'_>) -> Line<'static> {
    let text = if ctx.look.hide_waiting {
        let hidden = ctx.tick.calls().iter().filter(|c| waits(c.nr)).count();
        format!(" {hidden} waiting calls hidden (w) · kscope itself not counted ")
    } else {
        " ⋯ waits by design (w) · kscope itself not counted ".to_owned()
    };
    Line::styled(text, ctx.theme.dim)
}

/// What is selected: a call, of everybody or of one process.
#[derive(Clone, Copy)]
struct Chosen {
    nr: u32,
    process: Option<ProcessId>,
}

impl Chosen {
    fn of(ctx: &Ctx<'_>) -> Option<Self> {
        match (ctx.selected, ctx.place.callers_of()) {
            (Some(RowId::Call(nr)), _) => Some(Self { nr, process: None }),
            (Some(RowId::Process(id)), Some(nr)) => Some(Self { nr, process: Some(id) }),
            (_, nr) => nr.map(|nr| Self { nr, process: None }),
        }
    }

    fn latency<'a>(&self, tick: &'a Tick) -> Option<Cow<'a, LatencyStats>> {
        match self.process {
            None => tick.call(self.nr),
            Some(id) => tick.call_of(id, self.nr),
        }
    }

    fn title(&self, ctx: &Ctx<'_>) -> String {
        let process = self.process.and_then(|id| ctx.tick.process(id));
        match process {
            Some(p) => format!("{} · {} {}", name(self.nr), p.ident.comm, p.id.pid),
            None => name(self.nr).into_owned(),
        }
    }
}

fn detail(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let measured = ctx.trouble(Group::Syscalls).is_none();
    let Some(chosen) = Chosen::of(ctx).filter(|_| measured) else {
        if let Some(inner) = insight(ctx, area, buf, ("Latency", "", ""), Group::Syscalls) {
            note(buf, inner, "Nothing is selected.", ctx.theme);
        }
        return;
    };
    let latency = chosen.latency(ctx.tick);
    let title = chosen.title(ctx);
    let room = area.width.saturating_sub(width(&title) + 7);
    let value = latency.as_deref().map_or_else(String::new, |l| summary(ctx, l, ctx.qualities.syscalls, room));
    let error = latency.as_deref().map_or_else(String::new, |_| bound());
    let Some(inner) = insight(ctx, area, buf, (&title, &value, &error), Group::Syscalls) else { return };
    let map = if inner.height >= HEATMAP_FROM { inner.height * 2 / 5 } else { 0 };
    let window = u16::from(inner.height >= 6);
    let parts = [Constraint::Fill(1), Constraint::Length(window), Constraint::Length(map)];
    let [plot, line, map] = Layout::vertical(parts).areas(inner);
    match latency.as_deref() {
        Some(latency) => histogram(ctx, latency, plot, buf),
        None => note(buf, plot, "Not called in this interval.", ctx.theme),
    }
    if let Some(text) = over_window(ctx, chosen, line.width) {
        Line::styled(text, ctx.theme.dim).centered().render(line, buf);
    }
    if !map.is_empty() {
        heatmap(ctx, map, buf, |tick| chosen.latency(tick).map(histogram_of));
    }
}

fn histogram_of(latency: Cow<'_, LatencyStats>) -> Cow<'_, Histogram> {
    match latency {
        Cow::Borrowed(latency) => Cow::Borrowed(&latency.histogram),
        Cow::Owned(latency) => Cow::Owned(latency.histogram),
    }
}

fn histogram(ctx: &Ctx<'_>, latency: &LatencyStats, area: Rect, buf: &mut Buffer) {
    let named = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
    let marks: Vec<(&str, u64)> = named.iter().filter_map(|&(n, q)| latency.quantile(q).map(|ns| (n, ns))).collect();
    HistogramPlot { histogram: &latency.histogram, baseline: None, marks: &marks, theme: ctx.theme }.render(area, buf);
}

/// `last 60 s: p50 4.10 µs  p99 9.10 ms  p99.9 31.0 ms  1.20 M calls`, as much of it as fits.
fn over_window(ctx: &Ctx<'_>, chosen: Chosen, room: u16) -> Option<String> {
    let mut seconds = 0.0;
    let mut parts: Vec<Cow<'_, LatencyStats>> = Vec::new();
    for tick in ctx.history.last(TICKS).rev() {
        if seconds >= WINDOW_S {
            break;
        }
        seconds += tick.snapshot.seconds();
        parts.extend(chosen.latency(tick));
    }
    let window = Window::of(parts.iter().map(|l| (&l.histogram, l.max_ns)))?;
    let mut text = format!("last {seconds:.0} s:");
    let quantiles = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
    let named = quantiles.map(|(name, q)| format!("{name} {}", units::duration(window.quantile(q))));
    let calls = format!("{} calls", units::count(window.count()));
    for (part, gap) in named.iter().chain([&calls]).zip([" ", "  ", "  ", "  "]) {
        if width(&text) + width(part) + 2 > room {
            break;
        }
        text = text + gap + part;
    }
    Some(text)
}
