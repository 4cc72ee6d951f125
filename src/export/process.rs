//! What a report says of a process beyond its distributions: where its threads' time went, and its block I/O.
//!
//! Invariant: what procfs does not tell is `null`.

use serde::Serialize;

use crate::model::Basis;
use crate::probes::disk::stats::DiskTraffic;
use crate::probes::time::causes::BlockedBy;
use crate::probes::time::stats::TimeSplit;

/// Where the time of its threads went, ns.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimeRow {
    /// On CPU outside system calls.
    pub user_ns: u64,
    /// On CPU inside system calls.
    pub kernel_ns: u64,
    /// Ready, waiting for a CPU.
    pub runnable_ns: u64,
    /// Waiting for anything else.
    pub blocked_ns: u64,
    /// The part of `runnable_ns` that a hypervisor took.
    pub stolen_ns: Option<u64>,
    /// The parts of `blocked_ns`.
    pub blocked_by: Option<BlockedBy>,
}

impl TimeRow {
    pub(super) fn of(time: TimeSplit, basis: &Basis) -> Self {
        let told = !basis.is_procfs();
        Self {
            user_ns: time.user_ns,
            kernel_ns: time.kernel_ns,
            runnable_ns: time.runnable_ns,
            blocked_ns: time.blocked_ns,
            stolen_ns: told.then_some(time.stolen_ns),
            blocked_by: told.then_some(time.blocked_by),
        }
    }

    /// Time on a CPU.
    pub const fn on_cpu_ns(self) -> u64 {
        self.user_ns.saturating_add(self.kernel_ns)
    }
}

/// What it had block devices do. From procfs: bytes it read from storage, and those it made others write there later.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DiskRow {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads that ended.
    pub reads: Option<u64>,
    /// Writes that ended.
    pub writes: Option<u64>,
    /// Flushes without data, and discards.
    pub others: Option<u64>,
    /// How long all of them took, ns.
    pub total_ns: Option<u64>,
}

impl DiskRow {
    pub(super) fn of(disk: DiskTraffic, basis: &Basis) -> Self {
        let counted = |n: u64| (!basis.is_procfs()).then_some(n);
        Self {
            read_bytes: disk.read_bytes,
            write_bytes: disk.write_bytes,
            reads: counted(disk.reads),
            writes: counted(disk.writes),
            others: counted(disk.others),
            total_ns: counted(disk.total_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_procfs_does_not_tell_is_null() {
        let procfs = Basis::Procfs { reason: "".into(), advice: "".into() };
        let time =
            serde_json::to_value(TimeRow::of(TimeSplit { user_ns: 3, ..TimeSplit::default() }, &procfs)).unwrap();
        assert!(time["user_ns"] == 3 && time["blocked_by"].is_null() && time["stolen_ns"].is_null(), "{time}");
        let disk = DiskTraffic { read_bytes: 7, ..DiskTraffic::default() };
        let row = serde_json::to_value(DiskRow::of(disk, &procfs)).unwrap();
        assert!(row["read_bytes"] == 7 && row["reads"].is_null() && row["total_ns"].is_null(), "{row}");
        let row = serde_json::to_value(DiskRow::of(disk, &Basis::Programs)).unwrap();
        assert_eq!(row["reads"], 0);
    }
}
