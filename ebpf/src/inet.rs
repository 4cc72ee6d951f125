//! Network bytes on kernels without the tracepoints that `network.rs` hooks (before 6.3): what the functions return that each
//! send and receive on a socket of IPv4 or IPv6 goes through, whichever call it was made by.
//!
//! By `fexit`, which has arguments and result; where that is refused, by kprobes on the same functions, of which the first
//! notes in the thread's entry whether what the other will see counts. Not hooked: `tcp_cleanup_rbuf`, which is called inside
//! the loop with the running total, and `udp_recvmsg`, whose prototype changed twice.
//!
//! `sendfile` ends in `inet_sendpage` until 6.5. Of protocols other than TCP that may call `inet_sendmsg` in its turn, so it
//! counts for TCP alone.
//!
//! Invariant: bytes are counted once. What is not seen from its beginning is not counted by kprobes.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::{fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use kscope_layout::connections::TCP;
use kscope_layout::{ABSENT, flags};

use crate::cut::{self, MSG_TRUNC};
use crate::globals::{self, get};
use crate::network::{MSG_PEEK, received, sent};
use crate::thread;

/// `inet_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)`
#[fexit(function = "inet_sendmsg")]
pub fn inet_sendmsg(ctx: FExitContext) -> i32 {
    sent(ctx.arg(3));
    0
}

/// `inet6_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)`
#[fexit(function = "inet6_sendmsg")]
pub fn inet6_sendmsg(ctx: FExitContext) -> i32 {
    sent(ctx.arg(3));
    0
}

/// `inet_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`
#[fexit(function = "inet_recvmsg")]
pub fn inet_recvmsg(ctx: FExitContext) -> i32 {
    receive_ended(&ctx);
    0
}

/// `inet6_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`
#[fexit(function = "inet6_recvmsg")]
pub fn inet6_recvmsg(ctx: FExitContext) -> i32 {
    receive_ended(&ctx);
    0
}

/// Here the size of the buffers is an argument, so what was copied is known of every call.
#[inline(always)]
fn receive_ended(ctx: &FExitContext) {
    let (size, flags, result) = (ctx.arg::<u64>(2), ctx.arg::<i32>(3), ctx.arg::<i32>(4));
    if flags & MSG_PEEK != 0 {
        return;
    }
    if flags & MSG_TRUNC == 0 || result <= 0 {
        received(result);
    } else if !is_tcp(ctx.arg(0)) {
        received((result as u64).min(size) as i32);
    }
}

/// `inet_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)`, its result as `ssize_t`
#[fexit(function = "inet_sendpage")]
pub fn inet_sendpage(ctx: FExitContext) -> i32 {
    if is_tcp(ctx.arg(0)) {
        sent(ctx.arg(5));
    }
    0
}

/// Is this `struct socket` one of TCP?
#[inline(always)]
fn is_tcp(socket: *const u8) -> bool {
    if get(&globals::SOCKET_SK) == ABSENT || get(&globals::SOCK_PROTOCOL) == ABSENT {
        return false;
    }
    // SAFETY: the helper checks the addresses.
    unsafe {
        let sock = bpf_probe_read_kernel(socket.wrapping_add(get(&globals::SOCKET_SK) as usize).cast::<*const u8>());
        let Ok(sock) = sock else { return false };
        bpf_probe_read_kernel(sock.wrapping_add(get(&globals::SOCK_PROTOCOL) as usize).cast::<u16>()) == Ok(TCP)
    }
}

/// `inet_sendmsg`
#[kretprobe(function = "inet_sendmsg")]
pub fn sendmsg_return(ctx: RetProbeContext) -> u32 {
    sent(ctx.ret());
    0
}

/// `inet6_sendmsg`
#[kretprobe(function = "inet6_sendmsg")]
pub fn sendmsg6_return(ctx: RetProbeContext) -> u32 {
    sent(ctx.ret());
    0
}

/// `inet_recvmsg`
#[kprobe(function = "inet_recvmsg")]
pub fn recvmsg_begin(ctx: ProbeContext) -> u32 {
    begin_receive(&ctx);
    0
}

/// `inet6_recvmsg`
#[kprobe(function = "inet6_recvmsg")]
pub fn recvmsg6_begin(ctx: ProbeContext) -> u32 {
    begin_receive(&ctx);
    0
}

/// `inet_recvmsg`
#[kretprobe(function = "inet_recvmsg")]
pub fn recvmsg_return(ctx: RetProbeContext) -> u32 {
    receive_returned(ctx.ret());
    0
}

/// `inet6_recvmsg`
#[kretprobe(function = "inet6_recvmsg")]
pub fn recvmsg6_return(ctx: RetProbeContext) -> u32 {
    receive_returned(ctx.ret());
    0
}

#[inline(always)]
fn receive_returned(result: i32) {
    match counted() {
        flags::MOVES => received(result),
        0 => {}
        _ if result > 0 => received(cut::copied(false, result as u64) as i32),
        _ => {}
    }
}

/// `inet_sendpage`
#[kprobe(function = "inet_sendpage")]
pub fn sendpage_begin(ctx: ProbeContext) -> u32 {
    begin(if ctx.arg(0).is_some_and(is_tcp) { flags::MOVES } else { 0 });
    0
}

/// `inet_sendpage`
#[kretprobe(function = "inet_sendpage")]
pub fn sendpage_return(ctx: RetProbeContext) -> u32 {
    if counted() != 0 {
        sent(ctx.ret());
    }
    0
}

#[inline(always)]
fn begin_receive(ctx: &ProbeContext) {
    let asked = ctx.arg::<i32>(3).unwrap_or(MSG_PEEK);
    begin(match asked & (MSG_PEEK | MSG_TRUNC) {
        0 => flags::MOVES,
        MSG_TRUNC if !ctx.arg(0).is_some_and(is_tcp) => flags::MOVES | flags::CUTS,
        _ => 0,
    });
}

/// What is noted of a function: whether what it returns counts, and how.
const NOTED: u32 = flags::MOVES | flags::CUTS;

/// Notes whether what the function returns counts.
#[inline(always)]
fn begin(noted: u32) {
    if let Some(entry) = thread::current() {
        let t = entry.get();
        t.flags = t.flags & !NOTED | noted;
    }
}

/// What was noted. It is gone afterwards.
#[inline(always)]
fn counted() -> u32 {
    let Some(entry) = thread::current() else { return 0 };
    let t = entry.get();
    let noted = t.flags & NOTED;
    t.flags &= !NOTED;
    noted
}
