//! The plot: time of the main steps against the number of processes, both axes logarithmic, as SVG.
//!
//! Plain shapes and text, no script. Colours are of middle lightness, so that it reads on white and on black.

use std::fmt::Write as _;

use super::table::{Measured, number};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
/// Of the axes: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (72.0, 20.0, 590.0, 400.0);
/// The time axis: 1 µs to 1 s, in powers of ten of nanoseconds.
const TIME: (i32, i32) = (3, 9);
/// The steps that are drawn, by the beginning of their names.
const LINES: [(&str, &str); 7] = [
    ("read the table of threads", "#8a63d2"),
    ("subtract two samples", "#d1495b"),
    ("add to that history", "#c77d1a"),
    ("take a snapshot: Overview", "#2a8f6d"),
    ("frame 200x60: Overview", "#2f7fd1"),
    ("a row down, with its frame: Overview", "#5a8f2a"),
    ("export: JSON", "#808080"),
];

/// The plot of machines that grow.
pub fn svg(columns: &[Measured]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#808080\">\n<title>Time of each step against the number of processes</title>\n"
    );
    let (low, high) = range(columns);
    axes(&mut out, low, high);
    let mut labels: Vec<(f64, &str, &str)> = Vec::new();
    for (name, colour) in LINES {
        let points: Vec<(f64, f64)> = columns
            .iter()
            .filter_map(|(size, steps)| {
                let ns = number(&steps.iter().find(|(step, _)| step.starts_with(name))?.1)?;
                Some((across(f64::from(size.processes), low, high), up(ns)))
            })
            .collect();
        let Some(last) = points.last() else { continue };
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            path.join(" ")
        );
        for (x, y) in &points {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        labels.push((last.1, name, colour));
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = 0.0_f64;
    for (y, name, colour) in labels {
        // Names of lines that end close to each other stand below each other.
        let y = y.max(free);
        free = y + 16.0;
        let _ = writeln!(out, "<text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>", FRAME.2 + 8.0, y + 4.0);
    }
    out.push_str("</svg>\n");
    out
}

fn range(columns: &[Measured]) -> (f64, f64) {
    let sizes = || columns.iter().map(|(size, _)| f64::from(size.processes));
    (sizes().fold(f64::INFINITY, f64::min), sizes().fold(1.0, f64::max))
}

fn across(processes: f64, low: f64, high: f64) -> f64 {
    FRAME.0 + (FRAME.2 - FRAME.0) * (processes / low).log10() / (high / low).log10().max(1e-9)
}

fn up(ns: f64) -> f64 {
    let share = (ns.log10() - f64::from(TIME.0)) / f64::from(TIME.1 - TIME.0);
    FRAME.3 - (FRAME.3 - FRAME.1) * share.clamp(0.0, 1.0)
}

fn axes(out: &mut String, low: f64, high: f64) {
    let (left, top, right, bottom) = FRAME;
    let line = |out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), width: f64| {
        let _ = writeln!(
            out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#808080\" stroke-width=\"{width}\"/>"
        );
    };
    for (decade, name) in (TIME.0..=TIME.1).zip(["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]) {
        let y = up(10_f64.powi(decade));
        line(out, (left, y), (right, y), if decade == TIME.0 { 1.0 } else { 0.25 });
        let _ = writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", left - 8.0, y + 4.0);
    }
    for processes in [100_u32, 300, 1_000, 5_000, 10_000, 20_000] {
        let x = across(f64::from(processes), low, high);
        if x < left - 0.5 || x > right + 0.5 {
            continue;
        }
        line(out, (x, top), (x, bottom), 0.25);
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{processes}</text>", bottom + 18.0);
    }
    line(out, (left, top), (left, bottom), 1.0);
    let middle = f64::midpoint(left, right);
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">processes (threads, CPUs and system calls grow with them)</text>",
        bottom + 42.0
    );
    let centre = f64::midpoint(top, bottom);
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"{centre}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {centre})\">time of a step</text>"
    );
}
