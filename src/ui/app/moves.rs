//! Going from place to place: views, the places in them, the page of a process, and the way back.
//!
//! Invariant: Escape undoes what was done last, one step at a time: overlay, row text, place, page, filter.

use super::App;
use crate::core::filter::Filter;
use crate::core::ident::ProcessId;
use crate::ui::history::Look;
use crate::ui::page::Page;
use crate::ui::place::Place;
use crate::ui::selection::RowId;
use crate::ui::view::View;

impl App {
    /// Shows a view, where one was in it. A page is closed by it.
    pub(super) fn show(&mut self, view: View) {
        self.overlay = None;
        self.close_page();
        self.view = view;
        self.refresh();
    }

    /// Goes to a place of the present view.
    pub(super) fn go(&mut self, place: Place) {
        self.places[self.view.index()] = place;
        let table = self.table();
        self.tables.of_mut(table).restart();
        self.refresh();
    }

    /// Goes into the selected row: from a call to its callers, from anything of a process to its page.
    pub(super) fn enter(&mut self) {
        match self.selected() {
            Some(RowId::Call(nr)) if self.page.is_none() => self.go(Place::Callers(nr)),
            Some(RowId::Process(id) | RowId::Thread(id, _)) => self.open_page(id),
            // No key asks for it where programs are listed.
            Some(RowId::Call(_) | RowId::Program(_)) | None => self.say("there is no row to go into".into(), false),
        }
    }

    /// Opens the page of a process. What is shown there is of this process alone.
    fn open_page(&mut self, id: ProcessId) {
        if self.page.as_ref().is_some_and(|page| page.id == id) {
            return;
        }
        self.page = Some(Page { id, filter: self.look.filter.clone() });
        let filter = Filter::default().with_pids(vec![id.pid]);
        self.look_at(Look { filter, ..self.look.clone() });
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
        if self.overlay.take().is_some() {
            return;
        }
        if !self.tables.of(table).text.is_empty() {
            self.tables.of_mut(table).text.clear();
        } else if self.page.is_some() {
            self.close_page();
        } else if self.place() != Place::First {
            self.places[self.view.index()] = Place::First;
        } else if !self.look.filter.is_empty() {
            self.look_at(Look { filter: Filter::default(), ..self.look.clone() });
        } else {
            self.say("nothing to undo; q quits".into(), false);
        }
        self.refresh();
    }
}
