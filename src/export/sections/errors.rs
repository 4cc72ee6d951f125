//! System calls that failed, and who runs in circles.

use std::cmp::Reverse;
use std::fmt::Write as _;

use serde::Serialize;

use super::super::report::Scope;
use crate::core::quality::Quality;
use crate::core::units::{count, printable};
use crate::model::Snapshot;
use crate::probes::errors::names;
use crate::probes::errors::spin::spins;
use crate::probes::errors::stats::ErrorCount;
use crate::probes::syscalls::names::name;

/// Rows of the table for people.
const ROWS: usize = 12;

/// How often a call of a process returned an error.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Process id.
    pub pid: u32,
    /// Name of the process.
    pub comm: String,
    /// Name of the call.
    pub call: String,
    /// The error, positive.
    pub errno: u32,
    /// Its name.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// A process that runs in circles.
#[derive(Clone, Debug, Serialize)]
pub struct SpinRow {
    /// Process id.
    pub pid: u32,
    /// Name of the process.
    pub comm: String,
    /// How, such as `eagain_loop`.
    pub kind: &'static str,
    /// Name of the call.
    pub call: String,
    /// How often a second.
    pub per_s: f64,
    /// Which part of these calls.
    pub share: f64,
    /// The same in words.
    pub sentence: String,
}

/// The rows, the most often first.
pub fn rows(snapshot: &Snapshot, scope: &Scope) -> Option<Vec<Row>> {
    if snapshot.qualities.errors == Quality::NotAvailable {
        return None;
    }
    let mut errors: Vec<&ErrorCount> = snapshot.errors.by_process.iter().filter(|e| scope.holds(e.id)).collect();
    errors.sort_by_key(|e| (Reverse(e.count), e.id, e.nr, e.errno));
    let row = |e: &ErrorCount| Row {
        pid: e.id.pid,
        comm: snapshot.comm(e.id).to_owned(),
        call: name(e.nr).into_owned(),
        errno: e.errno,
        name: names::name(e.errno).into_owned(),
        count: e.count,
    };
    Some(errors.into_iter().map(row).collect())
}

/// Who runs in circles, the most often first.
pub fn spin_rows(snapshot: &Snapshot, scope: &Scope) -> Option<Vec<SpinRow>> {
    let quality = snapshot.qualities.errors;
    if quality == Quality::NotAvailable {
        return None;
    }
    let found = spins(snapshot, |process| scope.holds(process.id));
    let row = |spin: &crate::probes::errors::spin::Spin| SpinRow {
        pid: spin.id.pid,
        comm: spin.comm.clone(),
        kind: spin.kind.word(),
        call: name(spin.nr).into_owned(),
        per_s: spin.per_s,
        share: spin.share,
        sentence: spin.sentence(quality.mark()),
    };
    Some(found.iter().map(row).collect())
}

/// The sentences, then the most frequent errors.
pub fn write(rows: Option<&[Row]>, spins: Option<&[SpinRow]>, mark: &str, out: &mut String) {
    let Some(rows) = rows else {
        let _ = writeln!(out, "\nErrors  – not measured");
        return;
    };
    let all: u64 = rows.iter().map(|row| row.count).fold(0, u64::saturating_add);
    let _ = writeln!(out, "\nErrors  {mark}{}", count(all));
    for spin in spins.unwrap_or_default() {
        let _ = writeln!(out, "  {}", printable(&spin.sentence));
    }
    for row in rows.iter().take(ROWS) {
        let who = format!("{} {}", row.pid, printable(&row.comm));
        let error = format!("{} ({})", row.name, names::meaning(row.errno));
        let _ = writeln!(out, "  {:>9}  {:<18} {who:<24} {error}", format!("{mark}{}", count(row.count)), row.call);
    }
    if rows.len() > ROWS {
        let _ = writeln!(out, "  … and {} more", rows.len() - ROWS);
    }
}
