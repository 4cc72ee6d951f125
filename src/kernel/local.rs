//! The programs in the process that loaded them: what is attached, and how each program stands.
//!
//! All of it needs privileges. Not here: reading what they count.
//!
//! Invariant: the state of a program in the list is what the kernel said last.

use aya::Btf;
use aya::programs::ProgramError;

use super::advice::{self, LoadError};
use super::attach::Attached;
use super::ladder;
use super::loader::Standing;
use super::memory;
use super::offsets::Offsets;
use super::programs::{Insight, PROGRAMS, Program};
use crate::model::{ProbeState, ProbeStatus};
use crate::probes::blame::stats::Tells;

/// Loaded programs, and all that is needed to load the others.
#[derive(Debug)]
pub struct Local {
    attached: Attached,
    offsets: Offsets,
    /// Every program and how it stands.
    pub probes: Vec<ProbeStatus>,
    /// The threads that were there before were found.
    pub found: bool,
}

impl Local {
    /// Loads and attaches the programs of these insights, but for those that are measured on demand.
    pub(super) fn attach(mut attached: Attached, offsets: Offsets, btf: &Btf, insights: &[Insight]) -> Self {
        let probes = ladder::climb(&mut attached, insights, &offsets, btf);
        // Not before: a thread that is found on a CPU and leaves it before the programs see it would seem to run for ever.
        let found = attached.load_finder(btf).and_then(|()| attached.find_threads());
        if let Err(error) = &found {
            tracing::warn!("threads that were there before are found only when they stir: {}", advice::chain(error));
        }
        Self { attached, offsets, probes, found: found.is_ok() }
    }

    /// The programs.
    pub const fn attached(&mut self) -> &mut Attached {
        &mut self.attached
    }

    /// How the programs stand, with descriptors of our own.
    pub fn standing(&self) -> Standing {
        let programs = self.probes.iter().map(|probe| self.attached.descriptor(probe.name)).collect();
        Standing { probes: self.probes.clone(), programs }
    }

    /// Attaches the programs of an insight that is measured on demand, and loads those that were not asked for before.
    pub fn open(&mut self, insight: Insight) -> Result<Standing, LoadError> {
        let mut of_insight = PROGRAMS.iter().filter(|p| p.insight == insight);
        let is_loaded = of_insight.all(|p| self.attached.has(p.name));
        let btf = if is_loaded { None } else { Some(Btf::from_sys_fs()?) };
        self.change(insight, |attached, offsets, program| ladder::attach(attached, program, offsets, btf.as_ref()));
        if btf.is_some() {
            drop(btf);
            memory::give_back();
        }
        Ok(self.standing())
    }

    /// Detaches the programs of an insight that is measured on demand.
    pub fn close(&mut self, insight: Insight) -> Result<Standing, ProgramError> {
        self.attached.detach(insight)?;
        self.change(insight, |_, _, _| ProbeState::Idle);
        Ok(self.standing())
    }

    /// What blame can tell apart on this kernel.
    pub fn tells(&self) -> Tells {
        let queue = self.offsets.has_all(&["TASK_QUEUE", "QUEUE_CPU"]);
        Tells {
            throttled: queue && self.offsets.has_all(&["QUEUE_THROTTLED", "QUEUE_THROTTLED_SINCE", "CPU_CLOCK"]),
            steal: queue && self.offsets.has_all(&["CPU_STOLEN"]),
            elsewhere: self.offsets.has_all(&["TASK_CPUS"]),
        }
    }

    /// Changes the state of the programs of an insight; those that failed stay so.
    fn change(&mut self, insight: Insight, state: impl Fn(&mut Attached, &Offsets, Program) -> ProbeState) {
        for probe in self.probes.iter_mut().filter(|p| !matches!(p.state, ProbeState::Failed { .. })) {
            if let Some(program) = program(probe.name).filter(|p| p.insight == insight) {
                probe.state = state(&mut self.attached, &self.offsets, program);
            }
        }
    }
}

/// The program of that name.
fn program(name: &str) -> Option<Program> {
    PROGRAMS.iter().find(|p| p.name == name).copied()
}
