//! What kscope has set itself: the one place where its targets are. They are printed beside what was measured; nothing
//! is judged.

use crate::columns::{floor_of, position};
use crate::measure::Row;
use crate::stats::ratio;
use crate::table::{cost, factor, markdown};
use crate::userspace::{KSCOPE, Used};

/// A factor over the floor.
struct Factor {
    /// The loop, and the column of it.
    of: (&'static str, &'static str),
    what: &'static str,
    target: &'static str,
}

const FACTORS: [Factor; 4] = [
    Factor {
        of: ("getppid", "kscope"), what: "a system call, everything attached", target: "≤ 2.5×, then ≤ 2.3×"
    },
    Factor { of: ("pipe", "kscope: scheduler"), what: "a pipe ping-pong, the scheduler's probes", target: "≤ 2.5×" },
    Factor { of: ("pipe", "kscope"), what: "a pipe ping-pong, everything attached", target: "≤ 2.5×" },
    Factor { of: ("tcp", "kscope"), what: "a TCP ping-pong, everything attached", target: "≤ 2.3×" },
];

const FRAME: &str = "≤ 100 ms";
const DATA: &str = "≤ 250 ms";
/// CPU at rest, and memory, with up to so many processes. For the memory of a crowd there is none.
const REST: [(usize, &str, &str); 2] = [(1000, "≤ 0.5 %", "≤ 24 MiB"), (usize::MAX, "≤ 3 %", "–")];

/// The factors and what they should be.
pub fn kernel(rows: &[Row]) -> String {
    let lines = FACTORS.iter().filter_map(|f| {
        let row = rows.iter().find(|row| row.of.key == f.of.0 && row.failure.is_none())?;
        let at = position(f.of.1)?;
        let (ours, floor) = (&row.costs[at], &row.costs[floor_of(at)?]);
        let times = ratio(ours, floor).map_or("–".into(), factor);
        Some(vec![f.what.into(), cost(floor, &row.nothing), cost(ours, &row.nothing), times, f.target.into()])
    });
    let head = ["ns", "the floor adds", "kscope adds", "factor", "target"].map(String::from);
    format!("Against the targets:\n\n{}", markdown(&head, &lines.collect::<Vec<_>>()))
}

/// kscope's own user space and what it should be.
pub fn user_space(used: &[Used]) -> String {
    let mut lines = Vec::new();
    for one in used.iter().filter(|one| one.title == KSCOPE) {
        let mut line = |what: &str, value: Option<String>, target: &str| {
            let what = format!("{what}, {} processes", one.processes);
            lines.push(vec![what, value.unwrap_or_else(|| "–".into()), target.into()]);
        };
        let rest = REST.iter().find(|(most, ..)| one.processes <= *most);
        let (rest, memory) = rest.map_or(("–", "–"), |(_, rest, memory)| (*rest, *memory));
        line("first frame", one.frame_ms.map(|ms| format!("{ms:.0} ms")), FRAME);
        line("first data", one.data_ms.map(|ms| format!("{ms:.0} ms")), DATA);
        line("CPU at rest", Some(format!("{:.2} %", one.cpu_percent)), rest);
        line("resident memory", Some(format!("{:.1} MiB", one.rss_mib)), memory);
    }
    format!("Against the targets:\n\n{}", markdown(&["kscope", "measured", "target"].map(String::from), &lines))
}
