//! Latency over time: a logarithmic axis running up, time running right, colour for how many.
//!
//! Colours show two values a cell (half blocks); monochrome shows one with `░▒▓█`. It does not keep history: it is given
//! a histogram for each column, and `None` where nothing was recorded.
//!
//! Invariant: the axis covers every visible value and ends at decades, so it moves only when a decade is entered or left.

use std::sync::LazyLock;

use super::pane::note;
use super::text::{put, put_right, width};
use crate::core::histogram::{BUCKETS, Histogram, bounds};
use crate::core::units::count;
use crate::ui::theme::{Theme, heat_share};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

/// Columns of an axis label, `100 ms`.
const LABEL: u16 = 6;
/// The axis has at least this many decades, so that a narrow distribution looks narrow.
const DECADES: i32 = 3;
/// Where the axis begins and ends when there is nothing to show: 1 µs and 1 s.
const EMPTY: (i32, i32) = (3, 9);
const SHAPES: [&str; 4] = ["░", "▒", "▓", "█"];

/// One column for each histogram, the newest at the right edge.
#[derive(Clone, Copy, Debug)]
pub struct Heatmap<'a> {
    /// Oldest first. `None` is "not recorded", which differs from an empty histogram.
    pub columns: &'a [Option<&'a Histogram>],
    /// The time that one column stands for in the mean, in seconds.
    pub seconds_per_column: f64,
    /// The styles; its ramp gives the colours.
    pub theme: &'a Theme,
}

/// The latency axis: powers of ten of nanoseconds at the bottom and at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    low: i32,
    high: i32,
}

impl Axis {
    fn covering<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut range: Option<(f64, f64)> = None;
        for histogram in histograms {
            for (index, _) in histogram.iter() {
                let (low, high) = log_bounds(index);
                range = Some(range.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
            }
        }
        let Some((low, high)) = range else { return Self { low: EMPTY.0, high: EMPTY.1 } };
        #[expect(clippy::cast_possible_truncation, reason = "logarithms of bucket bounds are between 0 and 12")]
        let (low, high) = (low.floor() as i32, high.ceil() as i32);
        Self { low, high: high.max(low + DECADES) }
    }

    /// Where a power of ten lies between the bottom (0) and the top (1).
    fn position(self, log10: f64) -> f64 {
        (log10 - f64::from(self.low)) / f64::from(self.high - self.low)
    }
}

/// Powers of ten of nanoseconds between which a bucket lies; the open ends are drawn one octave wide.
fn log_bounds(index: u16) -> (f64, f64) {
    static TABLE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| {
        let buckets = u16::try_from(BUCKETS).unwrap_or(u16::MAX);
        (0..buckets).map(log_bounds_of).collect()
    });
    TABLE.get(usize::from(index)).copied().unwrap_or_else(|| log_bounds_of(index))
}

fn log_bounds_of(index: u16) -> (f64, f64) {
    let (low, high) = bounds(index);
    let low = if low > 0.0 { low } else { high / 2.0 };
    let high = if high.is_finite() { high } else { low * 2.0 };
    (low.log10(), high.log10())
}

/// Spreads a histogram over `out`, bottom first: a bucket that covers several pixels is divided by overlap.
fn spread(histogram: &Histogram, axis: Axis, out: &mut [f64]) {
    let pixels = out.len() as f64;
    for (index, n) in histogram.iter() {
        let (low, high) = log_bounds(index);
        let (low, high) = (axis.position(low) * pixels, axis.position(high) * pixels);
        let per_pixel = n as f64 / (high - low);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positions on the axis are small")]
        let (first, last) = (low.max(0.0).floor() as usize, high.max(0.0).ceil() as usize);
        for (pixel, value) in out.iter_mut().enumerate().take(last).skip(first) {
            let overlap = high.min((pixel + 1) as f64) - low.max(pixel as f64);
            *value += per_pixel * overlap.max(0.0);
        }
    }
}

/// Counts by column and pixel, bottom first; `None` where nothing was recorded.
fn pixels(shown: &[Option<&Histogram>], axis: Axis, height: usize) -> Vec<Option<Vec<f64>>> {
    let column = |h: &Histogram| {
        let mut out = vec![0.0; height];
        spread(h, axis, &mut out);
        out
    };
    shown.iter().map(|h| h.map(column)).collect()
}

impl Heatmap<'_> {
    fn cell(&self, buf: &mut Buffer, x: u16, y: u16, pixels: &[f64], max: f64) {
        let theme = self.theme;
        if theme.mono {
            if let Some(shape) = heat_share(pixels.iter().sum(), max).map(shape_of) {
                put(buf, x, y, shape, 1, theme.text);
            }
            return;
        }
        let heat = |pixel: usize| pixels.get(pixel).and_then(|&v| theme.heat_of(v, max)).and_then(|s| s.fg);
        let (symbol, style) = match (heat(1), heat(0)) {
            (None, None) => return,
            (Some(top), None) => ("▀", Style::new().fg(top)),
            (None, Some(bottom)) => ("▄", Style::new().fg(bottom)),
            (Some(top), Some(bottom)) => ("▀", Style::new().fg(top).bg(bottom)),
        };
        put(buf, x, y, symbol, 1, style);
    }

    fn axis(&self, buf: &mut Buffer, area: Rect, axis: Axis) {
        let rows = f64::from(area.height);
        let x = area.right() - 1;
        for y in area.top()..area.bottom() {
            put(buf, x, y, "│", 1, self.theme.border);
        }
        // A label is at the row that holds its value; where decades are denser than rows, the lower one is named.
        let mut free = area.bottom();
        for decade in axis.low..axis.high {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a row of the area")]
            let above = (axis.position(f64::from(decade)) * rows + 1e-9).floor() as u16;
            let y = area.bottom() - 1 - above.min(area.height - 1);
            if y < free {
                put_right(buf, area.x, y, &decade_label(decade), area.width - 1, self.theme.dim);
                put(buf, x, y, "┤", 1, self.theme.border);
                free = y;
            }
        }
    }

    /// `-60 s ───── 1 ████ 38.2 k ───── now`, as much of it as fits.
    fn bottom(&self, buf: &mut Buffer, area: Rect, max: f64) {
        let y = area.y;
        for x in area.left()..area.right() {
            put(buf, x, y, "─", 1, self.theme.border);
        }
        let start = format!("{} ", ago(self.seconds_per_column * f64::from(area.width)));
        let mut left = area.x;
        if area.width >= width(&start) + 6 {
            left += put(buf, left, y, &start, area.width, self.theme.dim);
        }
        let mut right = area.right();
        if area.width >= 4 {
            right -= 4;
            put(buf, right, y, " now", 4, self.theme.dim);
        }
        if max <= 0.0 {
            return;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let top = count((max.round() as u64).max(1));
        let ramp: Vec<(&str, Style)> = if self.theme.mono {
            SHAPES.iter().map(|&shape| (shape, self.theme.text)).collect()
        } else {
            self.theme.heat.iter().step_by(3).map(|&style| ("█", style)).collect()
        };
        let wide = 3 + u16::try_from(ramp.len()).unwrap_or(0) + 1 + width(&top) + 1;
        if right.saturating_sub(left) < wide + 4 {
            return;
        }
        let mut x = left + (right - left - wide) / 2;
        x += put(buf, x, y, " 1 ", 3, self.theme.dim);
        for (symbol, style) in ramp {
            x += put(buf, x, y, symbol, 1, style);
        }
        put(buf, x, y, &format!(" {top} "), right - x, self.theme.dim);
    }
}

impl Widget for Heatmap<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let gutter = if area.width >= 20 { LABEL + 1 } else { 0 };
        let bottom = u16::from(area.height >= 3);
        let plot = Rect { x: area.x + gutter, width: area.width - gutter, height: area.height - bottom, ..area };
        let shown = &self.columns[self.columns.len().saturating_sub(usize::from(plot.width))..];
        let axis = Axis::covering(shown.iter().flatten().copied());
        let a_cell = if self.theme.mono { 1 } else { 2 };
        let columns = pixels(shown, axis, usize::from(plot.height) * a_cell);
        let max = columns.iter().flatten().flatten().copied().fold(0.0, f64::max);
        if gutter > 0 {
            self.axis(buf, Rect { x: area.x, width: gutter, ..plot }, axis);
        }
        let left = plot.right() - u16::try_from(shown.len()).unwrap_or(plot.width);
        let recorded = shown.iter().position(Option::is_some).unwrap_or(shown.len());
        for (at, (x, column)) in (left..plot.right()).zip(&columns).enumerate() {
            for (row, y) in (plot.top()..plot.bottom()).rev().enumerate() {
                match column {
                    Some(pixels) => self.cell(buf, x, y, &pixels[row * a_cell..][..a_cell], max),
                    // Before the first record there is nothing that could be missing.
                    None if at > recorded => drop(put(buf, x, y, "┊", 1, self.theme.border)),
                    None => {}
                }
            }
        }
        if max <= 0.0 {
            note(buf, plot, "Nothing happened in this window.", self.theme);
        }
        if bottom > 0 {
            self.bottom(buf, Rect { y: plot.bottom(), height: 1, ..plot }, max);
        }
    }
}

fn shape_of(share: f64) -> &'static str {
    match share {
        s if s <= 0.25 => SHAPES[0],
        s if s <= 0.5 => SHAPES[1],
        s if s <= 0.75 => SHAPES[2],
        _ => SHAPES[3],
    }
}

/// A power of ten of nanoseconds: `100 ns`, `1 µs`, `10 s`.
fn decade_label(exponent: i32) -> String {
    let unit = ["ns", "µs", "ms", "s"][usize::try_from(exponent / 3).unwrap_or(0).min(3)];
    let digits = exponent - 3 * (exponent / 3).clamp(0, 3);
    format!("1{} {unit}", "0".repeat(usize::try_from(digits).unwrap_or(0)))
}

/// How long ago, in whole units where they are whole: `-60 s`, `-2 min`, `-7.5 min`.
fn ago(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if !s.is_finite() || s < 0.0 => return "–".into(),
        s if s < 120.0 => (s, "s"),
        s if s < 7200.0 => (s / 60.0, "min"),
        s if s < 1e6 => (s / 3600.0, "h"),
        _ => return "-10 d+".into(),
    };
    if value >= 9.95 || value.fract() == 0.0 { format!("-{value:.0} {unit}") } else { format!("-{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::widgets::testing::{any_area, any_histogram, any_theme, draws_inside, histogram, screen};
    use proptest::prelude::*;

    /// A second of calls around 2 µs, with a tail that grows from column `slow` on.
    fn second(at: u64, slow: u64) -> Histogram {
        let mut values =
            vec![(900, 40), (1_500, 900), (2_200, 4_000), (3_100, 2_000), (5_000, 300), (9_000 + at * 90, 30)];
        if at > slow {
            values.extend([(400_000 * (at - slow), 20), (9_000_000, 3)]);
        }
        histogram(&values)
    }

    fn draw(width: u16, height: u16, columns: &[Option<Histogram>], theme: &Theme) -> String {
        let columns: Vec<Option<&Histogram>> = columns.iter().map(Option::as_ref).collect();
        screen(width, height, Heatmap { columns: &columns, seconds_per_column: 1.0, theme })
    }

    #[test]
    fn monochrome_shows_counts_as_shades() {
        let columns: Vec<_> = (0..80).map(|at| (at != 60).then(|| second(at, 50))).collect();
        insta::assert_snapshot!(draw(67, 12, &columns, &Theme::monochrome()));
    }

    #[test]
    fn colours_show_two_values_a_cell_and_the_newest_is_at_the_right() {
        let columns: Vec<_> = (0..20).map(|at| Some(second(at, 12))).collect();
        insta::assert_snapshot!(draw(50, 9, &columns, &Theme::default()));
    }

    #[test]
    fn nothing_yet_is_a_sentence_on_an_axis() {
        insta::assert_snapshot!(draw(50, 8, &[], &Theme::default()));
    }

    #[test]
    fn the_axis_covers_what_is_visible_and_at_least_three_decades() {
        let one = histogram(&[(2_000, 1)]);
        assert_eq!(Axis::covering([&one].into_iter()), Axis { low: 3, high: 6 });
        let wide = histogram(&[(10, 1), (1 << 40, 1)]);
        assert_eq!(Axis::covering([&one, &wide].into_iter()), Axis { low: 1, high: 12 });
        let labels: Vec<String> = (1..12).map(decade_label).collect();
        assert_eq!(labels.join(" "), "10 ns 100 ns 1 µs 10 µs 100 µs 1 ms 10 ms 100 ms 1 s 10 s 100 s");
        assert_eq!([60.0, 0.5, 120.0, 450.0, 7200.0].map(ago), ["-60 s", "-0.5 s", "-2 min", "-7.5 min", "-2 h"]);
    }

    proptest! {
        #[test]
        fn spreading_keeps_the_count(h in any_histogram(), height in 1_usize..60) {
            let mut out = vec![0.0; height];
            spread(&h, Axis::covering([&h].into_iter()), &mut out);
            let (sum, count) = (out.iter().sum::<f64>(), h.count() as f64);
            prop_assert!((sum - count).abs() <= count * 1e-6, "{sum} of {count}");
        }

        #[test]
        fn any_size_and_history(
            area in any_area(),
            columns in proptest::collection::vec(proptest::option::of(any_histogram()), 0..70),
            seconds in any::<f64>(),
            theme in any_theme(),
        ) {
            let columns: Vec<Option<&Histogram>> = columns.iter().map(Option::as_ref).collect();
            let heatmap = Heatmap { columns: &columns, seconds_per_column: seconds, theme: &theme };
            draws_inside(area, |area, buf| heatmap.render(area, buf));
        }
    }
}
