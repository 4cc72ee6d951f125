//! Rows of errors: a process, a call, and what it returned.

use std::borrow::Cow;

use super::Row;
use crate::core::ident::ProcessId;
use crate::probes::errors::names;
use crate::probes::syscalls::names::name;
use crate::ui::history::{History, Look};
use crate::ui::selection::RowId;

/// An error of a call in a process.
#[derive(Clone, Debug)]
pub struct ErrorRow {
    /// The process.
    pub id: ProcessId,
    /// Its name.
    pub comm: String,
    /// It ended in the interval.
    pub exited: bool,
    /// Number of the call.
    pub nr: u32,
    /// Its name.
    pub call: Cow<'static, str>,
    /// The error, positive.
    pub errno: u32,
    /// Its name.
    pub error: Cow<'static, str>,
    /// What it means.
    pub meaning: &'static str,
    /// How often in the interval.
    pub count: u64,
    /// Which part of these calls of the process, 0…1.
    pub share: f64,
}

impl Row for ErrorRow {
    fn id(&self) -> RowId {
        RowId::Error(self.id, self.nr, self.errno)
    }

    fn group(&self) -> u8 {
        0
    }
}

/// The errors of the newest interval, and those of the last ones with zeros, of processes that pass.
pub fn errors(history: &History, look: &Look, text: &str) -> Vec<ErrorRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let snapshot = &tick.snapshot;
    let text = text.to_lowercase();
    let row = |(id, nr, errno)| {
        let process = snapshot.processes.binary_search_by_key(&id, |p| p.id).ok();
        let process = &snapshot.processes[process?];
        let found = snapshot.errors.of(id).iter().find(|e| (e.nr, e.errno) == (nr, errno));
        let count = found.map_or(0, |e| e.count);
        let call = process.calls.binary_search_by_key(&nr, |c| c.nr).ok();
        let made = call.map_or(0, |at| process.calls[at].latency.count());
        let share = if made == 0 { 0.0 } else { count as f64 / made as f64 };
        look.passes(process).then(|| ErrorRow {
            id,
            comm: process.ident.comm.clone(),
            exited: process.exited,
            nr,
            call: name(nr),
            errno,
            error: names::name(errno),
            meaning: names::meaning(errno),
            count,
            share,
        })
    };
    let has = |t: &str| t.to_lowercase().contains(&text);
    let shown = |row: &ErrorRow| {
        has(&row.comm) || has(&row.call) || has(&row.error) || has(row.meaning) || has(&row.id.pid.to_string())
    };
    history.kept().failing().filter_map(row).filter(|row| text.is_empty() || shown(row)).collect()
}
