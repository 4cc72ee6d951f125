//! Blame: who waited for a CPU, and whose time it was. A place in Scheduler.
//!
//! ```text
//!  ╭ Scheduler › who ran while others waited ─────────╮╭ nginx waited 2.31 s ──────────────────────────────╮
//!  │   PID  WHO        waited ▾  why       most for   ││ ▇▇▇▇▇▇▇▇▇▇  78.1 %  1.80 s  others   21077 ffmpeg │
//!  │▸ 8812  nginx       231 %    ▇▇▇▇▇▇▇▇  78 % ffmpeg││ ▇           9.2 %   212 ms  own threads           │
//! ```
//!
//! Invariant: what is drawn of a victim adds up to its wait, the unknown part included.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::stats::{Cause, Part};
use crate::core::units;
use crate::model::{BlameStats, ProbeState, Snapshot};
use crate::ui::charts::bar;
use crate::ui::columns::{VICTIMS, look_of};
use crate::ui::ctx::Ctx;
use crate::ui::listing;
use crate::ui::place::Place;
use crate::ui::victims::{Party, VictimRow};
use crate::ui::widgets::pane::{note, pane};
use crate::ui::widgets::text::{put, put_right};

/// From this width on the parts stand beside the table, from this height on below it.
const BESIDE_FROM: u16 = 100;
const BELOW_FROM: u16 = 14;
/// Columns of a bar.
const BAR: u16 = 10;

/// Draws the place.
pub fn draw(ctx: &Ctx<'_>, area: Rect, buf: &mut Buffer) {
    let failed = failed(ctx.snapshot());
    let stats = ctx.snapshot().blame.as_ref().filter(|_| failed.is_none());
    let rows = if stats.is_some() { &ctx.lists.victims[..] } else { &[] };
    let selected = stats.zip(rows.get(ctx.table.cursor.index()));
    let [table, detail] = match selected {
        Some(_) if area.width >= BESIDE_FROM => {
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area)
        }
        Some(_) if area.height >= BELOW_FROM => {
            Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(area)
        }
        _ => [area, Rect::default()],
    };
    let empty = match (failed, stats) {
        (Some(sentence), _) => sentence,
        (None, Some(stats)) if stats.blame.measured_ns.saturating_mul(2) > ctx.snapshot().interval_ns => {
            ctx.nobody("No wait for a CPU ended.")
        }
        (None, _) => format!("Measuring who runs while others wait for a CPU… {COST}"),
    };
    let (by, other) = match ctx.place {
        Place::BlameByGroup => ("by control group", "by process"),
        _ => ("by process", "by control group"),
    };
    let block = pane("Scheduler › who ran while others waited", by, true, ctx.theme)
        .title_bottom(Line::styled(format!(" {other} (g) · ~1 µs a switch "), ctx.theme.dim));
    listing::draw(ctx, table, buf, block, (VICTIMS, rows, &empty));
    if let Some((stats, row)) = selected.filter(|_| !detail.is_empty()) {
        parts(ctx, (stats, row), detail, buf);
    }
}

const COST: &str =
    "It is on only while this is shown: each switch takes about 1 µs longer, each interrupt about half of that.";

/// Why it is not measured, and what to do.
fn failed(snapshot: &Snapshot) -> Option<String> {
    snapshot.probes.iter().filter(|probe| probe.name.starts_with("blame_")).find_map(|probe| match &probe.state {
        ProbeState::Failed { reason, advice } => Some(format!("{reason} {advice}")),
        ProbeState::Running | ProbeState::Idle => None,
    })
}

/// The parts of one victim's wait, the largest first.
fn parts(ctx: &Ctx<'_>, (stats, row): (&BlameStats, &VictimRow), area: Rect, buf: &mut Buffer) {
    let victim = &row.victim;
    let mark = ctx.qualities.blame.mark();
    let title = format!("Who ran while {} waited", units::printable(&row.short));
    let value = format!("{mark}{}", units::duration(victim.wait_ns));
    let block = pane(&title, &value, false, ctx.theme).title_bottom(below(ctx, stats, row));
    let inner = block.inner(area);
    block.render(area, buf);
    let lines = usize::from(inner.height);
    let fits = if victim.parts.len() > lines { lines.saturating_sub(1) } else { lines };
    let (shown, rest) = victim.parts.split_at(fits.min(victim.parts.len()));
    for (part, y) in shown.iter().zip(inner.top()..) {
        line(ctx, part, (victim.wait_ns, stats), Rect { y, height: 1, ..inner }, buf);
    }
    if !rest.is_empty() {
        let ns = rest.iter().map(|part| part.ns).fold(0, u64::saturating_add);
        let text = format!("{} more, {mark}{} in all", rest.len(), units::duration(ns));
        note(buf, Rect { y: inner.bottom().saturating_sub(1), height: 1, ..inner }, &text, ctx.theme);
    }
}

/// Bar, share, time, and who ran, or what kept it from running otherwise.
fn line(ctx: &Ctx<'_>, part: &Part<Party>, (whole_ns, stats): (u64, &BlameStats), area: Rect, buf: &mut Buffer) {
    let share = part.ns as f64 / whole_ns.max(1) as f64;
    let (style, sign) = look_of(part.cause, ctx.theme);
    let bar = bar(share, BAR);
    let bar = if ctx.theme.mono { bar.replace('▇', &sign.to_string()) } else { bar };
    let (name, more) = match &part.offender {
        Some(Party::Process(id)) => {
            let group = stats.ident(*id).map(|ident| ident.cgroup.as_str()).filter(|group| *group != "/");
            (format!("{} {}", id.pid, Party::Process(*id).name(stats)), group.unwrap_or_default())
        }
        Some(group) => (group.name(stats), ""),
        None => (part.cause.name().to_owned(), meaning(part.cause)),
    };
    let name_style = if part.offender.is_some() { ctx.theme.text } else { style };
    let (y, mut x) = (area.y, area.x + 1);
    put(buf, x, y, &bar, BAR, style);
    put_right(buf, x + BAR, y, &units::percent(share), 7, ctx.theme.text);
    put_right(buf, x + BAR + 7, y, &units::duration(part.ns), 9, ctx.theme.text);
    x += BAR + 18;
    x += put(buf, x, y, &name, area.right().saturating_sub(x + 1), name_style) + 2;
    put(buf, x, y, more, area.right().saturating_sub(x + 1), ctx.theme.dim);
}

const fn meaning(cause: Cause) -> &'static str {
    match cause {
        Cause::Others => "other processes",
        Cause::OwnThreads => "of the same process",
        Cause::Interrupts => "hard and soft",
        Cause::Steal => "a hypervisor had the CPU",
        Cause::Throttled => "its quota was used up",
        Cause::Idle => "the CPU had to wake up",
        Cause::Unknown => "too long ago, or not seen",
    }
}

/// What stands beside the sum, and what this kernel does not tell apart.
fn below(ctx: &Ctx<'_>, stats: &BlameStats, row: &VictimRow) -> Line<'static> {
    let tells = stats.blame.tells;
    let mut said = Vec::new();
    if row.victim.elsewhere_ns > 0 {
        let part = units::duration(row.victim.elsewhere_ns);
        said.push(format!("another CPU it may use was idle ≥{part} of it"));
    }
    match (tells.throttled, tells.steal) {
        (false, false) => said.push("quotas and steal are not told apart here".into()),
        (false, true) => said.push("quotas are not told apart here".into()),
        (true, false) => said.push("steal is not told apart here".into()),
        (true, true) => {}
    }
    let text = if said.is_empty() { String::new() } else { format!(" {} ", said.join(" · ")) };
    Line::styled(text, ctx.theme.dim)
}
