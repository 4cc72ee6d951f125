//! Exemplars: single calls, kept whole, that show what a distribution is made of.
//!
//! Each CPU writes into a ring of its own and knows how many it has written. User space reads what came since it looked last;
//! what was overwritten by then it counts as such.

use crate::CALL_ROWS;

/// Bytes of a path, or of the address of a socket, that are kept.
pub const TEXT: usize = 80;
/// Octaves of latencies that are told apart when exemplars are limited.
pub const OCTAVES: u32 = 32;
/// Cells of the limits: calls x octaves.
pub const LIMITS: u32 = CALL_ROWS * OCTAVES;
/// So many exemplars of one call and octave are kept in an epoch.
pub const MOST: u32 = 16;
/// Up to so many of them may be calls that were met by chance.
pub const MOST_BY_CHANCE: u32 = 4;
/// Of so many calls one is met by chance, a power of two.
pub const ONE_IN: u64 = 4096;

/// What is read of a call besides its arguments.
pub mod text {
    /// Nothing.
    pub const NONE: u8 = 0;
    /// Bits that hold the number of the argument, from 1.
    pub const ARGUMENT: u8 = 0x07;
    /// It points to an address of a socket; without this bit, to a C string.
    pub const ADDRESS: u8 = 0x08;
}

/// One call that returned. Times in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Exemplar {
    /// How many its CPU had written with it; 0 while it is being written.
    pub number: u64,
    /// When it returned, `CLOCK_MONOTONIC`.
    pub end_ns: u64,
    /// How long it took.
    pub latency_ns: u64,
    /// Part of it spent blocked.
    pub blocked_ns: u64,
    /// Part of it spent waiting for a CPU.
    pub runnable_ns: u64,
    /// What it returned.
    pub result: i64,
    /// Its arguments, as they were in the registers.
    pub args: [u64; 6],
    /// The thread.
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// `RecordKey::birth` of the process.
    pub birth: u32,
    /// Row of the call.
    pub row: u32,
    /// What one of its arguments points to (see [`text`]): a path, which ends at the first zero, or an address. A zero at the
    /// beginning if there is none, or if it could not be read.
    pub text: [u8; TEXT],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemplar_is_three_cache_lines() {
        assert_eq!(size_of::<Exemplar>(), 192);
    }
}
