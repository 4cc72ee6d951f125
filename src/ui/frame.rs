//! The screen around the views.
//!
//! ```text
//!  kscope  web-03 · 6.18.44 · 64 cpu        ● live 1 s · 14:02:31        load 38.2 · cost 0.4 % · lost 0     header
//!  1 Overview  2 Syscalls  3 Scheduler  4 Network  9 Self                                   filter  none     tabs
//!  …                                                                                                         the view
//!  Enter process  p pid  / rows  s sort  space pause  t theme  ? help  q quit                                footer
//! ```
//!
//! Not here: what a view shows. Invariant: every size is drawn; what has no room is left out by rank, never squeezed.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::app::{App, seconds_ns};
use super::ctx::{self, COST_WARN, Ctx, cpu_share};
use super::keys::{self, Action};
use super::overlay::Overlay;
use super::place::Place;
use super::view::View;
use super::widgets::pane::note;
use super::widgets::prompt::PromptLine;
use super::widgets::text::{put, width};
use super::{commands_view, everything, help, overview, page};
use crate::core::units;
use crate::model::Snapshot;
use crate::probes::{blame, disk, lives, network, own, runqueue, stuck, syscalls};

/// The smallest screen that shows anything.
const SMALLEST: (u16, u16) = (20, 5);
/// From these heights on there is a footer, and tabs.
const FOOTER_FROM: u16 = 8;
const TABS_FROM: u16 = 7;
/// Below this width the header has no words for its state, so that the clock, the cost and the losses stay.
const SHORT: u16 = 48;

/// Draws everything.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buf = frame.buffer_mut();
    buf.set_style(area, app.theme.text);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return note(buf, area, "kscope needs 20x5", &app.theme);
    }
    let row = |y: u16| Rect { y, height: 1, ..area };
    let mut body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    header(app, row(area.y), buf);
    if area.height >= TABS_FROM {
        tabs(app, row(body.y), buf);
        (body.y, body.height) = (body.y + 1, body.height - 1);
    }
    let says = app.message.is_some() || matches!(app.overlay, Some(Overlay::Prompt(..)));
    if says || area.height >= FOOTER_FROM {
        body.height -= 1;
        footer(app, row(body.bottom()), buf);
    }
    view(app, body, buf);
    if let Some(Overlay::Help(scroll)) = &app.overlay {
        help::draw(app, scroll, body, buf);
    }
    if let Some(Overlay::Columns(cursor)) = app.overlay {
        everything::draw_chooser(&app.lists.everything.arrangement, cursor, &app.theme, body, buf);
    }
    if let Some(Overlay::Commands(scroll)) = &app.overlay {
        commands_view::draw(app, scroll, body, buf);
    }
}

fn view(app: &App, area: Rect, buf: &mut Buffer) {
    let history = app.history();
    let Some(tick) = history.latest() else {
        return note(buf, area, &format!("measuring… first numbers in {}", interval_text(app)), &app.theme);
    };
    let ctx = Ctx {
        theme: &app.theme,
        history,
        tick,
        look: &app.look,
        table: app.tables.of(app.table()),
        lists: &app.lists,
        place: app.place(),
        selected: app.selected(),
        verdicts: (app.verdicts(), app.verdict),
        absent: app.absent(),
        wide: Ctx::is_wide(area.width),
        qualities: ctx::worth(&tick.snapshot),
    };
    if let Some(page) = &app.page {
        return page::draw(page, app.view.title(), &ctx, area, buf);
    }
    match app.view {
        View::Overview => overview::draw(&ctx, area, buf),
        View::Syscalls => syscalls::view::draw(&ctx, area, buf),
        View::Scheduler if app.place().is_blame() => blame::view::draw(&ctx, area, buf),
        View::Scheduler => runqueue::view::draw(&ctx, area, buf),
        View::Network => network::view::draw(&ctx, area, buf),
        View::Stuck => stuck::view::draw(&ctx, area, buf),
        View::Processes => match ctx.place {
            Place::Dead => lives::view::draw(&ctx, area, buf),
            Place::Ends(group) => lives::view::draw_latest(group, &ctx, area, buf),
            _ => everything::draw(&ctx, area, buf),
        },
        View::Disk => disk::view::draw(&ctx, area, buf),
        View::Own | View::Page => own::view::draw(&ctx, area, buf),
    }
}

/// A piece of a line; the highest rank is left out first, rank 0 never.
struct Piece {
    text: String,
    style: Style,
    rank: u8,
}

fn piece(text: impl Into<String>, style: Style, rank: u8) -> Piece {
    Piece { text: text.into(), style, rank }
}

/// Puts groups of pieces at the left, in the middle and at the right of a line.
fn spread(mut groups: [Vec<Piece>; 3], area: Rect, separator: Style, buf: &mut Buffer) {
    let wide = |group: &[Piece]| {
        let texts: u16 = group.iter().map(|p| width(&p.text)).sum();
        texts + 3 * u16::try_from(group.len().saturating_sub(1)).unwrap_or(0)
    };
    let needs = |groups: &[Vec<Piece>; 3]| {
        let used: Vec<u16> = groups.iter().map(|g| wide(g)).filter(|w| *w > 0).collect();
        used.iter().sum::<u16>() + 2 * u16::try_from(used.len().saturating_sub(1)).unwrap_or(0) + 2
    };
    while needs(&groups) > area.width {
        let all = groups.iter().flatten().map(|p| p.rank);
        let Some(worst) = all.max().filter(|rank| *rank > 0) else { break };
        for group in &mut groups {
            group.retain(|p| p.rank != worst);
        }
    }
    let [left, middle, right] = &groups;
    let (left_end, right_start) = (area.x + 1 + wide(left), area.right().saturating_sub(1 + wide(right)));
    let centred = area.x + area.width.saturating_sub(wide(middle)) / 2;
    let gap = if wide(left) > 0 { 2 } else { 0 };
    let middle_start = centred.min(right_start.saturating_sub(2 + wide(middle))).max(left_end + gap);
    for (group, start) in [(left, area.x + 1), (middle, middle_start), (right, right_start.max(area.x + 1))] {
        let mut x = start;
        for (at, piece) in group.iter().enumerate() {
            if at > 0 {
                x += put(buf, x, area.y, " · ", area.right().saturating_sub(x), separator);
            }
            x += put(buf, x, area.y, &piece.text, area.right().saturating_sub(x), piece.style);
        }
    }
}

fn header(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let (paused, live) = if area.width < SHORT { ("", "") } else { ("paused ", "live ") };
    let state = match app.frozen_for() {
        Some(old) if old < 0.1 => piece("■ paused", theme.warn, 0),
        Some(old) => piece(format!("■ {paused}{} old", units::age(seconds_ns(old))), theme.warn, 0),
        None => piece(format!("● {live}{}", interval_text(app)), theme.good, 0),
    };
    let Some(tick) = app.history().latest() else {
        return spread([vec![piece("kscope", theme.title, 0)], vec![state], vec![]], area, theme.dim, buf);
    };
    let snapshot = tick.snapshot.as_ref();
    let host = &snapshot.host;
    let left = vec![
        piece("kscope", theme.title, 3),
        piece(units::printable(&host.name).into_owned(), theme.text, 4),
        piece(units::printable(&host.kernel).into_owned(), theme.dim, 6),
        piece(format!("{} cpu", host.cpus), theme.dim, 8),
        piece(format!("up {}", units::age(host.uptime_s.saturating_mul(1_000_000_000))), theme.dim, 9),
    ];
    let mut middle = vec![state, piece(clock(snapshot.unix_s, app.utc_offset_s), theme.text, 1)];
    middle.extend(late(app, snapshot).map(|text| piece(text, theme.warn, 0)));
    let percent = if area.width < SHORT { units::percent } else { units::fine_percent };
    let (cost, lost) = self_use(app, snapshot, percent);
    let right = vec![
        piece(format!("load {:.1}", host.load), theme.text, 5),
        piece(format!("{} processes", snapshot.processes.len()), theme.dim, 7),
        cost,
        lost,
    ];
    spread([left, middle, right], area, theme.dim, buf);
}

/// What kscope itself costs and loses.
fn self_use(app: &App, snapshot: &Snapshot, percent: fn(f64) -> String) -> (Piece, Piece) {
    let theme = &app.theme;
    let quality = snapshot.cost().quality;
    let cost = snapshot.cost().of_machine(snapshot.host.cpus);
    let budget = snapshot.sampling.budget;
    let cost_style = if cost >= budget.unwrap_or(COST_WARN) { theme.warn } else { theme.dim };
    let of = budget.map(|budget| format!(" of {}", units::percent(budget))).unwrap_or_default();
    let text = format!("cost {}{of}", cpu_share(quality, Some(cost), percent));
    let lost = snapshot.lost_ever.total().saturating_add(snapshot.programs.missed());
    let lost_style = if lost > 0 { theme.bad } else { theme.dim };
    (
        piece(text, cost_style, 2),
        piece(format!("lost {}", units::count(lost)), lost_style, if lost > 0 { 0 } else { 2 }),
    )
}

/// An interval that took this many times as long as asked for is said to be late: kscope was stopped, or not let run.
const LATE: f64 = 2.0;

/// How long the interval was, if it was much longer than asked for. Rates are over what it was.
fn late(app: &App, snapshot: &Snapshot) -> Option<String> {
    let is_late = snapshot.seconds() > app.interval.as_secs_f64() * LATE;
    is_late.then(|| format!("▲ late: over {}", units::age(snapshot.interval_ns)))
}

fn interval_text(app: &App) -> String {
    let text = format!("{:.1}", app.interval.as_secs_f64());
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Time of day, from seconds since 1970 and the offset from UTC.
fn clock(unix_s: f64, utc_offset_s: i32) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a float that is too large saturates")]
    let seconds = ((unix_s as i64).saturating_add(i64::from(utc_offset_s))).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn tabs(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let mut right: Vec<Span<'_>> = Vec::new();
    let text = &app.tables.of(app.table()).text;
    if !text.is_empty() {
        right.push(Span::styled(format!("rows “{}”  ", units::printable(text)), theme.accent));
    }
    if app.history().latest().is_some_and(|tick| !tick.snapshot.sampling.is_all()) {
        right.push(Span::styled("≈ sampled: 9 says what  ", theme.warn));
    }
    if app.history().latest().is_some_and(|tick| tick.snapshot.basis.is_procfs()) {
        right.push(Span::styled("/proc only: 9 says why  ", theme.warn));
    }
    if let Some(text) = measured_only(app) {
        right.push(Span::styled(text, theme.warn));
    }
    let filter = app.look.filter.to_string();
    right.push(Span::styled("filter ", theme.dim));
    right.push(Span::styled(filter, if app.look.filter.is_empty() { theme.dim } else { theme.accent }));
    let right = Line::from(right);
    let full: u16 = View::ALL.iter().map(|v| width(v.title()) + 5).sum();
    let need = u16::try_from(right.width()).unwrap_or(u16::MAX).saturating_add(2);
    let all_titles = full.saturating_add(need) <= area.width;
    let mut x = area.x + 1;
    for view in View::ALL {
        let active = view == app.view;
        let title = if all_titles || active {
            format!(" {} {} ", view.digit(), view.title())
        } else {
            format!(" {} ", view.digit())
        };
        let style = if active { theme.header } else { theme.dim };
        x += put(buf, x, area.y, &title, area.right().saturating_sub(x), style) + u16::from(all_titles);
    }
    // The filter must be seen: it may cover tabs, never the other way round.
    let start = area.right().saturating_sub(need).max(area.x);
    let place = Rect { x: start + 1, width: area.right() - start - 1, ..area };
    if start < x {
        buf.set_style(place, theme.text);
        put(buf, start, area.y, &" ".repeat(usize::from(need)), need, theme.text);
    }
    right.render(place, buf);
}

/// What is measured at all, when that is not everything.
fn measured_only(app: &App) -> Option<String> {
    let only = &app.history().latest()?.snapshot.only;
    match only.len() {
        0 => None,
        1..=3 => Some(format!("only {}  ", only.iter().map(u32::to_string).collect::<Vec<_>>().join(","))),
        more => Some(format!("only {more} pids  ")),
    }
}

fn footer(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = &app.theme;
    let room = |x: u16| area.right().saturating_sub(x);
    if let Some(Overlay::Prompt(_, prompt)) = &app.overlay {
        let line = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        return PromptLine { prompt, theme }.render(line, buf);
    }
    if let Some(message) = &app.message {
        let style = if message.bad { theme.warn } else { theme.dim };
        put(buf, area.x + 1, area.y, &message.text, room(area.x + 2), style);
        return;
    }
    let words: Vec<(&str, &str)> = keys::of(app.context())
        .filter(|key| app.place().has(key.action))
        .filter_map(|key| {
            let within = app.place() != Place::First && key.action == Action::Enter;
            let word = |word| match (key.action, app.place()) {
                (Action::Enter, Place::Dead) => "latest",
                (Action::Go(Place::Dead), Place::Dead | Place::Ends(_)) => "back",
                _ if within => "process",
                _ => word,
            };
            key.footer.map(|footer| (key.label, word(footer)))
        })
        .collect();
    // The way out and the help stay whatever the width.
    let last = words.len().saturating_sub(2);
    let wide = |(label, word): (&str, &str)| width(label) + width(word) + 3;
    let mut left = area.width.saturating_sub(words[last..].iter().map(|w| wide(*w)).sum());
    let mut x = area.x + 1;
    for (at, (label, word)) in words.iter().copied().enumerate() {
        if at < last {
            if wide((label, word)) >= left {
                left = 0;
                continue;
            }
            left -= wide((label, word));
        }
        x += put(buf, x, area.y, label, room(x), theme.key) + 1;
        x += put(buf, x, area.y, word, room(x), theme.dim) + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_turns_round_at_midnight_and_before_1970() {
        assert_eq!(clock(1_772_373_751.9, 0), "14:02:31");
        assert_eq!(clock(1_772_373_751.0, 3600 * 10), "00:02:31");
        assert_eq!(clock(-1.0, 0), "23:59:59");
        assert_eq!(clock(f64::NAN, 0), "00:00:00");
    }
}
