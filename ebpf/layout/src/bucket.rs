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

/// `ceil(2^(31 + j/8))` for j = 1…7: the inner boundaries of an octave as 32-bit mantissas.
const MANTISSA: [u64; 7] =
    [2_341_847_524, 2_553_802_834, 2_784_941_738, 3_037_000_500, 3_311_872_530, 3_611_622_603, 3_938_502_376];

/// Index of the highest set bit of `v`; 0 for 0. The BPF instruction set has no count of leading zeros.
#[inline(always)]
const fn top_bit(mut v: u64) -> u32 {
    let mut k = 0;
    if v >= 1 << 32 {
        v >>= 32;
        k += 32;
    }
    if v >= 1 << 16 {
        v >>= 16;
        k += 16;
    }
    if v >= 1 << 8 {
        v >>= 8;
        k += 8;
    }
    if v >= 1 << 4 {
        v >>= 4;
        k += 4;
    }
    if v >= 1 << 2 {
        v >>= 2;
        k += 2;
    }
    if v >= 1 << 1 {
        k += 1;
    }
    k
}

/// The scale-3 bucket of a duration in nanoseconds.
#[inline(always)]
pub const fn scale3(ns: u64) -> u32 {
    if ns <= 1 << MIN_EXP {
        return 0;
    }
    if ns > 1 << MAX_EXP {
        return OVERFLOW;
    }
    // Upper bounds belong to the bucket below them, so the octave is that of ns - 1.
    let k = top_bit(ns - 1);
    let m = if k >= 31 { ns >> (k - 31) } else { ns << (31 - k) };
    let mut j = 0;
    if m >= MANTISSA[3] {
        j = 4;
    }
    if j == 4 {
        if m >= MANTISSA[5] {
            j = 6;
        }
    } else if m >= MANTISSA[1] {
        j = 2;
    }
    let next = match j {
        0 => MANTISSA[0],
        2 => MANTISSA[2],
        4 => MANTISSA[4],
        _ => MANTISSA[6],
    };
    if m >= next {
        j += 1;
    }
    (k - MIN_EXP) * 8 + j + 1
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
        fn never_decreases(a in any::<u64>(), shift in 0_u32..60) {
            let a = a >> shift;
            prop_assert!(scale3(a) <= scale3(a.saturating_add(1)));
        }
    }
}
