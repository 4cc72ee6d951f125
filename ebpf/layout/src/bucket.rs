//! The one bucket function of kscope, compiled for the kernel side and for user space.
//!
//! Buckets are those of OpenTelemetry's exponential histogram at scale 3, in seconds: bucket `j` covers
//! `(2^(MIN_EXP + (j-1)/8), 2^(MIN_EXP + j/8)]` seconds, upper bound included, from 2^-24 s (59.6 ns) to 2^7 s (128 s), with
//! one bucket below and one above. It is not a quantile estimator: that is `core::histogram`.
//!
//! Invariant: `scale3` is exact for every `u64`: its bucket of a whole number of nanoseconds is that of the real number. It
//! never decreases with its argument and never leaves `0..SCALE3_BUCKETS`.

/// Values up to `2^MIN_EXP` seconds (59.6 ns) fall in the underflow bucket, index 0.
pub const MIN_EXP: i32 = -24;
/// Values above `2^MAX_EXP` seconds (128 s) fall in the overflow bucket, the last index in use.
pub const MAX_EXP: i32 = 7;
/// Octaves between the open ends.
pub const OCTAVES: u32 = MAX_EXP.abs_diff(MIN_EXP);
/// Buckets in use at scale 3: 31 octaves of 8, one below, one above.
pub const SCALE3_BUCKETS: usize = OCTAVES as usize * 8 + 2;
/// The last scale-3 bucket in use.
pub const OVERFLOW: u32 = OCTAVES * 8 + 1;
/// Array length at scale 3: the next power of two, so that a masked index is a bounds check for the verifier.
pub const SCALE3_LEN: usize = 256;

/// The longest duration of the underflow bucket, ns: what is whole in `2^MIN_EXP` seconds.
const LOWEST_NS: u64 = 1_000_000_000 >> MIN_EXP.unsigned_abs();
/// The longest duration below the overflow bucket, ns.
const HIGHEST_NS: u64 = 1_000_000_000 << MAX_EXP.unsigned_abs();
/// The octave of nanoseconds, `[32, 64)`, in which the lowest boundary lies.
const LOWEST_OCTAVE: u32 = LOWEST_NS.ilog2();

/// Durations are compared as mantissas of so many bits after the highest, which hold every duration in the buckets exactly.
const BITS: u32 = 38;

/// `floor(10^9 · 2^(9 + (i-7)/8))` for i = 0…7: the boundaries between two powers of two of nanoseconds, as mantissas. A second
/// is no power of two of nanoseconds, but it is always the same factor, so the boundaries are alike in every octave; the last
/// of them is 2^-24 s in the lowest.
const BOUNDARY: [u64; 8] = [
    279_169_979_562,
    304_437_021_440,
    331_990_925_990,
    362_038_671_967,
    394_805_971_304,
    430_538_964_609,
    469_506_070_120,
    512_000_000_000,
];

/// Index of the highest set bit of a byte; 0 for 0. The BPF instruction set has no count of leading zeros.
static TOP_BIT: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 2;
    while byte < 256 {
        table[byte] = table[byte / 2] + 1;
        byte += 1;
    }
    table
};

/// What added to a mantissa leaves the number of boundaries below it in the bits from `COUNT` on, by the four bits that
/// follow its highest. A sixteenth of an octave is shorter than any bucket, so at most one boundary lies in it: beyond that
/// one the sum carries. That takes no branch, which latencies make hard to predict.
static PART: [u64; 16] = {
    let mut table = [0; 16];
    let (mut bits, mut below) = (0, 0);
    while bits < 16 {
        let end = (17 + bits as u64) << (BITS - 4);
        // Without a boundary in it none is passed: no mantissa is above the end of its sixteenth.
        let boundary = if below < 8 && BOUNDARY[below] < end { BOUNDARY[below] } else { end };
        table[bits] = ((below as u64 + 1) << COUNT) - (boundary + 1);
        if boundary < end {
            below += 1;
        }
        bits += 1;
    }
    table
};

/// Above the bits of a mantissa.
const COUNT: u32 = BITS + 2;

/// The scale-3 bucket of a duration in nanoseconds. Tables take the place of branches and of a conversion to seconds.
#[inline(always)]
pub fn scale3(ns: u64) -> u32 {
    if ns <= LOWEST_NS {
        return 0;
    }
    if ns > HIGHEST_NS {
        return OVERFLOW;
    }
    let shift = if ns < 1 << 13 {
        5
    } else if ns < 1 << 21 {
        13
    } else if ns < 1 << 29 {
        21
    } else {
        29
    };
    let octave = shift + u32::from(TOP_BIT[low_bits(ns >> shift, 255)]);
    let mantissa = ns << (BITS - octave);
    let below = ((mantissa + PART[low_bits(mantissa >> (BITS - 4), 15)]) >> COUNT) as u32;
    // Seven boundaries of the lowest octave are below the first bucket.
    (octave - LOWEST_OCTAVE) * 8 + below - 7
}

/// These bits of `v` as an index.
#[inline(always)]
const fn low_bits(v: u64, mask: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the mask is below 256")]
    let index = (v & mask) as usize;
    index
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;
    use std::vec::Vec;

    /// A whole number of as many bits as the eighth power of any duration and of any boundary needs, the lowest first.
    #[derive(Clone, PartialEq, Eq)]
    struct Whole([u32; 24]);

    impl Whole {
        fn one() -> Self {
            let mut limbs = [0; 24];
            limbs[0] = 1;
            Self(limbs)
        }

        fn times(mut self, factor: u64) -> Self {
            let mut sum = [0_u128; 26];
            for (at, limb) in self.0.iter().enumerate() {
                sum[at] += u128::from(*limb) * u128::from(factor & 0xffff_ffff);
                sum[at + 1] += u128::from(*limb) * u128::from(factor >> 32);
            }
            let mut carry = 0;
            for (at, limb) in sum.into_iter().enumerate() {
                let whole = limb + carry;
                carry = whole >> 32;
                match self.0.get_mut(at) {
                    Some(limb) => *limb = u32::try_from(whole & 0xffff_ffff).unwrap(),
                    None => assert_eq!(whole, 0),
                }
            }
            self
        }

        fn to_the_eighth(of: u64) -> Self {
            (0..8).fold(Self::one(), |power, _| power.times(of))
        }

        fn exceeds(&self, other: &Self) -> bool {
            self.0.iter().rev().gt(other.0.iter().rev())
        }
    }

    /// The eighth powers of the upper bounds of all buckets but the last, in units of 2^-24 ns: `(10^9)^8 · 2^j`.
    static BOUNDS: LazyLock<Vec<Whole>> = LazyLock::new(|| {
        let lowest = Whole::to_the_eighth(1_000_000_000);
        std::iter::successors(Some(lowest), |bound| Some(bound.clone().times(2))).take(SCALE3_BUCKETS - 1).collect()
    });

    /// The same of a duration: it is 2^24 times as large in that unit.
    fn power(ns: u64) -> Whole {
        (0..8).fold(Whole::to_the_eighth(ns), |power, _| power.times(1 << 24))
    }

    /// The definition, in whole numbers: the first bucket `j` with `ns · 10^-9 <= 2^(-24 + j/8)`.
    fn by_definition(ns: u64) -> u32 {
        let power = power(ns);
        u32::try_from(BOUNDS.partition_point(|bound| power.exceeds(bound))).unwrap()
    }

    /// The longest duration in a bucket, ns.
    fn last_of(j: usize) -> u64 {
        let (mut low, mut high) = (0, 1 << 40);
        while low < high {
            let middle = u64::midpoint(low, high) + 1;
            if power(middle).exceeds(&BOUNDS[j]) { high = middle - 1 } else { low = middle }
        }
        low
    }

    #[test]
    fn the_ends_are_where_they_are_said_to_be() {
        assert_eq!((last_of(0), last_of(8), last_of(SCALE3_BUCKETS - 2)), (59, 119, 128_000_000_000));
        assert_eq!((scale3(0), scale3(59), scale3(60)), (0, 0, 1));
        assert_eq!((scale3(128_000_000_000), scale3(128_000_000_001)), (OVERFLOW - 1, OVERFLOW));
        assert_eq!(scale3(u64::MAX), OVERFLOW);
    }

    #[test]
    fn a_boundary_that_is_whole_belongs_to_the_lower_bucket() {
        // 2^-9 s and its doubles are whole numbers of nanoseconds, up to 2^7 s.
        for exp in -9..=MAX_EXP {
            let ns = 1_953_125 << (exp + 9);
            let bucket = (exp - MIN_EXP).unsigned_abs() * 8;
            assert_eq!((scale3(ns), scale3(ns + 1)), (bucket, bucket + 1), "2^{exp} s");
        }
    }

    #[test]
    fn values_beside_every_boundary_are_in_their_bucket() {
        for j in 0..SCALE3_BUCKETS - 1 {
            let last = last_of(j);
            for ns in last - 2..=last + 2 {
                assert_eq!(scale3(ns), by_definition(ns), "{ns} ns beside the end of bucket {j}");
            }
            assert_ne!(scale3(last), scale3(last + 1), "{last}");
        }
    }

    #[test]
    fn short_durations_and_powers_of_two_are_in_their_bucket() {
        let powers = (0..64).flat_map(|exp| [(1_u64 << exp) - 1, 1 << exp, (1 << exp) + 1]);
        for ns in (0..2_000).chain(powers) {
            assert_eq!(scale3(ns), by_definition(ns), "{ns} ns");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_is_that_of_the_definition(ns in any::<u64>(), shift in 0_u32..64) {
            prop_assert_eq!(scale3(ns >> shift), by_definition(ns >> shift));
        }

        #[test]
        fn a_bucket_never_decreases(a in any::<u64>(), shift in 0_u32..60) {
            let a = a >> shift;
            prop_assert!(scale3(a) <= scale3(a.saturating_add(1)));
        }
    }
}
