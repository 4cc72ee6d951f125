//! What somebody looks at: whatever is dear to measure or to ask for is done only while one of these says so.
//!
//! Not here: how it is measured. Invariant: nothing of interest is the default, and costs nothing.

use super::insight::Insight;

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is looked at by itself")]
pub struct Interests {
    /// Who ran while others waited.
    pub blame: bool,
    /// Connections and listening sockets.
    pub connections: bool,
    /// Names of their peers.
    pub names: bool,
    /// What the calls in flight wait for: their arguments, paths, wait channels.
    pub stuck: bool,
    /// Single slow calls: who is at the other end of their sockets.
    pub exemplars: bool,
    /// Everything about one process, by pid: its threads, its cgroup.
    pub page: Option<u32>,
}

impl Interests {
    /// Is this insight asked for? Those that are always measured are.
    pub const fn wants(self, insight: Insight) -> bool {
        match insight {
            Insight::Blame => self.blame,
            Insight::Connections => self.connections,
            Insight::Syscalls | Insight::RunQueue | Insight::Network | Insight::Exits | Insight::Disk => true,
        }
    }
}
