//! The parts of a report that say why: each in a file of its own, as rows for JSON and as text for people.
//!
//! Invariant: a part that was not measured is absent, never empty; its quality says why.

mod stuck;
mod verdicts;

use serde::Serialize;

use super::report::Scope;
use crate::model::Snapshot;
use crate::verdicts::Verdict;

/// The parts. Their names are a contract, as those of the report are.
#[derive(Clone, Debug, Serialize)]
pub struct Sections {
    /// What stood out.
    pub verdicts: Vec<verdicts::Row>,
    /// Calls that were entered and have not returned at the end, oldest first.
    pub stuck: Vec<stuck::Row>,
}

impl Sections {
    /// The parts of a snapshot, of the processes in scope.
    pub fn of(snapshot: &Snapshot, scope: &Scope, verdicts: Vec<Verdict>) -> Self {
        let in_scope = |v: &Verdict| v.pid.and_then(|pid| snapshot.process(pid)).is_none_or(|p| scope.holds(p.id));
        let verdicts = verdicts.into_iter().filter(in_scope).collect();
        Self { verdicts: verdicts::rows(verdicts), stuck: stuck::rows(snapshot, scope) }
    }

    /// Appends them for people.
    pub fn write(&self, out: &mut String) {
        verdicts::write(&self.verdicts, out);
        stuck::write(&self.stuck, out);
    }
}
