//! A command that is to be measured: its starter is forked first, while all rights are there, and starts it at a word.
//!
//! It runs with the rights that kscope was started with, as it would without kscope. The process that measures it may not start
//! anything by then.
//!
//! ```text
//!  kscope ──── samples ── "start" ─────────────── measures ──────────────── the last sample
//!    └ starter ─ waits ──────┬─ when it began ──── waits for it ──┬─ when it ended, and how
//!                            └ the command: execve …………………… exit ┘
//! ```
//!
//! The command is a process of its own, born at the word: what its starter did before is no part of its life.
//!
//! Not here: measuring it. Invariant: where kscope ends before it says the word, the command never runs.

mod starter;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use super::process::only_one_thread;
use super::wire;
use starter::Starter;

/// Reads the clocks that the command's beginning and end are told in.
pub type Clock = fn() -> Moment;

/// A moment by two clocks of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
    /// `CLOCK_BOOTTIME`, ns.
    pub boottime_ns: u64,
}

/// A command that waits to be started.
#[derive(Debug)]
pub struct Waiting {
    socket: OwnedFd,
}

impl Waiting {
    /// Forks the process that starts the command; `None` for no command. With `children`, that process also waits for those that
    /// the command leaves behind: it becomes their parent.
    pub fn fork(command: &[OsString], children: bool, clock: Clock) -> io::Result<Option<Self>> {
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        only_one_thread()?;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // SAFETY: there is one thread, so the copy is as whole as the original.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                let starter = Starter::new(program, arguments, children, clock);
                // If nobody listens there is nobody to tell.
                let _ = starter.and_then(|starter| starter.serve(&theirs));
                // SAFETY: no preconditions. Not `exit`: buffers and handlers are those of the original.
                unsafe { libc::_exit(0) }
            }
            _ => Ok(Some(Self { socket: ours })),
        }
    }

    /// Starts it. Fails when there is no such program, or it is not one.
    pub fn go(self) -> io::Result<Started> {
        wire::send(&self.socket, &[1], &[])?;
        match Event::receive(&self.socket)? {
            Some(Event::Began { pid, at }) => Ok(Started { pid, at, socket: self.socket }),
            Some(Event::Refused { errno }) => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(io::Error::other("the process that was to start it has ended")),
        }
    }
}

/// A command that has begun.
#[derive(Debug)]
pub struct Started {
    /// Its process id.
    pub pid: Pid,
    /// When it began: just before it was forked.
    pub at: Moment,
    socket: OwnedFd,
}

impl Started {
    /// Waits for what happens next: [`Event::Ended`], then, where children are waited for, [`Event::Alone`]; `None` after that.
    pub fn next(&self) -> io::Result<Option<Event>> {
        Event::receive(&self.socket)
    }
}

/// What the starter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The command has begun.
    Began {
        /// Its process id.
        pid: Pid,
        /// When: just before it was forked.
        at: Moment,
    },
    /// It cannot be started, for this reason of the operating system.
    Refused {
        /// The number of the error.
        errno: i32,
    },
    /// It has ended.
    Ended {
        /// As `wait` gives it.
        status: i32,
        /// When that was known.
        at: Moment,
    },
    /// No process that it left behind lives any more.
    Alone {
        /// When that was known.
        at: Moment,
    },
}

impl Event {
    const SIZE: usize = 24;

    fn encode(self) -> [u8; Self::SIZE] {
        let (what, value, at) = match self {
            Self::Began { pid, at } => (1_u32, pid.as_raw_nonzero().get(), at),
            Self::Refused { errno } => (2, errno, Moment::default()),
            Self::Ended { status, at } => (3, status, at),
            Self::Alone { at } => (4, 0, at),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&what.to_le_bytes());
        bytes[4..8].copy_from_slice(&value.to_le_bytes());
        bytes[8..16].copy_from_slice(&at.monotonic_ns.to_le_bytes());
        bytes[16..].copy_from_slice(&at.boottime_ns.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (what, rest) = bytes.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let (monotonic, rest) = rest.split_first_chunk::<8>()?;
        let boottime: &[u8; 8] = rest.try_into().ok()?;
        let at = Moment { monotonic_ns: u64::from_le_bytes(*monotonic), boottime_ns: u64::from_le_bytes(*boottime) };
        let value = i32::from_le_bytes(*value);
        let event = match u32::from_le_bytes(*what) {
            1 if value > 0 => Self::Began { pid: Pid::from_raw(value)?, at },
            2 => Self::Refused { errno: value },
            3 => Self::Ended { status: value, at },
            4 => Self::Alone { at },
            _ => return None,
        };
        // Each event has one form.
        (event.encode() == *bytes).then_some(event)
    }

    fn send(self, socket: &OwnedFd) -> io::Result<()> {
        wire::send(socket, &self.encode(), &[])
    }

    fn receive(socket: &OwnedFd) -> io::Result<Option<Self>> {
        let mut buffer = [0; Self::SIZE];
        let Some((length, _)) = wire::receive(socket, &mut buffer)? else { return Ok(None) };
        let event = buffer.get(..length).and_then(Self::decode);
        event.map(Some).ok_or_else(|| io::Error::other("the starter's message is none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_is_its_bytes() {
        let at = Moment { monotonic_ns: 1 << 40, boottime_ns: u64::MAX };
        let pid = Pid::from_raw(4_194_303).unwrap();
        let events = [
            Event::Began { pid, at },
            Event::Refused { errno: libc::ENOENT },
            Event::Ended { status: 0x8b, at },
            Event::Alone { at },
        ];
        for event in events {
            assert_eq!(Event::decode(&event.encode()), Some(event));
            assert_eq!(Event::decode(&event.encode()[..23]), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..32), what in 0..6_u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = what;
            }
            if let Some(event) = Event::decode(&bytes) {
                prop_assert_eq!(&event.encode()[..], &bytes[..]);
            }
        }
    }
}
