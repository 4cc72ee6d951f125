//! Rows of those who waited for a CPU, by process or by control group.
//!
//! Not here: what was measured (`probes/blame/stats.rs`). Invariant: a row's parts are those of the processes that pass the
//! filter; who is to blame for them is anybody.

use super::everything::hash_of;
use super::history::{History, Look};
use super::place::Place;
use super::rows::Row;
use super::selection::RowId;
use crate::core::ident::ProcessId;
use crate::model::{BlameStats, Ident};
use crate::probes::blame::stats::{Blame, Part, Victim};

/// Who waited, or ran.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A process.
    Process(ProcessId),
    /// A control group, by its path.
    Group(String),
}

impl Party {
    /// Its name for people.
    pub fn name(&self, stats: &BlameStats) -> String {
        match self {
            Self::Process(id) => stats.ident(*id).map_or_else(|| "(gone)".to_owned(), |ident| ident.comm.clone()),
            Self::Group(path) => path.clone(),
        }
    }

    /// The same where room is short: of a group the last part of its path.
    pub fn short_name(&self, stats: &BlameStats) -> String {
        match self {
            Self::Process(_) => self.name(stats),
            Self::Group(path) => path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path).to_owned(),
        }
    }

    /// Its pid, if it is a process.
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(id) => Some(id.pid),
            Self::Group(_) => None,
        }
    }
}

/// One who waited.
#[derive(Clone, Debug)]
pub struct VictimRow {
    /// Who, how long, and because of whom.
    pub victim: Victim<Party>,
    /// Its name.
    pub name: String,
    /// The same where room is short.
    pub short: String,
}

impl Row for VictimRow {
    fn id(&self) -> RowId {
        match &self.victim.who {
            Party::Process(id) => RowId::Process(*id),
            Party::Group(path) => RowId::Cgroup(hash_of(path)),
        }
    }

    fn group(&self) -> u8 {
        0
    }
}

/// Those who waited in the newest interval, whose name contains `text`.
pub fn victims(history: &History, look: &Look, text: &str, place: Place) -> Vec<VictimRow> {
    let Some(stats) = history.latest().and_then(|tick| tick.snapshot.blame.as_ref()) else { return Vec::new() };
    let nobody = Ident::default();
    let passing = stats.blame.victims.iter().filter(|v| look.lets(v.who, stats.ident(v.who).unwrap_or(&nobody)));
    let all: Vec<Victim<Party>> = if place == Place::BlameByGroup {
        let chosen = Blame { victims: passing.cloned().collect(), ..Blame::default() };
        chosen.by_group(|id| group_of(stats, id)).into_iter().map(|v| in_terms_of(&v, &Party::Group)).collect()
    } else {
        passing.map(|v| in_terms_of(v, &|id| Party::Process(id))).collect()
    };
    let text = text.to_lowercase();
    let named = all.into_iter().map(|victim| VictimRow {
        name: victim.who.name(stats),
        short: victim.who.short_name(stats),
        victim,
    });
    named.filter(|row| row.name.to_lowercase().contains(&text)).collect()
}

/// The control group of a process.
fn group_of(stats: &BlameStats, id: ProcessId) -> String {
    match stats.ident(id) {
        Some(ident) if ident.kthread => "(kernel threads)".into(),
        Some(ident) if !ident.cgroup.is_empty() => ident.cgroup.clone(),
        _ => "(unknown)".into(),
    }
}

fn in_terms_of<K: Clone>(victim: &Victim<K>, party: &impl Fn(K) -> Party) -> Victim<Party> {
    let part = |part: &Part<K>| Part { cause: part.cause, offender: part.offender.clone().map(party), ns: part.ns };
    Victim {
        who: party(victim.who.clone()),
        wait_ns: victim.wait_ns,
        elsewhere_ns: victim.elsewhere_ns,
        parts: victim.parts.iter().map(part).collect(),
    }
}
