//! The rows of the table that has the keys: one list for each kind of row, of which one is filled at a time.
//!
//! Not here: what a row is (`rows.rs`, `processes.rs`), its columns (`columns.rs`), or which one is selected.
//!
//! Invariant: the list of the table that has the keys is sorted; the others are empty.

use super::columns;
use super::connections::{self, ConnectionRow};
use super::dead::{self, EndRow, GroupRow};
use super::disk_rows::{self, DiskRow};
use super::everything::EveryList;
use super::history::{History, Look};
use super::page::{self, threads::ThreadRow};
use super::place::Place;
use super::processes::{ProcessList, Who};
use super::rows::errors::ErrorRow;
use super::rows::exemplars::ExemplarRow;
use super::rows::{self, CallRow, ProgramRow, StuckRow};
use super::selection::{Ids, RowId};
use super::tables::{TableId, TableState};
use super::victims::{VictimRow, victims};
use crate::core::ident::ProcessId;

/// The rows, by kind.
#[derive(Debug, Default)]
pub struct Lists {
    /// System calls.
    pub calls: Vec<CallRow>,
    /// Processes.
    pub processes: ProcessList,
    /// Calls that have not returned.
    pub stuck: Vec<StuckRow>,
    /// Connections.
    pub connections: Vec<ConnectionRow>,
    /// Errors.
    pub errors: Vec<ErrorRow>,
    /// Single calls.
    pub exemplars: Vec<ExemplarRow>,
    /// Everything of all processes.
    pub everything: EveryList,
    /// Groups of the dead.
    pub dead: Vec<GroupRow>,
    /// The latest dead of a group.
    pub ends: Vec<EndRow>,
    /// Threads of the process whose page is open.
    pub threads: Vec<ThreadRow>,
    /// Block devices by direction.
    pub disks: Vec<DiskRow>,
    /// Those who waited for a CPU.
    pub victims: Vec<VictimRow>,
    /// kscope's programs.
    pub programs: Vec<ProgramRow>,
}

impl Lists {
    /// Derives the rows of a table, in its order.
    pub fn fill(&mut self, id: TableId, place: Place, table: &TableState, (history, look): (&History, &Look)) {
        self.calls.clear();
        self.processes.clear();
        self.stuck.clear();
        self.connections.clear();
        self.errors.clear();
        self.exemplars.clear();
        self.everything.clear();
        self.dead.clear();
        self.ends.clear();
        self.threads.clear();
        self.disks.clear();
        self.victims.clear();
        self.programs.clear();
        let (text, sort, falling) = (table.text.as_str(), table.sort, table.falling);
        let who = match id {
            TableId::Calls => {
                self.calls = rows::calls(history, look, text);
                return columns::sort(&mut self.calls, columns::CALLS, sort, falling);
            }
            TableId::Stuck => {
                self.stuck = rows::stuck(history, look, text);
                return columns::sort(&mut self.stuck, columns::STUCK, sort, falling);
            }
            TableId::Connections => {
                self.connections = connections::rows(history, look, text);
                return columns::sort(&mut self.connections, columns::CONNECTIONS, sort, falling);
            }
            TableId::Errors => {
                self.errors = rows::errors::errors(history, look, text);
                return columns::sort(&mut self.errors, columns::ERRORS, sort, falling);
            }
            TableId::Exemplars => {
                let of = |listed| rows::exemplars::exemplars(history, look, listed, text);
                self.exemplars = place.singles().map(of).unwrap_or_default();
                return columns::sort(&mut self.exemplars, columns::EXEMPLARS, sort, falling);
            }
            TableId::Threads => {
                self.threads = page::threads::rows(history, look, text);
                return columns::sort(&mut self.threads, columns::THREADS, sort, falling);
            }
            TableId::Disks => {
                self.disks = disk_rows::disks(history, text);
                return columns::sort(&mut self.disks, columns::DISKS, sort, falling);
            }
            TableId::Victims => {
                self.victims = victims(history, look, text, place);
                return columns::sort(&mut self.victims, columns::VICTIMS, sort, falling);
            }
            TableId::Programs => {
                self.programs = rows::programs(history, text);
                return columns::sort(&mut self.programs, columns::PROGRAMS, sort, falling);
            }
            TableId::Everything => return self.everything.list((history, look), text, sort, falling),
            TableId::Dead => {
                self.dead = dead::groups(history, look, text);
                return columns::sort(&mut self.dead, columns::GROUPS, sort, falling);
            }
            TableId::Ends => {
                let group = if let Place::Ends(group) = place { group } else { 0 };
                self.ends = dead::ends(history, group, text);
                return columns::sort(&mut self.ends, columns::ENDS, sort, falling);
            }
            TableId::Who => Who::Everybody,
            TableId::Callers => Who::Callers(place.callers_of().unwrap_or_default()),
            TableId::Delayed => Who::Delayed,
            TableId::Talking => Who::Talking,
            TableId::DiskUsers => Who::OnDisk,
        };
        self.processes.list(history, look, text, who);
        self.processes.sort(columns::of_processes(id), sort, falling);
    }

    /// The identities of the rows of a table.
    pub fn ids(&self, id: TableId) -> &dyn Ids {
        match id {
            TableId::Calls => &self.calls,
            TableId::Stuck => &self.stuck,
            TableId::Connections => &self.connections,
            TableId::Errors => &self.errors,
            TableId::Exemplars => &self.exemplars,
            TableId::Threads => &self.threads,
            TableId::Victims => &self.victims,
            TableId::Programs => &self.programs,
            TableId::Everything => &self.everything,
            TableId::Dead => &self.dead,
            TableId::Ends => &self.ends,
            TableId::Disks => &self.disks,
            TableId::Who | TableId::Callers | TableId::Delayed | TableId::Talking | TableId::DiskUsers => {
                &self.processes
            }
        }
    }

    /// The row at a place of a table.
    pub fn at(&self, id: TableId, index: usize) -> Option<RowId> {
        self.ids(id).at(index)
    }

    /// Whose connection it is, if it is listed and that is known.
    pub fn owner_of(&self, cookie: u64) -> Option<ProcessId> {
        self.connections.iter().find(|row| row.connection.cookie == cookie)?.owner()
    }
}
