//! The process that starts the command, and waits for its end.
//!
//! All that a program needs to begin is prepared before the word: between its birth and its `execve` the command makes no
//! system call. The starter outlives what the terminal sends to all processes in the foreground, since it knows how the
//! command ended; it ends when nobody listens any more.
//!
//! Not here: what the command is called in the report. Invariant: the command inherits no blocked signal, no handler and no
//! file that kscope had not been given.

use std::env;
use std::ffi::{CString, OsStr, OsString, c_char, c_int};
use std::io::{self, Read as _};
use std::mem::zeroed;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::ptr;

use rustix::process::Pid;
use rustix::thread::CapabilitySet;

use super::{Clock, Event};
use crate::privileged::{rights, wire};

/// What a terminal or a service manager sends to whole groups. The command decides what it does; the starter stays.
const OUTLIVED: [c_int; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM];

/// What is there to start a program with.
pub struct Starter {
    path: CString,
    arguments: Vec<CString>,
    children: bool,
    clock: Clock,
}

impl Starter {
    pub fn new(program: &OsStr, arguments: &[OsString], children: bool, clock: Clock) -> io::Result<Self> {
        let path = in_path(program).map_or_else(|| program.to_owned(), PathBuf::into_os_string);
        let all = std::iter::once(program).chain(arguments.iter().map(OsString::as_os_str));
        let arguments = all.map(|text| CString::new(text.as_bytes())).collect::<Result<_, _>>()?;
        // The first look at the clock reads a file.
        clock();
        Ok(Self { path: CString::new(path.into_vec())?, arguments, children, clock })
    }

    /// Waits for the word, starts the command, and tells what becomes of it.
    pub fn serve(&self, socket: &OwnedFd) -> io::Result<()> {
        self.prepare()?;
        if wire::receive(socket, &mut [0])?.is_none() {
            return Ok(());
        }
        let at = (self.clock)();
        match self.launch() {
            Ok(pid) => {
                Event::Began { pid, at }.send(socket)?;
                // For what is left to do, none is needed. Where that fails, it only waits with more rights.
                let _ = rights::keep(CapabilitySet::empty(), CapabilitySet::empty(), None);
                self.watch(pid, socket)
            }
            Err(error) => Event::Refused { errno: error.raw_os_error().unwrap_or(libc::EIO) }.send(socket),
        }
    }

    /// What the command inherits, and what keeps this process alive.
    fn prepare(&self) -> io::Result<()> {
        // Standard output is the report's alone, so the command's goes where messages go.
        // SAFETY: no preconditions; what owns the first is never used again in this process.
        check(unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) })?;
        // SAFETY: the default is no handler of ours. The runtime of this program ignores it, which programs do not expect.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        OUTLIVED.iter().try_for_each(|signal| outlive(*signal))?;
        // To be told of each end; ignored, ends could not be waited for.
        handle(libc::SIGCHLD)?;
        if self.children {
            // SAFETY: changes who adopts orphans, nothing else.
            check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })?;
        }
        Ok(())
    }

    /// Forks the command, and waits until it is one.
    fn launch(&self) -> io::Result<Pid> {
        let mut argv: Vec<*const c_char> = self.arguments.iter().map(|text| text.as_ptr()).collect();
        argv.push(ptr::null());
        // Both ends close on exec.
        let (mut reason, end) = io::pipe()?;
        let end_number = end.as_raw_fd();
        // Past the C library, whose fork makes calls in the child that would be the command's.
        // SAFETY: there is one thread and no memory is shared, so it is a fork; all arguments behind the first are not used.
        match unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(libc::SIGCHLD), 0, 0, 0, 0) } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: strings and array end with a null and live on. What follows is a write of an integer, and the end.
                unsafe {
                    libc::execvp(self.path.as_ptr(), argv.as_ptr());
                    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
                    libc::write(end_number, errno.as_ptr().cast(), errno.len());
                    libc::_exit(127)
                }
            }
            pid => {
                drop(end);
                let mut errno = Vec::new();
                // It closes when the program begins.
                reason.read_to_end(&mut errno)?;
                match <[u8; 4]>::try_from(errno) {
                    Ok(errno) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
                    Err(_) => i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no pid")),
                }
            }
        }
    }

    /// Tells how the command ended, and, if that is asked for, when nothing is left of it. Ends when nobody listens.
    fn watch(&self, command: Pid, socket: &OwnedFd) -> io::Result<()> {
        let unblocked = block(libc::SIGCHLD)?;
        loop {
            loop {
                let mut status = 0;
                // SAFETY: the status is written to a live variable.
                let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
                let at = (self.clock)();
                match pid {
                    0 => break,
                    -1 => return Event::Alone { at }.send(socket),
                    pid if pid == command.as_raw_nonzero().get() => {
                        Event::Ended { status, at }.send(socket)?;
                        if !self.children {
                            return Ok(());
                        }
                    }
                    // One that was left behind.
                    _ => {}
                }
            }
            if !listens(socket, &unblocked)? {
                return Ok(());
            }
        }
    }
}

/// Waits until a child ends, or nobody listens any more: false.
fn listens(socket: &OwnedFd, mask: &libc::sigset_t) -> io::Result<bool> {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which outlives the call as the mask does; no time.
    let ready = unsafe { libc::ppoll(&raw mut asked, 1, ptr::null(), mask) };
    match check(ready) {
        Ok(ready) => Ok(ready == 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}

/// Blocks a signal but where the mask that comes back is in force.
fn block(signal: c_int) -> io::Result<libc::sigset_t> {
    // SAFETY: a set of signals is plain memory, for which zeros are a value; both sets outlive the calls.
    unsafe {
        let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) = (zeroed(), zeroed());
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, signal);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before))?;
        libc::sigdelset(&raw mut before, signal);
        Ok(before)
    }
}

/// Lets a signal pass without effect, unless it is ignored: the command inherits that, and a handler becomes its default.
fn outlive(signal: c_int) -> io::Result<()> {
    // SAFETY: nothing is changed, and zeros are a value of what is written.
    let before = unsafe {
        let mut before: libc::sigaction = zeroed();
        check(libc::sigaction(signal, ptr::null(), &raw mut before))?;
        before
    };
    if before.sa_sigaction == libc::SIG_IGN { Ok(()) } else { handle(signal) }
}

/// Catches a signal and does nothing.
fn handle(signal: c_int) -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: the handler touches nothing; zeros are an empty mask and no flags.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = nothing as extern "C" fn(c_int) as libc::sighandler_t;
        check(libc::sigaction(signal, &raw const action, ptr::null_mut())).map(drop)
    }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
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
    // An empty entry is the working directory; without a slash the file would be looked for again.
    let here = |dir: PathBuf| if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
    env::split_paths(&path).map(|dir| here(dir).join(program)).find(is_program)
}
