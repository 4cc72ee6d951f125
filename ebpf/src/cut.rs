//! Receives whose caller asks for the real length of a datagram (MSG_TRUNC): what they return can be more than what was copied to
//! the program. How large the buffers are is in the arguments of the call, which are still in its registers. TCP copies nothing at
//! all then: it throws so many bytes away.
//!
//! Not exact: of `recvmmsg` all messages are taken to have buffers like the first one's, of more than [`MOST`] buffers the rest is
//! taken to be full, and where the registers cannot be told (before 5.15, 32-bit calls, io_uring) what is returned counts.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_task_pt_regs};
use kscope_layout::ABSENT;
use kscope_layout::connections::TCP;

use crate::globals::{self, get};
use crate::task::Task;

/// The caller asks for the real length.
pub const MSG_TRUNC: i32 = 0x20;
/// Buffers of a message that are looked at.
const MOST: u64 = 16;
/// Multipath TCP, `IPPROTO_MPTCP`.
const MPTCP: u16 = 262;

/// `struct user_msghdr` up to its number of buffers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    name: [u64; 2],
    buffers: u64,
    count: u64,
}

/// Does the protocol of this `struct sock` throw away what is asked for so?
#[inline(always)]
pub fn discards(sock: *const u8) -> bool {
    if get(&globals::SOCK_PROTOCOL) == ABSENT {
        return false;
    }
    // SAFETY: the verifier knows it to be a `struct sock`, and checks the offset.
    let protocol = unsafe { sock.add(get(&globals::SOCK_PROTOCOL) as usize).cast::<u16>().read() };
    protocol == TCP || protocol == MPTCP
}

/// What was copied by a receive that returned `bytes`. Out of line: it is rare.
#[inline(never)]
pub fn copied(discards: bool, bytes: u64) -> u64 {
    if discards {
        return 0;
    }
    let room = room();
    if room < bytes { room } else { bytes }
}

/// How much the call of the current thread has room for; `u64::MAX` where that cannot be told.
#[inline(always)]
fn room() -> u64 {
    if get(&globals::HAS_TASK_REGS) == 0 || get(&globals::REGS_CALL) == ABSENT {
        return u64::MAX;
    }
    let task = Task::current();
    if task.in_compat_call() {
        return u64::MAX;
    }
    // SAFETY: the task is one that the verifier knows; what the helper returns may be read, at offsets of fields.
    let (call, second, third) = unsafe {
        let regs = bpf_task_pt_regs(task.pointer().cast_mut().cast()) as *const u8;
        let word = |offset: u32| regs.add(offset as usize).cast::<u64>().read();
        let call = regs.add(get(&globals::REGS_CALL) as usize).cast::<u32>().read();
        if get(&globals::REGS_SI) != ABSENT {
            (call, word(get(&globals::REGS_SI)), word(get(&globals::REGS_DX)))
        } else if get(&globals::REGS_X) != ABSENT {
            (call, word(get(&globals::REGS_X) + 8), word(get(&globals::REGS_X) + 16))
        } else {
            return u64::MAX;
        }
    };
    if call == get(&globals::RECVFROM_CALL) {
        third
    } else if call == get(&globals::RECVMSG_CALL) || call == get(&globals::RECVMMSG_CALL) {
        room_of(second)
    } else {
        u64::MAX
    }
}

/// How much the buffers of the message at this address have room for.
#[inline(always)]
fn room_of(address: u64) -> u64 {
    let mut message = Message { name: [0; 2], buffers: 0, count: 0 };
    let mut sum = 0;
    // SAFETY: the helper writes no more than what is there, and checks the address.
    unsafe {
        if bpf_probe_read_user((&raw mut message).cast(), size_of::<Message>() as u32, address as *const c_void) < 0 {
            return u64::MAX;
        }
        for at in 0..MOST {
            if at >= message.count {
                return sum;
            }
            // `struct iovec`: an address and a length.
            let mut length = 0_u64;
            let from = message.buffers.wrapping_add(at * 16 + 8);
            if bpf_probe_read_user((&raw mut length).cast(), 8, from as *const c_void) < 0 {
                return u64::MAX;
            }
            sum += length;
        }
    }
    if message.count == MOST { sum } else { u64::MAX }
}
