//! Blame with the names of those concerned: some are dead by the time when a wait ends that they are to blame for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sample::Ident;
use crate::core::ident::ProcessId;
use crate::probes::blame::stats::{Blame, Reading};

/// Names by process, sorted.
pub type Names = Arc<[(ProcessId, Arc<Ident>)]>;

/// Cumulative pairs, as a sample has them.
#[derive(Clone, Debug, Default)]
pub struct BlameSample {
    /// The pairs.
    pub reading: Reading,
    /// Everybody in them whose name is known.
    pub names: Names,
}

/// What was waited in an interval.
#[derive(Clone, Debug, Default)]
pub struct BlameStats {
    /// The victims and their offenders.
    pub blame: Blame,
    names: Names,
}

impl BlameStats {
    /// With these names.
    pub const fn new(blame: Blame, names: Names) -> Self {
        Self { blame, names }
    }

    /// What happened from `prev` to `next`, samples at these times.
    pub fn between(prev: Option<&BlameSample>, next: &BlameSample, times: (u64, u64)) -> Self {
        let blame = Blame::between(prev.map(|p| &p.reading), &next.reading, times);
        Self { blame, names: Arc::clone(&next.names) }
    }

    /// Adds the interval that followed this one.
    pub fn append(&mut self, later: &Self) {
        self.blame.append(&later.blame);
        let all: BTreeMap<_, _> = self.names.iter().chain(later.names.iter()).map(|(id, i)| (*id, i)).collect();
        self.names = all.into_iter().map(|(id, ident)| (id, Arc::clone(ident))).collect();
    }

    /// Who a process is or was.
    pub fn ident(&self, id: ProcessId) -> Option<&Ident> {
        let at = self.names.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        self.names.get(at).map(|(_, ident)| &**ident)
    }
}
