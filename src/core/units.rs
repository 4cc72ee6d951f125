//! Numbers and names for people: three significant digits and the right unit, and text without control characters.
//!
//! It is not for machines: exports write plain numbers. Negative and non-finite values are not measurements and are
//! shown as [`DASH`].
//!
//! Invariant: what comes out has no control character, and numbers (without `/s`) are at most nine columns wide.

use std::borrow::Cow;

/// "Not measured", as opposed to `0`.
pub const DASH: &str = "–";

/// `(size of the unit, its name, the value from which the next unit is used)`, rising; the last one has no end.
type Scale = [(f64, &'static str, f64)];

const DURATION: &Scale = &[
    (1.0, "ns", 1e3),
    (1e3, "µs", 1e3),
    (1e6, "ms", 1e3),
    (1e9, "s", 120.0),
    (60e9, "min", 120.0),
    (3600e9, "h", 48.0),
    (86400e9, "d", f64::INFINITY),
];
const COUNT: &Scale = &[
    (1.0, "", 1e3),
    (1e3, "k", 1e3),
    (1e6, "M", 1e3),
    (1e9, "G", 1e3),
    (1e12, "T", 1e3),
    (1e15, "P", 1e3),
    (1e18, "E", f64::INFINITY),
];
const BYTES: &Scale = &[
    (1.0, "B", 1024.0),
    (1024.0, "KiB", 1024.0),
    (1_048_576.0, "MiB", 1024.0),
    (1_073_741_824.0, "GiB", 1024.0),
    (1_099_511_627_776.0, "TiB", 1024.0),
    (1_125_899_906_842_624.0, "PiB", 1024.0),
    (1_152_921_504_606_846_976.0, "EiB", f64::INFINITY),
];
/// Beyond every rate and size that can be counted; shown as its bound instead of a long number.
const LIMIT: f64 = 999e18;

/// Three significant digits; integers from 100 on.
fn digits(v: f64) -> String {
    if v < 9.995 {
        format!("{v:.2}")
    } else if v < 99.95 {
        format!("{v:.1}")
    } else {
        format!("{v:.0}")
    }
}

/// `v` in the unit in which its rounded value stays below that unit's end. Below one thousand of the smallest unit
/// whole numbers have no decimals.
fn scaled(v: f64, scale: &Scale) -> (String, &'static str) {
    for &(size, unit, end) in scale {
        let whole = size <= 1.0 && (v.fract() == 0.0 || v >= 99.95);
        let text = if whole { format!("{v:.0}") } else { digits(v / size) };
        if text.parse::<f64>().is_ok_and(|shown| shown < end) {
            return (text, unit);
        }
    }
    (DASH.into(), "")
}

const fn is_measurement(v: f64) -> bool {
    v.is_finite() && v >= 0.0
}

/// A duration in nanoseconds: `64 ns`, `1.24 µs`, `88.0 ms`, `12.0 s`, `3.40 h`.
pub fn duration(ns: u64) -> String {
    let (number, unit) = scaled(ns as f64, DURATION);
    format!("{number} {unit}")
}

/// The age of something in nanoseconds, coarse because it grows while one looks: `64 ms`, `1.2 s`, `14 min`, `3.4 h`.
pub fn age(ns: u64) -> String {
    let v = ns as f64;
    for &(size, unit, end) in DURATION {
        let shown = v / size;
        let number = if shown < 9.95 && size > 1e6 { format!("{shown:.1}") } else { format!("{shown:.0}") };
        if number.parse::<f64>().is_ok_and(|rounded| rounded < end) {
            return format!("{number} {unit}");
        }
    }
    DASH.into()
}

/// How many: `0`, `999`, `38.2 k`, `1.20 M`.
pub fn count(n: u64) -> String {
    match scaled(n as f64, COUNT) {
        (number, "") => number,
        (number, unit) => format!("{number} {unit}"),
    }
}

/// Events per second: `0 /s`, `0.4 /s`, `412 /s`, `38.2 k/s`.
pub fn rate(per_s: f64) -> String {
    if !is_measurement(per_s) {
        return DASH.into();
    }
    if per_s > 0.0 && per_s < 0.05 {
        return "<0.1 /s".into();
    }
    if per_s < 0.995 && per_s > 0.0 {
        return format!("{per_s:.1} /s");
    }
    let (number, unit) = scaled(per_s.min(LIMIT), COUNT);
    format!("{number} {unit}/s")
}

/// A size in bytes, in powers of 1024: `0 B`, `512 B`, `4.10 KiB`, `84.2 MiB`.
pub fn bytes(n: f64) -> String {
    if !is_measurement(n) {
        return DASH.into();
    }
    // Half a byte exists only as a rate.
    let whole = if n < 1023.5 { n.round() } else { n.min(LIMIT) };
    let (number, unit) = scaled(whole, BYTES);
    format!("{number} {unit}")
}

/// A difference of sizes, which may be negative: `−1.50 KiB`.
pub fn signed_bytes(n: i64) -> String {
    let sign = if n < 0 { "−" } else { "" };
    format!("{sign}{}", bytes(n.unsigned_abs() as f64))
}

/// Bytes per second: `0 B/s`, `84.2 MiB/s`.
pub fn byte_rate(per_s: f64) -> String {
    if is_measurement(per_s) { format!("{}/s", bytes(per_s)) } else { DASH.into() }
}

/// A share as percent, 1.0 being 100 %: `0 %`, `0.4 %`, `41 %`, `212 %`. `<0.1 %` is more than nothing.
pub fn percent(share: f64) -> String {
    let v = share * 100.0;
    if !is_measurement(v) {
        return DASH.into();
    }
    if v == 0.0 {
        return "0 %".into();
    }
    if v < 0.05 {
        return "<0.1 %".into();
    }
    if v < 9.95 {
        return format!("{v:.1} %");
    }
    if v < 99_999.5 {
        return format!("{v:.0} %");
    }
    let (number, unit) = scaled(v.min(LIMIT), COUNT);
    format!("{number} {unit}%")
}

/// As [`percent`], to the hundredth below one: `0.04 %`. For what ought to be small.
pub fn fine_percent(share: f64) -> String {
    let v = share * 100.0;
    if !is_measurement(v) || v == 0.0 || v >= 0.995 {
        return percent(share);
    }
    if v < 0.005 { "<0.01 %".into() } else { format!("{v:.2} %") }
}

/// True for characters that would steer a terminal, reorder text or hide in it.
const fn is_hostile(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` with every control, bidirectional and invisible character replaced by `�`, safe to send to a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_hostile) {
        Cow::Owned(text.chars().map(|c| if is_hostile(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The same line by line: what separates lines stays.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Bytes from the kernel or from a file as printable text; what is not UTF-8 becomes `�`.
pub fn printable_bytes(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let cases: [(u64, &str); 15] = [
            (0, "0 ns"),
            (64, "64 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (1_240, "1.24 µs"),
            (9_999, "10.0 µs"),
            (99_960, "100 µs"),
            (999_600, "1.00 ms"),
            (1_240_000, "1.24 ms"),
            (88_000_000, "88.0 ms"),
            (999_600_000, "1.00 s"),
            (12_000_000_000, "12.0 s"),
            (119_600_000_000, "1.99 min"),
            (12_240_000_000_000, "3.40 h"),
            (u64::MAX, "213504 d"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn counts_rates_and_shares() {
        assert_eq!(
            [0, 999, 1_000, 38_200, 999_600, 1_200_000].map(count),
            ["0", "999", "1.00 k", "38.2 k", "1.00 M", "1.20 M"]
        );
        assert_eq!(
            [0.0, 0.01, 0.4, 0.996, 4.25, 4.0, 412.0, 999.6, 38_200.0, f64::NAN].map(rate),
            ["0 /s", "<0.1 /s", "0.4 /s", "1.00 /s", "4.25 /s", "4 /s", "412 /s", "1.00 k/s", "38.2 k/s", "–"]
        );
        assert_eq!(
            [0.0, 0.0001, 0.004, 0.0996, 0.41, 2.12, 64.0, -1.0].map(percent),
            ["0 %", "<0.1 %", "0.4 %", "10 %", "41 %", "212 %", "6400 %", "–"]
        );
    }

    #[test]
    fn sizes() {
        assert_eq!(
            [0.0, 512.0, 1023.0, 1023.6, 4198.4, 88_290_099.0].map(bytes),
            ["0 B", "512 B", "1023 B", "1.00 KiB", "4.10 KiB", "84.2 MiB"]
        );
        assert_eq!(bytes(1023.7 * 1024.0), "1.00 MiB");
        assert_eq!(byte_rate(12.9 * 1_048_576.0), "12.9 MiB/s");
        assert_eq!(byte_rate(f64::INFINITY), "–");
    }

    #[test]
    fn ages() {
        assert_eq!(
            [0, 64_400_000, 999_600_000, 1_240_000_000, 59_000_000_000, 840_000_000_000, 12_240_000_000_000].map(age),
            ["0 ns", "64 ms", "1.0 s", "1.2 s", "59 s", "14 min", "3.4 h"]
        );
    }

    #[test]
    fn hostile_text_is_defused() {
        assert_eq!(printable("nginx: worker é 漢"), "nginx: worker é 漢");
        assert_eq!(printable("a\x1b[2J\u{9b}b\u{202e}c\u{200b}\u{2028}"), "a�[2J�b�c��");
        assert_eq!(printable_bytes(b"\xff\x07ok\n"), "��ok�");
        assert_eq!(printable_lines("a\x1b[2J\n\rb\n"), "a�[2J\n�b\n");
    }

    fn read_back(text: &str, units: &[(f64, &str)]) -> f64 {
        let cut = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let unit = text[cut..].trim();
        let size = units.iter().find(|&&(_, name)| name == unit).unwrap_or_else(|| panic!("unit of {text:?}")).0;
        text[..cut].parse::<f64>().unwrap() * size
    }

    fn names(scale: &'static Scale) -> Vec<(f64, &'static str)> {
        scale.iter().map(|&(size, name, _)| (size, name)).collect()
    }

    proptest! {
        #[test]
        fn numbers_are_short_and_true(n in any::<u64>(), shift in 0_u32..64) {
            let n = n >> shift;
            let v = n as f64;
            for (text, scale) in [(duration(n), DURATION), (count(n), COUNT), (bytes(v), BYTES)] {
                prop_assert!(text.chars().count() <= 9, "{text}");
                let back = read_back(&text, &names(scale));
                prop_assert!((back - v).abs() <= v * 0.006, "{text} for {n}");
            }
            prop_assert!(age(n).chars().count() <= 9);
        }

        #[test]
        fn any_float_has_a_short_form(v in any::<f64>()) {
            for text in [rate(v), bytes(v), percent(v)] {
                prop_assert!(text.chars().count() <= 9, "{text}");
            }
            prop_assert!(byte_rate(v).chars().count() <= 11);
        }

        #[test]
        fn text_is_defused(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(|c| c.is_control() || is_hostile(c)));
        }
    }
}
