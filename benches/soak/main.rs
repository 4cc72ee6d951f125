//! A soak: the dashboard in a terminal for twenty minutes while stress-ng works, looked at from outside once a minute. Its memory,
//! descriptors and threads must stay flat, nothing may be lost, and what is measured beside it must stay what the kernel's own accounts
//! say. `make soak` runs it, as root; `docs/soak.md` keeps a result.
//!
//! Invariant: everything is read from outside (procfs, `kscope report`); nothing of kscope's own code is used. It judges by the
//! rules that it prints, and by nothing else.

mod dashboard;
mod drift;
mod load;
#[path = "../common/marks.rs"]
mod marks;
mod plot;
mod record;
mod rules;
#[path = "../common/terminal.rs"]
mod terminal;
mod tree;

use std::fs;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use dashboard::Dashboard;
use load::Load;
use record::{Record, Soak};

/// Where a result is kept, between its marks, with its plot beside.
const DOCUMENT: &str = "docs/soak.md";
const PLOT: &str = "docs/soak.svg";
const PICTURE: &str = "![Memory, descriptors, losses and differences against time](soak.svg)";

/// How long, unless it is said.
const LONG: Duration = Duration::from_mins(20);
/// Looks in all: one a minute, if it takes as long as it should.
const LOOKS: u32 = 20;
/// What a report that is to end before the next look takes besides measuring.
const EDGES: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // cargo adds --bench.
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match start(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &[String]) -> Result<bool> {
    let (mut time, mut write) = (LONG, false);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--for" => time = rest.next().and_then(|text| minutes(text)).context("--for takes a time such as 2m")?,
            "--write" => write = true,
            _ => bail!("{arg} is unknown; there are --for TIME (20m if not given) and --write (keeps the result)"),
        }
    }
    if time < LOOKS * EDGES * 2 {
        bail!("--for takes {} s at least", (LOOKS * EDGES * 2).as_secs());
    }
    let soak = run(time)?;
    let judged = rules::judge(&soak);
    let text = format!("{}\n{}\n{}", circumstances(time)?, rules::list(&judged), record::table(&soak));
    println!("{text}");
    if write {
        keep(&format!("{PICTURE}\n\n{text}"), &plot::svg(&soak))?;
    }
    Ok(judged.iter().all(|rule| rule.holds))
}

/// `20m`, `90s`.
fn minutes(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?))
}

fn run(time: Duration) -> Result<Soak> {
    let load = Load::start()?;
    let oracle = drift::Oracle::start(load.pids(), load.sent());
    let mut dashboard = Dashboard::start()?;
    let begin = Instant::now();
    let every = time / LOOKS;
    // One that lasts from beginning to end, for what adds up slowly.
    let whole = drift::report_in_background(time.saturating_sub(EDGES));
    let (mut records, mut drawn) = (Vec::new(), 0);
    for look in 1..=LOOKS {
        let short = drift::report_in_background(every.saturating_sub(EDGES));
        dashboard.use_until(begin + every * look)?;
        let report = short.join().map_err(|_| anyhow::anyhow!("a report's thread ended badly"))??;
        let record = Record {
            at: begin.elapsed(),
            used: tree::used(dashboard.pid())?,
            lost: report.lost(),
            drawn: dashboard.drawn() - drawn,
            drift: oracle.compare(&report),
        };
        drawn += record.drawn;
        eprintln!("soak: {}", record.line());
        records.push(record);
    }
    let whole = whole.join().map_err(|_| anyhow::anyhow!("the report's thread ended badly"))??;
    let soak = Soak { records, whole: (whole.lost(), oracle.compare(&whole)) };
    drop((dashboard, oracle, load));
    Ok(soak)
}

fn circumstances(time: Duration) -> Result<String> {
    let date = Command::new("date").args(["-u", "+%F"]).output()?.stdout;
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown CPU");
    let uname = rustix::system::uname();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(format!(
        "Machine: {} x {}, Linux {}, {}. Command: `make soak ARGS=\"--for {}s\"`. Load average at the end: {}.\n\n\
         Load: `stress-ng {}`, at nice 10, and {} of payload a second over loopback.\n",
        cpus.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        uname.release().to_string_lossy(),
        String::from_utf8_lossy(&date).trim(),
        time.as_secs(),
        load.split(' ').next().unwrap_or_default(),
        load::STRESS.join(" "),
        load::RATE,
    ))
}

/// Puts the result into the document, between its marks, and the plot beside it.
fn keep(text: &str, plot: &str) -> Result<()> {
    fs::write(PLOT, plot).with_context(|| format!("write {PLOT}"))?;
    marks::put(DOCUMENT, text)
}
