//! The rows of the table of connections: one end of each, and the sockets that listen.
//!
//! Not here: their columns (`columns/connections.rs`). Only the newest interval has connections, so nothing is looked back at.

use super::history::{History, Look};
use super::rows::Row;
use super::selection::RowId;
use crate::core::ident::ProcessId;
use crate::probes::connections::stats::{Connection, text};

/// One end of a connection, or a socket that listens.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    /// What is known of it.
    pub connection: Connection,
    /// Name of the process that has it; empty if it is not known.
    pub comm: String,
    /// This end.
    pub local: String,
    /// The other end.
    pub peer: String,
}

impl ConnectionRow {
    /// The process that has it.
    pub const fn owner(&self) -> Option<ProcessId> {
        self.connection.owner
    }

    /// Does any text of it contain `text`, which is in small letters?
    fn contains(&self, text: &str) -> bool {
        let pid = || self.owner().is_some_and(|id| id.pid.to_string().contains(text));
        let words = [self.connection.protocol.word(), self.connection.state.word()];
        text.is_empty()
            || self.comm.to_lowercase().contains(text)
            || self.local.contains(text)
            || self.peer.to_lowercase().contains(text)
            || words.iter().any(|word| word.contains(text))
            || pid()
    }
}

impl Row for ConnectionRow {
    fn id(&self) -> RowId {
        RowId::Connection(self.connection.cookie)
    }

    fn group(&self) -> u8 {
        u8::from(self.connection.is_listening())
    }
}

/// The connections of processes that pass and, if there is no filter, of nobody known.
pub fn rows(history: &History, look: &Look, part: &str) -> Vec<ConnectionRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let snapshot = &tick.snapshot;
    let part = part.to_lowercase();
    let row = |connection: &Connection| {
        let at = connection.owner.and_then(|id| snapshot.processes.binary_search_by_key(&id, |p| p.id).ok());
        let process = at.map(|at| &snapshot.processes[at]);
        let passes = process.map_or(look.filter.is_empty(), |process| look.passes(process));
        passes.then(|| ConnectionRow {
            connection: connection.clone(),
            comm: process.map(|p| p.ident.comm.clone()).unwrap_or_default(),
            local: text(Some(connection.local)),
            peer: connection.peer_text(),
        })
    };
    snapshot.connections.iter().filter_map(row).filter(|row| row.contains(&part)).collect()
}
