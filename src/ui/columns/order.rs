//! The order of rows: by one column, the unknown last, equals by identity. And what can be asked of columns of any rows.

use std::cmp::Ordering;

use super::{Column, Key, PID};
use crate::ui::rows::Row;

/// What can be asked of the columns of a table without knowing its rows.
pub trait Columns: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// The place of the column with this title.
    fn titled(&self, title: &str) -> usize;
    /// The next column that sorts, after `sort`.
    fn next_sort(&self, sort: usize) -> usize;
    /// Whether a column is first sorted with the largest on top: numbers are, texts and pids are not.
    fn falls(&self, sort: usize) -> bool;
}

impl<R> Columns for &'static [Column<R>] {
    fn count(&self) -> usize {
        self.len()
    }

    fn titled(&self, title: &str) -> usize {
        self.iter().position(|c| c.title == title).unwrap_or(0)
    }

    fn next_sort(&self, sort: usize) -> usize {
        let after = (sort + 1..self.len()).chain(0..self.len());
        after.into_iter().find(|&at| self[at].key.is_some()).unwrap_or(0)
    }

    fn falls(&self, sort: usize) -> bool {
        self.get(sort).is_some_and(|c| c.right && c.title != PID.title)
    }
}

/// Sorts rows by a column, the unknown last, equals by identity.
pub fn sort<R: Row>(rows: &mut [R], columns: &[Column<R>], at: usize, falling: bool) {
    let Some(key) = columns.get(at).and_then(|c| c.key) else { return };
    rows.sort_by(|a, b| {
        a.group().cmp(&b.group()).then_with(|| key(a).compare(key(b), falling)).then_with(|| a.id().cmp(&b.id()))
    });
}

impl Key<'_> {
    /// Which of two stands above, the unknown always below.
    pub fn compare(self, other: Key<'_>, falling: bool) -> Ordering {
        let turned = |order: Ordering| if falling { order.reverse() } else { order };
        match (self, other) {
            (Key::Number(Some(a)), Key::Number(Some(b))) => turned(a.total_cmp(&b)),
            (Key::Number(a), Key::Number(b)) => b.is_some().cmp(&a.is_some()),
            (Key::Text(a), Key::Text(b)) => turned(a.cmp(b)),
            (Key::Text(_), Key::Number(_)) | (Key::Number(_), Key::Text(_)) => Ordering::Equal,
        }
    }
}
