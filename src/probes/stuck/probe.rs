//! Asks what calls in flight wait for.
//!
//! A call is asked about once, not at each sample. Not here: reading it, which needs rights (`asked.rs`).
//!
//! Invariant: at most [`ASKED`] calls are asked about in one sample, the oldest first, those that wait by design last.

use std::collections::HashMap;
use std::sync::Arc;

use kscope_layout::NO_CALL;

use super::asked::Sleeper;
use super::asleep::Clocks;
use super::stats::{Detail, InFlight, State};
use crate::core::quality::Quality;
use crate::privileged::eyes::Eyes;
use crate::probes::syscalls::names::waits;

/// Calls that are asked about in one sample, at most.
pub const ASKED: usize = 512;

/// What was found of a call, for as long as the thread stays in it.
#[derive(Debug)]
struct Known {
    nr: u32,
    /// When it was entered, or first seen.
    since_ns: u64,
    /// The call behind it, where it was not seen being entered.
    found: Found,
}

#[derive(Clone, Debug)]
struct Found {
    nr: u32,
    /// When it was entered, and what that is worth.
    since_ns: u64,
    quality: Quality,
    detail: Option<Arc<Detail>>,
}

/// Asks, and remembers the answers.
#[derive(Debug, Default)]
pub struct StuckReader {
    known: HashMap<u32, Known>,
    clocks: Clocks,
    eyes: Eyes,
}

impl StuckReader {
    /// One that asks through these eyes.
    pub fn new(eyes: Eyes) -> Self {
        Self { eyes, ..Self::default() }
    }

    /// Completes what is known of those calls in flight that are `worth` it, at `at_ns`; `now` reads the clock. Calls that
    /// were entered before the programs were there get their number.
    pub fn complete(
        &mut self,
        calls: &mut Vec<InFlight>,
        worth: impl Fn(&InFlight) -> bool,
        at_ns: u64,
        now: impl Fn() -> u64,
    ) {
        let mut order: Vec<usize> = (0..calls.len()).filter(|&at| worth(&calls[at])).collect();
        order.sort_by_key(|&at| (waits(calls[at].nr), std::cmp::Reverse(calls[at].age_ns)));
        let key = |call: &InFlight| (call.nr, at_ns.saturating_sub(call.age_ns));
        let mut before = std::mem::take(&mut self.known);
        let mut new = Vec::new();
        for &at in &order {
            let call = &calls[at];
            match before.remove(&call.tid).filter(|known| (known.nr, known.since_ns) == key(call)) {
                Some(known) => drop(self.known.insert(call.tid, known)),
                None if new.len() < ASKED && call.state != State::Working => new.push(at),
                None => {}
            }
        }
        for (call, answer) in self.asked(new.iter().map(|&at| &calls[at]).collect(), at_ns) {
            let (nr, since_ns) = key(call);
            let found = self.found(call, since_ns, answer, &now);
            self.known.insert(call.tid, Known { nr, since_ns, found });
        }
        for at in order {
            let call = &mut calls[at];
            let Some(Known { found, .. }) = self.known.get(&call.tid) else { continue };
            (call.nr, call.age_ns) = (found.nr, at_ns.saturating_sub(found.since_ns));
            (call.age_quality, call.detail) = (found.quality, found.detail.clone());
        }
        // A thread of which nobody could say what it sleeps in is in no call.
        calls.retain(|call| call.nr != NO_CALL || call.state == State::Uninterruptible);
        calls.sort_by_key(|call| std::cmp::Reverse(call.age_ns));
    }

    /// Asks about these calls, if there are any.
    fn asked<'a>(&self, calls: Vec<&'a InFlight>, at_ns: u64) -> Vec<(&'a InFlight, Option<(u32, Detail)>)> {
        if calls.is_empty() {
            return Vec::new();
        }
        let sleeper = |call: &&InFlight| Sleeper {
            pid: call.process.pid,
            tid: call.tid,
            nr: call.nr,
            uninterruptible: call.state == State::Uninterruptible,
            since_ns: if call.age_quality == Quality::Exact { at_ns.saturating_sub(call.age_ns) } else { 0 },
        };
        let sleepers: Vec<Sleeper> = calls.iter().map(sleeper).collect();
        calls.into_iter().zip(self.eyes.calls(&sleepers)).collect()
    }

    fn found(
        &mut self,
        call: &InFlight,
        since_ns: u64,
        answer: Option<(u32, Detail)>,
        now: &impl Fn() -> u64,
    ) -> Found {
        let mut found = Found { nr: call.nr, since_ns, quality: call.age_quality, detail: None };
        let Some((nr, detail)) = answer else { return found };
        found.nr = nr;
        if call.age_quality != Quality::Exact
            && let Some(asleep_ns) = self.clocks.asleep_ns(call.process.pid, call.tid, now)
        {
            let then = now().saturating_sub(asleep_ns);
            if then < since_ns {
                (found.since_ns, found.quality) = (then, Quality::Estimate);
            }
        }
        found.detail = Some(Arc::new(detail));
        found
    }
}
