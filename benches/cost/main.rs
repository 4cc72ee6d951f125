//! What kscope costs: loops with nothing attached, with empty programs on the same hooks (the floor), with kscope's
//! programs, and with the peers that are installed; and what user space takes. `make bench` runs it;
//! `docs/performance.md` keeps a result and says how to read it.
//!
//! It needs root and BTF, and says so where it has not.
//!
//! Invariant: it judges nothing. A benchmark prints a table; tests never look at time.

mod attach;
mod columns;
mod crowd;
mod document;
mod loops;
#[path = "../common/marks.rs"]
mod marks;
mod measure;
mod partner;
mod programs;
mod pty;
mod stats;
mod table;
mod targets;
#[path = "../common/terminal.rs"]
mod terminal;
mod tool;
mod userspace;
mod watch;
mod work;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use columns::{PEERS, REPORT};
use document::load_average;
use loops::LOOPS;
use measure::{Loaded, Peer, Row};
use watch::Watch;

/// What was asked for.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Options {
    quick: bool,
    write: bool,
    /// Does not wait for a low load.
    now: bool,
    /// Leaves out the peers.
    ours: bool,
    /// Keys of the loops to run, with commas, and `user` for the user space; all if empty.
    loops: String,
    /// As it was called, for the record.
    args: String,
}

impl Options {
    fn kernel(&self) -> measure::Effort {
        let time = Duration::from_millis(10);
        if self.quick {
            let a_loop = Duration::from_secs(2);
            measure::Effort { rounds: 10, a_loop, heavy_rounds: 0, tool_rounds: 1, tool_cells: 3, time }
        } else {
            let a_loop = Duration::from_secs(40);
            measure::Effort { rounds: 60, a_loop, heavy_rounds: 8, tool_rounds: 4, tool_cells: 6, time }
        }
    }

    fn user_space(&self) -> userspace::Effort {
        if self.quick {
            userspace::Effort { starts: 2, rest: Duration::from_secs(5), crowd: false, peers: !self.ours }
        } else {
            userspace::Effort { starts: 7, rest: Duration::from_secs(20), crowd: true, peers: !self.ours }
        }
    }

    /// How long to wait in all for others' programs to go.
    fn patience(&self) -> Duration {
        Duration::from_secs(if self.quick { 5 } else { 120 })
    }

    fn wants(&self, key: &str) -> bool {
        self.loops.is_empty() || self.loops.split(',').any(|wanted| wanted == key)
    }
}

fn main() -> ExitCode {
    match start(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &[String]) -> Result<()> {
    let after = |flag: &str| args.iter().position(|a| a == flag).and_then(|at| args.get(at + 1));
    // The benchmark starts itself in these parts.
    if let Some(role) = after("--partner") {
        return partner::serve(role);
    }
    if let Some(key) = after("--loop") {
        return loops::serve(key);
    }
    if let Some(count) = after("--idle") {
        return crowd::serve(count.parse()?);
    }
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let options = Options {
        quick: has("--quick"),
        write: has("--write"),
        now: has("--now"),
        ours: has("--ours"),
        loops: after("--loops").cloned().unwrap_or_default(),
        // cargo adds --bench.
        args: args.iter().filter(|a| *a != "--bench").cloned().collect::<Vec<_>>().join(" "),
    };
    if let Some(why) = why_not() {
        println!("Nothing is measured: {why}");
        return Ok(());
    }
    harness(&options)
}

/// What is missing to measure anything.
fn why_not() -> Option<String> {
    if attach::FLOOR.is_empty() {
        return Some("this benchmark was built without its empty programs; `make bench` builds them.".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("attaching programs needs root.".into());
    }
    if !Path::new(kscope::kernel::offsets::VMLINUX).exists() {
        return Some("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF).".into());
    }
    kscope::kernel::loader::check().err().map(|error| format!("{error}. {}", error.advice()))
}

fn harness(options: &Options) -> Result<()> {
    let start = Instant::now();
    if !options.quick && !options.now {
        wait_for_quiet();
    }
    let load = load_average();
    if let Err(why) = tool::mount_tracefs() {
        eprintln!("bench: tracefs and debugfs cannot be mounted ({why}): peers that need them will not run");
    }
    let mut watch = Watch::start(options.patience());
    let (rows, peers) = loops_and_peers(options, &mut watch)?;
    let mut tables = String::new();
    if !rows.is_empty() {
        let (costs, against) = (table::loops(&rows, &peers), targets::kernel(&rows));
        let programs = programs::table(Duration::from_millis(100))?;
        let _ = write!(tables, "\n{costs}\n{against}\nThe programs, as the verifier left them:\n\n{programs}");
    }
    let mut used = Vec::new();
    if options.wants("user") {
        let failures;
        (used, failures) = userspace::measure(options.user_space());
        let (seen, against) = (table::user_space(&used, &failures), targets::user_space(&used));
        let _ = write!(tables, "\nUser space, 1 Hz, {}x{}:\n\n{seen}\n{against}", pty::SIZE.0, pty::SIZE.1);
    }
    let took = start.elapsed().as_secs();
    let command =
        if options.args.is_empty() { "make bench".into() } else { format!("make bench ARGS=\"{}\"", options.args) };
    let text = format!(
        "Machine: {}. Command: `{command}`, {} min {} s. Load before and after: {load} and {}. {}\n{tables}",
        document::machine(),
        took / 60,
        took % 60,
        load_average(),
        watch.remarks(&rows),
    );
    println!("{text}");
    if options.write { document::keep(&text, &rows, &used) } else { Ok(()) }
}

fn loops_and_peers(options: &Options, watch: &mut Watch) -> Result<(Vec<Row>, Vec<Peer>)> {
    let effort = options.kernel();
    let mut peers = vec![Peer::new(REPORT)];
    peers.extend(PEERS.into_iter().filter(|_| !options.ours).map(Peer::new));
    let wanted = LOOPS.iter().filter(|l| !(options.quick && l.heavy) && options.wants(l.key));
    let mut rows: Vec<_> = wanted.map(|l| Row::start(*l, peers.len())).collect();
    if rows.is_empty() {
        return Ok((rows, Vec::new()));
    }
    let mut loaded = Loaded::load()?;
    for row in &mut rows {
        eprintln!("bench: {}, load {}", row.of.key, load_average());
        measure::ours(row, &mut loaded, watch, effort)?;
    }
    drop(loaded);
    measure::tools(&mut rows, &mut peers, watch, effort);
    Ok((rows, peers))
}

/// Up to five minutes, for a load below 1.
fn wait_for_quiet() {
    let start = Instant::now();
    while load_average().parse().is_ok_and(|load: f64| load >= 1.0) && start.elapsed() < Duration::from_mins(5) {
        eprintln!("bench: the load is {}; waiting for it to fall below 1", load_average());
        std::thread::sleep(Duration::from_secs(15));
    }
}
