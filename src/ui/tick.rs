//! One interval of the history as it is looked at: whole while it is the newest, packed from then on.
//!
//! Not here: which intervals are kept (`history.rs`), nor how bytes are made of them (`packed.rs`).
//!
//! Invariant: what the methods say of a process or a call is the same before and after packing.

use std::borrow::Cow;
use std::sync::Arc;

use super::history::Look;
use super::packed::{Packed, PackedCall, PackedCalls};
use crate::core::ident::ProcessId;
use crate::core::latency::LatencyStats;
use crate::model::{Host, Ident, ProcessStats, Snapshot};
use crate::probes::disk::stats::{Device, Direction};
use crate::probes::network::stats::Traffic;
use crate::probes::syscalls::stats::{CallStats, merge_calls, merged};
use crate::probes::time::stats::TimeSplit;

/// One interval as it is looked at.
#[derive(Debug)]
pub struct Tick {
    /// What happened. Of all but the newest tick without calls, CPUs and processes: the methods know of them.
    pub snapshot: Arc<Snapshot>,
    /// All calls that are shown, merged.
    pub syscalls: LatencyStats,
    /// All run-queue delays, merged.
    pub runqueue: LatencyStats,
    /// Bytes of the processes that pass.
    pub traffic: Traffic,
    /// Bytes of all processes; of the newest tick only.
    pub payload: Traffic,
    /// Where the time of the threads of the processes that pass went; of the newest tick only.
    pub time: TimeSplit,
    /// System calls of the processes that pass; `None` without a filter, when those of the host hold.
    filtered: Option<Calls>,
    /// `None` for the newest.
    packed: Option<Packed>,
    weight: usize,
}

#[derive(Debug)]
enum Calls {
    Whole(Vec<CallStats>),
    Packed(PackedCalls),
}

impl Tick {
    /// The newest interval.
    pub(super) fn new(snapshot: Arc<Snapshot>, look: &Look) -> Self {
        let passing = || snapshot.processes.iter().filter(|p| look.passes(p));
        let start = (Traffic::default(), TimeSplit::default());
        let (traffic, time) = passing().fold(start, |sum, p| (sum.0.plus(p.traffic), sum.1.plus(p.time)));
        let payload = if look.filter.is_empty() { traffic } else { snapshot.traffic() };
        let (filtered, runqueue) = if look.filter.is_empty() {
            (None, snapshot.delays())
        } else {
            let mut calls = Vec::new();
            passing().for_each(|process| merge_calls(&mut calls, &process.calls));
            (Some(calls), LatencyStats::sum(passing().map(|p| &p.runqueue)))
        };
        let syscalls = match &filtered {
            Some(calls) => merged(calls, |nr| look.keeps(nr)),
            None => merged(&snapshot.calls, |nr| look.keeps(nr)),
        };
        let weight = weight_of(&snapshot);
        let filtered = filtered.map(Calls::Whole);
        Self { snapshot, syscalls, runqueue, traffic, payload, time, filtered, packed: None, weight }
    }

    /// The same once `newer` has followed it.
    pub(super) fn pack(&self, newer: &Snapshot, older: Option<&Self>) -> Self {
        let packed = Packed::of(&self.snapshot, newer, older.and_then(|tick| tick.packed.as_ref()));
        let snapshot = Arc::new(without_the_packed(&self.snapshot));
        let filtered = match &self.filtered {
            Some(Calls::Whole(calls)) => Some(Calls::Packed(PackedCalls::of(calls))),
            Some(Calls::Packed(calls)) => Some(Calls::Packed(calls.clone())),
            None => None,
        };
        let (syscalls, runqueue) = (self.syscalls.clone(), self.runqueue.clone());
        let mut tick = Self {
            snapshot,
            syscalls,
            runqueue,
            traffic: self.traffic,
            payload: Traffic::default(),
            time: TimeSplit::default(),
            filtered,
            packed: Some(packed),
            weight: 0,
        };
        tick.weigh();
        tick
    }

    /// The same for another look.
    pub(super) fn looked_at(&self, look: &Look) -> Self {
        let Some(packed) = &self.packed else { return Self::new(Arc::clone(&self.snapshot), look) };
        let mut traffic = Traffic::default();
        let (mut calls, mut delays) = (Vec::new(), LatencyStats::empty());
        for did in packed.processes().filter(|did| look.lets(did.id, did.ident)) {
            traffic = traffic.plus(did.traffic());
            if !look.filter.is_empty() {
                merge_calls(&mut calls, &did.calls().map(PackedCall::unpacked).collect::<Vec<_>>());
                delays.merge(&did.runqueue());
            }
        }
        let keeps = |nr| look.keeps(nr);
        let (filtered, syscalls, runqueue) = if look.filter.is_empty() {
            let calls: Vec<_> = packed.calls.iter().filter(|call| keeps(call.nr)).map(PackedCall::unpacked).collect();
            (None, merged(&calls, keeps), packed.delays())
        } else {
            let syscalls = merged(&calls, keeps);
            (Some(Calls::Packed(PackedCalls::of(&calls))), syscalls, delays)
        };
        let (snapshot, packed) = (Arc::clone(&self.snapshot), Some(packed.clone()));
        let (payload, time) = (Traffic::default(), TimeSplit::default());
        let mut tick = Self { snapshot, syscalls, runqueue, traffic, payload, time, filtered, packed, weight: 0 };
        tick.weigh();
        tick
    }

    /// Memory that it takes, bytes.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    fn weigh(&mut self) {
        let filtered = match &self.filtered {
            Some(Calls::Packed(calls)) => calls.weight(),
            Some(Calls::Whole(_)) | None => 0,
        };
        let packed = self.packed.as_ref().map_or(0, Packed::weight);
        let merged = weight_of_latency(&self.syscalls) + weight_of_latency(&self.runqueue);
        self.weight = size_of::<Self>() + weight_of(&self.snapshot) + packed + filtered + merged;
    }

    /// Adds the numbers of the system calls that were made to `out`: on the host, or by the processes that pass a filter.
    pub fn calls_made(&self, out: &mut Vec<u32>) {
        match self.which() {
            Ok(calls) => out.extend(calls.iter().map(|c| c.nr)),
            Err(calls) => out.extend(calls.iter().map(|c| c.nr)),
        }
    }

    /// One system call, if it was made: of the host, or of the processes that pass a filter.
    pub fn call(&self, nr: u32) -> Option<Cow<'_, LatencyStats>> {
        match self.which() {
            Ok(calls) => find(calls, nr).map(Cow::Borrowed),
            Err(calls) => calls.iter().find(nr).map(Cow::Owned),
        }
    }

    /// The whole table of calls; empty for all but the newest tick.
    pub fn calls(&self) -> &[CallStats] {
        self.which().unwrap_or_default()
    }

    fn which(&self) -> Result<&[CallStats], &PackedCalls> {
        match (&self.filtered, &self.packed) {
            (Some(Calls::Whole(calls)), _) => Ok(calls),
            (Some(Calls::Packed(calls)), _) => Err(calls),
            (None, Some(packed)) => Err(&packed.calls),
            (None, None) => Ok(&self.snapshot.calls),
        }
    }

    /// One process of the newest tick, if it lived.
    pub fn process(&self, id: ProcessId) -> Option<&ProcessStats> {
        let processes = &self.snapshot.processes;
        processes.binary_search_by_key(&id, |p| p.id).ok().map(|at| &processes[at])
    }

    /// One system call of one process, if it made it.
    pub fn call_of(&self, id: ProcessId, nr: u32) -> Option<Cow<'_, LatencyStats>> {
        match &self.packed {
            None => find(&self.process(id)?.calls, nr).map(Cow::Borrowed),
            Some(packed) => packed.process(id)?.calls().find(nr).map(Cow::Owned),
        }
    }

    /// The run-queue delays of one process, if it did anything.
    pub fn runqueue_of(&self, id: ProcessId) -> Option<Cow<'_, LatencyStats>> {
        match &self.packed {
            None => self.process(id).map(|p| Cow::Borrowed(&p.runqueue)),
            Some(packed) => packed.process(id).map(|did| Cow::Owned(did.runqueue())),
        }
    }

    /// The bytes of one process, if it did anything.
    pub fn traffic_of(&self, id: ProcessId) -> Option<Traffic> {
        match &self.packed {
            None => self.process(id).map(|p| p.traffic),
            Some(packed) => packed.process(id).map(|did| did.traffic()),
        }
    }

    /// The latencies of what is chosen of block devices and directions.
    pub fn disk(&self, chosen: impl Fn(Device, Direction) -> bool) -> LatencyStats {
        match &self.packed {
            None => self.snapshot.disk.latency(chosen),
            Some(packed) => packed.disk.latency(chosen),
        }
    }

    /// Who had this pid, if it did anything.
    pub fn who(&self, pid: u32) -> Option<&Ident> {
        match &self.packed {
            None => self.snapshot.process(pid).map(|p| &*p.ident),
            Some(packed) => packed.pid(pid).map(|did| did.ident),
        }
    }

    /// Adds the processes that made one call to `out`.
    pub fn callers(&self, nr: u32, out: &mut Vec<ProcessId>) {
        match &self.packed {
            None => out.extend(self.snapshot.processes.iter().filter(|p| find(&p.calls, nr).is_some()).map(|p| p.id)),
            Some(packed) => {
                out.extend(packed.processes().filter(|p| p.calls().any(|call| call.nr == nr)).map(|p| p.id));
            }
        }
    }
}

fn find(calls: &[CallStats], nr: u32) -> Option<&LatencyStats> {
    calls.binary_search_by_key(&nr, |c| c.nr).ok().map(|at| &calls[at].latency)
}

/// What remains of a snapshot beside what is packed: what views draw the course of.
fn without_the_packed(whole: &Snapshot) -> Snapshot {
    Snapshot {
        unix_s: whole.unix_s,
        interval_ns: whole.interval_ns,
        host: Host { name: String::new(), kernel: String::new(), ..whole.host },
        interfaces: whole.interfaces.clone(),
        own: whole.own,
        programs: whole.programs.clone(),
        lost: whole.lost,
        lost_ever: whole.lost_ever,
        sampling: whole.sampling,
        basis: whole.basis.clone(),
        qualities: whole.qualities,
        probes: Arc::clone(&whole.probes),
        notes: Arc::clone(&whole.notes),
        ..Snapshot::default()
    }
}

fn weight_of_latency(latency: &LatencyStats) -> usize {
    latency.histogram.weight()
}

/// About how much memory a snapshot keeps alive.
fn weight_of(snapshot: &Snapshot) -> usize {
    let calls =
        |calls: &[CallStats]| size_of_val(calls) + calls.iter().map(|c| weight_of_latency(&c.latency)).sum::<usize>();
    let processes = snapshot.processes.iter();
    let interfaces = snapshot.interfaces.iter();
    processes.map(|p| size_of::<ProcessStats>() + calls(&p.calls) + weight_of_latency(&p.runqueue)).sum::<usize>()
        + calls(&snapshot.calls)
        + snapshot.cpus.iter().map(|c| size_of_val(c) + weight_of_latency(&c.delay)).sum::<usize>()
        + snapshot.disk.flows().map(|(_, f)| size_of_val(f) + 3 * weight_of_latency(&f.total)).sum::<usize>()
        + interfaces.map(|i| size_of_val(i) + i.name.capacity()).sum::<usize>()
        + size_of_val(&*snapshot.programs.runs)
        + size_of_val(&*snapshot.programs.misses)
        + size_of_val(&*snapshot.programs.attached)
        + size_of_val(&*snapshot.inflight)
        + size_of_val(&*snapshot.connections)
        + size_of_val(&*snapshot.errors.by_process)
        + size_of::<Snapshot>()
}
