//! Reads the system-call table of the host and the records of processes.

use std::io;

use bytemuck::Zeroable as _;
use kscope_layout::{CALL_ROWS, Record, RecordKey, Row, max_of};

use crate::kernel::maps::{Hash, SharedArray};
use crate::model::record_order;

/// The rows of the table that were ever used, all shards added, by number.
pub fn read_calls(calls: &SharedArray<Row>, epoch: u32) -> Vec<(u32, Row)> {
    let shards = calls.len() / CALL_ROWS as usize;
    (0..CALL_ROWS)
        .filter_map(|nr| {
            let mut sum: Option<Row> = None;
            for shard in 0..shards {
                let index = shard * CALL_ROWS as usize + nr as usize;
                if !is_used(calls, index) {
                    continue;
                }
                let row = calls.get(index)?;
                add_shard(sum.get_or_insert_with(Row::zeroed), &row, epoch);
            }
            sum.map(|row| (nr, row))
        })
        .collect()
}

/// Looks at two words of a row instead of copying a kilobyte.
fn is_used(rows: &SharedArray<Row>, index: usize) -> bool {
    rows.at(index).is_some_and(|row| {
        // SAFETY: inside the mapping, aligned; volatile as the kernel writes at the same time.
        unsafe {
            (&raw const (*row).total_ns).read_volatile() != 0 || (&raw const (*row).interrupted).read_volatile() != 0
        }
    })
}

/// Adds another shard of the same row. Sums are cumulative, the maximum is that of the closed epoch.
fn add_shard(sum: &mut Row, shard: &Row, epoch: u32) {
    sum.total_ns = sum.total_ns.wrapping_add(shard.total_ns);
    sum.blocked_ns = sum.blocked_ns.wrapping_add(shard.blocked_ns);
    sum.runnable_ns = sum.runnable_ns.wrapping_add(shard.runnable_ns);
    sum.errors = sum.errors.wrapping_add(shard.errors);
    sum.interrupted = sum.interrupted.wrapping_add(shard.interrupted);
    let slot = (epoch & 1) as usize;
    if max_of(shard.max[slot], epoch) > max_of(sum.max[slot], epoch) {
        sum.max[slot] = shard.max[slot];
    }
    for (bucket, n) in sum.buckets.iter_mut().zip(&shard.buckets) {
        *bucket = bucket.wrapping_add(*n);
    }
}

/// All records, in the order samples keep them.
pub fn read_records(records: &mut Hash<RecordKey, Record>) -> io::Result<Vec<(RecordKey, Record)>> {
    let mut all = Vec::new();
    records.for_each(|key, record| all.push((key, *record)))?;
    all.sort_unstable_by_key(|(key, _)| record_order(*key));
    // A batch may show an entry twice when the map changes meanwhile.
    all.dedup_by_key(|(key, _)| *key);
    Ok(all)
}
