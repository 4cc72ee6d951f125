//! The one bucket function of kscope, compiled for the kernel side and for user space.
//!
//! Buckets are those of OpenTelemetry's exponential histogram at scale 3: bucket `j` above the floor covers
//! `(2^(6 + j/8), 2^(6 + (j+1)/8)]` nanoseconds, upper bound included, from 64 ns to 2^37 ns (137 s), with one bucket
//! below and one above. It is not a quantile estimator: that is `core::histogram`.
//!
//! Invariant: `scale3` never decreases with its argument and never leaves `0..SCALE3_BUCKETS`.

/// Values up to this many nanoseconds (64) fall in the underflow bucket, index 0.
pub const MIN_EXP: u32 = 6;
/// Values above `1 << MAX_EXP` nanoseconds (137.4 s) fall in the overflow bucket, the last index in use.
pub const MAX_EXP: u32 = 37;
/// Buckets in use at scale 3: 31 octaves of 8, one below, one above.
pub const SCALE3_BUCKETS: usize = (MAX_EXP - MIN_EXP) as usize * 8 + 2;
/// The last scale-3 bucket in use.
pub const OVERFLOW: u32 = (MAX_EXP - MIN_EXP) * 8 + 1;
/// Array length at scale 3: the next power of two, so that a masked index is a bounds check for the verifier.
pub const SCALE3_LEN: usize = 256;

/// `ceil(2^(38 + j/8))` for j = 1…7: the inner boundaries of an octave as mantissas of 39 bits, which hold every duration in
/// the buckets exactly; and one that nothing reaches.
static MANTISSA: [u64; 8] = [
    299_756_483_062,
    326_886_762_695,
    356_472_542_425,
    388_736_063_997,
    423_919_683_755,
    462_287_693_164,
    504_128_304_111,
    1 << 40,
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

/// In which part of an octave a mantissa begins, by the four bits that follow its highest: the right one or the one before,
/// since a sixteenth of an octave is shorter than any part.
static PART: [u8; 16] = {
    let mut table = [0; 16];
    let mut bits = 1;
    while bits < 16 {
        let least = (16 + bits as u64) << 34;
        let part = table[bits - 1];
        table[bits] = if least >= MANTISSA[part as usize] { part + 1 } else { part };
        bits += 1;
    }
    table
};

/// The scale-3 bucket of a duration in nanoseconds. Tables take the place of branches, which latencies make hard to predict.
#[inline(always)]
pub fn scale3(ns: u64) -> u32 {
    if ns <= 1 << MIN_EXP {
        return 0;
    }
    if ns > 1 << MAX_EXP {
        return OVERFLOW;
    }
    // Upper bounds belong to the bucket below them, so the octave is that of ns - 1.
    let v = ns - 1;
    let shift = if v < 1 << 14 {
        6
    } else if v < 1 << 22 {
        14
    } else if v < 1 << 30 {
        22
    } else {
        30
    };
    let k = shift + u32::from(TOP_BIT[low_bits(v >> shift, 255)]);
    let part = PART[low_bits(v << (38 - k) >> 34, 15)];
    let above = ns << (38 - k) >= MANTISSA[part as usize & 7];
    (k - MIN_EXP) * 8 + u32::from(part) + u32::from(above) + 1
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
    use super::*;
    use proptest::prelude::*;

    /// The definition, in floating point, as OpenTelemetry writes it.
    fn by_logarithm(ns: u64) -> u32 {
        if ns <= 64 {
            return 0;
        }
        if ns > 1 << MAX_EXP {
            return OVERFLOW;
        }
        if ns.is_power_of_two() {
            return (ns.trailing_zeros() - MIN_EXP) * 8;
        }
        // The first boundary at or above the value; a loop, so that nothing is cast.
        (1..=OVERFLOW).find(|j| ns as f64 <= f64::exp2(f64::from(MIN_EXP) + f64::from(*j) / 8.0)).unwrap_or(OVERFLOW)
    }

    #[test]
    fn boundaries_belong_to_the_lower_bucket() {
        assert_eq!(scale3(0), 0);
        assert_eq!(scale3(64), 0);
        assert_eq!(scale3(65), 1);
        assert_eq!(scale3(128), 8);
        assert_eq!(scale3(129), 9);
        assert_eq!(scale3(1 << MAX_EXP), OVERFLOW - 1);
        assert_eq!(scale3((1 << MAX_EXP) + 1), OVERFLOW);
        assert_eq!(scale3(u64::MAX), OVERFLOW);
    }

    proptest! {
        #[test]
        fn agrees_with_the_logarithm(ns in prop_oneof![0_u64..1 << 38, 0_u64..4096, any::<u64>()]) {
            prop_assert_eq!(scale3(ns), by_logarithm(ns));
        }

        #[test]
        fn agrees_with_the_logarithm_beside_every_boundary(j in 0_u32..=248, off in -2_i64..=2) {
            #[expect(clippy::cast_possible_truncation, reason = "at most 2^37")]
            let ns = (f64::exp2(f64::from(MIN_EXP) + f64::from(j) / 8.0) as i64 + off).unsigned_abs();
            prop_assert_eq!(scale3(ns), by_logarithm(ns));
        }

        #[test]
        fn never_decreases(a in any::<u64>(), shift in 0_u32..60) {
            let a = a >> shift;
            prop_assert!(scale3(a) <= scale3(a.saturating_add(1)));
        }
    }
}
