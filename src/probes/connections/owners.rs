//! Whose sockets are those that moved no bytes since somebody looks: by inode, from `/proc/PID/fd`.
//!
//! Invariant: the work of one sample is bounded. Where many processes have many files open, owners come up some samples
//! later.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crate::core::ident::ProcessId;
use crate::privileged::eyes::Eyes;

/// Descriptors that are looked at in one sample.
const MOST_FILES: usize = 16_384;
/// Processes that are looked at in one sample.
const MOST_PROCESSES: usize = 512;

/// After so many searches in vain a socket is looked for more and more seldom.
const PATIENCE: u32 = 16;

/// Who holds which socket.
#[derive(Debug, Default)]
pub struct Owners {
    eyes: Eyes,
    by_inode: HashMap<u32, ProcessId>,
    /// How often those were looked for whose holder is not known. It may never be: one in another PID namespace.
    tries: HashMap<u32, u32>,
    /// The process with which the next search begins.
    next: ProcessId,
}

impl Owners {
    /// One that looks through these eyes.
    pub fn new(eyes: Eyes) -> Self {
        Self { eyes, ..Self::default() }
    }

    /// Who holds a socket, as far as that was found.
    pub fn of(&self, inode: u32) -> Option<ProcessId> {
        self.by_inode.get(&inode).copied()
    }

    /// Looks for those who hold the sockets `wanted` among `living`, which is ordered; what is known of others is forgotten.
    pub fn search(&mut self, wanted: &HashSet<u32>, living: &[ProcessId]) {
        self.by_inode.retain(|inode, id| wanted.contains(inode) && living.binary_search(id).is_ok());
        let due = self.due(wanted);
        let mut missing = due.len();
        let begin = living.partition_point(|id| *id < self.next);
        let round = living[begin..].iter().chain(&living[..begin]);
        let mut files = 0;
        for (number, id) in round.enumerate() {
            self.next = *id;
            if missing == 0 || files >= MOST_FILES || number >= MOST_PROCESSES {
                return;
            }
            let (sockets, looked_at) = self.eyes.sockets(id.pid);
            files += looked_at;
            for inode in sockets {
                if due.contains(&inode) && self.by_inode.insert(inode, *id).is_none() {
                    missing -= 1;
                }
            }
        }
    }

    /// Those to be looked for this time.
    fn due(&mut self, wanted: &HashSet<u32>) -> HashSet<u32> {
        self.tries.retain(|inode, _| wanted.contains(inode));
        let missing = wanted.iter().filter(|inode| !self.by_inode.contains_key(inode));
        let due = missing.filter(|inode| {
            let tries = self.tries.entry(**inode).or_default();
            *tries = tries.saturating_add(1);
            *tries <= PATIENCE || tries.is_power_of_two()
        });
        due.copied().collect()
    }
}

/// The inodes of the sockets that a process has open, and how many files were looked at. It needs the right to trace the
/// process.
pub fn sockets_of(pid: u32) -> (Vec<u32>, usize) {
    // Gone, or not ours to look at.
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return (Vec::new(), 1) };
    let mut count = 1;
    let mut inodes = Vec::new();
    for file in files.take(MOST_FILES).flatten() {
        count += 1;
        let link = fs::read_link(file.path()).ok();
        inodes.extend(link.and_then(|link| socket_inode(link.as_os_str().as_bytes())));
    }
    (inodes, count)
}

/// The number in `socket:[4711]`.
pub(crate) fn socket_inode(link: &[u8]) -> Option<u32> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn only_sockets_have_an_inode_here() {
        assert_eq!(socket_inode(b"socket:[4711]"), Some(4711));
        for other in
            [&b"pipe:[4711]"[..], b"socket:[]", b"socket:[4711", b"socket:[99999999999]", b"/tmp/socket:[1]", b""]
        {
            assert_eq!(socket_inode(other), None);
        }
    }

    #[test]
    fn what_nobody_holds_is_looked_for_more_and_more_seldom() {
        let mut owners = Owners::default();
        let wanted = HashSet::from([7]);
        let searches = (0..1_000).filter(|_| !owners.due(&wanted).is_empty()).count();
        // 16 in a row, then the 32nd, 64th, 128th, 256th and 512th.
        assert_eq!(searches, 16 + 5);
        assert!(owners.due(&HashSet::new()).is_empty() && owners.tries.is_empty());
    }

    #[test]
    fn the_holder_of_a_socket_is_found_and_forgotten_when_it_is_gone() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = socket_inode(link.as_os_str().as_bytes()).unwrap();
        let own = ProcessId { pid: std::process::id(), birth: 7 };
        let mut owners = Owners::default();
        owners.search(&HashSet::from([inode]), &[ProcessId { pid: 0, birth: 0 }, own]);
        assert_eq!(owners.of(inode), Some(own));
        owners.search(&HashSet::from([inode]), &[]);
        assert_eq!(owners.of(inode), None);
    }
}
