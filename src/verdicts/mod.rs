//! Verdicts: what stands out on this machine now, as plain sentences, each with a stated rule and a place that shows the
//! evidence.
//!
//! ```text
//!  Snapshot ──► Facts (what rules look at, of one interval) ──► Window (the last ones) ──► rules ──► at most five Verdicts
//! ```
//!
//! Pure: the same facts give the same sentences in the same order. Not here: drawing them, or going to the evidence.
//!
//! Invariant: a verdict says what was measured and by how much; it never guesses, and what is not known is not a sentence.

mod facts;
mod rules;
mod window;

use serde::{Deserialize, Serialize};

pub use facts::{CallFacts, CpuFacts, Facts, ProcessFacts, StuckFacts};
pub use rules::{RULES, Rule};
pub use window::Window;

/// Verdicts that are shown, at most.
pub const SHOWN: usize = 5;
/// What is said when no rule applies.
pub const NOTHING: &str =
    "Nothing stands out: no call is slower than before, nothing is stuck, nobody waits long for a CPU.";
/// What is said where only procfs is read.
pub const UNJUDGED: &str = "Nothing is judged: /proc tells neither how long calls and waits took nor what is stuck.";

/// Where the evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The system calls, and the call among them.
    Syscalls(u32),
    /// The run queues.
    Scheduler,
    /// The calls that have not returned.
    Stuck,
    /// The processes.
    Processes,
}

/// One sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The name of its rule.
    pub rule: String,
    /// The sentence.
    pub sentence: String,
    /// The process that it is about, by pid, if it is about one.
    pub pid: Option<u32>,
    /// Where the evidence is.
    pub evidence: Evidence,
    /// How much it matters: the part of a CPU, or of a thread, that is lost to it.
    pub weight: f64,
}

/// What stands out in the intervals of `window`: the weightiest first, at most [`SHOWN`], and of one rule at most two.
pub fn verdicts(window: &Window<'_>) -> Vec<Verdict> {
    let mut all: Vec<Verdict> = Vec::new();
    for rule in RULES {
        let mut found = (rule.find)(window);
        found.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.pid.cmp(&b.pid)));
        found.truncate(2);
        all.extend(found);
    }
    // A stable sort: of equal weights, the rule that stands first in the list.
    all.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    all.truncate(SHOWN);
    all
}
