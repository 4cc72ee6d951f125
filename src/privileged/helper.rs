//! The helper: the only process that may load and attach.
//!
//! It loads when it starts, hands the maps over once, and then does what is on a closed list of requests (`wire.rs`), until its
//! socket closes or the process that draws ends. What it attached goes with it.
//!
//! Invariant: nothing that arrives makes it do anything that is not on the list.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use aya::programs::ProgramError;
use aya::sys::{Stats, enable_stats};
use rustix::process::{Pid, getpid};
use rustix::thread::capabilities;

use super::description::{Description, Failure};
use super::process::{self, Started};
use super::remote::Remote;
use super::wire::{self, Request, Status};
use super::{calls, files, rights};
use crate::kernel::advice::{self, LoadError};
use crate::kernel::loader::{Standing, load_here, raise_memlock_limit};
use crate::kernel::local::Local;
use crate::kernel::memory;
use crate::kernel::programs::Insight;
use crate::probes::blame::stats::Tells;

/// So often runs can be counted at the same time: in windows, and for one interval of a budget that begins meanwhile.
const MOST_COUNTS: usize = 4;

/// The helper while it loads.
#[derive(Debug)]
pub struct Helper(pub Started<1>);

impl Helper {
    /// Starts it. It measures these processes only, or all if there is none; what this process, `others` and it do is left
    /// out.
    pub fn start(only: &[u32], others: &[u32]) -> io::Result<Self> {
        let drawing = getpid();
        process::start(c"kscope-helper", |[socket]| {
            // Without its restrictions it does nothing; whoever asks sees that it has ended.
            let _ = serve(&socket, only, others, drawing);
        })
        .map(Self)
    }

    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Waits until it has loaded and attached everything that can be.
    pub fn loaded(self) -> Result<(Remote, Description), LoadError> {
        let Started { sockets: [socket], .. } = self.0;
        match wire::answered(&socket)? {
            Some((Status::Done, text, fds)) => Ok((Remote::new(socket), Description::received(&text, fds)?)),
            Some((_, text, _)) => {
                let Failure { message, advice } = serde_json::from_slice(&text).map_err(io::Error::from)?;
                Err(LoadError::Told { message, advice })
            }
            None => Err(io::Error::other("it ended before it had loaded anything").into()),
        }
    }
}

/// What the helper does. It ends when whoever asks has ended.
fn serve(socket: &OwnedFd, only: &[u32], others: &[u32], drawing: Pid) -> io::Result<()> {
    memory::hold_little();
    // It takes a right that goes next.
    raise_memlock_limit();
    let has = capabilities(None)?.permitted;
    // Where there are no others, the one that stands for them.
    let raised = if has.contains(rights::HELPER) { rights::HELPER } else { rights::HELPER | rights::HELPER_AT_TIMES };
    rights::keep(rights::HELPER | rights::HELPER_AT_TIMES, raised, None)?;
    process::end_with(drawing)?;
    let own = [&[drawing.as_raw_pid().unsigned_abs(), std::process::id()], others].concat();
    let (local, maps) = match load_here(&Insight::ALL, only, &own) {
        Ok(loaded) => loaded,
        Err(error) => return refuse_all(socket, &error),
    };
    // What kernels do not have is missing: that is said by the process that draws, which needs it more.
    let _ = files::read_only(&["/sys", "/proc"].map(PathBuf::from));
    let _ = calls::restrict_helper();
    let (found, tells) = (local.found, local.tells());
    let description = Description { maps, standing: local.standing(), found, tells };
    let (text, fds) = description.sent();
    wire::answer(socket, Status::Done, &text, &fds)?;
    drop((text, fds));
    drop(description);
    // What it holds, it holds for as long as kscope runs.
    memory::give_back();
    Work { local, counts: Vec::new() }.answer_all(socket);
    Ok(())
}

fn refuse_all(socket: &OwnedFd, error: &LoadError) -> io::Result<()> {
    let failure = Failure { message: advice::chain(error), advice: error.advice() };
    let text = serde_json::to_vec(&failure).unwrap_or_default();
    wire::answer(socket, Status::Failed(0), &text, &[])
}

/// What is loaded, and what is counted.
struct Work {
    local: Local,
    /// Runs are counted as long as there is one.
    counts: Vec<OwnedFd>,
}

impl Work {
    fn answer_all(&mut self, socket: &OwnedFd) {
        // One byte more than a request has: what is longer is seen to be.
        let mut buffer = [0; Request::SIZE + 1];
        loop {
            let request = match wire::receive(socket, &mut buffer) {
                // Whatever descriptors came along are closed.
                Ok(Some((length, _))) => buffer.get(..length).and_then(Request::decode),
                Ok(None) => return,
                Err(_) => None,
            };
            if self.answer(socket, request).is_err() {
                return;
            }
        }
    }

    /// Does what is asked for and says how that went. Fails when nobody listens any more.
    fn answer(&mut self, socket: &OwnedFd, request: Option<Request>) -> io::Result<()> {
        let Some(request) = request else { return wire::answer(socket, Status::Refused, &[], &[]) };
        match self.act(request) {
            Ok(None) => wire::answer(socket, Status::Done, &[], &[]),
            Ok(Some(standing)) => {
                let description = Description { maps: Vec::new(), standing, found: false, tells: Tells::default() };
                let (text, fds) = description.sent();
                wire::answer(socket, Status::Done, &text, &fds)
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                let none: [BorrowedFd<'_>; 0] = [];
                wire::answer(socket, Status::Failed(errno), error.to_string().as_bytes(), &none)
            }
        }
    }

    fn act(&mut self, request: Request) -> io::Result<Option<Standing>> {
        match request {
            Request::Attach(insight) => self.local.attached().attach(insight).map_err(plain)?,
            Request::Detach(insight) => self.local.attached().detach(insight).map_err(plain)?,
            Request::FindThreads => self.local.attached().find_threads().map_err(plain)?,
            Request::Open(insight) => return self.local.open(insight).map(Some).map_err(io::Error::other),
            Request::Close(insight) => return self.local.close(insight).map(Some).map_err(plain),
            Request::CountRuns if self.counts.len() < MOST_COUNTS => {
                let enable = || enable_stats(Stats::RunTime).map_err(|error| error.io_error);
                self.counts.push(rights::with(rights::HELPER_AT_TIMES, enable)?);
            }
            Request::CountRuns => return Err(io::Error::other("runs are counted often enough")),
            Request::CountRunsNoMore => drop(self.counts.pop()),
        }
        Ok(None)
    }
}

/// The sentence of an error, as one that can be sent.
#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped by")]
fn plain(error: ProgramError) -> io::Error {
    io::Error::other(advice::chain(&error))
}
