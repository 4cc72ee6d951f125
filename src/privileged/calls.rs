//! Which system calls each process may make: lists of what is allowed; the kernel refuses the rest (`EPERM`).
//!
//! Refused, not killed: a library that tries another way first, as some do, goes on with the next. The lists are those of both
//! C libraries; a call that one of them does not make is harmless on the other.
//!
//! Invariant: no process here can start a program, connect anywhere, open a file for writing, or make memory executable.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What any of them needs: its own memory and threads, waiting, files that are open, the clock, its own signals.
const PLAIN: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_getcpu,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpgid,
    libc::SYS_getrusage,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
];

/// The same by older names, which newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// What the process that draws needs besides: its children's ends, and lists of sockets from the kernel.
const DRAWING: &[c_long] = &[
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_socketpair,
    libc::SYS_shutdown,
];

/// Commands of `bpf(2)` that read and write maps and ask about programs (include/uapi/linux/bpf.h); not one makes anything.
const MAPS_ONLY: [u64; 9] = [1, 2, 3, 4, 15, 21, 24, 25, 27];
/// What is asked of a terminal: its settings (termios, then termios2, one call to read and three to write), its size, whether
/// input is there, and not to wait for it.
const TERMINAL: [u64; 11] =
    [0x5401, 0x5402, 0x5403, 0x5404, 0x802c_542a, 0x402c_542b, 0x402c_542c, 0x402c_542d, 0x5413, 0x541b, 0x5421];

/// Restricts the process that draws.
pub fn restrict_drawing() -> io::Result<()> {
    let mut rules = plain().map_err(other)?;
    rules.extend(DRAWING.iter().map(|call| (*call, Vec::new())));
    let mut add = |call: c_long, found: Vec<SeccompRule>| rules.insert(call, found);
    let own = u64::from(std::process::id());
    add(libc::SYS_bpf, any_of(0, &MAPS_ONLY).map_err(other)?);
    add(libc::SYS_ioctl, any_of(1, &TERMINAL).map_err(other)?);
    add(libc::SYS_socket, any_of(0, &[libc::AF_NETLINK as u64]).map_err(other)?);
    // To stop its group, as Ctrl-Z does.
    add(libc::SYS_kill, any_of(0, &[0, own]).map_err(other)?);
    // To end itself, and to ask whether a thread exists.
    let threads = [any_of(0, &[own]), any_of(2, &[0])].into_iter().collect::<Result<Vec<_>, _>>().map_err(other)?;
    add(libc::SYS_tgkill, threads.concat());
    restrict(rules)
}

/// Restricts the helper, which has loaded; on demand it loads more.
pub fn restrict_helper() -> io::Result<()> {
    let mut rules = plain().map_err(other)?;
    let calls = [libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_ioctl, libc::SYS_capget, libc::SYS_capset];
    rules.extend(calls.map(|call| (call, Vec::new())));
    restrict(rules)
}

/// Restricts the process that looks into others.
pub fn restrict_eyes() -> io::Result<()> {
    let mut rules = plain().map_err(other)?;
    rules.insert(libc::SYS_process_vm_readv, Vec::new());
    restrict(rules)
}

/// What is plain, with the calls of which a part is: files are opened for reading, memory is data, a clone is a thread.
fn plain() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let writes = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
    rules.insert(libc::SYS_openat, vec![masked(2, writes, 0)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![masked(1, writes, 0)?]);
    let executes = libc::PROT_EXEC as u64;
    rules.insert(libc::SYS_mmap, vec![masked(2, executes, 0)?]);
    rules.insert(libc::SYS_mprotect, vec![masked(2, executes, 0)?]);
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![masked(0, thread, thread)?]);
    // The name of a thread, and of memory (`PR_SET_VMA`); what the kernel told this process when it began (`PR_GET_AUXV`).
    rules.insert(libc::SYS_prctl, any_of(0, &[libc::PR_SET_NAME as u64, 0x5356_4d41, 0x4155_5856])?);
    // To know its own limits, not to change anybody's.
    rules.insert(libc::SYS_prlimit64, any_of(2, &[0])?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_getrlimit, Vec::new());
    Ok(rules)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let equal = SeccompCmpOp::MaskedEq(mask);
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, equal, value)?])
}

/// Calls of which an argument is one of these; the kernel's integers have 32 bits.
fn any_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let one = |value: &u64| {
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)?])
    };
    values.iter().map(one).collect()
}

/// Allows what is in the rules, for this process and its threads to come.
fn restrict(rules: Rules) -> io::Result<()> {
    let arch = TargetArch::try_from(ARCH).map_err(other)?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let mut rules = rules;
    // Left to the other filter: of two that refuse, the list's number would be the one that is seen.
    rules.insert(libc::SYS_clone3, Vec::new());
    let list = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch).map_err(other)?;
    // Its flags are behind a pointer, which no filter can follow: told that there is no such call, the C library makes the
    // older one, which tells.
    let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let no_clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, absent, arch).map_err(other)?;
    // The list comes last, for it refuses to add more.
    let programs: [BpfProgram; 2] = [
        no_clone3.try_into().map_err(other::<seccompiler::BackendError>)?,
        list.try_into().map_err(other::<seccompiler::BackendError>)?,
    ];
    programs.iter().try_for_each(|program| apply_filter(program)).map_err(other)
}

fn other<E: std::fmt::Display>(error: E) -> io::Error {
    io::Error::other(error.to_string())
}
