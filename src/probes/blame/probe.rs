//! Reads who ran while others waited, and keeps the table of pairs from filling up.
//!
//! A pair that nobody adds to for some samples is taken out of the kernel's table, in one step with reading it, so that
//! short processes leave room for others. If it comes again it begins at zero there; what it had is added here for one
//! more sample, and after that it is a new pair.
//!
//! Invariant: cumulative numbers of a pair never shrink from one sample to the next, unless it was left out in between.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use kscope_layout::BLIND;
use kscope_layout::blame::{Pair, PairKey};

use super::stats::{Reading, Tells, process};
use crate::core::ident::ProcessId;
use crate::kernel::loader::BlameMaps;
use crate::model::{BlameSample, Ident, ProcessSample};

/// Pairs with all they ever had, in order.
pub type Pairs = Vec<(PairKey, Pair)>;

/// A pair that nobody added to for so many samples is taken out.
const QUIET: u32 = 8;
/// The names of the dead are kept for so many samples: a wait that they are to blame for may end later.
const REMEMBERED: u64 = 8;

/// Reads the pairs of blame while they are measured.
#[derive(Debug, Default)]
pub struct BlameReader {
    /// Since when it is measured; `None` while it is not.
    since_ns: Option<u64>,
    tells: Tells,
    known: HashMap<PairKey, Known>,
    names: HashMap<ProcessId, (Arc<Ident>, u64)>,
    round: u64,
    /// The kernel cannot read and remove in one step (before 5.14), so nothing is taken out.
    keeps_all: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// As it stood in the kernel when it was read last.
    last: Pair,
    /// What was taken out, and is not yet forgotten.
    taken: Pair,
    /// Samples in which nobody added to it.
    quiet: u32,
    round: u64,
}

impl BlameReader {
    /// Forgets everything; the programs are not attached yet, or not any more.
    pub fn clear(&mut self, maps: &mut BlameMaps) -> io::Result<()> {
        tell(maps, BLIND);
        *self = Self { keeps_all: self.keeps_all, ..Self::default() };
        let mut old = Vec::new();
        maps.pairs.for_each(|key, _| old.push(key))?;
        for key in &old {
            maps.pairs.remove(key)?;
        }
        let mut waits = Vec::new();
        maps.waits.for_each(|tid, _| waits.push(tid))?;
        for tid in &waits {
            maps.waits.remove(tid)?;
        }
        Ok(())
    }

    /// Begins to measure: all programs are attached.
    pub fn begin(&mut self, maps: &BlameMaps, now_ns: u64, tells: Tells) {
        (self.since_ns, self.tells) = (Some(now_ns), tells);
        tell(maps, now_ns);
    }

    /// Reads all pairs; `None` while they are not measured. `processes` are those of the same sample.
    pub fn read(&mut self, maps: &mut BlameMaps, processes: &[ProcessSample]) -> io::Result<Option<BlameSample>> {
        let pairs = self.count(maps)?;
        Ok(self.complete(pairs, processes))
    }

    /// Makes a sample of the pairs that [`Self::count`] read.
    pub fn complete(&mut self, pairs: Pairs, processes: &[ProcessSample]) -> Option<BlameSample> {
        let since_ns = self.since_ns?;
        let names = self.names(&pairs, processes);
        Some(BlameSample { reading: Reading { since_ns, tells: self.tells, pairs }, names })
    }

    /// Reads all pairs; none while they are not measured.
    pub fn count(&mut self, maps: &mut BlameMaps) -> io::Result<Pairs> {
        if self.since_ns.is_none() {
            return Ok(Pairs::new());
        }
        self.round += 1;
        let (round, known) = (self.round, &mut self.known);
        let (mut pairs, mut quiet) = (Vec::with_capacity(known.len()), Vec::new());
        maps.pairs.for_each(|key, pair| {
            let entry = known.entry(key).or_default();
            entry.quiet = if entry.last == *pair && entry.round != 0 { entry.quiet + 1 } else { 0 };
            (entry.last, entry.round) = (*pair, round);
            if entry.quiet >= QUIET {
                quiet.push(key);
            } else {
                pairs.push((key, plus(entry.taken, *pair)));
            }
        })?;
        // Not in the kernel's table: taken out in the sample before. It can be forgotten now, since it is in no sample any
        // more that the next one will be compared with.
        known.retain(|_, entry| entry.round == round);
        for key in quiet {
            pairs.push((key, self.take(maps, key)?));
        }
        pairs.sort_unstable_by_key(|(key, _)| *key);
        Ok(pairs)
    }

    /// Takes a pair out of the kernel's table, and gives back all it ever had.
    fn take(&mut self, maps: &BlameMaps, key: PairKey) -> io::Result<Pair> {
        let Some(entry) = self.known.get_mut(&key) else { return Ok(Pair::default()) };
        if !self.keeps_all {
            match maps.pairs.take(&key) {
                Ok(pair) => {
                    entry.taken = plus(entry.taken, pair.unwrap_or_default());
                    (entry.last, entry.quiet) = (Pair::default(), 0);
                    return Ok(entry.taken);
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | ENOTSUPP)) => self.keeps_all = true,
                Err(error) => return Err(error),
            }
        }
        Ok(plus(entry.taken, entry.last))
    }

    /// Who they all are, sorted.
    fn names(&mut self, pairs: &[(PairKey, Pair)], processes: &[ProcessSample]) -> Arc<[(ProcessId, Arc<Ident>)]> {
        let round = self.round;
        for process in processes.iter().filter(|p| p.exited) {
            self.names.insert(process.id, (Arc::clone(&process.ident), round));
        }
        let mut ids: Vec<ProcessId> =
            pairs.iter().flat_map(|(key, _)| [process(key.victim), process(key.offender)]).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut names = Vec::with_capacity(ids.len());
        for id in ids {
            let living = processes.binary_search_by_key(&id, |p| p.id).ok().map(|at| Arc::clone(&processes[at].ident));
            let remembered = self.names.get(&id).map(|(ident, _)| Arc::clone(ident));
            if let Some(ident) = living.or(remembered) {
                self.names.insert(id, (Arc::clone(&ident), round));
                names.push((id, ident));
            }
        }
        self.names.retain(|_, (_, seen)| round - *seen < REMEMBERED);
        names.into()
    }
}

/// `ENOTSUPP` of include/linux/errno.h, which is not for user space and reaches it all the same.
const ENOTSUPP: i32 = 524;

/// Tells the programs since when they are all there.
fn tell(maps: &BlameMaps, since_ns: u64) {
    if let Some(at) = maps.since.at(0) {
        // SAFETY: inside the mapping, aligned, one word.
        unsafe { at.write_volatile(since_ns) };
    }
}

const fn plus(a: Pair, b: Pair) -> Pair {
    Pair { ns: a.ns.saturating_add(b.ns), elsewhere_ns: a.elsewhere_ns.saturating_add(b.elsewhere_ns) }
}
