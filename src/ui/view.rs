//! The one list of views. Tabs, keys, help and `--view` come from it.

/// A view: one question on one screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The three insights side by side, and who is behind them.
    #[default]
    Overview,
    /// System calls by call, then by process.
    Syscalls,
    /// Run-queue delays by CPU and by process.
    Scheduler,
    /// Bytes by process, against the interfaces.
    Network,
    /// Calls that were entered and have not returned, by age.
    Stuck,
    /// Requests of block devices.
    Disk,
    /// Everything about every process in one table.
    Processes,
    /// What kscope itself costs.
    Own,
    /// The page of one process. It has no tab: it lies over the view it was opened from.
    Page,
}

impl View {
    /// All views that have a tab, in the order of their keys.
    pub const ALL: [Self; 8] = [
        Self::Overview,
        Self::Syscalls,
        Self::Scheduler,
        Self::Network,
        Self::Stuck,
        Self::Disk,
        Self::Processes,
        Self::Own,
    ];

    /// The key that shows it. That of kscope itself is the last one, whatever comes before.
    pub const fn digit(self) -> char {
        match self {
            Self::Overview => '1',
            Self::Syscalls => '2',
            Self::Scheduler => '3',
            Self::Network => '4',
            Self::Stuck => '5',
            Self::Disk => '6',
            Self::Processes => '7',
            Self::Own => '9',
            Self::Page => ' ',
        }
    }

    /// The title on its tab.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Syscalls => "Syscalls",
            Self::Scheduler => "Scheduler",
            Self::Network => "Network",
            Self::Stuck => "Stuck",
            Self::Disk => "Disk",
            Self::Processes => "Processes",
            Self::Own => "Self",
            Self::Page => "Process page",
        }
    }

    /// The name on the command line and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Syscalls => "syscalls",
            Self::Scheduler => "scheduler",
            Self::Network => "network",
            Self::Stuck => "stuck",
            Self::Disk => "disk",
            Self::Processes => "processes",
            Self::Own => "self",
            Self::Page => "page",
        }
    }

    /// The view with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.name() == name)
    }

    /// Its place in the list, from 0.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The view `step` places further, around the end.
    #[must_use]
    pub const fn stepped(self, step: usize) -> Self {
        Self::ALL[(self.index() + step) % Self::ALL.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_in_order() {
        for (place, view) in View::ALL.into_iter().enumerate() {
            assert_eq!(view.index(), place);
            assert_eq!(View::named(view.name()), Some(view));
        }
        assert_eq!(View::Own.stepped(1), View::Overview);
        assert_eq!(View::Overview.stepped(View::ALL.len() - 1), View::Own);
    }
}
