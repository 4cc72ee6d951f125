//! What kscope needs, point by point: whether it is there, and what to do where it is not.
//!
//! Not here: how that is printed. Invariant: asking changes nothing on the host; what is loaded is gone afterwards.

use super::advice::{LoadError, require_capabilities, require_host_pids};
use super::loader::{self, host_facts};
use super::sizing::{HostFacts, Sizes};
use crate::model::ProbeState;
use crate::probes::own::probe::{Used, map_uses};
use crate::probes::own::stats::MapUse;

/// One thing that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What it is there for, or how it is met.
    pub about: String,
    /// Why it is missing, and what to do; `None` where it is there.
    pub trouble: Option<(String, String)>,
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// What is needed, in the order in which it is.
    pub checks: Vec<Check>,
    /// What the sizes of the maps depend on.
    pub host: HostFacts,
    /// The maps that are made on this host, all empty.
    pub maps: Vec<MapUse>,
}

impl Findings {
    /// Nothing is missing.
    pub fn is_well(&self) -> bool {
        self.checks.iter().all(|check| check.trouble.is_none())
    }
}

/// Looks at everything: loads and attaches the programs, and detaches them again.
pub fn examine() -> Findings {
    let host = host_facts();
    let mut checks = vec![
        check("privileges", "CAP_BPF and CAP_PERFMON, or root", require_capabilities()),
        check("process ids", "those of the host", require_host_pids()),
    ];
    match loader::load() {
        Ok(loaded) => {
            checks.push(check("programs", "built in, loaded", Ok(())));
            checks.extend(loaded.probes.iter().map(|probe| Check {
                name: probe.name,
                about: probe.hook.to_owned(),
                trouble: match &probe.state {
                    ProbeState::Running | ProbeState::Idle => None,
                    ProbeState::Failed { reason, advice } => Some((reason.clone(), advice.clone())),
                },
            }));
        }
        // The first two say why themselves.
        Err(LoadError::NotPrivileged { .. } | LoadError::PidNamespace { .. }) => {}
        Err(error) => checks.push(check("programs", "built in, loaded", Err(error))),
    }
    Findings { checks, host, maps: map_uses(Sizes::of(host), Used::default(), crate::model::Lost::default()) }
}

fn check(name: &'static str, about: &str, found: Result<(), LoadError>) -> Check {
    let trouble = found.err().map(|error| (format!("{}.", super::advice::chain(&error)), error.advice()));
    Check { name, about: about.to_owned(), trouble }
}
