//! What was lost, and which groups of numbers are worth less for it.

use serde::Serialize;

use super::report::QualityRow;
use crate::core::quality::Quality;
use crate::model::Snapshot;

/// What was lost in the interval.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DroppedRow {
    /// Events of threads for which there was no entry.
    pub threads: u64,
    /// Latencies for which there was no record.
    pub latency: u64,
    /// Errors for which there was no counter.
    pub errors: u64,
    /// Exemplars that were overwritten before they were read.
    pub exemplars: u64,
    /// Processes that ended and found no room in the ledger.
    pub dead: u64,
    /// Requests of block devices for which there was no room.
    pub disk: u64,
    /// Connections for which there was no room.
    pub connections: u64,
    /// Waits whose causes found no room.
    pub blame: u64,
    /// Events, since the start, whose program was at work on their CPU already.
    pub missed: u64,
}

impl DroppedRow {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self {
            threads: snapshot.lost.threads,
            latency: snapshot.lost.records,
            errors: snapshot.lost.errors,
            exemplars: snapshot.exemplars.overwritten,
            dead: snapshot.lost.dead,
            disk: snapshot.lost.disk,
            connections: snapshot.lost.connections,
            blame: snapshot.lost.blame,
            missed: snapshot.programs.missed(),
        }
    }

    /// All of it, as a number of events. (Single calls are a choice: that one gave way to another is no loss of a number.)
    pub(super) fn all(&self) -> u64 {
        let Self { threads, latency, errors, exemplars: _, dead, disk, connections, blame, missed } = *self;
        [threads, latency, errors, dead, disk, connections, blame, missed].into_iter().fold(0, u64::saturating_add)
    }
}

impl QualityRow {
    /// The names of the groups that are worth just this.
    pub(super) fn of_quality(self, quality: Quality) -> Vec<&'static str> {
        let groups = [
            ("system calls", self.syscalls),
            ("waits for a CPU", self.runqueue),
            ("bytes", self.network),
            ("thread time", self.time),
            ("errors", self.errors),
            ("processes that ended", self.dead),
            ("requests of block devices", self.disk),
        ];
        groups.into_iter().filter(|(_, of)| *of == quality).map(|(name, _)| name).collect()
    }
}
