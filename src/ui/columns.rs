//! The columns of every table: title, width, order and look of each, in one list a table.
//!
//! Not here: which rows there are (`rows.rs`) or where the table is drawn (the views).
//!
//! Invariant: rows that compare equal stand in the order of their identity, so that nothing moves without a reason.

mod blame;
mod connections;
mod dead;
mod disk;
mod errors;
mod everything;
mod exemplars;
mod order;
mod programs;
mod stuck;
mod threads;

use ratatui::style::Style;
use ratatui::text::Span;

pub use self::blame::{VICTIMS, look_of};
pub use self::connections::CONNECTIONS;
pub use self::dead::{ENDS, GROUPS};
pub use self::disk::{DISK_USERS, DISKS};
pub use self::errors::ERRORS;
pub use self::everything::{EVERYTHING, SHOWN_AT_FIRST, chosen};
pub use self::exemplars::EXEMPLARS;
pub use self::order::{Columns, sort};
pub use self::programs::PROGRAMS;
pub use self::stuck::{AGE_BAD_NS, AGE_WARN_NS, STUCK};
pub use self::threads::THREADS;
use super::charts::bar;
use super::ctx::Ctx;
use super::history::Tick;
use super::processes::ProcessRow;
use super::rows::{CallRow, Digest};
use super::tables::TableId;
use super::widgets::bar::StackedBar;
use super::widgets::spark::spark;
use super::widgets::table::{Cell, Width};
use crate::core::quality::Quality;
use crate::core::units::{self, DASH};
use crate::probes::syscalls::names::name;

/// What rows are sorted by. What is not known is last, whatever the order.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// A number.
    Number(Option<f64>),
    /// A text.
    Text(&'a str),
}

/// A column.
pub struct Column<R: 'static> {
    /// Its title.
    pub title: &'static str,
    /// Its width.
    pub width: Width,
    /// Numbers stand right, texts left.
    pub right: bool,
    /// How long it stays when room runs out: 0 stays always, then 1, 2, …
    pub rank: u8,
    /// What it sorts by; `None` for pictures.
    pub key: Option<for<'a> fn(&'a R) -> Key<'a>>,
    /// What it shows.
    pub cell: fn(&R, &Ctx<'_>) -> Cell<'static>,
}

impl<R> Column<R> {
    const fn number(
        title: &'static str,
        width: u16,
        rank: u8,
        key: for<'a> fn(&'a R) -> Key<'a>,
        cell: fn(&R, &Ctx<'_>) -> Cell<'static>,
    ) -> Self {
        Self { title, width: Width::Fixed(width), right: true, rank, key: Some(key), cell }
    }

    const fn text(
        title: &'static str,
        width: u16,
        rank: u8,
        key: for<'a> fn(&'a R) -> Key<'a>,
        cell: fn(&R, &Ctx<'_>) -> Cell<'static>,
    ) -> Self {
        Self { title, width: Width::Fixed(width), right: false, rank, key: Some(key), cell }
    }

    const fn picture(title: &'static str, width: u16, rank: u8, cell: fn(&R, &Ctx<'_>) -> Cell<'static>) -> Self {
        Self { title, width: Width::Fixed(width), right: false, rank, key: None, cell }
    }
}

/// Sparklines in tables look back this many intervals.
const TREND: u16 = 12;
const WALL: u16 = 15;

const PID: Column<ProcessRow> = Column::number(
    "PID",
    7,
    0,
    |r| Key::Number(Some(f64::from(r.process().id.pid))),
    |r, c| cell(r.process().id.pid.to_string(), c.theme.dim),
);

const COMMAND: Column<ProcessRow> = Column {
    title: "COMMAND",
    width: Width::Fill(15),
    right: false,
    rank: 0,
    key: Some(|r| Key::Text(&r.process().ident.comm)),
    cell: command,
};

const USER: Column<ProcessRow> = Column::text(
    "USER",
    9,
    7,
    |r| Key::Text(&r.process().ident.user),
    |r, c| cell(r.process().ident.user.clone(), c.theme.dim),
);

const ON_CPU: Column<ProcessRow> = Column::number(
    "on-cpu",
    7,
    1,
    |r| Key::Number(Some(r.process().time.on_cpu_ns() as f64)),
    |r, c| {
        measured(
            c,
            r.process().quality(on_cpu_quality(c)),
            units::percent(c.per_s(r.process().time.on_cpu_ns()) / 1e9),
            r.process().time.on_cpu_ns() == 0,
        )
    },
);

/// Overview: who is behind it all.
pub const WHO: &[Column<ProcessRow>] = &[
    PID,
    COMMAND,
    Column::number("calls/s", 8, 3, |r| count_key(r.calls()), |r, c| call_rate(r.calls(), c)),
    Column::number("p99 call", 8, 2, |r| ns_key(r.calls().p99), |r, c| call_time(r.calls().p99, c)),
    Column::picture("in", 11, 5, slow_call),
    Column::number("run-q p99", 9, 2, |r| ns_key(r.delay().p99), |r, c| delay(r.delay().p99, c)),
    ON_CPU,
    Column::number(
        "tx/s",
        8,
        4,
        |r| Key::Number(Some(r.process().traffic.tx_bytes as f64)),
        |r, c| bytes(r.process().traffic.tx_bytes, c, c.theme.tx),
    ),
    Column::number(
        "rx/s",
        8,
        4,
        |r| Key::Number(Some(r.process().traffic.rx_bytes as f64)),
        |r, c| bytes(r.process().traffic.rx_bytes, c, c.theme.rx),
    ),
    Column::picture("wall time", WALL, 6, wall),
];

/// Syscalls: the calls.
pub const CALLS: &[Column<CallRow>] = &[
    Column {
        title: "CALL",
        width: Width::Fill(15),
        right: false,
        rank: 0,
        key: Some(|r| Key::Text(&r.name)),
        cell: call_name,
    },
    Column::number("calls/s", 7, 1, |r| count_key(&r.latency), |r, c| call_rate(&r.latency, c)),
    Column::number("err/s", 7, 4, |r| Key::Number(Some(r.latency.errors as f64)), |r, c| errors(&r.latency, c)),
    Column::number("p50", 7, 3, |r| ns_key(r.latency.p50), |r, c| call_time(r.latency.p50, c)),
    Column::number("p90", 7, 7, |r| ns_key(r.latency.p90), |r, c| call_time(r.latency.p90, c)),
    Column::number("p99", 7, 2, |r| ns_key(r.latency.p99), |r, c| call_time(r.latency.p99, c)),
    Column::number("p99.9", 7, 6, |r| ns_key(r.latency.p999), |r, c| call_time(r.latency.p999, c)),
    Column::number("max", 7, 5, |r| ns_key(r.latency.max), |r, c| call_time(r.latency.max, c)),
    Column::number("time", 6, 2, |r| Key::Number(Some(r.latency.total_ns as f64)), |r, c| part(r.share, c)),
    Column::picture("", 6, 8, |r, c| cell(bar(r.share, 6), if r.waits { c.theme.dim } else { c.theme.accent })),
    Column::picture("trend", TREND, 9, |r, c| {
        trend(c, c.theme.dim, |t| Some(t.call(r.nr).map_or(0.0, |l| l.count() as f64) / t.snapshot.seconds()))
    }),
];

/// Syscalls: who makes the selected call.
pub const CALLERS: &[Column<ProcessRow>] = &[
    PID,
    COMMAND,
    Column::number("calls/s", 9, 1, |r| count_key(r.calls()), |r, c| call_rate(r.calls(), c)),
    Column::number("err/s", 8, 4, |r| Key::Number(Some(r.calls().errors as f64)), |r, c| errors(r.calls(), c)),
    Column::number("p50", 7, 3, |r| ns_key(r.calls().p50), |r, c| call_time(r.calls().p50, c)),
    Column::number("p90", 7, 6, |r| ns_key(r.calls().p90), |r, c| call_time(r.calls().p90, c)),
    Column::number("p99", 7, 2, |r| ns_key(r.calls().p99), |r, c| call_time(r.calls().p99, c)),
    Column::number("max", 7, 5, |r| ns_key(r.calls().max), |r, c| call_time(r.calls().max, c)),
    Column::number("time", 7, 2, |r| Key::Number(Some(r.calls().total_ns as f64)), |r, c| part(r.share, c)),
    USER,
];

/// Scheduler: who waits for a CPU.
pub const DELAYED: &[Column<ProcessRow>] = &[
    PID,
    COMMAND,
    Column::number(
        "waits/s",
        9,
        3,
        |r| count_key(r.delay()),
        |r, c| {
            let quality = r.process().quality(c.qualities.runqueue);
            measured(c, quality, plain_rate(c.per_s(r.delay().count)), r.delay().count == 0)
        },
    ),
    Column::number("p50", 7, 4, |r| ns_key(r.delay().p50), |r, c| delay(r.delay().p50, c)),
    Column::number("p99", 7, 2, |r| ns_key(r.delay().p99), |r, c| delay(r.delay().p99, c)),
    Column::number("max", 7, 3, |r| ns_key(r.delay().max), |r, c| delay(r.delay().max, c)),
    Column::number(
        "waited",
        8,
        1,
        |r| Key::Number(Some(r.delay().total_ns as f64)),
        |r, c| {
            measured(
                c,
                r.process().quality(c.qualities.runqueue),
                units::percent(c.per_s(r.delay().total_ns) / 1e9),
                r.delay().total_ns == 0,
            )
        },
    ),
    Column::picture("share", 8, 6, |r, c| cell(bar(r.share, 8), c.theme.runnable)),
    ON_CPU,
    Column::picture("p99 trend", TREND, 7, |r, c| {
        course(c, r, c.theme.runnable, |t| t.runqueue_of(r.process().id)?.quantile(0.99).map(|ns| ns as f64))
    }),
    Column::picture("wall time", WALL, 8, wall),
];

/// Network: who moves bytes.
pub const TALKING: &[Column<ProcessRow>] = &[
    PID,
    COMMAND,
    Column::number(
        "tx/s",
        10,
        2,
        |r| Key::Number(Some(r.process().traffic.tx_bytes as f64)),
        |r, c| bytes(r.process().traffic.tx_bytes, c, c.theme.tx),
    ),
    Column::picture("", TREND, 5, |r, c| {
        course(c, r, c.theme.tx, |t| Some(t.traffic_of(r.process().id)?.tx_bytes as f64 / t.snapshot.seconds()))
    }),
    Column::number(
        "rx/s",
        10,
        2,
        |r| Key::Number(Some(r.process().traffic.rx_bytes as f64)),
        |r, c| bytes(r.process().traffic.rx_bytes, c, c.theme.rx),
    ),
    Column::picture("", TREND, 5, |r, c| {
        course(c, r, c.theme.rx, |t| Some(t.traffic_of(r.process().id)?.rx_bytes as f64 / t.snapshot.seconds()))
    }),
    Column::number(
        "both/s",
        10,
        1,
        |r| Key::Number(Some(r.process().traffic.bytes() as f64)),
        |r, c| bytes(r.process().traffic.bytes(), c, c.theme.text),
    ),
    Column::picture("share", 8, 6, |r, c| cell(bar(r.share, 8), c.theme.accent)),
    Column::number(
        "sends/s",
        9,
        7,
        |r| Key::Number(Some(r.process().traffic.tx_calls as f64)),
        |r, c| transfers(r.process().traffic.tx_calls, c),
    ),
    Column::number(
        "recvs/s",
        9,
        7,
        |r| Key::Number(Some(r.process().traffic.rx_calls as f64)),
        |r, c| transfers(r.process().traffic.rx_calls, c),
    ),
    Column { rank: 8, ..USER },
];

/// The columns of a table of processes.
pub const fn of_processes(id: TableId) -> &'static [Column<ProcessRow>] {
    match id {
        TableId::Callers => CALLERS,
        TableId::Delayed => DELAYED,
        TableId::Talking => TALKING,
        TableId::DiskUsers => DISK_USERS,
        _ => WHO,
    }
}

/// The columns of each table, for what can be asked of columns of any rows, and the title of the one it is first sorted by.
pub const fn of(id: TableId) -> (&'static dyn Columns, &'static str) {
    match id {
        TableId::Who => (&WHO, ON_CPU.title),
        TableId::Everything => (&EVERYTHING, ON_CPU.title),
        TableId::Dead => (&GROUPS, "died"),
        TableId::Ends => (&ENDS, "ago"),
        TableId::Calls => (&CALLS, "time"),
        TableId::Callers => (&CALLERS, "time"),
        TableId::Delayed => (&DELAYED, "waited"),
        TableId::Victims => (&VICTIMS, "waited"),
        TableId::Talking => (&TALKING, "both/s"),
        TableId::Connections => (&CONNECTIONS, "tx/s"),
        TableId::Disks => (&DISKS, "req/s"),
        TableId::DiskUsers => (&DISK_USERS, "read/s"),
        TableId::Stuck => (&STUCK, "age"),
        TableId::Errors => (&ERRORS, "err/s"),
        TableId::Exemplars => (&EXEMPLARS, "took"),
        TableId::Threads => (&THREADS, ON_CPU.title),
        TableId::Programs => (&PROGRAMS, "of a CPU"),
    }
}

const fn ns_key(ns: Option<u64>) -> Key<'static> {
    match ns {
        Some(ns) => Key::Number(Some(ns as f64)),
        None => Key::Number(None),
    }
}

const fn count_key(digest: &Digest) -> Key<'static> {
    Key::Number(Some(digest.count as f64))
}

/// The name, and the command line where there is room for it.
fn command(row: &ProcessRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let ident = &row.process().ident;
    let (name, cmdline) = (&ident.comm, &ident.cmdline);
    let (name, style) = match (row.process().exited, ident.kthread) {
        (true, _) => (format!("† {name}"), ctx.theme.dim),
        (false, true) => (format!("[{name}]"), ctx.theme.dim),
        (false, false) => (name.clone(), ctx.theme.text),
    };
    if !ctx.wide || cmdline.is_empty() {
        return cell(name, style);
    }
    Cell::from(vec![Span::styled(format!("{name:<15}  "), style), Span::styled(cmdline.clone(), ctx.theme.dim)])
}

fn slow_call(row: &ProcessRow, ctx: &Ctx<'_>) -> Cell<'static> {
    let measured = ctx.qualities.syscalls != Quality::NotAvailable;
    let known = if measured { row.slow_call() } else { None };
    cell(known.map_or_else(String::new, |nr| name(nr).into_owned()), ctx.theme.dim)
}

fn cell(text: impl Into<std::borrow::Cow<'static, str>>, style: Style) -> Cell<'static> {
    Cell::from(text.into()).with_style(style)
}

fn call_name(row: &CallRow, ctx: &Ctx<'_>) -> Cell<'static> {
    if row.waits { cell(format!("{} ⋯", row.name), ctx.theme.dim) } else { cell(row.name.clone(), ctx.theme.text) }
}

/// A number with the mark of its quality; a dash where nothing is measured, dim where it is nothing.
fn measured(ctx: &Ctx<'_>, quality: Quality, text: String, nothing: bool) -> Cell<'static> {
    match quality {
        Quality::NotAvailable => cell(DASH, ctx.theme.dim),
        // None of a sample may be some of all.
        Quality::Sampled if nothing => cell(format!("{}{text}", quality.mark()), ctx.theme.dim),
        _ if nothing => cell(text, ctx.theme.dim),
        _ => cell(format!("{}{text}", quality.mark()), ctx.theme.text),
    }
}

/// When calls are sampled, only the division into user and kernel is.
fn on_cpu_quality(ctx: &Ctx<'_>) -> Quality {
    match ctx.qualities.time {
        Quality::Sampled => ctx.qualities.runqueue,
        other => other,
    }
}

fn transfers(calls: u64, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, ctx.qualities.network, plain_rate(ctx.per_s(calls)), calls == 0)
}

fn call_rate(digest: &Digest, ctx: &Ctx<'_>) -> Cell<'static> {
    measured(ctx, ctx.qualities.syscalls, plain_rate(ctx.per_s(digest.count)), digest.count == 0)
}

fn errors(digest: &Digest, ctx: &Ctx<'_>) -> Cell<'static> {
    let text = plain_rate(ctx.per_s(digest.errors));
    let mut shown = measured(ctx, ctx.qualities.syscalls, text, digest.errors == 0);
    if digest.errors > 0 && ctx.qualities.syscalls != Quality::NotAvailable {
        shown.style = Some(ctx.theme.warn);
    }
    shown
}

fn call_time(ns: Option<u64>, ctx: &Ctx<'_>) -> Cell<'static> {
    match ns.filter(|_| ctx.qualities.syscalls != Quality::NotAvailable) {
        Some(ns) => cell(units::duration(ns), ctx.theme.text),
        None => cell(DASH, ctx.theme.dim),
    }
}

/// A run-queue delay, coloured by the thresholds that the help states.
fn delay(ns: Option<u64>, ctx: &Ctx<'_>) -> Cell<'static> {
    match ns.filter(|_| ctx.qualities.runqueue != Quality::NotAvailable) {
        Some(ns) => cell(units::duration(ns), ctx.delay_style(ns)),
        None => cell(DASH, ctx.theme.dim),
    }
}

fn bytes(bytes: u64, ctx: &Ctx<'_>, style: Style) -> Cell<'static> {
    let mut shown = measured(ctx, ctx.qualities.network, units::bytes(ctx.per_s(bytes)), bytes == 0);
    if bytes > 0 && ctx.qualities.network != Quality::NotAvailable {
        shown.style = Some(style);
    }
    shown
}

fn part(share: f64, ctx: &Ctx<'_>) -> Cell<'static> {
    cell(units::percent(share), if share == 0.0 { ctx.theme.dim } else { ctx.theme.text })
}

/// A rate for a column whose title says `/s` already; whole ones are written whole.
pub fn plain_rate(per_s: f64) -> String {
    let text = units::rate(per_s);
    let number = text.trim_end_matches("/s").trim_end();
    let (whole, zeros) = number.split_once('.').unwrap_or((number, ""));
    let is_whole = !zeros.is_empty() && zeros.bytes().all(|b| b == b'0');
    if is_whole { whole.to_owned() } else { number.to_owned() }
}

fn wall(row: &ProcessRow, ctx: &Ctx<'_>) -> Cell<'static> {
    Cell::from(StackedBar { parts: &ctx.time_parts(row.process().time), theme: ctx.theme }.spans(WALL))
}

/// The course of a number; blank where it was not there to be measured.
fn trend(ctx: &Ctx<'_>, style: Style, number: impl Fn(&Tick) -> Option<f64>) -> Cell<'static> {
    line(&ctx.history.last(usize::from(TREND)).map(number).collect::<Vec<_>>(), style)
}

/// The course of a number of a process; blank where it was not there.
fn course(ctx: &Ctx<'_>, row: &ProcessRow, style: Style, number: impl Fn(&Tick) -> Option<f64>) -> Cell<'static> {
    line(&ctx.history.course(row.process().id, usize::from(TREND), number), style)
}

fn line(values: &[Option<f64>], style: Style) -> Cell<'static> {
    // The highest stays below the row above it, so that lines of neighbours do not run together.
    let top = values.iter().flatten().copied().fold(0.0, f64::max) * 8.0 / 7.0;
    cell(spark(values.iter().copied(), usize::from(TREND), Some(top)), style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::rows::Digest;

    fn row(nr: u32, waits: bool, p99: Option<u64>) -> CallRow {
        let latency = Digest { p99, ..Digest::default() };
        CallRow { nr, name: name(nr), waits, latency, share: 0.0 }
    }

    fn sorted(rows: &[CallRow], falling: bool) -> Vec<u32> {
        let mut rows = rows.to_vec();
        let p99 = CALLS.iter().position(|c| c.title == "p99").unwrap();
        sort(&mut rows, CALLS, p99, falling);
        rows.iter().map(|r| r.nr).collect()
    }

    #[test]
    fn the_unknown_is_last_waiting_is_below_and_equals_keep_their_order() {
        let rows = [
            row(5, true, Some(900)),
            row(4, false, None),
            row(3, false, Some(10)),
            row(2, false, Some(10)),
            row(1, false, Some(70)),
        ];
        assert_eq!(sorted(&rows, true), [1, 2, 3, 4, 5]);
        assert_eq!(sorted(&rows, false), [2, 3, 1, 4, 5]);
    }

    #[test]
    fn whole_rates_are_written_whole() {
        assert_eq!([0.0, 4.0, 20.0, 75.74, 2_760.0].map(plain_rate), ["0", "4", "20", "75.7", "2.76 k"]);
    }

    #[test]
    fn every_table_can_be_sorted_by_its_first_column_and_round_again() {
        for &id in TableId::ALL {
            let (columns, title) = of(id);
            let first = columns.titled(title);
            assert!(columns.falls(first), "{id:?} is sorted by {title} first, the largest on top");
            let mut at = first;
            let steps = (1..=columns.count()).find(|_| {
                at = columns.next_sort(at);
                at == first
            });
            assert!(steps.is_some_and(|n| n > 2), "{id:?}");
        }
    }
}
