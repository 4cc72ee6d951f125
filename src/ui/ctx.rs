//! What a view may look at while it draws: borrowed, complete, and without a clock, a file or a map.
//!
//! Not here: how anything is drawn, except the few looks that several views share.

use ratatui::style::Style;

use super::history::{History, Look, Tick};
use super::lists::Lists;
use super::place::Place;
use super::selection::RowId;
use super::tables::TableState;
use super::theme::Theme;
use crate::core::quality::Quality;
use crate::core::units;
use crate::model::{Basis, ProbeState, Qualities, Snapshot};
use crate::probes::time::stats::TimeSplit;
use crate::verdicts::Verdict;

/// A run-queue delay at or above this is amber, ns.
pub const DELAY_WARN_NS: u64 = 1_000_000;
/// A run-queue delay at or above this is red, ns.
pub const DELAY_BAD_NS: u64 = 10_000_000;
/// kscope's own use of the machine's CPU time at or above this is amber.
pub const COST_WARN: f64 = 0.03;
/// From this width on there is room for command lines.
const WIDE: u16 = 160;

/// A group of numbers that depends on certain programs in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// System calls.
    Syscalls,
    /// Run-queue delays.
    RunQueue,
    /// Network bytes.
    Network,
    /// Bytes of connections.
    Connections,
    /// Processes that ended.
    Lives,
    /// Requests of block devices.
    Disk,
    /// How run-queue delays are distributed.
    Delays,
    /// How long requests of block devices took.
    DiskTimes,
}

impl Group {
    /// How something is distributed that has a number and a sum where that is not known.
    pub const fn is_distribution(self) -> bool {
        matches!(self, Self::Delays | Self::DiskTimes)
    }

    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Syscalls => &["sys_enter", "sys_exit"],
            Self::RunQueue | Self::Delays => &["sched_switch", "sched_wakeup", "sched_wakeup_new"],
            Self::Network => &["sock_send_length", "sock_recv_length"],
            Self::Connections => &["conn_send", "conn_recv", "conn_state", "conn_retransmit"],
            Self::Lives => &["sched_process_exit", "sched_process_fork", "sched_process_exec"],
            Self::Disk | Self::DiskTimes => &["block_io_start", "block_rq_issue", "block_rq_complete"],
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::Syscalls => "System calls are",
            Self::RunQueue | Self::Delays => "Run-queue delays are",
            Self::Network => "Network bytes are",
            Self::Connections => "Bytes of connections are",
            Self::Lives => "Ends of processes are",
            Self::Disk | Self::DiskTimes => "Requests of block devices are",
        }
    }
}

/// Everything a view needs.
pub struct Ctx<'a> {
    /// The styles.
    pub theme: &'a Theme,
    /// The intervals up to the one that is shown.
    pub history: &'a History,
    /// The interval that is shown.
    pub tick: &'a Tick,
    /// What is looked at.
    pub look: &'a Look,
    /// The table that has the keys.
    pub table: &'a TableState,
    /// Its rows.
    pub lists: &'a Lists,
    /// Where in the view one is.
    pub place: Place,
    /// The selected row.
    pub selected: Option<RowId>,
    /// What stands out, and which of it is selected.
    pub verdicts: (Vec<&'a Verdict>, Option<usize>),
    /// Sentences on pids of the filter that are not there.
    pub absent: Vec<String>,
    /// There is room for command lines.
    pub wide: bool,
    /// What each group of numbers is worth, from [`worth`].
    pub qualities: Qualities,
}

/// What each group of numbers is worth; nothing, where its programs do not run.
pub fn worth(snapshot: &Snapshot) -> Qualities {
    let mut qualities = snapshot.qualities;
    let off = |group| if trouble(snapshot, group).is_some() { Quality::NotAvailable } else { Quality::Exact };
    qualities.syscalls = qualities.syscalls.worst(off(Group::Syscalls));
    qualities.runqueue = qualities.runqueue.worst(off(Group::RunQueue));
    qualities.network = qualities.network.worst(off(Group::Network));
    qualities.disk = qualities.disk.worst(off(Group::Disk));
    qualities
}

fn trouble(snapshot: &Snapshot, group: Group) -> Option<String> {
    let mut sentences: Vec<&str> = Vec::new();
    for probe in snapshot.probes.iter().filter(|p| group.programs().contains(&p.name)) {
        if let ProbeState::Failed { reason, advice } = &probe.state {
            for sentence in [reason, advice] {
                if !sentence.is_empty() && !sentences.contains(&sentence.as_str()) {
                    sentences.push(sentence);
                }
            }
        }
    }
    let quality = match group {
        Group::Syscalls => snapshot.qualities.syscalls,
        Group::RunQueue | Group::Delays => snapshot.qualities.runqueue,
        Group::Network => snapshot.qualities.network,
        Group::Connections => snapshot.qualities.connections,
        Group::Lives => snapshot.qualities.dead,
        Group::Disk | Group::DiskTimes => snapshot.qualities.disk,
    };
    match (sentences.is_empty(), quality) {
        (false, _) => Some(sentences.join(" ")),
        (true, Quality::NotAvailable) => Some(format!("{} not measured here.", group.subject())),
        (true, _) => match &snapshot.basis {
            Basis::Procfs { reason, advice } if group.is_distribution() => {
                Some(format!("/proc tells how many there were, not how long each took. {reason} {advice}"))
            }
            _ => None,
        },
    }
}

impl<'a> Ctx<'a> {
    /// True from the width on that has room for command lines.
    pub const fn is_wide(width: u16) -> bool {
        width >= WIDE
    }

    /// The snapshot that is shown.
    pub fn snapshot(&self) -> &'a Snapshot {
        &self.tick.snapshot
    }

    /// Why a group is not measured and what to do about it; `None` when it is measured.
    pub fn trouble(&self, group: Group) -> Option<String> {
        trouble(self.snapshot(), group)
    }

    /// True where no program runs in the kernel, and only procfs is read.
    pub fn is_procfs(&self) -> bool {
        self.snapshot().basis.is_procfs()
    }

    /// A count of the interval as a rate.
    pub fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.tick.snapshot.seconds()
    }

    /// Why a table of processes is empty.
    pub fn nobody(&self, what: &str) -> String {
        if !self.absent.is_empty() {
            self.absent.join(" ")
        } else if !self.table.text.is_empty() {
            format!("No row contains “{}”. Esc shows all rows.", units::printable(&self.table.text))
        } else if self.look.filter.is_empty() {
            what.to_owned()
        } else {
            format!("{what} (filter: {}; Esc clears it)", self.look.filter)
        }
    }

    /// The style of kscope's own cost, by the threshold that the help states.
    pub fn cost_style(&self, snapshot: &Snapshot) -> Style {
        let dear = snapshot.cost().of_machine(snapshot.host.cpus) >= COST_WARN;
        if dear { self.theme.warn } else { self.theme.text }
    }

    /// The style of a run-queue delay, by the thresholds that the help states.
    pub const fn delay_style(&self, ns: u64) -> Style {
        match ns {
            DELAY_BAD_NS.. => self.theme.bad,
            DELAY_WARN_NS.. => self.theme.warn,
            _ => self.theme.text,
        }
    }

    /// The same for bars, which have a colour for what is well, too.
    pub const fn delay_bar_style(&self, ns: u64) -> Style {
        if ns < DELAY_WARN_NS { self.theme.good } else { self.delay_style(ns) }
    }

    /// The parts of a bar of thread time; the characters serve where there is no colour.
    pub const fn time_parts(&self, time: TimeSplit) -> [(f64, Style, char); 4] {
        [
            (time.user_ns as f64, self.theme.user, '█'),
            (time.kernel_ns as f64, self.theme.kernel, '▓'),
            (time.runnable_ns as f64, self.theme.runnable, '▒'),
            (time.blocked_ns as f64, self.theme.blocked, '░'),
        ]
    }
}

/// A share of CPU time as `percent` writes it, with the mark of its quality, or a dash.
pub fn cpu_share(quality: Quality, share: Option<f64>, percent: fn(f64) -> String) -> String {
    match share.map(percent) {
        None => units::DASH.to_owned(),
        // At least less than something says nothing.
        Some(text) if quality == Quality::LowerBound && text.starts_with('<') => ">0 %".to_owned(),
        Some(text) => format!("{}{text}", quality.mark()),
    }
}

/// A latency, or a dash.
pub fn time(ns: Option<u64>) -> String {
    ns.map_or_else(|| units::DASH.to_owned(), units::duration)
}
