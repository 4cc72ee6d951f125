//! What kscope costs: loops with nothing attached, with empty programs on the same hooks (the floor), with kscope's
//! programs, and with the peers that are installed. `make bench` runs it; `docs/performance.md` keeps a result.
//!
//! Rounds are interleaved, so that a slow minute of the machine hits everything alike. A cost is the difference to the
//! nearest measurement with nothing attached; the table has the medians of the rounds with their median absolute
//! deviation. It needs root and BTF, and says so where it has not.
//!
//! Invariant: it judges nothing. A benchmark prints a table; tests never look at time.

mod columns;
mod loops;
mod programs;
mod table;
mod variant;
mod watch;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use columns::{Column, FLOOR, KSCOPE, OURS, PEERS};
use loops::{LOOPS, Loop};
use table::{Costs, cost, cost_and_ratio, markdown, plain, ratio};
use variant::{Attached, Variant};
use watch::{Watch, tracing_programs};

/// Measurements between two with nothing attached.
const PER_BASE: usize = 3;
/// Where a result is kept, between these two lines.
const DOCUMENT: &str = "docs/performance.md";
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

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
    /// Keys of the loops to run, with commas; all if empty.
    loops: String,
    rounds: usize,
    /// A loop's length.
    time: Duration,
    /// As it was called, for the record.
    args: String,
}

impl Options {
    /// How long to wait in all for others' programs to go.
    fn patience(&self) -> Duration {
        Duration::from_secs(if self.quick { 15 } else { 120 })
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
    if let Some(role) = after("--partner") {
        return loops::partner(role);
    }
    let time = after("--ms").map(|ms| ms.parse().map(Duration::from_millis)).transpose()?;
    if let Some(key) = after("--loop") {
        return loops::run(key, time.unwrap_or(Duration::from_millis(200)));
    }
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let quick = has("--quick");
    let rounds = after("--rounds").map(|n| n.parse()).transpose()?.unwrap_or(if quick { 3 } else { 7 });
    let time = time.unwrap_or(Duration::from_millis(if quick { 40 } else { 120 }));
    // cargo adds --bench.
    let args = args.iter().filter(|a| *a != "--bench").cloned().collect::<Vec<_>>().join(" ");
    let options = Options {
        quick,
        write: has("--write"),
        now: has("--now"),
        ours: has("--ours"),
        loops: after("--loops").cloned().unwrap_or_default(),
        rounds,
        time,
        args,
    };
    if let Some(why) = why_not() {
        println!("Nothing is measured: {why}");
        return Ok(());
    }
    harness(&options)
}

/// What is missing to measure anything.
fn why_not() -> Option<String> {
    if variant::FLOOR.is_empty() {
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
    if !options.quick && !options.now {
        wait_for_quiet();
    }
    let begin = load_average();
    let mut results = Results::new(options);
    for round in 0..options.rounds {
        eprintln!("bench: round {} of {}, load {}", round + 1, options.rounds, load_average());
        results.round(options.time)?;
    }
    let mut text = results.table();
    text.push_str(&results.targets());
    text.push_str("\nThe programs, as the verifier left them:\n\n");
    text.push_str(&programs::table(options.time)?);
    let text = format!("{}\n{text}", circumstances(options, &begin, &results.watch.remarks())?);
    println!("{text}");
    if options.write { keep(&text) } else { Ok(()) }
}

/// Up to five minutes, for a load below 1.
fn wait_for_quiet() {
    let start = Instant::now();
    while load_average().parse().is_ok_and(|load: f64| load >= 1.0) && start.elapsed() < Duration::from_mins(5) {
        eprintln!("bench: the load is {}; waiting for it to fall below 1", load_average());
        std::thread::sleep(Duration::from_secs(15));
    }
}

/// Runnable threads over the last minute.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().into()
}

fn circumstances(options: &Options, load: &str, remarks: &str) -> Result<String> {
    let date = Command::new("date").args(["-u", "+%F"]).output()?.stdout;
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown CPU");
    let uname = rustix::system::uname();
    let command =
        if options.args.is_empty() { "make bench".into() } else { format!("make bench ARGS=\"{}\"", options.args) };
    Ok(format!(
        "Machine: {} x {}, Linux {} ({}), {}. Command: `{command}`: {} rounds of {} ms a loop. Load before and after: {load} and {}.{remarks}\n",
        cpus.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy(),
        String::from_utf8_lossy(&date).trim(),
        options.rounds,
        options.time.as_millis(),
        load_average(),
    ))
}

/// Puts the result into the document, between its marks.
fn keep(text: &str) -> Result<()> {
    let old = fs::read_to_string(DOCUMENT).with_context(|| format!("read {DOCUMENT}"))?;
    let Some((before, rest)) = old.split_once(BEGIN) else { bail!("{DOCUMENT} has no line {BEGIN}") };
    let Some((_, after)) = rest.split_once(END) else { bail!("{DOCUMENT} has no line {END}") };
    fs::write(DOCUMENT, format!("{before}{BEGIN}\n{text}\n{END}{after}")).with_context(|| format!("write {DOCUMENT}"))
}

/// What was measured of one column.
struct Measured {
    column: Column,
    /// By loop.
    costs: Vec<Costs>,
    /// Its own user space, in shares of a CPU.
    cpu: Vec<f64>,
    /// Why it could not be attached.
    failure: Option<String>,
}

struct Results {
    loops: Vec<Loop>,
    /// With nothing attached, by loop.
    nothing: Vec<Vec<f64>>,
    columns: Vec<Measured>,
    watch: Watch,
}

impl Results {
    fn new(options: &Options) -> Self {
        let wanted = |l: &Loop| options.loops.is_empty() || options.loops.split(',').any(|key| key == l.key);
        let loops: Vec<_> = LOOPS.into_iter().filter(|l| !(options.quick && l.full_only) && wanted(l)).collect();
        let columns = OURS.into_iter().chain(PEERS.into_iter().filter(|_| !options.ours)).map(|column| {
            let missing = matches!(column.variant, Variant::Tool(tool) if !installed(tool.program));
            let failure = missing.then(|| "it is not installed".into());
            Measured { column, costs: vec![Vec::new(); loops.len()], cpu: Vec::new(), failure }
        });
        Self {
            columns: columns.collect(),
            nothing: vec![Vec::new(); loops.len()],
            loops,
            watch: Watch::start(options.patience()),
        }
    }

    /// Measures every column once in every loop. What takes milliseconds to attach is attached for one loop at a time,
    /// so that a loop's columns are measured within seconds of each other; tools are started once for all loops.
    fn round(&mut self, time: Duration) -> Result<()> {
        for row in 0..self.loops.len() {
            let mut base = 0.0;
            for at in 0..OURS.len() {
                if at % PER_BASE == 0 {
                    base = self.nothing(row, time)?;
                }
                if !matches!(self.columns[at].column.variant, Variant::Tool(_)) {
                    self.measure(at, &[(row, base)], time)?;
                }
            }
        }
        for at in 0..self.columns.len() {
            if matches!(self.columns[at].column.variant, Variant::Tool(_)) && self.columns[at].failure.is_none() {
                let bases = (0..self.loops.len()).map(|row| Ok((row, self.nothing(row, time)?)));
                let bases = bases.collect::<Result<Vec<_>>>()?;
                self.measure(at, &bases, time)?;
            }
        }
        Ok(())
    }

    fn nothing(&mut self, row: usize, time: Duration) -> Result<f64> {
        let attached = self.watch.nothing();
        let value = self.watch.measure(&self.loops[row], time, &attached)?;
        self.nothing[row].push(value);
        Ok(value)
    }

    /// Measures one column in these loops, each against its value with nothing attached.
    fn measure(&mut self, at: usize, bases: &[(usize, f64)], time: Duration) -> Result<()> {
        let measured = &mut self.columns[at];
        if measured.failure.is_some() {
            return Ok(());
        }
        self.watch.nothing();
        let attached = match measured.column.variant.attach() {
            Ok(attached) => attached,
            Err(error) => {
                measured.failure = Some(format!("{error:#}"));
                return Ok(());
            }
        };
        let expected = tracing_programs();
        for &(row, base) in bases {
            measured.costs[row].push(self.watch.measure(&self.loops[row], time, &expected)? - base);
        }
        if let Attached::Tool(running) = &attached {
            measured.cpu.push(100.0 * running.cpu_share());
        }
        Ok(())
    }

    fn costs(&self, title: &str, row: usize) -> &[f64] {
        self.columns.iter().find(|m| m.column.title == title).map_or(&[], |m| &m.costs[row])
    }

    fn table(&self) -> String {
        // The floors of the parts are seen in the ratios only.
        let shown: Vec<_> =
            self.columns.iter().filter(|m| m.failure.is_none() && !m.column.title.starts_with("floor: ")).collect();
        let titles = shown.iter().map(|m| m.column.title.to_owned());
        let head: Vec<_> = ["ns".to_owned(), "nothing attached".to_owned()].into_iter().chain(titles).collect();
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (row, l) in self.loops.iter().enumerate() {
            let mut cells = vec![l.title.to_owned(), plain(&self.nothing[row])];
            cells.extend(shown.iter().map(|m| match m.column.floor {
                Some(floor) => cost_and_ratio(&m.costs[row], self.costs(floor, row)),
                None => cost(&m.costs[row]),
            }));
            rows.push(cells);
        }
        let cpu =
            shown.iter().map(|m| if m.cpu.is_empty() { "–".into() } else { format!("{:.1} %", table::median(&m.cpu)) });
        rows.push(["its own user space, of one CPU".to_owned(), "–".to_owned()].into_iter().chain(cpu).collect());
        let mut text = markdown(&head, &rows);
        for m in &self.columns {
            if let Some(why) = &m.failure {
                let _ = write!(text, "\nNot measured: {}: {why}.\n", m.column.title);
            }
        }
        text
    }

    /// The three lines that kscope has set itself targets for.
    fn targets(&self) -> String {
        let lines = [
            ("getppid", "a system call, all probes", FLOOR, KSCOPE, 2.5),
            ("pipe", "a pipe ping-pong, the scheduler's probes", "floor: scheduler", "kscope: scheduler", 2.5),
            ("tcp", "a TCP ping-pong, the network's probes", "floor: network", "kscope: network", 2.3),
        ];
        let rows: Vec<_> = lines
            .into_iter()
            .filter_map(|(key, what, floor, ours, target)| {
                let row = self.loops.iter().position(|l| l.key == key)?;
                let (floor, ours) = (self.costs(floor, row), self.costs(ours, row));
                let times = ratio(ours, floor).map_or("–".into(), |r| format!("**{r:.2}×**"));
                Some(vec![what.into(), cost(floor), cost(ours), times, format!("≤ {target:.1}×")])
            })
            .collect();
        let head = ["ns", "the floor adds", "kscope adds", "ratio", "target"].map(String::from);
        format!("\nAgainst the targets:\n\n{}", markdown(&head, &rows))
    }
}

/// Whether a program lies on the path, or where it says.
fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
