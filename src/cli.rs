//! The command line: a contract that scripts and tests depend on.
//!
//! Exit status: 0 on success, 2 on bad arguments or configuration, 1 on any other failure. `report -- COMMAND` exits with the
//! status of the command, 128 and the signal if one ended it; 127 where there is no such program, 126 where it cannot be run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kscope::core::hook::Hook;

/// See, live, what the Linux kernel is doing to every process.
///
/// System-call latencies, run-queue delays and network bytes of every process, measured by eBPF programs in the kernel.
/// Without a command it starts the dashboard. It needs root, or the capabilities for BPF and performance monitoring; without
/// them it shows what /proc tells.
#[derive(Debug, Parser)]
#[command(
    name = "kscope",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Keys in the dashboard: ? shows them all."
)]
pub struct Cli {
    /// What to do instead of the dashboard.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the dashboard.
    #[command(flatten)]
    pub dashboard: Dashboard,
}

/// What to do instead of the dashboard.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure for a while, or while a command runs, print one summary, and exit
    Report(ReportArgs),
    /// Say what kscope needs on this host, what of it is missing and how to mend that, and what its maps take. Exit status 0 if
    /// everything works or something less stands in for it, 1 if anything is impossible
    Doctor(DoctorArgs),
}

/// Options of the dashboard. What is not given is taken from the configuration.
#[derive(Debug, Args)]
pub struct Dashboard {
    /// Which processes
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Time between two samples, such as 500ms or 2s [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    pub interval: Option<Duration>,
    /// The view to begin with: overview, syscalls, scheduler, network, stuck, disk, processes or self
    #[arg(long, value_name = "NAME")]
    pub view: Option<String>,
    /// The most of the machine's CPU time that kscope may take, such as 1%: above it, events are sampled. `off` measures
    /// everything, whatever it costs [default: off]
    #[arg(long, value_name = "SHARE", value_parser = parse_budget)]
    pub budget: Option<Budget>,
    /// Colours: dark, light, monochrome, or a file of that name in the configuration directory
    #[arg(long, value_name = "NAME")]
    pub theme: Option<String>,
    /// Read this configuration instead of ~/.config/kscope/config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write a log of what kscope does to this file
    #[arg(long, value_name = "FILE", global = true)]
    pub log: Option<PathBuf>,
    /// Keep the right to look into other processes (`CAP_SYS_PTRACE`) in no process of kscope: then it does not say what files,
    /// addresses and functions of the kernel their calls wait for
    #[arg(long, global = true)]
    pub no_ptrace: bool,
    /// Try no hooks better than this one: for tests of what other kernels fall back to
    #[arg(long, value_name = "HOOK", global = true, hide = true, value_parser = parse_hook)]
    pub from_hook: Option<Hook>,
}

/// Which processes.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Only these process ids, separated by commas
    #[arg(long, value_name = "PID,PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["comm", "cgroup"])]
    pub pid: Vec<u32>,
    /// Measure nothing but the processes of --pid, 16 at most. Others then cost next to nothing; what is said of the host is
    /// said of these processes. Their children are not followed
    #[arg(long, requires = "pid")]
    pub only: bool,
    /// Only processes whose name matches, such as 'nginx*'
    #[arg(long, value_name = "GLOB", conflicts_with = "cgroup")]
    pub comm: Option<String>,
    /// Only processes in this cgroup or below it, such as /system.slice/nginx.service
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
}

/// Options of `kscope report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// How long to measure, such as 5s; with a command: at most so long, and the command goes on [default: 5s, or until the command ends]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub duration: Option<Duration>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Write the report to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Count the runs of kscope's own programs and their time, for the part `self` of the report. It makes each event dearer
    /// by two readings of the clock (about 90 ns a run), for all BPF programs on the host, and needs `CAP_SYS_ADMIN`
    #[arg(long)]
    pub cost: bool,
    /// Measure this as well, which is off otherwise because each event gets dearer by it; several by commas
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub with: Vec<With>,
    /// The most of the machine's CPU time that kscope may take, such as 1%: above it, events are sampled, and the report says
    /// which [default: off]
    #[arg(long, value_name = "SHARE", value_parser = parse_budget, conflicts_with = "cost")]
    pub budget: Option<Budget>,
    /// Which processes
    #[command(flatten)]
    pub filter: FilterArgs,
    /// With a command: measure until no process that it started lives any more, instead of until the command ends
    #[arg(long, requires = "command")]
    pub children: bool,
    /// Run this command, and report on it and the processes it starts, from its `execve` to its end. Its standard output goes to
    /// standard error. kscope exits with its status, with 128+N if signal N ended it, with 127 if there is no such program and
    /// 126 if it cannot be run; with 0 if it still runs when the time (--for) is up, and then it goes on
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// Options of `kscope doctor`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DoctorArgs {
    /// Print one object instead
    #[arg(long)]
    pub json: bool,
}

/// What is measured only if asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// Who ran on a CPU while others waited for it
    Blame,
    /// Bytes, round-trip times and owners of each connection
    Connections,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One object; times in ns, sizes in bytes
    Json,
    /// One line a distribution
    Csv,
}

/// Shortest time between samples: below it, reading would be most of what is measured.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time that makes sense to anybody, and that no clock arithmetic overflows at.
const LONGEST: Duration = Duration::from_hours(168);

/// A share of the machine's CPU time to keep to; `None`: whatever it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget(pub Option<f64>);

/// Reads the name of a kind of hook.
fn parse_hook(text: &str) -> Result<Hook, String> {
    let known = Hook::ALL.into_iter().find(|hook| hook.name() == text);
    known.ok_or_else(|| format!("expected one of {}", Hook::ALL.map(Hook::name).join(", ")))
}

/// Reads `1%`, `0.5 %` or `off`.
pub fn parse_budget(text: &str) -> Result<Budget, String> {
    let text = text.trim();
    if text == "off" {
        return Ok(Budget(None));
    }
    let number = text.strip_suffix('%').ok_or("expected percent of the machine's CPU time such as 1%, or off")?;
    let percent: f64 =
        number.trim().parse().map_err(|_| "expected a number of percent such as 1% or 0.5%".to_owned())?;
    // Less than this, looking at the cost would be most of it.
    if (0.1..=100.0).contains(&percent) {
        Ok(Budget(Some(percent / 100.0)))
    } else {
        Err("a budget is between 0.1% and 100%".into())
    }
}

/// A time that is long enough to be an interval.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    if time < SHORTEST_INTERVAL { Err("the shortest interval is 100ms".into()) } else { Ok(time) }
}

/// Reads `500ms`, `2s`, `1.5s`, `3m`, `1h`, or plain seconds.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is no unit of time: use ms, s, m or h, as in 500ms or 2s")),
    };
    let value: f64 = number.parse().map_err(|_| "expected a time such as 500ms, 2s or 1m".to_owned())?;
    let time = Duration::try_from_secs_f64(value * scale).map_err(|_| "that time is out of range".to_owned())?;
    if time.is_zero() {
        return Err("the time must be longer than 0".into());
    }
    if time > LONGEST { Err("the longest time is 7 days (168h)".into()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use clap::CommandFactory as _;
    use proptest::prelude::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_time("2"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_time("3m"), Ok(Duration::from_mins(3)));
        assert!(parse_time("3 parsecs").unwrap_err().contains("parsecs"));
        assert!(parse_interval("10ms").is_err());
        assert!(parse_time("0s").is_err());
        assert!(parse_time("9999999999999h").is_err());
    }

    #[test]
    fn budgets_are_percent_or_off() {
        assert_eq!(parse_budget("1%"), Ok(Budget(Some(0.01))));
        assert_eq!(parse_budget(" 0.5 % "), Ok(Budget(Some(0.005))));
        assert_eq!(parse_budget("off"), Ok(Budget(None)));
        for bad in ["1", "0%", "nan%", "101%", "-1%", "%", ""] {
            assert!(parse_budget(bad).is_err(), "{bad}");
        }
    }

    /// Arguments are understood, or there is a sentence.
    fn law(arguments: &[OsString]) {
        if let Err(error) = Cli::try_parse_from([OsString::from("kscope")].iter().chain(arguments)) {
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_fuzzing_has_found_is_understood_or_refused() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/arguments");
        for entry in std::fs::read_dir(dir).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            law(&bytes.split(|&b| b == b'\n').map(|line| OsStr::from_bytes(line).to_owned()).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn any_arguments_are_understood_or_refused(
            given in proptest::collection::vec(prop_oneof![
                "report|doctor|--|--pid|--comm|--cgroup|--only|--for|--format|json|--with|blame|--budget|--interval|--view|--theme|-o|1%|1s|1,2",
                any::<String>(),
            ], 0..6)
        ) {
            law(&given.into_iter().map(OsString::from).collect::<Vec<_>>());
        }

        #[test]
        fn any_text_is_a_time_or_a_sentence(text in ".{0,20}") {
            if let Err(sentence) = parse_time(&text) {
                prop_assert!(!sentence.is_empty());
            }
        }
    }
}
