//! The plot: memory, descriptors, losses and differences, each against time, as SVG.
//!
//! Plain shapes and text, no script. Colours are of middle lightness, so that it reads on white and on black.

use std::fmt::Write as _;

use crate::drift::WHAT;
use crate::record::{Record, Soak, mib};

const WIDTH: f64 = 860.0;
/// Of a panel, with its title.
const PANEL: f64 = 130.0;
/// Of the lines: left and right.
const LINES: (f64, f64) = (72.0, 640.0);
const COLOURS: [&str; 4] = ["#2f7fd1", "#d1495b", "#2a8f6d", "#c77d1a"];

/// A line: its name, and a value a look.
type Line<'a> = (&'a str, Vec<f64>);

/// The plot of a soak.
pub fn svg(soak: &Soak) -> String {
    let of = |value: fn(&Record) -> f64| soak.records.iter().map(value).collect::<Vec<_>>();
    let drift = |at: usize| soak.records.iter().map(|r| r.drift[at].unwrap_or(f64::NAN)).collect();
    let panels: [(&str, Vec<Line<'_>>, (f64, f64)); 4] = [
        ("memory, MiB", vec![("RSS", of(|r| mib(r.used.rss_kib))), ("PSS", of(|r| mib(r.used.pss_kib)))], (0.0, 1.0)),
        (
            "how many",
            vec![("descriptors", of(|r| r.used.descriptors as f64)), ("threads", of(|r| r.used.threads as f64))],
            (0.0, 1.0),
        ),
        ("lost events", vec![("lost", of(|r| r.lost.0 as f64))], (0.0, 1.0)),
        ("difference, percent", (0..4).map(|at| (WHAT[at], drift(at))).collect(), (-2.0, 2.0)),
    ];
    let height = PANEL * panels.len() as f64 + 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#808080\">\n<title>What kscope holds, loses and measures, against time</title>\n"
    );
    let end = soak.records.last().map_or(1.0, Record::minutes);
    let across: Vec<f64> = soak.records.iter().map(|r| LINES.0 + (LINES.1 - LINES.0) * r.minutes() / end).collect();
    for (number, (title, lines, least)) in panels.iter().enumerate() {
        panel(&mut out, PANEL * number as f64 + 24.0, (title, lines, *least), &across);
    }
    let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">0 min</text>", LINES.0, height - 12.0);
    let _ = writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{end:.0} min</text>", LINES.1, height - 12.0);
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, top: f64, (title, lines, least): (&str, &[Line<'_>], (f64, f64)), across: &[f64]) {
    let values = || lines.iter().flat_map(|(_, values)| values).filter(|v| v.is_finite());
    let low = values().copied().fold(least.0, f64::min);
    let high = values().copied().fold(least.1, f64::max);
    let bottom = top + PANEL - 34.0;
    let up = |value: f64| bottom - (bottom - top) * (value - low) / (high - low);
    let _ = writeln!(out, "<text x=\"{}\" y=\"{:.1}\">{title}</text>", LINES.0, top - 6.0);
    for value in [low, high] {
        let y = up(value);
        let _ = writeln!(
            out,
            "<line x1=\"{}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#808080\" stroke-width=\"0.4\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LINES.0,
            LINES.1,
            LINES.0 - 8.0,
            y + 4.0,
            number(value)
        );
    }
    for (place, ((name, values), colour)) in lines.iter().zip(COLOURS).enumerate() {
        let points: Vec<String> = across
            .iter()
            .zip(values)
            .filter(|(_, value)| value.is_finite())
            .map(|(x, value)| format!("{x:.1},{:.1}", up(*value)))
            .collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            points.join(" "),
            LINES.1 + 8.0,
            top + 10.0 + 18.0 * place as f64
        );
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
