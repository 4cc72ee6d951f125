//! The end of a process, as the ledger of the dead holds it until user space has read it.

/// Bits of [`Death::flags`].
pub mod ended {
    /// It ran a program of its own: it called `execve` after it was forked.
    pub const RAN_PROGRAM: u32 = 1;
}

/// A process that ended. Times of `CLOCK_BOOTTIME`, ns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Death {
    /// When it began.
    pub start_ns: u64,
    /// When its last thread began to exit.
    pub end_ns: u64,
    /// Start of [`Self::parent_tgid`].
    pub parent_start_ns: u64,
    /// Its process id.
    pub tgid: u32,
    /// Its parent at the end: the one that made it, or who has adopted it since.
    pub parent_tgid: u32,
    /// What its parent gets from `wait`: the exit status in the second byte, or a signal in the lowest seven bits.
    pub wait_status: u32,
    /// See [`ended`].
    pub flags: u32,
    /// Its last name.
    pub comm: [u8; 16],
    /// The name of the parent.
    pub parent_comm: [u8; 16],
}

/// What happened to processes since the start, by index in the map of counts.
pub mod events {
    /// Processes made; threads are none.
    pub const FORKS: u32 = 0;
    /// Programs begun.
    pub const EXECS: u32 = 1;
    /// Processes that ended.
    pub const ENDS: u32 = 2;
    /// Number of counters.
    pub const COUNT: u32 = 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_has_no_padding() {
        assert_eq!(size_of::<Death>(), 72);
    }
}
