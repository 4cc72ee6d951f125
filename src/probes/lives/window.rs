//! The dead of the last minutes: slices of some seconds, of which the oldest is dropped when a new one begins.
//!
//! Pure: it is told what time passed. Not here: how a group is added up (`stats.rs`).
//!
//! Invariant: memory is bounded: so many slices, so many groups in each and in all, so many single dead of each group.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::stats::{Dead, Groups, Key, Turnover, WINDOW_NS};

/// The least that a slice covers, ns.
const SLICE_NS: u64 = 10_000_000_000;
/// Groups of a slice; of a storm of names the rest is summed up.
const IN_SLICE: usize = 250;
/// Groups of all slices.
const IN_ALL: usize = 1_000;
/// The latest of a group that are kept one by one.
pub const LATEST: usize = 16;

#[derive(Clone, Debug)]
struct Slice {
    span_ns: u64,
    groups: Groups,
    turnover: Turnover,
}

/// One that died, and when.
#[derive(Clone, Debug)]
pub struct Late {
    /// End of the interval in which it did, seconds since 1970.
    pub unix_s: f64,
    /// It.
    pub dead: Dead,
}

/// The last minutes.
#[derive(Clone, Debug)]
pub struct Window {
    slices: VecDeque<Slice>,
    /// Of all slices.
    all: Groups,
    latest: HashMap<Key, VecDeque<Arc<Late>>>,
}

impl Default for Window {
    fn default() -> Self {
        Self { slices: VecDeque::new(), all: Groups::new(IN_ALL), latest: HashMap::new() }
    }
}

impl Window {
    /// Adds an interval that ended at `unix_s`.
    pub fn add(&mut self, unix_s: f64, interval_ns: u64, dead: &[Dead], turnover: Turnover) {
        if self.slices.back().is_none_or(|slice| slice.span_ns >= SLICE_NS) {
            self.slices.push_back(Slice { span_ns: 0, groups: Groups::new(IN_SLICE), turnover: Turnover::default() });
            self.forget();
        }
        let Some(slice) = self.slices.back_mut() else { return };
        slice.span_ns = slice.span_ns.saturating_add(interval_ns);
        slice.turnover = slice.turnover.plus(turnover);
        for one in dead {
            slice.groups.add(one);
            self.all.add(one);
            let key = (Arc::clone(&one.comm), Arc::clone(&one.parent_comm));
            if self.all.get(&key).is_some() {
                let latest = self.latest.entry(key).or_default();
                if latest.len() == LATEST {
                    latest.pop_front();
                }
                latest.push_back(Arc::new(Late { unix_s, dead: one.clone() }));
            }
        }
    }

    /// Drops what is too old, and adds up the rest anew.
    fn forget(&mut self) {
        let before = self.slices.len();
        while self.slices.len() > 1 && self.span_ns() > WINDOW_NS {
            self.slices.pop_front();
        }
        if self.slices.len() < before {
            self.all = Groups::new(IN_ALL);
            self.slices.iter().for_each(|slice| self.all.merge(&slice.groups));
            self.latest.retain(|key, _| self.all.get(key).is_some());
        }
    }

    /// How much time it covers, ns.
    pub fn span_ns(&self) -> u64 {
        self.slices.iter().map(|slice| slice.span_ns).fold(0, u64::saturating_add)
    }

    /// All of it.
    pub const fn groups(&self) -> &Groups {
        &self.all
    }

    /// How many of a group died each second of late: in the last ten to twenty seconds.
    pub fn rate_of_late(&self, key: &Key) -> f64 {
        let late = || self.slices.iter().rev().take(2);
        let died: u64 =
            late().filter_map(|slice| slice.groups.get(key)).map(|group| group.died).fold(0, u64::saturating_add);
        let span_ns: u64 = late().map(|slice| slice.span_ns).fold(0, u64::saturating_add);
        died as f64 * 1e9 / span_ns.max(1) as f64
    }

    /// How many processes were made, turned to a program and ended each second of late.
    pub fn turnover_of_late(&self) -> [f64; 3] {
        let late = || self.slices.iter().rev().take(2);
        let sum = late().fold(Turnover::default(), |sum, slice| sum.plus(slice.turnover));
        let span_ns: u64 = late().map(|slice| slice.span_ns).fold(0, u64::saturating_add);
        [sum.forks, sum.execs, sum.ends].map(|n| n as f64 * 1e9 / span_ns.max(1) as f64)
    }

    /// The latest of a group, the last one first.
    pub fn latest(&self, key: &Key) -> impl Iterator<Item = &Arc<Late>> {
        self.latest.get(key).into_iter().flatten().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ident::ProcessId;
    use crate::core::quality::Quality;
    use crate::probes::lives::stats::{End, Status};
    use crate::probes::network::stats::Traffic;
    use crate::probes::time::stats::TimeSplit;

    const S: u64 = 1_000_000_000;

    fn dead(comm: &str, pid: u32) -> Dead {
        Dead {
            id: ProcessId { pid, birth: 1 },
            comm: comm.into(),
            parent: 1,
            parent_comm: "sh".into(),
            end: Some(End { life_ns: 2_100_000, status: Status::Exited(0), ran_program: true }),
            watched_ns: 2_100_000,
            time: Some(TimeSplit { user_ns: 3, kernel_ns: 4, ..TimeSplit::default() }),
            calls: Some(5),
            traffic: Some(Traffic::default()),
        }
    }

    fn key(comm: &str) -> Key {
        (comm.into(), "sh".into())
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_the_rest_still_adds_up() {
        let mut window = Window::default();
        (0..100).for_each(|second| window.add(f64::from(second), S, &[dead("old", second)], Turnover::default()));
        (100..380).for_each(|second| window.add(f64::from(second), S, &[dead("ls", second)], Turnover::default()));
        let (old, new) = (window.groups().get(&key("old")).map(|g| g.died), window.groups().get(&key("ls")).unwrap());
        assert_eq!((old, new.died, new.calls, new.time.on_cpu_ns()), (Some(30), 280, 5 * 280, 7 * 280));
        assert_eq!(window.groups().sum().died, window.span_ns() / S);
        assert!((window.rate_of_late(&key("ls")) - 1.0).abs() < 1e-9);
        assert_eq!(window.latest(&key("ls")).count(), LATEST);
        assert_eq!(window.latest(&key("ls")).next().map(|late| late.dead.id.pid), Some(379));
        (380..420).for_each(|second| window.add(f64::from(second), S, &[], Turnover::default()));
        assert!(window.groups().get(&key("old")).is_none() && window.latest(&key("old")).next().is_none());
    }

    #[test]
    fn a_storm_of_names_is_summed_up_and_none_is_dropped() {
        let mut window = Window::default();
        for second in 0..40 {
            let names: Vec<Dead> = (0..500).map(|n| dead(&format!("{second}-{n}"), n)).collect();
            window.add(f64::from(second), S, &names, Turnover { ends: 500, ..Turnover::default() });
        }
        assert_eq!((window.groups().iter().count(), window.groups().sum().died), (1_000, 20_000));
        assert!(window.latest.len() <= 1_000);
        let [forks, execs, ends] = window.turnover_of_late();
        assert!(forks + execs < 1e-9 && (ends - 500.0).abs() < 1e-9, "{ends}");
    }

    #[test]
    fn of_one_that_lived_longer_only_the_part_in_the_window_counts_as_recent() {
        let mut long = dead("server", 1);
        long.watched_ns = 2 * WINDOW_NS;
        long.time = Some(TimeSplit { user_ns: 600, ..TimeSplit::default() });
        let groups = Groups::of(&[long], 5);
        let group = groups.get(&key("server")).unwrap();
        assert_eq!((group.recent_cpu_ns, group.time.user_ns, group.is_estimate), (300, 600, true));
    }

    #[test]
    fn what_is_not_known_of_some_is_a_lower_bound_and_of_all_is_nothing() {
        let blank = |pid| Dead { time: None, calls: None, traffic: None, end: None, ..dead("ls", pid) };
        let of = |all: &[Dead]| Groups::of(all, 5).get(&key("ls")).map(|g| (g.account_quality(), g.end_quality()));
        assert_eq!(of(&[dead("ls", 1)]), Some((Quality::Exact, Quality::Exact)));
        assert_eq!(of(&[dead("ls", 1), blank(2)]), Some((Quality::LowerBound, Quality::LowerBound)));
        assert_eq!(of(&[blank(1), blank(2)]), Some((Quality::NotAvailable, Quality::NotAvailable)));
    }

    #[test]
    fn wait_statuses_are_told_apart() {
        assert_eq!(Status::of_wait(3 << 8), Status::Exited(3));
        assert_eq!(Status::of_wait(9), Status::Killed(9));
        assert_eq!(Status::of_wait(0x80 + 11), Status::Killed(11));
        assert!(Status::of_wait(9).is_failure() && !Status::of_wait(0).is_failure());
    }
}
