//! Looking into other processes: what a call waits for, what a descriptor is open on, whose a socket is.
//!
//! The kernel shows that only to whoever might trace the process, and whoever restricts itself with Landlock may trace nobody
//! outside. So a process of its own looks. It has the capabilities for that and no others, and answers three questions, each a
//! few numbers: it reads no memory and opens no file that the one who asks could choose.
//!
//! Invariant: bytes that are not exactly a question of the list are none.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::process::{self, Started};
use super::wire::{self, Status};
use crate::probes::connections::owners::sockets_of;
use crate::probes::stuck::asked::{Sleeper, Tables, ask};
use crate::probes::stuck::stats::Detail;

/// Looks into other processes.
#[derive(Clone, Debug)]
pub struct Eyes(Arc<Sight>);

#[derive(Debug)]
enum Sight {
    /// This process looks, as far as its rights go.
    Here(Mutex<Tables>),
    /// Another one looks.
    There(Mutex<OwnedFd>),
    /// Nobody does.
    Shut,
}

impl Default for Eyes {
    fn default() -> Self {
        Self(Arc::new(Sight::Here(Mutex::default())))
    }
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Forget what was read of the whole machine: a new sample begins. It is not answered.
    Begin,
    /// What a thread waits for.
    Call(Sleeper),
    /// What a descriptor of a process is open on.
    Link(u32, u32),
    /// The sockets of a process.
    Sockets(u32),
}

impl Question {
    const SIZE: usize = 20;

    fn encode(self) -> [u8; Self::SIZE] {
        let words = match self {
            Self::Begin => [1, 0, 0, 0, 0],
            Self::Call(Sleeper { pid, tid, nr, uninterruptible }) => [2, pid, tid, nr, u32::from(uninterruptible)],
            Self::Link(pid, fd) => [3, pid, fd, 0, 0],
            Self::Sockets(pid) => [4, pid, 0, 0, 0],
        };
        bytemuck::cast(words)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; Self::SIZE] = bytes.try_into().ok()?;
        let question = match bytemuck::cast::<_, [u32; 5]>(bytes) {
            [1, ..] => Self::Begin,
            [2, pid, tid, nr, sleep] => Self::Call(Sleeper { pid, tid, nr, uninterruptible: sleep == 1 }),
            [3, pid, fd, ..] => Self::Link(pid, fd),
            [4, pid, ..] => Self::Sockets(pid),
            _ => return None,
        };
        // Each question has one form.
        (question.encode() == bytes).then_some(question)
    }
}

impl Eyes {
    /// Nobody looks: `--no-ptrace`.
    pub fn shut() -> Self {
        Self(Arc::new(Sight::Shut))
    }

    /// Starts a process that looks; `restrict` gives up what it does not need.
    pub fn start(restrict: impl FnOnce() -> io::Result<()>) -> io::Result<(Self, u32)> {
        let Started { pid, sockets: [socket] } = process::start(c"kscope-eyes", |[socket]| {
            if restrict().is_ok() {
                answer_all(&socket);
            }
        })?;
        Ok((Self(Arc::new(Sight::There(Mutex::new(socket)))), pid))
    }

    /// A new sample begins.
    pub fn begin(&self) {
        match &*self.0 {
            Sight::Here(tables) => *lock(tables) = Tables::default(),
            // If it has ended, nothing is seen any more; the rest goes on.
            Sight::There(socket) => drop(wire::send(&*lock(socket), &Question::Begin.encode(), &[])),
            Sight::Shut => {}
        }
    }

    /// The call that a thread is in, and what it waits for there.
    pub fn call(&self, sleeper: Sleeper) -> Option<(u32, Detail)> {
        match &*self.0 {
            Sight::Here(tables) => ask(sleeper, &mut lock(tables)),
            Sight::There(socket) => serde_json::from_slice(&asked(socket, Question::Call(sleeper))?).ok()?,
            Sight::Shut => None,
        }
    }

    /// What a descriptor of a process is open on.
    pub fn link(&self, pid: u32, fd: u32) -> Option<Vec<u8>> {
        match &*self.0 {
            Sight::Here(_) => link(pid, fd),
            Sight::There(socket) => asked(socket, Question::Link(pid, fd)).filter(|link| !link.is_empty()),
            Sight::Shut => None,
        }
    }

    /// The inodes of the sockets that a process has open, and how many files were looked at.
    pub fn sockets(&self, pid: u32) -> (Vec<u32>, usize) {
        match &*self.0 {
            Sight::Here(_) => sockets_of(pid),
            Sight::There(socket) => {
                let answer = asked(socket, Question::Sockets(pid)).unwrap_or_default();
                let (words, _) = answer.as_chunks();
                let mut words: Vec<u32> = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
                let looked_at = words.pop().unwrap_or(1);
                (words, looked_at as usize)
            }
            Sight::Shut => (Vec::new(), 1),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks; `None` when nobody answers any more.
fn asked(socket: &Mutex<OwnedFd>, question: Question) -> Option<Vec<u8>> {
    let socket = lock(socket);
    wire::send(&*socket, &question.encode(), &[]).ok()?;
    wire::answered(&*socket).ok()?.map(|(_, answer, _)| answer)
}

fn link(pid: u32, fd: u32) -> Option<Vec<u8>> {
    fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok().map(|link| link.into_os_string().into_vec())
}

/// What the process that looks does, until nobody asks any more.
fn answer_all(socket: &OwnedFd) {
    let mut tables = Tables::default();
    // One byte more than a question has: what is longer is seen to be.
    let mut buffer = [0; Question::SIZE + 1];
    loop {
        let question = match wire::receive(socket, &mut buffer) {
            Ok(Some((length, _))) => buffer.get(..length).and_then(Question::decode),
            Ok(None) => return,
            Err(_) => None,
        };
        let text = match question {
            Some(Question::Begin) => {
                tables = Tables::default();
                continue;
            }
            Some(Question::Call(sleeper)) => serde_json::to_vec(&ask(sleeper, &mut tables)).unwrap_or_default(),
            Some(Question::Link(pid, fd)) => link(pid, fd).unwrap_or_default(),
            Some(Question::Sockets(pid)) => {
                let (mut inodes, looked_at) = sockets_of(pid);
                inodes.push(u32::try_from(looked_at).unwrap_or(u32::MAX));
                bytemuck::cast_slice(&inodes).to_vec()
            }
            None => Vec::new(),
        };
        let status = if question.is_some() { Status::Done } else { Status::Refused };
        if wire::answer(socket, status, &text, &[]).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sleeper() -> impl Strategy<Value = Sleeper> {
        any::<(u32, u32, u32, bool)>().prop_map(|(pid, tid, nr, uninterruptible)| Sleeper {
            pid,
            tid,
            nr,
            uninterruptible,
        })
    }

    proptest! {
        #[test]
        fn a_question_is_its_bytes(sleeper in sleeper(), pid in any::<u32>(), fd in any::<u32>()) {
            let all = [Question::Begin, Question::Call(sleeper), Question::Link(pid, fd), Question::Sockets(pid)];
            for question in all {
                prop_assert_eq!(Question::decode(&question.encode()), Some(question));
                prop_assert_eq!(Question::decode(&question.encode()[1..]), None);
            }
        }

        #[test]
        fn what_is_a_question_has_its_form(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            if let Some(question) = Question::decode(&bytes) {
                prop_assert_eq!(&question.encode()[..], &bytes[..]);
            }
        }
    }
}
