//! What each step of user space costs on a machine of some size: medians of time, allocations and bytes.
//!
//! Every step goes through the program's own code; what prepares it and what drops its result is not timed.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kscope::core::filter::Filter;
use kscope::export::{Report, Scope, to_csv, to_json, to_text};
use kscope::model::Snapshot;
use kscope::ui::app::{App, Settings};
use kscope::ui::history::{History, Look};
use kscope::ui::view::View;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rustix::time::{ClockId, clock_gettime};

use super::allocations::{asked, held};
use super::generate::{Size, World};
use super::threads::Table;

/// Intervals that are generated; what is longer repeats them.
const DISTINCT: usize = 24;
/// A quarter of an hour at one a second.
const QUARTER: u32 = 900;

/// Medians of one step.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How long it takes, ns.
    pub ns: f64,
    /// How often it allocates.
    pub allocations: usize,
    /// How much, bytes.
    pub bytes: usize,
}

impl Cost {
    /// Its time in whole nanoseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time that was measured")]
    pub const fn whole_ns(self) -> u64 {
        self.ns as u64
    }
}

/// What a step yields.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A cost.
    Cost(Cost),
    /// Memory held, bytes, and in how many intervals.
    Held(usize, usize),
    /// It could not be measured here.
    Missing,
}

/// One step by name.
pub type Step = (String, Outcome);

fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> Option<T> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied()
}

/// CPU time of this thread: what else the machine does is not counted, but for the caches it empties.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or(0)
}

/// Runs `step` on what `prepare` yields, as often as given.
fn cost<S, R>(rounds: usize, mut prepare: impl FnMut(usize) -> S, mut step: impl FnMut(S) -> R) -> Outcome {
    let mut seen = Vec::new();
    for round in 0..rounds {
        let input = prepare(round);
        let (before, begin) = (asked(), cpu_ns());
        let result = step(input);
        let (time, after) = (cpu_ns() - begin, asked());
        drop(result);
        seen.push((time as f64, after.0 - before.0, after.1 - before.1));
    }
    let middle = |pick: fn(&(f64, usize, usize)) -> usize| median(seen.iter().map(pick).collect()).unwrap_or(0);
    let ns = median(seen.iter().map(|s| s.0).collect()).unwrap_or(0.0);
    Outcome::Cost(Cost { ns, allocations: middle(|s| s.1), bytes: middle(|s| s.2) })
}

/// The table with the keys in each of them, and the keys that lead there.
const VIEWS: [(&str, View, &str); 8] = [
    ("Overview", View::Overview, ""),
    ("Syscalls", View::Syscalls, ""),
    ("callers of a call", View::Syscalls, "e"),
    ("Scheduler", View::Scheduler, ""),
    ("Network", View::Network, ""),
    ("Processes", View::Processes, ""),
    ("Processes as a tree", View::Processes, "v"),
    ("Self", View::Own, ""),
];

/// All steps on a machine of this size.
pub fn measure(size: Size, rounds: usize) -> Vec<Step> {
    let mut steps = vec![("read the table of threads".into(), read_threads(size, rounds))];
    let mut world = World::new(size);
    let mut samples = Vec::new();
    let mut snapshots = Vec::new();
    for _ in 0..=DISTINCT {
        world.step();
        samples.push(world.sample());
        if let [prev, next] = &samples[..] {
            snapshots.push(Snapshot::between(prev, next));
            samples.remove(0);
        }
    }
    world.step();
    samples.push(world.sample());
    let between = cost(rounds, |_| (), |()| Snapshot::between(&samples[0], &samples[1]));
    drop(samples);
    drop(world);
    steps.push(("subtract two samples".into(), between));
    let append = cost(
        rounds.min(DISTINCT),
        |at| (snapshots[0].clone(), &snapshots[at % DISTINCT]),
        |(mut sum, part)| {
            sum.append(part);
            sum
        },
    );
    steps.push(("append a snapshot".into(), append));
    let ticks = Ticks { snapshots: &snapshots };
    views(&ticks, rounds, &mut steps);
    history(&ticks, rounds, &mut steps);
    export(&snapshots, rounds, &mut steps);
    steps
}

fn read_threads(size: Size, rounds: usize) -> Outcome {
    match Table::new(size) {
        Ok(mut table) => cost(rounds, |_| (), |()| table.read().unwrap_or(0)),
        Err(error) => {
            eprintln!("bench: the table of threads is left out: {error}");
            Outcome::Missing
        }
    }
}

/// Snapshots without end: those that there are, again and again, a second apart.
struct Ticks<'a> {
    snapshots: &'a [Snapshot],
}

impl Ticks<'_> {
    fn tick(&self, at: u32) -> Arc<Snapshot> {
        let mut snapshot = self.snapshots[at as usize % self.snapshots.len()].clone();
        snapshot.unix_s = self.snapshots[0].unix_s + f64::from(at);
        Arc::new(snapshot)
    }
}

fn app(view: View) -> App {
    App::new(Settings { view, ..Settings::default() })
}

fn press(app: &mut App, code: KeyCode) {
    app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
}

fn views(ticks: &Ticks<'_>, rounds: usize, steps: &mut Vec<Step>) {
    let (mut tick_steps, mut frame_steps) = (Vec::new(), Vec::new());
    for (name, view, keys) in VIEWS {
        let mut app = app(view);
        let mut at = 0;
        let mut next = || {
            at += 1;
            ticks.tick(at)
        };
        (0..35).for_each(|_| app.on_snapshot(next()));
        for key in keys.chars() {
            press(&mut app, if key == 'e' { KeyCode::Enter } else { KeyCode::Char(key) });
        }
        for (width, height) in [(80, 24), (200, 60)] {
            let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
            let mut frame = |app: &mut App| terminal.draw(|frame| app.draw(frame)).map(|_| ()).is_ok();
            // What a snapshot costs until it is on the screen: this is the whole work of a second.
            if width == 200 {
                let tick = cost(rounds, |_| next(), |snapshot| app.on_snapshot(snapshot));
                tick_steps.push((format!("take a snapshot: {name}"), tick));
            }
            frame(&mut app);
            frame_steps.push((format!("frame {width}x{height}: {name}"), cost(rounds, |_| (), |()| frame(&mut app))));
            if width == 200 {
                let down = cost(
                    rounds,
                    |_| (),
                    |()| {
                        press(&mut app, KeyCode::Down);
                        frame(&mut app)
                    },
                );
                frame_steps.push((format!("a row down, with its frame: {name}"), down));
                let sort = cost(rounds, |_| (), |()| press(&mut app, KeyCode::Char('s')));
                frame_steps.push((format!("sort by the next column: {name}"), sort));
            }
        }
    }
    frame_steps.sort_by_key(|(name, _)| name.split(':').next().map(str::to_owned));
    steps.extend(tick_steps);
    steps.extend(frame_steps);
}

fn history(ticks: &Ticks<'_>, rounds: usize, steps: &mut Vec<Step>) {
    let before = held();
    let mut history = History::default();
    let look = Look::default();
    (0..QUARTER).for_each(|at| history.push(ticks.tick(at), &look));
    let kept = history.last(usize::MAX).count();
    steps.push(("history of 900 intervals".into(), Outcome::Held(held() - before, kept)));
    let mut at = QUARTER;
    let push = cost(
        rounds,
        |_| {
            at += 1;
            ticks.tick(at)
        },
        |snapshot| history.push(snapshot, &look),
    );
    steps.push(("add to that history".into(), push));
    let filter = Look { filter: Filter::new(Vec::new(), Some("nginx*"), None), hide_waiting: true };
    let again = cost(rounds.min(5), |_| (), |()| history.look_again(&filter));
    steps.push(("filter that history by name".into(), again));
}

fn export(snapshots: &[Snapshot], rounds: usize, steps: &mut Vec<Step>) {
    let rounds = rounds.min(7);
    let snapshot = &snapshots[0];
    steps.push((
        "export: make the report".into(),
        cost(rounds, |_| (), |()| Report::new(snapshot, &Scope::Host, None, Vec::new())),
    ));
    let report = Report::new(snapshot, &Scope::Host, None, Vec::new());
    steps.push(("export: text".into(), cost(rounds, |_| (), |()| to_text(&report))));
    steps.push(("export: JSON".into(), cost(rounds, |_| (), |()| to_json(&report))));
    steps.push(("export: CSV".into(), cost(rounds, |_| (), |()| to_csv(&report))));
}
