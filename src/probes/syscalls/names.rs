//! Names of system calls, and which of them wait by design.
//!
//! Names come from the `syscalls` crate, generated from the kernel's own tables for the architecture this is built for.

use kscope_layout::{COMPAT_CALL, OTHER_CALL};
use syscalls::Sysno;

/// The name of a call, `syscall_470` for one the table does not know.
pub fn name(nr: u32) -> std::borrow::Cow<'static, str> {
    match nr {
        COMPAT_CALL => "compat".into(),
        OTHER_CALL => "other".into(),
        _ => Sysno::new(nr as usize).map_or_else(|| format!("syscall_{nr}").into(), |s| s.name().into()),
    }
}

/// Calls whose purpose is to wait: long ones say nothing about the kernel, so they can be hidden.
const WAITING: &[Sysno] = &[Sysno::epoll_wait];

/// True for calls that wait by design (`epoll_wait`, `futex`, `nanosleep`, `poll`, …).
pub fn waits(nr: u32) -> bool {
    Sysno::new(nr as usize).is_some_and(|s| WAITING.contains(&s))
}
