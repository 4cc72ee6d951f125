//! What threads waited for while they were blocked, and the arithmetic of it.
//!
//! Pure, as `stats.rs`. Not here: how a cause is found (`ebpf/src/cause.rs`).
//!
//! Invariant: after [`BlockedBy::settled`] the causes sum to the blocked time they are the parts of, to the nanosecond.

use kscope_layout::cause::{self, Causes};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::core::latency::times;

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A disk, or what else a file lies on.
    Disk,
    /// The other end of a socket.
    Socket,
    /// The other end of a pipe or FIFO.
    Pipe,
    /// Another thread, through a futex.
    Futex,
    /// The time to pass, as it asked for.
    Sleep,
    /// Any of several events: `poll`, `epoll_wait` and their like.
    Poll,
    /// A page of memory, outside of any call.
    PageFault,
    /// Anything else: other processes, locks of the kernel, terminals, signals.
    Other,
}

impl Cause {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; cause::COUNT] =
        [Self::Disk, Self::Socket, Self::Pipe, Self::Futex, Self::Sleep, Self::Poll, Self::PageFault, Self::Other];

    /// Its name, in the report too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Socket => "socket",
            Self::Pipe => "pipe",
            Self::Futex => "futex",
            Self::Sleep => "sleep",
            Self::Poll => "poll",
            Self::PageFault => "page_fault",
            Self::Other => "other",
        }
    }

    /// Its name for people.
    pub const fn label(self) -> &'static str {
        if matches!(self, Self::PageFault) { "page fault" } else { self.name() }
    }

    /// Its place in the kernel's sums.
    const fn place(self) -> usize {
        let place = match self {
            Self::Disk => cause::DISK,
            Self::Socket => cause::SOCKET,
            Self::Pipe => cause::PIPE,
            Self::Futex => cause::FUTEX,
            Self::Sleep => cause::SLEEP,
            Self::Poll => cause::POLL,
            Self::PageFault => cause::PAGE_FAULT,
            Self::Other => cause::OTHER,
        };
        place as usize
    }
}

/// Blocked time by cause, ns, cumulative or in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockedBy(Causes);

impl BlockedBy {
    /// What a thread's sums say, as the kernel keeps them.
    pub const fn new(causes: Causes) -> Self {
        Self(causes)
    }

    /// Time blocked by this, ns.
    pub const fn ns(self, cause: Cause) -> u64 {
        self.0[cause.place()]
    }

    /// Each with its time, in the order in which they are shown.
    pub fn all(self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().map(move |cause| (cause, self.ns(cause)))
    }

    /// The largest, if there is any.
    pub fn top(self) -> Option<(Cause, u64)> {
        self.all().filter(|(_, ns)| *ns > 0).max_by_key(|(_, ns)| *ns)
    }

    /// The sum.
    pub fn total_ns(self) -> u64 {
        self.0.iter().fold(0, |sum, ns| ns.saturating_add(sum))
    }

    /// The same and `ns` more of the cause that a thread's flags tell.
    #[must_use]
    pub const fn extended(mut self, flags: u32, ns: u64) -> Self {
        let sum = &mut self.0[cause::of(flags) as usize];
        *sum = sum.saturating_add(ns);
        self
    }

    /// The parts of `blocked_ns`: what none of them accounts for is of another cause. What is too much, which only a copy
    /// that was made while the kernel wrote can have, is taken from the largest.
    #[must_use]
    pub fn settled(mut self, blocked_ns: u64) -> Self {
        let sum = self.total_ns();
        let other = &mut self.0[Cause::Other.place()];
        *other = other.saturating_add(blocked_ns.saturating_sub(sum));
        let mut surplus = sum.saturating_sub(blocked_ns);
        while surplus > 0 {
            let Some(largest) = self.0.iter_mut().max().filter(|ns| **ns > 0) else { break };
            let taken = surplus.min(*largest);
            *largest -= taken;
            surplus -= taken;
        }
        self
    }

    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        let mut out = self;
        let mut at = 0;
        while at < cause::COUNT {
            out.0[at] = self.0[at].saturating_sub(prev.0[at]);
            at += 1;
        }
        out
    }

    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let mut out = self;
        let mut at = 0;
        while at < cause::COUNT {
            out.0[at] = out.0[at].saturating_add(other.0[at]);
            at += 1;
        }
        out
    }

    /// What stands for `factor` times as much.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self(self.0.map(|ns| times(ns, factor)))
    }
}

/// As an object: names and nanoseconds.
impl Serialize for BlockedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(cause::COUNT))?;
        for (cause, ns) in self.all() {
            map.serialize_entry(cause.name(), &ns)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_cause_has_a_place_of_its_own() {
        let mut places: Vec<_> = Cause::ALL.map(Cause::place).into();
        places.sort_unstable();
        assert_eq!(places, (0..cause::COUNT).collect::<Vec<_>>());
        assert_eq!(BlockedBy::default().extended(cause::with(1, cause::PIPE), 5).ns(Cause::Pipe), 5);
    }

    proptest! {
        #[test]
        fn causes_sum_to_the_blocked_time(causes in any::<[u32; 8]>(), blocked in any::<u32>()) {
            let settled = BlockedBy::new(causes.map(u64::from)).settled(blocked.into());
            prop_assert_eq!(settled.total_ns(), u64::from(blocked));
        }

        #[test]
        fn what_was_added_is_the_difference(before in any::<[u32; 8]>(), added in any::<[u32; 8]>()) {
            let (before, added) = (BlockedBy::new(before.map(u64::from)), BlockedBy::new(added.map(u64::from)));
            prop_assert_eq!(before.plus(added).since(before), added);
        }
    }
}
