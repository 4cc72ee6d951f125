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
use std::sync::{Arc, Mutex};

use super::process::{self, Started};
use super::wire;
use crate::probes::connections::owners::sockets_of;
use crate::probes::stuck::asked::{Sleeper, Tables, ask};
use crate::probes::stuck::stats::Detail;

/// Questions of one message, at most: a message and its answer take longer than most answers take to find.
const TOGETHER: usize = 32;
/// Bytes of what a descriptor is open on that are answered, at most.
const LONGEST_LINK: usize = 1024;

/// Looks into other processes.
#[derive(Clone, Debug)]
pub struct Eyes(Arc<Sight>);

#[derive(Debug)]
enum Sight {
    /// This process looks, as far as its rights go.
    Here,
    /// Another one looks.
    There(Mutex<OwnedFd>),
    /// Nobody does.
    Shut,
}

impl Default for Eyes {
    fn default() -> Self {
        Self(Arc::new(Sight::Here))
    }
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Forget what was read of the whole machine: a new sample begins. Its answer is empty.
    Begin,
    /// What a thread waits for.
    Call(Sleeper),
    /// What a descriptor of a process is open on.
    Link(u32, u32),
    /// The sockets of a process.
    Sockets(u32),
}

impl Question {
    const SIZE: usize = 28;

    fn encode(self) -> [u8; Self::SIZE] {
        let words = match self {
            Self::Begin => [1, 0, 0, 0, 0, 0, 0],
            Self::Call(Sleeper { pid, tid, nr, uninterruptible, since_ns }) => {
                let [low, high] = bytemuck::cast(since_ns);
                [2, pid, tid, nr, u32::from(uninterruptible), low, high]
            }
            Self::Link(pid, fd) => [3, pid, fd, 0, 0, 0, 0],
            Self::Sockets(pid) => [4, pid, 0, 0, 0, 0, 0],
        };
        bytemuck::cast(words)
    }

    fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let question = match bytemuck::cast::<_, [u32; 7]>(bytes) {
            [1, ..] => Self::Begin,
            [2, pid, tid, nr, sleep, low, high] => {
                let since_ns = bytemuck::cast([low, high]);
                Self::Call(Sleeper { pid, tid, nr, uninterruptible: sleep == 1, since_ns })
            }
            [3, pid, fd, ..] => Self::Link(pid, fd),
            [4, pid, ..] => Self::Sockets(pid),
            _ => return None,
        };
        // Each question has one form.
        (question.encode() == bytes).then_some(question)
    }

    /// The questions of a message, if it has nothing else.
    fn all_of(message: &[u8]) -> Option<Vec<Self>> {
        let (questions, rest) = message.as_chunks();
        let fits = rest.is_empty() && (1..=TOGETHER).contains(&questions.len());
        fits.then(|| questions.iter().map(|bytes| Self::decode(*bytes)).collect())?
    }

    fn answer(self, tables: &mut Tables) -> Vec<u8> {
        match self {
            Self::Begin => {
                *tables = Tables::default();
                Vec::new()
            }
            Self::Call(sleeper) => serde_json::to_vec(&ask(sleeper, tables)).unwrap_or_default(),
            Self::Link(pid, fd) => link(pid, fd).unwrap_or_default(),
            Self::Sockets(pid) => {
                let (mut inodes, looked_at) = sockets_of(pid);
                inodes.push(u32::try_from(looked_at).unwrap_or(u32::MAX));
                bytemuck::cast_slice(&inodes).to_vec()
            }
        }
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

    /// The calls that threads are in, and what they wait for there. One sample: tables of the machine are read once for it.
    pub fn calls(&self, sleepers: &[Sleeper]) -> Vec<Option<(u32, Detail)>> {
        match &*self.0 {
            Sight::Here => {
                let mut tables = Tables::default();
                sleepers.iter().map(|sleeper| ask(*sleeper, &mut tables)).collect()
            }
            Sight::There(socket) => {
                let questions = std::iter::once(Question::Begin).chain(sleepers.iter().copied().map(Question::Call));
                let answers = asked(socket, &questions.collect::<Vec<_>>()).into_iter().skip(1);
                answers.map(|answer| serde_json::from_slice(&answer).ok()?).collect()
            }
            Sight::Shut => vec![None; sleepers.len()],
        }
    }

    /// What descriptors of processes are open on, by process id and number.
    pub fn links(&self, files: &[(u32, u32)]) -> Vec<Option<Vec<u8>>> {
        match &*self.0 {
            Sight::Here => files.iter().map(|&(pid, fd)| link(pid, fd)).collect(),
            Sight::There(socket) => {
                let questions: Vec<Question> = files.iter().map(|&(pid, fd)| Question::Link(pid, fd)).collect();
                asked(socket, &questions).into_iter().map(|link| (!link.is_empty()).then_some(link)).collect()
            }
            Sight::Shut => vec![None; files.len()],
        }
    }

    /// The inodes of the sockets that a process has open, and how many files were looked at.
    pub fn sockets(&self, pid: u32) -> (Vec<u32>, usize) {
        match &*self.0 {
            Sight::Here => sockets_of(pid),
            Sight::There(socket) => {
                let answer = asked(socket, &[Question::Sockets(pid)]).pop().unwrap_or_default();
                let (words, _) = answer.as_chunks();
                let mut words: Vec<u32> = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
                let looked_at = words.pop().unwrap_or(1);
                (words, looked_at as usize)
            }
            Sight::Shut => (Vec::new(), 1),
        }
    }
}

/// Asks; of each question the answer, which is empty where there is none, or nobody answers any more.
fn asked(socket: &Mutex<OwnedFd>, questions: &[Question]) -> Vec<Vec<u8>> {
    let together = |some: &[Question]| {
        let message: Vec<u8> = some.iter().flat_map(|question| question.encode()).collect();
        wire::ask(socket, &message)
    };
    let answers = questions.chunks(TOGETHER).flat_map(|some| {
        let mut answers = wire::apart(&together(some).unwrap_or_default());
        answers.resize(some.len(), Vec::new());
        answers
    });
    answers.collect()
}

fn link(pid: u32, fd: u32) -> Option<Vec<u8>> {
    let mut link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?.into_os_string().into_vec();
    link.truncate(LONGEST_LINK);
    Some(link)
}

/// What the process that looks does, until nobody asks any more.
fn answer_all(socket: &OwnedFd) {
    let mut tables = Tables::default();
    let text = |message: &[u8]| {
        let questions = Question::all_of(message)?;
        Some(wire::joined(questions.into_iter().map(|question| question.answer(&mut tables))))
    };
    wire::answer_all(socket, &mut [0; Question::SIZE * TOGETHER + 1], text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sleeper() -> impl Strategy<Value = Sleeper> {
        any::<(u32, u32, u32, bool, u64)>().prop_map(|(pid, tid, nr, uninterruptible, since_ns)| Sleeper {
            pid,
            tid,
            nr,
            uninterruptible,
            since_ns,
        })
    }

    proptest! {
        #[test]
        fn a_question_is_its_bytes(sleeper in sleeper(), pid in any::<u32>(), fd in any::<u32>()) {
            let all = [Question::Begin, Question::Call(sleeper), Question::Link(pid, fd), Question::Sockets(pid)];
            for question in all {
                prop_assert_eq!(Question::decode(question.encode()), Some(question));
            }
            let message = all.map(Question::encode).concat();
            prop_assert_eq!(Question::all_of(&message), Some(all.to_vec()));
            prop_assert_eq!(Question::all_of(&message[1..]), None);
        }

        #[test]
        fn what_is_a_question_has_its_form(words in any::<[u8; 7]>(), many in 0..40_usize) {
            let message: Vec<u8> = words.map(u32::from).map(u32::to_ne_bytes).concat().repeat(many);
            if let Some(questions) = Question::all_of(&message) {
                prop_assert_eq!(questions.into_iter().flat_map(Question::encode).collect::<Vec<_>>(), message);
                prop_assert!((1..=TOGETHER).contains(&many));
            }
        }
    }
}
