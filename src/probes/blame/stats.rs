//! The arithmetic of blame: of whose waits for a CPU which part was whose, from cumulative pairs.
//!
//! A wait counts when it ends. So what is shown of an interval are the waits that ended in it, whole.
//!
//! Invariant: the parts of a victim add up to its wait, but for what found no room (which is counted as lost).

use std::collections::BTreeMap;

use kscope_layout::RecordKey;
use kscope_layout::blame::{Pair, PairKey, cause};
use serde::Serialize;

use crate::core::ident::ProcessId;

/// Why a thread waited for a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Another process ran.
    Others,
    /// Another thread of the same process ran.
    OwnThreads,
    /// The CPU worked on interrupts.
    Interrupts,
    /// A hypervisor had taken the CPU away.
    Steal,
    /// The quota of its control group was used up.
    Throttled,
    /// The CPU idled, and had to be woken up.
    Idle,
    /// Nobody knows.
    Unknown,
}

impl Cause {
    /// All of them, by their number in the kernel.
    pub const ALL: [Self; 7] =
        [Self::Others, Self::OwnThreads, Self::Interrupts, Self::Steal, Self::Throttled, Self::Idle, Self::Unknown];

    fn of(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Others => "others",
            Self::OwnThreads => "own threads",
            Self::Interrupts => "interrupts",
            Self::Steal => "steal",
            Self::Throttled => "throttled",
            Self::Idle => "idle here",
            Self::Unknown => "unknown",
        }
    }
}

/// What the running kernel tells apart. What it does not is part of the other causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tells {
    /// Throttling by a quota. Else it is charged to whoever ran meanwhile.
    pub throttled: bool,
    /// Time stolen by a hypervisor. Else it is charged to whoever was on the CPU.
    pub steal: bool,
    /// Which CPUs a thread may use.
    pub elsewhere: bool,
}

/// The pairs as they stood, cumulative.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Since when it has been measured, `CLOCK_MONOTONIC`: pairs of another beginning cannot be compared.
    pub since_ns: u64,
    /// What is told apart.
    pub tells: Tells,
    /// By key, and so by victim.
    pub pairs: Vec<(PairKey, Pair)>,
}

/// A part of somebody's waits. `K` is who can be to blame: a process, or a control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<K> {
    /// Why.
    pub cause: Cause,
    /// Who ran, if somebody else did.
    pub offender: Option<K>,
    /// How long.
    pub ns: u64,
}

/// Somebody who waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim<K> {
    /// Who.
    pub who: K,
    /// Its waits that ended in the interval, of all threads.
    pub wait_ns: u64,
    /// Part of them in which another CPU was idle that the thread may use, at least. It is not among the parts.
    pub elsewhere_ns: u64,
    /// Whose time it was, the largest part first.
    pub parts: Vec<Part<K>>,
}

impl<K: Clone + Ord> Victim<K> {
    /// How much had this cause.
    pub fn by_cause(&self, cause: Cause) -> u64 {
        self.parts.iter().filter(|part| part.cause == cause).map(|part| part.ns).fold(0, u64::saturating_add)
    }

    /// What is not explained: nobody knows, or there was no room for it.
    pub fn unexplained_ns(&self) -> u64 {
        let explained = self
            .parts
            .iter()
            .filter(|part| part.cause != Cause::Unknown)
            .map(|part| part.ns)
            .fold(0, u64::saturating_add);
        self.wait_ns.saturating_sub(explained)
    }

    /// The part of its waits that another process is to blame for most.
    pub fn top_offender(&self) -> Option<&Part<K>> {
        self.parts.iter().filter(|part| part.offender.is_some()).max_by_key(|part| part.ns)
    }

    fn add(&mut self, part: &Part<K>) {
        match self.parts.iter_mut().find(|p| p.cause == part.cause && p.offender == part.offender) {
            Some(mine) => mine.ns = mine.ns.saturating_add(part.ns),
            None => self.parts.push(part.clone()),
        }
    }

    fn sort(&mut self) {
        self.parts.sort_by(|a, b| (b.ns, a.cause, &a.offender).cmp(&(a.ns, b.cause, &b.offender)));
    }
}

/// What was waited in an interval, and whose time it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// How long of the interval it was measured, ns.
    pub measured_ns: u64,
    /// What is told apart.
    pub tells: Tells,
    /// Who waited, the longest first.
    pub victims: Vec<Victim<ProcessId>>,
}

impl Blame {
    /// What happened from `prev` to `next`, readings at `from_ns` and `to_ns`.
    pub fn between(prev: Option<&Reading>, next: &Reading, (from_ns, to_ns): (u64, u64)) -> Self {
        let prev = prev.filter(|p| p.since_ns == next.since_ns).map_or(&[][..], |p| &p.pairs);
        let mut before = prev.iter().peekable();
        let mut victims: Vec<Victim<ProcessId>> = Vec::new();
        for (key, pair) in &next.pairs {
            while before.next_if(|(k, _)| k < key).is_some() {}
            let was = before.next_if(|(k, _)| k == key).map(|(_, pair)| *pair).unwrap_or_default();
            let ns = pair.ns.saturating_sub(was.ns);
            if ns == 0 {
                continue;
            }
            let who = process(key.victim);
            if victims.last().is_none_or(|last| last.who != who) {
                victims.push(Victim { who, wait_ns: 0, elsewhere_ns: 0, parts: Vec::new() });
            }
            let Some(victim) = victims.last_mut() else { continue };
            if key.victim.what() == cause::WHOLE {
                victim.wait_ns = ns;
                victim.elsewhere_ns = pair.elsewhere_ns.saturating_sub(was.elsewhere_ns);
            } else if let Some(cause) = Cause::of(key.victim.what()) {
                let offender = (key.offender.tgid() != 0).then(|| process(key.offender));
                victim.parts.push(Part { cause, offender, ns });
            }
        }
        victims.iter_mut().for_each(Victim::sort);
        sort(&mut victims);
        Self { measured_ns: to_ns.saturating_sub(from_ns.max(next.since_ns)), tells: next.tells, victims }
    }

    /// Adds the interval that followed this one.
    pub fn append(&mut self, later: &Self) {
        self.measured_ns = self.measured_ns.saturating_add(later.measured_ns);
        self.tells = later.tells;
        let all = self.victims.drain(..).chain(later.victims.iter().cloned());
        self.victims = merged(all);
    }

    /// The waits of one process.
    pub fn victim(&self, id: ProcessId) -> Option<&Victim<ProcessId>> {
        self.victims.iter().find(|victim| victim.who == id)
    }

    /// The same by control group: whoever waited or ran counts for the group that `group_of` says.
    pub fn by_group(&self, group_of: impl Fn(ProcessId) -> String) -> Vec<Victim<String>> {
        let part =
            |part: &Part<ProcessId>| Part { cause: part.cause, offender: part.offender.map(&group_of), ns: part.ns };
        merged(self.victims.iter().map(|victim| Victim {
            who: group_of(victim.who),
            wait_ns: victim.wait_ns,
            elsewhere_ns: victim.elsewhere_ns,
            parts: victim.parts.iter().map(part).collect(),
        }))
    }
}

/// The process in a key.
pub fn process(key: RecordKey) -> ProcessId {
    ProcessId { pid: key.tgid(), birth: key.birth() }
}

/// One row for each who, with the parts of all its rows.
fn merged<K: Clone + Ord>(rows: impl Iterator<Item = Victim<K>>) -> Vec<Victim<K>> {
    let mut by_who: BTreeMap<K, Victim<K>> = BTreeMap::new();
    for row in rows {
        let empty = || Victim { who: row.who.clone(), wait_ns: 0, elsewhere_ns: 0, parts: Vec::new() };
        let sum = by_who.entry(row.who.clone()).or_insert_with(empty);
        sum.wait_ns = sum.wait_ns.saturating_add(row.wait_ns);
        sum.elsewhere_ns = sum.elsewhere_ns.saturating_add(row.elsewhere_ns);
        row.parts.iter().for_each(|part| sum.add(part));
    }
    let mut all: Vec<_> = by_who.into_values().collect();
    all.iter_mut().for_each(Victim::sort);
    sort(&mut all);
    all
}

fn sort<K: Ord>(victims: &mut [Victim<K>]) {
    victims.sort_by(|a, b| (b.wait_ns, &a.who).cmp(&(a.wait_ns, &b.who)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(victim: u32, cause: u32, offender: u32) -> PairKey {
        let offender = if offender == 0 { RecordKey(0) } else { RecordKey::of(offender, 1, 0) };
        PairKey { victim: RecordKey::of(victim, 1, cause), offender }
    }

    fn id(pid: u32) -> ProcessId {
        ProcessId { pid, birth: 1 }
    }

    fn reading(since_ns: u64, pairs: &[(PairKey, u64)]) -> Reading {
        let mut pairs: Vec<_> = pairs.iter().map(|(key, ns)| (*key, Pair { ns: *ns, elsewhere_ns: ns / 10 })).collect();
        pairs.sort_by_key(|(key, _)| *key);
        Reading { since_ns, tells: Tells::default(), pairs }
    }

    /// Process 7 waits 100 ns for 8, 20 for 9, 5 for itself, 3 nobody knows.
    fn later() -> Reading {
        reading(
            50,
            &[
                (key(7, cause::WHOLE, 0), 1_128),
                (key(7, cause::OTHERS, 8), 1_100),
                (key(7, cause::OTHERS, 9), 20),
                (key(7, cause::OWN_THREADS, 0), 5),
                (key(7, cause::UNKNOWN, 0), 3),
                (key(9, cause::OTHERS, 7), 400),
                (key(9, cause::WHOLE, 0), 400),
            ],
        )
    }

    fn earlier() -> Reading {
        reading(50, &[(key(7, cause::OTHERS, 8), 1_000), (key(7, cause::WHOLE, 0), 1_000), (key(6, 0, 8), 9)])
    }

    #[test]
    fn what_was_waited_in_an_interval_is_what_the_pairs_grew_by() {
        let blame = Blame::between(Some(&earlier()), &later(), (100, 600));
        assert_eq!(blame.measured_ns, 500);
        assert_eq!(blame.victims.iter().map(|v| (v.who, v.wait_ns)).collect::<Vec<_>>(), [(id(9), 400), (id(7), 128)]);
        let victim = blame.victim(id(7)).unwrap();
        let parts: Vec<_> = victim.parts.iter().map(|p| (p.cause, p.offender, p.ns)).collect();
        assert_eq!(
            parts,
            [
                (Cause::Others, Some(id(8)), 100),
                (Cause::Others, Some(id(9)), 20),
                (Cause::OwnThreads, None, 5),
                (Cause::Unknown, None, 3),
            ]
        );
        assert_eq!(victim.parts.iter().map(|p| p.ns).sum::<u64>(), victim.wait_ns);
        assert_eq!((victim.by_cause(Cause::Others), victim.unexplained_ns(), victim.elsewhere_ns), (120, 3, 12));
        assert_eq!(victim.top_offender().unwrap().offender, Some(id(8)));
    }

    #[test]
    fn what_was_measured_before_it_was_closed_and_opened_again_is_not_subtracted() {
        let closed = Reading { since_ns: 10, ..earlier() };
        let blame = Blame::between(Some(&closed), &later(), (20, 600));
        assert_eq!((blame.measured_ns, blame.victims[0].wait_ns), (550, 1_128));
        assert_eq!(Blame::between(None, &later(), (20, 600)), blame);
    }

    #[test]
    fn what_found_no_room_is_not_explained() {
        let lost = reading(0, &[(key(7, cause::WHOLE, 0), 100), (key(7, cause::OTHERS, 8), 60)]);
        let blame = Blame::between(None, &lost, (0, 1));
        assert_eq!(blame.victims[0].unexplained_ns(), 40);
    }

    #[test]
    fn intervals_add_up() {
        let mut sum = Blame::between(None, &earlier(), (50, 100));
        sum.append(&Blame::between(Some(&earlier()), &later(), (100, 600)));
        let whole = Blame::between(None, &later(), (50, 600));
        assert_eq!(sum.victim(id(7)), whole.victim(id(7)));
        assert_eq!(sum.measured_ns, 550);
    }

    #[test]
    fn groups_are_their_processes_together() {
        let blame = Blame::between(Some(&earlier()), &later(), (100, 600));
        let group_of = |id: ProcessId| if id.pid == 8 { "/a".to_owned() } else { "/b".to_owned() };
        let groups = blame.by_group(group_of);
        assert_eq!((groups.len(), groups[0].who.as_str(), groups[0].wait_ns), (1, "/b", 528));
        let parts: Vec<_> = groups[0].parts.iter().map(|p| (p.cause, p.offender.as_deref(), p.ns)).collect();
        assert_eq!(parts[..2], [(Cause::Others, Some("/b"), 420), (Cause::Others, Some("/a"), 100)]);
    }
}
