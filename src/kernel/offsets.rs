//! What the eBPF programs must know about the running kernel: where the fields they read are, and which tracepoints exist.
//!
//! [`FIELDS`] is the one place where a kernel structure's field is named. The values become read-only globals of the
//! programs before these are loaded, so that one object fits every kernel. Not here: the loading.
//!
//! Invariant: an offset is one that this kernel's BTF states, or [`ABSENT`]; none is ever guessed.

use std::path::{Path, PathBuf};
use std::{fs, io};

use kscope_layout::ABSENT;
use thiserror::Error;

use super::btf::{Btf, BtfError};
use super::programs::{Hook, PROGRAMS, Program};

/// Where a kernel with `CONFIG_DEBUG_INFO_BTF` describes itself.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// A structure field that the programs read.
struct Field {
    /// The global in the programs that takes the offset.
    global: &'static str,
    /// Its names, the newest kernels' first.
    paths: &'static [&'static str],
    need: Need,
}

/// What it means when no name of a field is found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing can be measured.
    Required,
    /// The programs do without.
    Optional,
    /// The same. On all processor architectures but this one the name means something else, or nothing,
    /// and is not even looked for.
    OptionalOn(&'static str),
}

/// What tells a call by the entry for 32-bit programs, whose numbers mean other calls: the field, the architecture, and the bit:
/// `TS_COMPAT` of a call on x86, `TIF_32BIT` of a process on ARM.
const COMPAT: (&[&str], &str, u32) = if cfg!(target_arch = "aarch64") {
    (&["task_struct.thread_info.flags"], "aarch64", 1 << 22)
} else {
    (&["task_struct.thread_info.status"], "x86_64", 2)
};

/// The global that takes the bit.
const COMPAT_BIT: &str = "COMPAT_BIT";

const FIELDS: &[Field] = &[
    required("TASK_PID", &["task_struct.pid"]),
    required("TASK_TGID", &["task_struct.tgid"]),
    required("TASK_FLAGS", &["task_struct.flags"]),
    // Renamed in 5.14.
    required("TASK_STATE", &["task_struct.__state", "task_struct.state"]),
    required("TASK_GROUP_LEADER", &["task_struct.group_leader"]),
    // Renamed in 5.5.
    required("TASK_START", &["task_struct.start_boottime", "task_struct.real_start_time"]),
    required("TASK_ON_CPU", &["task_struct.on_cpu"]),
    required("TASK_EXEC", &["task_struct.se.sum_exec_runtime"]),
    required("TASK_COMM", &["task_struct.comm"]),
    required("TASK_PARENT", &["task_struct.real_parent"]),
    required("TASK_EXIT_CODE", &["task_struct.exit_code"]),
    required("TASK_SIGNAL", &["task_struct.signal"]),
    required("SIGNAL_LIVE", &["signal_struct.live"]),
    required("SIGNAL_FLAGS", &["signal_struct.flags"]),
    required("SIGNAL_EXIT_CODE", &["signal_struct.group_exit_code"]),
    // Which system-call entry was used.
    Field { global: "TASK_TI_STATUS", paths: COMPAT.0, need: Need::OptionalOn(COMPAT.1) },
    // What a blocked thread waits for: the file behind a descriptor, and the registers of a call.
    optional("TASK_FILES", &["task_struct.files"]),
    optional("FILES_TABLE", &["files_struct.fdt"]),
    optional("TABLE_LEN", &["fdtable.max_fds"]),
    optional("TABLE_FILES", &["fdtable.fd"]),
    optional("FILE_INODE", &["file.f_inode"]),
    optional("INODE_MODE", &["inode.i_mode"]),
    // Of x86, then of ARM: no architecture has both.
    optional("REGS_CALL", &["pt_regs.orig_ax", "pt_regs.syscallno"]),
    // Whether a handler for a signal is there, and whether it has the kernel make calls again.
    optional("SIGACTION_HANDLER", &["k_sigaction.sa.sa_handler"]),
    optional("SIGACTION_FLAGS", &["k_sigaction.sa.sa_flags"]),
    optional("REGS_FIRST", &["pt_regs.di", "pt_regs.orig_x0"]),
    required("SOCK_FAMILY", &["sock.__sk_common.skc_family"]),
    // The arguments of a call, as it was entered with.
    only_on("x86_64", "REGS_DI", &["pt_regs.di"]),
    only_on("x86_64", "REGS_SI", &["pt_regs.si"]),
    only_on("x86_64", "REGS_DX", &["pt_regs.dx"]),
    only_on("x86_64", "REGS_R10", &["pt_regs.r10"]),
    only_on("x86_64", "REGS_R8", &["pt_regs.r8"]),
    only_on("x86_64", "REGS_R9", &["pt_regs.r9"]),
    only_on("aarch64", "REGS_ORIG_X0", &["pt_regs.orig_x0"]),
    only_on("aarch64", "REGS_X", &["pt_regs.regs"]),
    optional("SOCK_STATE", &["sock.__sk_common.skc_state"]),
    optional("SOCKET_SK", &["socket.sk"]),
    // A bit field before 5.6.
    optional("SOCK_PROTOCOL", &["sock.sk_protocol"]),
    optional("SOCK_NUM", &["sock.__sk_common.skc_num"]),
    optional("SOCK_DPORT", &["sock.__sk_common.skc_dport"]),
    optional("SOCK_RCV_SADDR", &["sock.__sk_common.skc_rcv_saddr"]),
    optional("SOCK_DADDR", &["sock.__sk_common.skc_daddr"]),
    optional("SOCK_V6_RCV_SADDR", &["sock.__sk_common.skc_v6_rcv_saddr"]),
    optional("SOCK_V6_DADDR", &["sock.__sk_common.skc_v6_daddr"]),
    optional("SOCK_NET", &["sock.__sk_common.skc_net.net"]),
    optional("NET_INUM", &["net.ns.inum"]),
    // Blame: without the first it cannot say where a thread waits, without another it cannot tell one cause.
    // Moved in 5.16.
    optional("TASK_CPU", &["task_struct.thread_info.cpu", "task_struct.cpu"]),
    optional("TASK_CPUS", &["task_struct.cpus_ptr"]),
    // Since 6.18 threads are throttled one by one.
    optional("TASK_THROTTLED", &["task_struct.throttled"]),
    optional("TASK_QUEUE", &["task_struct.se.cfs_rq"]),
    optional("TASK_GROUP", &["task_struct.sched_task_group"]),
    optional("GROUP_QUEUES", &["task_group.cfs_rq"]),
    optional("QUEUE_CPU", &["cfs_rq.rq"]),
    // Since 6.7.
    optional("QUEUE_THROTTLED_SINCE", &["cfs_rq.throttled_clock_self"]),
    optional("QUEUE_THROTTLED", &["cfs_rq.throttled_clock_self_time"]),
    optional("CPU_CLOCK", &["rq.clock"]),
    // With CONFIG_PARAVIRT_TIME_ACCOUNTING.
    optional("CPU_STOLEN", &["rq.prev_steal_time_rq"]),
    // A kernel without them has no block devices, or ones that kscope does not know: the programs are refused.
    optional("REQUEST_LEN", &["request.__data_len"]),
    optional("REQUEST_OP", &["request.cmd_flags"]),
    optional("REQUEST_END_IO", &["request.end_io"]),
    optional("REQUEST_START", &["request.start_time_ns"]),
    optional("REQUEST_QUEUE", &["request.q"]),
    // Of a request and its queue at least one knows the disk.
    optional("REQUEST_DISK", &["request.rq_disk"]),
    optional("QUEUE_DISK", &["request_queue.disk"]),
    optional("DISK_MAJOR", &["gendisk.major"]),
    optional("DISK_MINOR", &["gendisk.first_minor"]),
];

const fn only_on(arch: &'static str, global: &'static str, paths: &'static [&'static str]) -> Field {
    Field { global, paths, need: Need::OptionalOn(arch) }
}

const fn required(global: &'static str, paths: &'static [&'static str]) -> Field {
    Field { global, paths, need: Need::Required }
}

const fn optional(global: &'static str, paths: &'static [&'static str]) -> Field {
    Field { global, paths, need: Need::Optional }
}

/// The global that takes the number of arguments of `sched_switch`: 3, or 4 since 5.18, which appended `prev_state`.
const SWITCH_ARGS: &str = "SWITCH_ARGS";
/// The same of `sched_process_exit`: 1, or 2 where it says whether the thread is the last one (`group_dead`).
const EXIT_ARGS: &str = "EXIT_ARGS";

/// Tracepoints of block devices, of which a kernel may lack some, with the globals that take their number of arguments.
const BLOCK_ARGS: [(&str, &str); 3] = [
    // 2, or 1 since 5.11, which left the queue out.
    ("ISSUE_ARGS", "block_rq_issue"),
    // Since 5.11.
    ("MERGE_ARGS", "block_rq_merge"),
    // Since 6.5.
    ("IO_START_ARGS", "block_io_start"),
];

/// The bit that says that a task waits for I/O, and the globals that take its byte and which bit of that it is.
const IOWAIT: (&str, [&str; 2]) = ("task_struct.in_iowait", ["TASK_IOWAIT", "TASK_IOWAIT_BIT"]);

/// The globals that say whether the kernel has a helper, and the function that is the helper.
const HELPERS: [(&str, &str); 2] =
    [("HAS_TASK_REGS", "bpf_task_pt_regs"), ("HAS_TASK_BTF", "bpf_get_current_task_btf")];

/// Why the running kernel's structures are not known. Without them nothing can be measured.
#[derive(Debug, Error)]
pub enum OffsetsError {
    /// The kernel was built without BTF, or sysfs is not mounted.
    #[error(
        "this kernel has no BTF at {}: kscope needs one built with CONFIG_DEBUG_INFO_BTF=y, as most distributions' are \
         since 2020 (and, in a container, /sys mounted)",
        .0.display()
    )]
    NoBtf(PathBuf),
    /// The file is there but cannot be read.
    #[error("cannot read the kernel's BTF at {}", path.display())]
    Unreadable {
        /// The BTF file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file makes no sense.
    #[error("cannot use the kernel's BTF")]
    Btf(#[from] BtfError),
    /// The kernel is not one that the programs know how to read.
    #[error("this kernel has no {names}, which kscope must read: it is older or newer than those kscope knows", names = paths.join(" or "))]
    Missing {
        /// All names that the field has had.
        paths: &'static [&'static str],
    },
}

/// Facts about the running kernel, for the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets {
    globals: Vec<(&'static str, u32)>,
    tracepoints: Vec<&'static str>,
    /// Those of the kernel's functions that programs hook or call.
    functions: Vec<&'static str>,
}

impl Offsets {
    /// Reads the BTF file of the running kernel, [`VMLINUX`].
    pub fn read(path: &Path) -> Result<Self, OffsetsError> {
        let bytes = fs::read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => OffsetsError::NoBtf(path.to_owned()),
            _ => OffsetsError::Unreadable { path: path.to_owned(), source },
        })?;
        Self::from_btf(&bytes)
    }

    /// The same from the file's bytes.
    pub fn from_btf(bytes: &[u8]) -> Result<Self, OffsetsError> {
        let btf = Btf::parse(bytes)?;
        let mut globals = Vec::with_capacity(FIELDS.len() + 2);
        for field in FIELDS {
            globals.push((field.global, field.offset(&btf)?));
        }
        globals.push((COMPAT_BIT, COMPAT.2));
        globals.push((SWITCH_ARGS, btf.tracepoint_arity("sched_switch")?.unwrap_or(ABSENT)));
        globals.push((EXIT_ARGS, btf.tracepoint_arity("sched_process_exit")?.unwrap_or(1)));
        let (byte, bit) = btf.bit_position(IOWAIT.0)?.unwrap_or((ABSENT, 0));
        globals.extend(IOWAIT.1.into_iter().zip([byte, bit.into()]));
        let functions = btf.functions_of(&functions())?;
        globals.extend(HELPERS.map(|(global, helper)| (global, functions.contains(&helper).into())));
        for (global, tracepoint) in BLOCK_ARGS {
            globals.push((global, btf.tracepoint_arity(tracepoint)?.unwrap_or(ABSENT)));
        }
        let mut tracepoints = Vec::with_capacity(PROGRAMS.len());
        let hooks = PROGRAMS.iter().filter(|p| p.hook == Hook::TpBtf);
        for tracepoint in hooks.flat_map(|p| [Some(p.target), p.or]).flatten() {
            if btf.tracepoint_arity(tracepoint)?.is_some() {
                tracepoints.push(tracepoint);
            }
        }
        Ok(Self { globals, tracepoints, functions })
    }

    /// Each global of the programs with its value: an offset in bytes (or, for `SWITCH_ARGS`, a number of arguments), or
    /// [`ABSENT`]. The programs declare every one of them as a `u32`.
    pub fn globals(&self) -> &[(&'static str, u32)] {
        &self.globals
    }

    /// Whether the kernel has all fields that these globals stand for.
    pub fn has_all(&self, globals: &[&str]) -> bool {
        let has = |name: &&str| self.globals.iter().any(|(global, value)| global == name && *value != ABSENT);
        globals.iter().all(has)
    }

    /// What a program hooks on this kernel: its second choice where that alone is there.
    pub fn target_of(&self, program: &Program) -> &'static str {
        let has = |name: &&str| self.has(program.hook, name);
        Some(program.target).filter(has).or(program.or.filter(has)).unwrap_or(program.target)
    }

    /// Whether the kernel has what a hook of this kind would be at. Known is what kscope's programs hook; all else is `false`.
    pub fn has(&self, hook: Hook, target: &str) -> bool {
        match hook {
            Hook::TpBtf => self.has_tracepoint(target),
            Hook::Fexit | Hook::Kprobe | Hook::Kretprobe => self.has_function(target),
            Hook::Procfs => false,
        }
    }

    /// Whether the kernel has a tracepoint. Known are those that kscope's programs hang on; all others are `false`.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.tracepoints.contains(&name)
    }

    /// Whether the kernel has a function. Known are those that kscope's programs hook or call; all others are `false`.
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.contains(&name)
    }
}

/// The kernel's functions that are asked for.
fn functions() -> Vec<&'static str> {
    let hooked = PROGRAMS.iter().filter(|p| p.hook != Hook::TpBtf).map(|p| p.target);
    let called = PROGRAMS.iter().filter_map(|p| p.needs).map(|helper| helper.function);
    let mut names: Vec<_> = hooked.chain(called).chain(HELPERS.map(|(_, helper)| helper)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Field {
    fn offset(&self, btf: &Btf<'_>) -> Result<u32, OffsetsError> {
        if matches!(self.need, Need::OptionalOn(arch) if arch != std::env::consts::ARCH) {
            return Ok(ABSENT);
        }
        for path in self.paths {
            match btf.member_offset(path) {
                Ok(Some(offset)) => return Ok(offset),
                Ok(None) => {}
                Err(error) if error.concerns_one_member() && self.need != Need::Required => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.need == Need::Required { Err(OffsetsError::Missing { paths: self.paths }) } else { Ok(ABSENT) }
    }
}

#[cfg(test)]
#[path = "offsets_tests.rs"]
mod tests;
