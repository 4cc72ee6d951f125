//! What kscope needs, point by point: how it stands here, why, and what to do where it is not well.
//!
//! Not here: how that is printed. Invariant: asking changes nothing on the host; what is loaded is gone afterwards.

mod checks;
mod facts;
mod programs;

use serde::Serialize;

use self::checks::{Cause, checks};
use self::facts::Facts;
pub use self::programs::ProgramFinding;
use super::advice::{LoadError, chain};
use super::loader::{self, host_facts};
use super::programs::Insight;
use super::sizing::{HostFacts, Sizes};
use crate::probes::own::probe::{Used, map_uses};
use crate::probes::own::stats::MapUse;

/// How a requirement or a program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Something less stands in for it, or kscope does without.
    Degraded,
    /// What needs it cannot be measured.
    Impossible,
}

/// One thing that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What it is there for, or how it is met.
    pub about: String,
    /// Why it is not well; empty where it is.
    pub reason: String,
    /// What to do; empty where it is well.
    pub advice: String,
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The kernel's release.
    pub kernel: String,
    /// What is needed, in the order in which it is.
    pub checks: Vec<Check>,
    /// Every program.
    pub programs: Vec<ProgramFinding>,
    /// What the sizes of the maps depend on.
    pub host: HostFacts,
    /// The maps that are made on this host, all empty.
    pub maps: Vec<MapUse>,
}

impl Findings {
    /// Nothing is impossible.
    pub fn is_well(&self) -> bool {
        let mut states = self.checks.iter().map(|c| c.state).chain(self.programs.iter().map(|p| p.state));
        states.all(|state| state != State::Impossible)
    }
}

/// Looks at everything: loads and attaches the programs, and detaches them again.
pub fn examine() -> Findings {
    let (host, facts) = (host_facts(), Facts::read());
    let maps = map_uses(Sizes::of(host), Used::default(), crate::model::Lost::default());
    let mut checks = checks(&facts, maps.iter().map(|map| map.bytes).sum());
    let cause = Cause::of_checks(&checks, &facts);
    let (loading, programs) = match loader::load() {
        Ok(mut loaded) => {
            // A program that fails says so in the list; this is what keeps all of an insight's from being tried.
            let mut failed = None;
            for insight in Insight::ON_DEMAND {
                failed = loaded.open(insight).err().or(failed);
            }
            let check = loads(failed.as_ref(), &cause);
            (check, programs::tried(&loaded.probes, &cause))
        }
        Err(error) => (loads(Some(&error), &cause), programs::untried(&sentence(&error), &error.advice())),
    };
    checks.push(loading);
    Findings { kernel: facts.kernel, checks, programs, host, maps }
}

fn sentence(error: &LoadError) -> String {
    match error {
        LoadError::NotPrivileged { missing } => format!("This process lacks {missing}."),
        LoadError::PidNamespace { .. } => "This is a PID namespace of its own.".into(),
        other => format!("Loading failed: {}.", chain(other)),
    }
}

/// Whether programs can be loaded at all.
fn loads(error: Option<&LoadError>, cause: &Cause) -> Check {
    let (state, reason, advice) = match error {
        None => (State::Ok, String::new(), String::new()),
        Some(error) => {
            let reason = sentence(error);
            let advice = cause.of(&reason).map_or_else(|| error.advice(), str::to_owned);
            (State::Impossible, reason, advice)
        }
    };
    Check { name: "programs", state, about: "built in, loaded, attached".into(), reason, advice }
}
