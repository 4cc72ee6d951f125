//! The state of the dashboard: where one is, what is looked at, and what is frozen.
//!
//! Not here: what anything looks like (`frame`, the views), what a key means (`keys`), what time it is (the sampler).
//!
//! Invariant: rows are derived from the shown history, the look and the sort, and derived again when one of them changes.

mod adjust;
mod answers;
mod arrange;
mod asked;
mod moves;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;

use super::columns;
use super::everything::{Arrangement, EveryList};
use super::frame;
use super::help;
use super::history::{History, Look};
use super::keys::{self, Action};
use super::lists::Lists;
use super::overlay::{Asked as Typed, Overlay, Question};
use super::page::Page;
use super::place::Place;
use super::selection::RowId;
use super::tables::{TableId, Tables};
use super::theme::Theme;
use super::view::View;
use crate::core::filter::Filter;
use crate::core::interests::Interests;
use crate::core::units;
use crate::model::Snapshot;

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
    /// The table of everything.
    pub arrangement: Arrangement,
    /// No colour at all, whatever the theme.
    pub no_color: bool,
    /// The terminal has 256 colours, not all of them.
    pub indexed_colors: bool,
    /// Seconds east of UTC, for the clock.
    pub utc_offset_s: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            user_theme_dir: None,
            filter: Filter::default(),
            view: View::default(),
            interval: Duration::from_secs(1),
            budget: None,
            hide_waiting: true,
            arrangement: Arrangement::default(),
            no_color: false,
            indexed_colors: false,
            utc_offset_s: 0,
        }
    }
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
    /// Where one is in each view.
    places: [Place; View::ALL.len()],
    /// The page of a process, over the view.
    pub(super) page: Option<Page>,
    /// Rows of the table that has the keys.
    pub(super) lists: Lists,
    /// In Overview, the verdict whose evidence Enter shows.
    pub(super) verdict: Option<usize>,
    pub(super) overlay: Option<Overlay>,
    pub(super) message: Option<Message>,
    pub(super) interval: Duration,
    budget: Option<f64>,
    /// Peers of connections are shown by name.
    names: bool,
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
            places: [Place::First; View::ALL.len()],
            page: None,
            verdict: None,
            lists: Lists { everything: EveryList::new(settings.arrangement), ..Lists::default() },
            overlay: None,
            message: None,
            interval: settings.interval,
            budget: settings.budget,
            names: false,
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

    /// The view whose keys count: that of a page, if one is open.
    pub(super) const fn context(&self) -> View {
        if self.page.is_some() { View::Page } else { self.view }
    }

    /// Where one is in the present view.
    pub(super) fn place(&self) -> Place {
        self.page.as_ref().map_or(self.places[self.view.index()], |page| page.place)
    }

    /// The table that has the keys.
    pub(super) fn table(&self) -> TableId {
        self.place().table(self.context())
    }

    /// The selected row of that table.
    pub(super) fn selected(&self) -> Option<RowId> {
        self.lists.at(self.table(), self.tables.of(self.table()).cursor.index())
    }

    /// What is looked at, of what is measured only then.
    pub fn interests(&self) -> Interests {
        let page = self.page.as_ref().map(|page| page.id.pid);
        let connections = page.is_some() || self.view == View::Network && self.place() == Place::Connections;
        let exemplars = self.view == View::Syscalls && self.place().singles().is_some();
        let (names, stuck) = (connections && self.names, self.view == View::Stuck || page.is_some());
        let blame = self.view == View::Scheduler && self.places[self.view.index()].is_blame();
        Interests { blame, connections, names, stuck, exemplars, page }
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
        let action = keys::action(self.context(), event);
        // In a prompt a letter is a letter; only Ctrl-C and Ctrl-Z reach through.
        let through =
            event.modifiers.contains(KeyModifiers::CONTROL) && matches!(action, Some(Action::Quit | Action::Suspend));
        if let Some(Overlay::Prompt(question, prompt)) = &mut self.overlay
            && !through
        {
            let (question, asked) = (*question, Typed::of(prompt, event));
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
        if let Some(Overlay::Help(scroll) | Overlay::Commands(scroll)) = &self.overlay {
            match action {
                Action::Move(motion) => {
                    scroll.set(help::scrolled(scroll.get(), motion));
                    return None;
                }
                Action::Help | Action::Commands | Action::Back | Action::Quit | Action::Suspend => {}
                // Whoever acts has read enough.
                _ => self.overlay = None,
            }
        }
        if let Some(Overlay::Columns(_)) = &self.overlay {
            match action {
                Action::Move(motion) => {
                    self.move_in_columns(motion);
                    return None;
                }
                Action::Pause | Action::Enter => {
                    self.toggle_column();
                    return None;
                }
                Action::Back | Action::Quit | Action::Suspend => {}
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
                self.verdict = None;
                let table = self.table();
                self.tables.of_mut(table).cursor.go(motion, self.lists.ids(table));
            }
            Action::NextVerdict => self.next_verdict(),
            Action::Go(place) => self.go(self.place().towards(place)),
            Action::Enter => self.enter(),
            Action::Exemplars => self.show_exemplars(),
            Action::Octave(up) => self.step_octave(up),
            Action::Pin => self.pin(),
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
            Action::NextArrangement => self.next_arrangement(),
            Action::Fold => self.fold(),
            Action::FoldAll => self.fold_all(),
            Action::Columns => self.choose_columns(),
            Action::Pause => self.pause(),
            Action::Waiting => {
                let hide_waiting = !self.look.hide_waiting;
                self.look_at(Look { hide_waiting, ..self.look.clone() });
            }
            Action::Names => self.next_names(),
            Action::NextTheme => self.next_theme(),
            Action::Commands => {
                let shown = matches!(self.overlay, Some(Overlay::Commands(_)));
                self.overlay = if shown { None } else { Some(Overlay::Commands(Cell::default())) };
            }
            Action::Help => {
                let shown = matches!(self.overlay, Some(Overlay::Help(_)));
                self.overlay = if shown { None } else { Some(Overlay::Help(Cell::default())) };
            }
        }
        None
    }

    fn next_sort(&mut self) {
        let id = self.table();
        let table = self.tables.of_mut(id);
        let (columns, _) = columns::of(id);
        table.sort = columns.next_sort(table.sort);
        let shows = |at| id != TableId::Everything || self.lists.everything.arrangement.shows(at);
        while !shows(table.sort) {
            table.sort = columns.next_sort(table.sort);
        }
        table.falling = columns.falls(table.sort);
        self.refresh();
    }

    fn pause(&mut self) {
        self.frozen = if self.frozen.is_some() { None } else { Some(self.live.clone()) };
        self.refresh();
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
        let (id, place) = (self.table(), self.place());
        let (history, table) = (self.frozen.as_ref().unwrap_or(&self.live), self.tables.of(id));
        self.lists.fill(id, place, table, (history, &self.look));
        self.tables.of_mut(id).cursor.settle(self.lists.ids(id));
    }
}

/// Seconds as nanoseconds; nothing for what is negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float that is too large saturates")]
pub(crate) fn seconds_ns(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}
