//! Interval by interval: what happened, measured as fully as the budget allows.
//!
//! ```text
//!  without a budget     sample ─────────────────────────────────────────────────────────────────────────── sample
//!  within it            sample ──────────────── count runs ─────────────────────────────────────────────── sample
//!  in windows           sample ──── sample · attach ─── window ─── sample · count runs · detach ────────── sample
//! ```
//!
//! Not here: what to give up (`core/budget.rs`), what that does to the numbers (`model/sampling.rs`).
//!
//! Invariant: runs are never counted while a window is open, since counting makes calls dearer; nor is the window's place in
//! the interval fixed, since much of what a host does keeps step with the clock.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::live::sampled_insight;
use super::origin::{Origin, Otherwise};
use super::{Source as _, When};
use crate::core::budget::{Governor, Plan, Price, Step};
use crate::core::insight::{RUN_QUEUE, SYSCALLS};
use crate::core::interests::Interests;
use crate::core::units;
use crate::kernel::advice::LoadError;
use crate::kernel::loader::Loaded;
use crate::model::{Sample, Snapshot, joined};
use crate::probes::own::stats::Counting;

/// Programs' runs are counted so long in an interval.
const COUNT: Duration = Duration::from_millis(10);
/// The shortest window: attaching takes half a millisecond.
const SHORTEST: Duration = Duration::from_millis(5);
/// So many measurements of what a call costs are kept.
const CALIBRATIONS: usize = 20;

/// Who knows what time it is, and when an interval ends.
pub trait Pace {
    /// When the present interval ends. It may change while one waits.
    fn end(&self) -> Instant;
    /// Sleeps until that moment, but not beyond the end of the interval.
    fn wait_until(&mut self, at: Instant);
    /// What is looked at from now on, if that changed. Waiting ends early when it does.
    fn looks(&mut self) -> Option<Interests>;
}

/// Measures one interval after the other.
#[derive(Debug)]
pub struct Intervals {
    origin: Origin,
    runs: When,
    governor: Option<Governor>,
    prev: Sample,
    /// What a call of ours took before a window and in it, ns.
    calls: VecDeque<(f64, f64)>,
    number: u32,
    /// What went wrong in this interval, to be said at its end.
    said: Option<String>,
}

impl Intervals {
    /// Begins to measure, with the programs, or from procfs alone where they could not be loaded. `runs` is when the programs'
    /// runs are counted as long as there is no budget. Names are left for [`Self::catch_up`]. What is looked at from the beginning is in the first sample, so that
    /// nothing of it is missing in the first interval.
    pub fn start(
        loaded: Result<Loaded, LoadError>,
        otherwise: &Otherwise<'_>,
        runs: When,
        budget: Option<f64>,
        interests: Interests,
    ) -> io::Result<Self> {
        let mut origin = Origin::best(loaded, otherwise, if budget.is_some() { When::OnDemand } else { runs });
        let mut said: Vec<String> = origin.notice().into_iter().collect();
        said.extend(origin.look(interests).err().map(refusal));
        said.extend(no_budget(&origin, budget));
        origin.hurry();
        let prev = origin.sample()?;
        let governor = budget.filter(|_| origin.can_sample()).map(Governor::new);
        let said = (!said.is_empty()).then(|| said.join(" "));
        Ok(Self { origin, runs, governor, prev, calls: VecDeque::new(), number: 0, said })
    }

    /// Asks for the names of all processes; before, only those that run have a name.
    pub fn catch_up(&mut self) {
        self.origin.catch_up();
    }

    /// Begins the first interval now, when everything has been described once. That may have taken longer than what is to be
    /// measured.
    pub fn begin_anew(&mut self) -> io::Result<()> {
        self.catch_up();
        self.prev = self.origin.sample()?;
        Ok(())
    }

    /// The first sample.
    pub const fn begin(&self) -> &Sample {
        &self.prev
    }

    /// Keeps this budget from now on, a share of the machine's CPU time.
    pub fn keep(&mut self, budget: Option<f64>) {
        self.said = no_budget(&self.origin, budget).or_else(|| self.said.take());
        self.governor = budget.filter(|_| self.origin.can_sample()).map(Governor::new);
        self.origin.count_runs_when(if budget.is_some() { When::OnDemand } else { self.runs });
    }

    /// Measures what is looked at from now on, and nothing dear besides. A sentence, if that cannot be.
    pub fn look(&mut self, interests: Interests) -> Option<String> {
        self.origin.look(interests).err().map(refusal)
    }

    /// What happens from the end of the last interval to that of the next, and a sentence when more or less is counted from
    /// then on.
    pub fn next(&mut self, pace: &mut dyn Pace) -> io::Result<(Snapshot, Option<String>)> {
        let plan = self.governor.as_ref().map_or(Plan::EXACT, |g| *g.plan());
        self.origin.count_one_in(plan.one_in);
        let closed = plan.windows.map(|windowed| !windowed);
        self.origin.open(closed)?;
        let parts = if plan.has_windows() {
            self.in_window(&plan, pace)?
        } else {
            if self.governor.is_some() {
                self.wait_in(until_end(pace).saturating_sub(COUNT), pace);
                self.count_runs(&plan, COUNT, pace);
            }
            self.wait_for_end(pace);
            vec![self.part()?]
        };
        self.origin.stay_open();
        let mut whole = joined(parts).ok_or_else(|| io::Error::other("an interval has parts"))?;
        whole.sampling.budget = self.governor.as_ref().map(Governor::budget);
        let said = self.govern(&whole);
        Ok((whole, self.said.take().or(said)))
    }

    /// What happened since the last sample.
    fn part(&mut self) -> io::Result<Snapshot> {
        let mut next = self.origin.sample()?;
        next.sampling.call_overhead_ns = self.call_overhead_ns();
        next.sampling.switch_overhead_ns = self.switch_overhead_ns();
        let part = Snapshot::between(&self.prev, &next);
        self.prev = next;
        Ok(part)
    }

    fn in_window(&mut self, plan: &Plan, pace: &mut dyn Pace) -> io::Result<Vec<Snapshot>> {
        self.origin.close(plan.windows)?;
        let whole = until_end(pace);
        let window = whole.mul_f64(plan.part).max(SHORTEST);
        let count = (window / 4).clamp(Duration::from_millis(2), COUNT);
        self.wait_in(whole.saturating_sub(window + count), pace);
        let alone_ns = call_ns();
        let before = self.part()?;
        let opened = self.origin.open(plan.windows);
        pace.wait_until(Instant::now() + window);
        let measured_ns = call_ns();
        if plan.windows[SYSCALLS] {
            self.calls.truncate(CALIBRATIONS - 1);
            self.calls.push_front((alone_ns, measured_ns));
        }
        let within = self.part()?;
        self.count_runs(plan, count, pace);
        let closed = self.origin.close(plan.windows);
        self.wait_for_end(pace);
        let after = self.part()?;
        opened.and(closed)?;
        Ok(vec![before, within, after])
    }

    fn count_runs(&mut self, plan: &Plan, time: Duration, pace: &mut dyn Pace) {
        self.origin.count_runs(plan, || pace.wait_until(Instant::now() + time));
    }

    /// Waits for the end of the interval, and meanwhile begins to measure what somebody begins to look at.
    fn wait_for_end(&mut self, pace: &mut dyn Pace) {
        loop {
            if let Some(interests) = pace.looks() {
                self.said = self.look(interests).or_else(|| self.said.take());
            }
            if until_end(pace).is_zero() {
                return;
            }
            pace.wait_until(pace.end());
        }
    }

    /// Waits for a place within `room`, another one each time. Multiples of the golden ratio are spread evenly.
    fn wait_in(&mut self, room: Duration, pace: &mut dyn Pace) {
        self.number = self.number.wrapping_add(1);
        pace.wait_until(Instant::now() + room.mul_f64((f64::from(self.number) * 0.618_034).fract()));
    }

    /// What attached programs add to a call, ns. The difference of two means, not the mean of differences' middle: a CPU's
    /// speed changes from moment to moment with what its neighbours do, and what a process made in a window is a mean too.
    fn call_overhead_ns(&self) -> f64 {
        let (alone, measured) = self.calls.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (measured - alone).max(0.0) / self.calls.len().max(1) as f64
    }

    /// What the scheduler's programs add to a switch, ns, as far as their runs were counted.
    fn switch_overhead_ns(&self) -> f64 {
        let programs = &self.prev.programs;
        let mut sum = 0.0;
        let mut switches = 0.0;
        for (at, probe) in self.prev.probes.iter().enumerate() {
            let (Some(rate), Some(run_ns)) = (programs.rate_while_attached(at), programs.run_ns(at)) else { continue };
            if probe.name == "sched_switch" {
                switches = rate;
            }
            if sampled_insight(probe.name) == Some(RUN_QUEUE) {
                sum += rate * run_ns;
            }
        }
        if switches > 0.0 { sum / switches } else { 0.0 }
    }

    /// Decides what to count in the next interval.
    fn govern(&mut self, last: &Snapshot) -> Option<String> {
        let governor = self.governor.as_mut()?;
        if matches!(last.programs.counting, Counting::Denied(_) | Counting::Waiting) {
            return None;
        }
        let mut prices = [Price::default(); 3];
        let mut others = 0.0;
        for (at, probe) in last.probes.iter().enumerate() {
            let (rate, run_ns) =
                (last.programs.rate_while_attached(at).unwrap_or(0.0), last.programs.run_ns(at).unwrap_or(0.0));
            match sampled_insight(probe.name) {
                Some(insight) => prices[insight].add(rate, run_ns),
                None => others += rate * run_ns / 1e9,
            }
        }
        let cpus = last.host.cpus.max(1);
        let rest = (last.cost().user + others) / f64::from(cpus);
        let step = governor.step(prices, rest, cpus, last.seconds())?;
        Some(sentence(step, governor))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped by")]
fn refusal(error: io::Error) -> String {
    format!("What you look at cannot be measured: {error}.")
}

/// Why a budget that was asked for is not kept, if so.
fn no_budget(origin: &Origin, budget: Option<f64>) -> Option<String> {
    let why = "No budget is kept: without programs in the kernel there is nothing to count less of.";
    (budget.is_some() && !origin.can_sample()).then(|| why.to_owned())
}

fn until_end(pace: &dyn Pace) -> Duration {
    pace.end().saturating_duration_since(Instant::now())
}

fn sentence(step: Step, governor: &Governor) -> String {
    let (budget, plan) = (units::fine_percent(governor.budget()), governor.plan());
    let (Step::Less(insight) | Step::More(insight)) = step;
    let at = insight.place().unwrap_or_default();
    let what = insight.subject();
    let now = match (plan.windows[at], plan.one_in[at]) {
        (true, _) => format!("{what} are counted in windows"),
        (false, 1) => format!("all {what} are counted"),
        (false, one_in) => format!("1 in {one_in} {what} is counted"),
    };
    match step {
        Step::Less(_) => format!("Above the budget of {budget} of CPU time: {now} from now on."),
        Step::More(_) => format!("Within the budget of {budget} of CPU time: {now} from now on."),
    }
}

/// What a short system call of kscope takes now, ns: the median of some batches. (Their best would be that of a moment in
/// which nothing ran beside it, on a CPU that shares its core.) Through the C library, as most programs call: what tracing
/// adds depends on how a CPU predicts the way back.
fn call_ns() -> f64 {
    const BATCHES: usize = 31;
    const CALLS: u32 = 32;
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            // SAFETY: it takes nothing and cannot fail.
            std::hint::black_box(unsafe { libc::getppid() });
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    let mut batches: Vec<f64> = (0..BATCHES).map(batch).collect();
    batches.sort_by(f64::total_cmp);
    batches[BATCHES / 2]
}
