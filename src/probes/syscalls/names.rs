//! Names of system calls, and which of them wait by design.
//!
//! Names come from the `syscalls` crate, generated from the kernel's own tables for the architecture this is built for.

use kscope_layout::{COMPAT_CALL, NO_CALL, OTHER_CALL};
use syscalls::Sysno;

/// The name of a call, `syscall_470` for one the table does not know.
pub fn name(nr: u32) -> std::borrow::Cow<'static, str> {
    match nr {
        COMPAT_CALL => "compat".into(),
        OTHER_CALL => "other".into(),
        NO_CALL => "no call".into(),
        _ => Sysno::new(nr as usize).map_or_else(|| format!("syscall_{nr}").into(), |s| s.name().into()),
    }
}

/// Calls whose purpose is to wait: long ones say nothing about the kernel, so they can be hidden. These exist everywhere.
const WAITING: &[Sysno] = &[
    Sysno::accept,
    Sysno::accept4,
    Sysno::clock_nanosleep,
    Sysno::epoll_pwait,
    Sysno::epoll_pwait2,
    Sysno::futex,
    Sysno::futex_wait,
    Sysno::futex_waitv,
    Sysno::io_getevents,
    Sysno::io_pgetevents,
    Sysno::io_uring_enter,
    Sysno::msgrcv,
    Sysno::nanosleep,
    Sysno::ppoll,
    Sysno::pselect6,
    Sysno::restart_syscall,
    Sysno::rt_sigsuspend,
    Sysno::rt_sigtimedwait,
    Sysno::semop,
    Sysno::semtimedop,
    Sysno::wait4,
    Sysno::waitid,
];

/// Those of the older architectures, which newer ones never got.
#[cfg(target_arch = "x86_64")]
const WAITING_HERE: &[Sysno] = &[Sysno::epoll_wait, Sysno::pause, Sysno::poll, Sysno::select];
#[cfg(not(target_arch = "x86_64"))]
const WAITING_HERE: &[Sysno] = &[];

/// True for calls that wait by design (`epoll_wait`, `futex`, `nanosleep`, `poll`, …).
pub fn waits(nr: u32) -> bool {
    Sysno::new(nr as usize).is_some_and(|s| WAITING.contains(&s) || WAITING_HERE.contains(&s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nr(call: Sysno) -> u32 {
        u32::try_from(call.id()).unwrap()
    }

    #[test]
    fn calls_that_wait_are_told_from_calls_that_work() {
        assert!(waits(nr(Sysno::futex)) && waits(nr(Sysno::ppoll)));
        assert!(!waits(nr(Sysno::read)) && !waits(nr(Sysno::write)) && !waits(COMPAT_CALL) && !waits(u32::MAX));
    }

    #[test]
    fn every_row_has_a_name() {
        assert_eq!(name(nr(Sysno::read)), "read");
        assert_eq!(name(509), "syscall_509");
        assert_eq!((name(COMPAT_CALL), name(OTHER_CALL)), ("compat".into(), "other".into()));
    }
}
