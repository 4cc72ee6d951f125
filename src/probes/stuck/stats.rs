//! Calls in flight, and folding those that wait by design.
//!
//! Not here: how they are read. Invariant: a call is in exactly one row.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::ident::ProcessId;
use crate::core::quality::Quality;

/// What a thread that is inside a call is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// On a CPU, or waiting for one: it works.
    #[default]
    Working,
    /// Asleep until something happens or a signal comes.
    Sleeping,
    /// Asleep, and not even a signal wakes it (state D).
    Uninterruptible,
}

impl State {
    /// The letter that ps and top show.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Working => "R",
            Self::Sleeping => "S",
            Self::Uninterruptible => "D",
        }
    }
}

/// What procfs says of a waiting thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Name of the thread.
    pub comm: String,
    /// What it waits for: a path, a peer, an address, a process; empty where the arguments do not tell.
    pub on: String,
    /// The kernel function it sleeps in; empty if unknown.
    pub wchan: String,
}

/// A call that was entered and has not returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The process.
    pub process: ProcessId,
    /// Thread id.
    pub tid: u32,
    /// Number of the call; `kscope_layout::NO_CALL` for a thread that sleeps outside of any (a page fault).
    pub nr: u32,
    /// How long ago it was entered, ns.
    pub age_ns: u64,
    /// What the age is worth: of a call that was entered before kscope looked, it is a lower bound or an estimate.
    pub age_quality: Quality,
    /// What the thread does in it.
    pub state: State,
    /// What it waits for; read only while somebody looks.
    pub detail: Option<Arc<Detail>>,
}

/// One row: a call in flight, or all calls of a process that wait by design.
#[derive(Clone, Debug)]
pub struct Fold<'a> {
    /// The oldest of them.
    pub oldest: &'a InFlight,
    /// How many threads.
    pub threads: usize,
    /// The numbers of their calls with how many threads are in each, the most frequent first.
    pub calls: Vec<(u32, usize)>,
}

/// Folds the calls of which `waits` says so into one row a process.
pub fn folded<'a>(calls: impl Iterator<Item = &'a InFlight>, waits: impl Fn(u32) -> bool) -> Vec<Fold<'a>> {
    let mut rows = Vec::new();
    let mut idle: BTreeMap<ProcessId, Vec<&InFlight>> = BTreeMap::new();
    for call in calls {
        if waits(call.nr) {
            idle.entry(call.process).or_default().push(call);
        } else {
            rows.push(Fold { oldest: call, threads: 1, calls: vec![(call.nr, 1)] });
        }
    }
    rows.extend(idle.into_values().filter_map(|all| fold(&all)));
    rows
}

fn fold<'a>(all: &[&'a InFlight]) -> Option<Fold<'a>> {
    let oldest = all.iter().copied().max_by_key(|call| call.age_ns)?;
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for call in all {
        *counts.entry(call.nr).or_default() += 1;
    }
    let mut calls: Vec<(u32, usize)> = counts.into_iter().collect();
    calls.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
    Some(Fold { oldest, threads: all.len(), calls })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(pid: u32, tid: u32, nr: u32, age_ns: u64) -> InFlight {
        let process = ProcessId { pid, birth: 1 };
        InFlight { process, tid, nr, age_ns, age_quality: Quality::Exact, state: State::Sleeping, detail: None }
    }

    #[test]
    fn what_waits_by_design_is_one_row_a_process_and_nothing_is_lost() {
        let calls = [call(1, 1, 0, 5), call(1, 2, 7, 9), call(1, 3, 7, 20), call(1, 4, 8, 1), call(2, 5, 7, 3)];
        let rows = folded(calls.iter(), |nr| nr >= 7);
        assert_eq!(rows.iter().map(|r| r.threads).sum::<usize>(), calls.len());
        let pool = rows.iter().find(|r| r.threads == 3).unwrap();
        assert_eq!((pool.oldest.tid, pool.calls.as_slice()), (3, &[(7, 2), (8, 1)][..]));
        assert_eq!(folded(calls.iter(), |_| false).len(), calls.len());
    }
}
