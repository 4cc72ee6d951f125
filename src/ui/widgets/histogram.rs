//! A latency histogram as bars, low at the top: one row for a whole, half or quarter octave, whatever fits.
//!
//! Rows are never single buckets of the kernel's resolution: their noise would be read as structure. It is not the
//! heatmap: there is no time here.

use super::pane::note;
use super::text::{put, put_right, width};
use crate::core::histogram::{Histogram, PER_OCTAVE, boundary, octaves_above};
use crate::core::units::{count, percent};
use crate::ui::theme::Theme;
use kscope_layout::bucket::OCTAVES;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::Widget;
use std::collections::BTreeMap;

/// Columns of the lower bound of a row, `16.4 µs` at the widest.
const LABEL: u16 = 7;
/// Columns of a count, `38.2 k`, and of its share, `<0.1 %`.
const NUMBER: u16 = 7;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The bars of one histogram, with a ghost of another behind and quantiles named at their row.
#[derive(Clone, Copy, Debug)]
pub struct HistogramPlot<'a> {
    /// What is drawn.
    pub histogram: &'a Histogram,
    /// Drawn behind as dots, scaled to the same number of values, so that shapes compare.
    pub baseline: Option<&'a Histogram>,
    /// Names and their values in ns, each written at the row that holds it.
    pub marks: &'a [(&'a str, u64)],
    /// The styles.
    pub theme: &'a Theme,
}

/// How many buckets make a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rows {
    per_octave: u32,
    octaves: u32,
}

impl Rows {
    /// The row of a value; row 0 ends at the lowest boundary and holds all below it.
    fn of(self, bucket: u16) -> u32 {
        let per_row = (PER_OCTAVE * self.octaves / self.per_octave).max(1);
        u32::from(bucket).div_ceil(per_row)
    }

    /// The lower bound of a row in ns.
    fn bound(self, row: u32) -> f64 {
        if row == 0 {
            return 0.0;
        }
        boundary(f64::from((row - 1) * self.octaves) / f64::from(self.per_octave))
    }

    /// The row that holds `ns`.
    fn holding(self, ns: u64) -> u32 {
        let octaves = octaves_above(ns as f64);
        if octaves <= 0.0 {
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 58 octaves of 4 rows")]
        let row = (octaves * f64::from(self.per_octave) / f64::from(self.octaves)).ceil() as u32;
        row
    }

    fn counts(self, histogram: &Histogram) -> BTreeMap<u32, u64> {
        let mut rows = BTreeMap::new();
        for (bucket, n) in histogram.iter() {
            let row: &mut u64 = rows.entry(self.of(bucket)).or_default();
            *row = row.saturating_add(n);
        }
        rows
    }
}

/// The rows of one drawing, chosen as fine as the height allows.
struct Shape {
    rows: Rows,
    first: u32,
    last: u32,
    live: BTreeMap<u32, u64>,
    ghost: BTreeMap<u32, u64>,
}

impl Shape {
    fn choose(plot: &HistogramPlot<'_>, height: u16) -> Option<Self> {
        // The finest rows are one step coarser than the buckets.
        let finer = [(4, 1), (2, 1)].into_iter();
        for (per_octave, octaves) in finer.chain((1..=OCTAVES).map(|octaves| (1, octaves))) {
            let rows = Rows { per_octave, octaves };
            let live = rows.counts(plot.histogram);
            let ghost = plot.baseline.map(|b| rows.counts(b)).unwrap_or_default();
            let first = *live.keys().chain(ghost.keys()).min()?;
            let last = *live.keys().chain(ghost.keys()).max()?;
            let spare = u32::from(height).checked_sub(last - first + 1);
            if spare.is_none() && octaves < OCTAVES {
                continue;
            }
            // An empty row on either side shows that the tails really end; it is not worth coarser rows.
            let (above, below) = (spare >= Some(2), spare >= Some(1));
            let (first, last) = (first.saturating_sub(u32::from(above)), last + u32::from(below));
            return Some(Self { rows, first, last, live, ghost });
        }
        None
    }
}

/// Where the parts of a row begin, from the width there is.
struct Columns {
    bar: u16,
    bar_wide: u16,
    marks_wide: u16,
    count: bool,
    share: bool,
}

impl Columns {
    fn of(wide: u16, marks_wide: u16) -> Self {
        let share = wide >= 44;
        let count = wide >= 32;
        let marks_wide = if wide >= 24 { marks_wide } else { 0 };
        let right = marks_wide + if count { NUMBER + 1 } else { 0 } + if share { NUMBER } else { 0 };
        let bar = LABEL + 1;
        Self { bar, bar_wide: wide.saturating_sub(bar + right), marks_wide, count, share }
    }
}

impl HistogramPlot<'_> {
    fn marks_at(&self, rows: Rows, row: u32, last: u32) -> String {
        let here = self.marks.iter().filter(|&&(_, ns)| rows.holding(ns).min(last) == row);
        here.map(|&(name, _)| name).collect::<Vec<_>>().join(" ")
    }

    /// The bar of a row, with the ghost of the baseline.
    fn bar(&self, buf: &mut Buffer, (x, y): (u16, u16), wide: u16, live: f64, ghost: Option<f64>, style: Style) {
        if wide == 0 {
            return;
        }
        let eighths_of = |share: f64| -> u16 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
            let eighths = (share.clamp(0.0, 1.0) * f64::from(wide) * 8.0).round() as u16;
            if share > 0.0 { eighths.max(1) } else { 0 }
        };
        let eighths = eighths_of(live);
        let (full, part) = (eighths / 8, usize::from(eighths % 8));
        for column in 0..full {
            put(buf, x + column, y, "█", 1, style);
        }
        if part > 0 {
            put(buf, x + full, y, EIGHTHS[part], 1, style);
        }
        let Some(ghost) = ghost.filter(|&g| g > 0.0) else { return };
        let end = eighths_of(ghost).div_ceil(8).max(1) - 1;
        if end < full {
            put(buf, x + end, y, "·", 1, style.add_modifier(Modifier::REVERSED));
        }
        for column in full + u16::from(part > 0)..=end {
            put(buf, x + column, y, "·", 1, self.theme.baseline);
        }
    }
}

impl Widget for HistogramPlot<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let chosen =
            Shape::choose(&self, area.height).filter(|_| !self.histogram.is_empty() || self.baseline.is_some());
        let Some(Shape { rows, first, last, live, ghost }) = chosen else {
            note(buf, area, "Nothing was measured here yet.", self.theme);
            return;
        };
        let marks: Vec<String> = (first..=last).map(|row| self.marks_at(rows, row, last)).collect();
        let marks_wide = marks.iter().map(|m| width(m)).max().filter(|&w| w > 0).map_or(0, |w| w.saturating_add(3));
        let columns = Columns::of(area.width, marks_wide.min(area.width / 3));
        let total = live.values().fold(0_u64, |sum, &n| sum.saturating_add(n));
        let ghost_total = ghost.values().fold(0_u64, |sum, &n| sum.saturating_add(n));
        let most = live.values().copied().max().unwrap_or(0);
        let share = |n: u64, of: u64| if of == 0 { 0.0 } else { n as f64 / of as f64 };
        let longest = live.values().map(|&n| share(n, total)).chain(ghost.values().map(|&n| share(n, ghost_total)));
        let longest = longest.fold(0.0, f64::max);
        for ((row, mark), y) in (first..=last).zip(&marks).zip(area.y..area.bottom()) {
            let n = live.get(&row).copied().unwrap_or(0);
            let label_style = if n > 0 { self.theme.text } else { self.theme.dim };
            put_right(buf, area.x, y, &bound_label(rows.bound(row)), LABEL.min(area.width), label_style);
            let live_share = share(n, total);
            let ghost_share = ghost.get(&row).map(|&g| share(g, ghost_total) / longest);
            let style = self.theme.heat_of(n as f64, most as f64).unwrap_or(self.theme.text);
            self.bar(buf, (area.x + columns.bar, y), columns.bar_wide, live_share / longest, ghost_share, style);
            let mut x = area.x + columns.bar + columns.bar_wide;
            if !mark.is_empty() && columns.marks_wide > 3 {
                put(buf, x, y, &format!(" ◂ {mark}"), columns.marks_wide, self.theme.accent);
            }
            x += columns.marks_wide;
            if n > 0 && columns.count {
                put_right(buf, x, y, &count(n), NUMBER + 1, self.theme.text);
                if columns.share {
                    put_right(buf, x + NUMBER + 1, y, &percent(live_share), NUMBER, self.theme.dim);
                }
            }
        }
    }
}

/// A lower bound with two digits: the row is wider than a third would say.
fn bound_label(ns: f64) -> String {
    let (size, unit) = match ns {
        v if v < 1e3 => (1.0, "ns"),
        v if v < 1e6 => (1e3, "µs"),
        v if v < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let v = ns / size;
    if v < 9.95 && size > 1.0 { format!("{v:.1} {unit}") } else { format!("{v:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::widgets::testing::{any_area, any_histogram, any_theme, draws_inside, histogram, screen};
    use proptest::prelude::*;

    fn plot(width: u16, height: u16, values: &[(u64, u64)], baseline: Option<&[(u64, u64)]>) -> String {
        let live = histogram(values);
        let baseline = baseline.map(histogram);
        let marks = [("p50", live.quantile(0.5, 0).unwrap_or(0)), ("p99", live.quantile(0.99, 0).unwrap_or(0))];
        let theme = Theme::monochrome();
        let plot = HistogramPlot { histogram: &live, baseline: baseline.as_ref(), marks: &marks, theme: &theme };
        screen(width, height, plot)
    }

    const CALLS: [(u64, u64); 10] = [
        (900, 40),
        (1_100, 400),
        (1_500, 2_100),
        (2_100, 9_000),
        (3_000, 5_200),
        (4_200, 2_400),
        (6_000, 900),
        (11_000, 120),
        (23_000, 30),
        (9_000_000, 700),
    ];

    #[test]
    fn octaves_where_they_fit() {
        insta::assert_snapshot!(plot(60, 18, &CALLS, None));
    }

    #[test]
    fn finer_rows_when_the_range_is_small() {
        insta::assert_snapshot!(plot(60, 16, &CALLS[..6], None));
    }

    #[test]
    fn low_and_narrow_is_compressed() {
        insta::assert_snapshot!(plot(30, 7, &CALLS, None));
    }

    #[test]
    fn a_baseline_is_a_ghost_of_dots() {
        insta::assert_snapshot!(plot(
            60,
            10,
            &CALLS[..7],
            Some(&[(2_100, 30), (4_200, 60), (6_000, 40), (11_000, 20)])
        ));
    }

    #[test]
    fn both_open_ends_have_a_row() {
        insta::assert_snapshot!(plot(50, 8, &[(10, 5), (u64::MAX, 1)], None));
    }

    #[test]
    fn nothing_measured_is_a_sentence() {
        assert!(plot(40, 5, &[], None).contains("Nothing was measured"));
    }

    proptest! {
        #[test]
        fn a_row_holds_what_its_bounds_say(ns in 60_u64..=128_000_000_000, candidate in 0_usize..4) {
            let (per_octave, octaves) = [(4, 1), (2, 1), (1, 1), (1, 4)][candidate];
            let rows = Rows { per_octave, octaves };
            let h = histogram(&[(ns, 1)]);
            let row = *rows.counts(&h).keys().next().unwrap();
            let (low, high) = (rows.bound(row), rows.bound(row + 1));
            prop_assert!(low * 0.999_999 <= ns as f64 && ns as f64 <= high * 1.000_001, "{ns} in {low}..{high}");
            prop_assert!(rows.holding(ns).abs_diff(row) <= 1);
        }

        #[test]
        fn any_size_and_histogram(
            area in any_area(),
            live in any_histogram(),
            baseline in proptest::option::of(any_histogram()),
            marks in proptest::collection::vec(any::<u64>(), 0..4),
            theme in any_theme(),
        ) {
            let marks: Vec<(&str, u64)> = marks.iter().map(|&ns| ("p99.9", ns)).collect();
            let plot = HistogramPlot { histogram: &live, baseline: baseline.as_ref(), marks: &marks, theme: &theme };
            draws_inside(area, |area, buf| plot.render(area, buf));
        }
    }
}
