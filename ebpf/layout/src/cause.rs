//! What blocked threads wait for: the causes, their sums by thread, and the classes of system calls that tell them.
//!
//! Not here: how a cause is found (`ebpf/src/cause.rs`), which call belongs to which class (`src/kernel/call_classes.rs`).
//!
//! Invariant: what a thread's causes sum to is its [`Thread::blocked_ns`], to the nanosecond.

use crate::{Thread, flags};

/// Anything that is not below: other processes, locks of the kernel, terminals, signals, events.
pub const OTHER: u32 = 0;
/// A disk, or what else a file lies on.
pub const DISK: u32 = 1;
/// The other end of a socket.
pub const SOCKET: u32 = 2;
/// The other end of a pipe or FIFO.
pub const PIPE: u32 = 3;
/// Another thread of a program, through a futex.
pub const FUTEX: u32 = 4;
/// The time to pass, as it asked for.
pub const SLEEP: u32 = 5;
/// Any of several events: `poll`, `select`, `epoll_wait`, and what completes asynchronously.
pub const POLL: u32 = 6;
/// Memory: a page that must be read or made, outside of any call.
pub const PAGE_FAULT: u32 = 7;
/// Number of causes.
pub const COUNT: usize = 8;

/// Blocked time by cause, ns: one cache line.
pub type Causes = [u64; COUNT];

/// A thread that found its slot taken, with what others have beside theirs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Beside {
    /// The thread.
    pub thread: Thread,
    /// Its blocked time by cause.
    pub causes: Causes,
}

/// Where the cause lies in [`Thread::flags`].
const SHIFT: u32 = 8;
const MASK: u32 = 7;

/// What a thread with these [`Thread::flags`] waits for, or waited for last.
#[inline(always)]
pub const fn of(flags: u32) -> u32 {
    flags >> SHIFT & MASK
}

/// The flags with another cause.
#[inline(always)]
pub const fn with(flags: u32, cause: u32) -> u32 {
    flags & !(MASK << SHIFT) | (cause & MASK) << SHIFT
}

/// After a wait of at least this many ns the kind of file is forgotten, and looked up again if it was only remembered: the
/// descriptor may be open on something else by now. So a shorter wait can be in the cause of the file that the descriptor had
/// before.
pub const LOOK_AGAIN_NS: u64 = 10_000;

/// [`Thread::file`] of a thread that waits through this descriptor, and what its waits there are when they can be
/// interrupted or not: a cause. A file on a disk is [`DISK`], though only of uninterruptible waits.
#[inline(always)]
pub const fn remember(fd: u32, kind: u32) -> u32 {
    fd << FILE_SHIFT | (kind & MASK) << 1 | 1
}

/// The kind of file in a [`Thread::file`], if it is that of this descriptor.
#[inline(always)]
pub const fn remembered(file: u32, fd: u32) -> Option<u32> {
    if file & 1 != 0 && file >> FILE_SHIFT == fd { Some(file >> 1 & MASK) } else { None }
}

/// The descriptor of a [`Thread::file`].
pub const fn remembered_fd(file: u32) -> u32 {
    file >> FILE_SHIFT
}

/// Descriptors are below 2^28: the kernel's limit of open files (`sysctl_nr_open_max`) is below that.
const FILE_SHIFT: u32 = 4;

const _: () = assert!(MASK as usize + 1 == COUNT);
const OTHER_FLAGS: u32 =
    flags::KTHREAD | flags::EXITING | flags::FOUND | flags::BESIDE | flags::MOVES | flags::CUTS | flags::REMEMBERED;
const _: () = assert!((MASK << SHIFT) & OTHER_FLAGS == 0);
const _: () = assert!((MASK << SHIFT | OTHER_FLAGS) >> flags::MISSED_SHIFT == 0);

/// What the number of a system call tells of a thread that is blocked in it.
pub mod class {
    /// Nothing.
    pub const OTHER: u8 = 0;
    /// It waits for a futex.
    pub const FUTEX: u8 = 1;
    /// It asked to sleep.
    pub const SLEEP: u8 = 2;
    /// It waits for any of several events.
    pub const POLL: u8 = 3;
    /// It waits for a socket.
    pub const SOCKET: u8 = 4;
    /// It waits for a file, if it cannot be interrupted.
    pub const FILE: u8 = 5;
    /// It depends on what the descriptor is, its first argument.
    pub const DESCRIPTOR: u8 = 6;
}

/// The class of each row of the system-call table.
pub type Classes = [u8; crate::CALL_ROWS as usize];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_shares_its_word_with_flags() {
        let word = with(flags::KTHREAD | flags::BESIDE, PAGE_FAULT);
        assert_eq!((of(word), word & (flags::KTHREAD | flags::BESIDE)), (PAGE_FAULT, flags::KTHREAD | flags::BESIDE));
        assert_eq!((of(with(word, DISK)), of(0)), (DISK, OTHER));
        assert_eq!(size_of::<Beside>(), 256 + 64);
    }

    #[test]
    fn a_kind_of_file_is_remembered_for_its_descriptor_alone() {
        for fd in [0, 1, 7, 1_048_576] {
            for kind in [OTHER, DISK, SOCKET, PIPE] {
                let file = remember(fd, kind);
                assert_eq!((remembered(file, fd), remembered(file, fd + 1)), (Some(kind), None));
            }
        }
        assert_eq!(remembered(0, 0), None);
    }

    #[test]
    fn missed_runs_leave_the_other_flags_alone() {
        let mut word = with(flags::KTHREAD | flags::REMEMBERED, PAGE_FAULT);
        for runs in 1..=65_537 {
            word = crate::with_missed_run(word);
            assert_eq!(crate::missed_runs(word), runs % 65_536);
        }
        assert_eq!(
            (of(word), word & (flags::KTHREAD | flags::REMEMBERED)),
            (PAGE_FAULT, flags::KTHREAD | flags::REMEMBERED)
        );
    }
}
