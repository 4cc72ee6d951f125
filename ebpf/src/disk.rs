//! Block I/O: how long requests wait for their device, how long it takes, and who asked.
//!
//! A request begins when it is made of what a process submitted (`block_io_start`), is handed to the driver
//! (`block_rq_issue`) and ends when all of it is done (`block_rq_complete`). `block_io_done` would be an end too, but the
//! kernel leaves it out where nobody needs the time (`queue/iostats` is 0 and there is no scheduler).
//!
//! What is not made of requests has none: stacked devices (dm, md), zram and ram disks. Requests of passed-through commands
//! are not counted, nor are those that began before the programs were attached.
//!
//! Some ends are not seen: they come in interrupts, and some sandboxes let no program run while one of their own processes is
//! on the CPU. The address of such a request is used again by a later one: then, at the latest, it has ended, and is counted
//! without a latency. (User space knows those whose address has not been used again: `probes/disk/probe.rs`.)
//!
//! Invariant: one request is counted once, when it ends, with the sum of its two phases as its total.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::arch::asm;
use kscope_layout::bucket::scale3;
use kscope_layout::disk::{Asked, DeviceRow, NO_SLOT, Started, direction, phase};
use kscope_layout::{ABSENT, RecordKey, Row, lost};

use crate::globals::{self, get};
use crate::latency::{Place, add_atomic, add_atomic32};
use crate::maps::{DEVICES, DISK_PROCESSES, DISKS, DISKS_FREE, REQUESTS, epoch, lose};
use crate::task::Task;

/// `REQ_OP_*` of include/linux/blk_types.h: the low eight bits of a request's flags.
mod op {
    pub const BITS: u32 = 0xff;
    pub const READ: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const FLUSH: u32 = 2;
    /// `REQ_OP_ZONE_APPEND`, until 6.5 and since.
    pub const ZONE_APPEND: [u32; 2] = [13, 7];
    /// From here on, commands that are passed through to a driver.
    pub const PASSED_THROUGH: u32 = 32;
}

/// A `struct request` that the verifier knows to be one.
#[derive(Clone, Copy)]
struct Request(*const u8);

impl Request {
    /// The only request among the arguments. Until 5.11 its queue came first.
    #[inline(always)]
    fn of(ctx: &BtfTracePointContext) -> Self {
        if get(&globals::ISSUE_ARGS) > 1 {
            let request = ctx.arg(1);
            // SAFETY: no instruction. Without it the two loads become one at a computed place, which verifiers refuse.
            unsafe { asm!("", options(nostack, preserves_flags)) };
            Self(request)
        } else {
            Self(ctx.arg(0))
        }
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: &'static u32) -> T {
        load(self.0, offset)
    }

    #[inline(always)]
    fn len(self) -> u32 {
        self.read(&globals::REQUEST_LEN)
    }

    /// Is there somebody else who ends it?
    #[inline(always)]
    fn has_end(self) -> bool {
        self.read::<u64>(&globals::REQUEST_END_IO) != 0
    }

    /// What it does; `None` for a command that is passed through.
    #[inline(always)]
    fn direction(self) -> Option<u32> {
        match self.read::<u32>(&globals::REQUEST_OP) & op::BITS {
            op::READ => Some(direction::READ),
            // A flush is submitted as a write of nothing.
            op::WRITE if self.len() == 0 => Some(direction::FLUSH),
            op::WRITE => Some(direction::WRITE),
            op::FLUSH => Some(direction::FLUSH),
            op if op >= op::PASSED_THROUGH => None,
            op if op == op::ZONE_APPEND[0] || op == op::ZONE_APPEND[1] => Some(direction::WRITE),
            _ => Some(direction::OTHER),
        }
    }

    /// Number of the whole disk, 12 bits major and 20 bits minor; 0 for a queue without one.
    #[inline(always)]
    fn device(self) -> u32 {
        let disk: *const u8 = if get(&globals::QUEUE_DISK) != ABSENT {
            load(self.read(&globals::REQUEST_QUEUE), &globals::QUEUE_DISK)
        } else {
            self.read(&globals::REQUEST_DISK)
        };
        load::<u32>(disk, &globals::DISK_MAJOR) << 20 | load::<u32>(disk, &globals::DISK_MINOR)
    }
}

/// A field of a structure. The kernel makes a load through a null pointer of such a type yield 0.
#[inline(always)]
fn load<T: Copy>(structure: *const u8, offset: &'static u32) -> T {
    // SAFETY: the verifier admits the load only if a field of the structure lies at this constant offset.
    unsafe { structure.add(get(offset) as usize).cast::<T>().read() }
}

/// Are beginnings seen as such? Before 6.5 a request is first seen in its queue, or, where it skips that, at its driver.
#[inline(always)]
fn sees_begin() -> bool {
    get(&globals::IO_START_ARGS) != ABSENT
}

/// `block_io_start(struct request *rq)`; on kernels without it `block_rq_insert([struct request_queue *q,] struct request *rq)`.
#[btf_tracepoint(function = "block_io_start")]
pub fn block_io_start(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let request = Request::of(&ctx);
    if sees_begin() {
        begin(request, now, 0);
    } else if !is_known(request) {
        begin(request, began(request, now), 0);
    }
    0
}

/// When a request was made, where the kernel noted it.
#[inline(always)]
fn began(request: Request, now: u64) -> u64 {
    if get(&globals::REQUEST_START) == ABSENT {
        return now;
    }
    let noted: u64 = request.read(&globals::REQUEST_START);
    if noted == 0 || noted > now { now } else { noted }
}

/// Has it been in a queue before? (It goes there again when a driver could not take it.) The place of a request is used by one
/// after the other: by when it began one tells them apart.
#[inline(always)]
fn is_known(request: Request) -> bool {
    let Some(entry) = REQUESTS.get_ptr(key(request)) else { return false };
    // SAFETY: a map value.
    let start_ns = unsafe { (*entry).start_ns };
    get(&globals::REQUEST_START) != ABSENT && request.read::<u64>(&globals::REQUEST_START) == start_ns
}

#[inline(always)]
fn key(request: Request) -> u64 {
    request.0 as u64
}

#[inline(always)]
fn begin(request: Request, start_ns: u64, issue_ns: u64) {
    let Some(direction) = request.direction() else { return };
    let device = request.device();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if device == 0 || !globals::is_measured(tgid) {
        return;
    }
    count_unseen(request);
    let process = if tgid == 0 { RecordKey(0) } else { RecordKey::new(tgid, Task::current().process_start_ns(), 0) };
    let started = Started {
        start_ns,
        issue_ns,
        process,
        bytes: request.len(),
        slot: find_or_make_slot(device),
        direction,
        is_clone: u32::from(request.has_end()),
    };
    if REQUESTS.insert(key(request), started, 0).is_err() {
        lose(lost::DISK);
    }
}

/// Counts the request that had this address before, if its end was not seen. Where merging is not seen either, it may have
/// become a part of another, and is nothing by itself.
#[inline(always)]
fn count_unseen(request: Request) {
    if get(&globals::MERGE_ARGS) == ABSENT {
        return;
    }
    let Some(entry) = REQUESTS.get_ptr(key(request)) else { return };
    // SAFETY: a map value, which nobody else touches: its request is gone, and the next is just being made.
    let old = unsafe { *entry };
    if let Some(row) = row_of(&old) {
        // SAFETY: fields of a map value.
        unsafe {
            add_atomic(&raw mut (*row).bytes, u64::from(old.bytes));
            add_atomic(&raw mut (*row).unseen, 1);
        }
    }
    charge(&old, 0);
}

/// The slot of a device, made if it has none yet. Out of line, since it is rare.
#[inline(never)]
fn find_or_make_slot(device: u32) -> u32 {
    if let Some(slot) = DEVICES.get_ptr(device) {
        // SAFETY: a map value that never changes.
        return unsafe { *slot };
    }
    let Ok(Some(slot)) = DISKS_FREE.pop() else { return NO_SLOT };
    if DEVICES.insert(device, slot, u64::from(BPF_NOEXIST)).is_ok() {
        return slot;
    }
    // Another CPU was quicker.
    let _ = DISKS_FREE.push(slot, 0);
    // SAFETY: as above.
    DEVICES.get_ptr(device).map_or(NO_SLOT, |made| unsafe { *made })
}

/// `block_rq_issue([struct request_queue *q,] struct request *rq)`: the driver gets it, again if it could not take it before.
#[btf_tracepoint(function = "block_rq_issue")]
pub fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let request = Request::of(&ctx);
    if !sees_begin() && !is_known(request) {
        begin(request, began(request, now), now);
        return 0;
    }
    if let Some(entry) = REQUESTS.get_ptr_mut(key(request)) {
        // SAFETY: a map value; nobody else touches a request that is being issued.
        unsafe {
            (*entry).issue_ns = now;
            // Others may have been merged into it, and what is issued again may be the rest of it.
            let len = request.len();
            if len > (*entry).bytes {
                (*entry).bytes = len;
            }
        }
    }
    0
}

/// `block_rq_merge([struct request_queue *q,] struct request *rq)`: it became a part of another one, which has its bytes.
#[btf_tracepoint(function = "block_rq_merge")]
pub fn block_rq_merge(ctx: BtfTracePointContext) -> i32 {
    let _ = REQUESTS.remove(key(Request::of(&ctx)));
    0
}

/// `block_rq_complete(struct request *rq, blk_status_t error, unsigned int nr_bytes)`: so many bytes of it are done.
#[btf_tracepoint(function = "block_rq_complete")]
pub fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    let request = Request(ctx.arg(0));
    let Some(entry) = REQUESTS.get_ptr(key(request)) else { return 0 };
    // SAFETY: a map value, which nobody writes any more.
    let started = unsafe { *entry };
    if ctx.arg::<u32>(2) < request.len() {
        return 0;
    }
    // A write between two flushes: its data is done, and it will be completed once more after the second.
    if started.is_clone == 0 && request.has_end() {
        return 0;
    }
    let _ = REQUESTS.remove(key(request));
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // An int before 5.16; no error is a multiple of 256.
    let failed = ctx.arg::<u32>(1) as u8 != 0;
    end(&started, now, failed);
    0
}

#[inline(always)]
fn end(started: &Started, now: u64, failed: bool) {
    let (queue_ns, device_ns) = if started.issue_ns == 0 {
        (0, 0)
    } else {
        (elapsed(started.start_ns, started.issue_ns), elapsed(started.issue_ns, now))
    };
    let total_ns = if device_ns == 0 { elapsed(started.start_ns, now) } else { queue_ns + device_ns };
    match row_of(started) {
        Some(row) => count(row, started, (total_ns, queue_ns, device_ns), failed),
        None => lose(lost::DISK),
    }
    charge(started, total_ns);
}

/// The row that a request is counted in.
#[inline(always)]
fn row_of(started: &Started) -> Option<*mut DeviceRow> {
    if started.slot == NO_SLOT {
        return None;
    }
    DISKS.get_ptr_mut(started.slot.wrapping_mul(direction::COUNT).wrapping_add(started.direction))
}

#[inline(always)]
fn count(row: *mut DeviceRow, started: &Started, (total_ns, queue_ns, device_ns): (u64, u64, u64), failed: bool) {
    // SAFETY: fields of a map value.
    unsafe {
        add_atomic(&raw mut (*row).bytes, u64::from(started.bytes));
        let phases = (&raw mut (*row).phases).cast::<Row>();
        if failed {
            add_atomic32(&raw mut (*phases).sums.errors, 1);
        }
        if device_ns != 0 {
            record(phases.add(phase::QUEUE), queue_ns);
            record(phases.add(phase::DEVICE), device_ns);
        }
        record(phases.add(phase::TOTAL), total_ns);
    }
}

/// Out of line: one copy serves the three phases.
#[inline(never)]
fn record(row: *mut Row, ns: u64) {
    Place::in_row(row).add(scale3(ns), ns, 1, epoch());
}

/// From one moment to another, at least 1 ns: two CPUs' clocks can differ.
#[inline(always)]
fn elapsed(from: u64, to: u64) -> u64 {
    if to > from { to - from } else { 1 }
}

/// Adds to what its process had devices do.
#[inline(always)]
fn charge(started: &Started, total_ns: u64) {
    if started.process.0 == 0 {
        return;
    }
    let Some(asked) = account(started.process) else { return lose(lost::DISK) };
    let at = started.direction as usize & (direction::COUNT as usize - 1);
    // SAFETY: fields of a map value, the index masked to their length.
    unsafe {
        add_atomic((&raw mut (*asked).requests).cast::<u64>().add(at), 1);
        add_atomic((&raw mut (*asked).bytes).cast::<u64>().add(at), u64::from(started.bytes));
        // Nothing is added for one whose end was not seen: of adding 0 the compiler makes an instruction that needs 5.12.
        if total_ns != 0 {
            add_atomic((&raw mut (*asked).total_ns).cast::<u64>().add(at), total_ns);
        }
    }
}

#[inline(always)]
fn account(process: RecordKey) -> Option<*mut Asked> {
    DISK_PROCESSES.get_ptr_mut(process).or_else(|| {
        let _ = DISK_PROCESSES.insert(process, &NOTHING, u64::from(BPF_NOEXIST));
        DISK_PROCESSES.get_ptr_mut(process)
    })
}

/// What a new account holds.
static NOTHING: Asked = Asked {
    requests: [0; direction::COUNT as usize],
    bytes: [0; direction::COUNT as usize],
    total_ns: [0; direction::COUNT as usize],
};
