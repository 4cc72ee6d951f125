//! Waits in progress whose kind of file was not looked up but remembered, held against what the descriptor is now.
//!
//! A thread that waits often and briefly through a descriptor waits for the kind of file it waited for last, say the programs
//! (`ebpf/src/cause.rs`), which look again when a longer wait ends. Not here: waits that are over.
//!
//! Invariant: nothing is asked of the file itself, which may be on a file system that does not answer; only of its name. A wait
//! is asked about once.

use std::collections::HashMap;

use kscope_layout::cause::{self, Beside};
use kscope_layout::{Thread, flags, state};

use crate::privileged::eyes::Eyes;

/// Is the thread in a wait whose kind of file is only remembered?
pub const fn is_in_doubt(thread: &Thread) -> bool {
    thread.flags & flags::REMEMBERED != 0 && matches!(thread.state, state::SLEEPING | state::DISK_SLEEP)
}

/// Waits of one pass that are in doubt, and what was found out of those of the pass before.
#[derive(Debug, Default)]
pub struct Doubts {
    eyes: Eyes,
    waits: Vec<Beside>,
    /// The cause by thread and sequence: a wait that goes on is not asked about again.
    known: HashMap<(u32, u32), u32>,
}

impl Doubts {
    /// None yet; these look.
    pub fn new(eyes: Eyes) -> Self {
        Self { eyes, ..Self::default() }
    }

    /// Keeps a wait that is in doubt.
    pub fn push(&mut self, entry: &Beside) {
        self.waits.push(*entry);
    }

    /// Puts the waits where they belong, and hands them out. Where nobody may look they stay as they were remembered.
    pub fn resolve(&mut self) -> Vec<Beside> {
        let mut waits = std::mem::take(&mut self.waits);
        let before = std::mem::take(&mut self.known);
        let file = |entry: &Beside| (entry.thread.tgid, cause::remembered_fd(entry.thread.file));
        let new: Vec<_> = waits.iter().filter(|entry| !before.contains_key(&wait(entry))).map(file).collect();
        let mut links = if new.is_empty() { Vec::new() } else { self.eyes.links(&new) }.into_iter();
        for entry in &mut waits {
            let found = before.get(&wait(entry)).copied().or_else(|| {
                let name = links.next().flatten()?;
                let uninterruptible = entry.thread.state == state::DISK_SLEEP;
                Some(kind(&name, uninterruptible, cause::of(entry.thread.flags)))
            });
            if let Some(cause) = found {
                self.known.insert(wait(entry), cause);
                entry.thread.flags = cause::with(entry.thread.flags, cause);
            }
        }
        waits
    }
}

const fn wait(entry: &Beside) -> (u32, u32) {
    (entry.thread.tid, entry.thread.seq)
}

/// The cause of a wait through a descriptor of this name, if it was remembered to be `before`. A path may be that of a pipe or
/// of a terminal as well as that of a file.
fn kind(name: &[u8], uninterruptible: bool, before: u32) -> u32 {
    match name {
        [b's', b'o', b'c', b'k', b'e', b't', b':', ..] => cause::SOCKET,
        [b'p', b'i', b'p', b'e', b':', ..] => cause::PIPE,
        [b'/', ..] if uninterruptible => cause::DISK,
        [b'/', ..] if before == cause::PIPE => cause::PIPE,
        _ => cause::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_name_tells_the_kind_of_file() {
        for (name, uninterruptible, before, kind_of) in [
            (&b"socket:[4026]"[..], false, cause::PIPE, cause::SOCKET),
            (b"pipe:[4026]", false, cause::SOCKET, cause::PIPE),
            (b"/var/log/x", true, cause::SOCKET, cause::DISK),
            (b"/run/fifo", false, cause::PIPE, cause::PIPE),
            (b"/dev/pts/0", false, cause::SOCKET, cause::OTHER),
            (b"anon_inode:[eventfd]", false, cause::PIPE, cause::OTHER),
            (b"", false, cause::PIPE, cause::OTHER),
        ] {
            assert_eq!(kind(name, uninterruptible, before), kind_of, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_wait_goes_to_what_the_descriptor_is_now() {
        let (reader, _writer) = std::io::pipe().unwrap_or_else(|why| panic!("{why}"));
        let fd = u32::try_from(reader.as_raw_fd()).unwrap_or_default();
        let pid = std::process::id();
        let thread = Thread {
            tid: pid,
            tgid: pid,
            state: state::SLEEPING,
            flags: cause::with(flags::REMEMBERED, cause::SOCKET),
            file: cause::remember(fd, cause::SOCKET),
            ..Thread::zeroed()
        };
        assert!(is_in_doubt(&thread));
        let mut doubts = Doubts::default();
        let mut found = |seq| {
            let mut entry = Beside::zeroed();
            entry.thread = thread;
            entry.thread.seq = seq;
            doubts.push(&entry);
            doubts.resolve().iter().map(|entry| cause::of(entry.thread.flags)).collect::<Vec<_>>()
        };
        assert_eq!(found(2), [cause::PIPE]);
        drop(reader);
        // What is known is not asked again; of the next wait nothing can be found out.
        assert_eq!(found(2), [cause::PIPE]);
        assert_eq!(found(4), [cause::SOCKET]);
    }
}
