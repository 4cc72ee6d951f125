//! The insights: groups of programs in the kernel that belong together, and of the numbers they yield.

/// Place of the system calls in [`Insight::SAMPLED`].
pub const SYSCALLS: usize = 0;
/// Place of the run queue.
pub const RUN_QUEUE: usize = 1;
/// Place of the network.
pub const NETWORK: usize = 2;

/// What a program is for. When one of its programs does not run, the insight is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insight {
    /// System calls.
    Syscalls,
    /// Run-queue delays, and with them thread time.
    RunQueue,
    /// Network bytes.
    Network,
    /// The end of threads: their last names.
    Exits,
    /// Block I/O.
    Disk,
    /// Who ran on a CPU while somebody waited for it. Dear: attached only while it is looked at.
    Blame,
    /// Bytes of each connection, and the short ones that nobody would see. Dear: attached only while it is looked at.
    Connections,
}

impl Insight {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Syscalls, Self::RunQueue, Self::Network, Self::Exits, Self::Disk, Self::Blame, Self::Connections];

    /// Those that are always measured.
    pub const ALWAYS: [Self; 5] = [Self::Syscalls, Self::RunQueue, Self::Network, Self::Exits, Self::Disk];

    /// Those that are measured only while somebody looks at them.
    pub const ON_DEMAND: [Self; 2] = [Self::Blame, Self::Connections];

    /// Those that can be sampled to keep a budget, in the order of arrays by insight. (The end of a thread is rare, and a
    /// part of the ends is worth nothing.)
    pub const SAMPLED: [Self; 3] = [Self::Syscalls, Self::RunQueue, Self::Network];

    /// Its place in [`Self::SAMPLED`], if it can be sampled.
    pub fn place(self) -> Option<usize> {
        Self::SAMPLED.iter().position(|sampled| *sampled == self)
    }

    /// Is it measured only while somebody looks at it?
    pub fn is_on_demand(self) -> bool {
        Self::ON_DEMAND.contains(&self)
    }

    /// What it counts, as the subject of a sentence.
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Syscalls => "system calls",
            Self::RunQueue => "waits for a CPU",
            Self::Network => "sends and receives",
            Self::Exits => "ends of threads",
            Self::Disk => "requests of block devices",
            Self::Blame => "those who run while others wait",
            Self::Connections => "bytes of connections",
        }
    }
}
