//! Processes that were reported as exited while their records are still in the kernel.
//!
//! A program may hold the slot of a record, in a thread's entry or in a register. So a slot is given back only if the pid of
//! its process was found free, and then no thread of it was found: with a free pid it gets no new thread; and every thread
//! that could still record has an entry (an exiting one may, after its id is gone), which that second look sees.
//!
//! Invariant: whoever is settled makes no record any more, and has no entry with a slot in it.

use std::collections::HashSet;
use std::io;

use crate::core::ident::ProcessId;

/// The processes.
#[derive(Debug, Default)]
pub struct Leaving(HashSet<ProcessId>);

impl Leaving {
    /// A process was reported as exited. (Once more, if something of it was found later.)
    pub fn add(&mut self, id: ProcessId) {
        self.0.insert(id);
    }

    /// Was it reported, and its records are still there?
    pub fn holds(&self, id: ProcessId) -> bool {
        self.0.contains(&id)
    }

    /// Takes out the processes whose records can be freed now. `with_threads` looks at the table of threads, and says which of
    /// the processes it is given have a thread there. A zombie stays until it is reaped.
    pub fn settle(
        &mut self,
        pid_is_free: impl Fn(ProcessId) -> bool,
        with_threads: impl FnOnce(&HashSet<ProcessId>) -> io::Result<HashSet<ProcessId>>,
    ) -> io::Result<Vec<ProcessId>> {
        let free: HashSet<ProcessId> = self.0.iter().copied().filter(|id| pid_is_free(*id)).collect();
        if free.is_empty() {
            return Ok(Vec::new());
        }
        // After the pids were looked at: that order is the proof.
        let there = with_threads(&free)?;
        let settled: Vec<ProcessId> = free.difference(&there).copied().collect();
        for id in &settled {
            self.0.remove(id);
        }
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const ID: ProcessId = ProcessId { pid: 7, birth: 1 };

    #[test]
    fn threads_are_looked_for_after_the_pid_was_free() {
        let mut leaving = Leaving::default();
        leaving.add(ID);
        let asked = Cell::new(false);
        let pid_is_free = |_| {
            asked.set(true);
            true
        };
        let settled = leaving.settle(pid_is_free, |ids| {
            assert!(asked.get() && ids.contains(&ID));
            Ok(HashSet::new())
        });
        assert_eq!(settled.unwrap(), [ID]);
        assert!(!leaving.holds(ID));
    }

    #[test]
    fn a_zombie_keeps_its_records_until_it_is_reaped() {
        let mut leaving = Leaving::default();
        leaving.add(ID);
        assert!(leaving.settle(|_| false, |_| panic!("there is nobody to look for")).unwrap().is_empty());
        assert!(leaving.holds(ID));
        assert_eq!(leaving.settle(|_| true, |_| Ok(HashSet::new())).unwrap(), [ID]);
    }

    #[test]
    fn one_that_still_has_a_thread_keeps_them() {
        let mut leaving = Leaving::default();
        leaving.add(ID);
        assert!(leaving.settle(|_| true, |ids| Ok(ids.clone())).unwrap().is_empty());
        assert!(leaving.holds(ID));
    }
}
