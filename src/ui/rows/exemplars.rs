//! Rows of exemplars: the single calls that are listed, and the octaves of latencies that can be chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Row;
use crate::core::histogram::PER_OCTAVE;
use crate::probes::exemplars::arguments;
use crate::probes::exemplars::stats::{Exemplar, KEPT_S};
use crate::ui::history::{History, Look, TICKS};
use crate::ui::place::Listed;
use crate::ui::selection::RowId;

/// A single call.
#[derive(Clone, Debug)]
pub struct ExemplarRow {
    /// It.
    pub of: Arc<Exemplar>,
    /// How long ago it returned, ns.
    pub age_ns: u64,
    /// Its arguments.
    pub arguments: String,
    /// What it returned.
    pub result: String,
}

impl Row for ExemplarRow {
    fn id(&self) -> RowId {
        // Two calls of one thread do not return at once.
        RowId::Single(self.of.id, self.of.tid, crate::ui::app::seconds_ns(self.of.unix_s))
    }

    fn group(&self) -> u8 {
        0
    }
}

/// The exemplars of a call, of processes that pass, in one octave or in all.
pub fn exemplars(history: &History, look: &Look, listed: Listed, text: &str) -> Vec<ExemplarRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let now = tick.snapshot.unix_s;
    let text = text.to_lowercase();
    let chosen = of(history, look, listed.nr).filter(|e| listed.octave.is_none_or(|octave| e.octave() == octave));
    let row = |e: &Arc<Exemplar>| ExemplarRow {
        of: Arc::clone(e),
        age_ns: crate::ui::app::seconds_ns(now - e.unix_s),
        arguments: arguments::arguments(e),
        result: arguments::result(e),
    };
    let has = |t: &str| t.to_lowercase().contains(&text);
    let shown = |row: &ExemplarRow| {
        let ids = [row.of.id.pid, row.of.tid].map(|id| id.to_string());
        has(&row.of.comm) || has(&row.arguments) || has(&row.result) || ids.iter().any(|id| has(id))
    };
    chosen.map(row).filter(|row| text.is_empty() || shown(row)).collect()
}

fn of<'a>(history: &'a History, look: &'a Look, nr: u32) -> impl Iterator<Item = &'a Arc<Exemplar>> {
    let passes = |e: &&Arc<Exemplar>| look.filter.is_empty() || look.filter.matches(e.id.pid, &e.comm, &e.cgroup);
    history.kept().exemplars.of(nr).iter().filter(passes)
}

/// An octave of latencies: how many calls there were in it in the last minute, and how many of them are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Octave {
    /// Calls.
    pub calls: u64,
    /// Exemplars.
    pub kept: u64,
}

/// The octaves of the last minute that hold anything, the quickest first.
pub fn octaves(history: &History, look: &Look, nr: u32) -> BTreeMap<u16, Octave> {
    let mut octaves = BTreeMap::<u16, Octave>::new();
    let mut seconds = 0.0;
    for tick in history.last(TICKS).rev() {
        if seconds >= KEPT_S {
            break;
        }
        seconds += tick.snapshot.seconds();
        for (bucket, count) in tick.call(nr).iter().flat_map(|latency| latency.histogram.iter()) {
            let calls = &mut octaves.entry(octave_of(bucket)).or_default().calls;
            *calls = count.saturating_add(*calls);
        }
    }
    of(history, look, nr).for_each(|e| octaves.entry(e.octave()).or_default().kept += 1);
    octaves
}

fn octave_of(bucket: u16) -> u16 {
    u32::from(bucket).div_ceil(PER_OCTAVE).try_into().unwrap_or(u16::MAX)
}

/// The octave `up` or down from `from` among those that hold anything, around over "all of them", which is `None`.
pub fn next_octave(octaves: &BTreeMap<u16, Octave>, from: Option<u16>, up: bool) -> Option<u16> {
    let mut keys = octaves.keys().copied();
    match (from, up) {
        (None, true) => keys.next(),
        (None, false) => keys.next_back(),
        (Some(from), true) => keys.find(|at| *at > from),
        (Some(from), false) => keys.rfind(|at| *at < from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octaves_are_gone_through_and_round_again() {
        let octaves: BTreeMap<u16, Octave> = [3, 4, 9].map(|at| (at, Octave::default())).into();
        let mut from = None;
        let up = [(); 5].map(|()| {
            from = next_octave(&octaves, from, true);
            from
        });
        assert_eq!(up, [Some(3), Some(4), Some(9), None, Some(3)]);
        assert_eq!(next_octave(&octaves, None, false), Some(9));
        assert_eq!(next_octave(&octaves, Some(3), false), None);
        assert_eq!(next_octave(&BTreeMap::new(), None, true), None);
    }
}
