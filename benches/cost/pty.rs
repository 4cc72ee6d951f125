//! A terminal of our own with a program in it, and what is on its screen, to the moment.
//!
//! The screen knows where text is put and nothing of colours. Whoever draws is told nothing: no question of a program is
//! answered. Invariant: the program is gone when its [`Terminal`] is.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, kill_process};

use crate::terminal;

/// Columns and rows.
pub const SIZE: (u16, u16) = (200, 50);

/// A program in a terminal.
pub struct Terminal {
    child: Child,
    master: File,
    /// What is on the screen.
    pub screen: Screen,
    /// Since it was started.
    pub since: Instant,
}

impl Terminal {
    /// Starts a command in a new terminal.
    pub fn start(command: &mut Command) -> Result<Self> {
        let master = terminal::around(command, SIZE)?;
        let since = Instant::now();
        Ok(Self { child: command.spawn()?, master, screen: Screen::new(), since })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Draws what comes until `found` or the time is over: when it was found.
    pub fn wait(&mut self, time: Duration, mut found: impl FnMut(&Screen) -> bool) -> Result<Option<Duration>> {
        let end = Instant::now() + time;
        let mut bytes = [0; 16_384];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            let ready = rustix::event::poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&left))?;
            // Nothing more in time, or nobody there any more.
            let Some(count) = (ready > 0).then(|| self.master.read(&mut bytes).unwrap_or(0)).filter(|&n| n > 0) else {
                return Ok(None);
            };
            let now = self.since.elapsed();
            self.screen.feed(&bytes[..count]);
            if found(&self.screen) {
                return Ok(Some(now));
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(2) && matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.wait(Duration::from_millis(10), |_| false);
        }
        // It has ended by itself, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The characters on a screen.
pub struct Screen {
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    /// What has come of an escape sequence or of a character of several bytes.
    pending: Vec<u8>,
}

impl Screen {
    fn new() -> Self {
        Self { rows: blank(), at: (0, 0), pending: Vec::new() }
    }

    /// Characters that are not blank.
    pub fn painted(&self) -> usize {
        self.rows.iter().flatten().filter(|c| !c.is_whitespace()).count()
    }

    /// Words that begin with a digit.
    pub fn numbers(&self) -> usize {
        let text = self.rows.iter().map(|row| row.iter().collect::<String>()).collect::<Vec<_>>().join("\n");
        text.split_whitespace().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).count()
    }

    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.pending.push(byte);
            match self.pending.as_slice() {
                [0x1b, b'[', _, ..] if (0x40..0x7f).contains(&byte) => self.control(),
                // Titles and colours, up to BEL or ST.
                [0x1b, b']', ..] if byte == 7 || self.pending.ends_with(b"\x1b\\") => self.pending.clear(),
                [0x1b] | [0x1b, b'[' | b']', ..] | [0x1b, b'(' | b')'] => {}
                [0x1b, ..] => self.pending.clear(),
                _ => self.character(),
            }
        }
    }

    /// A control sequence has come to its end.
    fn control(&mut self) {
        let sequence = std::mem::take(&mut self.pending);
        let [0x1b, b'[', parameters @ .., last] = sequence.as_slice() else { return };
        let text = String::from_utf8_lossy(parameters).into_owned();
        let mut numbers = text.split(';').map(|n| n.parse::<usize>().ok());
        let mut next = || numbers.next().flatten();
        let (row, column) = self.at;
        match last {
            b'H' | b'f' => {
                let row = next().unwrap_or(1);
                self.at = (row.saturating_sub(1), next().unwrap_or(1).saturating_sub(1));
            }
            b'A' => self.at.0 = row.saturating_sub(next().unwrap_or(1)),
            b'B' => self.at.0 = row.saturating_add(next().unwrap_or(1)),
            b'C' => self.at.1 = column.saturating_add(next().unwrap_or(1)),
            b'D' => self.at.1 = column.saturating_sub(next().unwrap_or(1)),
            b'G' => self.at.1 = next().unwrap_or(1).saturating_sub(1),
            b'd' => self.at.0 = next().unwrap_or(1).saturating_sub(1),
            b'J' if next() == Some(2) => self.rows = blank(),
            b'K' => self.rows.get_mut(row).into_iter().flatten().skip(column).for_each(|c| *c = ' '),
            _ => {}
        }
    }

    fn character(&mut self) {
        let text = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.chars().next(),
            Err(error) if error.error_len().is_none() => return,
            Err(_) => None,
        };
        self.pending.clear();
        match text {
            Some('\r') => self.at.1 = 0,
            Some('\n') if self.at.0 + 1 < self.rows.len() => self.at.0 += 1,
            Some('\n') => {
                self.rows.rotate_left(1);
                self.rows.last_mut().into_iter().flatten().for_each(|c| *c = ' ');
            }
            Some('\u{8}') => self.at.1 = self.at.1.saturating_sub(1),
            Some(c) if !c.is_control() => {
                if let Some(cell) = self.rows.get_mut(self.at.0).and_then(|row| row.get_mut(self.at.1)) {
                    *cell = c;
                }
                self.at.1 = self.at.1.saturating_add(1);
            }
            _ => {}
        }
    }
}

fn blank() -> Vec<Vec<char>> {
    vec![vec![' '; SIZE.0.into()]; SIZE.1.into()]
}
