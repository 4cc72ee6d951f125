//! The arithmetic of connections: one end of each, what it moved in an interval, and how it stands.
//!
//! Not here: whole processes' bytes (`probes/network`). Those include what a connection moved before it was looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use kscope_layout::connections as layout;
use serde::Serialize;

use crate::core::ident::ProcessId;

/// What is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// Something else over IPv4 or IPv6 (SCTP, MPTCP, raw sockets).
    Other,
}

impl Protocol {
    /// Of a number of include/uapi/linux/in.h.
    pub const fn of(number: u16) -> Self {
        match number {
            layout::TCP => Self::Tcp,
            layout::UDP => Self::Udp,
            _ => Self::Other,
        }
    }

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Other => "other",
        }
    }
}

/// State of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Open.
    Established,
    /// It asked its peer, who has not answered.
    SynSent,
    /// Its peer asked, and has not confirmed.
    SynReceived,
    /// Closed here; the peer has not confirmed.
    FinWait1,
    /// Closed here; the peer goes on.
    FinWait2,
    /// Both closed at once.
    Closing,
    /// The peer has closed, this end has not: if it stays so, the program forgot to.
    CloseWait,
    /// Closed here after the peer.
    LastAck,
    /// Waits for connections.
    Listening,
    /// A UDP socket that has no one peer.
    Unconnected,
    /// Gone.
    #[default]
    Closed,
}

impl State {
    /// Of a number of `include/net/tcp_states.h`.
    pub const fn of(number: u32, protocol: Protocol) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listening,
            11 => Self::Closing,
            _ if matches!(protocol, Protocol::Tcp) => Self::Closed,
            _ => Self::Unconnected,
        }
    }

    /// Its name, at most eleven columns.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Established => "open",
            Self::SynSent => "asking",
            Self::SynReceived => "asked",
            Self::FinWait1 => "fin-wait-1",
            Self::FinWait2 => "fin-wait-2",
            Self::Closing => "closing",
            Self::CloseWait => "close-wait",
            Self::LastAck => "last-ack",
            Self::Listening => "listening",
            Self::Unconnected => "no peer",
            Self::Closed => "closed",
        }
    }
}

/// What the kernel says of the way to the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Path {
    /// Smoothed round-trip time, ns.
    pub rtt_ns: u64,
    /// Its mean deviation, ns.
    pub rtt_var_ns: u64,
    /// Congestion window, in segments.
    pub cwnd: u32,
    /// Largest segment, bytes.
    pub mss: u32,
    /// Segments sent again since the connection was opened.
    pub retransmits_ever: u32,
}

/// One end of a connection, or a socket that waits for some. In a sample its counters are cumulative since it was first
/// seen, in a snapshot those of the interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The cookie of the socket; no other ever has it.
    pub cookie: u64,
    /// When it was first seen, ns of `CLOCK_MONOTONIC`. With the cookie it tells two counts of one socket apart.
    pub since_ns: u64,
    /// The process that used it last, or else has it open.
    pub owner: Option<ProcessId>,
    /// What is spoken.
    pub protocol: Protocol,
    /// This end. An IPv4 address within an IPv6 one is shown as what it is.
    pub local: SocketAddr,
    /// The other end, if there is one.
    pub peer: Option<SocketAddr>,
    /// The name of the other end's address, if names are wanted and it is known.
    pub peer_name: Option<Arc<str>>,
    /// State at the end.
    pub state: State,
    /// So long it was there, at the end or when it was closed, ns.
    pub age_ns: u64,
    /// It was seen when it was opened: otherwise it is at least that old.
    pub age_is_exact: bool,
    /// Payload bytes sent.
    pub tx_bytes: u64,
    /// Payload bytes received.
    pub rx_bytes: u64,
    /// Segments sent again; where the socket was gone before the kernel was asked, packets, which may hold several.
    pub retransmits: u64,
    /// What the kernel says of the path; `None` for UDP, and where it was not asked or did not say.
    pub path: Option<Path>,
    /// How much waits; `None` where the kernel did not say.
    pub queues: Option<Queues>,
    /// It is in another network namespace than kscope, whose sockets the kernel does not list for it.
    pub elsewhere: bool,
}

/// What waits in a socket. Of one that listens: connections. Of others: bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Not yet accepted or received.
    pub received: u32,
    /// Listening: most that may wait to be accepted. Others: not yet acknowledged by the peer.
    pub sent: u32,
}

impl Connection {
    /// Does it wait for connections?
    pub fn is_listening(&self) -> bool {
        self.state == State::Listening
    }

    /// Is it gone?
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Connections that wait to be accepted, and how many may.
    pub fn backlog(&self) -> Option<Queues> {
        self.queues.filter(|_| self.is_listening())
    }

    /// Is more than half of the place taken in which connections wait to be accepted?
    pub fn is_crowded(&self) -> bool {
        self.backlog().is_some_and(|q| q.received > 0 && q.received > q.sent / 2)
    }

    /// The other end by its name, where that is known, else by its address; `*` if there is none.
    pub fn peer_text(&self) -> String {
        match (self.peer, &self.peer_name) {
            (None, _) => "*".into(),
            (Some(peer), Some(name)) => format!("{name}:{}", peer.port()),
            (peer, None) => text(peer),
        }
    }

    /// Bytes in both directions.
    pub const fn bytes(&self) -> u64 {
        self.tx_bytes.saturating_add(self.rx_bytes)
    }

    fn add(&mut self, later: &Self) {
        *self = Self {
            tx_bytes: self.tx_bytes.saturating_add(later.tx_bytes),
            rx_bytes: self.rx_bytes.saturating_add(later.rx_bytes),
            retransmits: self.retransmits.saturating_add(later.retransmits),
            path: later.path.or(self.path),
            owner: later.owner.or(self.owner),
            ..later.clone()
        };
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.cookie, self.since_ns) == (other.cookie, other.since_ns)
    }
}

/// An address as people write it: an IPv4 address within an IPv6 one as IPv4.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `127.0.0.1:80`, `[::1]:80`; `*:80` for any address, `–` for none.
pub fn text(address: Option<SocketAddr>) -> String {
    match address {
        None => "–".into(),
        Some(address) if address.ip().is_unspecified() && address.port() == 0 => "*".into(),
        Some(address) if address.ip().is_unspecified() => format!("*:{}", address.port()),
        Some(address) => address.to_string(),
    }
}

/// Connections that are in no list, because there were too many; and why some numbers are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// How many.
    pub count: u64,
    /// Payload bytes that they sent.
    pub tx_bytes: u64,
    /// Payload bytes that they received.
    pub rx_bytes: u64,
    /// What the kernel would not tell, as a sentence.
    pub trouble: Option<String>,
}

/// What happened between two lists, both ordered by cookie. One that was closed before is not there any more.
pub fn between(prev: &[Connection], next: &[Connection]) -> Vec<Connection> {
    let mut before = prev.iter().peekable();
    let change = |now: &Connection| {
        while before.next_if(|b| b.cookie < now.cookie).is_some() {}
        let was = before.next_if(|b| b.is_same(now));
        let then = was.map_or((0, 0, 0), |w| (w.tx_bytes, w.rx_bytes, w.retransmits));
        let change = Connection {
            tx_bytes: now.tx_bytes.saturating_sub(then.0),
            rx_bytes: now.rx_bytes.saturating_sub(then.1),
            retransmits: now.retransmits.saturating_sub(then.2),
            ..now.clone()
        };
        let shown = was.is_some_and(Connection::is_closed) && change.bytes() == 0;
        (!shown).then_some(change)
    };
    next.iter().filter_map(change).collect()
}

/// Most closed connections that are kept when intervals are added up.
pub const MOST_CLOSED: usize = 10_000;

/// Adds the interval that followed, both ordered by cookie. The first closed ones go to `unlisted` when there are too many.
pub fn append(mine: &mut Vec<Connection>, later: &[Connection], unlisted: &mut Unlisted) {
    mine.extend_from_slice(later);
    // Stable: of two with one cookie the later interval's comes second.
    mine.sort_by_key(|c| c.cookie);
    mine.dedup_by(|later, earlier| {
        let same = later.cookie == earlier.cookie;
        if same {
            earlier.add(later);
        }
        same
    });
    let still = |c: &Connection| later.binary_search_by_key(&c.cookie, |l| l.cookie).is_ok();
    for gone in mine.iter_mut().filter(|c| !c.is_closed() && !still(c)) {
        gone.state = State::Closed;
    }
    let mut surplus = mine.iter().filter(|c| c.is_closed()).count().saturating_sub(MOST_CLOSED);
    mine.retain(|connection| {
        if surplus == 0 || !connection.is_closed() {
            return true;
        }
        surplus -= 1;
        unlisted.count += 1;
        unlisted.tx_bytes = unlisted.tx_bytes.saturating_add(connection.tx_bytes);
        unlisted.rx_bytes = unlisted.rx_bytes.saturating_add(connection.rx_bytes);
        false
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(cookie: u64, since_ns: u64, tx_bytes: u64, state: State) -> Connection {
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        Connection {
            cookie,
            since_ns,
            owner: None,
            protocol: Protocol::Tcp,
            local,
            peer: None,
            peer_name: None,
            state,
            age_ns: 1,
            age_is_exact: true,
            tx_bytes,
            rx_bytes: 0,
            retransmits: 0,
            path: None,
            queues: None,
            elsewhere: false,
        }
    }

    fn moved(all: &[Connection]) -> Vec<(u64, u64)> {
        all.iter().map(|c| (c.cookie, c.tx_bytes)).collect()
    }

    #[test]
    fn a_closed_one_is_shown_once() {
        let first = [connection(1, 5, 100, State::Established), connection(2, 5, 10, State::Established)];
        let second = [connection(1, 5, 130, State::Closed), connection(2, 5, 10, State::Established)];
        let change = between(&first, &second);
        assert_eq!(moved(&change), [(1, 30), (2, 0)]);
        // It stays in the map until nobody can be writing it.
        assert_eq!(moved(&between(&second, &second)), [(2, 0)]);
        // What was read from it after all is not lost.
        assert_eq!(moved(&between(&second, &[connection(1, 5, 131, State::Closed)])), [(1, 1)]);
    }

    #[test]
    fn a_second_count_of_a_socket_begins_at_zero() {
        let first = [connection(1, 0, 0, State::Established)];
        let second = [connection(1, 7, 40, State::Established)];
        assert_eq!(moved(&between(&first, &second)), [(1, 40)]);
        assert_eq!(moved(&between(&second, &[connection(1, 9, 15, State::Established)])), [(1, 15)]);
    }

    #[test]
    fn intervals_add_up_and_who_is_missing_is_gone() {
        let mut sum = vec![connection(1, 5, 100, State::Established), connection(3, 5, 7, State::Established)];
        let later = [connection(1, 5, 11, State::Established), connection(2, 5, 1, State::Closed)];
        append(&mut sum, &later, &mut Unlisted::default());
        assert_eq!(moved(&sum), [(1, 111), (2, 1), (3, 7)]);
        assert_eq!(sum.iter().map(Connection::is_closed).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn closed_ones_are_bounded_and_their_bytes_are_kept() {
        let closed = |from: u64| (from..from + 8_000).map(|c| connection(c, 1, 3, State::Closed)).collect::<Vec<_>>();
        let (mut sum, mut unlisted) = (closed(0), Unlisted::default());
        append(&mut sum, &closed(8_000), &mut unlisted);
        assert_eq!((sum.len(), unlisted.count, unlisted.tx_bytes), (MOST_CLOSED, 6_000, 18_000));
        assert_eq!(sum[0].cookie, 6_000);
    }

    #[test]
    fn addresses_are_written_as_people_do() {
        let at = |text: &str| Some(plain(text.parse::<SocketAddr>().unwrap()));
        assert_eq!(text(at("[::ffff:10.0.0.1]:80")), "10.0.0.1:80");
        assert_eq!((text(at("[::]:80")), text(at("0.0.0.0:0"))), ("*:80".into(), "*".into()));
        assert_eq!((text(at("[::1]:80")), text(None)), ("[::1]:80".into(), "–".into()));
    }

    #[test]
    fn a_queue_is_crowded_above_the_half() {
        let listening = |received, sent| Connection {
            queues: Some(Queues { received, sent }),
            ..connection(1, 1, 0, State::Listening)
        };
        assert!(!listening(64, 128).is_crowded() && listening(65, 128).is_crowded());
        assert!(listening(1, 0).is_crowded() && !listening(0, 0).is_crowded());
    }
}
