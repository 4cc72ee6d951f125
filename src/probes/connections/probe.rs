//! Reads the connections: what the programs counted, what the kernel lists, and whose they are.
//!
//! The counts are read first and the lists after them: a UDP socket that has moved bytes and is in no list then is gone. (Of
//! TCP the programs see the end.)
//!
//! Invariant: an entry is removed from the map only after it was read as closed, and with its last bytes.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::{fs, io};

use bytemuck::bytes_of;
use kscope_layout::RecordKey;
use kscope_layout::connections as layout;

use super::diag::{Diag, Socket, Table, address};
use super::names::Names;
use super::owners::Owners;
use super::stats::{Connection, Protocol, State, plain};
use crate::core::ident::ProcessId;
use crate::kernel::maps::Hash;
use crate::model::ProcessSample;
use crate::privileged::Services;
use crate::privileged::names::Book;

/// Sockets that are read of the kernel's lists.
const MOST_LISTED: usize = 16_384;
/// A closed entry is removed so much later, ns: until then another CPU may still be adding to it.
const SETTLED_NS: u64 = 10_000_000;
/// A TCP socket that is in no list and rested so long, ns, ended without being seen: while programs were being attached.
const UNSEEN_NS: u64 = 1_000_000_000;
/// What the kernel does not list for us, such as UDP of another network namespace, counts as gone when it rested so long, ns.
const IDLE_NS: u64 = 60_000_000_000;

/// The map of the programs.
pub type ConnectionMap = Hash<u64, layout::Connection>;

/// What one sample found.
#[derive(Debug, Default)]
pub struct Reading {
    /// All connections, by cookie.
    pub list: Vec<Connection>,
    /// Why some are not in it, as a sentence.
    pub trouble: Option<String>,
    /// Entries of the map in use.
    pub used: usize,
}

/// Reads connections, one sample after the other.
#[derive(Debug)]
pub struct ConnectionReader {
    diag: Option<Diag>,
    owners: Owners,
    /// What a socket was like when it was first listed, by cookie.
    first: HashMap<u64, First>,
    /// Number of our own network namespace.
    netns: u32,
    /// Names of peers, while they are wanted.
    names: Option<Names>,
    /// Who looks them up.
    book: Book,
}

impl Default for ConnectionReader {
    fn default() -> Self {
        let netns = fs::metadata("/proc/self/ns/net").map_or(0, |ns| u32::try_from(ns.ino()).unwrap_or(0));
        Self { diag: None, owners: Owners::default(), first: HashMap::new(), netns, names: None, book: Book::default() }
    }
}

/// A socket when it was first listed.
#[derive(Clone, Copy, Debug)]
struct First {
    at_ns: u64,
    /// How often it had sent something again.
    retransmits: u32,
}

/// What the programs counted, by cookie.
pub type Counted = HashMap<u64, layout::Connection>;
type Listed = HashMap<u64, Socket>;

impl ConnectionReader {
    /// One that looks for owners and for names with the help of these.
    pub fn new(services: &Services) -> Self {
        let Services { eyes, book, .. } = services.clone();
        Self { owners: Owners::new(eyes), book, ..Self::default() }
    }

    /// Reads all connections at `now_ns`: those that were counted in the map, and what the kernel lists; without a map what
    /// it lists alone. `processes` is that sample's, ordered; if `only` names pids, then only theirs.
    pub fn read(
        &mut self,
        map: Option<(&ConnectionMap, Counted)>,
        now_ns: u64,
        (processes, only): (&[ProcessSample], &[u32]),
    ) -> io::Result<Reading> {
        let (mut counted, map) = match map {
            Some((map, counted)) => (counted, Some(map)),
            None => (Counted::new(), None),
        };
        let used = counted.len();
        let (listed, complete, trouble) = self.listed();
        if let Some(map) = map {
            self.retire(map, &mut counted, |cookie| complete && !listed.contains_key(cookie), now_ns)?;
        }
        self.first.retain(|cookie, _| listed.contains_key(cookie));
        for (cookie, socket) in &listed {
            let known = counted.get(cookie).is_none_or(|c| c.opened == 0);
            let retransmits = socket.path.filter(|_| known).map_or(0, |path| path.retransmits_ever);
            self.first.entry(*cookie).or_insert(First { at_ns: now_ns, retransmits });
        }
        let living: Vec<ProcessId> =
            processes.iter().filter(|p| p.threads > 0 && !p.ident.kthread).map(|p| p.id).collect();
        let ownerless = listed.iter().filter(|(cookie, _)| {
            counted.get(cookie).and_then(owner).is_none_or(|id| living.binary_search(&id).is_err())
        });
        let inodes: HashSet<u32> = ownerless.map(|(_, socket)| socket.inode).filter(|inode| *inode != 0).collect();
        self.owners.search(&inodes, &living);
        let mut cookies: Vec<u64> = counted.keys().chain(listed.keys()).copied().collect();
        cookies.sort_unstable();
        cookies.dedup();
        let mut list: Vec<Connection> = cookies
            .into_iter()
            .filter_map(|cookie| self.joined(cookie, (counted.get(&cookie), listed.get(&cookie)), now_ns))
            .collect();
        self.name(&mut list);
        if !only.is_empty() {
            list.retain(|c| c.owner.is_some_and(|id| only.contains(&id.pid)));
        }
        Ok(Reading { list, trouble, used })
    }

    /// Asks for the names of peers from now on, or not any more.
    pub fn want_names(&mut self, wanted: bool) -> io::Result<()> {
        if wanted != self.names.is_some() {
            self.names = if wanted { Some(Names::start(self.book.clone())?) } else { None };
        }
        Ok(())
    }

    fn name(&mut self, list: &mut [Connection]) {
        let Some(names) = &mut self.names else { return };
        names.refresh();
        for connection in list {
            connection.peer_name = connection.peer.and_then(|peer| names.of(peer.ip()));
        }
    }

    /// Nobody looks any more: forgets everything, in the map as well. Its programs must be detached.
    pub fn rest(&mut self, map: &mut ConnectionMap) -> io::Result<()> {
        *self = Self::default();
        for cookie in counted(map)?.into_keys() {
            map.remove(&cookie)?;
        }
        Ok(())
    }

    /// What the kernel lists, whether that is everything, and if not, why.
    fn listed(&mut self) -> (Listed, bool, Option<String>) {
        let mut listed = Listed::new();
        let mut trouble = None;
        for table in Table::ALL {
            if let Err(error) = self.list(table, &mut listed) {
                let what = table.protocol().word();
                trouble = Some(format!("The kernel does not list all sockets of {what}: {error}."));
            }
        }
        if listed.len() >= MOST_LISTED {
            trouble = Some(format!("There are more than {MOST_LISTED} sockets: some are not listed."));
        }
        (listed, trouble.is_none(), trouble)
    }

    fn list(&mut self, table: Table, into: &mut Listed) -> io::Result<()> {
        let mut diag = match self.diag.take() {
            Some(diag) => diag,
            None => Diag::open()?,
        };
        diag.list(table, |socket| {
            into.insert(socket.cookie, socket);
            into.len() < MOST_LISTED
        })?;
        self.diag = Some(diag);
        Ok(())
    }

    /// Removes from the map what is over, with its last bytes.
    pub(crate) fn retire(
        &self,
        map: &ConnectionMap,
        counted: &mut Counted,
        unlisted: impl Fn(&u64) -> bool,
        now_ns: u64,
    ) -> io::Result<()> {
        for (cookie, connection) in counted {
            let gone = connection.closed_ns == 0 && self.is_gone(connection, unlisted(cookie), now_ns);
            let settled = connection.closed_ns != 0 && connection.closed_ns.saturating_add(SETTLED_NS) < now_ns;
            if !gone && !settled {
                continue;
            }
            if let Some(last) = map.take(cookie)? {
                *connection = last;
            }
            connection.state = layout::tcp_state::CLOSE;
            if connection.closed_ns == 0 {
                connection.closed_ns = now_ns;
            }
        }
        Ok(())
    }

    /// Did a socket end of whose end no program tells?
    fn is_gone(&self, connection: &layout::Connection, unlisted: bool, now_ns: u64) -> bool {
        let rested_ns = now_ns.saturating_sub(connection.last_ns);
        match (Protocol::of(connection.protocol), self.is_elsewhere(connection)) {
            (Protocol::Udp, false) => unlisted,
            (Protocol::Tcp, false) => unlisted && rested_ns > UNSEEN_NS,
            (Protocol::Tcp, true) => false,
            (Protocol::Udp, true) | (Protocol::Other, _) => rested_ns > IDLE_NS,
        }
    }

    fn is_elsewhere(&self, connection: &layout::Connection) -> bool {
        connection.netns != 0 && connection.netns != self.netns
    }

    /// One connection out of what was counted and what is listed of it.
    pub(crate) fn joined(
        &self,
        cookie: u64,
        (counted, listed): (Option<&layout::Connection>, Option<&Socket>),
        now_ns: u64,
    ) -> Option<Connection> {
        let first_ns = counted.map(|c| c.first_ns);
        let first = self.first.get(&cookie);
        let seen_ns = first.map(|f| f.at_ns).into_iter().chain(first_ns).min()?;
        let holder = listed.and_then(|l| self.owners.of(l.inode));
        let protocol = listed.map(|l| l.protocol).or_else(|| Some(Protocol::of(counted?.protocol)))?;
        let closed_ns = counted.map(|c| c.closed_ns).filter(|closed| *closed != 0);
        let end_ns = closed_ns.unwrap_or(now_ns);
        let state = listed.filter(|_| closed_ns.is_none()).map(|l| l.state);
        let ever = listed.and_then(|l| l.path).map_or(0, |path| path.retransmits_ever);
        Some(Connection {
            cookie,
            since_ns: first_ns.unwrap_or(0),
            // One that holds it lives; who used it last may be gone.
            owner: holder.or_else(|| counted.and_then(owner)),
            protocol,
            local: listed.map(|l| l.local).or_else(|| local(counted?))?,
            peer: listed.map_or_else(|| peer(counted?), |l| l.peer),
            peer_name: None,
            state: state.or_else(|| Some(state_of(counted?, protocol)))?,
            age_ns: end_ns.saturating_sub(seen_ns),
            age_is_exact: counted.is_some_and(|c| c.opened != 0),
            tx_bytes: counted.map_or(0, |c| c.tx_bytes),
            rx_bytes: counted.map_or(0, |c| c.rx_bytes),
            // The kernel's own count has what happened while no program ran: a timer that interrupted a process of a sandbox.
            retransmits: u64::from(
                counted.map_or(0, |c| c.retransmits).max(ever.saturating_sub(first.map_or(0, |f| f.retransmits))),
            ),
            path: listed.and_then(|l| l.path),
            queues: listed.map(|l| l.queues),
            elsewhere: counted.is_some_and(|c| self.is_elsewhere(c)),
        })
    }
}

/// Reads the map.
pub fn counted(map: &mut ConnectionMap) -> io::Result<Counted> {
    let mut counted = Counted::new();
    map.for_each(|cookie, connection| {
        // One without a family is not filled in yet.
        if connection.family != 0 {
            counted.insert(cookie, *connection);
        }
    })?;
    Ok(counted)
}

fn state_of(connection: &layout::Connection, protocol: Protocol) -> State {
    if connection.closed_ns != 0 { State::Closed } else { State::of(connection.state, protocol) }
}

fn owner(connection: &layout::Connection) -> Option<ProcessId> {
    let birth = RecordKey::birth_of(connection.process_start_ns);
    (connection.tgid != 0).then_some(ProcessId { pid: connection.tgid, birth })
}

fn local(connection: &layout::Connection) -> Option<SocketAddr> {
    let ip = address(connection.family, bytes_of(&connection.local))?;
    Some(plain(SocketAddr::new(ip, connection.local_port)))
}

fn peer(connection: &layout::Connection) -> Option<SocketAddr> {
    let ip = address(connection.family, bytes_of(&connection.peer))?;
    (connection.peer_port != 0).then(|| plain(SocketAddr::new(ip, connection.peer_port)))
}
