//! The parts of a report that say why: each in a file of its own, as rows for JSON and as text for people.
//!
//! Invariant: a part that was not measured is absent, never empty; its quality says why.

mod blame;
mod connections;
mod dead;
mod disk;
mod errors;
mod exemplars;
mod page;
mod stuck;
mod verdicts;

use serde::Serialize;

use super::report::Scope;
use crate::core::quality::Quality;
use crate::model::Snapshot;
use crate::verdicts::Verdict;

/// The parts. Their names are a contract, as those of the report are.
#[derive(Clone, Debug, Serialize)]
pub struct Sections {
    /// What stood out.
    pub verdicts: Vec<verdicts::Row>,
    /// The process, where the report is about one (`--pid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<page::Row>,
    /// Block devices; `null` where nothing measures them.
    pub disk: Option<disk::Section>,
    /// Calls that were entered and have not returned at the end, oldest first; `null` from procfs, which does not tell.
    pub stuck: Option<Vec<stuck::Row>>,
    /// Errors by process, call and number, the most often first.
    pub errors: Option<Vec<errors::Row>>,
    /// Processes that run in circles.
    pub spins: Option<Vec<errors::SpinRow>>,
    /// The slowest single calls, by call.
    pub exemplars: Option<Vec<exemplars::Row>>,
    /// Who ran while others waited for a CPU, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blame: Option<blame::Section>,
    /// What the errors are worth, for people.
    #[serde(skip)]
    errors_quality: Quality,
    /// Processes that ended.
    pub dead: Option<dead::Section>,
    /// Connections and listening sockets, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<connections::Section>,
}

impl Sections {
    /// The parts of a snapshot, of the processes in scope, whose rates are over `interval_ns`.
    pub fn of(snapshot: &Snapshot, scope: &Scope, verdicts: Vec<Verdict>, interval_ns: u64) -> Self {
        let in_scope = |v: &Verdict| v.pid.and_then(|pid| snapshot.process(pid)).is_none_or(|p| scope.holds(p.id));
        Self {
            verdicts: verdicts::rows(verdicts.into_iter().filter(in_scope).collect()),
            page: page::row(snapshot, scope),
            disk: disk::section(snapshot),
            stuck: (!snapshot.basis.is_procfs()).then(|| stuck::rows(snapshot, scope)),
            dead: dead::section(snapshot, scope, interval_ns),
            errors: errors::rows(snapshot, scope),
            spins: errors::spin_rows(snapshot, scope),
            exemplars: exemplars::rows(snapshot, scope),
            blame: blame::section(snapshot, scope),
            errors_quality: snapshot.qualities.errors,
            connections: connections::section(snapshot, scope, interval_ns),
        }
    }

    /// Appends them for people.
    pub fn write(&self, out: &mut String) {
        // There are no calls in flight where only procfs is read, and nothing else to judge by.
        verdicts::write(&self.verdicts, self.stuck.is_some(), out);
        if let Some(page) = &self.page {
            page::write(page, out);
        }
        disk::write(self.disk.as_ref(), out);
        if let Some(stuck) = &self.stuck {
            stuck::write(stuck, out);
        }
        errors::write(self.errors.as_deref(), self.spins.as_deref(), self.errors_quality.mark(), out);
        exemplars::write(self.exemplars.as_deref(), out);
        dead::write(self.dead.as_ref(), out);
        if let Some(section) = &self.connections {
            connections::write(section, out);
        }
        if let Some(section) = &self.blame {
            blame::write(section, out);
        }
    }
}
