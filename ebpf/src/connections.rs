//! Connections: what each socket of IPv4 and IPv6 moved, who used it, when it was opened and closed, what was sent again.
//!
//! These programs are attached only while somebody looks. The always-on ones (`network.rs`) know nothing of sockets, so
//! that they stay as cheap as they are.
//!
//! The key is the socket's cookie: it is never used twice, and `inet_diag` knows it. The owner is the process that used the
//! socket last: taken when bytes move and when a state changes by the process's own call, never in a softirq, where the
//! current task is anybody.
//!
//! Invariant: an entry is removed by user space alone, after it was read as closed.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::connections::{AF_INET, AF_INET6, Connection, TCP, tcp_state};
use kscope_layout::{ABSENT, lost};

use crate::globals::{self, get};
use crate::latency::{add_atomic, add_atomic32};
use crate::maps::lose;
use crate::network::{is_peek, payload, received_payload};
use crate::task::Task;
use crate::thread::barrier;

/// Connections by the cookie of their socket.
#[map]
pub static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(1, 0);

/// `sock_send_length(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_send_length")]
pub fn conn_send(ctx: BtfTracePointContext) -> i32 {
    if let Some(bytes) = payload(&ctx)
        && let Some(connection) = of_caller(Socket(ctx.arg(0)))
    {
        // SAFETY: a field of a map value.
        add_atomic(unsafe { &raw mut (*connection).tx_bytes }, bytes);
    }
    0
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_recv_length")]
pub fn conn_recv(ctx: BtfTracePointContext) -> i32 {
    if !is_peek(&ctx)
        && let Some(bytes) = received_payload(&ctx)
        && let Some(connection) = of_caller(Socket(ctx.arg(0)))
    {
        // SAFETY: a field of a map value.
        add_atomic(unsafe { &raw mut (*connection).rx_bytes }, bytes);
    }
    0
}

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn conn_state(ctx: BtfTracePointContext) -> i32 {
    let (socket, before, after) = (Socket(ctx.arg(0)), ctx.arg::<u32>(1), ctx.arg::<u32>(2));
    // A child of a listening socket has its parent's cookie until it is established.
    if !socket.is_inet() || after == tcp_state::SYN_RECV || after == tcp_state::LISTEN || before == tcp_state::LISTEN {
        return 0;
    }
    let by_caller = after == tcp_state::SYN_SENT || after == tcp_state::FIN_WAIT1 || after == tcp_state::LAST_ACK;
    let opens = after == tcp_state::SYN_SENT || before == tcp_state::SYN_RECV;
    let cookie = socket.cookie();
    let found = match CONNECTIONS.get_ptr_mut(&cookie) {
        Some(found) => Some(found),
        // Whose it is cannot be known here, unless it calls itself.
        None if globals::is_narrowed() && !(by_caller && is_caller_measured()) => None,
        // The socket itself has the new state only after this.
        None if opens || after == tcp_state::CLOSE => make(socket, cookie, after),
        None => None,
    };
    if let Some(connection) = found {
        change(connection, socket, (before, after), by_caller, opens);
    }
    0
}

#[inline(always)]
fn change(at: *mut Connection, socket: Socket, (before, after): (u32, u32), by_caller: bool, opens: bool) {
    // SAFETY: a map value.
    let connection = unsafe { &mut *at };
    connection.state = after;
    // SAFETY: no preconditions.
    connection.last_ns = unsafe { bpf_ktime_get_ns() };
    if opens {
        connection.opened = 1;
    }
    if after == tcp_state::CLOSE {
        connection.closed_ns = connection.last_ns;
    } else if before == tcp_state::SYN_SENT || connection.local_port == 0 {
        // One that has just asked its peer gets its address and port only then.
        socket.ends(connection);
    }
    if by_caller {
        own(connection);
    }
}

/// `tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb[, int err])`
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn conn_retransmit(ctx: BtfTracePointContext) -> i32 {
    let socket = Socket(ctx.arg(0));
    let cookie = socket.cookie();
    let found = match CONNECTIONS.get_ptr_mut(&cookie) {
        None if !globals::is_narrowed() && socket.is_inet() => make(socket, cookie, socket.state()),
        found => found,
    };
    if let Some(connection) = found {
        // SAFETY: a field of a map value.
        add_atomic32(unsafe { &raw mut (*connection).retransmits }, 1);
    }
    0
}

/// The entry of a socket on which the current process moves bytes. `None` if it is not measured or, counted as lost, when
/// there is no room.
#[inline(always)]
fn of_caller(socket: Socket) -> Option<*mut Connection> {
    if !is_caller_measured() {
        return None;
    }
    let cookie = socket.cookie();
    let at = CONNECTIONS.get_ptr_mut(&cookie).or_else(|| make(socket, cookie, socket.state()))?;
    // SAFETY: a map value.
    let connection = unsafe { &mut *at };
    // SAFETY: no preconditions.
    connection.last_ns = unsafe { bpf_ktime_get_ns() };
    own(connection);
    Some(at)
}

#[inline(always)]
fn is_caller_measured() -> bool {
    globals::is_measured((bpf_get_current_pid_tgid() >> 32) as u32)
}

/// Makes the current process the owner.
#[inline(always)]
fn own(connection: &mut Connection) {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if connection.tgid != tgid {
        connection.tgid = tgid;
        connection.process_start_ns = Task::current().process_start_ns();
    }
}

#[inline(always)]
fn make(socket: Socket, cookie: u64, state: u32) -> Option<*mut Connection> {
    // Of two CPUs one wins; both find what it made.
    let _ = CONNECTIONS.insert(&cookie, &EMPTY, u64::from(BPF_NOEXIST));
    let Some(at) = CONNECTIONS.get_ptr_mut(&cookie) else {
        lose(lost::CONNECTIONS);
        return None;
    };
    // SAFETY: a map value.
    let connection = unsafe { &mut *at };
    // SAFETY: no preconditions.
    connection.first_ns = unsafe { bpf_ktime_get_ns() };
    connection.last_ns = connection.first_ns;
    connection.state = state;
    connection.protocol = socket.protocol();
    connection.netns = socket.netns();
    socket.ends(connection);
    if connection.protocol == TCP && state == tcp_state::CLOSE {
        // What is left is read after the end: no event will tell of that any more.
        connection.closed_ns = connection.first_ns;
    }
    barrier();
    connection.family = socket.family();
    Some(at)
}

static EMPTY: Connection = Connection {
    tx_bytes: 0,
    rx_bytes: 0,
    first_ns: 0,
    last_ns: 0,
    closed_ns: 0,
    process_start_ns: 0,
    tgid: 0,
    retransmits: 0,
    state: 0,
    netns: 0,
    local: [0; 4],
    peer: [0; 4],
    local_port: 0,
    peer_port: 0,
    family: 0,
    protocol: 0,
    opened: 0,
    pad: 0,
};

/// A pointer that the verifier knows to be a `struct sock`.
#[derive(Clone, Copy)]
struct Socket(*const u8);

impl Socket {
    /// Never 0, and never used for another socket; the kernel makes it when it is first asked for.
    #[inline(always)]
    fn cookie(self) -> u64 {
        // SAFETY: a socket, as the helper demands.
        unsafe { bpf_get_socket_cookie(self.0.cast_mut().cast()) }
    }

    /// A field, or 0 where this kernel has none of that name.
    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: &'static u32) -> T {
        if get(offset) == ABSENT {
            return T::default();
        }
        // SAFETY: the verifier admits the load only if a field of the structure lies at this constant offset.
        unsafe { self.0.add(get(offset) as usize).cast::<T>().read() }
    }

    #[inline(always)]
    fn family(self) -> u16 {
        self.read(&globals::SOCK_FAMILY)
    }

    #[inline(always)]
    fn is_inet(self) -> bool {
        let family = self.family();
        family == AF_INET || family == AF_INET6
    }

    #[inline(always)]
    fn state(self) -> u32 {
        u32::from(self.read::<u8>(&globals::SOCK_STATE))
    }

    #[inline(always)]
    fn protocol(self) -> u16 {
        self.read(&globals::SOCK_PROTOCOL)
    }

    #[inline(always)]
    fn netns(self) -> u32 {
        if get(&globals::SOCK_NET) == ABSENT || get(&globals::NET_INUM) == ABSENT {
            return 0;
        }
        // SAFETY: the verifier knows that a pointer to a `struct net` lies at the first offset, and checks the second.
        unsafe {
            let net = self.0.add(get(&globals::SOCK_NET) as usize).cast::<*const u8>().read();
            net.add(get(&globals::NET_INUM) as usize).cast::<u32>().read()
        }
    }

    /// Notes the addresses and ports.
    #[inline(always)]
    fn ends(self, connection: &mut Connection) {
        connection.local_port = self.read(&globals::SOCK_NUM);
        connection.peer_port = u16::from_be(self.read(&globals::SOCK_DPORT));
        if self.family() == AF_INET {
            connection.local[0] = self.read(&globals::SOCK_RCV_SADDR);
            connection.peer[0] = self.read(&globals::SOCK_DADDR);
        } else {
            connection.local = self.address(&globals::SOCK_V6_RCV_SADDR);
            connection.peer = self.address(&globals::SOCK_V6_DADDR);
        }
    }

    /// An address of four words: the verifier admits no load across the elements of an array.
    #[inline(always)]
    fn address(self, offset: &'static u32) -> [u32; 4] {
        if get(offset) == ABSENT {
            return [0; 4];
        }
        // SAFETY: as in `read`.
        unsafe {
            let words = self.0.add(get(offset) as usize).cast::<u32>();
            [words.read(), words.add(1).read(), words.add(2).read(), words.add(3).read()]
        }
    }
}
