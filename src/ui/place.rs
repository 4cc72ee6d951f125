//! Where one is within a view: its first table, or one that a key or Enter leads to.
//!
//! Not here: what is drawn there. Invariant: each place belongs to one view, and Escape leads back to its first table.

use super::keys::Action;
use super::tables::TableId;
use super::view::View;

/// A place in a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The first table of the view.
    #[default]
    First,
    /// Syscalls: the processes that make one call.
    Callers(u32),
    /// Network: connections and listening sockets.
    Connections,
    /// Syscalls: errors by call and process.
    Errors,
    /// Syscalls: single calls.
    Exemplars(Listed),
    /// Processes: the dead, by command and parent.
    Dead,
    /// Processes: the latest of a group of the dead.
    Ends(u64),
    /// A page: the threads of its process.
    Threads,
    /// Disk: the processes that use devices.
    DiskUsers,
    /// Scheduler: who ran while others waited, by process.
    Blame,
    /// The same by control group.
    BlameByGroup,
}

/// Which single calls are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The call, by number.
    pub nr: u32,
    /// Those of this octave of latencies; of all if there is none.
    pub octave: Option<u16>,
}

impl Place {
    /// The table that has the keys there.
    pub const fn table(self, view: View) -> TableId {
        match (view, self) {
            (View::Overview, _) => TableId::Who,
            (View::Syscalls, Self::Callers(_)) => TableId::Callers,
            (View::Syscalls, Self::Errors) => TableId::Errors,
            (View::Syscalls, Self::Exemplars(_)) => TableId::Exemplars,
            (View::Page, Self::Threads) => TableId::Threads,
            (View::Syscalls | View::Page, _) => TableId::Calls,
            (View::Scheduler, Self::Blame | Self::BlameByGroup) => TableId::Victims,
            (View::Scheduler, _) => TableId::Delayed,
            (View::Network, Self::Connections) => TableId::Connections,
            (View::Network, _) => TableId::Talking,
            (View::Stuck, _) => TableId::Stuck,
            (View::Processes, Self::Dead) => TableId::Dead,
            (View::Processes, Self::Ends(_)) => TableId::Ends,
            (View::Processes, _) => TableId::Everything,
            (View::Disk, Self::DiskUsers) => TableId::DiskUsers,
            (View::Disk, _) => TableId::Disks,
            (View::Own, _) => TableId::Programs,
        }
    }

    /// Where a key for `to` leads from here: there, or back if this is it.
    #[must_use]
    pub fn towards(self, to: Self) -> Self {
        match (self, to) {
            (Self::BlameByGroup, Self::BlameByGroup) => Self::Blame,
            (Self::BlameByGroup, Self::Blame) => Self::First,
            (here, to) if here == to => Self::First,
            (_, to) => to,
        }
    }

    /// Is blame shown there, and so to be measured?
    pub const fn is_blame(self) -> bool {
        matches!(self, Self::Blame | Self::BlameByGroup)
    }

    /// In Syscalls, the call whose callers are listed.
    pub const fn callers_of(self) -> Option<u32> {
        match self {
            Self::Callers(nr) => Some(nr),
            _ => None,
        }
    }

    /// In Syscalls, the single calls that are listed.
    pub const fn singles(self) -> Option<Listed> {
        match self {
            Self::Exemplars(listed) => Some(listed),
            _ => None,
        }
    }

    /// Does this do anything here, of what its view has keys for?
    pub const fn has(self, action: Action) -> bool {
        match self {
            Self::Dead => !Self::is_for_the_living(action),
            Self::Ends(_) => !Self::is_for_the_living(action) && !matches!(action, Action::Enter),
            _ => true,
        }
    }

    const fn is_for_the_living(action: Action) -> bool {
        matches!(action, Action::NextArrangement | Action::Fold | Action::FoldAll | Action::Columns)
    }

    /// Where Escape leads from here.
    #[must_use]
    pub const fn outer(self) -> Self {
        match self {
            Self::Ends(_) => Self::Dead,
            _ => Self::First,
        }
    }
}
