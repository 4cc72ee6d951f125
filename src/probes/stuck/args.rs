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
    /// The time to pass: see [`limit`].
    Time,
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
        Sysno::mq_timedsend | Sysno::mq_timedreceive => Matters::File,
        Sysno::wait4 => Matters::Child,
        Sysno::waitid => Matters::ChildById,
        Sysno::nanosleep | Sysno::clock_nanosleep => Matters::Time,
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

/// What a time in a call's arguments counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The beginning of the call.
    Call,
    /// The beginning of this clock: the time is absolute.
    Clock(i32),
}

/// Where the `struct timespec` is that limits the time a call takes, and what it counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its address; never 0.
    pub address: u64,
    /// What it counts from.
    pub from: From,
}

/// `TIMER_ABSTIME` of include/uapi/linux/time.h.
const ABSOLUTE: u64 = 1;
/// `FUTEX_CLOCK_REALTIME` of include/uapi/linux/futex.h.
const REALTIME: u64 = 256;

/// The limit of time of a call, if it has one.
pub fn limit(nr: u32, arguments: [u64; 6]) -> Option<Limit> {
    let call = Sysno::new(nr as usize)?;
    let by = |clock: u64| From::Clock(int(clock));
    let (at, from) = match call {
        Sysno::nanosleep => (0, From::Call),
        Sysno::clock_nanosleep if arguments[1] & ABSOLUTE != 0 => (2, by(arguments[0])),
        Sysno::clock_nanosleep | Sysno::ppoll | Sysno::rt_sigtimedwait => (2, From::Call),
        Sysno::epoll_pwait2 | Sysno::semtimedop => (3, From::Call),
        Sysno::pselect6 | Sysno::io_getevents | Sysno::io_pgetevents | Sysno::recvmmsg => (4, From::Call),
        Sysno::mq_timedsend | Sysno::mq_timedreceive => (4, From::Clock(libc::CLOCK_REALTIME)),
        Sysno::futex => (3, of_futex(arguments[1])?),
        Sysno::futex_wait => (4, by(arguments[5])),
        Sysno::futex_waitv => (3, by(arguments[4])),
        _ => return None,
    };
    let address = arguments[at];
    (address != 0).then_some(Limit { address, from })
}

/// Of the operations of `futex` that wait, one counts from its call, and one knows one clock only.
const fn of_futex(operation: u64) -> Option<From> {
    let clock = if operation & REALTIME == 0 { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME };
    match operation & FUTEX_COMMAND {
        // FUTEX_WAIT
        0 => Some(From::Call),
        // FUTEX_LOCK_PI
        6 => Some(From::Clock(libc::CLOCK_REALTIME)),
        // FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2
        9 | 11 | 13 => Some(From::Clock(clock)),
        _ => None,
    }
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
        assert_eq!(of(Sysno::clock_nanosleep), Matters::Time);
        assert_eq!(of(Sysno::getpid), Matters::Nothing);
        assert_eq!(matters(u32::MAX), Matters::Nothing);
    }

    #[test]
    fn a_limit_counts_from_the_call_or_from_a_clock() {
        let of = |call: Sysno, arguments| limit(call as u32, arguments).map(|limit| (limit.address, limit.from));
        let clock = |clock| From::Clock(clock);
        assert_eq!(of(Sysno::nanosleep, [9, 0, 0, 0, 0, 0]), Some((9, From::Call)));
        assert_eq!(of(Sysno::clock_nanosleep, [1, 0, 9, 0, 0, 0]), Some((9, From::Call)));
        assert_eq!(of(Sysno::clock_nanosleep, [7, 1, 9, 0, 0, 0]), Some((9, clock(libc::CLOCK_BOOTTIME))));
        assert_eq!(of(Sysno::futex, [1, 128, 2, 9, 0, 0]), Some((9, From::Call)), "FUTEX_WAIT");
        assert_eq!(of(Sysno::futex, [1, 9 | 128, 2, 9, 0, 0]), Some((9, clock(libc::CLOCK_MONOTONIC))));
        assert_eq!(of(Sysno::futex, [1, 9 | 128 | 256, 2, 9, 0, 0]), Some((9, clock(libc::CLOCK_REALTIME))));
        assert_eq!(of(Sysno::futex, [1, 6 | 128, 0, 9, 0, 0]), Some((9, clock(libc::CLOCK_REALTIME))), "FUTEX_LOCK_PI");
        assert_eq!(of(Sysno::futex, [1, 1 | 128, 2, 9, 0, 0]), None, "FUTEX_WAKE");
        assert_eq!(of(Sysno::futex_waitv, [1, 1, 0, 9, 1, 0]), Some((9, clock(libc::CLOCK_MONOTONIC))));
        assert_eq!(of(Sysno::mq_timedsend, [1, 1, 0, 0, 9, 0]), Some((9, clock(libc::CLOCK_REALTIME))));
        assert_eq!(of(Sysno::ppoll, [1, 1, 0, 0, 0, 0]), None, "no limit");
        assert_eq!(of(Sysno::read, [9; 6]), None);
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
