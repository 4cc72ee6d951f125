//! `inet_diag`: what the kernel lists of its TCP and UDP sockets, over netlink.
//!
//! The exchange is ours: two fixed structures and six words of `tcp_info`. A crate for it (netlink-packet-sock-diag) would
//! bring four more, leave sending and receiving to us, and take only a `tcp_info` as long as that of one kernel.
//!
//! Invariant: whatever the bytes are, parsing them does not panic and ends.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use kscope_layout::connections::{AF_INET, AF_INET6, TCP, UDP};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::stats::{Path, Protocol, Queues, State, plain};

/// One socket as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its cookie.
    pub cookie: u64,
    /// What is spoken.
    pub protocol: Protocol,
    /// This end.
    pub local: SocketAddr,
    /// The other end, if there is one.
    pub peer: Option<SocketAddr>,
    /// Its state.
    pub state: State,
    /// What waits in it.
    pub queues: Queues,
    /// Its inode, by which processes hold it; 0 if none does.
    pub inode: u32,
    /// The path to the peer; `None` for UDP and for what listens.
    pub path: Option<Path>,
}

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP` of `include/uapi/linux/netlink.h`.
const DUMP: u16 = 0x301;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// `INET_DIAG_INFO` of `include/uapi/linux/inet_diag.h`, as an attribute and, as a bit, as a wish.
const INFO: u16 = 2;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// Bytes of both.
const LENGTH: u32 = 72;
/// Bytes of `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// States asked for of TCP: all but those without an owner (asked by a peer, waiting for the last packets to die out) and
/// those that are not in use.
const TCP_STATES: u32 = !(1 << 3 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13);
/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than the kernel puts into one answer.
const BUFFER: usize = 64 << 10;

/// A socket over which the kernel is asked.
#[derive(Debug)]
pub struct Diag {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    family: u8,
    protocol: u8,
}

impl Table {
    /// All that are asked for.
    pub const ALL: [Self; 4] =
        [Self::new(AF_INET, TCP), Self::new(AF_INET6, TCP), Self::new(AF_INET, UDP), Self::new(AF_INET6, UDP)];

    /// The request has room for a byte of each, which all of these numbers fit.
    const fn new(family: u16, protocol: u16) -> Self {
        Self { family: family.to_le_bytes()[0], protocol: protocol.to_le_bytes()[0] }
    }

    /// What its sockets speak.
    pub const fn protocol(self) -> Protocol {
        Protocol::of(self.protocol as u16)
    }

    /// The request.
    fn request(self, sequence: u32) -> [u8; HEADER + REQUEST] {
        let mut bytes = [0; HEADER + REQUEST];
        let states = if self.protocol() == Protocol::Tcp { TCP_STATES } else { !0 };
        bytes[0..4].copy_from_slice(&LENGTH.to_ne_bytes());
        bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        bytes[6..8].copy_from_slice(&DUMP.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes[HEADER] = self.family;
        bytes[HEADER + 1] = self.protocol;
        bytes[HEADER + 2] = 1 << (INFO - 1);
        bytes[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
        bytes
    }
}

impl Diag {
    /// Opens a socket to the kernel, which lists the sockets of the network namespace that this is done in.
    pub fn open() -> io::Result<Self> {
        Ok(Self { fd: channel()?, buffer: vec![0; BUFFER], sequence: 0 })
    }

    /// Calls `each` for every socket of a table, until it returns `false`.
    pub fn list(&mut self, table: Table, mut each: impl FnMut(Socket) -> bool) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.fd, &table.request(self.sequence), SendFlags::empty())?;
        loop {
            let (length, _) = recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            let answer = self.buffer.get(..length).unwrap_or_default();
            match parse(answer, table.protocol(), self.sequence, &mut each) {
                Answer::More if length > 0 => {}
                Answer::More | Answer::End => return Ok(()),
                // As long as an answer is not read to its end, the kernel takes no other request on this channel.
                Answer::Enough => {
                    self.fd = channel()?;
                    return Ok(());
                }
                Answer::Refused(code) => return Err(io::Error::from_raw_os_error(code)),
                Answer::Garbled => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

fn channel() -> io::Result<OwnedFd> {
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
    Ok(fd)
}

/// What an answer says of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    More,
    End,
    /// Nobody wants the rest.
    Enough,
    Refused(i32),
    Garbled,
}

/// Reads the messages of one answer.
pub(crate) fn parse(
    mut bytes: &[u8],
    protocol: Protocol,
    sequence: u32,
    each: &mut impl FnMut(Socket) -> bool,
) -> Answer {
    while !bytes.is_empty() {
        let Some(length) = u32_at(bytes, 0).and_then(|n| usize::try_from(n).ok()) else { return Answer::Garbled };
        let (Some(kind), Some(of)) = (u16_at(bytes, 4), u32_at(bytes, 8)) else { return Answer::Garbled };
        let Some(body) = bytes.get(HEADER..length) else { return Answer::Garbled };
        match kind {
            // Not an answer to this request.
            _ if of != sequence => {}
            DONE => return Answer::End,
            ERROR => return Answer::Refused(i32_at(body, 0).unwrap_or(0).wrapping_neg()),
            BY_FAMILY => {
                if let Some(socket) = socket(body, protocol)
                    && !each(socket)
                {
                    return Answer::Enough;
                }
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Answer::More
}

/// One `struct inet_diag_msg` with its attributes.
pub(crate) fn socket(body: &[u8], protocol: Protocol) -> Option<Socket> {
    let attributes = body.get(MESSAGE..)?;
    let family = u16::from(*body.first()?);
    let state = State::of(u32::from(*body.get(1)?), protocol);
    let [local, peer] = [(4, 8), (6, 24)].map(|(port, ip)| {
        let port = u16::from_be_bytes([*body.get(port)?, *body.get(port + 1)?]);
        Some(plain(SocketAddr::new(address(family, body.get(ip..ip + 16)?)?, port)))
    });
    let peer = peer?;
    let cookie = u64::from(u32_at(body, 44)?) | u64::from(u32_at(body, 48)?) << 32;
    Some(Socket {
        cookie,
        protocol,
        local: local?,
        peer: (peer.port() != 0).then_some(peer),
        state,
        queues: Queues { received: u32_at(body, 56)?, sent: u32_at(body, 60)? },
        inode: u32_at(body, 68)?,
        path: attribute(attributes, INFO).and_then(path).filter(|_| state != State::Listening),
    })
}

/// An address of 16 bytes, of which IPv4 uses four.
pub fn address(family: u16, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?).into()),
        AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?).into()),
        _ => None,
    }
}

/// The value of the first attribute of this kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// The path out of `struct tcp_info` (include/uapi/linux/tcp.h), which only ever grows at its end.
pub(crate) fn path(info: &[u8]) -> Option<Path> {
    let micros = |at| u32_at(info, at).map(|us| u64::from(us) * 1_000);
    Some(Path {
        rtt_ns: micros(68)?,
        rtt_var_ns: micros(72)?,
        cwnd: u32_at(info, 80)?,
        mss: u32_at(info, 16)?,
        retransmits_ever: u32_at(info, 100)?,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}

#[cfg(test)]
#[path = "diag_tests.rs"]
mod tests;
