//! The state of the dashboard: where one is, what is looked at, and what is frozen.
//!
//! Not here: what anything looks like (`frame`, the views), what a key means (`keys`), what time it is (the sampler).
//!
//! Invariant: rows are derived from the shown history, the look and the sort, and derived again when one of them changes.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;

use super::columns;
use super::frame;
use super::help;
use super::history::{History, Look};
use super::keys::{self, Action};
use super::overlay::{Asked, Overlay, Question};
use super::processes::{ProcessList, Who};
use super::rows::{self, CallRow, ProgramRow};
use super::selection::{Ids, RowId};
use super::tables::{TableId, Tables};
use super::theme::Theme;
use super::view::View;
use crate::core::filter::Filter;
use crate::core::interests::Interests;
use crate::core::units;
use crate::model::Snapshot;

/// Intervals that `+` and `-` step through, ms.
const INTERVALS_MS: [u64; 7] = [100, 200, 500, 1000, 2000, 5000, 10_000];
/// Budgets that a key steps through, as shares of the machine's CPU time.
const BUDGETS: [f64; 4] = [0.005, 0.01, 0.02, 0.05];
/// How long a message stays, seconds.
const MESSAGE_S: f64 = 6.0;

/// What the dashboard starts with.
pub struct Settings {
    /// The theme.
    pub theme: Theme,
    /// Where themes of the user are.
    pub user_theme_dir: Option<PathBuf>,
    /// Which processes.
    pub filter: Filter,
    /// The first view.
    pub view: View,
    /// The interval of the sampler.
    pub interval: Duration,
    /// The most of the machine's CPU time that kscope may take, as a share.
    pub budget: Option<f64>,
    /// Leave out calls that wait by design.
    pub hide_waiting: bool,
    /// No colour at all, whatever the theme.
    pub no_color: bool,
    /// The terminal has 256 colours, not all of them.
    pub indexed_colors: bool,
    /// Seconds east of UTC, for the clock.
    pub utc_offset_s: i32,
}

/// What the loop around the dashboard has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Stop.
    Quit,
    /// Restore the terminal and stop until continued.
    Suspend,
    /// Sample at this interval from now on.
    SetInterval(Duration),
    /// Keep this budget from now on, a share of the machine's CPU time.
    SetBudget(Option<f64>),
}

/// A line for the footer.
pub(super) struct Message {
    pub text: String,
    /// Something is wrong, not just a hint.
    pub bad: bool,
    since_s: f64,
}

/// The dashboard.
pub struct App {
    pub(super) view: View,
    pub(super) look: Look,
    pub(super) tables: Tables,
    /// In Syscalls, the call whose callers are listed.
    pub(super) callers_of: Option<u32>,
    /// Rows of the table that has the keys, when it lists calls.
    pub(super) calls: Vec<CallRow>,
    /// Rows of the table that has the keys, when it lists processes.
    pub(super) processes: ProcessList,
    /// Rows of the table that has the keys, when it lists programs.
    pub(super) programs: Vec<ProgramRow>,
    pub(super) overlay: Option<Overlay>,
    pub(super) message: Option<Message>,
    pub(super) interval: Duration,
    budget: Option<f64>,
    pub(super) theme: Theme,
    pub(super) utc_offset_s: i32,
    live: History,
    frozen: Option<History>,
    user_theme_dir: Option<PathBuf>,
    no_color: bool,
    indexed_colors: bool,
}

impl App {
    /// A dashboard that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            view: settings.view,
            look: Look { filter: settings.filter, hide_waiting: settings.hide_waiting },
            tables: Tables::default(),
            callers_of: None,
            calls: Vec::new(),
            processes: ProcessList::default(),
            programs: Vec::new(),
            overlay: None,
            message: None,
            interval: settings.interval,
            budget: settings.budget,
            theme: match settings {
                Settings { no_color: true, .. } => Theme::monochrome(),
                Settings { indexed_colors: true, theme, .. } => theme.indexed(),
                Settings { theme, .. } => theme,
            },
            utc_offset_s: settings.utc_offset_s,
            live: History::default(),
            frozen: None,
            user_theme_dir: settings.user_theme_dir,
            no_color: settings.no_color,
            indexed_colors: settings.indexed_colors,
        }
    }

    /// What is shown: everything up to now, or up to when it was frozen.
    pub(super) fn history(&self) -> &History {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// How old what is shown is, in seconds, if it is frozen.
    pub(super) fn frozen_for(&self) -> Option<f64> {
        let end = |h: &History| h.latest().map_or(0.0, |t| t.snapshot.unix_s);
        self.frozen.as_ref().map(|frozen| (end(&self.live) - end(frozen)).max(0.0))
    }

    /// The table that has the keys.
    pub(super) fn table(&self) -> TableId {
        match (self.view, self.callers_of) {
            (View::Overview, _) => TableId::Who,
            (View::Syscalls, None) => TableId::Calls,
            (View::Syscalls, Some(_)) => TableId::Callers,
            (View::Scheduler, _) => TableId::Delayed,
            (View::Network, _) => TableId::Talking,
            (View::Own, _) => TableId::Programs,
        }
    }

    /// What is looked at, of what is measured only then.
    pub fn interests(&self) -> Interests {
        Interests::default()
    }

    /// Takes the next interval.
    pub fn on_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let now = snapshot.unix_s;
        self.live.push(snapshot, &self.look);
        if self.message.as_ref().is_some_and(|m| (now - m.since_s).abs() > MESSAGE_S) {
            self.message = None;
        }
        if self.frozen.is_none() {
            self.refresh();
        }
    }

    /// Says something that went wrong outside, such as a sample that could not be read.
    pub fn on_note(&mut self, text: String) {
        self.say(text, true);
    }

    /// Draws everything.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        frame::draw(self, frame);
    }

    /// Takes a key; what the loop has to do, if anything.
    pub fn on_key(&mut self, event: KeyEvent) -> Option<Effect> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        self.message = None;
        let action = keys::action(self.view, event);
        // In a prompt a letter is a letter; only Ctrl-C and Ctrl-Z reach through.
        let through =
            event.modifiers.contains(KeyModifiers::CONTROL) && matches!(action, Some(Action::Quit | Action::Suspend));
        if let Some(Overlay::Prompt(question, prompt)) = &mut self.overlay
            && !through
        {
            let (question, asked) = (*question, Asked::of(prompt, event));
            self.answer(question, asked);
            return None;
        }
        if let Some(action) = action {
            return self.act(action);
        }
        self.say(format!("{} does nothing here; ? shows the keys", keys::name_of(event)), false);
        None
    }

    fn act(&mut self, action: Action) -> Option<Effect> {
        if let Some(Overlay::Help(scroll)) = &self.overlay {
            match action {
                Action::Move(motion) => {
                    scroll.set(help::scrolled(scroll.get(), motion));
                    return None;
                }
                Action::Help | Action::Back | Action::Quit | Action::Suspend => {}
                // Whoever acts has read enough.
                _ => self.overlay = None,
            }
        }
        match action {
            Action::Quit => return Some(Effect::Quit),
            Action::Suspend => return Some(Effect::Suspend),
            Action::Slower => return self.step_interval(true),
            Action::Faster => return self.step_interval(false),
            Action::NextBudget => return Some(self.next_budget()),
            Action::Show(view) => self.show(view),
            Action::NextView => self.show(self.view.stepped(1)),
            Action::PreviousView => self.show(self.view.stepped(View::ALL.len() - 1)),
            Action::Move(motion) => {
                let table = self.table();
                let rows = ids(table, &self.calls, &self.processes, &self.programs);
                self.tables.of_mut(table).cursor.go(motion, rows);
            }
            Action::Enter => self.enter(),
            Action::Back => self.back(),
            Action::FilterPids => self.ask(Question::Pids, &self.look.filter.pids_text()),
            Action::FilterRows => {
                let text = self.tables.of(self.table()).text.clone();
                self.ask(Question::Rows, &text);
            }
            Action::NextSort => self.next_sort(),
            Action::Reverse => {
                let table = self.tables.of_mut(self.table());
                table.falling = !table.falling;
                self.refresh();
            }
            Action::Pause => self.pause(),
            Action::Waiting => {
                let hide_waiting = !self.look.hide_waiting;
                self.look_at(Look { hide_waiting, ..self.look.clone() });
            }
            Action::NextTheme => self.next_theme(),
            Action::Help => {
                self.overlay = if self.overlay.is_some() { None } else { Some(Overlay::Help(Cell::default())) };
            }
        }
        None
    }

    fn show(&mut self, view: View) {
        self.overlay = None;
        self.view = view;
        self.refresh();
    }

    fn enter(&mut self) {
        let rows = ids(self.table(), &self.calls, &self.processes, &self.programs);
        match rows.at(self.tables.of(self.table()).cursor.index()) {
            Some(RowId::Call(nr)) => {
                self.callers_of = Some(nr);
                self.tables.of_mut(TableId::Callers).restart();
                self.refresh();
            }
            Some(RowId::Process(id)) => {
                let filter = self.look.filter.clone().with_pids(vec![id.pid]);
                self.look_at(Look { filter, ..self.look.clone() });
            }
            // No key asks for it where programs are listed.
            Some(RowId::Program(_)) | None => self.say("there is no row to go into".into(), false),
        }
    }

    /// Undoes the last narrowing.
    fn back(&mut self) {
        let table = self.table();
        if self.overlay.take().is_some() {
            return;
        }
        if !self.tables.of(table).text.is_empty() {
            self.tables.of_mut(table).text.clear();
        } else if self.view == View::Syscalls && self.callers_of.is_some() {
            self.callers_of = None;
        } else if !self.look.filter.is_empty() {
            self.look_at(Look { filter: Filter::default(), ..self.look.clone() });
        } else {
            self.say("nothing to undo; q quits".into(), false);
        }
        self.refresh();
    }

    fn ask(&mut self, question: Question, text: &str) {
        self.overlay = Some(Overlay::ask(question, text));
    }

    fn answer(&mut self, question: Question, asked: Asked) {
        match (question, asked) {
            (_, Asked::Nothing) | (Question::Pids, Asked::Typed(_)) => {}
            (Question::Pids, Asked::Cancelled) => self.overlay = None,
            (Question::Pids, Asked::Done(text)) => match Filter::parse_pids(&text) {
                Ok(pids) => {
                    self.overlay = None;
                    let filter = self.look.filter.clone().with_pids(pids);
                    self.look_at(Look { filter, ..self.look.clone() });
                }
                Err(sentence) => {
                    if let Some(Overlay::Prompt(_, prompt)) = &mut self.overlay {
                        prompt.error = Some(sentence);
                    }
                }
            },
            (Question::Rows, Asked::Typed(text)) => self.set_text(text),
            (Question::Rows, Asked::Cancelled) => {
                self.overlay = None;
                self.set_text(String::new());
            }
            (Question::Rows, Asked::Done(text)) => {
                self.overlay = None;
                self.set_text(text);
            }
        }
    }

    fn set_text(&mut self, text: String) {
        self.tables.of_mut(self.table()).text = text;
        self.refresh();
    }

    fn next_sort(&mut self) {
        let id = self.table();
        let table = self.tables.of_mut(id);
        table.sort = columns::next_sort(id, table.sort);
        table.falling = columns::falls(id, table.sort);
        self.refresh();
    }

    fn pause(&mut self) {
        self.frozen = if self.frozen.is_some() { None } else { Some(self.live.clone()) };
        self.refresh();
    }

    fn step_interval(&mut self, up: bool) -> Option<Effect> {
        let now = self.interval;
        let mut steps = INTERVALS_MS.map(Duration::from_millis).into_iter();
        let next = if up { steps.find(|s| *s > now) } else { steps.rfind(|s| *s < now) };
        if let Some(interval) = next {
            self.interval = interval;
            return Some(Effect::SetInterval(interval));
        }
        self.say(format!("the interval is already the {}", if up { "longest" } else { "shortest" }), false);
        None
    }

    /// The next of the usual budgets, and none after the last.
    fn next_budget(&mut self) -> Effect {
        let now = self.budget;
        self.budget = BUDGETS.into_iter().find(|budget| now.is_none_or(|now| *budget > now));
        self.say(
            match self.budget {
                Some(budget) => format!("budget: at most {} of the machine's CPU time", units::fine_percent(budget)),
                None => "no budget: everything is measured".into(),
            },
            false,
        );
        Effect::SetBudget(self.budget)
    }

    fn next_theme(&mut self) {
        if self.no_color {
            return self.say("NO_COLOR is set: the theme stays monochrome".into(), false);
        }
        let dir = self.user_theme_dir.as_deref();
        let names = Theme::names(dir);
        let at = names.iter().position(|name| *name == self.theme.name).map_or(0, |at| at + 1);
        let Some(name) = names.get(at % names.len().max(1)) else { return };
        match Theme::load(name, dir) {
            Ok((theme, warnings)) => {
                self.theme = if self.indexed_colors { theme.indexed() } else { theme };
                match warnings.first() {
                    Some(warning) => self.say(format!("theme {name}: {warning}"), true),
                    None => self.say(format!("theme {name}"), false),
                }
            }
            // Its name must change all the same, or the next key would come back to it for ever.
            Err(error) => {
                self.theme.name.clone_from(name);
                self.say(error.to_string(), true);
            }
        }
    }

    fn say(&mut self, text: String, bad: bool) {
        let since_s = self.live.latest().map_or(0.0, |t| t.snapshot.unix_s);
        self.message = Some(Message { text, bad, since_s });
    }

    fn look_at(&mut self, look: Look) {
        self.look = look;
        self.live.look_again(&self.look);
        if let Some(frozen) = &mut self.frozen {
            frozen.look_again(&self.look);
        }
        self.refresh();
    }

    /// A sentence on each pid of the filter that is not there.
    pub(super) fn absent(&self) -> Vec<String> {
        let history = self.history();
        let Some(tick) = history.latest() else { return Vec::new() };
        let gone = self.look.filter.pids.iter().filter(|&&pid| tick.snapshot.process(pid).is_none());
        gone.map(|&pid| match history.last_seen(pid) {
            Some((ident, seen_s)) => {
                let ago = units::age(seconds_ns(tick.snapshot.unix_s - seen_s));
                format!("{pid} ({}) exited {ago} ago.", units::printable(&ident.comm))
            }
            None => format!("No process {pid}: it may be gone, a thread, or a pid of another namespace."),
        })
        .collect()
    }

    /// Derives the rows of the table that has the keys, and finds the selected one again.
    fn refresh(&mut self) {
        let id = self.table();
        let (history, table) = (self.frozen.as_ref().unwrap_or(&self.live), self.tables.of(id));
        self.calls.clear();
        self.programs.clear();
        self.processes.clear();
        let who = match id {
            TableId::Calls => {
                self.calls = rows::calls(history, &self.look, &table.text);
                columns::sort(&mut self.calls, columns::CALLS, table.sort, table.falling);
                None
            }
            TableId::Programs => {
                self.programs = rows::programs(history, &table.text);
                columns::sort(&mut self.programs, columns::PROGRAMS, table.sort, table.falling);
                None
            }
            TableId::Who => Some(Who::Everybody),
            TableId::Callers => Some(Who::Callers(self.callers_of.unwrap_or_default())),
            TableId::Delayed => Some(Who::Delayed),
            TableId::Talking => Some(Who::Talking),
        };
        if let Some(who) = who {
            self.processes.list(history, &self.look, &table.text, who);
            self.processes.sort(columns::of_processes(id), table.sort, table.falling);
        }
        let rows = ids(id, &self.calls, &self.processes, &self.programs);
        self.tables.of_mut(id).cursor.settle(rows);
    }
}

/// The rows of a table, by what it lists.
fn ids<'a>(
    id: TableId,
    calls: &'a Vec<CallRow>,
    processes: &'a ProcessList,
    programs: &'a Vec<ProgramRow>,
) -> &'a dyn Ids {
    match id {
        TableId::Calls => calls,
        TableId::Programs => programs,
        TableId::Who | TableId::Callers | TableId::Delayed | TableId::Talking => processes,
    }
}

/// Seconds as nanoseconds; nothing for what is negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float that is too large saturates")]
pub(crate) fn seconds_ns(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}
