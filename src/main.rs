//! The kscope program: arguments in, exit status out. What it does is in `run.rs` (the dashboard) and `report.rs`.

mod cli;
mod report;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use clap::error::ErrorKind;

use cli::{Cli, Command, FilterArgs};
use kscope::core::filter::Filter;
use kscope::kernel::advice::LoadError;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return ExitCode::from(if asked { 0 } else { 2 });
        }
    };
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kscope: {error:#}.");
            if let Some(load) = error.downcast_ref::<LoadError>() {
                eprintln!("        {}", load.advice());
            }
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    match &cli.command {
        Some(Command::Report(args)) => runtime.block_on(report::run(args, &filter(&args.filter))),
        None => Ok(()),
    }
}

fn filter(args: &FilterArgs) -> Filter {
    Filter::new(args.pid.clone(), args.comm.as_deref(), args.cgroup.as_deref())
}
