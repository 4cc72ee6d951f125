//! Who holds a file's lock, from `/proc/locks`.
//!
//! Pure. Not here: reading it.

use procfs::{Lock, Locks};

use crate::kernel::rows::{lines, row};

/// A lock that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The file: major and minor number of its device, and its inode.
    pub file: (u32, u32, u64),
    /// The process; `None` for a lock of an open file description, which no process owns.
    pub pid: Option<u32>,
}

/// The locks that are held. The rows of those who wait for one are marked with an arrow, which the crate does not tell.
pub fn held(table: &[u8]) -> impl Iterator<Item = Held> {
    let waits = |line: &&[u8]| line.windows(2).any(|two| two == b"->");
    lines(table).filter(move |line| !waits(line)).filter_map(row::<Locks>).flat_map(|locks| locks.0).map(held_by)
}

fn held_by(Lock { devmaj, devmin, inode, pid, .. }: Lock) -> Held {
    Held { file: (devmaj, devmin, inode), pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_told_from_those_who_wait() {
        let text = b"1: FLOCK  ADVISORY  WRITE 4711 fe:01:131074 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 4712 fe:01:131074 0 EOF\n\
                    2: OFDLCK ADVISORY  READ -1 08:10:9 0 EOF\nnonsense\n3: POSIX";
        let all: Vec<_> = held(text).collect();
        assert_eq!(all, [Held { file: (0xfe, 1, 131_074), pid: Some(4711) }, Held { file: (8, 16, 9), pid: None },]);
    }
}
