//! The parts of a report that say why: each in a file of its own, as rows for JSON and as text for people.
//!
//! Invariant: a part that was not measured is absent, never empty; its quality says why.

mod stuck;

use serde::Serialize;

use super::report::Scope;
use crate::model::Snapshot;

/// The parts. Their names are a contract, as those of the report are.
#[derive(Clone, Debug, Serialize)]
pub struct Sections {
    /// Calls that were entered and have not returned at the end, oldest first.
    pub stuck: Vec<stuck::Row>,
}

impl Sections {
    /// The parts of a snapshot, of the processes in scope.
    pub fn of(snapshot: &Snapshot, scope: &Scope) -> Self {
        Self { stuck: stuck::rows(snapshot, scope) }
    }

    /// Appends them for people.
    pub fn write(&self, out: &mut String) {
        stuck::write(&self.stuck, out);
    }
}
