//! Which argument of a call says what it waits for.
//!
//! Pure: it knows the calls, not the processes. Not here: asking what is behind a descriptor or an address.

use syscalls::Sysno;

use crate::core::arguments::NEWFSTATAT;

/// What of a call's arguments matters. Numbers are places of arguments, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matters {
    /// The file behind the descriptor in the first argument.
    File,
    /// The same, and who holds a lock on it.
    Lock,
    /// The address that is waited for, and the operation beside it.
    Futex,
    /// A process: the one given, or any child.
    Child,
    /// The same for `waitid`: what kind of id, and the id.
    ChildById,
    /// A span of time, whose address is at this place.
    Time(usize),
    /// A path, whose address is at this place.
    Path(usize),
    /// The descriptor, and the address it is to be connected to.
    Peer,
    /// An epoll descriptor, and the limit of time in ms.
    Epoll,
    /// A number of descriptors, and the place of the limit of time in ms, if that is a number.
    Poll(usize, Option<usize>),
    /// None of them.
    Nothing,
}

/// Calls whose first argument is a descriptor, and wait for what is behind it.
const FILES: &[Sysno] = &[
    Sysno::read,
    Sysno::write,
    Sysno::pread64,
    Sysno::pwrite64,
    Sysno::readv,
    Sysno::writev,
    Sysno::preadv,
    Sysno::pwritev,
    Sysno::preadv2,
    Sysno::pwritev2,
    Sysno::recvfrom,
    Sysno::recvmsg,
    Sysno::recvmmsg,
    Sysno::sendto,
    Sysno::sendmsg,
    Sysno::sendmmsg,
    Sysno::accept,
    Sysno::accept4,
    Sysno::ioctl,
    Sysno::fsync,
    Sysno::fdatasync,
    Sysno::syncfs,
    Sysno::sync_file_range,
    Sysno::ftruncate,
    Sysno::fallocate,
    Sysno::fstat,
    Sysno::getdents64,
    Sysno::sendfile,
    Sysno::splice,
    Sysno::tee,
    Sysno::close,
    Sysno::io_uring_enter,
];

/// Calls with a path, and where it is.
const PATHS: &[(Sysno, usize)] = &[
    (Sysno::openat, 1),
    (Sysno::openat2, 1),
    (Sysno::execve, 0),
    (Sysno::execveat, 1),
    (NEWFSTATAT, 1),
    (Sysno::statx, 1),
    (Sysno::unlinkat, 1),
    (Sysno::mkdirat, 1),
    (Sysno::faccessat, 1),
    (Sysno::readlinkat, 1),
    (Sysno::truncate, 0),
    (Sysno::umount2, 0),
];

/// Those of the older architectures, which newer ones never got.
#[cfg(target_arch = "x86_64")]
const PATHS_HERE: &[(Sysno, usize)] = &[
    (Sysno::open, 0),
    (Sysno::creat, 0),
    (Sysno::stat, 0),
    (Sysno::lstat, 0),
    (Sysno::access, 0),
    (Sysno::unlink, 0),
    (Sysno::rmdir, 0),
    (Sysno::mkdir, 0),
];
#[cfg(not(target_arch = "x86_64"))]
const PATHS_HERE: &[(Sysno, usize)] = &[];

/// What matters of the arguments of a call.
pub fn matters(nr: u32) -> Matters {
    let Some(call) = Sysno::new(nr as usize) else { return Matters::Nothing };
    if FILES.contains(&call) {
        return Matters::File;
    }
    if let Some((_, at)) = PATHS.iter().chain(PATHS_HERE).find(|(with, _)| *with == call) {
        return Matters::Path(*at);
    }
    match call {
        Sysno::flock | Sysno::fcntl => Matters::Lock,
        Sysno::futex | Sysno::futex_wait => Matters::Futex,
        Sysno::wait4 => Matters::Child,
        Sysno::waitid => Matters::ChildById,
        Sysno::nanosleep => Matters::Time(0),
        Sysno::clock_nanosleep => Matters::Time(2),
        Sysno::connect => Matters::Peer,
        Sysno::epoll_pwait => Matters::Epoll,
        Sysno::ppoll => Matters::Poll(1, None),
        Sysno::pselect6 => Matters::Poll(0, None),
        _ => here(call),
    }
}

#[cfg(target_arch = "x86_64")]
const fn here(call: Sysno) -> Matters {
    match call {
        Sysno::epoll_wait => Matters::Epoll,
        Sysno::poll => Matters::Poll(1, Some(2)),
        Sysno::select => Matters::Poll(0, None),
        _ => Matters::Nothing,
    }
}

#[cfg(not(target_arch = "x86_64"))]
const fn here(_: Sysno) -> Matters {
    Matters::Nothing
}

/// `FUTEX_LOCK_PI` and its like: the word at the address names the owner.
const PI_OPERATIONS: [u64; 3] = [6, 11, 13];
/// `FUTEX_CMD_MASK` of include/uapi/linux/futex.h.
const FUTEX_COMMAND: u64 = 0x7f;

/// Does the word at a futex's address name the thread that holds it?
pub fn names_its_owner(operation: u64) -> bool {
    PI_OPERATIONS.contains(&(operation & FUTEX_COMMAND))
}

/// The lower half of a register, as the `int` that most calls take.
#[expect(clippy::cast_possible_truncation, reason = "the kernel looks at the lower half, too")]
pub const fn int(register: u64) -> i32 {
    (register as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_known_by_call() {
        let of = |call: Sysno| matters(u32::try_from(call.id()).unwrap());
        assert_eq!(of(Sysno::read), Matters::File);
        assert_eq!(of(Sysno::openat), Matters::Path(1));
        assert_eq!(of(Sysno::clock_nanosleep), Matters::Time(2));
        assert_eq!(of(Sysno::getpid), Matters::Nothing);
        assert_eq!(matters(u32::MAX), Matters::Nothing);
    }

    #[test]
    fn only_locks_with_priorities_name_their_owner() {
        assert!(names_its_owner(6 | 128) && !names_its_owner(128) && !names_its_owner(9 | 128 | 256));
    }

    #[test]
    fn registers_hold_ints_in_their_lower_half() {
        assert_eq!((int(0xffff_ffff), int(u64::MAX), int(7)), (-1, -1, 7));
    }
}
