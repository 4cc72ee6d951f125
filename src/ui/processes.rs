//! The table of processes: which are listed, in what order, and a row of one when it is looked at.
//!
//! Not here: columns (`columns.rs`). Invariant: what is derived for a process that is not shown is its place and what it is
//! sorted by, in buffers that are used again; a process that rests costs a look at it.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::sync::Arc;

use super::columns::{Column, Key};
use super::history::{History, Look, Tick};
use super::rows::{Digest, RECENT, Row, Rows, share};
use super::selection::{Ids, RowId};
use crate::core::histogram::bounds;
use crate::core::ident::ProcessId;
use crate::core::latency::LatencyStats;
use crate::model::ProcessStats;
use crate::probes::syscalls::names::waits;
use crate::probes::syscalls::stats::{CallStats, merged};

/// Which processes a table lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// All that pass the filter.
    #[default]
    Everybody,
    /// Those that make one system call.
    Callers(u32),
    /// Those that waited for a CPU.
    Delayed,
    /// Those that moved bytes.
    Talking,
    /// Those that had block devices do something.
    OnDisk,
}

impl Who {
    /// What the table is about, of one process.
    fn part(self, process: &ProcessStats) -> u64 {
        match self {
            Self::Everybody => process.time.on_cpu_ns(),
            Self::Callers(nr) => call(process, nr).map_or(0, |c| c.latency.total_ns),
            Self::Delayed => process.runqueue.total_ns,
            Self::Talking => process.traffic.bytes(),
            Self::OnDisk => process.disk.bytes(),
        }
    }
}

fn call(process: &ProcessStats, nr: u32) -> Option<&CallStats> {
    process.calls.binary_search_by_key(&nr, |c| c.nr).ok().map(|at| &process.calls[at])
}

/// Which calls of a process count.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// This one alone.
    only: Option<u32>,
    hide_waiting: bool,
}

impl Kept {
    fn has(self, nr: u32) -> bool {
        match self.only {
            Some(only) => nr == only,
            None => !(self.hide_waiting && waits(nr)),
        }
    }
}

/// A process of an interval. Its distributions are merged when they are asked for.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    tick: Arc<Tick>,
    at: usize,
    kept: Kept,
    /// Its part of what the table is about, 0…1.
    pub share: f64,
    calls: OnceCell<Digest>,
    delay: OnceCell<Digest>,
}

impl ProcessRow {
    fn new(tick: &Arc<Tick>, kept: Kept) -> Self {
        Self { tick: Arc::clone(tick), at: 0, kept, share: 0.0, calls: OnceCell::new(), delay: OnceCell::new() }
    }

    /// Turns to another process.
    fn turn_to(&mut self, at: usize) {
        self.at = at;
        self.calls.take();
        self.delay.take();
    }

    /// The process.
    pub fn process(&self) -> &ProcessStats {
        &self.tick.snapshot.processes[self.at]
    }

    /// Its system calls: those that are shown, or the one whose callers are listed.
    pub fn calls(&self) -> &Digest {
        let process = self.process();
        let of = || match self.kept.only {
            Some(nr) => call(process, nr).map(|c| Digest::of(&c.latency)).unwrap_or_default(),
            None if process.calls.is_empty() => Digest::default(),
            None => Digest::of(&merged(&process.calls, |nr| self.kept.has(nr))),
        };
        self.calls.get_or_init(of)
    }

    /// Its run-queue delays.
    pub fn delay(&self) -> &Digest {
        self.delay.get_or_init(|| Digest::of(&self.process().runqueue))
    }

    /// The call that most of its slowest percent of calls were.
    pub fn slow_call(&self) -> Option<u32> {
        let from_ns = self.calls().p99?;
        let slow = |latency: &LatencyStats| -> u64 {
            let histogram = &latency.histogram;
            let reaches = |index| bounds(index).1 >= from_ns as f64;
            histogram.iter().filter(|&(index, _)| reaches(index)).map(|(_, n)| n).fold(0, u64::saturating_add)
        };
        let calls = self.process().calls.iter().filter(|c| self.kept.has(c.nr));
        calls.map(|c| (slow(&c.latency), c.nr)).filter(|&(n, _)| n > 0).max().map(|(_, nr)| nr)
    }
}

impl Row for ProcessRow {
    fn id(&self) -> RowId {
        RowId::Process(self.process().id)
    }

    fn group(&self) -> u8 {
        0
    }
}

/// The processes that a table lists, in its order.
#[derive(Debug, Default)]
pub struct ProcessList {
    /// The interval; `None` when nothing is listed.
    tick: Option<Arc<Tick>>,
    who: Who,
    kept: Kept,
    /// Places in the snapshot.
    order: Vec<u32>,
    /// Sum of all parts.
    total: u64,
    /// What is sorted: keys in their order, with the places.
    keys: Vec<(u64, u32)>,
}

impl ProcessList {
    /// Lists nothing.
    pub fn clear(&mut self) {
        self.tick = None;
        self.order.clear();
    }

    /// Lists the processes of the newest interval that pass the filter, contain `text`, and belong to `who`, by identity.
    pub fn list(&mut self, history: &History, look: &Look, text: &str, who: Who) {
        self.clear();
        let Some(tick) = history.latest() else { return };
        let only = if let Who::Callers(nr) = who { Some(nr) } else { None };
        (self.who, self.kept) = (who, Kept { only, hide_waiting: look.hide_waiting });
        let callers = only.map(|nr| callers(history, nr)).unwrap_or_default();
        let recent = |at: usize, process: &ProcessStats| match who {
            Who::Everybody => true,
            Who::Callers(_) => callers.binary_search(&process.id).is_ok(),
            Who::Delayed => history.was_delayed(at, RECENT),
            Who::Talking => history.was_talking(at, RECENT),
            Who::OnDisk => history.was_on_disk(at, RECENT),
        };
        let (text, mut scratch) = (text.to_lowercase(), String::new());
        self.total = 0;
        for ((at, process), place) in tick.snapshot.processes.iter().enumerate().zip(0_u32..) {
            if recent(at, process) && look.passes(process) && contains(process, &text, &mut scratch) {
                self.order.push(place);
                self.total = self.total.saturating_add(who.part(process));
            }
        }
        self.tick = Some(Arc::clone(tick));
    }

    /// Sorts by a column, the unknown last, equals by identity.
    pub fn sort(&mut self, columns: &[Column<ProcessRow>], at: usize, falling: bool) {
        let Some(key) = columns.get(at).and_then(|c| c.key) else { return };
        let Some(tick) = &self.tick else { return };
        let mut row = ProcessRow::new(tick, self.kept);
        self.keys.clear();
        for &place in &self.order {
            row.turn_to(place as usize);
            match key(&row) {
                Key::Number(number) => self.keys.push((number.map_or(u64::MAX, |n| rank(n, falling)), place)),
                Key::Text(_) => break,
            }
        }
        if self.keys.len() == self.order.len() {
            self.keys.sort_unstable();
            self.order.clear();
            self.order.extend(self.keys.iter().map(|&(_, place)| place));
            return;
        }
        let mut other = row.clone();
        self.order.sort_by(|&a, &b| {
            row.turn_to(a as usize);
            other.turn_to(b as usize);
            key(&row).compare(key(&other), falling)
        });
    }
}

/// The processes that made a call in one of the last intervals.
fn callers(history: &History, nr: u32) -> Vec<ProcessId> {
    let mut all = Vec::new();
    history.last(RECENT).for_each(|tick| tick.callers(nr, &mut all));
    all.sort_unstable();
    all.dedup();
    all
}

/// A number that orders as `number` does, or the other way round; the highest stays free for what is not known.
fn rank(number: f64, falling: bool) -> u64 {
    let bits = number.to_bits();
    let rising = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    (if falling { !rising } else { rising }).min(u64::MAX - 1)
}

/// Does any text of a process contain `text`, which is in small letters?
pub(super) fn contains(process: &ProcessStats, text: &str, scratch: &mut String) -> bool {
    let ident = &process.ident;
    let mut found = |put: &dyn Fn(&mut String)| {
        scratch.clear();
        put(scratch);
        scratch.contains(text)
    };
    text.is_empty()
        || [&ident.comm, &ident.cmdline, &ident.user]
            .iter()
            .any(|t| found(&|s| s.extend(t.chars().flat_map(char::to_lowercase))))
        || found(&|s| write!(s, "{}", process.id.pid).unwrap_or_default())
}

impl Rows<ProcessRow> for Option<&ProcessList> {
    fn count(&self) -> usize {
        self.map_or(0, |list| list.order.len())
    }

    fn with<T>(&self, at: usize, look: impl FnOnce(&ProcessRow) -> T) -> Option<T> {
        let list = (*self)?;
        let (tick, place) = (list.tick.as_ref()?, *list.order.get(at)?);
        let mut row = ProcessRow::new(tick, list.kept);
        row.turn_to(place as usize);
        row.share = share(list.who.part(row.process()), list.total);
        Some(look(&row))
    }
}

impl Ids for ProcessList {
    fn count(&self) -> usize {
        self.order.len()
    }

    fn at(&self, index: usize) -> Option<RowId> {
        let (tick, place) = (self.tick.as_ref()?, *self.order.get(index)?);
        tick.snapshot.processes.get(place as usize).map(|p| RowId::Process(p.id))
    }

    fn find(&self, id: RowId) -> Option<usize> {
        let (RowId::Process(id), Some(tick)) = (id, &self.tick) else { return None };
        let place = tick.snapshot.processes.binary_search_by_key(&id, |p| p.id).ok()?;
        self.order.iter().position(|&at| at as usize == place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_order_as_numbers_do(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(rank(a, false).cmp(&rank(b, false)), a.total_cmp(&b));
            prop_assert_eq!(rank(a, true).cmp(&rank(b, true)), b.total_cmp(&a));
            prop_assert!(rank(a, true) < u64::MAX && rank(a, false) < u64::MAX);
        }
    }
}
