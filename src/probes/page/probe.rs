//! Reads what only the page of a process needs: names of its threads, and the limits of its cgroup.
//!
//! Invariant: what is read is untrusted and made printable; nothing is read of a process that nobody looks at.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::quota::{Hierarchy, hierarchies, path_in, separate, unified, upwards};
use super::stats::{PageSample, Quota, ThreadSample};
use crate::core::ident::ProcessId;
use crate::core::units::printable_bytes;

/// A thread may change its name: each is asked again after so many samples.
const REFRESH_EVERY: u64 = 16;
/// Longest name of a cgroup that is walked up, in parts: paths come from outside.
const DEEPEST: usize = 32;

/// The process that is looked at, as the table of threads shows it.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Which one.
    pub id: ProcessId,
    /// Its start, ns of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// Its threads, by id and start, without names.
    pub threads: Vec<ThreadSample>,
}

/// Reads procfs and cgroupfs for one process.
#[derive(Debug, Default)]
pub struct PageReader {
    id: ProcessId,
    names: HashMap<(u32, u64), String>,
    hierarchies: Option<Vec<Hierarchy>>,
    round: u64,
    /// When the sample before was taken.
    last_ns: u64,
}

impl PageReader {
    /// Completes what the table of threads told in a sample that was begun at `now_ns` of `CLOCK_BOOTTIME`.
    pub fn complete(&mut self, watched: Watched, now_ns: u64) -> PageSample {
        if self.id != watched.id {
            (self.id, self.names, self.last_ns) = (watched.id, HashMap::new(), now_ns);
        }
        self.round += 1;
        let last_ns = std::mem::replace(&mut self.last_ns, now_ns);
        let Watched { id, start_ns, mut threads } = watched;
        for thread in &mut threads {
            thread.comm = self.name(id.pid, thread);
            thread.is_new = thread.start_ns > last_ns;
        }
        let there = |key: &(u32, u64)| threads.binary_search_by_key(key, |t| (t.tid, t.start_ns)).is_ok();
        self.names.retain(|key, _| there(key));
        PageSample { id, age_ns: now_ns.saturating_sub(start_ns), threads, quota: self.quota(id.pid) }
    }

    fn name(&mut self, pid: u32, thread: &ThreadSample) -> String {
        let key = (thread.tid, thread.start_ns);
        let due = self.round % REFRESH_EVERY == u64::from(thread.tid) % REFRESH_EVERY;
        if let Some(known) = self.names.get(&key).filter(|_| !due || thread.exited) {
            return known.clone();
        }
        let Ok(bytes) = fs::read(format!("/proc/{pid}/task/{}/comm", thread.tid)) else {
            return self.names.get(&key).cloned().unwrap_or_default();
        };
        let name = printable_bytes(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
        self.names.insert(key, name.clone());
        name
    }

    /// The limit that is nearest above the process.
    fn quota(&mut self, pid: u32) -> Option<Quota> {
        let found = || hierarchies(&fs::read("/proc/self/mounts").unwrap_or_default());
        let hierarchies = self.hierarchies.get_or_insert_with(found);
        let cgroups = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
        hierarchies.iter().find_map(|hierarchy| {
            let path = path_in(hierarchy, &cgroups)?;
            upwards(path).take(DEEPEST).find_map(|path| read_quota(hierarchy, path))
        })
    }
}

fn read_quota(hierarchy: &Hierarchy, path: &[u8]) -> Option<Quota> {
    // A path of a namespace that is not ours may lead out of the hierarchy.
    if path.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return None;
    }
    let below = path.iter().position(|byte| *byte != b'/').map_or(&path[..0], |first| &path[first..]);
    let dir = Path::new(&hierarchy.mount).join(OsStr::from_bytes(below));
    let read = |name| fs::read_to_string(dir.join(name)).ok();
    let shown = printable_bytes(path);
    if hierarchy.unified {
        unified(&shown, &read("cpu.max")?, &read("cpu.stat")?)
    } else {
        separate(&shown, &read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?, &read("cpu.stat")?)
    }
}
