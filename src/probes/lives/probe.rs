//! Reads the ledger of the dead, and says of each process that is gone what is known of it.
//!
//! The ledger is read after the threads: who had no thread left by then is in it. One that is in it and still has a thread
//! waits here for the next sample. One of which no thread was ever seen is reported with its end alone.
//!
//! Invariant: each end is reported once.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use kscope_layout::RecordKey;
use kscope_layout::lives::{Death, ended, events};

use super::stats::{Dead, End, Status, Turnover};
use crate::core::ident::ProcessId;
use crate::core::units::printable_bytes;
use crate::kernel::maps::{Hash, SharedArray};
use crate::model::ProcessSample;
use crate::probes::time::account::ProcessReading;

/// Names of the dead are remembered for so many at least, and for twice as many at most: their children may ask for them.
const NAMES: usize = 8_192;
/// Different names that are kept to be shared.
const TEXTS: usize = 4_096;

/// Ends that were read and not reported yet, and names.
#[derive(Debug, Default)]
pub struct Ledger {
    pending: HashMap<ProcessId, Pending>,
    names: HashMap<ProcessId, Arc<str>>,
    older_names: HashMap<ProcessId, Arc<str>>,
    texts: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Pending {
    death: Death,
    /// It was read for an earlier sample.
    waits: bool,
}

/// What a sample knows besides the ledger.
pub struct Known<'a, F> {
    /// What the threads of each process did.
    pub readings: &'a HashMap<ProcessId, ProcessReading>,
    /// The name of a process that lives, or did at the last sample.
    pub name: F,
    /// Since when kscope has watched, ns.
    pub watched_ns: u64,
}

impl Ledger {
    /// Takes in what was in the ledger.
    pub fn take(&mut self, read: Vec<(RecordKey, Death)>) {
        self.pending.values_mut().for_each(|pending| pending.waits = true);
        if self.names.len() > NAMES {
            self.older_names = std::mem::take(&mut self.names);
        }
        for (key, death) in read {
            let id = ProcessId { pid: key.tgid(), birth: key.birth() };
            let name = self.text(&death.comm);
            self.names.insert(id, name);
            self.pending.insert(id, Pending { death, waits: false });
        }
    }

    /// Has this process ended?
    pub fn holds(&self, id: ProcessId) -> bool {
        self.pending.contains_key(&id)
    }

    /// Those that are reported as gone in this sample: processes that exited, and those of which only the end was seen.
    pub fn bury<F: Fn(ProcessId) -> Option<Arc<str>>>(
        &mut self,
        processes: &[ProcessSample],
        known: &Known<'_, F>,
    ) -> Vec<Dead> {
        let mut dead: Vec<Dead> = Vec::new();
        for process in processes.iter().filter(|p| p.exited) {
            let death = self.pending.remove(&process.id).map(|p| p.death);
            dead.push(self.dead(process.id, death.as_ref(), Some(process), known));
        }
        let stray =
            |(id, pending): (&ProcessId, &Pending)| (pending.waits && !known.readings.contains_key(id)).then_some(*id);
        let strays: Vec<ProcessId> = self.pending.iter().filter_map(stray).collect();
        for id in strays {
            let death = self.pending.remove(&id).map(|p| p.death);
            dead.push(self.dead(id, death.as_ref(), None, known));
        }
        dead
    }

    fn dead<F: Fn(ProcessId) -> Option<Arc<str>>>(
        &mut self,
        id: ProcessId,
        death: Option<&Death>,
        process: Option<&ProcessSample>,
        known: &Known<'_, F>,
    ) -> Dead {
        let creator = process.and_then(|p| p.parent);
        let (parent, parent_comm) = self.parent(death, creator, known);
        let comm = match (death, process) {
            (Some(death), _) => self.text(&death.comm),
            (None, Some(process)) => process.ident.comm.as_str().into(),
            (None, None) => "".into(),
        };
        let account = known.readings.get(&id).map(|reading| reading.account);
        let end = death.map(end_of);
        Dead {
            id,
            comm,
            parent,
            parent_comm,
            end,
            watched_ns: end.map_or(known.watched_ns, |end| end.life_ns.min(known.watched_ns)),
            time: account.map(|a| a.time),
            calls: account.map(|a| a.calls),
            traffic: account.map(|a| a.traffic),
        }
    }

    /// The pid and the name of the parent: the one that made it, unless only who adopted it has a name any more.
    fn parent<F: Fn(ProcessId) -> Option<Arc<str>>>(
        &mut self,
        death: Option<&Death>,
        creator: Option<ProcessId>,
        known: &Known<'_, F>,
    ) -> (u32, Arc<str>) {
        let at_end = death.map(|d| {
            let id = ProcessId { pid: d.parent_tgid, birth: RecordKey::birth_of(d.parent_start_ns) };
            (id, self.text(&d.parent_comm))
        });
        if let Some(creator) = creator.filter(|creator| at_end.as_ref().is_none_or(|(id, _)| id != creator)) {
            let of_dead = || self.names.get(&creator).or_else(|| self.older_names.get(&creator)).cloned();
            if let Some(name) = of_dead().or_else(|| (known.name)(creator)) {
                return (creator.pid, name);
            }
        }
        at_end.map_or_else(|| (0, "".into()), |(id, name)| (id.pid, name))
    }

    /// A name, made printable, and shared.
    fn text(&mut self, bytes: &[u8]) -> Arc<str> {
        let text = printable_bytes(bytes.split(|&b| b == 0).next().unwrap_or_default());
        if let Some(shared) = self.texts.get(text.as_str()) {
            return Arc::clone(shared);
        }
        if self.texts.len() >= TEXTS {
            self.texts.clear();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }
}

fn end_of(death: &Death) -> End {
    End {
        life_ns: death.end_ns.saturating_sub(death.start_ns),
        status: Status::of_wait(death.wait_status),
        ran_program: death.flags & ended::RAN_PROGRAM != 0,
    }
}

/// Empties the ledger in the kernel.
pub fn drain(deaths: &mut Hash<RecordKey, Death>) -> io::Result<Vec<(RecordKey, Death)>> {
    let mut read = Vec::new();
    deaths.drain(|key, death| read.push((key, *death)))?;
    Ok(read)
}

/// How many processes were made, turned to another program and ended since the start.
pub fn read_turnover(lives: &SharedArray<u64>) -> Turnover {
    let count = |what: u32| lives.get(what as usize).unwrap_or(0);
    Turnover { forks: count(events::FORKS), execs: count(events::EXECS), ends: count(events::ENDS) }
}
