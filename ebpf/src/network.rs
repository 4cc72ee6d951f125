//! Network bytes: what `sendmsg` and `recvmsg` of IPv4 and IPv6 sockets returned, in the context of the caller.
//!
//! Payload, not wire bytes. The two tracepoints fire for every family and are byte-exact for send, write, sendfile and
//! sendmsg over TCP and UDP. They do not see a receiving `splice`, TCP zero-copy receive, or the kernel's own sockets. Kernels
//! before 6.3 do not have them: see `inet.rs`.
//!
//! Received is what was copied to the program: of a datagram that is longer than the buffer, as much as fits, whether or not the
//! caller asks for its real length (`cut.rs`).

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kscope_layout::BLIND;
use kscope_layout::connections::{AF_INET, AF_INET6};

use crate::cut::{self, MSG_TRUNC};
use crate::globals::{self, get};
use crate::maps::{transfers_one_in, transfers_since_ns, weight};
use crate::thread;

/// The bytes stay in the socket, and are counted when they are taken.
pub const MSG_PEEK: i32 = 2;

/// `sock_send_length(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    if let Some(bytes) = payload(&ctx) {
        count_sent(bytes);
    }
    0
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    if !is_peek(&ctx)
        && let Some(bytes) = received_payload(&ctx)
    {
        count_received(bytes);
    }
    0
}

/// A function that sends on a socket of IPv4 or IPv6 returned this.
#[inline(always)]
pub fn sent(result: i32) {
    if result > 0 {
        count_sent(u64::from(result.unsigned_abs()));
    }
}

/// The same of one that receives, and not only looks at what is there.
#[inline(always)]
pub fn received(result: i32) {
    if result > 0 {
        count_received(u64::from(result.unsigned_abs()));
    }
}

#[inline(always)]
fn count_sent(bytes: u64) {
    if let Some(weight) = transfer_weight()
        && let Some(entry) = thread::current()
    {
        let t = entry.get();
        t.tx_bytes += bytes * u64::from(weight);
        t.tx_calls += weight;
    }
}

#[inline(always)]
fn count_received(bytes: u64) {
    if let Some(weight) = transfer_weight()
        && let Some(entry) = thread::current()
    {
        let t = entry.get();
        t.rx_bytes += bytes * u64::from(weight);
        t.rx_calls += weight;
    }
}

/// For how many sends or receives this one stands; `None` if it is not counted.
#[inline(always)]
fn transfer_weight() -> Option<u32> {
    if transfers_since_ns() == BLIND { None } else { weight(transfers_one_in()) }
}

/// Did this receive only look at what is there?
#[inline(always)]
pub fn is_peek(ctx: &BtfTracePointContext) -> bool {
    ctx.arg::<i32>(2) & MSG_PEEK != 0
}

/// [`payload`] of a receive: what was copied to the program.
#[inline(always)]
pub fn received_payload(ctx: &BtfTracePointContext) -> Option<u64> {
    let bytes = payload(ctx)?;
    if ctx.arg::<i32>(2) & MSG_TRUNC == 0 {
        return Some(bytes);
    }
    Some(cut::copied(cut::discards(ctx.arg(0)), bytes)).filter(|bytes| *bytes != 0)
}

/// Bytes moved through an IPv4 or IPv6 socket; `None` for other families, errors and empty transfers.
#[inline(always)]
pub fn payload(ctx: &BtfTracePointContext) -> Option<u64> {
    let (sock, result) = (ctx.arg::<*const u8>(0), ctx.arg::<i32>(1));
    if result <= 0 {
        return None;
    }
    // SAFETY: the verifier knows the argument to be a `struct sock`, and checks the offset.
    let family = unsafe { sock.add(get(&globals::SOCK_FAMILY) as usize).cast::<u16>().read() };
    (family == AF_INET || family == AF_INET6).then_some(u64::from(result.unsigned_abs()))
}
