//! The budget: how much of the machine's CPU time kscope may take, and what is given up to keep it.
//!
//! When the cost is above the budget for a while, the dearest insight counts one event in N only. A program takes time even
//! for an event that it leaves out, so if that is not enough its programs are attached in short windows. When the load
//! falls, it comes back the same way.
//!
//! Pure: it is told what things cost, and says what to do. Not here: how that is done (`source/watch.rs`), what it does to
//! the numbers (`model/sampling.rs`).
//!
//! Invariant: nothing is given up while the cost is within the budget, and only one thing at a time.

use super::insight::Insight;

/// So long the cost has to be above the budget before something is given up.
const PATIENCE_S: f64 = 5.0;
/// The same once something is: the load has shown itself.
const PATIENCE_SAMPLED_S: f64 = 2.0;
/// So long the cost has to be expected well within the budget before something comes back.
const RECOVERY_S: f64 = 5.0;
/// Well within: at most this part of the budget.
const RECOVERY_PART: f64 = 0.7;
/// What takes less than this part of the budget is not worth giving up: the excess is somewhere else.
const CHEAP_PART: f64 = 0.2;
/// Windows are cut for this part of the budget, since loads vary.
const AIM: f64 = 0.8;
/// However much all else takes, windows have this part of the budget.
const LEAST_PART: f64 = 0.2;
/// The largest part of the time that windows take; above it they would save little.
const LARGEST_PART: f64 = 0.5;
/// One event in so many, at least and at most. Sparser is hardly cheaper: what is left is the price of being called.
const ONE_IN: (u32, u32) = (8, 64);

/// What an insight costs while its programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Runs of its programs a second.
    pub runs_per_s: f64,
    /// Time of a run, ns.
    pub run_ns: f64,
}

impl Price {
    /// Adds a program of the same insight.
    pub fn add(&mut self, runs_per_s: f64, run_ns: f64) {
        let all = self.runs_per_s + runs_per_s;
        if all > 0.0 {
            self.run_ns = (self.runs_per_s * self.run_ns + runs_per_s * run_ns) / all;
        }
        self.runs_per_s = all;
    }

    /// As a share of one CPU.
    fn share(self) -> f64 {
        self.runs_per_s * self.run_ns / 1e9
    }
}

/// How much of what happens is counted, by insight in the order of [`Insight::SAMPLED`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// One event in so many, a power of two; 1 is all.
    pub one_in: [u32; 3],
    /// Its programs are attached in windows only.
    pub windows: [bool; 3],
    /// The part of the time that windows take.
    pub part: f64,
}

impl Plan {
    /// Everything is counted all the time.
    pub const EXACT: Self = Self { one_in: [1; 3], windows: [false; 3], part: 1.0 };

    /// Some programs are attached in windows only.
    pub const fn has_windows(&self) -> bool {
        self.windows[0] || self.windows[1] || self.windows[2]
    }

    /// The part of the time in which the programs of an insight are attached.
    const fn part_of(&self, at: usize) -> f64 {
        if self.windows[at] { self.part } else { 1.0 }
    }
}

/// What changed in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The insight counts fewer events from now on.
    Less(Insight),
    /// It counts more of them.
    More(Insight),
}

/// Keeps a budget.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: f64,
    plan: Plan,
    /// Prices of runs that count every event, as long as they did.
    full_run_ns: [f64; 3],
    above_s: f64,
    within_s: f64,
}

impl Governor {
    /// Keeps `budget`, a share of the CPU time of the whole machine.
    pub const fn new(budget: f64) -> Self {
        Self { budget, plan: Plan::EXACT, full_run_ns: [0.0; 3], above_s: 0.0, within_s: 0.0 }
    }

    /// The share of the machine's CPU time that is kept to.
    pub const fn budget(&self) -> f64 {
        self.budget
    }

    /// What to count.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Looks at what the last `seconds` cost: `prices` by insight, and `rest`, the share of the machine's CPU time that all
    /// else of kscope took (its user space, and programs that are never sampled).
    pub fn step(&mut self, prices: [Price; 3], rest: f64, cpus: u32, seconds: f64) -> Option<Step> {
        let cpus = f64::from(cpus.max(1));
        // Of the machine, were its programs attached all the time.
        let attached = prices.map(|price| price.share() / cpus);
        for ((full_ns, one_in), price) in self.full_run_ns.iter_mut().zip(self.plan.one_in).zip(prices) {
            if one_in == 1 && price.run_ns > 0.0 {
                *full_ns = price.run_ns;
            }
        }
        let now = |plan: &Plan| rest + (0..3).map(|at| attached[at] * plan.part_of(at)).sum::<f64>();
        let cost = now(&self.plan);
        let back = self.next_back().map(|at| (at, self.with_back(at, prices, rest, cpus)));
        let returns = back.is_some_and(|(_, expected)| {
            expected < RECOVERY_PART * self.budget || expected - cost < CHEAP_PART / 2.0 * self.budget
        });
        self.within_s = if returns { self.within_s + seconds } else { 0.0 };
        self.above_s = if cost > self.budget { self.above_s + seconds } else { 0.0 };
        if let Some((at, _)) = back.filter(|_| self.within_s >= RECOVERY_S) {
            self.within_s = 0.0;
            return Some(self.take_back(at, attached, rest));
        }
        let patience = if self.plan == Plan::EXACT { PATIENCE_S } else { PATIENCE_SAMPLED_S };
        if self.above_s >= patience {
            self.above_s = 0.0;
            if let Some(step) = self.give_up(attached, rest) {
                return Some(step);
            }
        }
        self.cut_windows(attached, rest);
        None
    }

    /// The next thing to give up: events of the dearest insight, then the time in between.
    fn give_up(&mut self, attached: [f64; 3], rest: f64) -> Option<Step> {
        let dearest = |candidates: &[usize]| -> Option<usize> {
            let cost = |at: usize| attached[at] * self.plan.part_of(at);
            candidates
                .iter()
                .copied()
                .filter(|&at| cost(at) > CHEAP_PART * self.budget)
                .max_by(|&a, &b| cost(a).total_cmp(&cost(b)))
        };
        let unwindowed: Vec<usize> = (0..3).filter(|&at| !self.plan.windows[at]).collect();
        let at = dearest(&unwindowed)?;
        if self.plan.one_in[at] == 1 {
            // Much of the price of an event remains when it is left out: so more of them than the excess.
            let factor = (4.0 * attached[at] / self.budget).clamp(f64::from(ONE_IN.0), f64::from(ONE_IN.1));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 8…64")]
            let one_in = (factor as u32).next_power_of_two();
            self.plan.one_in[at] = one_in;
        } else {
            self.plan.windows[at] = true;
            self.cut_windows(attached, rest);
        }
        Some(Step::Less(Insight::SAMPLED[at]))
    }

    /// Makes windows as long as the budget lets them be.
    fn cut_windows(&mut self, attached: [f64; 3], rest: f64) {
        let sum = |windows: bool| -> f64 {
            (0..3).filter(|&at| self.plan.windows[at] == windows).map(|at| attached[at]).sum()
        };
        let (always, windowed) = (rest + sum(false), sum(true));
        if self.plan.has_windows() {
            let room = (AIM * self.budget - always).max(LEAST_PART * self.budget);
            let part = if windowed > 0.0 { (room / windowed).min(LARGEST_PART) } else { LARGEST_PART };
            // Half way, since one window is a sample itself.
            self.plan.part = if self.plan.part > LARGEST_PART { part } else { f64::midpoint(self.plan.part, part) };
        } else {
            self.plan.part = 1.0;
        }
    }

    /// What comes back first: the time between windows, then the events left out.
    fn next_back(&self) -> Option<usize> {
        let windowed = (0..3).find(|&at| self.plan.windows[at]);
        windowed.or_else(|| (0..3).find(|&at| self.plan.one_in[at] > 1))
    }

    /// What everything would cost with more of an insight.
    fn with_back(&self, back: usize, prices: [Price; 3], rest: f64, cpus: f64) -> f64 {
        let one = |at: usize| {
            let price = if at == back && !self.plan.windows[at] {
                Price { run_ns: self.full_run_ns[at].max(prices[at].run_ns), ..prices[at] }
            } else {
                prices[at]
            };
            let part = if at == back { 1.0 } else { self.plan.part_of(at) };
            price.share() / cpus * part
        };
        rest + (0..3).map(one).sum::<f64>()
    }

    fn take_back(&mut self, at: usize, attached: [f64; 3], rest: f64) -> Step {
        if self.plan.windows[at] {
            self.plan.windows[at] = false;
            self.cut_windows(attached, rest);
        } else {
            self.plan.one_in[at] = 1;
        }
        Step::More(Insight::SAMPLED[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUS: u32 = 2;

    /// System calls at this rate: 100 ns a run, 20 ns when the event is left out; and a few switches, dear ones since they are rare.
    fn storm(governor: &Governor, calls_per_s: f64) -> [Price; 3] {
        let one_in = f64::from(governor.plan().one_in[0]);
        let calls = Price { runs_per_s: 2.0 * calls_per_s, run_ns: 20.0 + 80.0 / one_in };
        [calls, Price { runs_per_s: 1_800.0, run_ns: 1_100.0 }, Price::default()]
    }

    fn run(governor: &mut Governor, calls_per_s: f64, seconds: usize) -> Vec<Step> {
        (0..seconds).filter_map(|_| governor.step(storm(governor, calls_per_s), 0.001, CPUS, 1.0)).collect()
    }

    fn cost(governor: &Governor, calls_per_s: f64) -> f64 {
        let prices = storm(governor, calls_per_s);
        let parts = (0..3).map(|at| prices[at].share() / f64::from(CPUS) * governor.plan().part_of(at));
        0.001 + parts.sum::<f64>()
    }

    #[test]
    fn within_the_budget_nothing_is_given_up() {
        let mut governor = Governor::new(0.01);
        assert_eq!(run(&mut governor, 50_000.0, 60), []);
        assert_eq!(*governor.plan(), Plan::EXACT);
    }

    #[test]
    fn a_short_burst_is_let_pass() {
        let mut governor = Governor::new(0.01);
        for _ in 0..10 {
            assert_eq!(run(&mut governor, 5e6, 4), []);
            assert_eq!(run(&mut governor, 1e3, 1), []);
        }
    }

    #[test]
    fn first_events_are_left_out_and_that_may_be_enough() {
        let mut governor = Governor::new(0.01);
        assert_eq!(run(&mut governor, 250_000.0, 30), [Step::Less(Insight::Syscalls)]);
        assert!(governor.plan().one_in[0] >= 8 && !governor.plan().has_windows());
        assert!(cost(&governor, 250_000.0) <= 0.01);
    }

    #[test]
    fn then_programs_are_attached_in_windows_and_the_budget_is_kept() {
        let mut governor = Governor::new(0.01);
        assert_eq!(run(&mut governor, 5e6, 30), [Step::Less(Insight::Syscalls); 2]);
        let plan = *governor.plan();
        assert_eq!((plan.one_in[0], plan.windows), (64, [true, false, false]));
        assert!(plan.part > 0.01 && plan.part < 0.2, "{plan:?}");
        assert!(cost(&governor, 5e6) <= 0.01, "{}", cost(&governor, 5e6));
    }

    #[test]
    fn what_is_cheap_is_not_given_up_for_a_dear_user_space_and_comes_back_with_it() {
        let mut governor = Governor::new(0.01);
        let step = |g: &mut Governor, calls| (0..30).filter_map(|_| g.step(storm(g, calls), 0.03, CPUS, 1.0)).count();
        assert_eq!(step(&mut governor, 1e3), 0);
        assert_eq!(step(&mut governor, 5e6), 2);
        assert_eq!(governor.plan().windows, [true, false, false]);
        assert_eq!(step(&mut governor, 1e3), 2);
        assert_eq!(*governor.plan(), Plan::EXACT);
    }

    #[test]
    fn when_the_load_falls_everything_comes_back() {
        let mut governor = Governor::new(0.01);
        run(&mut governor, 5e6, 30);
        assert_eq!(run(&mut governor, 1e3, 30), [Step::More(Insight::Syscalls); 2]);
        assert_eq!(*governor.plan(), Plan::EXACT);
    }

    #[test]
    fn a_load_at_the_edge_does_not_swing() {
        let mut governor = Governor::new(0.01);
        // 1.1 % with all of its events, 0.35 % without most of them.
        assert_eq!(run(&mut governor, 110_000.0, 200).len(), 1);
    }
}
