//! What the arguments of system calls are: which is a file descriptor, which a path, which a size.
//!
//! Not here: values, or how they are written (`probes/exemplars`). Of a call that is not in the list nothing is claimed.
//!
//! Invariant: at most one argument of a call is read by the programs, a path or an address ([`texts`]).

use kscope_layout::CALL_ROWS;
use kscope_layout::exemplars::text;
use syscalls::Sysno;

/// `newfstatat`, which the list of names knows by another one where that is the only call of its kind.
#[cfg(target_arch = "x86_64")]
pub const NEWFSTATAT: Sysno = Sysno::newfstatat;
/// `newfstatat`, which the list of names knows by another one where that is the only call of its kind.
#[cfg(not(target_arch = "x86_64"))]
pub const NEWFSTATAT: Sysno = Sysno::fstatat;

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Says nothing to a person: an address of a buffer, the length of a structure.
    Hidden,
    /// A file descriptor.
    Fd,
    /// One of a directory, `AT_FDCWD` for the working directory.
    Dir,
    /// The address of a path.
    Path,
    /// The address of a socket's address.
    Address,
    /// Bytes.
    Size,
    /// A position in a file, bytes.
    Offset,
    /// Bits.
    Flags,
    /// Flags of `open`.
    OpenFlags,
    /// An operation of `futex`.
    FutexOperation,
    /// A process or thread.
    Pid,
    /// A signal.
    Signal,
    /// An address in memory that means something by itself.
    Pointer,
    /// A number, with what it is.
    Number(&'static str),
}

use Argument::{
    Address, Dir, Fd, Flags, FutexOperation, Hidden, Number, Offset, OpenFlags, Path, Pid, Pointer, Signal, Size,
};

type Signature = (Sysno, &'static [Argument]);

/// The calls that exist everywhere.
const CALLS: &[Signature] = &[
    (Sysno::accept, &[Fd, Address]),
    (Sysno::accept4, &[Fd, Address, Hidden, Flags]),
    (Sysno::bind, &[Fd, Address]),
    (Sysno::brk, &[Pointer]),
    (Sysno::chdir, &[Path]),
    (Sysno::clock_nanosleep, &[Number("clock"), Flags]),
    (Sysno::close, &[Fd]),
    (Sysno::close_range, &[Number("from"), Number("to"), Flags]),
    (Sysno::connect, &[Fd, Address]),
    (Sysno::copy_file_range, &[Fd, Hidden, Fd, Hidden, Size, Flags]),
    (Sysno::dup, &[Fd]),
    (Sysno::dup3, &[Fd, Fd, Flags]),
    (Sysno::epoll_ctl, &[Fd, Number("operation"), Fd]),
    (Sysno::epoll_pwait, &[Fd, Hidden, Number("events"), Number("timeout ms")]),
    (Sysno::epoll_pwait2, &[Fd, Hidden, Number("events")]),
    (Sysno::execve, &[Path]),
    (Sysno::execveat, &[Dir, Path, Hidden, Hidden, Flags]),
    (Sysno::exit_group, &[Number("status")]),
    (Sysno::faccessat, &[Dir, Path, Flags]),
    (Sysno::faccessat2, &[Dir, Path, Flags, Flags]),
    (Sysno::fadvise64, &[Fd, Offset, Size, Number("advice")]),
    (Sysno::fallocate, &[Fd, Flags, Offset, Size]),
    (Sysno::fchdir, &[Fd]),
    (Sysno::fchmod, &[Fd]),
    (Sysno::fchmodat, &[Dir, Path]),
    (Sysno::fchownat, &[Dir, Path]),
    (Sysno::fcntl, &[Fd, Number("command"), Flags]),
    (Sysno::fdatasync, &[Fd]),
    (Sysno::flock, &[Fd, Flags]),
    (Sysno::fstat, &[Fd]),
    (Sysno::fstatfs, &[Fd]),
    (Sysno::fsync, &[Fd]),
    (Sysno::ftruncate, &[Fd, Size]),
    (Sysno::futex, &[Pointer, FutexOperation, Number("value")]),
    (Sysno::getdents64, &[Fd, Hidden, Size]),
    (Sysno::getpeername, &[Fd, Address]),
    (Sysno::getsockname, &[Fd, Address]),
    (Sysno::getsockopt, &[Fd, Number("level"), Number("option")]),
    (Sysno::getxattr, &[Path]),
    (Sysno::inotify_add_watch, &[Fd, Path, Flags]),
    (Sysno::io_uring_enter, &[Fd, Number("submit"), Number("wait for"), Flags]),
    (Sysno::ioctl, &[Fd, Flags, Pointer]),
    (Sysno::kill, &[Pid, Signal]),
    (Sysno::lgetxattr, &[Path]),
    (Sysno::linkat, &[Dir, Path, Dir, Hidden, Flags]),
    (Sysno::listen, &[Fd, Number("backlog")]),
    (Sysno::lseek, &[Fd, Offset, Number("whence")]),
    (Sysno::madvise, &[Pointer, Size, Number("advice")]),
    (Sysno::mkdirat, &[Dir, Path]),
    (Sysno::mmap, &[Pointer, Size, Flags, Flags, Fd, Offset]),
    (Sysno::mprotect, &[Pointer, Size, Flags]),
    (Sysno::mremap, &[Pointer, Size, Size, Flags]),
    (Sysno::msync, &[Pointer, Size, Flags]),
    (Sysno::munmap, &[Pointer, Size]),
    (Sysno::nanosleep, &[]),
    (NEWFSTATAT, &[Dir, Path, Hidden, Flags]),
    (Sysno::openat, &[Dir, Path, OpenFlags]),
    (Sysno::openat2, &[Dir, Path]),
    (Sysno::pidfd_open, &[Pid, Flags]),
    (Sysno::pipe2, &[Hidden, Flags]),
    (Sysno::ppoll, &[Hidden, Number("descriptors")]),
    (Sysno::pread64, &[Fd, Hidden, Size, Offset]),
    (Sysno::preadv, &[Fd, Hidden, Number("buffers"), Offset]),
    (Sysno::preadv2, &[Fd, Hidden, Number("buffers"), Offset]),
    (Sysno::prctl, &[Number("option")]),
    (Sysno::pselect6, &[Number("descriptors")]),
    (Sysno::pwrite64, &[Fd, Hidden, Size, Offset]),
    (Sysno::pwritev, &[Fd, Hidden, Number("buffers"), Offset]),
    (Sysno::pwritev2, &[Fd, Hidden, Number("buffers"), Offset]),
    (Sysno::read, &[Fd, Hidden, Size]),
    (Sysno::readahead, &[Fd, Offset, Size]),
    (Sysno::readlinkat, &[Dir, Path, Hidden, Size]),
    (Sysno::readv, &[Fd, Hidden, Number("buffers")]),
    (Sysno::recvfrom, &[Fd, Hidden, Size, Flags, Address]),
    (Sysno::recvmmsg, &[Fd, Hidden, Number("messages"), Flags]),
    (Sysno::recvmsg, &[Fd, Hidden, Flags]),
    (Sysno::renameat2, &[Dir, Path, Dir, Hidden, Flags]),
    (Sysno::sched_yield, &[]),
    (Sysno::sendfile, &[Fd, Fd, Hidden, Size]),
    (Sysno::sendmmsg, &[Fd, Hidden, Number("messages"), Flags]),
    (Sysno::sendmsg, &[Fd, Hidden, Flags]),
    (Sysno::sendto, &[Fd, Hidden, Size, Flags, Address]),
    (Sysno::setsockopt, &[Fd, Number("level"), Number("option")]),
    (Sysno::shutdown, &[Fd, Number("how")]),
    (Sysno::socket, &[Number("family"), Flags, Number("protocol")]),
    (Sysno::splice, &[Fd, Hidden, Fd, Hidden, Size, Flags]),
    (Sysno::statfs, &[Path]),
    (Sysno::statx, &[Dir, Path, Flags, Flags]),
    (Sysno::symlinkat, &[Path, Dir]),
    (Sysno::sync_file_range, &[Fd, Offset, Size, Flags]),
    (Sysno::syncfs, &[Fd]),
    (Sysno::tgkill, &[Pid, Pid, Signal]),
    (Sysno::timerfd_settime, &[Fd, Flags]),
    (Sysno::truncate, &[Path, Size]),
    (Sysno::unlinkat, &[Dir, Path, Flags]),
    (Sysno::utimensat, &[Dir, Path, Hidden, Flags]),
    (Sysno::wait4, &[Pid, Hidden, Flags]),
    (Sysno::waitid, &[Number("kind"), Pid, Hidden, Flags]),
    (Sysno::write, &[Fd, Hidden, Size]),
    (Sysno::writev, &[Fd, Hidden, Number("buffers")]),
];

/// Those of the older architectures, which newer ones never got.
#[cfg(target_arch = "x86_64")]
const CALLS_HERE: &[Signature] = &[
    (Sysno::access, &[Path, Flags]),
    (Sysno::chmod, &[Path]),
    (Sysno::chown, &[Path]),
    (Sysno::creat, &[Path]),
    (Sysno::dup2, &[Fd, Fd]),
    (Sysno::epoll_wait, &[Fd, Hidden, Number("events"), Number("timeout ms")]),
    (Sysno::link, &[Path]),
    (Sysno::lstat, &[Path]),
    (Sysno::mkdir, &[Path]),
    (Sysno::open, &[Path, OpenFlags]),
    (Sysno::poll, &[Hidden, Number("descriptors"), Number("timeout ms")]),
    (Sysno::readlink, &[Path, Hidden, Size]),
    (Sysno::rename, &[Path]),
    (Sysno::rmdir, &[Path]),
    (Sysno::select, &[Number("descriptors")]),
    (Sysno::stat, &[Path]),
    (Sysno::symlink, &[Path]),
    (Sysno::unlink, &[Path]),
];
#[cfg(not(target_arch = "x86_64"))]
const CALLS_HERE: &[Signature] = &[];

/// The arguments of a call; `None` where they are not known.
pub fn of(nr: u32) -> Option<&'static [Argument]> {
    let call = Sysno::new(nr as usize).filter(|_| nr < CALL_ROWS)?;
    CALLS.iter().chain(CALLS_HERE).find(|(known, _)| *known == call).map(|(_, arguments)| *arguments)
}

/// Of each row which argument the programs read what it points to, as `kscope_layout::exemplars::text` has it.
pub fn texts() -> [u8; CALL_ROWS as usize] {
    let mut texts = [text::NONE; CALL_ROWS as usize];
    for (call, arguments) in CALLS.iter().chain(CALLS_HERE) {
        let found = (1_u8..).zip(*arguments).find_map(|(at, argument)| match argument {
            Path => Some(at),
            Address => Some(at | text::ADDRESS),
            _ => None,
        });
        if let (Some(place), Some(found)) = (texts.get_mut(*call as usize), found) {
            *place = found;
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_the_list_once_and_has_at_most_six_arguments() {
        let all: Vec<_> = CALLS.iter().chain(CALLS_HERE).collect();
        for (call, arguments) in &all {
            assert!(arguments.len() <= 6, "{call}");
            assert_eq!(all.iter().filter(|(other, _)| other == call).count(), 1, "{call}");
        }
    }

    #[test]
    fn the_programs_are_told_which_argument_is_a_path() {
        let texts = texts();
        assert_eq!(texts[Sysno::openat as usize], 2);
        assert_eq!(texts[Sysno::connect as usize], 2 | text::ADDRESS);
        assert_eq!(texts[Sysno::read as usize], text::NONE);
        assert!(texts.iter().all(|kind| kind & text::ARGUMENT <= 6));
    }

    #[test]
    fn of_others_nothing_is_claimed() {
        assert_eq!(of(u32::MAX), None);
        assert_eq!(of(kscope_layout::COMPAT_CALL), None);
        assert_eq!(of(Sysno::read as u32), Some(&[Fd, Hidden, Size][..]));
    }
}
