//! Who ran while others waited for a CPU: what the programs of blame keep.
//!
//! Each CPU has a ring of its last stretches: who ran from when on. A wait notes when and where it began. When it ends, the
//! ring is walked back over it, and each part of it is added to a pair: of whom it is a wait, whose stretch it was, and why.
//!
//! Interrupts and stolen time are running sums of a CPU, noted with each stretch and each wait: what fell into a part is a
//! difference, so it is in no part twice. All times in nanoseconds of `CLOCK_MONOTONIC`.

use crate::RecordKey;

/// Why a thread waited, as "what" of the key of the one who waited.
pub mod cause {
    /// Another process ran on the CPU.
    pub const OTHERS: u32 = 0;
    /// Another thread of the same process ran on the CPU.
    pub const OWN_THREADS: u32 = 1;
    /// The CPU worked on interrupts, hard or soft.
    pub const INTERRUPTS: u32 = 2;
    /// A hypervisor had taken the CPU away.
    pub const STEAL: u32 = 3;
    /// The quota of its control group was used up.
    pub const THROTTLED: u32 = 4;
    /// The CPU idled: it had to be woken up first.
    pub const IDLE: u32 = 5;
    /// Nobody knows: the ring does not go back so far, or a switch was not seen.
    pub const UNKNOWN: u32 = 6;
    /// No cause: the whole wait, which the parts add up to.
    pub const WHOLE: u32 = 7;
}

/// Whose time it was.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct PairKey {
    /// The process that waited, and the [`cause`].
    pub victim: RecordKey,
    /// The process that ran; 0 if the cause is no other process.
    pub offender: RecordKey,
}

/// How long, in all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Pair {
    /// The time that was waited.
    pub ns: u64,
    /// Of [`cause::WHOLE`]: the part in which another CPU that the thread may use was idle, at least.
    pub elsewhere_ns: u64,
}

/// The owner of a stretch in which a CPU idled.
pub const IDLE_OWNER: RecordKey = RecordKey(1);
/// The owner of a stretch of which nobody knows who ran.
pub const UNKNOWN_OWNER: RecordKey = RecordKey(0);

/// Stretches that a CPU remembers, a power of two.
pub const STRETCHES: usize = 256;
/// After so many, the waits that go on are charged up to then: the ring always reaches back to where they are.
pub const FLUSH_EVERY: u64 = STRETCHES as u64 / 2;

/// Who ran on a CPU from a moment on, until the next stretch begins.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Stretch {
    /// Its beginning.
    pub since_ns: u64,
    /// [`Cpu::interrupts_ns`] then.
    pub interrupts_ns: u64,
    /// What had been stolen of the CPU by then, as the scheduler knows it.
    pub stolen_ns: u64,
    /// The process that ran.
    pub owner: RecordKey,
}

/// Bits of [`Cpu::inside`].
pub mod inside {
    /// In the handler of a device's interrupt.
    pub const HARD: u32 = 1;
    /// In a soft interrupt.
    pub const SOFT: u32 = 2;
}

/// One CPU. Only itself writes its entry, others read it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Cpu {
    /// Stretches that were ever begun; the last is at `(begun - 1) % STRETCHES`.
    pub begun: u64,
    /// Time in interrupts, without the one it is in.
    pub interrupts_ns: u64,
    /// When the interrupt began that it is in.
    pub interrupt_since_ns: u64,
    /// See [`inside`].
    pub inside: u32,
    /// Zero.
    pub pad: u32,
    /// Since when it idles; 0 while it does not.
    pub idle_since_ns: u64,
    /// When it began to idle the time before.
    pub idled_from_ns: u64,
    /// When that ended.
    pub idled_until_ns: u64,
    /// Zero. With it, what comes before the ring is one cache line.
    pub room: u64,
    /// The ring.
    pub stretches: [Stretch; STRETCHES],
}

/// A wait that has not ended, by thread.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Wait {
    /// Up to when it has been charged: its beginning, unless it goes on for longer than the ring goes back.
    pub since_ns: u64,
    /// Its beginning; of one that was moved to another CPU, when that was.
    pub began_ns: u64,
    /// The thread's time on CPUs at the beginning: if that has grown at the end, a stay on a CPU was not seen.
    pub exec_ns: u64,
    /// The CPU's time in interrupts at [`Self::since_ns`].
    pub interrupts_ns: u64,
    /// What had been stolen of the CPU by then.
    pub stolen_ns: u64,
    /// How long its group had been throttled on the CPU by then.
    pub throttled_ns: u64,
    /// The address of the scheduler's queue of its group on the CPU; 0 if that is not known.
    pub queue: u64,
    /// The process.
    pub victim: RecordKey,
    /// The CPU in whose queue it is.
    pub cpu: u32,
    /// It is itself out of the queue because of its quota, where the kernel says so (else 1).
    pub throttled: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_no_padding() {
        assert_eq!((size_of::<PairKey>(), size_of::<Pair>(), size_of::<Wait>()), (16, 16, 72));
        assert_eq!(size_of::<Cpu>(), 64 + 32 * STRETCHES);
    }

    #[test]
    fn no_process_is_taken_for_idleness() {
        assert_ne!(RecordKey::of(1, 0, 0), IDLE_OWNER);
        assert!(STRETCHES.is_power_of_two());
    }
}
