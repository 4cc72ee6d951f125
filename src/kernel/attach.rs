//! Which programs are attached, and changing that while kscope runs.
//!
//! All that needs privileges after loading is here, behind a closed list of requests: load and attach the programs of an insight,
//! detach them, look for threads.
//!
//! Invariant: between two requests the programs of an insight that run are all attached, or none is.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::fexit::FExitLinkId;
use aya::programs::kprobe::KProbeLinkId;
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::{BtfTracePoint, FExit, Iter, KProbe, ProgramError};
use aya::{Btf, Ebpf};

use super::programs::{Hook, Insight, Program};

/// The iterator over all tasks.
const FINDER: &str = "found_task";

/// The loaded programs, and their links.
#[derive(Debug)]
pub struct Attached {
    ebpf: Ebpf,
    /// Those that could be loaded and attached once.
    programs: Vec<Attachable>,
}

#[derive(Debug)]
struct Attachable {
    program: Program,
    link: Option<Link>,
}

/// What keeps a program attached.
#[derive(Debug)]
enum Link {
    TpBtf(BtfTracePointLinkId),
    Fexit(FExitLinkId),
    Kprobe(KProbeLinkId),
}

impl Attached {
    /// Nothing is loaded yet.
    pub const fn new(ebpf: Ebpf) -> Self {
        Self { ebpf, programs: Vec::new() }
    }

    /// Loads one program and attaches it.
    pub fn load(&mut self, program: Program, btf: &Btf) -> Result<(), ProgramError> {
        match program.hook {
            Hook::TpBtf => typed::<BtfTracePoint>(&mut self.ebpf, program.name)?.load(program.target, btf)?,
            Hook::Fexit => typed::<FExit>(&mut self.ebpf, program.name)?.load(program.target, btf)?,
            Hook::Kprobe | Hook::Kretprobe => typed::<KProbe>(&mut self.ebpf, program.name)?.load()?,
            Hook::Procfs => return Err(ProgramError::UnexpectedProgramType),
        }
        let link = Some(link(&mut self.ebpf, &program)?);
        self.programs.push(Attachable { program, link });
        Ok(())
    }

    /// Detaches and unloads a program, so that nothing of it is left in the kernel.
    pub fn unload(&mut self, name: &str) -> Result<(), ProgramError> {
        let Some(at) = self.programs.iter().position(|held| held.program.name == name) else { return Ok(()) };
        // Links go with their program.
        match self.programs.remove(at).program.hook {
            Hook::TpBtf => typed::<BtfTracePoint>(&mut self.ebpf, name)?.unload(),
            Hook::Fexit => typed::<FExit>(&mut self.ebpf, name)?.unload(),
            Hook::Kprobe | Hook::Kretprobe => typed::<KProbe>(&mut self.ebpf, name)?.unload(),
            Hook::Procfs => Ok(()),
        }
    }

    /// Has this program been loaded?
    pub fn has(&self, name: &str) -> bool {
        self.programs.iter().any(|p| p.program.name == name)
    }

    /// A descriptor of our own for a program that runs.
    pub fn descriptor(&self, name: &str) -> Option<OwnedFd> {
        let program = self.ebpf.program(name).filter(|_| self.has(name))?;
        program.fd().ok()?.as_fd().try_clone_to_owned().ok()
    }

    /// Attaches the programs of an insight that are not attached. The last of the list comes first: what ends something is
    /// there before what begins it.
    pub fn attach(&mut self, insight: Insight) -> Result<(), ProgramError> {
        for held in self.programs.iter_mut().rev().filter(|p| p.program.insight == insight && p.link.is_none()) {
            held.link = Some(link(&mut self.ebpf, &held.program)?);
        }
        Ok(())
    }

    /// Detaches the programs of an insight. A program that is at work on another CPU may finish after this returned.
    pub fn detach(&mut self, insight: Insight) -> Result<(), ProgramError> {
        for held in self.programs.iter_mut().filter(|p| p.program.insight == insight) {
            let (ebpf, name) = (&mut self.ebpf, held.program.name);
            match held.link.take() {
                Some(Link::TpBtf(id)) => typed::<BtfTracePoint>(ebpf, name)?.detach(id)?,
                Some(Link::Fexit(id)) => typed::<FExit>(ebpf, name)?.detach(id)?,
                Some(Link::Kprobe(id)) => typed::<KProbe>(ebpf, name)?.detach(id)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Loads the iterator over all tasks.
    pub fn load_finder(&mut self, btf: &Btf) -> Result<(), ProgramError> {
        self.finder()?.load("task", btf)
    }

    /// Makes entries for all threads that have none, and says of those whose state is unknown what they are doing.
    pub fn find_threads(&mut self) -> Result<(), ProgramError> {
        let finder = self.finder()?;
        let id = finder.attach()?;
        let link = finder.take_link(id)?;
        let mut file = link.into_file().map_err(|e| ProgramError::IOError(io::Error::other(e)))?;
        // It prints nothing; reading to the end is what runs it.
        file.read_to_end(&mut Vec::new()).map_err(ProgramError::IOError)?;
        Ok(())
    }

    fn finder(&mut self) -> Result<&mut Iter, ProgramError> {
        self.ebpf.program_mut(FINDER).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
    }
}

/// Attaches a loaded program.
fn link(ebpf: &mut Ebpf, program: &Program) -> Result<Link, ProgramError> {
    match program.hook {
        Hook::TpBtf => typed::<BtfTracePoint>(ebpf, program.name)?.attach().map(Link::TpBtf),
        Hook::Fexit => typed::<FExit>(ebpf, program.name)?.attach().map(Link::Fexit),
        Hook::Kprobe | Hook::Kretprobe => {
            typed::<KProbe>(ebpf, program.name)?.attach(program.target, 0).map(Link::Kprobe)
        }
        Hook::Procfs => Err(ProgramError::UnexpectedProgramType),
    }
}

/// A program of the object, as what it is.
fn typed<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}
