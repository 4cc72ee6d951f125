//! Where the time of a process's threads went: one bar that sums to all of it, its parts named with their numbers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::Shown;
use crate::core::quality::Quality;
use crate::core::units::{count, duration, percent};
use crate::model::ProcessStats;
use crate::probes::page::stats::Quota;
use crate::probes::syscalls::names::name;
use crate::probes::time::stats::TimeSplit;
use crate::ui::ctx::Ctx;
use crate::ui::widgets::bar::StackedBar;
use crate::ui::widgets::pane::{note, pane};
use crate::ui::widgets::text::{put, width};

/// From this height of the page on there is a frame, and names below the bar.
const FRAMED_FROM: u16 = 14;
/// Calls that are named as parts of kernel time: so many, and each at least this part of it.
const CALLS: usize = 3;
const CALL_SHARE: f64 = 0.02;

/// How high it is on a page of this size.
pub fn height(shown: &Shown<'_>, area: Rect) -> u16 {
    let quota = u16::from(quota_of(shown).is_some());
    match area.height {
        FRAMED_FROM.. => 6 + quota,
        6.. => 1,
        _ => 0,
    }
}

fn quota_of<'a>(shown: &Shown<'a>) -> Option<&'a Quota> {
    shown.more?.quota.as_ref()
}

/// Draws it.
pub fn draw(shown: &Shown<'_>, ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let time = shown.process.map(|process| process.time).unwrap_or_default();
    let parts = parts(ctx, time);
    let drawn: Vec<_> = parts.iter().map(|part| (part.ns as f64, part.style, part.shape)).collect();
    let bar = StackedBar { parts: &drawn, theme: ctx.theme };
    if area.height == 1 {
        return bar.render(Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area }, buf);
    }
    let mark = shown.process.map_or(ctx.qualities.time, |p| p.quality(ctx.qualities.time)).mark();
    let title = format!("Where {mark}{} of thread time went", duration(time.total_ns()));
    let sum = Line::styled(" sums to 100 % ", ctx.theme.dim).right_aligned();
    let block = pane(&title, "", false, ctx.theme).title_bottom(sum);
    let inner = block.inner(area);
    block.render(area, buf);
    let Some(process) = shown.process.filter(|_| ctx.qualities.time != Quality::NotAvailable) else {
        let why =
            if shown.process.is_none() { "It is not there any more." } else { "Thread time is not measured here." };
        return note(buf, inner, why, ctx.theme);
    };
    let line = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), height: 1, ..inner };
    bar.render(line, buf);
    let row = |y: u16| Rect { y: line.y + y, ..line };
    // The shades of what was blocked are too dark for letters.
    let style = |part: &Part| if part.cause { ctx.theme.dim } else { part.style };
    bar.names(&parts.iter().map(|part| (part.name, style(part))).collect::<Vec<_>>(), row(1), buf);
    legend(ctx, process, row(2), buf);
    blocked(ctx, time, row(3), buf);
    if let Some(quota) = quota_of(shown) {
        limit(ctx, quota, row(4), buf);
    }
}

/// A part of the bar.
struct Part {
    name: &'static str,
    ns: u64,
    style: Style,
    /// Where there is no colour.
    shape: char,
    /// It is a cause of being blocked.
    cause: bool,
}

/// User, kernel, waiting for a CPU, then each cause of being blocked. Neighbours among those differ in shade.
fn parts(ctx: &Ctx<'_>, time: TimeSplit) -> Vec<Part> {
    let theme = ctx.theme;
    let mut parts = vec![
        Part { name: "user", ns: time.user_ns, style: theme.user, shape: '█', cause: false },
        Part { name: "kernel", ns: time.kernel_ns, style: theme.kernel, shape: '▓', cause: false },
        Part { name: "waiting for a CPU", ns: time.runnable_ns, style: theme.runnable, shape: '▒', cause: false },
    ];
    for (at, (cause, ns)) in time.blocked_by.all().filter(|(_, ns)| *ns > 0).enumerate() {
        let (style, shape) = if at % 2 == 0 { (theme.blocked, '░') } else { (theme.dim, '·') };
        parts.push(Part { name: cause.label(), ns, style, shape, cause: true });
    }
    if time.blocked_by.total_ns() == 0 {
        let (style, shape) = (theme.blocked, '░');
        parts.push(Part { name: "blocked", ns: time.blocked_ns, style, shape, cause: true });
    }
    parts
}

/// `user 1.40 s 9 %   kernel 720 ms 5 % (write 410 ms, epoll_wait 120 ms)   waiting for a CPU 2.31 s 14 %`
fn legend(ctx: &Ctx<'_>, process: &ProcessStats, area: Rect, buf: &mut Buffer) {
    let (theme, time) = (ctx.theme, process.time);
    let share = |ns: u64| format!("{} {}", duration(ns), percent(ns as f64 / time.total_ns().max(1) as f64));
    let steal = if time.stolen_ns > 0 { format!(" ({} stolen)", duration(time.stolen_ns)) } else { String::new() };
    let line = |calls: &[String], steal: &str| {
        let calls = if calls.is_empty() { String::new() } else { format!(" ({})", calls.join(", ")) };
        Line::from(vec![
            Span::styled("user ", theme.user),
            Span::styled(share(time.user_ns), theme.text),
            Span::styled("   kernel ", theme.kernel),
            Span::styled(share(time.kernel_ns), theme.text),
            Span::styled(calls, theme.dim),
            Span::styled("   waiting for a CPU ", theme.runnable),
            Span::styled(share(time.runnable_ns), theme.text),
            Span::styled(steal.to_owned(), theme.dim),
        ])
    };
    // As many calls as there is room for.
    let calls = kernel_calls(process);
    let lines = (0..=calls.len()).rev().map(|n| line(&calls[..n], &steal));
    let mut fitting = lines.skip_while(|line| line.width() > usize::from(area.width));
    fitting.next().unwrap_or_else(|| line(&[], "")).render(area, buf);
}

/// The calls that took most of the kernel time, with what they took.
fn kernel_calls(process: &ProcessStats) -> Vec<String> {
    let busy =
        |l: &crate::core::latency::LatencyStats| l.total_ns.saturating_sub(l.blocked_ns).saturating_sub(l.runnable_ns);
    let mut calls: Vec<(u64, u32)> = process.calls.iter().map(|call| (busy(&call.latency), call.nr)).collect();
    calls.sort_by_key(|&(ns, nr)| (std::cmp::Reverse(ns), nr));
    let least = process.time.kernel_ns as f64 * CALL_SHARE;
    // A call that began before counts whole in the interval in which it returned: no more than there was.
    let shown = calls.into_iter().take(CALLS).filter(|&(ns, _)| ns > 0 && ns as f64 >= least);
    shown.map(|(ns, nr)| format!("{} {}", name(nr), duration(ns.min(process.time.kernel_ns)))).collect()
}

/// `blocked 11.6 s 72 %: poll 10.9 s · disk 420 ms`, as much of it as fits.
fn blocked(ctx: &Ctx<'_>, time: TimeSplit, area: Rect, buf: &mut Buffer) {
    let share = percent(time.blocked_ns as f64 / time.total_ns().max(1) as f64);
    let head = format!("blocked {} {share}", duration(time.blocked_ns));
    let mut x = area.x + put(buf, area.x, area.y, &head, area.width, ctx.theme.text);
    let mut causes: Vec<_> = time.blocked_by.all().filter(|(_, ns)| *ns > 0).collect();
    causes.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    if ctx.is_procfs() {
        put(buf, x, area.y, " (/proc does not tell by what)", area.right().saturating_sub(x), ctx.theme.dim);
    }
    for (at, (cause, ns)) in causes.iter().enumerate() {
        let text = format!("{}{} {}", if at == 0 { ": " } else { " · " }, cause.label(), duration(*ns));
        let room = area.right().saturating_sub(x);
        if width(&text) > room {
            break;
        }
        x += put(buf, x, area.y, &text, room, ctx.theme.dim);
    }
}

/// What the cgroup has taken away.
fn limit(ctx: &Ctx<'_>, quota: &Quota, area: Rect, buf: &mut Buffer) {
    let (periods, throttled) = (count(quota.periods), count(quota.throttled));
    let style = if quota.throttled > 0 { ctx.theme.warn } else { ctx.theme.dim };
    let text = format!(
        "cgroup limit {:.2} CPUs: throttled in {throttled} of {periods} periods, {}  ({})",
        quota.cpus(),
        duration(quota.throttled_ns),
        quota.cgroup
    );
    put(buf, area.x, area.y, &text, area.width, style);
}
