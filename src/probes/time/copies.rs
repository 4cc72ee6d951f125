//! Copies of entries of the table of threads, and giving slots back.
//!
//! Not here: what the entries mean.
//!
//! Invariant: a copy was not being written while it was made, and only the slot of a thread that is gone is given back.

use bytemuck::Zeroable as _;
use kscope_layout::cause::{Beside, Causes};
use kscope_layout::{Thread, ThreadKey};

/// Entries as they were at one moment.
#[derive(Debug, Default)]
pub struct Copies {
    pub(super) slots: Vec<(usize, Beside)>,
    pub(super) more: Vec<(ThreadKey, Beside)>,
}

impl Copies {
    /// Number of threads.
    pub const fn len(&self) -> usize {
        self.slots.len() + self.more.len()
    }

    /// True if there are no threads.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How often an entry is read again when the kernel was writing it. A write takes some nanoseconds.
const TRIES: u32 = 100;

/// A copy of an entry that was not being written meanwhile; `None` for a free slot.
pub(super) fn read_entry((at, causes): (*mut Thread, *mut Causes)) -> Option<Beside> {
    // SAFETY: both come from `SharedArray::at`; all bit patterns are valid. Volatile: the kernel writes at the same time.
    unsafe {
        let tag = &raw const (*at).tid;
        if tag.read_volatile() == 0 {
            return None;
        }
        let seq = &raw const (*at).seq;
        for _ in 0..TRIES {
            let before = seq.read_volatile();
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            let copy = Beside { thread: at.read_volatile(), causes: causes.read_volatile() };
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            if before & 1 == 0 && seq.read_volatile() == before {
                return Some(copy);
            }
        }
        Some(Beside { thread: at.read_volatile(), causes: causes.read_volatile() })
    }
}

/// Is the entry still as it was copied?
pub(super) fn stands(at: *mut Thread, copy: &Thread) -> bool {
    // SAFETY: `at` comes from `SharedArray::at`; volatile as the kernel writes at the same time.
    let (tid, seq) = unsafe { ((&raw const (*at).tid).read_volatile(), (&raw const (*at).seq).read_volatile()) };
    (tid, seq) == (copy.tid, copy.seq)
}

/// Gives a slot back: zeros first, the claims last, so that nobody can claim it half cleaned.
pub(super) fn free((at, causes): (*mut Thread, *mut Causes)) {
    // SAFETY: as in `read_entry`; the entry is dead, so no program writes it, and its slot cannot be claimed while `claims`
    // is not 0.
    unsafe {
        let claims = (&raw const (*at).claims).read_volatile();
        at.write_volatile(Thread { claims, ..Thread::zeroed() });
        causes.write_volatile(Causes::zeroed());
        std::sync::atomic::fence(std::sync::atomic::Ordering::Release);
        (&raw mut (*at).claims).write_volatile(0);
    }
}
