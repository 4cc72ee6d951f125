//! The state of each table: its cursor, its order and the text its rows must contain. It outlives a change of view.
//!
//! Not here: rows and columns.

use super::columns;
use super::selection::Cursor;

/// The tables that can have the keys; one at a time does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableId {
    /// Overview: all processes.
    Who,
    /// Syscalls: system calls.
    Calls,
    /// Syscalls: processes that make one call.
    Callers,
    /// Syscalls: errors by call and process.
    Errors,
    /// Syscalls: single calls.
    Exemplars,
    /// Scheduler: processes that waited for a CPU.
    Delayed,
    /// Scheduler › blame: who waited for a CPU, by whose doing.
    Victims,
    /// Network: processes that moved bytes.
    Talking,
    /// Network: connections and listening sockets.
    Connections,
    /// Stuck: calls that have not returned.
    Stuck,
    /// Disk: block devices by direction.
    Disks,
    /// Disk: processes that use them.
    DiskUsers,
    /// Processes: everything of all processes.
    Everything,
    /// Processes: groups of the dead.
    Dead,
    /// Processes: the latest dead of a group.
    Ends,
    /// A page: threads of its process.
    Threads,
    /// Self: kscope's programs.
    Programs,
}

impl TableId {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Who,
        Self::Calls,
        Self::Callers,
        Self::Errors,
        Self::Exemplars,
        Self::Delayed,
        Self::Victims,
        Self::Talking,
        Self::Connections,
        Self::Stuck,
        Self::Disks,
        Self::DiskUsers,
        Self::Everything,
        Self::Dead,
        Self::Ends,
        Self::Threads,
        Self::Programs,
    ];
}

/// One table.
#[derive(Clone, Debug, Default)]
pub struct TableState {
    /// The selected row.
    pub cursor: Cursor,
    /// The column it is sorted by.
    pub sort: usize,
    /// Largest first.
    pub falling: bool,
    /// What rows must contain; empty for all.
    pub text: String,
}

impl TableState {
    /// Back to the first row of all rows; the order stays.
    pub fn restart(&mut self) {
        self.cursor = Cursor::default();
        self.text.clear();
    }
}

/// All tables.
pub struct Tables(Vec<TableState>);

impl Default for Tables {
    fn default() -> Self {
        let table = |id: &TableId| {
            let (columns, first) = columns::of(*id);
            let sort = columns.titled(first);
            TableState { sort, falling: columns.falls(sort), ..TableState::default() }
        };
        Self(TableId::ALL.iter().map(table).collect())
    }
}

impl Tables {
    /// One of them.
    pub fn of(&self, id: TableId) -> &TableState {
        &self.0[id as usize]
    }

    /// One of them, to change.
    pub fn of_mut(&mut self, id: TableId) -> &mut TableState {
        &mut self.0[id as usize]
    }
}
