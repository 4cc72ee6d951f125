//! A line of eighth blocks for a short series: one value a column, the newest at the right.

use std::iter;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A measured zero, as opposed to a blank for what was not measured.
const ZERO: char = '·';

/// The newest `width` values as `▁`…`█`, right-aligned. `None` is blank, zero is `·`, and more than zero at least `▁`.
/// The top is `max`, or the largest value shown.
pub fn spark(values: impl Iterator<Item = Option<f64>>, width: usize, max: Option<f64>) -> String {
    let values: Vec<Option<f64>> = values.collect();
    let shown = &values[values.len().saturating_sub(width)..];
    let shown: Vec<Option<f64>> = shown.iter().map(|v| v.filter(|v| v.is_finite())).collect();
    let top = max.filter(|m| m.is_finite()).unwrap_or_else(|| shown.iter().flatten().copied().fold(0.0, f64::max));
    let blanks = iter::repeat_n(' ', width - shown.len());
    blanks.chain(shown.iter().map(|v| v.map_or(' ', |v| level(v, top)))).collect()
}

fn level(value: f64, top: f64) -> char {
    if value <= 0.0 {
        return ZERO;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive share, capped by min")]
    let step = if top > 0.0 { (value / top * 8.0).ceil() as usize } else { LEVELS.len() };
    LEVELS[step.clamp(1, LEVELS.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_missing_and_tiny_differ() {
        let values = [Some(0.0), None, Some(1e-9), Some(4.0), Some(8.0)];
        assert_eq!(spark(values.into_iter(), 5, None), "· ▁▄█");
        assert_eq!(spark(values.into_iter(), 7, Some(16.0)), "  · ▁▂▄");
        assert_eq!(spark(values.into_iter(), 2, None), "▄█");
    }

    proptest! {
        #[test]
        fn always_as_wide_as_asked(values in proptest::collection::vec(any::<Option<f64>>(), 0..80), width in 0_usize..60, max in any::<Option<f64>>()) {
            prop_assert_eq!(spark(values.into_iter(), width, max).chars().count(), width);
        }
    }
}
