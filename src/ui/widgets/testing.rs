//! What the tests of the widgets share: a canvas as text, and every size there is.

use crate::core::histogram::Histogram;
use crate::ui::theme::Theme;
use kscope_layout::bucket::scale3;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

/// What `widget` draws on `width` x `height` cells, a line each, without trailing blanks.
pub fn screen(width: u16, height: u16, widget: impl Widget) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buf = Buffer::empty(area);
    widget.render(area, &mut buf);
    text_of(&buf)
}

/// The symbols of a buffer, a line each, without trailing blanks.
pub fn text_of(buf: &Buffer) -> String {
    let lines = buf.content.chunks(usize::from(buf.area.width.max(1)));
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    lines.map(line).collect::<Vec<_>>().join("\n")
}

/// A histogram of durations in ns, each with a count.
pub fn histogram(values: &[(u64, u64)]) -> Histogram {
    let mut h = Histogram::new();
    for &(ns, count) in values {
        h.add(u16::try_from(scale3(ns)).unwrap(), count);
    }
    h
}

/// Any histogram, the open buckets at both ends included.
pub fn any_histogram() -> impl Strategy<Value = Histogram> {
    let values = proptest::collection::vec((0_u32..64, any::<u64>(), 1_u64..1 << 40), 0..12);
    values.prop_map(|values| {
        let values: Vec<(u64, u64)> = values.into_iter().map(|(shift, ns, n)| (ns >> shift, n)).collect();
        histogram(&values)
    })
}

/// Any theme that can be met.
pub fn any_theme() -> impl Strategy<Value = Theme> {
    prop_oneof![Just(Theme::default()), Just(Theme::monochrome()), Just(Theme::default().indexed())]
}

/// An area anywhere, 0x0 included, inside a buffer that is larger, equal or smaller than it.
pub fn any_area() -> impl Strategy<Value = (Rect, Buffer)> {
    (0_u16..4, 0_u16..4, 0_u16..60, 0_u16..30, 0_u16..70, 0_u16..40)
        .prop_map(|(x, y, w, h, bw, bh)| (Rect::new(x, y, w, h), Buffer::empty(Rect::new(0, 0, bw, bh))))
}

/// Fails when `draw` panics, or writes outside `area` or something that a terminal would obey.
pub fn draws_inside((area, mut buf): (Rect, Buffer), draw: impl FnOnce(Rect, &mut Buffer)) {
    draw(area, &mut buf);
    for y in 0..buf.area.height {
        for x in 0..buf.area.width {
            let cell = &buf[(x, y)];
            assert!(!cell.symbol().chars().any(char::is_control), "control character at {x},{y}");
            let inside = area.contains((x, y).into());
            assert!(inside || *cell == ratatui::buffer::Cell::EMPTY, "{:?} outside {area} at {x},{y}", cell.symbol());
        }
    }
}
