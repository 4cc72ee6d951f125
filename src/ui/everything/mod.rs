//! The table of everything: all processes, flat, as a tree by parent, or by cgroup; parts of it folded, in chosen columns.
//!
//! Not here: what the columns are (`columns/everything.rs`), or where the table is drawn (`view.rs`).
//!
//! Invariant: a row is an identity. Siblings are ordered by the sum of what is below them, so folding moves no row.

mod chooser;
mod forest;
mod list;
mod row;
mod view;

use std::collections::HashSet;

pub use chooser::draw as draw_chooser;
pub use list::EveryList;
pub(super) use row::hash_of;
pub use row::{EveryRow, Lead};
pub use view::draw;

use super::columns::{Column, EVERYTHING, SHOWN_AT_FIRST};
use super::selection::RowId;

/// How rows stand to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each for itself.
    #[default]
    Flat,
    /// Below the parent.
    Tree,
    /// Below the cgroup.
    Cgroups,
}

impl Mode {
    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Flat => Self::Tree,
            Self::Tree => Self::Cgroups,
            Self::Cgroups => Self::Flat,
        }
    }

    /// A word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Tree => "tree by parent",
            Self::Cgroups => "by cgroup",
        }
    }
}

/// What the user chose; it is kept as long as the dashboard runs.
#[derive(Clone, Debug)]
pub struct Arrangement {
    /// How rows stand to each other.
    pub mode: Mode,
    /// Rows whose children are hidden.
    pub folded: HashSet<RowId>,
    /// Columns that are not shown, by their place: a bit each.
    hidden: u64,
}

impl Default for Arrangement {
    fn default() -> Self {
        let hidden =
            |(at, column): (usize, &Column<EveryRow>)| u64::from(!SHOWN_AT_FIRST.contains(&column.title)) << at;
        let hidden = EVERYTHING.iter().enumerate().map(hidden).sum();
        Self { mode: Mode::default(), folded: HashSet::new(), hidden }
    }
}

impl Arrangement {
    /// Is the column at this place shown?
    pub const fn shows(&self, at: usize) -> bool {
        self.hidden >> at & 1 == 0
    }

    /// Shows or hides a column; those that say whose row it is stay.
    pub fn toggle(&mut self, at: usize) {
        if EVERYTHING.get(at).is_some_and(|column| column.rank > 0) {
            self.hidden ^= 1 << at;
        }
    }

    /// Folds or unfolds a row.
    pub fn fold(&mut self, id: RowId) {
        if !self.folded.remove(&id) {
            self.folded.insert(id);
        }
    }

    /// Shows these columns, by name, and no others.
    ///
    /// # Errors
    /// A sentence that says which name is not known, and which are.
    pub fn choose(&mut self, names: &[String]) -> Result<(), String> {
        let mut hidden = 0;
        for (at, column) in EVERYTHING.iter().enumerate() {
            let is_asked_for = names.iter().any(|name| name.eq_ignore_ascii_case(column.title));
            hidden |= u64::from(!is_asked_for && column.rank > 0) << at;
        }
        let known = |name: &&String| EVERYTHING.iter().any(|c| name.eq_ignore_ascii_case(c.title));
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let all: Vec<&str> = EVERYTHING.iter().map(|column| column.title).collect();
            return Err(format!("there is no column {unknown:?} of processes; there are {}", all.join(", ")));
        }
        self.hidden = hidden;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_chosen_by_name_and_unknown_ones_are_named() {
        let mut arrangement = Arrangement::default();
        arrangement.choose(&["tx/s".into(), "CGROUP".into()]).unwrap();
        let shown = EVERYTHING.iter().enumerate().filter(|(at, _)| arrangement.shows(*at));
        assert_eq!(shown.map(|(_, c)| c.title).collect::<Vec<_>>(), ["PID", "COMMAND", "tx/s", "CGROUP"]);
        let error = arrangement.choose(&["colour".into()]).unwrap_err();
        assert!(error.contains("\"colour\"") && error.contains("CGROUP"), "{error}");
        assert!(!arrangement.shows(2), "what could not be understood changes nothing");
    }

    #[test]
    fn columns_that_say_whose_row_it_is_cannot_be_hidden() {
        let mut arrangement = Arrangement::default();
        (0..EVERYTHING.len()).for_each(|at| {
            if arrangement.shows(at) {
                arrangement.toggle(at);
            }
        });
        let shown = EVERYTHING.iter().enumerate().filter(|(at, _)| arrangement.shows(*at));
        assert_eq!(shown.map(|(_, c)| c.title).collect::<Vec<_>>(), ["PID", "COMMAND"]);
        assert!(EVERYTHING.len() < 64);
    }
}
