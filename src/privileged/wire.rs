//! What goes over the socket between the process that draws and the helper.
//!
//! Requests are two numbers out of a short list: no strings, no paths, no lengths. Answers come from the side that has more
//! rights, so they may be long.
//!
//! Invariant: bytes that are not exactly a request of the list are none.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::core::insight::Insight;

/// What the helper can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Attach the programs of an insight that can be sampled.
    Attach(Insight),
    /// Detach them.
    Detach(Insight),
    /// Attach the programs of an insight that is measured on demand; load them before, if that was never done.
    Open(Insight),
    /// Detach them.
    Close(Insight),
    /// Make entries for all threads that have none.
    FindThreads,
    /// Have the kernel count the runs of programs, once more.
    CountRuns,
    /// Not any more, once less.
    CountRunsNoMore,
}

impl Request {
    /// Bytes of a request.
    pub const SIZE: usize = 8;

    /// The bytes: what, and of which insight.
    pub fn encode(self) -> [u8; Self::SIZE] {
        let number = |insight| (0_u32..).zip(Insight::ALL).find(|(_, i)| *i == insight).map_or(0, |(at, _)| at);
        let (what, which) = match self {
            Self::Attach(insight) => (1_u32, number(insight)),
            Self::Detach(insight) => (2, number(insight)),
            Self::Open(insight) => (3, number(insight)),
            Self::Close(insight) => (4, number(insight)),
            Self::FindThreads => (5, 0),
            Self::CountRuns => (6, 0),
            Self::CountRunsNoMore => (7, 0),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&what.to_le_bytes());
        bytes[4..].copy_from_slice(&which.to_le_bytes());
        bytes
    }

    /// The request that has exactly these bytes, if there is one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().ok()?;
        let [what, which] = [&bytes[..4], &bytes[4..]].map(|b| u32::from_le_bytes(b.try_into().unwrap_or_default()));
        let insight = *Insight::ALL.get(usize::try_from(which).ok()?)?;
        let sampled = || Insight::SAMPLED.contains(&insight).then_some(insight);
        let on_demand = || insight.is_on_demand().then_some(insight);
        let request = match what {
            1 => Self::Attach(sampled()?),
            2 => Self::Detach(sampled()?),
            3 => Self::Open(on_demand()?),
            4 => Self::Close(on_demand()?),
            5 => Self::FindThreads,
            6 => Self::CountRuns,
            7 => Self::CountRunsNoMore,
            _ => return None,
        };
        // Each request has one form.
        (request.encode() == *bytes).then_some(request)
    }
}

/// How a request was answered: the first bytes of an answer. What follows is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done; what follows is a [`super::description::Description`], or nothing.
    Done,
    /// That was no request of the list.
    Refused,
    /// It could not be done: the number of an error of the operating system, or 0, and what follows is a sentence.
    Failed(i32),
}

impl Status {
    const SIZE: usize = 8;

    fn encode(self) -> [u8; Self::SIZE] {
        let (what, errno) = match self {
            Self::Done => (0_u8, 0),
            Self::Refused => (1, 0),
            Self::Failed(errno) => (2, errno),
        };
        let [a, b, c, d] = errno.to_le_bytes();
        [what, 0, 0, 0, a, b, c, d]
    }

    fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [what, _, _, _, errno @ ..] = bytes;
        match what {
            0 => Some(Self::Done),
            1 => Some(Self::Refused),
            2 => Some(Self::Failed(i32::from_le_bytes(errno))),
            _ => None,
        }
    }
}

/// The longest message: the sockets of a process that has 16,384.
const LONGEST: usize = 66 << 10;
/// Answers in one, at most.
const MOST_ANSWERS: usize = 64;
/// Bytes of the length of one of them.
const LENGTH: usize = 4;
/// The most descriptors of one: the kernel's own limit is 253 (`SCM_MAX_FD`).
const MOST_FDS: usize = 128;
/// Room for them, as control messages are measured.
const ROOM: usize = cmsg_space!(ScmRights(MOST_FDS));

/// Sends one message; with descriptors, if there are any.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    loop {
        match sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one message into `buffer`, which it must fit, with its descriptors; `None` when there are no more.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let message = loop {
        match recvmsg(socket.as_fd(), &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds: Vec<OwnedFd> = fds.flatten().collect();
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message is too long"));
    }
    Ok((message.bytes > 0).then_some((message.bytes, fds)))
}

/// Sends an answer.
pub fn answer(socket: impl AsFd, status: Status, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send(socket, &[&status.encode()[..], text].concat(), fds)
}

/// Asks one question after the other: the text of the answer; `None` when nobody answers any more.
pub fn ask(socket: &Mutex<OwnedFd>, question: &[u8]) -> Option<Vec<u8>> {
    let socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
    send(&*socket, question, &[]).ok()?;
    answered(&*socket).ok()?.map(|(_, text, _)| text)
}

/// Answers questions until nobody asks any more. `buffer` is longer than they may be, so that one that is longer is seen;
/// what `text` has no answer to is refused.
pub fn answer_all(socket: &OwnedFd, buffer: &mut [u8], mut text: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
    loop {
        let text = match receive(socket, buffer) {
            Ok(Some((length, _))) => buffer.get(..length).and_then(&mut text),
            Ok(None) => return,
            Err(_) => None,
        };
        let status = if text.is_some() { Status::Done } else { Status::Refused };
        if answer(socket, status, &text.unwrap_or_default(), &[]).is_err() {
            return;
        }
    }
}

/// An answer: how it went, text, descriptors.
pub type Answer = (Status, Vec<u8>, Vec<OwnedFd>);

/// Receives an answer; `None` when whoever could answer has ended.
pub fn answered(socket: impl AsFd) -> io::Result<Option<Answer>> {
    let mut buffer = vec![0; LONGEST];
    let Some((length, fds)) = receive(socket, &mut buffer)? else { return Ok(None) };
    buffer.truncate(length);
    let head = buffer.first_chunk().copied().and_then(Status::decode);
    let status = head.ok_or_else(|| io::Error::other("the helper's answer is none"))?;
    Ok(Some((status, buffer.split_off(Status::SIZE), fds)))
}

/// Several answers as one text, each after its length; empty from where they are too long for a message.
pub fn joined(answers: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut text = Vec::new();
    for mut answer in answers {
        if text.len() + LENGTH + answer.len() > LONGEST - Status::SIZE - LENGTH * MOST_ANSWERS {
            answer.clear();
        }
        text.extend(u32::try_from(answer.len()).unwrap_or(0).to_le_bytes());
        text.append(&mut answer);
    }
    text
}

/// The answers of such a text, as far as it is one.
pub fn apart(mut text: &[u8]) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    while let Some((length, rest)) = text.split_first_chunk::<LENGTH>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((answer, rest)) = rest.split_at_checked(length) else { break };
        answers.push(answer.to_vec());
        text = rest;
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Vec<Request> {
        let sampled = Insight::SAMPLED.into_iter().flat_map(|i| [Request::Attach(i), Request::Detach(i)]);
        let dear = Insight::ON_DEMAND.into_iter().flat_map(|i| [Request::Open(i), Request::Close(i)]);
        let others = [Request::FindThreads, Request::CountRuns, Request::CountRunsNoMore];
        sampled.chain(dear).chain(others).collect()
    }

    #[test]
    fn a_request_is_its_bytes() {
        for request in all() {
            assert_eq!(Request::decode(&request.encode()), Some(request));
            assert_eq!(Request::decode(&request.encode()[..7]), None);
            assert_eq!(Request::decode(&[&request.encode()[..], &[0]].concat()), None);
        }
        assert_eq!(Request::decode(&[]), None);
    }

    proptest! {
        #[test]
        fn nothing_but_the_list_is_a_request(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let known: Vec<[u8; 8]> = all().into_iter().map(Request::encode).collect();
            prop_assert_eq!(Request::decode(&bytes).is_some(), known.iter().any(|k| k[..] == bytes[..]));
        }

        #[test]
        fn small_numbers_are_requests_only_where_the_list_says_so(what in 0_u32..12, which in 0_u32..12) {
            let bytes = [what.to_le_bytes(), which.to_le_bytes()].concat();
            let known = all().into_iter().any(|request| request.encode()[..] == bytes[..]);
            prop_assert_eq!(Request::decode(&bytes).is_some(), known);
        }

        #[test]
        fn several_answers_are_joined_and_come_apart(lengths in proptest::collection::vec(0..9000_usize, 0..64)) {
            let answers: Vec<Vec<u8>> = lengths.into_iter().map(|length| vec![7; length]).collect();
            let text = joined(answers.iter().cloned());
            prop_assert!(text.len() + Status::SIZE <= LONGEST);
            let came = apart(&text);
            prop_assert_eq!(came.len(), answers.len());
            prop_assert!(came.iter().zip(&answers).all(|(came, sent)| came == sent || came.is_empty()));
        }

        #[test]
        fn any_bytes_are_answers(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let came = apart(&bytes);
            prop_assert!(came.iter().map(|answer| answer.len() + LENGTH).sum::<usize>() <= bytes.len());
        }

        #[test]
        fn any_bytes_are_a_status_or_none(bytes in any::<[u8; 8]>()) {
            let _ = Status::decode(bytes);
        }
    }
}
