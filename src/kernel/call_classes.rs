//! What each system call can wait for, as the programs are told before they are loaded.
//!
//! By name, since numbers differ by architecture; a name that this one does not have is in no row. Not here: what is made of
//! it (`ebpf/src/cause.rs`).
//!
//! Invariant: a call of which nothing is certain is in no list, and its waits are of another cause.

use kscope_layout::cause::{Classes, class};
use kscope_layout::{CALL_ROWS, COMPAT_CALL};
use syscalls::Sysno;

const LISTS: [(u8, &[&str]); 6] = [
    (class::FUTEX, &["futex", "futex_wait", "futex_waitv", "futex_wake", "futex_requeue"]),
    (class::SLEEP, &["nanosleep", "clock_nanosleep"]),
    (class::POLL, POLL),
    (class::SOCKET, SOCKET),
    (class::FILE, FILE),
    (class::DESCRIPTOR, DESCRIPTOR),
];

const POLL: &[&str] = &[
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "io_getevents",
    "io_pgetevents",
    "io_uring_enter",
];

const SOCKET: &[&str] = &[
    "accept",
    "accept4",
    "connect",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "shutdown",
    "bind",
    "listen",
    "getsockopt",
    "setsockopt",
];

/// They wait for a file, or for the disk that it lies on, by name or by descriptor.
#[rustfmt::skip]
const FILE: &[&str] = &[
    "open", "openat", "openat2", "creat", "close", "stat", "lstat", "fstat", "newfstatat", "fstatat", "statx", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir",
    "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown",
    "fchownat", "utime", "utimes", "futimesat", "utimensat", "truncate", "ftruncate", "fallocate", "fsync", "fdatasync", "sync",
    "syncfs", "sync_file_range", "msync", "readahead", "fadvise64", "lseek", "getdents", "getdents64", "statfs", "fstatfs", "mount",
    "umount2", "execve", "execveat", "copy_file_range", "chdir", "fchdir", "swapon", "swapoff", "io_submit", "getxattr",
    "lgetxattr", "fgetxattr", "setxattr", "lsetxattr", "fsetxattr", "listxattr", "llistxattr", "flistxattr", "removexattr",
    "lremovexattr", "fremovexattr", "name_to_handle_at", "open_by_handle_at",
];

/// What they wait for is what their first argument is.
#[rustfmt::skip]
const DESCRIPTOR: &[&str] = &[
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "ioctl", "sendfile",
    "splice", "tee", "vmsplice",
];

/// The class of each row of the table of calls.
pub fn classes() -> Classes {
    let mut classes = [class::OTHER; CALL_ROWS as usize];
    for (nr, row) in classes.iter_mut().enumerate().take(COMPAT_CALL as usize) {
        let Some(call) = Sysno::new(nr) else { continue };
        *row = LISTS.iter().find(|(_, names)| names.contains(&call.name())).map_or(class::OTHER, |(class, _)| *class);
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_what_they_wait_for() {
        let classes = classes();
        let of = |call: Sysno| classes[call as usize];
        assert_eq!((of(Sysno::read), of(Sysno::fsync)), (class::DESCRIPTOR, class::FILE));
        assert_eq!((of(Sysno::futex), of(Sysno::clock_nanosleep)), (class::FUTEX, class::SLEEP));
        assert_eq!((of(Sysno::epoll_pwait), of(Sysno::recvfrom)), (class::POLL, class::SOCKET));
        assert_eq!((of(Sysno::wait4), classes[COMPAT_CALL as usize]), (class::OTHER, class::OTHER));
    }

    #[test]
    fn no_call_is_in_two_lists() {
        let mut names: Vec<_> = LISTS.iter().flat_map(|(_, names)| *names).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
