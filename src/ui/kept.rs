//! What the history keeps of single calls and errors beside its ticks: the exemplars of the last minute, and which errors there
//! were lately.
//!
//! Not here: their rows (`rows/`). Invariant: both are bounded: exemplars by their own bounds, errors by who lives.

use std::collections::BTreeMap;

use crate::core::ident::ProcessId;
use crate::model::Snapshot;
use crate::probes::exemplars::stats::Exemplars;

/// A process, a call and an error.
pub type Failing = (ProcessId, u32, u32);

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The exemplars of the last minute.
    pub exemplars: Exemplars,
    /// Errors of those who live, with how many ticks ago they were last seen.
    failing: BTreeMap<Failing, usize>,
}

impl Kept {
    /// Takes in the newest interval. An error is forgotten after `recent` intervals without it.
    pub fn push(&mut self, snapshot: &Snapshot, recent: usize) {
        self.exemplars.append(&snapshot.exemplars);
        self.exemplars.forget(snapshot.unix_s);
        let lives = |id: ProcessId| snapshot.processes.binary_search_by_key(&id, |p| p.id).is_ok();
        self.failing.retain(|(id, ..), ago| {
            *ago += 1;
            *ago < recent && lives(*id)
        });
        let seen = snapshot.errors.by_process.iter().map(|e| ((e.id, e.nr, e.errno), 0));
        self.failing.extend(seen);
    }

    /// The errors there were lately.
    pub fn failing(&self) -> impl Iterator<Item = Failing> + '_ {
        self.failing.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProcessStats;
    use crate::probes::errors::stats::{ErrorCount, Errors};

    const ID: ProcessId = ProcessId { pid: 7, birth: 1 };

    fn snapshot(failed: bool, lives: bool) -> Snapshot {
        let error = ErrorCount { id: ID, nr: 0, errno: 11, count: 1 };
        let by_process = if failed { vec![error] } else { Vec::new() };
        let processes = if lives { vec![ProcessStats { id: ID, ..ProcessStats::default() }] } else { Vec::new() };
        Snapshot { processes, errors: Errors { by_process, host: Vec::new() }, ..Snapshot::default() }
    }

    #[test]
    fn an_error_stays_for_some_intervals_while_its_process_lives() {
        let mut kept = Kept::default();
        kept.push(&snapshot(true, true), 3);
        (0..2).for_each(|_| kept.push(&snapshot(false, true), 3));
        assert_eq!(kept.failing().collect::<Vec<_>>(), [(ID, 0, 11)]);
        kept.push(&snapshot(false, true), 3);
        assert_eq!(kept.failing().count(), 0);
        kept.push(&snapshot(true, true), 3);
        kept.push(&snapshot(false, false), 3);
        assert_eq!(kept.failing().count(), 0, "its process is gone");
    }
}
