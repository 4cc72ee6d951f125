//! The latency records of a sample: cumulative, sparse, and all in two pieces of memory.
//!
//! A kilobyte of buckets a record is mostly zeros. So the buckets that hold something are kept one record after the other
//! in one list, and each record knows its part of it.
//!
//! Invariant: records are sorted by key, buckets of a record by index, without zeros.

use kscope_layout::{RecordKey, Sums};

use crate::core::ident::ProcessId;

/// One record, as it stood when it was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// Whose it is, and what is measured.
    pub key: RecordKey,
    /// Its sums.
    pub sums: Sums,
    /// Where it is in the kernel.
    pub slot: u32,
    from: u32,
    len: u16,
}

impl Record {
    /// One of which nothing is known but that it is there.
    pub fn fresh(key: RecordKey, slot: u32) -> Self {
        Self { key, slot, ..Self::default() }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Records {
    list: Vec<Record>,
    buckets: Vec<(u16, u32)>,
}

impl Records {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.buckets.clear();
    }

    /// Appends a record, which must come after all others. `buckets` are sorted by index, without zeros.
    pub fn push(&mut self, key: RecordKey, sums: Sums, slot: u32, buckets: impl IntoIterator<Item = (u16, u32)>) {
        debug_assert!(self.list.last().is_none_or(|last| last.key < key));
        let from = self.buckets.len();
        self.buckets.extend(buckets);
        let len = self.buckets.len() - from;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are below 2^24 buckets: 250 in each of 2^16 records"
        )]
        self.list.push(Record { key, sums, slot, from: from as u32, len: len as u16 });
    }

    /// The records, by key.
    pub fn list(&self) -> &[Record] {
        &self.list
    }

    /// The buckets of one of [`Self::list`] that hold something: index and count modulo 2^32.
    pub fn buckets(&self, record: &Record) -> &[(u16, u32)] {
        let from = record.from as usize;
        self.buckets.get(from..from + usize::from(record.len)).unwrap_or_default()
    }

    /// The records of one process.
    pub fn of(&self, id: ProcessId) -> &[Record] {
        part_of(&self.list, id)
    }

    /// The processes that have records, in rising order, each once.
    pub fn processes(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.list.chunk_by(|a, b| owner(a) == owner(b)).filter_map(|part| part.first()).map(owner)
    }
}

/// Whose record it is.
fn owner(record: &Record) -> ProcessId {
    ProcessId { pid: record.key.tgid(), birth: record.key.birth() }
}

/// The part of a sorted list that belongs to `id`.
fn part_of(list: &[Record], id: ProcessId) -> &[Record] {
    let from = list.partition_point(|record| owner(record) < id);
    let rest = &list[from..];
    &rest[..rest.partition_point(|record| owner(record) == id)]
}

/// Walks the records of two samples side by side, process by process.
#[derive(Debug)]
pub struct Walk<'a> {
    prev: &'a Records,
    next: &'a Records,
    prev_at: usize,
    next_at: usize,
}

/// A record that changed: as it was, if it was there, and as it is, each with its buckets.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What is measured.
    pub what: u32,
    /// The sums before; `None` for a new record.
    pub was: Option<&'a Sums>,
    /// The buckets before.
    pub buckets_then: &'a [(u16, u32)],
    /// The sums now.
    pub now: &'a Sums,
    /// The buckets now.
    pub buckets: &'a [(u16, u32)],
}

impl<'a> Walk<'a> {
    /// From the beginning of both.
    pub const fn new(prev: &'a Records, next: &'a Records) -> Self {
        Self { prev, next, prev_at: 0, next_at: 0 }
    }

    /// Calls `each` for the records of `id` that changed. Processes must be asked for in rising order.
    pub fn of(&mut self, id: ProcessId, mut each: impl FnMut(Change<'a>)) {
        while self.next.list.get(self.next_at).is_some_and(|r| owner(r) < id) {
            self.next_at += 1;
        }
        while let Some(now) = self.next.list.get(self.next_at).filter(|r| owner(r) == id) {
            self.next_at += 1;
            while self.prev.list.get(self.prev_at).is_some_and(|r| r.key < now.key) {
                self.prev_at += 1;
            }
            let was = self.prev.list.get(self.prev_at).filter(|r| r.key == now.key);
            // The sum of durations grows with every call, so a record whose sums stand still has nothing new.
            if was.is_some_and(|w| w.sums == now.sums) {
                continue;
            }
            each(Change {
                what: now.key.what(),
                was: was.map(|w| &w.sums),
                buckets_then: was.map_or(&[], |w| self.prev.buckets(w)),
                now: &now.sums,
                buckets: self.next.buckets(now),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(parts: &[(u32, u32, u64)]) -> Records {
        let mut records = Records::default();
        for &(pid, what, total_ns) in parts {
            let sums = Sums { total_ns, ..Sums::default() };
            records.push(RecordKey::of(pid, 1, what), sums, 0, [(3, u32::try_from(total_ns).unwrap())]);
        }
        records
    }

    fn id(pid: u32) -> ProcessId {
        ProcessId { pid, birth: 1 }
    }

    #[test]
    fn the_records_of_a_process_are_found() {
        let records = records(&[(1, 5, 1), (7, 0, 1), (7, 9, 2), (9, 0, 1)]);
        assert_eq!(records.of(id(7)).iter().map(|r| r.key.what()).collect::<Vec<_>>(), [0, 9]);
        assert!(records.of(id(8)).is_empty());
        assert_eq!(records.processes().collect::<Vec<_>>(), [id(1), id(7), id(9)]);
        assert_eq!(records.buckets(&records.of(id(7))[1]), [(3, 2)]);
    }

    #[test]
    fn only_what_changed_is_walked_and_the_gone_are_passed_by() {
        let prev = records(&[(1, 5, 1), (2, 4, 4), (7, 0, 1), (7, 9, 2)]);
        let next = records(&[(1, 5, 3), (3, 1, 8), (7, 0, 1), (7, 8, 6), (7, 9, 9)]);
        let mut walk = Walk::new(&prev, &next);
        let mut seen = Vec::new();
        for pid in [1, 3, 7, 8] {
            walk.of(id(pid), |c| {
                seen.push((pid, c.what, c.was.map(|w| w.total_ns), c.buckets_then.len(), c.buckets[0].1));
            });
        }
        assert_eq!(seen, [(1, 5, Some(1), 1, 3), (3, 1, None, 0, 8), (7, 8, None, 0, 6), (7, 9, Some(2), 1, 9)]);
    }
}
