//! Least privilege by separation: what needs rights is done by small processes that are started first; the one that draws,
//! parses and talks has none.
//!
//! ```text
//!                  the process that draws       no capabilities, sudo's caller's ids
//!     8 bytes  │ ▲ maps (once)   │ ▲               reads /proc, /sys and themes; opens nothing else
//!              ▼ │               │ │
//!     kscope-helper              │ │            CAP_BPF, CAP_PERFMON; CAP_SYS_ADMIN to count runs
//!                        numbers ▼ │ text
//!     kscope-eyes                │ │            CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH: what others wait for
//!                                ▼ │
//!     kscope-names                              no capabilities: names of users and hosts
//! ```
//!
//! Not here: what is loaded (`kernel`). Invariant: a process that is asked takes numbers out of a closed list, never text.

pub mod calls;
pub mod command;
pub mod description;
pub mod eyes;
pub mod files;
pub mod helper;
pub mod names;
pub mod process;
pub mod remote;
pub mod rights;
pub mod wire;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use landlock::RulesetStatus;
use rustix::process::getpid;
use rustix::thread::CapabilitySet;

use eyes::Eyes;
use helper::Helper;
use names::Book;
use rights::Caller;

use crate::kernel::advice::LoadError;
use crate::kernel::loader;

/// Who does what the process that reads the maps may not.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Looks into other processes.
    pub eyes: Eyes,
    /// Asks for names.
    pub book: Book,
    /// Sentences on what could not be given up, and on what nobody may look at.
    pub notes: Arc<[String]>,
}

/// The processes that were started, and what is said of it.
#[derive(Debug)]
pub struct Separated {
    /// Holds the programs; or why there is none.
    pub helper: Result<Helper, LoadError>,
    /// Do the rest.
    pub services: Services,
}

/// What `--no-ptrace` leaves out.
const UNSEEN: &str = "With --no-ptrace nobody looks into other processes: what calls wait for, what descriptors are open on and \
                      whose idle sockets are is not known.";

static KIN: OnceLock<Box<[u32]>> = OnceLock::new();

/// The processes that work for this one: what they take is kscope's.
pub fn kin() -> &'static [u32] {
    KIN.get().map_or(&[], |kin| kin)
}

/// Is this process one of kscope's?
pub fn is_own(pid: u32) -> bool {
    pid == std::process::id() || kin().contains(&pid)
}

/// Starts the other processes, and leaves this one without rights. It is to be the first thing that is done: there must be no
/// second thread. `only`: the processes that alone are measured. `looks`: others are looked into. `reads`: what is read
/// besides `/proc` and `/sys`.
pub fn separate(only: &[u32], looks: bool, reads: Vec<PathBuf>) -> io::Result<Separated> {
    let caller = Caller::of_sudo();
    let drawing = getpid();
    let (mut kin, mut eyes) = (Vec::new(), Eyes::shut());
    if looks {
        let (open, pid) = Eyes::start(|| {
            rights::keep(rights::EYES, rights::EYES, None)?;
            process::end_with(drawing)?;
            calls::restrict_eyes()
        })?;
        eyes = open;
        kin.push(pid);
    }
    let (book, pid) = Book::start(|| {
        rights::keep(CapabilitySet::empty(), CapabilitySet::empty(), caller)?;
        process::end_with(drawing)
    })?;
    kin.push(pid);
    // It loads while this process goes on.
    let helper = loader::check().and_then(|()| Ok(Helper::start(only, &kin)?));
    kin.extend(helper.iter().map(Helper::pid));
    // Nobody was there before.
    let _ = KIN.set(kin.into());
    let mut notes = if helper.is_ok() { leave_no_rights(caller, reads)? } else { leave_rights_of_the_user(caller)? };
    if !looks {
        notes.push(UNSEEN.into());
    }
    Ok(Separated { helper, services: Services { eyes, book, notes: notes.into() } })
}

/// Gives up what this process does not need, for good; sentences on what could not be. Tests enter it, too.
pub fn leave_no_rights(caller: Option<Caller>, reads: Vec<PathBuf>) -> io::Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut kept = CapabilitySet::empty();
    if rights::maps_need_a_right()? {
        kept = CapabilitySet::BPF;
        notes.push("This kernel lets only CAP_BPF read maps, so kscope keeps it.".into());
    }
    // It reads what belongs to root once the ids have changed, and is remembered.
    rustix::param::page_size();
    rights::keep(kept, kept, caller)?;
    let below = [PathBuf::from("/proc"), PathBuf::from("/sys")].into_iter().chain(reads).collect::<Vec<_>>();
    match files::read_only(&below) {
        Ok(RulesetStatus::FullyEnforced) => {}
        // The rest is about what seccomp refuses as well.
        Ok(RulesetStatus::PartiallyEnforced) => tracing::info!("this kernel does a part of Landlock"),
        Ok(RulesetStatus::NotEnforced) => {
            notes.push("This kernel has no Landlock: kscope can open for reading what its user can.".into());
        }
        Err(error) => notes.push(format!("Landlock does not restrict kscope: {error}.")),
    }
    restrict_calls(&mut notes);
    Ok(notes)
}

/// The same where only procfs is read: what a user may see of processes there, Landlock would take away.
fn leave_rights_of_the_user(caller: Option<Caller>) -> io::Result<Vec<String>> {
    let mut notes = Vec::new();
    rustix::param::page_size();
    rights::keep(CapabilitySet::empty(), CapabilitySet::empty(), caller)?;
    restrict_calls(&mut notes);
    Ok(notes)
}

fn restrict_calls(notes: &mut Vec<String>) {
    if let Err(error) = calls::restrict_drawing() {
        notes.push(format!("seccomp does not restrict kscope: {error}."));
    }
    for note in &*notes {
        tracing::warn!("{note}");
    }
}
