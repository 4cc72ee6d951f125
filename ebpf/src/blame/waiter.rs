//! A thread that waits, and what the scheduler knows of its queue, through offsets of the running kernel.
//!
//! Invariant: a field that the kernel does not have is no load, and its value one that tells nothing.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use kscope_layout::blame::IDLE_OWNER;
use kscope_layout::{ABSENT, RecordKey};

use super::divide::WORDS;
use crate::globals::{self, get};
use crate::task::Task;

/// A thread that waits, or might.
#[derive(Clone, Copy)]
pub struct Waiter {
    /// The thread.
    pub task: Task,
    /// The same, checked by the verifier as a `task_struct`.
    pointer: *const u8,
    /// Its id; 0 for every CPU's idle task.
    pub tid: u32,
}

/// What the scheduler has accounted of a queue and its CPU, both cumulative.
#[derive(Clone, Copy)]
pub struct Accounts {
    /// What a hypervisor has stolen of the CPU.
    pub stolen_ns: u64,
    /// How long the queue has been throttled.
    pub throttled_ns: u64,
}

impl Waiter {
    #[inline(always)]
    pub fn new(pointer: *const u8) -> Self {
        let task = Task::new(pointer);
        Self { task, pointer, tid: task.tid() }
    }

    /// Its process, as the owner of a stretch.
    #[inline(always)]
    pub fn owner(self) -> RecordKey {
        if self.tid == 0 { IDLE_OWNER } else { RecordKey::new(self.task.tgid(), self.task.process_start_ns(), 0) }
    }

    /// The CPU in whose queue it is.
    #[inline(always)]
    pub fn cpu(self) -> u32 {
        // SAFETY: a checked load of a field.
        if is_there(&globals::TASK_CPU) { unsafe { field(self.pointer, &globals::TASK_CPU) } } else { ABSENT }
    }

    /// The accounts of the queue that it is in or comes from.
    #[inline(always)]
    pub fn accounts(self) -> Accounts {
        if !is_there(&globals::TASK_QUEUE) {
            return Accounts { stolen_ns: 0, throttled_ns: 0 };
        }
        // SAFETY: a checked load of a field that holds a checked pointer.
        let queue = unsafe { field::<*const u8>(self.pointer, &globals::TASK_QUEUE) };
        // SAFETY: the same, as far as its fields go.
        accounts(queue, |at, offset| unsafe { field(at, offset) })
    }

    /// The address of that queue.
    #[inline(always)]
    pub fn queue(self) -> u64 {
        // SAFETY: a checked load of a field.
        if is_there(&globals::TASK_QUEUE) { unsafe { field(self.pointer, &globals::TASK_QUEUE) } } else { 0 }
    }

    /// The address of its group's queue on another CPU; 0 if that is not known.
    #[inline(always)]
    pub fn queue_on(self, cpu: u32) -> u64 {
        if !is_there(&globals::TASK_GROUP) || !is_there(&globals::GROUP_QUEUES) {
            return 0;
        }
        // SAFETY: two checked loads of fields that hold checked pointers.
        let queues =
            unsafe { field::<*const *const u8>(field(self.pointer, &globals::TASK_GROUP), &globals::GROUP_QUEUES) };
        // An array of pointers is no type that the verifier knows, so from here on loads are calls.
        load(queues.wrapping_add(cpu as usize).cast())
    }

    /// Whether it is out of its queue until its group has a quota again; 1 where only the queue as a whole can be.
    #[inline(always)]
    pub fn throttled(self) -> u32 {
        if is_there(&globals::TASK_THROTTLED) {
            // SAFETY: a checked load of a field.
            u32::from(unsafe { field::<u8>(self.pointer, &globals::TASK_THROTTLED) })
        } else {
            1
        }
    }

    /// The first CPUs that it may use, as bits.
    #[inline(always)]
    pub fn cpus(self) -> [u64; WORDS] {
        if !is_there(&globals::TASK_CPUS) {
            return [0; WORDS];
        }
        // SAFETY: a checked load. The helper checks the address; of a shorter set what follows it is read, too, but there
        // are no such CPUs.
        let mut cpus = [0; WORDS];
        unsafe {
            let at = field::<*const c_void>(self.pointer, &globals::TASK_CPUS);
            bpf_probe_read_kernel((&raw mut cpus).cast(), size_of_val(&cpus) as u32, at);
        }
        cpus
    }
}

/// The accounts of a queue whose address was kept; the thread is in it, so it is still there.
#[inline(always)]
pub fn accounts_of(queue: u64) -> Accounts {
    if queue == 0 {
        return Accounts { stolen_ns: 0, throttled_ns: 0 };
    }
    accounts(queue as *const u8, |at, offset| load(at.wrapping_add(get(offset) as usize)))
}

/// A word of the kernel's memory; 0 where there is none. Without a branch: each is one more path for the verifier.
#[inline(always)]
fn load(at: *const u8) -> u64 {
    let mut word = 0_u64;
    // SAFETY: the helper checks the address, and writes all of the word or zeros.
    unsafe { bpf_probe_read_kernel((&raw mut word).cast(), 8, at.cast()) };
    word
}

/// Does the running kernel have this field?
#[inline(always)]
fn is_there(offset: &'static u32) -> bool {
    get(offset) != ABSENT
}

/// A field of a kernel structure.
///
/// # Safety
///
/// The verifier must know the pointer's type; it then admits the load only if such a field lies there.
#[inline(always)]
unsafe fn field<T: Copy>(at: *const u8, offset: &'static u32) -> T {
    // SAFETY: as the caller promises.
    unsafe { at.add(get(offset) as usize).cast::<T>().read() }
}

#[inline(always)]
fn accounts(queue: *const u8, load: impl Fn(*const u8, &'static u32) -> u64) -> Accounts {
    let mut accounts = Accounts { stolen_ns: 0, throttled_ns: 0 };
    if !is_there(&globals::QUEUE_CPU) {
        return accounts;
    }
    let cpu = load(queue, &globals::QUEUE_CPU) as *const u8;
    if is_there(&globals::CPU_STOLEN) {
        accounts.stolen_ns = load(cpu, &globals::CPU_STOLEN);
    }
    if is_there(&globals::QUEUE_THROTTLED) && is_there(&globals::QUEUE_THROTTLED_SINCE) {
        let since = load(queue, &globals::QUEUE_THROTTLED_SINCE);
        accounts.throttled_ns = load(queue, &globals::QUEUE_THROTTLED);
        // The scheduler's clock is not ours: only its own times may be compared with it.
        if since != 0 {
            accounts.throttled_ns += load(cpu, &globals::CPU_CLOCK).saturating_sub(since);
        }
    }
    accounts
}
