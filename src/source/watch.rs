//! Since when each insight's programs are attached, and what follows from it for what is read.
//!
//! Pure: it is told the time. Not here: attaching (`live.rs`), when to (`interval.rs`).

use kscope_layout::{BLIND, Control};

use crate::core::insight::{NETWORK, RUN_QUEUE, SYSCALLS};
use crate::model::{Sampling, Share};
use crate::probes::time::probe::Horizon;

/// Whether an insight's programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// They always were.
    #[default]
    Always,
    /// For a window that was opened then (`CLOCK_MONOTONIC`).
    Since(u64),
    /// The same, but nothing is counted any more: a sample is being read, which takes a good part of a window.
    Frozen(u64),
    /// They are not.
    Not,
}

/// What is watched, by insight in the order of `Insight::SAMPLED`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// One event in so many is counted.
    one_in: [u32; 3],
    states: [State; 3],
    /// When the programs were detached last, 0 if never.
    closed_ns: [u64; 3],
    /// When they were attached last.
    opened_ns: [u64; 3],
    /// Since when all calls are counted, not one in so many.
    all_calls_since_ns: u64,
    /// When the last sample was taken.
    last_ns: u64,
}

impl Watch {
    /// Counts one event in so many from `now_ns` on.
    pub const fn count_one_in(&mut self, one_in: [u32; 3], now_ns: u64) {
        if self.one_in[SYSCALLS] > 1 && one_in[SYSCALLS] <= 1 {
            self.all_calls_since_ns = now_ns;
        }
        self.one_in = one_in;
    }

    /// True when the programs of the insight at `at` are attached.
    pub fn is_open(&self, at: usize) -> bool {
        self.states[at] != State::Not
    }

    /// Its programs have been attached.
    pub const fn open(&mut self, at: usize, now_ns: u64) {
        self.states[at] = State::Since(now_ns);
        self.opened_ns[at] = now_ns;
    }

    /// Its programs will be detached.
    pub const fn close(&mut self, at: usize, now_ns: u64) {
        if !matches!(self.states[at], State::Frozen(_)) {
            self.closed_ns[at] = now_ns;
        }
        self.states[at] = State::Not;
    }

    /// Windows end now, though the programs are still attached; `false` if there are none.
    pub fn freeze(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        for (state, closed_ns) in self.states.iter_mut().zip(&mut self.closed_ns) {
            if let State::Since(opened) = *state {
                (*state, *closed_ns, any) = (State::Frozen(opened), now_ns, true);
            }
        }
        any
    }

    /// What is open is not a window any more.
    pub fn stay_open(&mut self) {
        for state in self.states.iter_mut().filter(|s| **s != State::Not) {
            *state = State::Always;
        }
    }

    /// What the programs are told, all but the epoch.
    pub fn control(&self) -> Control {
        let since = |at: usize| match self.states[at] {
            State::Always | State::Since(_) => self.opened_ns[at],
            State::Frozen(_) | State::Not => BLIND,
        };
        let [calls_one_in, waits_one_in, transfers_one_in] = self.one_in;
        Control {
            epoch: 0,
            calls_one_in,
            waits_one_in,
            transfers_one_in,
            calls_since_ns: since(SYSCALLS),
            states_since_ns: since(RUN_QUEUE),
            states_until_ns: self.closed_ns[RUN_QUEUE],
            transfers_since_ns: since(NETWORK),
            entries_since_ns: if calls_one_in > 1 { BLIND } else { since(SYSCALLS).max(self.all_calls_since_ns) },
        }
    }

    /// What is known of threads at `now_ns`.
    pub fn horizon(&self, now_ns: u64) -> Horizon {
        let control = self.control();
        Horizon {
            now_ns,
            states_since_ns: control.states_since_ns,
            states_until_ns: control.states_until_ns,
            calls_since_ns: control.calls_since_ns,
            calls_until_ns: self.closed_ns[SYSCALLS],
        }
    }

    /// How much was counted since the sample before, in one that is taken at `now_ns`.
    pub fn sampling(&mut self, now_ns: u64) -> Sampling {
        let last_ns = std::mem::replace(&mut self.last_ns, now_ns);
        let share = |at: usize| {
            let (unwatched_ns, window_ns) = match self.states[at] {
                State::Always => (0, 0),
                State::Since(opened) | State::Frozen(opened) => {
                    (opened.saturating_sub(last_ns), now_ns.saturating_sub(opened.max(last_ns)))
                }
                State::Not => (now_ns.saturating_sub(last_ns), 0),
            };
            Share { one_in: self.one_in[at], unwatched_ns, window_ns }
        };
        Sampling { shares: [share(0), share(1), share(2)], ..Sampling::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_was_watched_between_two_samples() {
        let mut watch = Watch::default();
        assert!(watch.sampling(1_000).shares[0].is_all());
        watch.close(SYSCALLS, 1_000);
        assert_eq!(watch.sampling(1_500).shares[0].unwatched_ns, 500);
        watch.open(SYSCALLS, 1_600);
        assert_eq!(watch.sampling(1_620).shares[0], Share { one_in: 0, unwatched_ns: 100, window_ns: 20 });
        assert!(watch.freeze(1_650));
        assert_eq!(watch.control().calls_since_ns, BLIND);
        assert_eq!(watch.sampling(1_650).shares[0].window_ns, 30);
        watch.stay_open();
        assert_eq!(watch.control().calls_since_ns, 1_600);
        assert!(watch.sampling(2_000).shares[0].is_all());
    }

    #[test]
    fn entries_of_calls_are_known_only_where_all_are_counted() {
        let mut watch = Watch::default();
        assert_eq!(watch.control().entries_since_ns, 0);
        watch.count_one_in([8, 1, 1], 50);
        assert_eq!((watch.control().entries_since_ns, watch.control().calls_since_ns), (BLIND, 0));
        watch.count_one_in([1, 1, 1], 90);
        assert_eq!((watch.control().entries_since_ns, watch.control().calls_since_ns), (90, 0));
        watch.close(SYSCALLS, 95);
        assert_eq!(watch.control().entries_since_ns, BLIND);
    }

    #[test]
    fn programs_are_told_since_when_they_know() {
        let mut watch = Watch::default();
        assert_eq!((watch.control().calls_since_ns, watch.control().states_since_ns), (0, 0));
        watch.close(RUN_QUEUE, 70);
        assert_eq!((watch.control().states_since_ns, watch.control().states_until_ns), (BLIND, 70));
        watch.open(RUN_QUEUE, 90);
        assert_eq!((watch.control().states_since_ns, watch.control().states_until_ns), (90, 70));
    }
}
