//! `kscope report`: measure for a while, or while a command runs, and say once what happened.
//!
//! A command is started right after a sample and followed by the last one. What is said of it is over the time from its
//! beginning to its end; what is said of the host beside it is over the time between those samples, a few ms more.

mod command;
mod family;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::sync::mpsc;

use crate::cli::{Format, ReportArgs, With};
use crate::output::{print, say};
use crate::sampler::{self, Message, Request, Start};
use crate::terminal::sampler_panic;
use kscope::core::filter::Filter;
use kscope::core::ident::ProcessId;
use kscope::core::interests::Interests;
use kscope::export::{Report, Scope, to_csv, to_json, to_text};
use kscope::model::Snapshot;
use kscope::privileged::Separated;
use kscope::privileged::command::Waiting;
use kscope::probes::own::stats::Counting;
use kscope::source::{When, procfs_trouble};
use kscope::verdicts::{Facts, Window, verdicts};

use command::{Launched, Stop, Why, exit_code};
use family::Family;

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

/// Runs the command; the exit status of kscope.
pub async fn run(
    args: &ReportArgs,
    filter: &Filter,
    only: &[u32],
    separated: Separated,
    command: Option<Waiting>,
    output: Option<File>,
) -> Result<ExitCode> {
    let (messages, mut inbox) = mpsc::channel(QUEUE);
    let (requests, asked) = std::sync::mpsc::sync_channel(1);
    for note in &*separated.services.notes {
        say(note);
    }
    sampler::start(begin(args, filter, only), separated, messages, asked)?;
    let Some(Message::Begun) = told(inbox.recv().await)? else {
        bail!("nothing was measured: {}", sampler_panic().unwrap_or("no reason is known"))
    };
    if let Some(trouble) = procfs_trouble() {
        say(trouble);
    }
    // Who reads that it measures may ask it to stop.
    let mut stop = Stop::new()?;
    let mut child = match command {
        None => {
            say("measuring");
            stop.begin(Some(args.duration.unwrap_or(DEFAULT)));
            None
        }
        Some(command) => {
            // The first sample took long, and what came after it is not the command's.
            let _ = requests.send(Request::Cut);
            while !matches!(told(inbox.recv().await)?, Some(Message::Snapshot(_)) | None) {}
            say("measuring the command");
            let name = args.command.first().map(OsString::as_os_str).unwrap_or_default();
            let launched = Launched::start(command, name, args.children)?;
            stop.begin(args.duration);
            Some(launched)
        }
    };
    let mut total = Total::new(child.as_ref());
    let mut finish = Some(requests);
    let mut why = None;
    loop {
        tokio::select! {
            stopped = stop.wait(child.as_mut()), if finish.is_some() => {
                why = Some(stopped?);
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
    if let Some(child) = child.as_mut().filter(|_| why == Some(Why::Asked)) {
        child.end_of_the_same().await;
    }
    let scope = scope(&sum, filter, family);
    let command = child.map(|child| child.result(sum.at_ns));
    write(args, output, &Report::new(&sum, &scope, command, verdicts(&Window::new(facts.iter()))))?;
    Ok(command.map_or(ExitCode::SUCCESS, |command| exit_code(&command)))
}

/// What the sampler begins with.
fn begin(args: &ReportArgs, filter: &Filter, only: &[u32]) -> Start {
    let budget = args.budget.and_then(|budget| budget.0);
    let length = if budget.is_some() { STEP_SAMPLED } else { STEP };
    Start {
        only: only.to_vec(),
        first: length,
        interval: length,
        runs: if args.cost { When::Always } else { When::Never },
        budget,
        interests: interests(args, filter),
        settle: true,
    }
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
    fn new(command: Option<&Launched>) -> Self {
        let family = command.map(|command| Family::new(command.pid, command.began.boottime_ns));
        Self { sum: None, family, facts: Vec::new() }
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

fn scope(total: &Snapshot, filter: &Filter, family: Option<Family>) -> Scope {
    if let Some(family) = family {
        return Scope::Only(family.into_members());
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
