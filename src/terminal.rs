//! The terminal: taken over, and given back whatever happens.
//!
//! Invariant: after [`Screen`] is dropped, after a panic, and while suspended, the terminal is as it was found.

use std::io::{self, IsTerminal as _, Stdout, stdout};
use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Name of the thread whose panics are told by the main thread, once the terminal is back.
pub const SAMPLER: &str = "sampler";

/// True while the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// What the sampler said when it panicked.
static SAMPLER_PANIC: OnceLock<String> = OnceLock::new();

/// The terminal as long as it is ours.
pub struct Screen {
    /// To draw on.
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over. Fails where there is none.
    pub fn take() -> io::Result<Self> {
        if !stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(io::Error::other(
                "the dashboard needs a terminal for its input and output; `kscope report` prints one summary without",
            ));
        }
        end_with_the_terminal()?;
        enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()));
        terminal.map(|terminal| Self { terminal }).inspect_err(|_| leave())
    }

    /// Gives the terminal back and stops until somebody continues us.
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        stop_the_group()?;
        self.resume()
    }

    /// Takes the terminal over again, and draws everything anew.
    pub fn resume(&mut self) -> io::Result<()> {
        enter()?;
        execute!(stdout(), Clear(ClearType::All))?;
        // Not `Terminal::clear`: it asks the terminal where the cursor is, and the stream of keys may swallow the answer.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, Hide)
}

/// Gives the terminal back; harmless if it is not ours. Errors are ignored: it may be gone, and nothing else can be done.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Stops the process group, as Ctrl-Z does in a terminal that is not in raw mode: whoever waits for us in the foreground
/// (make, cargo) must stop too, or the shell would never come back.
fn stop_the_group() -> io::Result<()> {
    // SAFETY: both structures live across the calls; an all-zero `sigaction` is valid and, with SIG_DFL, complete. The
    // handler of SIGTSTP, which brings us here, is put back after we were continued.
    unsafe {
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        let mut ours: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGTSTP, &raw const default, &raw mut ours) != 0 {
            return Err(io::Error::last_os_error());
        }
        let sent = libc::kill(0, libc::SIGTSTP);
        let failure = io::Error::last_os_error();
        libc::sigaction(libc::SIGTSTP, &raw const ours, std::ptr::null_mut());
        if sent == 0 { Ok(()) } else { Err(failure) }
    }
}

/// Ends the program when the terminal is gone (its window was closed, the connection broke).
///
/// A thread of its own, because the main one may not notice: crossterm 0.29 reads the end of a terminal's input for ever.
fn end_with_the_terminal() -> io::Result<()> {
    let watch = || {
        let stdin = io::stdin();
        // Nothing is asked for: poll returns for a hang-up or an error, and for nothing else.
        let mut terminal = [PollFd::new(&stdin, PollFlags::empty())];
        while poll(&mut terminal, None) == Err(Errno::INTR) {}
        std::process::exit(0);
    };
    thread::Builder::new().name("hang-up".into()).spawn(watch).map(drop)
}

/// Has every panic give the terminal back, and end the program: that of the sampler by way of the main thread, which says so;
/// that of another thread at once, since what it did would be missing from then on without a word.
pub fn give_back_on_panic() {
    let default = panic::take_hook();
    let main = thread::current().id();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() == Some(SAMPLER) {
            let _ = SAMPLER_PANIC.set(info.to_string());
            return;
        }
        leave();
        default(info);
        if thread::current().id() != main {
            std::process::exit(1);
        }
    }));
}

/// What the sampler said when it panicked, if it did.
pub fn sampler_panic() -> Option<&'static str> {
    SAMPLER_PANIC.get().map(String::as_str)
}
