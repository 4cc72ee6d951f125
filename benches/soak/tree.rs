//! A process and all that it has started: who they are, and what they hold.

use std::fs;

use anyhow::{Context as _, Result};

/// What a family of processes holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processes.
    pub processes: u64,
    /// Resident memory, each process by itself, KiB.
    pub rss_kib: u64,
    /// The same with each shared page divided among those who share it, KiB.
    pub pss_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// The process, and its descendants.
pub fn family(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.extend(parent.map(|parent| (parent, pid)));
    }
    let mut family = vec![root];
    let mut at = 0;
    while let Some(&of) = family.get(at) {
        family.extend(parents.iter().filter(|(parent, _)| *parent == of).map(|(_, pid)| *pid));
        at += 1;
    }
    family
}

/// What a process and its descendants hold now.
pub fn used(root: u32) -> Result<Used> {
    let mut used = Used::default();
    for pid in family(root) {
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let (memory, status) = match (memory, fs::read_to_string(format!("/proc/{pid}/status"))) {
            (Ok(memory), Ok(status)) => (memory, status),
            // A descendant that has just ended holds nothing.
            (Err(_), _) | (_, Err(_)) if pid != root => continue,
            (memory, status) => (memory.context("read its memory")?, status?),
        };
        used.processes += 1;
        used.rss_kib += number(&memory, "Rss:");
        used.pss_kib += number(&memory, "Pss:");
        used.threads += number(&status, "Threads:");
        used.descriptors += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64);
    }
    Ok(used)
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
