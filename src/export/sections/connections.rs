//! Connections and listening sockets, when a report is asked for them.

use std::cmp::Reverse;
use std::fmt::Write as _;

use serde::Serialize;

use super::super::report::Scope;
use crate::core::quality::Quality;
use crate::core::units::{byte_rate, bytes, count, duration, printable};
use crate::model::Snapshot;
use crate::probes::connections::stats::{Connection, Path, Protocol, State, text};

/// Rows of each table for people.
const ROWS: usize = 15;

/// What is known of connections.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// What the bytes are worth.
    pub quality: Quality,
    /// Events of connections for which there was no room.
    pub lost: u64,
    /// Length of the interval, for rates.
    #[serde(skip)]
    pub interval_ns: u64,
    /// Connections that were too many to be listed.
    pub unlisted: UnlistedRow,
    /// Why some are not listed, where the kernel did not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// All connections that were there in the interval, those that were closed in it included, and listening sockets.
    pub list: Vec<Row>,
}

/// Connections that were too many to be listed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UnlistedRow {
    /// How many.
    pub count: u64,
    /// Payload bytes that they sent.
    pub tx_bytes: u64,
    /// Payload bytes that they received.
    pub rx_bytes: u64,
}

/// One end of a connection.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The cookie of its socket.
    pub cookie: u64,
    /// The process that used it last, or has it open; `null` if there is none or it is not known.
    pub pid: Option<u32>,
    /// Name of that process.
    pub comm: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// This end.
    pub local: String,
    /// The other end, `null` if there is none.
    pub peer: Option<String>,
    /// State at the end.
    pub state: State,
    /// So long it was there.
    pub age_ns: u64,
    /// What that is worth: a lower bound, if it was opened before kscope looked.
    pub age_quality: Quality,
    /// Payload bytes sent in the interval.
    pub tx_bytes: Option<u64>,
    /// Payload bytes received in the interval.
    pub rx_bytes: Option<u64>,
    /// Packets sent again in the interval.
    pub retransmits: Option<u64>,
    /// The way to the peer; `null` for UDP and for what the kernel does not list for kscope.
    pub path: Option<Path>,
    /// Connections that wait to be accepted, and how many may; of a listening socket.
    pub accept_queue: Option<AcceptQueue>,
    /// Bytes received and not yet read.
    pub unread_bytes: Option<u32>,
    /// Bytes sent and not yet acknowledged.
    pub unacknowledged_bytes: Option<u32>,
    /// It is in another network namespace.
    pub elsewhere: bool,
}

/// Connections that wait to be accepted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AcceptQueue {
    /// How many wait.
    pub length: u32,
    /// How many may.
    pub limit: u32,
}

/// The section; `None` if nobody asked for it.
pub fn section(snapshot: &Snapshot, scope: &Scope, interval_ns: u64) -> Option<Section> {
    let quality = snapshot.qualities.connections;
    if quality == Quality::NotAvailable && snapshot.connections.is_empty() {
        return None;
    }
    let in_scope = |c: &&Connection| match c.owner {
        Some(owner) => scope.holds(owner),
        None => matches!(scope, Scope::Host),
    };
    let unlisted = &snapshot.unlisted;
    Some(Section {
        quality,
        lost: snapshot.lost.connections,
        interval_ns,
        unlisted: UnlistedRow { count: unlisted.count, tx_bytes: unlisted.tx_bytes, rx_bytes: unlisted.rx_bytes },
        trouble: unlisted.trouble.clone(),
        list: snapshot.connections.iter().filter(in_scope).map(|c| row(c, snapshot, quality)).collect(),
    })
}

fn row(connection: &Connection, snapshot: &Snapshot, quality: Quality) -> Row {
    let counted = |n: u64| (quality != Quality::NotAvailable).then_some(n);
    let process = connection.owner.and_then(|id| snapshot.processes.binary_search_by_key(&id, |p| p.id).ok());
    let queues = connection.queues.filter(|_| !connection.is_listening() && !connection.is_closed());
    Row {
        cookie: connection.cookie,
        pid: connection.owner.map(|id| id.pid),
        comm: process.map(|at| snapshot.processes[at].ident.comm.clone()).unwrap_or_default(),
        protocol: connection.protocol,
        local: text(Some(connection.local)),
        peer: connection.peer.map(|peer| text(Some(peer))),
        state: connection.state,
        age_ns: connection.age_ns,
        age_quality: if connection.age_is_exact { Quality::Exact } else { Quality::LowerBound },
        tx_bytes: counted(connection.tx_bytes),
        rx_bytes: counted(connection.rx_bytes),
        retransmits: counted(connection.retransmits),
        path: connection.path,
        accept_queue: connection.backlog().map(|q| AcceptQueue { length: q.received, limit: q.sent }),
        unread_bytes: queues.map(|q| q.received),
        unacknowledged_bytes: queues.map(|q| q.sent),
        elsewhere: connection.elsewhere,
    }
}

/// Those that moved most, and those that listen.
pub fn write(section: &Section, out: &mut String) {
    let (listening, mut talking): (Vec<&Row>, Vec<&Row>) =
        section.list.iter().partition(|row| row.state == State::Listening);
    let moved = |row: &Row| row.tx_bytes.unwrap_or(0).saturating_add(row.rx_bytes.unwrap_or(0));
    talking.sort_by_key(|row| (Reverse(moved(row)), row.cookie));
    let of = |protocol| talking.iter().filter(|row| row.protocol == protocol).count();
    let (tcp, udp) = (of(Protocol::Tcp), of(Protocol::Udp));
    let _ = writeln!(out, "\nConnections  {tcp} of TCP, {udp} of UDP, {} listening", listening.len());
    if !talking.is_empty() {
        let _ = writeln!(
            out,
            "  {:<5} {:<22} {:<24} {:<24} {:<11} {:>9} {:>13} {:>13} {:>9} {:>6} {:>7}",
            "", "PROCESS", "local", "peer", "state", "age", "sent", "received", "rtt", "cwnd", "retrans"
        );
    }
    for row in talking.iter().take(ROWS) {
        let _ = writeln!(out, "{}", line(row, section));
    }
    let rest = talking.len().saturating_sub(ROWS) as u64 + section.unlisted.count;
    if rest > 0 {
        let _ = writeln!(out, "  … and {} more", count(rest));
    }
    for row in listening.iter().take(ROWS) {
        let queue = row.accept_queue.map_or_else(|| "–".into(), |q| format!("{}/{}", q.length, q.limit));
        let _ = writeln!(
            out,
            "  {:<5} {:<22} {:<24} listening, waiting to be accepted {queue}",
            row.protocol.word(),
            who(row),
            row.local
        );
    }
    if let Some(trouble) = &section.trouble {
        let _ = writeln!(out, "  {trouble}");
    }
}

fn who(row: &Row) -> String {
    row.pid.map_or_else(|| "–".into(), |pid| format!("{pid} {}", printable(&row.comm)))
}

fn line(row: &Row, section: &Section) -> String {
    let seconds = section.interval_ns.max(1) as f64 / 1e9;
    let mark = section.quality.mark();
    let moved = |n: Option<u64>| {
        n.map_or_else(
            || "–".into(),
            |n| if n == 0 { bytes(0.0) } else { format!("{mark}{}", byte_rate(n as f64 / seconds)) },
        )
    };
    let (rtt, cwnd) = row.path.map_or_else(|| ("–".into(), "–".into()), |p| (duration(p.rtt_ns), p.cwnd.to_string()));
    format!(
        "  {:<5} {:<22} {:<24} {:<24} {:<11} {:>9} {:>13} {:>13} {:>9} {:>6} {:>7}",
        row.protocol.word(),
        who(row),
        row.local,
        row.peer.as_deref().unwrap_or("*"),
        row.state.word(),
        format!("{}{}", row.age_quality.mark(), duration(row.age_ns)),
        moved(row.tx_bytes),
        moved(row.rx_bytes),
        rtt,
        cwnd,
        row.retransmits.map_or_else(|| "–".into(), |n| format!("{mark}{n}")),
    )
}
