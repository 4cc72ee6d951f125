//! The helper as the process that draws sees it.
//!
//! Two threads may ask: the sampler, and the one that counts runs. One asks after the other.
//!
//! Invariant: an error of the helper's socket means that nothing is attached any more.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::description::Description;
use super::wire::{self, Request, Status};
use crate::kernel::loader::Standing;

/// Asks the helper.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Asked>);

#[derive(Debug)]
struct Asked {
    socket: OwnedFd,
    /// Whose turn it is.
    turn: Mutex<()>,
}

impl Remote {
    /// The helper at the other end.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(Arc::new(Asked { socket, turn: Mutex::new(()) }))
    }

    /// Has it done.
    pub fn done(&self, request: Request) -> io::Result<()> {
        self.ask(request).map(drop)
    }

    /// Has it done, and how the programs stand then.
    pub fn standing(&self, request: Request) -> io::Result<Standing> {
        let (text, fds) = self.ask(request)?;
        Ok(Description::received(&text, fds)?.standing)
    }

    fn ask(&self, request: Request) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&self.0.socket, &request.encode(), &[]).map_err(|_| gone())?;
        match wire::answered(&self.0.socket)? {
            Some((Status::Done, text, fds)) => Ok((text, fds)),
            Some((Status::Refused, ..)) => Err(io::Error::other("the helper refused it")),
            Some((Status::Failed(0), text, _)) => Err(io::Error::other(String::from_utf8_lossy(&text).into_owned())),
            Some((Status::Failed(errno), ..)) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(gone()),
        }
    }

    /// Fails when the helper has ended.
    pub fn is_there(&self) -> io::Result<()> {
        if self.ends(Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })) { Err(gone()) } else { Ok(()) }
    }

    /// Waits until the helper ends, and says so.
    pub fn wait_for_its_end(&self) -> io::Error {
        while !self.ends(None) {}
        gone()
    }

    fn ends(&self, wait: Option<&rustix::time::Timespec>) -> bool {
        // Nothing is asked for: poll tells of the end, and of nothing else.
        let mut socket = [PollFd::from_borrowed_fd(self.0.socket.as_fd(), PollFlags::empty())];
        match poll(&mut socket, wait) {
            Ok(ready) => ready > 0,
            Err(error) => error != Errno::INTR,
        }
    }
}

/// What to say when it has ended.
fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the process that holds kscope's programs has ended, and with it nothing is measured any more",
    )
}
