//! How full the maps are, from what a sample read of them anyway.

use kscope_layout::CALL_ROWS;

use super::stats::MapUse;
use crate::kernel::sizing::Sizes;
use crate::model::Lost;

/// Entries in use, as one sample found them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Slots of the table of threads.
    pub slots: usize,
    /// Threads that found their slot taken.
    pub more: usize,
    /// Records.
    pub records: usize,
    /// Rows of calls without a record.
    pub calls: usize,
    /// Rows of run-queue delays.
    pub cpus: usize,
    /// Counters of errors.
    pub errors: usize,
    /// Exemplars.
    pub exemplars: usize,
    /// Ends in the ledger.
    pub deaths: usize,
    /// Connections.
    pub connections: usize,
    /// Pairs of who waited and who ran.
    pub pairs: usize,
    /// Requests of block devices in flight.
    pub requests: usize,
    /// Block devices.
    pub disks: usize,
    /// Accounts of processes with them.
    pub disk_processes: usize,
}

/// The maps that grow with the host. The others hold one entry each.
pub fn map_uses(sizes: Sizes, used: Used, lost: Lost) -> Vec<MapUse> {
    let memory = sizes.memory();
    let map = |name, holds, used: usize, max: u32, bytes, dropped| MapUse {
        name,
        holds,
        used: used as u64,
        max: u64::from(max),
        bytes,
        dropped,
    };
    let blame = memory.blame_pairs + memory.blame_waits + memory.blame_cpus;
    vec![
        map("THREADS", "threads by slot", used.slots, sizes.thread_slots, memory.thread_slots, None),
        map("THREADS_MORE", "threads beside", used.more, sizes.threads_more, memory.threads_more, Some(lost.threads)),
        map("BUCKETS", "process × call", used.records, sizes.records, memory.records, Some(lost.records)),
        map("CALLS", "calls without record", used.calls, CALL_ROWS, memory.calls, None),
        map("ERRORS", "process × call × error", used.errors, sizes.errors, memory.errors, Some(lost.errors)),
        map("EXEMPLARS", "slow calls", used.exemplars, sizes.exemplars(), memory.exemplars, None),
        map("DEATHS", "ended processes", used.deaths, sizes.deaths, memory.deaths, Some(lost.dead)),
        map("REQUESTS", "block requests", used.requests, sizes.requests, memory.requests, Some(lost.disk)),
        map("DISKS", "block devices", used.disks, sizes.disks, memory.disks, None),
        map(
            "DISK_PROCESSES",
            "process × block",
            used.disk_processes,
            sizes.disk_processes,
            memory.disk_processes,
            None,
        ),
        map("CPUS", "delays by CPU", used.cpus, sizes.cpus, memory.cpus, None),
        map(
            "CONNECTIONS",
            "connections",
            used.connections,
            sizes.connections,
            memory.connections,
            Some(lost.connections),
        ),
        map("BLAME_PAIRS", "who made whom wait", used.pairs, sizes.blame_pairs, blame, Some(lost.blame)),
    ]
}
