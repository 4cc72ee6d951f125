//! What is looked at, as another tool would be asked for it.

use super::App;
use crate::ui::command::{Asked, MOST_PIDS};

impl App {
    /// View, place, selection, and the processes that pass the filter.
    pub(in crate::ui) fn asked(&self) -> Asked {
        let passing = self.history().latest().filter(|_| !self.look.filter.is_empty()).map(|tick| {
            let passing = tick.snapshot.processes.iter().filter(|p| self.look.passes(p) && !p.exited);
            passing.map(|p| p.id.pid).take(MOST_PIDS + 1).collect::<Vec<_>>()
        });
        let pids = passing.unwrap_or_default();
        let too_many = pids.len() > MOST_PIDS;
        let pids = if too_many { Vec::new() } else { pids };
        Asked { view: self.context(), place: self.place(), selected: self.selected(), pids, too_many }
    }
}
