//! kscope's programs as the kernel holds them: how many instructions, which helpers, how long a run takes.
//!
//! Instructions are counted after the verifier, which removes what cannot be reached and inlines some helpers. A run
//! executes a part of them. Times are the kernel's own run statistics, which read the clock twice more.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use aya::programs::{ProgramInfo, loaded_programs};
use kscope::kernel::loader;
use kscope::kernel::programs::PROGRAMS;

use crate::loops::{LOOPS, Worker};
use crate::table::markdown;

/// A table of the programs. Loads kscope once more, and runs a few loops beside it for the run times.
pub fn table(time: Duration) -> Result<String> {
    let before: Vec<u32> = loaded_programs().flatten().map(|p| p.id()).collect();
    let loaded = loader::load()?;
    // Statistics cost time themselves: they are on here only.
    let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).ok();
    for l in LOOPS.iter().filter(|l| ["mix", "pipe", "tcp", "fork"].contains(&l.key)) {
        Worker::start(l)?.measure(time)?;
    }
    let programs: Vec<ProgramInfo> = loaded_programs().flatten().filter(|p| !before.contains(&p.id())).collect();
    let mut rows = Vec::new();
    for program in PROGRAMS {
        let Some(info) = programs.iter().find(|p| p.name_as_str() == Some(&program.name[..program.name.len().min(15)]))
        else {
            continue;
        };
        let run = match (info.run_count(), info.run_time()) {
            (0, _) => "–".into(),
            (runs, time) => format!("{:.0}", time.as_nanos() as f64 / runs as f64),
        };
        rows.push(vec![
            format!("`{}`", program.name),
            info.size_translated().map_or("–".into(), |bytes| (bytes / 8).to_string()),
            info.size_jitted().to_string(),
            run,
            helpers(info.id()).unwrap_or_else(|| "–".into()),
        ]);
    }
    drop((statistics, loaded));
    let head = ["Program", "instructions", "bytes of machine code", "ns a run", "helpers called (places)"];
    Ok(markdown(&head.map(String::from), &rows))
}

/// The kernel's functions that a program calls, from `bpftool`. Calls of its own functions (`call pc+193#…`) are none.
fn helpers(id: u32) -> Option<String> {
    let output = Command::new("bpftool").args(["prog", "dump", "xlated", "id", &id.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut count = BTreeMap::<String, u32>::new();
    for name in text.lines().filter_map(|line| line.split_once(") call ")?.1.split('#').next()) {
        if !name.starts_with("pc") {
            *count.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    let parts: Vec<_> = count.iter().map(|(name, n)| format!("{name} {n}")).collect();
    output.status.success().then(|| if parts.is_empty() { "none".into() } else { parts.join(", ") })
}
