//! The slowest single calls of a report.

use std::cmp::Reverse;
use std::fmt::Write as _;

use serde::Serialize;

use super::super::report::Scope;
use crate::core::quality::Quality;
use crate::core::units::{duration, printable};
use crate::model::Snapshot;
use crate::probes::errors::names;
use crate::probes::exemplars::arguments::{arguments, result};
use crate::probes::exemplars::stats::Exemplar;
use crate::probes::syscalls::names::{name, waits};

/// Of each call so many.
const OF_CALL: usize = 3;
/// Rows of the table for people.
const ROWS: usize = 10;

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the call.
    pub call: String,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name of the process.
    pub comm: String,
    /// When it returned, seconds since 1970.
    pub unix_s: f64,
    /// How long it took.
    pub latency_ns: u64,
    /// Part of it spent blocked.
    pub blocked_ns: u64,
    /// Part of it spent waiting for a CPU.
    pub runnable_ns: u64,
    /// What it returned.
    pub result: i64,
    /// The name of the error, if it was one.
    pub error: Option<String>,
    /// Its arguments as they were in the registers.
    pub args: [u64; 6],
    /// The path or address it was given, empty where there is none, or where it could not be read.
    pub text: String,
    /// What its first descriptor was open on shortly after; empty where that is not known.
    pub file: String,
    /// Arguments and result for people.
    pub shown: String,
    /// It waits by design.
    pub idle: bool,
}

/// The slowest of each call, by call.
pub fn rows(snapshot: &Snapshot, scope: &Scope) -> Option<Vec<Row>> {
    if snapshot.qualities.syscalls == Quality::NotAvailable {
        return None;
    }
    let of_calls = snapshot.exemplars.list().chunk_by(|a, b| a.nr == b.nr);
    let slowest = of_calls.flat_map(|of| of.iter().filter(|e| scope.holds(e.id)).take(OF_CALL));
    Some(slowest.map(|exemplar| row(exemplar)).collect())
}

fn row(exemplar: &Exemplar) -> Row {
    Row {
        call: name(exemplar.nr).into_owned(),
        pid: exemplar.id.pid,
        tid: exemplar.tid,
        comm: exemplar.comm.to_string(),
        unix_s: exemplar.unix_s,
        latency_ns: exemplar.latency_ns,
        blocked_ns: exemplar.blocked_ns,
        runnable_ns: exemplar.runnable_ns,
        result: exemplar.result,
        error: exemplar.errno().map(|errno| names::name(errno).into_owned()),
        args: exemplar.args,
        text: exemplar.text.clone(),
        file: exemplar.file.clone(),
        shown: format!("{} = {}", arguments(exemplar), result(exemplar)),
        idle: waits(exemplar.nr),
    }
}

/// The slowest of those that do not wait by design.
pub fn write(rows: Option<&[Row]>, out: &mut String) {
    let mut slowest: Vec<&Row> = rows.unwrap_or_default().iter().filter(|row| !row.idle).collect();
    slowest.sort_by_key(|row| Reverse(row.latency_ns));
    if slowest.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nSlowest calls  (blocked and waiting for a CPU are parts; ~ was asked later)");
    let _ = writeln!(out, "  {:>9} {:>9} {:>9}", "took", "blocked", "waited");
    for row in slowest.iter().take(ROWS) {
        let parts = [row.latency_ns, row.blocked_ns, row.runnable_ns].map(|ns| format!("{:>9}", duration(ns)));
        let who = format!("{} {}", row.tid, printable(&row.comm));
        let _ = writeln!(out, "  {}  {who:<22} {} {}", parts.join(" "), row.call, printable(&row.shown));
    }
}
