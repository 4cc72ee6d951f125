//! Where one is within a view: its first table, or one that a key or Enter leads to.
//!
//! Not here: what is drawn there. Invariant: each place belongs to one view, and Escape leads back to its first table.

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
            (View::Syscalls | View::Page, _) => TableId::Calls,
            (View::Scheduler, _) => TableId::Delayed,
            (View::Network, Self::Connections) => TableId::Connections,
            (View::Network, _) => TableId::Talking,
            (View::Stuck, _) => TableId::Stuck,
            (View::Disk | View::Processes, _) => TableId::Everything,
            (View::Own, _) => TableId::Programs,
        }
    }

    /// In Syscalls, the call whose callers are listed.
    pub const fn callers_of(self) -> Option<u32> {
        match self {
            Self::Callers(nr) => Some(nr),
            Self::First | Self::Connections => None,
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
}
