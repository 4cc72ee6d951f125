//! An interval as the history keeps it once it is not the newest any more: what moved in it, as bytes.
//!
//! It holds the system calls and the run-queue delays of the host, and of each process that did anything or ended its
//! name, bytes, calls and delays. Not here: processes that rested, and what only the newest interval is asked for.
//!
//! Invariant: what was packed is unpacked exactly.

use std::sync::Arc;

use super::packed_disk::PackedDisk;
use crate::core::histogram::Histogram;
use crate::core::ident::ProcessId;
use crate::core::latency::LatencyStats;
use crate::model::{Ident, ProcessStats, Snapshot};
use crate::probes::network::stats::Traffic;
use crate::probes::syscalls::stats::CallStats;

/// System calls by number, as bytes: each with its length, so that others are skipped.
#[derive(Clone, Debug, Default)]
pub struct PackedCalls(Box<[u8]>);

/// A process that did anything.
#[derive(Clone, Debug)]
struct Entry {
    id: ProcessId,
    /// Where its numbers begin.
    at: u32,
    ident: Arc<Ident>,
}

/// One interval.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The calls of the host.
    pub calls: PackedCalls,
    /// The latencies of block devices.
    pub disk: PackedDisk,
    /// The run-queue delays of all CPUs.
    delays: Box<[u8]>,
    /// By identity.
    entries: Box<[Entry]>,
    /// Of each entry its bytes, its delays, then its calls.
    numbers: Box<[u8]>,
    weight: usize,
}

/// What one process did.
#[derive(Clone, Copy, Debug)]
pub struct Did<'a> {
    /// Who.
    pub id: ProcessId,
    /// Its name, and more of it while it lives.
    pub ident: &'a Ident,
    numbers: &'a [u8],
}

impl Packed {
    /// Packs `snapshot`, which `newer` follows and `older` came before.
    pub fn of(snapshot: &Snapshot, newer: &Snapshot, older: Option<&Self>) -> Self {
        let mut numbers = Vec::new();
        let mut entries = Vec::new();
        let mut idents = 0;
        for process in snapshot.processes.iter().filter(|p| p.is_active() || p.exited) {
            let at = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            put_process(&mut numbers, process);
            let (ident, kept) = ident_of(process, newer, older);
            idents += kept;
            entries.push(Entry { id: process.id, at, ident });
        }
        let calls = PackedCalls::of(&snapshot.calls);
        let disk = PackedDisk::of(&snapshot.disk);
        let mut delays = Vec::new();
        put_latency(&mut delays, &snapshot.delays());
        let entries: Box<[Entry]> = entries.into();
        let (numbers, delays): (Box<[u8]>, Box<[u8]>) = (numbers.into(), delays.into());
        let weight = calls.weight() + disk.weight() + delays.len() + numbers.len() + size_of_val(&*entries) + idents;
        Self { calls, disk, delays, entries, numbers, weight }
    }

    /// The bytes that it keeps alive.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// The run-queue delays of all CPUs.
    pub fn delays(&self) -> LatencyStats {
        Reader(&self.delays).latency()
    }

    /// What each process did, by identity.
    pub fn processes(&self) -> impl Iterator<Item = Did<'_>> {
        (0..self.entries.len()).map(|at| self.did(at))
    }

    /// What a process did, if it did anything.
    pub fn process(&self, id: ProcessId) -> Option<Did<'_>> {
        self.entries.binary_search_by_key(&id, |e| e.id).ok().map(|at| self.did(at))
    }

    /// A process with this pid, if it did anything.
    pub fn pid(&self, pid: u32) -> Option<Did<'_>> {
        let after = self.entries.partition_point(|e| e.id.pid <= pid);
        let at = after.checked_sub(1).filter(|&at| self.entries[at].id.pid == pid)?;
        Some(self.did(at))
    }

    fn did(&self, at: usize) -> Did<'_> {
        let entry = &self.entries[at];
        let end = self.entries.get(at + 1).map_or(self.numbers.len(), |next| next.at as usize);
        Did { id: entry.id, ident: &entry.ident, numbers: self.numbers.get(entry.at as usize..end).unwrap_or_default() }
    }
}

/// The name to keep of a process, and what memory only the history keeps for it. One that lives on has its name anyway; of one
/// that was born and ended in this interval only what is asked for is kept.
fn ident_of(process: &ProcessStats, newer: &Snapshot, older: Option<&Packed>) -> (Arc<Ident>, usize) {
    let lives = newer.processes.binary_search_by_key(&process.id, |p| p.id);
    if lives.is_ok_and(|at| Arc::ptr_eq(&newer.processes[at].ident, &process.ident)) {
        return (Arc::clone(&process.ident), 0);
    }
    let old = &process.ident;
    let ident = if older.is_some_and(|o| o.process(process.id).is_some()) {
        Arc::clone(old)
    } else {
        Arc::new(Ident { comm: old.comm.clone(), cgroup: old.cgroup.clone(), ..Ident::default() })
    };
    let texts = [&ident.comm, &ident.cmdline, &ident.user, &ident.cgroup].map(String::capacity);
    let kept = size_of::<Ident>() + texts.iter().sum::<usize>();
    (ident, kept)
}

impl<'a> Did<'a> {
    /// Its bytes.
    pub fn traffic(&self) -> Traffic {
        Reader(self.numbers).traffic()
    }

    /// Its run-queue delays.
    pub fn runqueue(&self) -> LatencyStats {
        let mut reader = Reader(self.numbers);
        reader.traffic();
        reader.latency()
    }

    /// Its calls, by number.
    pub fn calls(&self) -> Calls<'a> {
        let mut reader = Reader(self.numbers);
        reader.traffic();
        reader.skip_latency();
        Calls(reader)
    }
}

impl PackedCalls {
    /// Packs `calls`.
    pub fn of(calls: &[CallStats]) -> Self {
        let mut bytes = Vec::new();
        put_calls(&mut bytes, calls);
        Self(bytes.into())
    }

    /// The bytes that they keep alive.
    pub const fn weight(&self) -> usize {
        self.0.len()
    }

    /// All of them, by number.
    pub const fn iter(&self) -> Calls<'_> {
        Calls(Reader(&self.0))
    }
}

/// Packed calls one after the other: their numbers, and what is needed to unpack them.
#[derive(Debug)]
pub struct Calls<'a>(Reader<'a>);

/// One call, not unpacked yet.
#[derive(Clone, Copy, Debug)]
pub struct PackedCall<'a> {
    /// Its number.
    pub nr: u32,
    latency: Reader<'a>,
}

impl PackedCall<'_> {
    /// Its latencies.
    pub fn latency(mut self) -> LatencyStats {
        self.latency.latency()
    }

    /// The call with its latencies.
    pub fn unpacked(self) -> CallStats {
        CallStats { nr: self.nr, latency: self.latency() }
    }
}

impl Calls<'_> {
    /// The latencies of one of them.
    pub fn find(mut self, nr: u32) -> Option<LatencyStats> {
        Iterator::find(&mut self, |call| call.nr >= nr).filter(|call| call.nr == nr).map(PackedCall::latency)
    }
}

impl<'a> Iterator for Calls<'a> {
    type Item = PackedCall<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let nr = u32::try_from(self.0.number()).unwrap_or(u32::MAX);
        let length = usize::try_from(self.0.number()).unwrap_or(usize::MAX);
        let (latency, rest) = self.0.0.split_at(length.min(self.0.0.len()));
        self.0 = Reader(rest);
        Some(PackedCall { nr, latency: Reader(latency) })
    }
}

fn put_process(out: &mut Vec<u8>, process: &ProcessStats) {
    let t = process.traffic;
    for number in [t.tx_bytes, t.rx_bytes, t.tx_calls, t.rx_calls] {
        put(out, number);
    }
    put_latency(out, &process.runqueue);
    put_calls(out, &process.calls);
}

fn put_calls(out: &mut Vec<u8>, calls: &[CallStats]) {
    let mut latency = Vec::new();
    for call in calls {
        latency.clear();
        put_latency(&mut latency, &call.latency);
        put(out, u64::from(call.nr));
        put(out, latency.len() as u64);
        out.extend_from_slice(&latency);
    }
}

fn put_latency(out: &mut Vec<u8>, l: &LatencyStats) {
    put(out, l.histogram.iter().count() as u64);
    let sums = [l.unsorted, l.denied, l.total_ns, l.blocked_ns, l.runnable_ns, l.max_ns, l.errors, l.interrupted];
    for number in sums {
        put(out, number);
    }
    let mut before = 0;
    for (index, count) in l.histogram.iter() {
        put(out, u64::from(index - before));
        put(out, count);
        before = index;
    }
}

/// Seven bits a byte, low ones first; the top bit says that more follow (LEB128).
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits")]
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 128")]
    out.push(number as u8);
}

/// Unpacks from the front. What is not there reads as 0.
#[derive(Clone, Copy, Debug)]
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 || shift > 63 {
                break;
            }
        }
        number
    }

    fn traffic(&mut self) -> Traffic {
        Traffic { tx_bytes: self.number(), rx_bytes: self.number(), tx_calls: self.number(), rx_calls: self.number() }
    }

    fn skip_latency(&mut self) {
        let buckets = self.number();
        (0..8 + 2 * buckets).for_each(|_| {
            self.number();
        });
    }

    fn latency(&mut self) -> LatencyStats {
        let buckets = self.number();
        let mut stats = LatencyStats {
            unsorted: self.number(),
            denied: self.number(),
            total_ns: self.number(),
            blocked_ns: self.number(),
            runnable_ns: self.number(),
            max_ns: self.number(),
            errors: self.number(),
            interrupted: self.number(),
            ..LatencyStats::empty()
        };
        let mut index = 0;
        let buckets = (0..buckets).map(|_| {
            index += u16::try_from(self.number()).unwrap_or(0);
            (index, self.number())
        });
        stats.histogram = Histogram::rising(buckets);
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::time::stats::TimeSplit;
    use proptest::prelude::*;

    fn any_latency() -> impl Strategy<Value = LatencyStats> {
        let buckets = proptest::collection::btree_map(0_u16..250, 1_u64..1 << 48, 0..20);
        // Delays are summed up: a few of them must fit.
        (buckets, any::<[u64; 8]>().prop_map(|n| n.map(|n| n >> 8))).prop_map(|(buckets, n)| LatencyStats {
            histogram: Histogram::rising(buckets.into_iter()),
            total_ns: n[0],
            blocked_ns: n[1],
            runnable_ns: n[2],
            max_ns: n[3],
            errors: n[4],
            interrupted: n[5],
            unsorted: n[6],
            denied: n[7],
        })
    }

    fn any_calls() -> impl Strategy<Value = Vec<CallStats>> {
        let by_number = proptest::collection::btree_map(0_u32..600, any_latency(), 0..6);
        by_number.prop_map(|all| all.into_iter().map(|(nr, latency)| CallStats { nr, latency }).collect())
    }

    fn process(pid: u32, calls: Vec<CallStats>, runqueue: LatencyStats, traffic: [u64; 4]) -> ProcessStats {
        let [tx_bytes, rx_bytes, tx_calls, rx_calls] = traffic.map(|n| n >> 1);
        ProcessStats {
            id: ProcessId { pid, birth: pid / 2 },
            parent: None,
            ident: Arc::new(Ident { comm: pid.to_string(), cmdline: "long".into(), ..Ident::default() }),
            threads: 1,
            exited: pid.is_multiple_of(3),
            calls,
            runqueue,
            traffic: Traffic { tx_bytes, rx_bytes, tx_calls, rx_calls },
            time: TimeSplit::default(),
            ..ProcessStats::default()
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_exactly(
            calls in any_calls(),
            did in proptest::collection::btree_map(1_u32..1000, (any_calls(), any_latency(), any::<[u64; 4]>()), 0..8),
        ) {
            let processes: Vec<_> = did.into_iter().map(|(pid, (c, r, t))| process(pid, c, r, t)).collect();
            let snapshot = Snapshot { calls, processes, ..Snapshot::default() };
            let packed = Packed::of(&snapshot, &Snapshot::default(), None);
            let unpacked = |calls: Calls<'_>| calls.map(PackedCall::unpacked).collect::<Vec<_>>();
            prop_assert_eq!(unpacked(packed.calls.iter()), snapshot.calls);
            for p in &snapshot.processes {
                let Some(did) = packed.process(p.id) else {
                    prop_assert!(!p.is_active() && !p.exited);
                    continue;
                };
                prop_assert_eq!(unpacked(did.calls()), p.calls.clone());
                prop_assert_eq!((did.runqueue(), did.traffic()), (p.runqueue.clone(), p.traffic));
                prop_assert_eq!(&did.ident.comm, &p.ident.comm);
                prop_assert!(packed.pid(p.id.pid).is_some());
                for call in &p.calls {
                    prop_assert_eq!(did.calls().find(call.nr), Some(call.latency.clone()));
                }
                prop_assert!(did.calls().find(600).is_none());
            }
        }
    }

    #[test]
    fn a_name_is_weighed_where_only_the_history_keeps_it() {
        let snapshot =
            Snapshot { processes: vec![process(3, Vec::new(), LatencyStats::empty(), [9; 4])], ..Snapshot::default() };
        let (living, gone) =
            (Packed::of(&snapshot, &snapshot, None), Packed::of(&snapshot, &Snapshot::default(), None));
        assert!(gone.weight() >= living.weight() + size_of::<Ident>());
        assert_eq!(gone.pid(3).map(|p| p.ident.cmdline.as_str()), Some(""), "it was never seen but here");
        let again = Packed::of(&snapshot, &Snapshot::default(), Some(&living));
        assert_eq!(again.pid(3).map(|p| p.ident.cmdline.as_str()), Some("long"), "shared with the interval before");
    }
}
