//! Reads the records of processes, and adds up what they hold to the system calls of the host.
//!
//! The heads are scanned, a cache line a record; the buckets of a record are looked at only when its sums have changed. What
//! was added to a record since the last reading is added to the host's row of that call, so that row keeps what the gone
//! have left.
//!
//! Invariant: the host's rows are what all records ever held, and the calls for which there was none: nothing is in them
//! twice, and they only grow.

use std::io;
use std::sync::Arc;

use bytemuck::Zeroable as _;
use kscope_layout::bucket::SCALE3_LEN;
use kscope_layout::{CALL_ROWS, Head, RecordKey, Row, Sums, max_of};

use crate::core::ident::ProcessId;
use crate::kernel::loader::RecordMaps;
use crate::kernel::maps::SharedArray;
use crate::model::{Record, Records};

/// Reads the records, and knows what they held when they were read last.
#[derive(Debug, Default)]
pub struct RecordReader {
    /// The record in each slot, as of the last reading; 0 for none.
    known: Vec<RecordKey>,
    last: Arc<Records>,
    /// The ones before: their memory is used again, if nobody looks at them any more.
    spare: Arc<Records>,
    /// Slots from here on were never seen in use.
    reach: usize,
    /// Slots that were free at the last reading.
    fresh: Vec<(RecordKey, u32)>,
    host: HostCalls,
}

impl RecordReader {
    /// All records, as they are now. `epoch` is that of the maxima which was closed.
    pub fn read(&mut self, maps: &RecordMaps, epoch: u32) -> Arc<Records> {
        self.find_fresh(&maps.heads);
        let mut next = Arc::try_unwrap(std::mem::take(&mut self.spare)).unwrap_or_default();
        next.clear();
        let mut reading = Reading { maps, epoch, next: &mut next, host: &mut self.host, buckets: Vec::new() };
        let mut fresh = self.fresh.drain(..).peekable();
        for record in self.last.list() {
            if self.known.get(record.slot as usize) != Some(&record.key) {
                continue;
            }
            while let Some((key, slot)) = fresh.next_if(|(key, _)| *key < record.key) {
                reading.take(&Record::fresh(key, slot), &[]);
            }
            reading.take(record, self.last.buckets(record));
        }
        fresh.for_each(|(key, slot)| reading.take(&Record::fresh(key, slot), &[]));
        self.spare = std::mem::replace(&mut self.last, Arc::new(next));
        Arc::clone(&self.last)
    }

    /// The system calls of the host that were ever made, by number, as of the last reading. `without` holds those for which
    /// there was no record.
    pub fn host_calls(&self, without: &SharedArray<Row>, epoch: u32) -> Vec<(u32, Row)> {
        self.all_calls(&count_without(without, epoch), epoch)
    }

    /// The same from what [`count_without`] has read.
    pub fn all_calls(&self, without: &[(u32, Row)], epoch: u32) -> Vec<(u32, Row)> {
        let row = |nr: u32| {
            let mut sum = self.host.row(nr).copied();
            if let Ok(at) = without.binary_search_by_key(&nr, |(nr, _)| *nr) {
                add_row(sum.get_or_insert_with(Row::zeroed), &without[at].1, epoch);
            }
            sum.map(|row| (nr, row))
        };
        (0..CALL_ROWS).filter_map(row).collect()
    }

    /// Gives the slots of a process back. It must be one that makes no more records. What it added to them since the last
    /// reading is the host's all the same.
    pub fn free(&mut self, id: ProcessId, maps: &RecordMaps, epoch: u32) -> io::Result<()> {
        let mut rest = Records::default();
        let mut reading = Reading { maps, epoch, next: &mut rest, host: &mut self.host, buckets: Vec::new() };
        for record in self.last.of(id) {
            let slot = record.slot as usize;
            let Some(known) = self.known.get_mut(slot).filter(|key| **key == record.key) else { continue };
            reading.take(record, self.last.buckets(record));
            // First nobody finds it any more, then it is zeroed, then it may be taken.
            maps.index.remove(&record.key)?;
            maps.buckets.clear(slot);
            maps.heads.clear(slot);
            *known = RecordKey::default();
            maps.free.push(record.slot)?;
        }
        Ok(())
    }

    fn find_fresh(&mut self, heads: &SharedArray<Head>) {
        self.known.resize(heads.len(), RecordKey::default());
        let mut slot = 0;
        while slot < self.known.len().min(self.reach.saturating_add(AHEAD)) {
            let at = slot;
            slot += 1;
            let (Some(known), Some(head)) = (self.known.get_mut(at), heads.at(at)) else { break };
            if known.0 != 0 {
                continue;
            }
            // SAFETY: inside the mapping, aligned; volatile as the kernel writes at the same time.
            let key = unsafe { (&raw const (*head).key).read_volatile() };
            if key.0 != 0 {
                *known = key;
                self.reach = self.reach.max(slot);
                #[expect(clippy::cast_possible_truncation, reason = "slots are numbered by a u32")]
                self.fresh.push((key, at as u32));
            }
        }
        self.fresh.sort_unstable();
    }
}

/// System calls for which there was no record, by number, as they are now.
pub fn count_without(rows: &SharedArray<Row>, epoch: u32) -> Vec<(u32, Row)> {
    let shards = rows.len() / CALL_ROWS as usize;
    let row = |nr: u32| {
        let mut sum: Option<Row> = None;
        for index in (0..shards).map(|shard| shard * CALL_ROWS as usize + nr as usize) {
            if is_used(rows, index) {
                add_row(sum.get_or_insert_with(Row::zeroed), &rows.get(index)?, epoch);
            }
        }
        sum.map(|row| (nr, row))
    };
    (0..CALL_ROWS).filter_map(row).collect()
}

/// A reading that is being made.
struct Reading<'a> {
    maps: &'a RecordMaps,
    epoch: u32,
    next: &'a mut Records,
    host: &'a mut HostCalls,
    /// Memory that is used for one record after the other.
    buckets: Vec<(u16, u32)>,
}

impl Reading<'_> {
    /// Takes in a record, of which `was` and `buckets_then` are known.
    fn take(&mut self, was: &Record, buckets_then: &[(u16, u32)]) {
        let Some(sums) = self.sums(was.slot) else { return };
        if sums == was.sums {
            return self.next.push(was.key, sums, was.slot, buckets_then.iter().copied());
        }
        self.read_buckets(was.slot);
        self.host.add(was.key.what(), (&was.sums, buckets_then), (&sums, &self.buckets), self.epoch);
        self.next.push(was.key, sums, was.slot, self.buckets.iter().copied());
    }

    fn sums(&self, slot: u32) -> Option<Sums> {
        let head = self.maps.heads.at(slot as usize)?;
        // SAFETY: inside the mapping, aligned; volatile as the kernel writes at the same time.
        Some(unsafe { (&raw const (*head).sums).read_volatile() })
    }

    /// The buckets of a slot that hold something. After its sums: a program adds to them in the other order.
    #[expect(clippy::cast_ptr_alignment, reason = "the elements of a map are aligned to eight bytes")]
    fn read_buckets(&mut self, slot: u32) {
        self.buckets.clear();
        let Some(all) = self.maps.buckets.at(slot as usize) else { return };
        for part in 0..SCALE3_LEN / AT_ONCE {
            // SAFETY: `all` is inside the mapping and aligned to eight bytes; volatile as the kernel writes at the same time.
            let words: [u64; AT_ONCE / 2] =
                std::array::from_fn(|at| unsafe { all.cast::<u64>().add(part * AT_ONCE / 2 + at).read_volatile() });
            // Most of a distribution is empty: one test for many.
            if words.iter().fold(0, |any, n| any | n) != 0 {
                push_used(part * AT_ONCE, &bytemuck::cast(words), &mut self.buckets);
            }
        }
    }
}

/// So far beyond the slots that were ever in use a new record is looked for. The programs take unused slots in order, and what
/// they give back first: only records that are being made leave a gap, one on each CPU. A record beyond is found once that is filled.
const AHEAD: usize = 1_024;

/// Buckets that are looked at together: a cache line.
const AT_ONCE: usize = 16;

fn push_used(from: usize, counts: &[u32; AT_ONCE], used: &mut Vec<(u16, u32)>) {
    for (at, n) in counts.iter().enumerate().filter(|(_, n)| **n != 0) {
        #[expect(clippy::cast_possible_truncation, reason = "an index is below 256")]
        used.push(((from + at) as u16, *n));
    }
}

/// What all processes did, by call, those gone included.
#[derive(Debug, Default)]
struct HostCalls {
    /// Rows by number, made when a call is seen for the first time.
    rows: Vec<Option<Box<Row>>>,
}

/// The sums of a record, and its buckets.
type Counted<'a> = (&'a Sums, &'a [(u16, u32)]);

impl HostCalls {
    fn row(&self, nr: u32) -> Option<&Row> {
        self.rows.get(nr as usize)?.as_deref()
    }

    /// Adds what a record grew by. Run-queue delays are no call, and the host's are counted by CPU.
    fn add(&mut self, nr: u32, was: Counted<'_>, now: Counted<'_>, epoch: u32) {
        self.rows.resize_with(CALL_ROWS as usize, || None);
        let Some(row) = self.rows.get_mut(nr as usize) else { return };
        let row = row.get_or_insert_with(|| Box::new(Row::zeroed()));
        add_sums(&mut row.sums, was.0, now.0, epoch);
        for (index, n) in now.1 {
            if let Some(bucket) = row.buckets.get_mut(usize::from(*index)) {
                *bucket = bucket.wrapping_add(*n);
            }
        }
        for (index, n) in was.1 {
            if let Some(bucket) = row.buckets.get_mut(usize::from(*index)) {
                *bucket = bucket.wrapping_sub(*n);
            }
        }
    }
}

/// Adds what was counted from `was` to `now`. Sums are cumulative, the maximum is that of the closed epoch.
fn add_sums(to: &mut Sums, was: &Sums, now: &Sums, epoch: u32) {
    to.total_ns = to.total_ns.wrapping_add(now.total_ns).wrapping_sub(was.total_ns);
    to.blocked_ns = to.blocked_ns.wrapping_add(now.blocked_ns).wrapping_sub(was.blocked_ns);
    to.runnable_ns = to.runnable_ns.wrapping_add(now.runnable_ns).wrapping_sub(was.runnable_ns);
    to.errors = to.errors.wrapping_add(now.errors).wrapping_sub(was.errors);
    to.interrupted = to.interrupted.wrapping_add(now.interrupted).wrapping_sub(was.interrupted);
    to.denied = to.denied.wrapping_add(now.denied).wrapping_sub(was.denied);
    let slot = (epoch & 1) as usize;
    if max_of(now.max[slot], epoch) > max_of(to.max[slot], epoch) {
        to.max[slot] = now.max[slot];
    }
}

fn add_row(sum: &mut Row, row: &Row, epoch: u32) {
    add_sums(&mut sum.sums, &Sums::default(), &row.sums, epoch);
    for (bucket, n) in sum.buckets.iter_mut().zip(&row.buckets) {
        *bucket = bucket.wrapping_add(*n);
    }
}

/// Looks at some words of a row instead of copying a kilobyte.
fn is_used(rows: &SharedArray<Row>, index: usize) -> bool {
    rows.at(index).is_some_and(|row| {
        // SAFETY: inside the mapping, aligned; volatile as the kernel writes at the same time.
        unsafe {
            let sums = &raw const (*row).sums;
            (&raw const (*sums).total_ns).read_volatile() != 0
                || (&raw const (*sums).interrupted).read_volatile() != 0
                || (&raw const (*sums).denied).read_volatile() != 0
        }
    })
}
