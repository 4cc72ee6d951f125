//! `kscope report`: measure for a while, or while a command runs, and say once what happened.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::cli::{Format, ReportArgs};
use kscope::core::filter::Filter;
use kscope::core::ident::ProcessId;
use kscope::export::{CommandResult, Report, Scope, to_csv, to_json, to_text};
use kscope::kernel::loader;
use kscope::model::{Sample, Snapshot};
use kscope::probes::own::stats::Counting;
use kscope::source::{Live, Source as _, When};

/// How long it measures when nothing else is said.
const DEFAULT: Duration = Duration::from_secs(5);
/// Samples are taken this often: what the dead leave behind is collected with each.
const STEP: Duration = Duration::from_millis(500);

/// Runs the command.
pub async fn run(args: &ReportArgs, filter: &Filter) -> Result<()> {
    let runs = if args.cost { When::Always } else { When::Never };
    let mut source = Live::new(loader::load()?, runs);
    let mut stop = Stop::new(args)?;
    let mut prev = source.sample()?;
    if let Counting::Denied(reason) = &prev.programs.counting {
        eprintln!("kscope: the programs' cost is not measured. {reason}");
    }
    eprintln!("kscope: measuring{}", if args.command.is_empty() { "" } else { " the command" });
    let mut child = start(&args.command)?;
    let pid = child.as_ref().and_then(Child::id);
    let mut family = pid.map(Family::new);
    let mut sum: Option<Snapshot> = None;
    let mut status = None;
    let mut over = false;
    while !over {
        (status, over) = stop.step(&mut child).await?;
        let next = source.sample()?;
        if let Some(family) = &mut family {
            family.grow(&next);
        }
        let part = Snapshot::between(&prev, &next);
        match &mut sum {
            Some(sum) => sum.append(&part),
            None => sum = Some(part),
        }
        prev = next;
    }
    drop(source);
    let total = sum.ok_or_else(|| anyhow!("nothing was measured"))?;
    let scope = scope(&total, filter, family);
    let command = pid.map(|pid| result(pid, status));
    write(args, &Report::new(&total, &scope, command))
}

fn start(command: &[std::ffi::OsString]) -> Result<Option<Child>> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    // Standard output is the report's alone, so the command's goes where messages go.
    let output = rustix::io::dup(std::io::stderr()).context("duplicate standard error")?;
    let child = Command::new(in_path(program).as_deref().unwrap_or(program.as_ref()))
        .arg0(program)
        .args(arguments)
        .stdout(Stdio::from(output))
        .spawn()
        .with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
    Ok(Some(child))
}

/// Where a program named without a path is. Found before it is started, or every directory that does not have it would be a
/// failed `execve` in the report.
fn in_path(program: &OsStr) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    let is_program =
        |file: &PathBuf| file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(is_program)
}

/// When to take the next sample, and when to stop.
struct Stop {
    deadline: Option<Instant>,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn new(args: &ReportArgs) -> Result<Self> {
        let duration = args.duration.or(args.command.is_empty().then_some(DEFAULT));
        Ok(Self {
            deadline: duration.map(|d| Instant::now() + d),
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next step. `true` when it is the last: time is up, the command ended, or somebody asked to stop.
    async fn step(&mut self, child: &mut Option<Child>) -> Result<(Option<ExitStatus>, bool)> {
        let step = Instant::now() + STEP;
        let until = self.deadline.map_or(step, |deadline| deadline.min(step));
        let ended = async {
            match child {
                Some(child) => child.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = ended => Ok((Some(status.context("wait for the command")?), true)),
            _ = self.interrupt.recv() => Ok((None, true)),
            _ = self.terminate.recv() => Ok((None, true)),
            () = sleep_until(until) => Ok((None, self.deadline.is_some_and(|deadline| until >= deadline))),
        }
    }
}

/// A command and the processes it started, however short they lived.
struct Family {
    root: u32,
    members: HashSet<ProcessId>,
}

impl Family {
    fn new(root: u32) -> Self {
        Self { root, members: HashSet::new() }
    }

    /// Takes in new children of members, and their children.
    fn grow(&mut self, sample: &Sample) {
        if self.members.is_empty() {
            // Until the command ends nobody else can have its pid.
            self.members.extend(sample.processes.iter().map(|p| p.id).filter(|id| id.pid == self.root));
        }
        loop {
            let before = self.members.len();
            for process in &sample.processes {
                if process.parent.is_some_and(|parent| self.members.contains(&parent)) {
                    self.members.insert(process.id);
                }
            }
            if self.members.len() == before {
                return;
            }
        }
    }
}

fn scope(total: &Snapshot, filter: &Filter, family: Option<Family>) -> Scope {
    if let Some(family) = family {
        return Scope::Only(family.members);
    }
    if filter.is_empty() {
        return Scope::Host;
    }
    let chosen: HashSet<ProcessId> = total
        .processes
        .iter()
        .filter(|p| filter.matches(p.id.pid, &p.ident.comm, &p.ident.cgroup))
        .map(|p| p.id)
        .collect();
    for pid in filter.pids.iter().filter(|pid| !chosen.iter().any(|id| id.pid == **pid)) {
        eprintln!("kscope: there was no process {pid} in the interval.");
    }
    if chosen.is_empty() && filter.pids.is_empty() {
        eprintln!("kscope: no process matched {filter} in the interval.");
    }
    Scope::Only(chosen)
}

fn result(pid: u32, status: Option<ExitStatus>) -> CommandResult {
    CommandResult { pid, status: status.and_then(|s| s.code()), signal: status.and_then(|s| s.signal()) }
}

fn write(args: &ReportArgs, report: &Report) -> Result<()> {
    let text = match args.format {
        Format::Text => to_text(report),
        Format::Json => to_json(report),
        Format::Csv => to_csv(report),
    };
    match &args.output {
        Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
        None => match std::io::stdout().lock().write_all(text.as_bytes()) {
            // The reader has gone (`kscope report | head`): it has what it wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot write to standard output"),
        },
    }
}
