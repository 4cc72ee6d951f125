//! The dashboard in a terminal of its own, and somebody who walks through its views.
//!
//! Invariant: it is gone when its [`Dashboard`] is.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::terminal;

/// Columns and rows.
const SIZE: (u16, u16) = (160, 45);
/// Half a second: its history is full after seven and a half minutes, so that the second half of the time shows what else grows.
const INTERVAL: &str = "500ms";
/// A key so often.
const PACE: Duration = Duration::from_millis(1_500);
/// All views, and what is measured only while somebody looks: blame, connections, single calls, the page of a process with its
/// threads, the dead, the chooser of columns, a search.
const WALK: [&str; 36] = [
    "1", "\r", "\r", "\x1b", "\x1b", "2", "e", "e", "x", "\x1b", "3", "b", "g", "b", "4", "o", "j", "o", "5", "j", "6",
    "7", "v", "v", "f", "d", "d", "o", "\x1b", "8", "?", "\x1b", "/st", "\r", "\x1b", "p",
];

/// The running dashboard.
pub struct Dashboard {
    child: Child,
    master: File,
    bytes: Arc<AtomicU64>,
    key: usize,
    next: Instant,
}

impl Dashboard {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
        command.args(["--interval", INTERVAL]).env("TERM", "xterm-256color");
        let master = terminal::around(&mut command, SIZE)?;
        let child = command.spawn().context("start kscope")?;
        let bytes = Arc::new(AtomicU64::new(0));
        let (mut reader, drawn) = (master.try_clone()?, Arc::clone(&bytes));
        // It would wait for ever for a terminal that takes nothing. The thread ends with the terminal.
        thread::spawn(move || {
            let mut buffer = [0; 16_384];
            while let Ok(count) = reader.read(&mut buffer)
                && count > 0
            {
                drawn.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
        Ok(Self { child, master, bytes, key: 0, next: Instant::now() + PACE })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes that it has drawn.
    pub fn drawn(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Walks through the views until then.
    pub fn use_until(&mut self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("the dashboard has ended: {status}");
            }
            thread::sleep(self.next.min(end).saturating_duration_since(Instant::now()));
            if Instant::now() >= self.next {
                let keys = WALK[self.key % WALK.len()];
                (self.key, self.next) = (self.key + 1, self.next + PACE);
                // `p` pauses: the next key of the walk, a number, is pressed on a paused screen, and another `p` goes on.
                self.master.write_all(keys.as_bytes())?;
                if keys == "p" {
                    self.master.write_all(b"p")?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(3) && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        // It has ended by itself, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
