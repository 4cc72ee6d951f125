//! Where the time of a process's threads went, as far as what procfs counts of each tells.
//!
//! Pure: it is told the time. Three sources are joined: each thread's `schedstat`, which is exact but forgets threads that
//! ended; the division into user and kernel, which the kernel keeps for the whole process in steps of 10 ms; and the clock,
//! from which follows how long they were blocked.
//!
//! Invariant: no number ever falls, and user and kernel time sum to the time on CPUs.

use std::collections::HashMap;

use crate::core::latency::Unsorted;
use crate::probes::time::stats::TimeSplit;

/// What one thread did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Time on CPUs, ns.
    pub on_cpu_ns: u64,
    /// Its waits for a CPU that ended.
    pub waits: Unsorted,
    /// Times it left a CPU of its own will.
    pub voluntary: u64,
    /// Times it was pushed off a CPU.
    pub preempted: u64,
}

impl Counters {
    fn plus(self, other: Self) -> Self {
        Self {
            on_cpu_ns: self.on_cpu_ns.saturating_add(other.on_cpu_ns),
            waits: Unsorted {
                count: self.waits.count.saturating_add(other.waits.count),
                total_ns: self.waits.total_ns.saturating_add(other.waits.total_ns),
            },
            voluntary: self.voluntary.saturating_add(other.voluntary),
            preempted: self.preempted.saturating_add(other.preempted),
        }
    }

    /// Has somebody else got its id since `prev`?
    const fn is_another(&self, prev: &Self) -> bool {
        self.on_cpu_ns < prev.on_cpu_ns || self.waits.total_ns < prev.waits.total_ns
    }
}

/// A process as it was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Its threads by id.
    pub threads: Vec<(u32, Counters)>,
    /// CPU time in user mode of all its threads, dead ones included, ns.
    pub user_ns: u64,
    /// The same in the kernel.
    pub kernel_ns: u64,
    /// Its only thread runs or waits for a CPU.
    pub runs: bool,
    /// How long it has been there, ns.
    pub age_ns: u64,
}

/// What the threads of a process did, cumulative.
#[derive(Clone, Debug, Default)]
pub struct Account {
    threads: HashMap<u32, Counters>,
    /// Of threads that are gone, as they were seen last.
    gone: Counters,
    /// All of it.
    sum: Counters,
    time: TimeSplit,
    age_ns: u64,
    /// Time that passed and is not accounted for, since a wait may not have ended; negative when more was.
    open_ns: i64,
}

impl Account {
    /// Takes in a reading.
    pub fn update(&mut self, reading: &Reading) {
        let before = std::mem::take(&mut self.threads);
        self.threads = reading.threads.iter().copied().collect();
        for (tid, was) in before {
            if self.threads.get(&tid).is_none_or(|now| now.is_another(&was)) {
                self.gone = self.gone.plus(was);
            }
        }
        let sum = self.threads.values().fold(self.gone, |sum, thread| sum.plus(*thread));
        let was = self.time;
        let on_cpu_ns = sum.on_cpu_ns.max(reading.user_ns.saturating_add(reading.kernel_ns)).max(was.on_cpu_ns());
        self.time.user_ns = user_part(on_cpu_ns, reading, was);
        self.time.kernel_ns = on_cpu_ns - self.time.user_ns;
        self.time.runnable_ns = sum.waits.total_ns;
        let known_ns = (on_cpu_ns - was.on_cpu_ns()).saturating_add(sum.waits.total_ns.saturating_sub(was.runnable_ns));
        let passed_ns = reading.age_ns.saturating_sub(self.age_ns).saturating_mul(reading.threads.len() as u64);
        self.leave_open(passed_ns, known_ns, reading.runs);
        (self.sum, self.age_ns) = (sum, reading.age_ns);
    }

    /// What is left of the time that passed was blocked, unless the thread may be waiting for a CPU: that is told when its wait
    /// ends.
    fn leave_open(&mut self, passed_ns: u64, known_ns: u64, runs: bool) {
        let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        let open = self.open_ns.saturating_add(signed(passed_ns)).saturating_sub(signed(known_ns));
        // Threads that came and went within one interval ran, and are not in what passed.
        self.open_ns = open.max(-signed(passed_ns));
        if !runs && self.open_ns > 0 {
            self.time.blocked_ns = self.time.blocked_ns.saturating_add(self.open_ns.unsigned_abs());
            self.open_ns = 0;
        }
    }

    /// Where their time went.
    pub const fn time(&self) -> TimeSplit {
        self.time
    }

    /// Their waits and switches.
    pub const fn counters(&self) -> Counters {
        self.sum
    }

    /// What was last read of one thread.
    pub fn thread(&self, tid: u32) -> Option<&Counters> {
        self.threads.get(&tid)
    }
}

/// The part of the time on CPUs that was in user mode: what the kernel says in steps of 10 ms, and of the rest as much as of the
/// whole.
fn user_part(on_cpu_ns: u64, reading: &Reading, was: TimeSplit) -> u64 {
    let told_ns = reading.user_ns.saturating_add(reading.kernel_ns);
    let share = if told_ns == 0 { 0.5 } else { reading.user_ns as f64 / told_ns as f64 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a number of nanoseconds")]
    let rest = (on_cpu_ns.saturating_sub(told_ns) as f64 * share) as u64;
    reading.user_ns.saturating_add(rest).min(on_cpu_ns.saturating_sub(was.kernel_ns)).max(was.user_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn thread(on_cpu_ms: u64, delay_ms: u64) -> Counters {
        let waits = Unsorted { count: delay_ms, total_ns: delay_ms * MS };
        Counters { on_cpu_ns: on_cpu_ms * MS, waits, voluntary: on_cpu_ms, preempted: delay_ms }
    }

    fn reading(threads: &[(u32, Counters)], (user, kernel): (u64, u64), age_ms: u64) -> Reading {
        let (user_ns, kernel_ns) = (user * MS, kernel * MS);
        Reading { threads: threads.to_vec(), user_ns, kernel_ns, runs: false, age_ns: age_ms * MS }
    }

    #[test]
    fn parts_sum_to_the_time_that_passed() {
        let mut account = Account::default();
        account.update(&reading(&[(1, thread(100, 10))], (60, 40), 1_000));
        let before = account.time();
        account.update(&reading(&[(1, thread(305, 110))], (180, 120), 2_000));
        let time = account.time().since(before);
        assert_eq!((time.on_cpu_ns(), time.runnable_ns), (205 * MS, 100 * MS));
        assert_eq!(time.user_ns, 123 * MS, "three of five parts");
        assert_eq!(time.blocked_ns, 695 * MS);
        assert_eq!(account.counters().waits, Unsorted { count: 110, total_ns: 110 * MS });
    }

    #[test]
    fn threads_that_end_keep_what_they_did() {
        let mut account = Account::default();
        account.update(&reading(&[(1, thread(10, 1)), (2, thread(500, 50))], (510, 0), 1_000));
        account.update(&reading(&[(1, thread(20, 2))], (520, 0), 2_000));
        assert_eq!(account.counters(), thread(520, 52));
        // Somebody else got its id.
        account.update(&reading(&[(1, thread(20, 2)), (2, thread(1, 0))], (521, 0), 3_000));
        account.update(&reading(&[(1, thread(20, 2)), (2, thread(3, 1))], (523, 0), 4_000));
        assert_eq!(account.counters(), thread(523, 53));
    }

    #[test]
    fn time_of_threads_that_nobody_saw_is_in_the_sum_of_the_process() {
        let mut account = Account::default();
        account.update(&reading(&[(1, thread(10, 0))], (10, 0), 1_000));
        account.update(&reading(&[(1, thread(10, 0))], (600, 110), 2_000));
        assert_eq!(account.time().on_cpu_ns(), 710 * MS);
        assert_eq!((account.time().user_ns, account.time().kernel_ns), (600 * MS, 110 * MS));
    }

    #[test]
    fn a_wait_that_has_not_ended_is_not_taken_for_a_sleep() {
        let mut account = Account::default();
        let starved = |delay, age| Reading { runs: true, ..reading(&[(1, thread(10, delay))], (10, 0), age) };
        account.update(&starved(0, 10));
        account.update(&starved(0, 1_010));
        account.update(&starved(0, 2_010));
        assert_eq!((account.time().runnable_ns, account.time().blocked_ns), (0, 0));
        account.update(&starved(2_500, 3_010));
        assert_eq!((account.time().runnable_ns, account.time().blocked_ns), (2_500 * MS, 0));
        account.update(&reading(&[(1, thread(10, 2_500))], (10, 0), 4_010));
        assert_eq!(account.time().blocked_ns, 1_500 * MS);
    }

    proptest! {
        #[test]
        fn nothing_ever_falls(steps in proptest::collection::vec(
            (proptest::collection::vec((1_u32..5, 0_u64..1 << 40, 0_u64..1 << 40), 0..4), 0_u64..1 << 40, 0_u64..1 << 40, any::<bool>(), 0_u64..1 << 40), 1..20,
        )) {
            let mut account = Account::default();
            let (mut user_ns, mut kernel_ns) = (0, 0);
            for (threads, user, kernel, runs, age_ns) in steps {
                (user_ns, kernel_ns) = (user_ns + user, kernel_ns + kernel);
                let threads = threads.into_iter().map(|(tid, on_cpu_ns, total_ns)| {
                    (tid, Counters { on_cpu_ns, waits: Unsorted { count: 1, total_ns }, ..Counters::default() })
                });
                // A thread is in a reading once.
                let threads: Vec<_> = threads.collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
                let was = account.clone();
                account.update(&Reading { threads, user_ns, kernel_ns, runs, age_ns });
                let (was, now) = (was.time(), account.time());
                prop_assert!(now.user_ns >= was.user_ns && now.kernel_ns >= was.kernel_ns && now.blocked_ns >= was.blocked_ns);
                prop_assert!(now.on_cpu_ns() >= user_ns + kernel_ns);
            }
        }
    }
}
