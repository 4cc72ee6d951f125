//! A row of the table of everything: a process, or what stands below a row, summed up.
//!
//! Invariant: what a sum shows is exactly the sum of its parts; distributions are merged when they are asked for.

use std::cell::OnceCell;
use std::sync::Arc;

use super::forest::Node;
use crate::core::latency::LatencyStats;
use crate::core::quality::Quality;
use crate::model::ProcessStats;
use crate::probes::disk::stats::DiskTraffic;
use crate::probes::network::stats::Traffic;
use crate::probes::syscalls::names::waits;
use crate::probes::time::stats::{Doing, TimeSplit};
use crate::ui::history::Tick;
use crate::ui::rows::{Digest, Row};
use crate::ui::selection::RowId;

/// Who stands at the head of a row.
#[derive(Clone, Debug)]
pub enum Lead {
    /// The process at this place of the snapshot.
    Process(u32),
    /// A cgroup: its whole path, and how many bytes of that are its parent's.
    Cgroup(Arc<str>, usize),
}

impl Lead {
    /// A cgroup's own part of its path.
    pub fn label(&self) -> &str {
        match self {
            Self::Process(_) => "",
            Self::Cgroup(path, from) => path.get(*from..).unwrap_or(path),
        }
    }
}

/// The rows of an interval, in their order.
#[derive(Debug)]
pub struct Rows {
    /// The interval.
    pub tick: Arc<Tick>,
    /// Who there is.
    pub leads: Arc<[Lead]>,
    /// Where they stand.
    pub nodes: Vec<Node>,
    /// Calls that wait by design do not count.
    pub hide_waiting: bool,
}

/// A row.
#[derive(Clone, Debug)]
pub struct EveryRow {
    rows: Arc<Rows>,
    at: usize,
    /// What is below counts as well.
    pub is_sum: bool,
    /// It stands so deep.
    pub depth: u16,
    /// How many rows are below it.
    pub below: usize,
    /// They are hidden.
    pub folded: bool,
    calls: OnceCell<Digest>,
    delay: OnceCell<Digest>,
}

impl EveryRow {
    /// The row at a place, shown with what is below it or alone. A cgroup has nothing of its own.
    pub fn new(rows: &Arc<Rows>) -> Self {
        Self {
            rows: Arc::clone(rows),
            at: 0,
            is_sum: false,
            depth: 0,
            below: 0,
            folded: false,
            calls: OnceCell::new(),
            delay: OnceCell::new(),
        }
    }

    /// Turns to another place.
    pub fn turn_to(&mut self, at: usize, is_sum: bool) {
        self.calls.take();
        self.delay.take();
        let Some(node) = self.rows.nodes.get(at) else { return };
        self.at = at;
        self.depth = node.depth;
        self.below = (node.end as usize).saturating_sub(at + 1);
        self.is_sum = is_sum || matches!(self.lead(), Some(Lead::Cgroup(..)));
    }

    /// Who is at its head.
    pub fn lead(&self) -> Option<&Lead> {
        self.rows.leads.get(self.rows.nodes.get(self.at)?.item as usize)
    }

    /// The process at its head.
    pub fn process(&self) -> Option<&ProcessStats> {
        self.process_at(self.at)
    }

    fn process_at(&self, at: usize) -> Option<&ProcessStats> {
        match self.rows.leads.get(self.rows.nodes.get(at)?.item as usize)? {
            Lead::Process(place) => self.rows.tick.snapshot.processes.get(*place as usize),
            Lead::Cgroup(..) => None,
        }
    }

    /// Its processes: one, or all that it sums up.
    pub fn parts(&self) -> impl Iterator<Item = &ProcessStats> {
        let end = if self.is_sum { self.at + 1 + self.below } else { self.at + 1 };
        (self.at..end).filter_map(|at| self.process_at(at))
    }

    /// The sum of a number.
    pub fn sum(&self, number: impl Fn(&ProcessStats) -> u64) -> u64 {
        self.parts().map(number).fold(0, u64::saturating_add)
    }

    /// Where the time of all threads went.
    pub fn time(&self) -> TimeSplit {
        self.parts().fold(TimeSplit::default(), |sum, p| sum.plus(p.time))
    }

    /// What times on and waits for a CPU are worth, where those of all processes are worth `of_all`.
    pub fn quality(&self, of_all: Quality) -> Quality {
        self.parts().map(|p| p.quality(of_all)).max().unwrap_or(of_all)
    }

    /// Bytes.
    pub fn traffic(&self) -> Traffic {
        self.parts().fold(Traffic::default(), |sum, p| sum.plus(p.traffic))
    }

    /// What they asked of block devices.
    pub fn disk(&self) -> DiskTraffic {
        self.parts().fold(DiskTraffic::default(), |sum, p| sum.plus(p.disk))
    }

    /// What they are doing: of several what is most noteworthy.
    pub fn doing(&self) -> Doing {
        self.parts().map(|p| p.doing).max().unwrap_or_default()
    }

    /// The system calls that are shown.
    pub fn calls(&self) -> &Digest {
        let keeps = |nr| !(self.rows.hide_waiting && waits(nr));
        self.calls.get_or_init(|| {
            let calls = self.parts().flat_map(|p| &p.calls).filter(|call| keeps(call.nr));
            digest(calls.map(|call| &call.latency))
        })
    }

    /// The waits for a CPU.
    pub fn delay(&self) -> &Digest {
        self.delay.get_or_init(|| digest(self.parts().map(|p| &p.runqueue).filter(|delay| !delay.is_empty())))
    }
}

/// Most processes rest: nothing is merged for them.
fn digest<'a>(mut parts: impl Iterator<Item = &'a LatencyStats>) -> Digest {
    match (parts.next(), parts.next()) {
        (None, _) => Digest::default(),
        (Some(one), None) => Digest::of(one),
        (Some(one), Some(other)) => Digest::of(&LatencyStats::sum([one, other].into_iter().chain(parts))),
    }
}

impl Row for EveryRow {
    fn id(&self) -> RowId {
        match self.lead() {
            Some(Lead::Cgroup(path, _)) => RowId::Cgroup(hash_of(path)),
            _ => RowId::Process(self.process().map(|p| p.id).unwrap_or_default()),
        }
    }

    fn group(&self) -> u8 {
        0
    }
}

/// A path as a number: FNV-1a of 64 bits, under which paths of one host do not meet.
pub(in crate::ui) fn hash_of(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
