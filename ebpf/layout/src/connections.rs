//! What the programs note of each connection while somebody looks at connections: its ends, its bytes, its owner.
//!
//! Not here: round-trip times, windows and queues, which user space asks the kernel for (`src/probes/connections/diag.rs`).

/// `AF_INET` of include/linux/socket.h.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;
/// `IPPROTO_TCP` of include/uapi/linux/in.h.
pub const TCP: u16 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u16 = 17;

/// States of a socket (`include/net/tcp_states.h`).
pub mod tcp_state {
    /// Open.
    pub const ESTABLISHED: u32 = 1;
    /// Asked the peer, no answer yet.
    pub const SYN_SENT: u32 = 2;
    /// The peer asked.
    pub const SYN_RECV: u32 = 3;
    /// Closed here, the peer has not said that it knows.
    pub const FIN_WAIT1: u32 = 4;
    /// Gone. (Of a connection that waits for its last packets to die out, too: its socket is gone.)
    pub const CLOSE: u32 = 7;
    /// Closed here after the peer.
    pub const LAST_ACK: u32 = 9;
    /// Waits for connections.
    pub const LISTEN: u32 = 10;
}

/// One end of a connection, by the cookie of its socket. Counters begin when it is first seen. Times in ns of
/// `CLOCK_MONOTONIC` unless said otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Connection {
    /// Payload bytes sent.
    pub tx_bytes: u64,
    /// Payload bytes received.
    pub rx_bytes: u64,
    /// When it was first seen.
    pub first_ns: u64,
    /// When bytes moved or its state changed last.
    pub last_ns: u64,
    /// When it was closed; 0 while it is open.
    pub closed_ns: u64,
    /// Start of the owner's process, `CLOCK_BOOTTIME`; 0 while no owner is known.
    pub process_start_ns: u64,
    /// The process that used it last; 0 while none is known.
    pub tgid: u32,
    /// Packets sent again.
    pub retransmits: u32,
    /// See [`tcp_state`]; of UDP sockets 1 once they have a peer, else 7.
    pub state: u32,
    /// Number of the network namespace, as `/proc/PID/ns/net` shows it; 0 if unknown.
    pub netns: u32,
    /// Address of this end in the order of the network; of IPv4 the first word.
    pub local: [u32; 4],
    /// Address of the other end; zeros if there is none.
    pub peer: [u32; 4],
    /// Port of this end, 0 before it has one.
    pub local_port: u16,
    /// Port of the other end.
    pub peer_port: u16,
    /// [`AF_INET`] or [`AF_INET6`]; written last, so 0 is an entry that is not filled in yet.
    pub family: u16,
    /// [`TCP`], [`UDP`] or another.
    pub protocol: u16,
    /// 1 if it was seen when it was opened, so that [`Self::first_ns`] is its birth.
    pub opened: u32,
    /// Zero.
    pub pad: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_no_padding() {
        assert_eq!(size_of::<Connection>(), 6 * 8 + 4 * 4 + 2 * 16 + 4 * 2 + 8);
    }
}
