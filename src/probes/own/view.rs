//! Self: what kscope costs, program by program and map by map, and what it does not see.
//!
//! Filters do not apply: it is about kscope, not about the processes it shows.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Sparkline, Widget};

use super::stats::{Counting, MapUse};
use crate::core::quality::Quality;
use crate::core::units::{self, fine_percent};
use crate::model::{Basis, ProbeState};
use crate::ui::app::seconds_ns;
use crate::ui::charts::bar;
use crate::ui::columns::PROGRAMS;
use crate::ui::ctx::{Ctx, cpu_share};
use crate::ui::history::{BUDGET, Tick};
use crate::ui::listing;
use crate::ui::widgets::pane::{fitting, note, pane, wrap};
use crate::ui::widgets::spark::spark;
use crate::ui::widgets::text::{put, put_right, width};

/// Below these, only the table is left.
const TOP_FROM: (u16, u16) = (60, 17);
/// Cost: six lines and a frame.
const TOP: u16 = 8;
/// A few programs, a head, a frame.
const TABLE: u16 = 11;
/// From this height on each map has a line.
const TALL: u16 = 40;
/// Below this height, text at the bottom is worth less than rows.
const TEXT: u16 = 5;
/// Least height of the course of the cost.
const COURSE: u16 = 6;

/// Draws the view.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    if area.width < TOP_FROM.0 || area.height < TOP_FROM.1 {
        return small(ctx, area, buf);
    }
    let sentences = sentences(ctx, area.width.saturating_sub(6));
    let lines: usize = sentences.iter().map(|(lines, _)| lines.len()).sum();
    let needs = u16::try_from(lines + 2).unwrap_or(u16::MAX);
    let maps_need = u16::try_from(ctx.snapshot().maps.len() + 3).unwrap_or(u16::MAX);
    let top = if area.height >= TALL { maps_need.clamp(TOP, area.height / 3) } else { TOP };
    // That numbers are sampled, and how, is worth more than rows.
    let urgent = !ctx.snapshot().sampling.is_all();
    let (chart, text) = match area.height.saturating_sub(top + TABLE) {
        ..TEXT if urgent => (0, needs.min(TEXT)),
        ..TEXT => (0, 0),
        spare if spare >= needs.saturating_add(COURSE) => (spare - needs, needs),
        spare => (0, spare),
    };
    let heights = [Constraint::Length(top), Constraint::Fill(1), Constraint::Length(chart), Constraint::Length(text)];
    let [above, table, middle, below] = Layout::vertical(heights).areas(area);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(above);
    cost(ctx, left, buf);
    maps(ctx, right, buf);
    programs(ctx, table, buf);
    if chart > 0 {
        course(ctx, middle, buf);
    }
    if text > 0 {
        unseen(ctx, below, buf, &sentences);
    }
}

/// The table alone, and why it has no numbers.
fn small(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let reason = match &ctx.snapshot().programs.counting {
        Counting::Denied(reason) if area.height > 6 => wrap(reason, area.width.saturating_sub(2)),
        _ => Vec::new(),
    };
    let lines = u16::try_from(reason.len()).unwrap_or(0).min(3);
    let [table, below] = Layout::vertical([Constraint::Fill(1), Constraint::Length(lines)]).areas(area);
    programs(ctx, table, buf);
    for (line, y) in reason.iter().zip(below.top()..below.bottom()) {
        put(buf, below.x + 1, y, line, below.width.saturating_sub(1), ctx.theme.warn);
    }
}

fn cost(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let (theme, snapshot) = (ctx.theme, ctx.snapshot());
    let (cost, cpus) = (snapshot.cost(), snapshot.host.cpus);
    let value = format!("{} of the machine", cpu_share(cost.quality, Some(cost.of_machine(cpus)), fine_percent));
    let value = fitting("Cost", &value, area);
    let history = format!(
        " history {}, {:.0} % of {} ",
        units::age(seconds_ns(ctx.history.span_s())),
        100.0 * ctx.history.weight() as f64 / BUDGET as f64,
        units::bytes(BUDGET as f64)
    );
    let mut block = pane("Cost", value, false, theme);
    if width(&history) + 4 <= area.width {
        block = block.title_bottom(Line::styled(history, theme.dim).right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
    let line = |buf: &mut Buffer, at: u16, label: &str, (one, all): (&str, &str), style: Style| {
        let y = inner.y + at;
        if y >= inner.bottom() {
            return;
        }
        put(buf, inner.x + 1, y, label, LABEL, theme.dim);
        put_right(buf, inner.x + 1 + LABEL, y, one, NUMBER, style);
        put_right(buf, inner.x + 1 + LABEL + NUMBER, y, all, NUMBER, style);
    };
    let all = |share: f64| share / f64::from(cpus.max(1));
    line(buf, 0, "", ("of a CPU", &format!("of {cpus} CPUs")), theme.dim);
    let user = [cost.user, all(cost.user)].map(|share| cpu_share(Quality::Exact, Some(share), fine_percent));
    line(buf, 1, "user space", (&user[0], &user[1]), theme.text);
    let counted = snapshot.programs.counting.quality();
    let mine = [cost.programs, cost.programs.map(all)].map(|share| cpu_share(counted, share, fine_percent));
    line(buf, 2, "programs", (&mine[0], &mine[1]), theme.text);
    let both =
        [cost.of_one_cpu(), cost.of_machine(cpus)].map(|share| cpu_share(cost.quality, Some(share), fine_percent));
    line(buf, 3, "together", (&both[0], &both[1]), ctx.cost_style(snapshot));
    let kernel = snapshot.maps.iter().map(|map| map.bytes).sum::<u64>() as f64;
    line(buf, 4, "memory", (&units::bytes(snapshot.own.rss_bytes as f64), ""), theme.text);
    line(buf, 5, "a sample", (&units::duration(snapshot.own.read_ns), ""), theme.text);
    let beside = inner.x + 1 + LABEL + NUMBER + 2;
    let room = inner.right().saturating_sub(beside);
    let in_maps = format!("+ {} maps", units::bytes(kernel));
    // The title of the maps says it too.
    if width(&in_maps) <= room {
        put(buf, beside, inner.y + 4, &in_maps, room, theme.dim);
    }
    let spread = format!("to read, its counters within {}", units::duration(snapshot.own.spread_ns));
    let to_read = if width(&spread) <= room { &spread } else { "to read" };
    put(buf, beside, inner.y + 5, to_read, room, theme.dim);
    let x = inner.x + 1 + LABEL + 2 * NUMBER + 2;
    let wide = inner.right().saturating_sub(x + 1);
    if wide >= 8 {
        let course = |buf: &mut Buffer, at: u16, number: &dyn Fn(&Tick) -> Option<f64>| {
            let values: Vec<Option<f64>> = ctx.history.last(usize::from(wide)).map(number).collect();
            let top = values.iter().flatten().copied().fold(0.0, f64::max) * 8.0 / 7.0;
            let text = spark(values.into_iter(), usize::from(wide), Some(top));
            put(buf, x, inner.y + at, &text, wide, theme.dim);
        };
        course(buf, 1, &|tick| Some(tick.snapshot.cost().user));
        course(buf, 2, &|tick| tick.snapshot.cost().programs);
        course(buf, 3, &|tick| Some(tick.snapshot.cost().of_one_cpu()));
    }
}

/// Columns of a label and of a number of the costs.
const LABEL: u16 = 11;
const NUMBER: u16 = 11;

fn maps(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let maps = &ctx.snapshot().maps;
    let bytes: u64 = maps.iter().map(|map| map.bytes).sum();
    let value = format!("{} of kernel memory", units::bytes(bytes as f64));
    let block = pane("Maps", fitting("Maps", &value, area), false, theme);
    let inner = block.inner(area);
    block.render(area, buf);
    if maps.is_empty() {
        let why =
            if ctx.is_procfs() { "No program runs, so there is none." } else { "How full they are is not known." };
        return note(buf, inner, why, theme);
    }
    // Name, entries, room for, memory; then what is dropped, a bar, and what an entry is, as far as there is room.
    let row = |buf: &mut Buffer, y: u16, cells: [&str; 7], style: Style, dropped: Style| {
        let mut x = inner.x + 1;
        for (at, (text, (wide, right))) in cells.into_iter().zip(MAP_COLUMNS).enumerate() {
            if x + wide > inner.right() {
                return;
            }
            let style = if at == 4 { dropped } else { style };
            if right {
                put_right(buf, x, y, text, wide, style);
            } else {
                put(buf, x, y, text, wide, style);
            }
            x += wide + 1;
        }
    };
    let head = ["MAP", "used", "of", "memory", "dropped", "fill", "an entry is"];
    row(buf, inner.y, head, theme.dim, theme.dim);
    // Where there is no room for all, those that dropped something come first.
    let mut order: Vec<&MapUse> = maps.iter().collect();
    let room = usize::from(inner.height.saturating_sub(1));
    if order.len() > room {
        order.sort_by_key(|map| map.dropped.is_none_or(|n| n == 0));
        let rest = &order[room.saturating_sub(1)..];
        let bytes: u64 = rest.iter().map(|map| map.bytes).sum();
        let text = format!("and {} more, {}", rest.len(), units::bytes(bytes as f64));
        put(buf, inner.x + 1, inner.bottom().saturating_sub(1), &text, inner.width.saturating_sub(2), theme.dim);
        order.truncate(room.saturating_sub(1));
    }
    for (map, y) in order.into_iter().zip(inner.y + 1..inner.bottom()) {
        let dropped = map.dropped.map_or_else(String::new, units::count);
        let cells = [
            map.name,
            &units::count(map.used),
            &units::count(map.max),
            &units::bytes(map.bytes as f64),
            &dropped,
            &bar(fill(map), 8),
            map.holds,
        ];
        let style = if map.dropped.is_some_and(|n| n > 0) { theme.bad } else { theme.dim };
        row(buf, y, cells, theme.text, style);
    }
}

/// Widths of the columns of maps, and whether they stand right.
const MAP_COLUMNS: [(u16, bool); 7] =
    [(12, false), (6, true), (6, true), (8, true), (7, true), (8, false), (17, false)];

fn fill(map: &MapUse) -> f64 {
    map.used as f64 / map.max.max(1) as f64
}

fn programs(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let stats = &ctx.snapshot().programs;
    let value = match stats.all() {
        Some(all) => format!("{} of a CPU", cpu_share(stats.counting.quality(), Some(all), fine_percent)),
        None => units::DASH.to_owned(),
    };
    let (how, style) = match &stats.counting {
        Counting::Off => ("runs are not counted".to_owned(), theme.dim),
        Counting::Waiting => ("runs are being counted for the first time".to_owned(), theme.dim),
        Counting::Denied(reason) => (reason.to_string(), theme.warn),
        Counting::Windows => {
            (format!("~ as counted in the last window of {}", units::duration(stats.over_ns)), theme.dim)
        }
        Counting::Always => ("every run is counted".to_owned(), theme.dim),
    };
    let mut block = pane("Programs", &value, true, theme);
    // A sentence that would be cut is whole at the bottom of the screen.
    if width(&how) + 14 <= area.width {
        block = block.title_bottom(Line::styled(format!(" {how} "), style));
    }
    listing::draw(ctx, area, buf, block, (PROGRAMS, &ctx.lists.programs[..], &ctx.nobody("There are no programs.")));
}

/// What cost was in the last intervals.
fn course(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let (cpus, quality) = (ctx.snapshot().host.cpus, ctx.snapshot().cost().quality);
    let values = ctx.history.series(usize::from(area.width.saturating_sub(2)), |tick| {
        tick.snapshot.cost().of_machine(tick.snapshot.host.cpus)
    });
    let most = values.iter().copied().fold(0.0, f64::max);
    let value = format!("highest {} of {cpus} CPUs", cpu_share(quality, Some(most), fine_percent));
    let block = pane("Cost over time", fitting("Cost over time", &value, area), false, ctx.theme);
    let inner = block.inner(area);
    block.render(area, buf);
    // Parts of a million.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are small and not negative")]
    let data: Vec<u64> = values.into_iter().map(|share| (share * 1e6) as u64).collect();
    let top = data.iter().copied().max().unwrap_or(0).saturating_mul(5) / 4;
    Sparkline::default().data(data).max(top).style(ctx.theme.dim).render(inner, buf);
}

/// What the numbers leave out, failures first, in lines of at most `room` columns.
fn sentences(ctx: &Ctx<'_>, room: u16) -> Vec<(Vec<String>, Style)> {
    let theme = ctx.theme;
    // One reason holds for all of them.
    let procfs = match &ctx.snapshot().basis {
        Basis::Programs => None,
        Basis::Procfs { reason, advice } => Some(format!("{reason} Only /proc is read. {advice}")),
    };
    let failed = ctx.snapshot().probes.iter().filter_map(|probe| match &probe.state {
        ProbeState::Running | ProbeState::Idle => None,
        ProbeState::Failed { reason, .. } if procfs.as_ref().is_some_and(|all| all.starts_with(reason)) => None,
        ProbeState::Failed { reason, advice } => Some(format!("{}: {reason} {advice}", probe.name)),
    });
    let denied = match &ctx.snapshot().programs.counting {
        Counting::Denied(reason) => Some(reason.to_string()),
        _ => None,
    };
    let snapshot = ctx.snapshot();
    let sampled =
        snapshot.sampling.sentences(snapshot.interval_ns).map(|(_, text)| format!("To keep the budget, {text}."));
    let notes = snapshot.notes.iter().cloned();
    let wrong =
        procfs.iter().cloned().chain(failed).chain(denied).chain(sampled).chain(notes).map(|text| (text, theme.warn));
    let left_out = if procfs.is_some() { &PROCFS_LEAVES_OUT[..] } else { &LEFT_OUT[..] };
    let known = left_out.iter().map(|text| ((*text).to_owned(), theme.text));
    wrong.chain(known).map(|(text, style)| (wrap(&units::printable(&text), room), style)).collect()
}

fn unseen(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer, sentences: &[(Vec<String>, Style)]) {
    let block = pane("Not seen, and not quite", "", false, ctx.theme);
    let inner = block.inner(area);
    block.render(area, buf);
    let mut y = inner.y;
    for (lines, style) in sentences {
        // Half a sentence is none.
        if y.saturating_add(u16::try_from(lines.len()).unwrap_or(u16::MAX)) > inner.bottom() {
            return;
        }
        put(buf, inner.x + 1, y, "·", 1, ctx.theme.dim);
        for line in lines {
            put(buf, inner.x + 3, y, line, inner.width.saturating_sub(4), *style);
            y += 1;
        }
    }
}

const PROCFS_LEAVES_OUT: [&str; 4] = [
    "User and kernel time are told apart in steps of 10 ms; their sum is that of the scheduler.",
    "A wait for a CPU counts when it ends. Waits of threads that ended since the last sample are lost.",
    "Processes that began and ended between two samples are not seen.",
    "Bytes of block devices are told of the user's own processes only, and not of what the page cache held back.",
];

const LEFT_OUT: [&str; 6] = [
    "The time of a run is measured by the kernel around the program. The dispatch of its hook comes on top, one reading of \
     the clock is within.",
    "Counting makes each run dearer by two readings of the clock, for every BPF program of the host: so it is on for 1 % of \
     the time only, and what happens in between is an estimate.",
    "A miss is an event that came while the same program was at work on that CPU: no number contains it.",
    "kscope's own system calls are in no call and no distribution. Its CPU time and its bytes are.",
    "Network: bytes received by splice and by TCP zero-copy, and those of the kernel's own sockets.",
    "What threads did before kscope was started.",
];
