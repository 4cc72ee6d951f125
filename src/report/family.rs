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

#[cfg(test)]
mod tests {
    use super::*;
    use kscope::model::ProcessStats;

    fn process(pid: u32, start_ns: u64, parent: Option<ProcessId>) -> ProcessStats {
        let id = ProcessId { pid, birth: u32::try_from(start_ns >> 10).unwrap() };
        ProcessStats { id, start_ns, parent, ..ProcessStats::default() }
    }

    #[test]
    fn children_are_members_and_who_had_the_pid_before_or_after_is_none() {
        let (before, root, after) = (process(7, 1 << 20, None), process(7, 5 << 20, None), process(7, 9 << 20, None));
        let child = process(8, 6 << 20, Some(root.id));
        let of_child = process(3, 7 << 20, Some(child.id));
        let others = [process(4, 2 << 20, Some(before.id)), process(5, 10 << 20, Some(after.id))];
        let members = HashSet::from([root.id, child.id, of_child.id]);
        let mut processes = vec![before, root, after, child, of_child];
        processes.extend(others);
        let mut family = Family::new(7, (5 << 20) - 1_000);
        family.grow(&Snapshot { processes, ..Snapshot::default() });
        assert_eq!(family.into_members(), members);
    }
}
