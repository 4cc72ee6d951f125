//! Starting a process of kscope that does one thing.
//!
//! Only before the first thread is started: a fork copies the thread that forks and no other, and a lock that another one holds
//! then is held for ever. Such a process has nothing but its ends of pairs of sockets, and it ends with the process that
//! started it, however that ends.
//!
//! Not here: what such a process may do (`rights.rs`, `calls.rs`), and what it does.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid};
use rustix::thread::set_name;

/// A process of kscope's, and how to talk with it.
#[derive(Debug)]
pub struct Started<const N: usize> {
    /// Its process id.
    pub pid: u32,
    /// Our ends.
    pub sockets: [OwnedFd; N],
}

/// Starts a process that does `work` with its ends of `N` pairs of sockets, and ends.
pub fn start<const N: usize>(name: &CStr, work: impl FnOnce([OwnedFd; N])) -> io::Result<Started<N>> {
    only_one_thread()?;
    let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let pairs = (0..N).map(|_| pair()).collect::<Result<Vec<_>, _>>()?;
    let (ours, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let exactly = |sockets: Vec<OwnedFd>| sockets.try_into().map_err(|_| io::Error::other("sockets are missing"));
    let (ours, theirs): ([OwnedFd; N], [OwnedFd; N]) = (exactly(ours)?, exactly(theirs)?);
    let parent = rustix::process::getpid();
    // SAFETY: there is one thread, so the copy is as whole as the original.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(ours);
            let run = || become_one_of_ours(name, parent, &theirs).map(|()| work(theirs));
            // What it could say goes nowhere: whoever talks with it sees that it has ended.
            let ended = catch_unwind(AssertUnwindSafe(run));
            // SAFETY: no preconditions. Not `exit`: buffers and handlers are those of the original.
            unsafe { libc::_exit(i32::from(!matches!(ended, Ok(Ok(()))))) }
        }
        pid => Ok(Started { pid: pid.unsigned_abs(), sockets: ours }),
    }
}

/// Fails when there are threads.
pub fn only_one_thread() -> io::Result<()> {
    match fs::read_dir("/proc/self/task").map(Iterator::count) {
        // Without /proc nobody knows.
        Ok(1) | Err(_) => Ok(()),
        Ok(many) => Err(io::Error::other(format!("{many} threads are there already"))),
    }
}

/// Leaves everything of the original behind but the sockets.
fn become_one_of_ours(name: &CStr, parent: Pid, sockets: &[OwnedFd]) -> io::Result<()> {
    set_name(name)?;
    // Not of the terminal's: what is typed there is for the process that draws.
    setsid()?;
    // It ends with its parent, which may have something to say first: whoever stops a group, as systemd does, stops both.
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    end_with(parent)?;
    close_all_but(sockets)
}

/// Ends this process when `parent` ends. To be said again after a change of ids, which forgets it.
pub fn end_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::other("whoever started this has ended")) }
}

/// The first three lead nowhere from here on: their numbers must not become those of other files.
fn close_all_but(sockets: &[OwnedFd]) -> io::Result<()> {
    let nowhere = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..3 {
        // SAFETY: it makes these numbers stand for another file; nobody here owns what was behind them.
        if unsafe { libc::dup2(nowhere.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    drop(nowhere);
    let mut kept: Vec<u32> = sockets.iter().map(|socket| socket.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut next = 3;
    for number in kept {
        close_range(next, number.saturating_sub(1))?;
        next = number.saturating_add(1);
    }
    close_range(next, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: what owns them in this copy of the process is never used again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
