//! Keys of the table of everything: how its rows stand to each other, what is folded, which columns are shown.

use super::App;
use crate::ui::columns::EVERYTHING;
use crate::ui::everything::Mode;
use crate::ui::keys::Motion;
use crate::ui::overlay::Overlay;
use crate::ui::tables::TableId;

impl App {
    /// Flat, as a tree, by cgroup.
    pub(super) fn next_arrangement(&mut self) {
        if self.is_everything() {
            let arrangement = &mut self.lists.everything.arrangement;
            arrangement.mode = arrangement.mode.next();
            self.say(format!("processes: {}", self.lists.everything.arrangement.mode.word()), false);
            self.refresh();
        }
    }

    /// Folds or unfolds the selected row.
    pub(super) fn fold(&mut self) {
        let Some(id) = self.selected().filter(|_| self.is_everything() && self.is_tree()) else { return };
        self.lists.everything.arrangement.fold(id);
        self.refresh();
    }

    /// Folds all roots, or unfolds everything.
    pub(super) fn fold_all(&mut self) {
        if self.is_everything() && self.is_tree() {
            let roots = self.lists.everything.roots();
            let folded = &mut self.lists.everything.arrangement.folded;
            if folded.is_empty() {
                folded.extend(roots);
            } else {
                folded.clear();
            }
            self.refresh();
        }
    }

    fn is_tree(&mut self) -> bool {
        let is_tree = self.lists.everything.arrangement.mode != Mode::Flat;
        if !is_tree {
            self.say("nothing to fold in a flat list; v makes it a tree".into(), false);
        }
        is_tree
    }

    /// Opens the chooser of columns.
    pub(super) fn choose_columns(&mut self) {
        if self.is_everything() {
            self.overlay = Some(Overlay::Columns(0));
        }
    }

    /// The dead have no tree and no other columns.
    fn is_everything(&mut self) -> bool {
        let is_everything = self.table() == TableId::Everything;
        if !is_everything {
            self.say("that is for the living; d leads back to them".into(), false);
        }
        is_everything
    }

    /// Moves in the chooser.
    pub(super) fn move_in_columns(&mut self, motion: Motion) {
        let last = EVERYTHING.len().saturating_sub(1);
        if let Some(Overlay::Columns(at)) = &mut self.overlay {
            *at = match motion {
                Motion::Up => at.saturating_sub(1),
                Motion::Down => *at + 1,
                Motion::PageUp | Motion::First => 0,
                Motion::PageDown | Motion::Last => last,
            }
            .min(last);
        }
    }

    /// Shows or hides the column under the cursor of the chooser.
    pub(super) fn toggle_column(&mut self) {
        if let Some(Overlay::Columns(at)) = self.overlay {
            self.lists.everything.arrangement.toggle(at);
        }
    }
}
