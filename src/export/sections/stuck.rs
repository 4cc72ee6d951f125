//! Calls in flight at the end of a report.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::report::Scope;
use crate::core::quality::Quality;
use crate::core::units::{duration, printable};
use crate::model::Snapshot;
use crate::probes::stuck::stats::InFlight;
use crate::probes::syscalls::names::{name, waits};

/// Rows of the table for people.
const ROWS: usize = 10;
/// A call for people is worth a row from this age on, ns.
const OLD_NS: u64 = 100_000_000;

/// A call in flight.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name of the process.
    pub comm: String,
    /// Name of the call.
    pub syscall: String,
    /// How long ago it was entered.
    pub age_ns: u64,
    /// What the age is worth.
    pub age_quality: Quality,
    /// `R` works, `S` sleeps, `D` sleeps uninterruptibly.
    pub state: &'static str,
    /// It waits by design.
    pub idle: bool,
    /// What it waits for, empty where that is not known.
    pub on: String,
    /// The kernel function it sleeps in, empty where that is not known.
    pub wchan: String,
}

/// The rows, oldest first. kscope itself is left out.
pub fn rows(snapshot: &Snapshot, scope: &Scope) -> Vec<Row> {
    let row = |call: &InFlight| {
        let at = snapshot.processes.binary_search_by_key(&call.process, |p| p.id).ok();
        let comm = at.map(|at| snapshot.processes[at].ident.comm.clone()).unwrap_or_default();
        let detail = call.detail.as_deref().cloned().unwrap_or_default();
        (scope.holds(call.process) && call.process.pid != snapshot.own.pid).then(|| Row {
            pid: call.process.pid,
            tid: call.tid,
            comm,
            syscall: name(call.nr).into_owned(),
            age_ns: call.age_ns,
            age_quality: call.age_quality,
            state: call.state.letter(),
            idle: waits(call.nr),
            on: detail.on,
            wchan: detail.wchan,
        })
    };
    snapshot.inflight.iter().filter_map(row).collect()
}

/// The oldest of those that do not wait by design.
pub fn write(rows: &[Row], out: &mut String) {
    let stuck = || rows.iter().filter(|row| !row.idle && row.age_ns >= OLD_NS);
    let idle = rows.iter().filter(|row| row.idle).count();
    let _ = writeln!(out, "\nStuck at the end  {} calls; {idle} more wait by design", stuck().count());
    for row in stuck().take(ROWS) {
        let age = format!("{}{}", row.age_quality.mark(), duration(row.age_ns));
        let who = format!("{} {}", row.tid, printable(&row.comm));
        let on = printable(&row.on);
        let _ = writeln!(out, "  {age:>10}  {}  {who:<24} {:<16} {on}  {}", row.state, row.syscall, row.wchan);
    }
}
