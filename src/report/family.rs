//! A command and the processes it started, however short they lived.
//!
//! Invariant: who had the command's pid before or has it after is no member.

use std::collections::HashSet;

use kscope::core::ident::ProcessId;
use kscope::model::Snapshot;

/// Members by identity.
pub struct Family {
    root: u32,
    /// When the command began, ns of `CLOCK_BOOTTIME`.
    began_ns: u64,
    members: HashSet<ProcessId>,
}

impl Family {
    /// The family of a command.
    pub fn new(root: u32, began_ns: u64) -> Self {
        Self { root, began_ns, members: HashSet::new() }
    }

    /// Takes in the command, new children of members, and their children.
    pub fn grow(&mut self, part: &Snapshot) {
        if self.members.is_empty() {
            let same = part.processes.iter().filter(|p| p.id.pid == self.root);
            self.members.extend(same.min_by_key(|p| p.start_ns.abs_diff(self.began_ns)).map(|p| p.id));
        }
        loop {
            let before = self.members.len();
            for process in &part.processes {
                if process.parent.is_some_and(|parent| self.members.contains(&parent)) {
                    self.members.insert(process.id);
                }
            }
            if self.members.len() == before {
                return;
            }
        }
    }

    /// All that were found.
    pub fn into_members(self) -> HashSet<ProcessId> {
        self.members
    }
}
