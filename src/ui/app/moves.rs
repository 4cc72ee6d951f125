//! Going from place to place: views, the places in them, the page of a process, and the way back.
//!
//! Invariant: Escape undoes what was done last, one step at a time: overlay, row text, place, page, filter.

use super::App;
use crate::core::filter::Filter;
use crate::core::ident::ProcessId;
use crate::ui::history::Look;
use crate::ui::page::Page;
use crate::ui::page::baseline::Baseline;
use crate::ui::place::{Listed, Place};
use crate::ui::rows::exemplars::{next_octave, octaves};
use crate::ui::selection::RowId;
use crate::ui::view::View;
use crate::verdicts::{Evidence, RULES, Verdict};

impl App {
    /// Shows a view, where one was in it. A page is closed by it.
    pub(super) fn show(&mut self, view: View) {
        self.overlay = None;
        self.verdict = None;
        self.close_page();
        self.view = view;
        self.refresh();
    }

    /// Goes to a place of the present view.
    pub(super) fn go(&mut self, place: Place) {
        match &mut self.page {
            Some(page) => page.place = place,
            None => self.places[self.view.index()] = place,
        }
        let table = self.table();
        self.tables.of_mut(table).restart();
        self.refresh();
    }

    /// Selects the next verdict, and says when its rule speaks.
    pub(super) fn next_verdict(&mut self) {
        let shown = self.verdicts();
        let next = self.verdict.map_or(0, |at| at + 1) % shown.len().max(1);
        let Some(verdict) = shown.get(next) else {
            return self.say("there is no verdict to look into".into(), false);
        };
        let when = RULES.iter().find(|rule| rule.name == verdict.rule).map_or("", |rule| rule.when);
        let text = format!("{}: {when}. Enter shows the evidence", verdict.rule);
        self.verdict = Some(next);
        self.say(text, false);
    }

    /// Shows the numbers behind the selected verdict.
    fn show_evidence(&mut self, at: usize) {
        let Some(verdict) = self.verdicts().get(at).map(|verdict| (*verdict).clone()) else { return };
        if let Some(pid) = verdict.pid.filter(|_| verdict.evidence != Evidence::Scheduler) {
            let filter = self.look.filter.clone().with_pids(vec![pid]);
            self.look_at(Look { filter, ..self.look.clone() });
        }
        match verdict.evidence {
            Evidence::Syscalls(nr) => {
                self.show(View::Syscalls);
                self.go(Place::Callers(nr));
            }
            Evidence::Scheduler => self.show(View::Scheduler),
            Evidence::Stuck => self.show(View::Stuck),
            Evidence::Processes => self.show(View::Processes),
        }
    }

    /// The verdicts that are shown: of everybody, or of the processes that pass the filter.
    pub(in crate::ui) fn verdicts(&self) -> Vec<&Verdict> {
        let history = self.history();
        let Some(tick) = history.latest() else { return Vec::new() };
        let process = |v: &Verdict| v.pid.and_then(|pid| tick.snapshot.process(pid));
        let passes = |v: &&Verdict| self.look.filter.is_empty() || process(v).is_some_and(|p| self.look.passes(p));
        history.verdicts().iter().filter(passes).collect()
    }

    /// Goes into the selected row: from a call to its callers, from anything of a process to its page.
    pub(super) fn enter(&mut self) {
        if let Some(at) = self.verdict.take() {
            return self.show_evidence(at);
        }
        match self.selected() {
            Some(RowId::Call(nr)) if self.page.is_none() => self.go(Place::Callers(nr)),
            Some(RowId::Process(id) | RowId::Thread(id, _) | RowId::Error(id, ..) | RowId::Single(id, ..)) => {
                self.open_page(id);
            }
            Some(RowId::Connection(cookie)) => match self.lists.owner_of(cookie) {
                Some(id) => self.open_page(id),
                None => self.say("no process is known to have it".into(), false),
            },
            Some(RowId::Cgroup(_)) if !self.place().is_blame() => self.fold(),
            Some(RowId::Group(number)) => self.go(Place::Ends(number)),
            Some(RowId::Dead(_)) => self.say("it is gone: this is all that is left of it".into(), false),
            Some(RowId::Disk(..)) => self.go(Place::DiskUsers),
            // No key asks for it where programs are listed.
            Some(RowId::Call(_) | RowId::Program(_) | RowId::Cgroup(_)) | None => {
                self.say("there is no row to go into".into(), false);
            }
        }
    }

    /// Lists single calls of the selected call, or of the one whose callers are listed; leaves them if they are.
    pub(super) fn show_exemplars(&mut self) {
        let place = self.place();
        let nr = match (self.selected(), place) {
            (_, Place::Exemplars(_)) => return self.go(Place::First),
            (Some(RowId::Call(nr) | RowId::Error(_, nr, _)), _) | (_, Place::Callers(nr)) => nr,
            _ => return self.say("there is no call to show".into(), false),
        };
        self.go(Place::Exemplars(Listed { nr, octave: None }));
    }

    /// Chooses the next octave of latencies of the single calls that are listed.
    pub(super) fn step_octave(&mut self, up: bool) {
        let Some(listed) = self.place().singles() else {
            return self.say("x shows the single calls of a call first".into(), false);
        };
        let octaves = octaves(self.history(), &self.look, listed.nr);
        let octave = next_octave(&octaves, listed.octave, up);
        self.go(Place::Exemplars(Listed { octave, ..listed }));
    }

    /// Opens the page of a process. What is shown there is of this process alone.
    fn open_page(&mut self, id: ProcessId) {
        if self.page.as_ref().is_some_and(|page| page.id == id) {
            return;
        }
        self.page = Some(Page::new(id, self.look.filter.clone()));
        let filter = Filter::default().with_pids(vec![id.pid]);
        self.look_at(Look { filter, ..self.look.clone() });
    }

    /// Keeps what the calls of the process were in the last minute, to hold what comes against it; or lets go of it.
    pub(super) fn pin(&mut self) {
        let history = self.frozen.as_ref().unwrap_or(&self.live);
        let Some(page) = &mut self.page else { return };
        page.baseline = if page.baseline.is_some() { None } else { Some(Baseline::pin(history)) };
        let text = match &page.baseline {
            Some(pinned) => format!("the last {:.0} s are the baseline until B is pressed again", pinned.seconds),
            None => "the baseline is the earlier part of what is kept".into(),
        };
        self.say(text, false);
    }

    /// Closes the page, if one is open: the filter is again what it was before.
    fn close_page(&mut self) {
        if let Some(page) = self.page.take() {
            self.look_at(Look { filter: page.filter, ..self.look.clone() });
        }
    }

    /// Undoes the last narrowing.
    pub(super) fn back(&mut self) {
        let table = self.table();
        if self.overlay.take().is_some() || self.verdict.take().is_some() {
            return;
        }
        if !self.tables.of(table).text.is_empty() {
            self.tables.of_mut(table).text.clear();
        } else if self.page.is_some() && self.place() == Place::First {
            self.close_page();
        } else if let Some(page) = &mut self.page {
            page.place = Place::First;
        } else if self.place() != Place::First {
            self.places[self.view.index()] = self.place().outer();
        } else if !self.look.filter.is_empty() {
            self.look_at(Look { filter: Filter::default(), ..self.look.clone() });
        } else {
            self.say("nothing to undo; q quits".into(), false);
        }
        self.refresh();
    }
}
