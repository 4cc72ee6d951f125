//! The kscope program: arguments in, exit status out. What it does is in `run.rs` (the dashboard) and `report.rs`.

mod cli;
mod config;
mod doctor;
mod failure;
mod log;
mod output;
mod report;
mod run;
mod sampler;
mod terminal;

use std::ffi::OsStr;
use std::fs::File;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use clap::error::ErrorKind;

use cli::{Cli, Command, FilterArgs};
use failure::{BadInput, NotStarted};
use kscope::core::filter::Filter;
use kscope::core::units::{printable, printable_lines};
use kscope::kernel::advice::LoadError;
use kscope::kernel::ladder;
use kscope::privileged::command::{Moment, Waiting};
use kscope::privileged::rights::Caller;
use kscope::privileged::{self, Separated, files};
use kscope::source::{boottime_ns, monotonic_ns};
use kscope_layout::MAX_ONLY;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // It quotes what was given. With colours it would quote it as it is.
            if std::env::args_os().all(|given| is_printable(&given)) {
                // A closed pipe is no reason to fail.
                let _ = error.print();
            } else {
                output::raw(&printable_lines(&error.to_string()));
            }
            return ExitCode::from(if asked { 0 } else { 2 });
        }
    };
    terminal::give_back_on_panic();
    match catch_unwind(|| start(&cli).and_then(|code| log::check().map(|()| code))) {
        Ok(Ok(code)) => code,
        // The panic hook has given the terminal back and said what happened.
        Err(_) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            // Paths and names that were given are in it.
            output::say(&format!("{}.", printable_lines(&format!("{error:#}"))));
            if let Some(load) = error.downcast_ref::<LoadError>() {
                output::advise(&load.advice());
            }
            let not_started = error.downcast_ref::<NotStarted>().map(NotStarted::status);
            ExitCode::from(not_started.unwrap_or(if error.is::<BadInput>() { 2 } else { 1 }))
        }
    }
}

/// Does what was asked for; the exit status.
fn start(cli: &Cli) -> Result<ExitCode> {
    log::to(cli.dashboard.log.as_deref())?;
    if let Some(hook) = cli.dashboard.from_hook {
        ladder::begin_at(hook);
    }
    match &cli.command {
        Some(Command::Report(args)) => {
            let only = only(&args.filter)?;
            if !only.is_empty() && !args.command.is_empty() {
                return Err(BadInput(
                    "--only measures the processes of --pid, so a command would not be measured".into(),
                )
                .into());
            }
            let command = Waiting::fork(&args.command, args.children, now).context("cannot start the command")?;
            let output = args.output.as_deref().map(|path| create(path, "the report")).transpose()?;
            let separated = separate(cli, &only, Vec::new())?;
            runtime()?.block_on(report::run(args, &filter(&args.filter), &only, separated, command, output))
        }
        Some(Command::Doctor(args)) => doctor::run(*args).map(|()| ExitCode::SUCCESS),
        None => {
            let only = only(&cli.dashboard.filter)?;
            let prepared = run::prepare(&cli.dashboard, filter(&cli.dashboard.filter))?;
            let separated = separate(cli, &only, prepared.reads())?;
            runtime()?.block_on(run::run(prepared, only, separated)).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Starts the processes that have rights, and gives up those of this one.
fn separate(cli: &Cli, only: &[u32], reads: Vec<PathBuf>) -> Result<Separated> {
    privileged::separate(only, !cli.dashboard.no_ptrace, reads)
        .context("cannot separate what needs rights from the rest")
}

/// A file that the user asked for, for whoever called.
fn create(path: &Path, what: &str) -> Result<File> {
    files::create(path, Caller::of_sudo()).with_context(|| format!("cannot write {what} {}", path.display()))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")
}

fn now() -> Moment {
    Moment { monotonic_ns: monotonic_ns(), boottime_ns: boottime_ns() }
}

fn is_printable(given: &OsStr) -> bool {
    given.to_str().is_some_and(|text| printable(text) == text)
}

/// The processes that alone are to be measured; none for all.
fn only(args: &FilterArgs) -> Result<Vec<u32>> {
    if !args.only {
        return Ok(Vec::new());
    }
    let Filter { pids, .. } = filter(args);
    if pids.len() > MAX_ONLY {
        return Err(BadInput(format!("--only takes at most {MAX_ONLY} processes, and {} are given", pids.len())).into());
    }
    Ok(pids)
}

fn filter(args: &FilterArgs) -> Filter {
    Filter::new(args.pid.clone(), args.comm.as_deref(), args.cgroup.as_deref())
}
