//! `kscope report`: measure for a while, or while a command runs, and say once what happened.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::cli::{Format, ReportArgs, With};
use crate::output::{print, say};
use crate::sampler::{self, Message, Request, Start};
use crate::terminal::sampler_panic;
use kscope::core::filter::Filter;
use kscope::core::ident::ProcessId;
use kscope::core::interests::Interests;
use kscope::export::{CommandResult, Report, Scope, to_csv, to_json, to_text};
use kscope::model::Snapshot;
use kscope::privileged::Separated;
use kscope::privileged::command::Waiting;
use kscope::probes::own::stats::Counting;
use kscope::source::{When, procfs_trouble};
use kscope::verdicts::{Facts, Window, verdicts};

/// How long it measures when nothing else is said.
const DEFAULT: Duration = Duration::from_secs(5);
/// Samples are taken this often: what the dead leave behind is collected with each.
const STEP: Duration = Duration::from_millis(500);

/// The same with a budget: windows are a part of it.
const STEP_SAMPLED: Duration = Duration::from_secs(1);
/// Parts that verdicts are made from: the last ones of a long report.
const FACTS: usize = 120;
/// Snapshots that may wait to be added up.
const QUEUE: usize = 4;

/// Runs the command.
pub async fn run(
    args: &ReportArgs,
    filter: &Filter,
    only: &[u32],
    separated: Separated,
    command: Option<Waiting>,
    output: Option<File>,
) -> Result<()> {
    let runs = if args.cost { When::Always } else { When::Never };
    let budget = args.budget.and_then(|budget| budget.0);
    let (messages, mut inbox) = mpsc::channel(QUEUE);
    let (requests, asked) = std::sync::mpsc::sync_channel(1);
    let length = if budget.is_some() { STEP_SAMPLED } else { STEP };
    let begin = Start {
        only: only.to_vec(),
        first: length,
        interval: length,
        runs,
        budget,
        interests: interests(args, filter),
        settle: true,
    };
    for note in &*separated.services.notes {
        say(note);
    }
    sampler::start(begin, separated, messages, asked)?;
    let Some(Message::Begun) = told(inbox.recv().await)? else {
        bail!("nothing was measured: {}", sampler_panic().unwrap_or("no reason is known"))
    };
    if let Some(trouble) = procfs_trouble() {
        say(trouble);
    }
    // Who reads that it measures may ask it to stop.
    let mut stop = Stop::new(args)?;
    say(if args.command.is_empty() { "measuring" } else { "measuring the command" });
    let name = args.command.first().map(OsString::as_os_str).unwrap_or_default();
    let mut child = command.map(|command| Child::start(command, name)).transpose()?;
    let pid = child.as_ref().map(|child| child.pid.as_raw_nonzero().get().unsigned_abs());
    let mut total = Total::new(pid);
    let mut finish = Some(requests);
    let mut status = None;
    loop {
        tokio::select! {
            ended = stop.wait(&mut child), if finish.is_some() => {
                status = ended?;
                // Nothing to add if it is gone already: that shows below.
                let _ = finish.take().map(|requests| requests.send(Request::Finish));
            }
            message = inbox.recv() => match told(message)? {
                Some(Message::Snapshot(part)) => total.add(&part),
                Some(_) => {}
                None => break,
            }
        }
    }
    // What came before a panic is not the whole interval.
    if let Some(panic) = sampler_panic() {
        bail!("the sampler stopped: {panic}");
    }
    let Total { sum, family, facts } = total;
    let sum = sum.ok_or_else(|| anyhow!("nothing was measured"))?;
    let scope = scope(&sum, filter, family);
    let command = pid.map(|pid| result(pid, status));
    write(args, output, &Report::new(&sum, &scope, command, verdicts(&Window::new(facts.iter()))))
}

/// What is measured beside that which always is. What calls in flight wait for is asked once for each, which costs little.
fn interests(args: &ReportArgs, filter: &Filter) -> Interests {
    let with = |what| args.with.contains(&what);
    // One process is looked at more closely.
    let page = if let [pid] = filter.pids[..] { Some(pid) } else { None };
    Interests {
        blame: with(With::Blame),
        connections: with(With::Connections),
        stuck: true,
        page,
        ..Interests::default()
    }
}

/// Says on standard error what is to be said there.
fn told(message: Option<Message>) -> Result<Option<Message>> {
    match &message {
        Some(Message::Note(text)) => say(text),
        Some(Message::Failed(_)) => {}
        _ => return Ok(message),
    }
    match message {
        Some(Message::Failed(error)) => Err(error),
        other => Ok(other),
    }
}

/// What was measured so far.
struct Total {
    sum: Option<Snapshot>,
    family: Option<Family>,
    /// What verdicts are made from, of each part.
    facts: Vec<Facts>,
}

impl Total {
    fn new(command: Option<u32>) -> Self {
        Self { sum: None, family: command.map(Family::new), facts: Vec::new() }
    }

    fn add(&mut self, part: &Snapshot) {
        if let Some(family) = &mut self.family {
            family.grow(part);
        }
        if self.facts.len() == FACTS {
            self.facts.remove(0);
        }
        self.facts.push(Facts::of(part));
        if let Some(sum) = &mut self.sum {
            return sum.append(part);
        }
        if let Counting::Denied(reason) = &part.programs.counting {
            let so = if part.sampling.budget.is_some() { ", so no budget can be kept" } else { "" };
            say(&format!("what the programs cost is not measured{so}. {reason}"));
        }
        self.sum = Some(part.clone());
    }
}

/// The command, while it runs.
struct Child {
    pid: Pid,
    /// Some child of ours has ended.
    ended: Signal,
}

impl Child {
    fn start(command: Waiting, name: &OsStr) -> Result<Self> {
        let (pid, ended) = (command.pid(), signal(SignalKind::child())?);
        command.go().with_context(|| format!("cannot run {}", name.to_string_lossy()))?;
        Ok(Self { pid, ended })
    }

    /// Waits until it has ended; how it did.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some((_, status)) = waitpid(Some(self.pid), WaitOptions::NOHANG)? {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            self.ended.recv().await;
        }
    }
}

/// When to stop.
struct Stop {
    deadline: Option<Instant>,
    interrupt: Signal,
    terminate: Signal,
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

    /// Waits until time is up, the command has ended, or somebody asks to stop; how the command ended.
    async fn wait(&mut self, child: &mut Option<Child>) -> Result<Option<ExitStatus>> {
        let time_is_up = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let ended = async {
            match child {
                Some(child) => child.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = ended => status.context("wait for the command").map(Some),
            _ = self.interrupt.recv() => Ok(None),
            _ = self.terminate.recv() => Ok(None),
            () = time_is_up => Ok(None),
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
    fn grow(&mut self, part: &Snapshot) {
        if self.members.is_empty() {
            // Until the command ends nobody else can have its pid.
            self.members.extend(part.processes.iter().map(|p| p.id).filter(|id| id.pid == self.root));
        }
        loop {
            let before = self.members.len();
            for process in &part.processes {
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
        say(&format!("there was no process {pid} in the interval."));
    }
    if chosen.is_empty() && filter.pids.is_empty() {
        say(&format!("no process matched {filter} in the interval."));
    }
    Scope::Only(chosen)
}

fn result(pid: u32, status: Option<ExitStatus>) -> CommandResult {
    CommandResult { pid, status: status.and_then(|s| s.code()), signal: status.and_then(|s| s.signal()) }
}

fn write(args: &ReportArgs, output: Option<File>, report: &Report) -> Result<()> {
    let text = match args.format {
        Format::Text => to_text(report),
        Format::Json => to_json(report),
        Format::Csv => to_csv(report),
    };
    match output {
        Some(file) => replace(file, &text).with_context(|| {
            format!("cannot write {}", args.output.as_deref().unwrap_or(Path::new("the report")).display())
        }),
        None => print(&text),
    }
}

/// Writes a file anew; one that cannot be emptied, such as a pipe, is written to.
fn replace(mut file: File, text: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}
