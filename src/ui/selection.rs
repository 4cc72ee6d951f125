//! Which row of a table is selected. The selection is an identity: when rows move, it moves with its row.
//!
//! Not here: how rows are ordered or drawn.
//!
//! Invariant: `index` points at a row whenever there is one.

use std::cell::Cell;

use super::keys::Motion;
use super::rows::Row;
use crate::core::ident::ProcessId;
use crate::probes::disk::stats::{Device, Direction};

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowId {
    /// A system call, by number.
    Call(u32),
    /// A process.
    Process(ProcessId),
    /// A program of kscope, by its place in the list of probes.
    Program(usize),
    /// An error of a process, by call and number.
    Error(ProcessId, u32, u32),
    /// A single call, by its process, its thread and when it returned, ns since 1970.
    Single(ProcessId, u32, u64),
    /// What a block device does in one direction, or in all.
    Disk(Device, Option<Direction>),
    /// A thread, by its process and its id.
    Thread(ProcessId, u32),
    /// A connection, by the cookie of its socket.
    Connection(u64),
    /// A cgroup, by a number of its path.
    Cgroup(u64),
    /// A group of the dead, by a number of its names.
    Group(u64),
    /// A process that died.
    Dead(ProcessId),
}

/// The identities of rows in their order.
pub trait Ids {
    /// How many rows there are.
    fn count(&self) -> usize;
    /// Which one is at this place.
    fn at(&self, index: usize) -> Option<RowId>;
    /// Where one is.
    fn find(&self, id: RowId) -> Option<usize>;
}

impl<R: Row> Ids for Vec<R> {
    fn count(&self) -> usize {
        self.len()
    }

    fn at(&self, index: usize) -> Option<RowId> {
        self.get(index).map(Row::id)
    }

    fn find(&self, id: RowId) -> Option<usize> {
        self.iter().position(|row| row.id() == id)
    }
}

/// The cursor of a table.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// The row it holds on to; `None` stays with whatever row is first.
    held: Option<RowId>,
    index: usize,
    /// First visible row, as last drawn; drawing alone knows how many rows fit.
    pub offset: Cell<usize>,
    /// Rows that fit, as last drawn.
    pub page: Cell<usize>,
}

impl Cursor {
    /// Where it is.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Finds its row again after the rows changed. A row that is gone leaves the cursor in its place, and may come back.
    pub fn settle(&mut self, rows: &(impl Ids + ?Sized)) {
        let found = self.held.and_then(|id| rows.find(id));
        let stay = if self.held.is_none() { 0 } else { self.index };
        self.index = found.unwrap_or(stay).min(rows.count().saturating_sub(1));
    }

    /// Moves, and holds on to the row it comes to.
    pub fn go(&mut self, motion: Motion, rows: &(impl Ids + ?Sized)) {
        let last = rows.count().saturating_sub(1);
        let page = self.page.get().saturating_sub(1).max(1);
        self.index = match motion {
            Motion::Up => self.index.saturating_sub(1),
            Motion::Down => self.index.saturating_add(1),
            Motion::PageUp => self.index.saturating_sub(page),
            Motion::PageDown => self.index.saturating_add(page),
            Motion::First => 0,
            Motion::Last => last,
        }
        .min(last);
        self.held = if motion == Motion::First { None } else { rows.at(self.index) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for RowId {
        fn id(&self) -> RowId {
            *self
        }

        fn group(&self) -> u8 {
            0
        }
    }

    const A: RowId = RowId::Call(1);
    const B: RowId = RowId::Call(2);
    const C: RowId = RowId::Call(3);

    #[test]
    fn the_selection_goes_with_its_row() {
        let mut cursor = Cursor::default();
        cursor.go(Motion::Down, &vec![A, B, C]);
        assert_eq!(cursor.index(), 1);
        cursor.settle(&vec![B, C, A]);
        assert_eq!(cursor.index(), 0);
        cursor.settle(&vec![C, A]);
        assert_eq!(cursor.index(), 0);
        cursor.settle(&vec![C, A, B]);
        assert_eq!(cursor.index(), 2, "a row that comes back is selected again");
    }

    #[test]
    fn an_untouched_cursor_stays_on_top() {
        let mut cursor = Cursor::default();
        cursor.settle(&vec![A, B]);
        cursor.settle(&vec![B, A]);
        assert_eq!(cursor.index(), 0);
        cursor.go(Motion::Last, &vec![B, A]);
        cursor.go(Motion::First, &vec![B, A]);
        cursor.settle(&vec![C, B, A]);
        assert_eq!(cursor.index(), 0);
    }

    #[test]
    fn it_never_leaves_the_rows() {
        let mut cursor = Cursor { page: Cell::new(10), ..Cursor::default() };
        for motion in [Motion::Up, Motion::Down, Motion::PageUp, Motion::PageDown, Motion::First, Motion::Last] {
            cursor.go(motion, &Vec::<RowId>::new());
            assert_eq!(cursor.index(), 0);
            cursor.go(motion, &vec![A, B]);
            assert!(cursor.index() < 2);
        }
        cursor.settle(&Vec::<RowId>::new());
        assert_eq!(cursor.index(), 0);
    }
}
