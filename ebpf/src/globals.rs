//! What user space tells the programs before they are loaded: structure offsets of the running kernel, and settings.
//!
//! They are frozen read-only data, so the verifier knows their values: a branch on one costs nothing, and an access
//! through one is a checked load. The names are those of `src/kernel/offsets.rs` and `src/kernel/loader.rs`.
//!
//! Invariant: all are in a section of their own. Elsewhere the compiler may take one for a constant of the same bytes that
//! some code needs the address of, such as a new entry of a map: zeros that are then no zeros any more.

use core::ptr::read_volatile;

use kscope_layout::cause::Classes;
use kscope_layout::{ABSENT, CALL_ROWS, MAX_ONLY, MAX_OWN};

macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] #[unsafe(link_section = ".rodata.told")] pub static $name: u32 = $value;)*
    };
}

globals! {
    /// `task_struct.pid`
    TASK_PID = ABSENT;
    /// `task_struct.tgid`
    TASK_TGID = ABSENT;
    /// `task_struct.flags`
    TASK_FLAGS = ABSENT;
    /// `task_struct.__state`
    TASK_STATE = ABSENT;
    /// `task_struct.group_leader`
    TASK_GROUP_LEADER = ABSENT;
    /// `task_struct.start_boottime`
    TASK_START = ABSENT;
    /// `task_struct.on_cpu`
    TASK_ON_CPU = ABSENT;
    /// `task_struct.se.sum_exec_runtime`
    TASK_EXEC = ABSENT;
    /// `task_struct.comm`
    TASK_COMM = ABSENT;
    /// `task_struct.real_parent`
    TASK_PARENT = ABSENT;
    /// `task_struct.exit_code`
    TASK_EXIT_CODE = ABSENT;
    /// `task_struct.signal`
    TASK_SIGNAL = ABSENT;
    /// `signal_struct.live`
    SIGNAL_LIVE = ABSENT;
    /// `signal_struct.flags`
    SIGNAL_FLAGS = ABSENT;
    /// `signal_struct.group_exit_code`
    SIGNAL_EXIT_CODE = ABSENT;
    /// `task_struct.thread_info.status` (x86), or the lower half of its `flags` (ARM)
    TASK_TI_STATUS = ABSENT;
    /// The bit in that of a 32-bit call.
    COMPAT_BIT = 0;
    /// `task_struct.files`
    TASK_FILES = ABSENT;
    /// The byte that holds `task_struct.in_iowait`
    TASK_IOWAIT = ABSENT;
    /// The bit in that byte.
    TASK_IOWAIT_BIT = 0;
    /// `files_struct.fdt`
    FILES_TABLE = ABSENT;
    /// `fdtable.max_fds`
    TABLE_LEN = ABSENT;
    /// `fdtable.fd`
    TABLE_FILES = ABSENT;
    /// `file.f_inode`
    FILE_INODE = ABSENT;
    /// `inode.i_mode`
    INODE_MODE = ABSENT;
    /// The number of the system call in `pt_regs`.
    REGS_CALL = ABSENT;
    /// `k_sigaction.sa.sa_handler`
    SIGACTION_HANDLER = ABSENT;
    /// `k_sigaction.sa.sa_flags`
    SIGACTION_FLAGS = ABSENT;
    /// The first argument of the system call in `pt_regs`.
    REGS_FIRST = ABSENT;
    /// 1 where the helper exists that finds the registers of a task (since 5.15).
    HAS_TASK_REGS = 0;
    /// 1 where the helper exists that gives the current task as what it is (since 5.11).
    HAS_TASK_BTF = 0;
    /// `task_struct.thread_info.cpu`
    TASK_CPU = ABSENT;
    /// `task_struct.cpus_ptr`
    TASK_CPUS = ABSENT;
    /// `task_struct.throttled`
    TASK_THROTTLED = ABSENT;
    /// `task_struct.se.cfs_rq`
    TASK_QUEUE = ABSENT;
    /// `task_struct.sched_task_group`
    TASK_GROUP = ABSENT;
    /// `task_group.cfs_rq`
    GROUP_QUEUES = ABSENT;
    /// `cfs_rq.rq`
    QUEUE_CPU = ABSENT;
    /// `cfs_rq.throttled_clock_self`
    QUEUE_THROTTLED_SINCE = ABSENT;
    /// `cfs_rq.throttled_clock_self_time`
    QUEUE_THROTTLED = ABSENT;
    /// `rq.clock`
    CPU_CLOCK = ABSENT;
    /// `rq.prev_steal_time_rq`
    CPU_STOLEN = ABSENT;
    /// `sock.__sk_common.skc_family`
    SOCK_FAMILY = ABSENT;
    /// `pt_regs.di` and the others that hold the arguments of a call (x86)
    REGS_DI = ABSENT;
    /// The second argument.
    REGS_SI = ABSENT;
    /// The third.
    REGS_DX = ABSENT;
    /// The fourth.
    REGS_R10 = ABSENT;
    /// The fifth.
    REGS_R8 = ABSENT;
    /// The sixth.
    REGS_R9 = ABSENT;
    /// `pt_regs.orig_x0` (ARM): the first argument, whose register has the result when a call returns.
    REGS_ORIG_X0 = ABSENT;
    /// `pt_regs.regs` (ARM): the others follow the first.
    REGS_X = ABSENT;
    /// Exemplars of a CPU: a power of two, as its logarithm.
    EXEMPLARS_SHIFT = 0;
    /// `sock.__sk_common.skc_state`
    SOCK_STATE = ABSENT;
    /// `socket.sk`
    SOCKET_SK = ABSENT;
    /// `sock.sk_protocol`
    SOCK_PROTOCOL = ABSENT;
    /// `sock.__sk_common.skc_num`: the port of this end, in the host's order
    SOCK_NUM = ABSENT;
    /// `sock.__sk_common.skc_dport`: that of the other end, in the network's
    SOCK_DPORT = ABSENT;
    /// `sock.__sk_common.skc_rcv_saddr`
    SOCK_RCV_SADDR = ABSENT;
    /// `sock.__sk_common.skc_daddr`
    SOCK_DADDR = ABSENT;
    /// `sock.__sk_common.skc_v6_rcv_saddr`
    SOCK_V6_RCV_SADDR = ABSENT;
    /// `sock.__sk_common.skc_v6_daddr`
    SOCK_V6_DADDR = ABSENT;
    /// `sock.__sk_common.skc_net.net`
    SOCK_NET = ABSENT;
    /// `net.ns.inum`
    NET_INUM = ABSENT;
    /// Arguments of `btf_trace_sched_switch`: the previous state is the fourth since 5.18.
    SWITCH_ARGS = 3;
    /// Arguments of `btf_trace_sched_process_exit`: whether the thread is the last one is the second, where there is a second.
    EXIT_ARGS = 1;
    /// `request.__data_len`
    REQUEST_LEN = ABSENT;
    /// `request.cmd_flags`
    REQUEST_OP = ABSENT;
    /// `request.end_io`
    REQUEST_END_IO = ABSENT;
    /// `request.start_time_ns`
    REQUEST_START = ABSENT;
    /// `request.q`
    REQUEST_QUEUE = ABSENT;
    /// `request.rq_disk`, until 5.17
    REQUEST_DISK = ABSENT;
    /// `request_queue.disk`, since 5.14
    QUEUE_DISK = ABSENT;
    /// `gendisk.major`
    DISK_MAJOR = ABSENT;
    /// `gendisk.first_minor`
    DISK_MINOR = ABSENT;
    /// Arguments of `btf_trace_block_rq_issue`: until 5.11 the queue came before the request.
    ISSUE_ARGS = 1;
    /// Arguments of `btf_trace_block_io_start`, where the kernel has it.
    IO_START_ARGS = ABSENT;
    /// Arguments of `btf_trace_block_rq_merge`, where the kernel has it.
    MERGE_ARGS = ABSENT;
    /// Slots of the thread array minus one; a power of two minus one.
    SLOT_MASK = 0;
    /// Shards of the system-call table minus one; a power of two minus one.
    SHARD_MASK = 0;
    /// Number of `rt_sigreturn` on this architecture: its "result" is a register of the code that the signal broke into.
    SIGRETURN_CALL = ABSENT;
    /// Numbers of the calls that take flags for a receive.
    RECVFROM_CALL = ABSENT;
    /// `recvmsg`
    RECVMSG_CALL = ABSENT;
    /// `recvmmsg`
    RECVMMSG_CALL = ABSENT;
    /// Number of `restart_syscall`, by which the kernel goes on with some calls that a signal cut short.
    RESTART_CALL = ABSENT;
}

/// What a call's number tells of a thread that is blocked in it, by row of the system-call table.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.told")]
pub static CALL_CLASSES: Classes = [0; kscope_layout::CALL_ROWS as usize];

/// Ids of the processes that alone are measured, then zeros; all zeros when everybody is.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.told")]
pub static ONLY: [u32; MAX_ONLY] = [0; MAX_ONLY];

/// Ids of kscope's processes, whose system calls are not recorded; zeros where there are fewer.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.told")]
pub static OWN: [u32; MAX_OWN] = [0; MAX_OWN];

/// What is read for an exemplar of each call besides its arguments: see `kscope_layout::exemplars::text`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.told")]
pub static TEXTS: [u8; CALL_ROWS as usize] = [0; CALL_ROWS as usize];

/// Is not everybody measured? Where everybody is, the verifier removes what depends on it.
#[inline(always)]
pub fn is_narrowed() -> bool {
    get(&ONLY[0]) != 0
}

/// Is this process measured?
#[inline(always)]
pub fn is_measured(tgid: u32) -> bool {
    if !is_narrowed() {
        return true;
    }
    for only in &ONLY {
        match get(only) {
            0 => return false,
            pid if pid == tgid => return true,
            _ => {}
        }
    }
    false
}

/// Is this process one of kscope's?
#[inline(always)]
pub fn is_own(tgid: u32) -> bool {
    let [a, b, c, d] = &OWN;
    tgid == get(a) || tgid == get(b) || tgid == get(c) || tgid == get(d)
}

/// The value of a global. Volatile, or the compiler would fold the value it was compiled with.
#[inline(always)]
pub fn get(global: &'static u32) -> u32 {
    // SAFETY: a reference to a static is valid for reads.
    unsafe { read_volatile(global) }
}
