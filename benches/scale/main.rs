//! How kscope's user space grows with the machine: simulated samples of any size go through the sampler's subtraction,
//! the history, every view and the export. `make bench-scale` runs it, anywhere; `docs/scale.md` keeps a result.
//!
//! Invariant: it judges nothing. A benchmark prints a table; tests never look at time.

mod allocations;
mod generate;
#[path = "../common/marks.rs"]
mod marks;
mod measure;
mod plot;
mod readers;
mod table;
mod threads;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use generate::Size;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Where a result is kept, between its marks, with its plot beside.
const DOCUMENT: &str = "docs/scale.md";
const PLOT: &str = "docs/scale.svg";

/// Machines that grow in all respects: these are the plot.
const GROWING: [Size; 6] = [
    Size { cpus: 1, processes: 100, threads: 200, calls: 40 },
    Size { cpus: 2, processes: 300, threads: 600, calls: 60 },
    Size { cpus: 16, processes: 1_000, threads: 5_000, calls: 120 },
    Size { cpus: 64, processes: 5_000, threads: 25_000, calls: 200 },
    Size { cpus: 128, processes: 10_000, threads: 50_000, calls: 300 },
    Size { cpus: 384, processes: 20_000, threads: 100_000, calls: 512 },
];
/// The second one with one respect at its largest.
const SINGLE: [Size; 2] = [Size { cpus: 384, ..GROWING[1] }, Size { calls: 512, ..GROWING[1] }];

/// Rounds of reading procfs.
const READINGS: usize = 101;

fn main() -> ExitCode {
    // cargo adds --bench.
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &[String]) -> Result<()> {
    if let Some(unknown) = args.iter().find(|a| !["--quick", "--write", "--readers"].contains(&a.as_str())) {
        bail!(
            "{unknown} is unknown; there are --quick (fewer sizes and rounds), --write (keeps the result) and --readers (procfs alone)"
        );
    }
    let has = |flag: &str| args.iter().any(|a| a == flag);
    if has("--readers") {
        println!("{}\n{}", circumstances(args, READINGS)?, readers::table(READINGS));
        return Ok(());
    }
    let (growing, rounds) = if has("--quick") { (&GROWING[1..4], 5) } else { (&GROWING[..], 15) };
    let columns: Vec<_> = growing
        .iter()
        .chain(&SINGLE)
        .map(|size| {
            eprintln!("bench: {size:?}");
            (*size, measure::measure(*size, rounds))
        })
        .collect();
    let text = format!("{}\n{}", circumstances(args, rounds)?, table::markdown(&columns, growing.len()));
    println!("{text}");
    if has("--write") { keep(&text, &plot::svg(&columns[..growing.len()])) } else { Ok(()) }
}

fn circumstances(args: &[String], rounds: usize) -> Result<String> {
    let date = Command::new("date").args(["-u", "+%F"]).output()?.stdout;
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown CPU");
    let command = if args.is_empty() {
        "make bench-scale".into()
    } else {
        format!("make bench-scale ARGS=\"{}\"", args.join(" "))
    };
    Ok(format!(
        "Machine: {} x {}, {}. Command: `{command}`: medians of {rounds} rounds.\n",
        cpus.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        String::from_utf8_lossy(&date).trim(),
    ))
}

/// Puts the result into the document, between its marks, and the plot beside it.
fn keep(text: &str, plot: &str) -> Result<()> {
    fs::write(PLOT, plot).with_context(|| format!("write {PLOT}"))?;
    marks::put(DOCUMENT, text)
}
