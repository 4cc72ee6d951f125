//! What a thread waits for when it is blocked: found when it leaves its CPU, so that its calls cost nothing more.
//!
//! The number of the call tells most of it; of a call that depends on a descriptor, the kind of file behind that is looked at.
//! The arguments are not kept at the entry of a call: they are still in the registers that the thread brought into the
//! kernel. Where the helper that finds these is missing (before 5.15), only calls that were seen to begin are known, and
//! descriptors are not looked at.
//!
//! Invariant: each nanosecond in `blocked_ns` is in exactly one cause of the thread.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use kscope_layout::cause::{self, Causes, class};
use kscope_layout::{ABSENT, CALL_ROWS, NO_CALL, Thread, ThreadKey, flags, state};

use crate::globals::{self, get};
use crate::maps::{THREADS_MORE, calls_since_ns};
use crate::syscalls::row_of;
use crate::task::{Task, is_uninterruptible, waits};

/// Blocked time by cause of the threads in `THREADS`, by the same slot.
#[map]
pub static CAUSES: Array<Causes> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The parts of `inode.i_mode` that tell a file's kind (include/uapi/linux/stat.h).
mod mode {
    pub const KIND: u16 = 0o170_000;
    pub const FIFO: u16 = 0o010_000;
    pub const DIRECTORY: u16 = 0o040_000;
    pub const BLOCK_DEVICE: u16 = 0o060_000;
    pub const REGULAR: u16 = 0o100_000;
    pub const SOCKET: u16 = 0o140_000;
}

/// Accounts time in which the thread was blocked.
#[inline(never)]
pub fn blocked(t: &mut Thread, ns: u64) {
    t.blocked_ns += ns;
    let causes = if t.flags & flags::BESIDE == 0 {
        CAUSES.get_ptr_mut(t.tid & get(&globals::SLOT_MASK))
    } else {
        let key = ThreadKey { start_ns: t.start_ns, tid: t.tid, pad: 0 };
        // SAFETY: a field of a map value.
        THREADS_MORE.get_ptr_mut(&key).map(|beside| unsafe { &raw mut (*beside).causes })
    };
    if let Some(causes) = causes {
        // SAFETY: a map value; the thread's one writer is here (`thread.rs`).
        let causes = unsafe { &mut *causes };
        causes[cause::of(t.flags) as usize] += ns;
    }
}

/// What a thread waits for that leaves its CPU with this state word, or has left it.
#[inline(never)]
pub fn cause_of(task: Task, t: &mut Thread, word: u32) -> u32 {
    t.flags &= !flags::REMEMBERED;
    // Stopped, traced or parked: somebody else decides.
    if !waits(word) {
        return cause::OTHER;
    }
    let (in_io, uninterruptible) = (task.in_iowait(), is_uninterruptible(word));
    if t.flags & flags::KTHREAD != 0 {
        return if in_io { cause::DISK } else { cause::OTHER };
    }
    let Some(row) = row_at(task, t) else { return cause::OTHER };
    if row == NO_CALL {
        return if uninterruptible { cause::PAGE_FAULT } else { cause::OTHER };
    }
    if in_io {
        return cause::DISK;
    }
    match class_of(row) {
        class::FUTEX => cause::FUTEX,
        class::SLEEP => cause::SLEEP,
        class::POLL => cause::POLL,
        class::SOCKET => cause::SOCKET,
        class::FILE if uninterruptible => cause::DISK,
        class::DESCRIPTOR => of_descriptor(task, t, uninterruptible),
        _ => cause::OTHER,
    }
}

/// Looks up again what the descriptor is that a thread waits through, where that was only remembered: a wait is over that was
/// long enough to be worth it. The thread is still in its call, so its registers and its files are those of the wait.
#[inline(never)]
pub fn look_again(task: Task, t: &mut Thread) {
    let uninterruptible = t.state == state::DISK_SLEEP;
    if let Some(fd) = registers(task, &globals::REGS_FIRST) {
        let kind = look_up(task, t, fd as u32);
        t.flags = cause::with(t.flags & !flags::REMEMBERED, of_kind(kind, uninterruptible));
    }
}

/// The row of the call that the thread is in, [`NO_CALL`] outside of any; `None` where that cannot be known.
#[inline(always)]
fn row_at(task: Task, t: &Thread) -> Option<u32> {
    if t.call != NO_CALL && t.call_since_ns >= calls_since_ns() {
        return Some(t.call);
    }
    // Not every call is seen to begin: some did before these programs were attached, and under a budget most are left out.
    let nr = registers(task, &globals::REGS_CALL)? as u32;
    // Outside of calls there is a -1.
    Some(if nr == u32::MAX { NO_CALL } else { row_of(task, u64::from(nr)) })
}

/// A word of the registers that the thread brought into the kernel.
#[inline(always)]
fn registers(task: Task, offset: &'static u32) -> Option<u64> {
    if get(&globals::HAS_TASK_REGS) == 0 || get(offset) == ABSENT {
        return None;
    }
    // SAFETY: the task is one that the verifier knows; what the helper returns may be read, at offsets of fields.
    unsafe {
        let regs = bpf_task_pt_regs(task.pointer().cast_mut().cast()) as *const u8;
        Some(regs.add(get(offset) as usize).cast::<u64>().read())
    }
}

#[inline(always)]
fn class_of(row: u32) -> u8 {
    let at = row & (CALL_ROWS - 1);
    // SAFETY: inside the table. Volatile, or the compiler would fold the zeros it was compiled with.
    unsafe { (&raw const globals::CALL_CLASSES).cast::<u8>().add(at as usize).read_volatile() }
}

/// A thread that waits often mostly waits through the same descriptor: the look-up takes three reads through helpers, which
/// is a third of what a switch costs.
#[inline(always)]
fn of_descriptor(task: Task, t: &mut Thread, uninterruptible: bool) -> u32 {
    let Some(fd) = registers(task, &globals::REGS_FIRST) else { return cause::OTHER };
    let fd = fd as u32;
    let kind = match cause::remembered(t.file, fd) {
        Some(kind) => {
            t.flags |= flags::REMEMBERED;
            kind
        }
        None => look_up(task, t, fd),
    };
    of_kind(kind, uninterruptible)
}

/// What kind of file a descriptor is open on, as the cause of waits for it.
#[inline(always)]
fn look_up(task: Task, t: &mut Thread, fd: u32) -> u32 {
    let kind = match mode_of(task, fd) & mode::KIND {
        mode::SOCKET => cause::SOCKET,
        mode::FIFO => cause::PIPE,
        mode::REGULAR | mode::DIRECTORY | mode::BLOCK_DEVICE => cause::DISK,
        _ => cause::OTHER,
    };
    t.file = cause::remember(fd, kind);
    kind
}

/// The cause of a wait for a file of this kind.
#[inline(always)]
const fn of_kind(kind: u32, uninterruptible: bool) -> u32 {
    // What is no file but looks like one (an event descriptor) can be interrupted.
    if kind == cause::DISK && !uninterruptible { cause::OTHER } else { kind }
}

/// `task->files->fdt->fd[fd]->f_inode->i_mode`; 0 where there is no such file (any more). The table may be changed meanwhile
/// by another thread, but programs run as RCU readers: it is not freed.
#[inline(always)]
fn mode_of(task: Task, fd: u32) -> u16 {
    if [&globals::FILES_TABLE, &globals::TABLE_LEN, &globals::TABLE_FILES, &globals::FILE_INODE, &globals::INODE_MODE]
        .into_iter()
        .any(|offset| get(offset) == ABSENT)
    {
        return 0;
    }
    let Some(files) = task.files() else { return 0 };
    // SAFETY: loads through pointers that the verifier knows, at offsets of their fields, are checked; the others are done by
    // a helper, which refuses what is not there.
    unsafe {
        let table = files.add(get(&globals::FILES_TABLE) as usize).cast::<*const u8>().read();
        if table.is_null() || fd >= table.add(get(&globals::TABLE_LEN) as usize).cast::<u32>().read() {
            return 0;
        }
        let all = table.add(get(&globals::TABLE_FILES) as usize).cast::<*const *const u8>().read();
        let Ok(file) = bpf_probe_read_kernel(all.add(fd as usize)) else { return 0 };
        let inode = file.add(get(&globals::FILE_INODE) as usize).cast::<*const u8>();
        let Ok(inode) = bpf_probe_read_kernel(inode) else { return 0 };
        bpf_probe_read_kernel(inode.add(get(&globals::INODE_MODE) as usize).cast::<u16>()).unwrap_or(0)
    }
}
