//! `task_struct`, field by field, through offsets of the running kernel.
//!
//! A `Task` wraps a pointer that the verifier knows to be a `task_struct` (a tracepoint argument, an iterator's element,
//! or the current task): a load through it is checked, and cannot fault. Before 5.11 there is no helper that gives the
//! current task as such a pointer; what is read through that is read by a helper that checks the address.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel};

use crate::globals::{self, get};

/// `TASK_INTERRUPTIBLE` of include/linux/sched.h.
const INTERRUPTIBLE: u32 = 0x1;
/// `TASK_UNINTERRUPTIBLE` of include/linux/sched.h.
const UNINTERRUPTIBLE: u32 = 0x2;
/// `TASK_DEAD`: set for the last switch of a thread.
const DEAD: u32 = 0x80;
/// `TASK_NOLOAD`: idle kernel threads sleep uninterruptibly but are not in trouble.
const NOLOAD: u32 = 0x400;
/// `PF_FORKNOEXEC`
const FORKNOEXEC: u32 = 0x40;
/// `SIGNAL_GROUP_EXIT` of include/linux/sched/signal.h
const GROUP_EXIT: u32 = 0x4;
/// `PF_KTHREAD`
const KTHREAD: u32 = 0x0020_0000;

/// A pointer to a `task_struct`.
#[derive(Clone, Copy)]
pub struct Task {
    at: *const u8,
    /// The verifier knows what it is. Always a constant to it, so that it sees one way to load, and no branch is left.
    is_checked: bool,
}

impl Task {
    /// Wraps a pointer that the verifier knows to be a `task_struct`.
    #[inline(always)]
    pub const fn new(task: *const u8) -> Self {
        Self { at: task, is_checked: true }
    }

    /// The task this runs in.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helpers have no preconditions, and the first never returns null.
        unsafe {
            if get(&globals::HAS_TASK_BTF) != 0 {
                Self::new(bpf_get_current_task_btf().cast_const().cast())
            } else {
                Self { at: bpf_get_current_task() as *const u8, is_checked: false }
            }
        }
    }

    /// The id of the thread this runs in, when `self` is its task: without a load where that is a call.
    #[inline(always)]
    pub fn current_tid(self) -> u32 {
        if self.is_checked { self.tid() } else { bpf_get_current_pid_tgid() as u32 }
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: &'static u32) -> T {
        let at = self.at.wrapping_add(get(offset) as usize).cast::<T>();
        // SAFETY: the verifier admits the load only if a field of the structure lies at this constant offset; the helper
        // checks the address, and zeros are a value of every type that is read here.
        unsafe { if self.is_checked { at.read() } else { bpf_probe_read_kernel(at).unwrap_or(core::mem::zeroed()) } }
    }

    /// The task that a field of this one points to.
    #[inline(always)]
    fn follow(self, offset: &'static u32) -> Self {
        Self { at: self.read(offset), is_checked: self.is_checked }
    }

    /// Thread id in the initial PID namespace; 0 for every CPU's idle task.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        self.read(&globals::TASK_PID)
    }

    /// Process id in the initial PID namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        self.read(&globals::TASK_TGID)
    }

    /// Start of the thread, ns of `CLOCK_BOOTTIME`.
    #[inline(always)]
    pub fn start_ns(self) -> u64 {
        self.read(&globals::TASK_START)
    }

    /// Start of its process.
    #[inline(always)]
    pub fn process_start_ns(self) -> u64 {
        self.group_leader().start_ns()
    }

    /// Time on CPUs as the scheduler accounts it, ns. Exact at a switch away; leaves out what a hypervisor stole where
    /// the kernel knows (`CONFIG_PARAVIRT_TIME_ACCOUNTING`).
    #[inline(always)]
    pub fn exec_ns(self) -> u64 {
        self.read(&globals::TASK_EXEC)
    }

    /// The state word.
    #[inline(always)]
    pub fn state(self) -> u32 {
        self.read(&globals::TASK_STATE)
    }

    /// True while it is on a CPU.
    #[inline(always)]
    pub fn on_cpu(self) -> bool {
        // An int, or in newer kernels a byte: its lowest byte is both.
        self.read::<u8>(&globals::TASK_ON_CPU) != 0
    }

    /// True for kernel threads.
    #[inline(always)]
    pub fn is_kthread(self) -> bool {
        self.read::<u32>(&globals::TASK_FLAGS) & KTHREAD != 0
    }

    /// Its name.
    #[inline(always)]
    pub fn comm(self) -> [u8; 16] {
        let at = self.at.wrapping_add(get(&globals::TASK_COMM) as usize).cast::<u64>();
        // SAFETY: as in `read`; `comm` is 16 bytes (TASK_COMM_LEN). Loads are of at most eight.
        let words = unsafe {
            if self.is_checked {
                [at.read_unaligned(), at.wrapping_add(1).read_unaligned()]
            } else {
                bpf_probe_read_kernel(at.cast::<[u64; 2]>()).unwrap_or([0; 2])
            }
        };
        // SAFETY: two u64 are 16 bytes.
        unsafe { core::mem::transmute(words) }
    }

    /// The main thread of its process.
    #[inline(always)]
    pub fn group_leader(self) -> Self {
        self.follow(&globals::TASK_GROUP_LEADER)
    }

    /// A thread of the process that made it, or that has adopted it since.
    #[inline(always)]
    pub fn parent(self) -> Self {
        self.follow(&globals::TASK_PARENT)
    }

    /// True for a thread that has called no `execve` since it was made.
    #[inline(always)]
    pub fn is_mere_fork(self) -> bool {
        self.read::<u32>(&globals::TASK_FLAGS) & FORKNOEXEC != 0
    }

    /// A field of what all threads of the process share for their signals.
    #[inline(always)]
    fn signal(self, offset: &'static u32) -> u32 {
        self.follow(&globals::TASK_SIGNAL).read(offset)
    }

    /// Threads of its process that have not begun to exit.
    #[inline(always)]
    pub fn live_threads(self) -> u32 {
        self.signal(&globals::SIGNAL_LIVE)
    }

    /// What the parent is told of the end of its process: what all threads were told to exit with, or else with what the main
    /// thread has (`wait_task_zombie` of kernel/exit.c).
    #[inline(always)]
    pub fn wait_status(self) -> u32 {
        if self.signal(&globals::SIGNAL_FLAGS) & GROUP_EXIT != 0 {
            self.signal(&globals::SIGNAL_EXIT_CODE)
        } else {
            self.group_leader().read(&globals::TASK_EXIT_CODE)
        }
    }

    /// The pointer, for helpers that take a task.
    #[inline(always)]
    pub const fn pointer(self) -> *const u8 {
        self.at
    }

    /// True while it waits for a device that it has asked for something: what the kernel counts as waiting for I/O.
    #[inline(always)]
    pub fn in_iowait(self) -> bool {
        get(&globals::TASK_IOWAIT) != kscope_layout::ABSENT
            && u32::from(self.read::<u8>(&globals::TASK_IOWAIT)) & get(&globals::TASK_IOWAIT_BIT) != 0
    }

    /// Its open files, a checked pointer to a `files_struct`.
    #[inline(always)]
    pub fn files(self) -> Option<*const u8> {
        if get(&globals::TASK_FILES) == kscope_layout::ABSENT {
            return None;
        }
        let files: *const u8 = self.read(&globals::TASK_FILES);
        (!files.is_null()).then_some(files)
    }

    /// True inside a call made through the entry for 32-bit programs, whose numbers mean other calls.
    #[inline(always)]
    pub fn in_compat_call(self) -> bool {
        get(&globals::TASK_TI_STATUS) != kscope_layout::ABSENT
            && self.read::<u32>(&globals::TASK_TI_STATUS) & get(&globals::COMPAT_BIT) != 0
    }
}

/// True for the state of a thread that is switched away for the last time.
#[inline(always)]
pub const fn is_dead(state: u32) -> bool {
    state & DEAD != 0
}

/// True for the state of a thread that waits for something; others are stopped, traced, parked, or gone.
#[inline(always)]
pub const fn waits(state: u32) -> bool {
    state & (INTERRUPTIBLE | UNINTERRUPTIBLE) != 0
}

/// True for a wait that no signal ends, or none but a deadly one.
#[inline(always)]
pub const fn is_uninterruptible(state: u32) -> bool {
    state & UNINTERRUPTIBLE != 0 && state & NOLOAD == 0
}

/// `kscope_layout::state` of a thread that left the CPU with this non-zero state word.
#[inline(always)]
pub const fn blocked_state(state: u32) -> u32 {
    if is_uninterruptible(state) { kscope_layout::state::DISK_SLEEP } else { kscope_layout::state::SLEEPING }
}
