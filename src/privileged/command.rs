//! A command that is to be measured: forked first, while all rights are there, and started later by a word.
//!
//! It runs with the rights that kscope was started with, as it would without kscope. The process that measures it may not start
//! anything by then.
//!
//! Not here: waiting for its end. Invariant: where kscope ends before it says the word, the command never runs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use super::process::only_one_thread;
use super::wire;

/// A command that waits to be started.
#[derive(Debug)]
pub struct Waiting {
    pid: Pid,
    socket: OwnedFd,
}

impl Waiting {
    /// Forks the process that becomes the command; `None` for no command.
    pub fn fork(command: &[OsString]) -> io::Result<Option<Self>> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        only_one_thread()?;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // SAFETY: there is one thread, so the copy is as whole as the original.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                let error = run(program, arguments, &theirs);
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                // If nobody listens there is nobody to tell.
                let _ = wire::send(&theirs, &errno.to_le_bytes(), &[]);
                // SAFETY: no preconditions. Not `exit`: buffers and handlers are those of the original.
                unsafe { libc::_exit(127) }
            }
            pid => Ok(Pid::from_raw(pid).map(|pid| Self { pid, socket: ours })),
        }
    }

    /// Its process id.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Starts it. Fails when there is no such program, or it is not one.
    pub fn go(self) -> io::Result<()> {
        wire::send(&self.socket, &[1], &[])?;
        let mut errno = [0; 4];
        // Its end of the socket closes when the program begins.
        match wire::receive(&self.socket, &mut errno)? {
            Some(_) => Err(io::Error::from_raw_os_error(i32::from_le_bytes(errno))),
            None => Ok(()),
        }
    }
}

/// Waits for the word, and becomes the command; why it did not.
fn run(program: &OsStr, arguments: &[OsString], socket: &OwnedFd) -> io::Error {
    let path = in_path(program);
    // Standard output is the report's alone, so the command's goes where messages go.
    let output = match rustix::io::dup(io::stderr()) {
        Ok(output) => output,
        Err(error) => return error.into(),
    };
    let mut command = Command::new(path.as_deref().unwrap_or(program.as_ref()));
    command.arg0(program).args(arguments).stdout(Stdio::from(output));
    match wire::receive(socket, &mut [0]) {
        Ok(Some(_)) => command.exec(),
        Ok(None) => io::Error::from_raw_os_error(libc::ECANCELED),
        Err(error) => error,
    }
}

/// Where a program named without a path is. Found before it is started, or every directory that does not have it would be a
/// failed `execve` in the report.
fn in_path(program: &OsStr) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return None;
    }
    let path = env::var_os("PATH")?;
    let is_program =
        |file: &PathBuf| file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    env::split_paths(&path).map(|dir| dir.join(program)).find(is_program)
}
