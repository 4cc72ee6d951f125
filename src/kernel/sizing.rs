//! How large the maps are: by the number of CPUs and by how high thread ids go on this host.
//!
//! Pure: it is told the facts of the host. Invariant: at most 64 MiB in all, on any host.

use kscope_layout::blame::{Cpu, Pair, PairKey, Wait};
use kscope_layout::cause::{Beside, Causes};
use kscope_layout::connections::Connection;
use kscope_layout::disk::{Asked, DeviceRow, Started, direction};
use kscope_layout::errors::ErrorKey;
use kscope_layout::exemplars::{Exemplar, LIMITS};
use kscope_layout::lives::Death;
use kscope_layout::{Buckets, CALL_ROWS, Head, RecordKey, Row, Thread, ThreadKey};

/// What the sizes depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Possible CPUs (not only those online now).
    pub cpus: u32,
    /// `kernel.pid_max`.
    pub pid_max: u32,
}

/// Entries of each map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Slots of the thread array, a power of two.
    pub thread_slots: u32,
    /// Threads that found their slot taken.
    pub threads_more: u32,
    /// Latency records: pairs of process and system call in use at the same time.
    pub records: u32,
    /// Copies of the table of calls without a record, a power of two; CPUs share them evenly.
    pub call_shards: u32,
    /// Rows of run-queue delays.
    pub cpus: u32,
    /// Counters of errors: triples of process, call and error.
    pub errors: u32,
    /// Exemplars of a CPU, as the logarithm of a power of two.
    pub exemplars_shift: u32,
    /// Processes that ended since the last sample.
    pub deaths: u32,
    /// Connections that moved bytes since somebody looks, or were opened.
    pub connections: u32,
    /// Pairs of who waited and who ran.
    pub blame_pairs: u32,
    /// Threads that wait for a CPU at the same time.
    pub blame_waits: u32,
    /// Requests of block devices in flight.
    pub requests: u32,
    /// Block devices that requests were seen of.
    pub disks: u32,
    /// Processes that submitted requests.
    pub disk_processes: u32,
}

/// Up to this many CPUs a host is a small one, with fewer threads and processes.
const SMALL: u32 = 8;

impl Sizes {
    /// Sizes for a host.
    pub fn of(host: HostFacts) -> Self {
        let cpus = host.cpus.clamp(1, 4096);
        let largest = if cpus <= SMALL { 16_384 } else { 65_536 };
        let thread_slots = host.pid_max.clamp(4096, largest).next_power_of_two();
        Self {
            thread_slots,
            threads_more: 8_192,
            records: (22_528 + 512 * cpus).min(25_600),
            call_shards: cpus.next_power_of_two().min(4),
            cpus,
            errors: 8_192,
            // 2,048 in all, and at least 8 of a CPU.
            exemplars_shift: 11_u32.saturating_sub(cpus.next_power_of_two().ilog2()).max(3),
            deaths: 12_288,
            connections: 8_192,
            blame_pairs: if cpus <= SMALL { 4_096 } else { 8_192 },
            requests: if cpus <= SMALL { 2_048 } else { 4_096 },
            disks: if cpus <= SMALL { 48 } else { 64 },
            disk_processes: if cpus <= SMALL { 2_048 } else { 4_096 },
            blame_waits: if cpus <= SMALL { 1_024 } else { 1_536 },
        }
    }

    /// Exemplars of all CPUs.
    pub const fn exemplars(self) -> u32 {
        self.cpus << self.exemplars_shift
    }
}

/// Memory of the kernel for each map, bytes; all of it is taken when the maps are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of the thread array, and of the causes beside it.
    pub thread_slots: u64,
    /// Of the threads that found their slot taken.
    pub threads_more: u64,
    /// Of the records.
    pub records: u64,
    /// Of the table of calls without a record, all copies.
    pub calls: u64,
    /// Of the run-queue delays.
    pub cpus: u64,
    /// Of the counters of errors.
    pub errors: u64,
    /// Of the exemplars, with their limits.
    pub exemplars: u64,
    /// Of the ledger of the dead.
    pub deaths: u64,
    /// Of the connections.
    pub connections: u64,
    /// Of the pairs of who waited and who ran.
    pub blame_pairs: u64,
    /// Of the waits that go on.
    pub blame_waits: u64,
    /// Of what each CPU did last.
    pub blame_cpus: u64,
    /// Of the requests in flight.
    pub requests: u64,
    /// Of what block devices did, and of their numbers.
    pub disks: u64,
    /// Of what processes had them do.
    pub disk_processes: u64,
}

impl Sizes {
    /// What the maps of these sizes take.
    pub const fn memory(self) -> Memory {
        Memory {
            thread_slots: array_bytes::<Thread>(self.thread_slots) + array_bytes::<Causes>(self.thread_slots),
            threads_more: self.hash_bytes::<ThreadKey, Beside>(self.threads_more),
            records: self.record_bytes(),
            calls: array_bytes::<Row>(self.call_shards * CALL_ROWS),
            cpus: array_bytes::<Row>(self.cpus),
            errors: self.hash_bytes::<ErrorKey, u64>(self.errors),
            exemplars: array_bytes::<Exemplar>(self.exemplars())
                + array_bytes::<u64>(self.cpus)
                + array_bytes::<u32>(LIMITS),
            deaths: self.hash_bytes::<RecordKey, Death>(self.deaths),
            connections: self.hash_bytes::<u64, Connection>(self.connections),
            blame_pairs: self.hash_bytes::<PairKey, Pair>(self.blame_pairs),
            blame_waits: self.hash_bytes::<u32, Wait>(self.blame_waits),
            blame_cpus: array_bytes::<Cpu>(self.cpus),
            requests: self.hash_bytes::<u64, Started>(self.requests),
            disks: array_bytes::<DeviceRow>(self.disks * direction::COUNT)
                + self.hash_bytes::<u32, u32>(self.disks)
                + self.disks as u64 * 4,
            disk_processes: self.hash_bytes::<RecordKey, Asked>(self.disk_processes),
        }
    }

    /// A record is an entry of the index, a head, its buckets, and a number on the stack of free ones.
    const fn record_bytes(self) -> u64 {
        self.hash_bytes::<RecordKey, u32>(self.records)
            + array_bytes::<Head>(self.records)
            + array_bytes::<Buckets>(self.records)
            + self.records as u64 * 4
    }

    /// A preallocated hash: elements (one more for each CPU) with 48 bytes of the kernel's own, and 16 bytes a bucket
    /// (`htab_map_mem_usage` of kernel/bpf/hashtab.c).
    const fn hash_bytes<K, V>(self, entries: u32) -> u64 {
        let element = 48 + size_of::<K>().next_multiple_of(8) + size_of::<V>().next_multiple_of(8);
        (entries as u64 + self.cpus as u64) * element as u64 + entries.next_power_of_two() as u64 * 16
    }
}

impl Memory {
    /// Of all maps.
    pub const fn total(self) -> u64 {
        self.thread_slots
            + self.threads_more
            + self.records
            + self.calls
            + self.cpus
            + self.errors
            + self.exemplars
            + self.deaths
            + self.connections
            + self.blame_pairs
            + self.blame_waits
            + self.blame_cpus
            + self.requests
            + self.disks
            + self.disk_processes
    }
}

/// An array that can be mapped: its elements in whole pages, and one page before them (`array_map_mem_usage`).
const fn array_bytes<T>(entries: u32) -> u64 {
    const PAGE: u64 = 4096;
    let elements = entries as u64 * size_of::<T>().next_multiple_of(8) as u64;
    elements.next_multiple_of(PAGE) + PAGE
}

/// Possible CPUs from the text of `/sys/devices/system/cpu/possible`, such as `0-127`; the ids may have holes.
pub fn parse_possible_cpus(text: &str) -> Option<u32> {
    let last = text.trim().rsplit([',', '-']).next()?;
    last.parse::<u32>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_the_largest_host_stays_within_the_bound() {
        let s = Sizes::of(HostFacts { cpus: 128, pid_max: 4_194_304 });
        let bytes = s.memory().total();
        assert!(bytes <= 64 << 20, "{} MiB", bytes >> 20);
        // And a small one takes well below it.
        let small = Sizes::of(HostFacts { cpus: 2, pid_max: 4_194_304 }).memory().total();
        assert!(small <= 44 << 20, "{} MiB", small >> 20);
    }

    #[test]
    fn possible_cpus_are_one_more_than_the_last() {
        assert_eq!(parse_possible_cpus("0\n"), Some(1));
        assert_eq!(parse_possible_cpus("0-127\n"), Some(128));
        assert_eq!(parse_possible_cpus("0-3,8-11"), Some(12));
        assert_eq!(parse_possible_cpus(""), None);
    }
}
