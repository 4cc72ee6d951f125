//! What the machine does meanwhile: stress-ng, and a sender that knows its bytes.
//!
//! Invariant: both are gone when their [`Load`] is.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::tree;

/// One of each: busy, switching, passing bytes, locking, forking, mapping memory, opening files, using sockets.
pub const STRESS: [&str; 20] = [
    "--cpu",
    "1",
    "--switch",
    "1",
    "--pipe",
    "1",
    "--futex",
    "1",
    "--fork",
    "1",
    "--vm",
    "1",
    "--vm-bytes",
    "32m",
    "--open",
    "1",
    "--sock",
    "1",
    "--timeout",
    "0",
];
/// What the sender sends.
pub const RATE: &str = "6 MiB";
const CHUNK: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(10);

/// The load.
pub struct Load {
    stress: Child,
    sent: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Load {
    /// Starts it, and waits until all of stress-ng is there.
    pub fn start() -> Result<Self> {
        let mut command = Command::new("nice");
        command.args(["-n", "10", "stress-ng", "--quiet"]).args(STRESS);
        // Some stressors leave files where they are.
        command.current_dir(std::env::temp_dir());
        let stress = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("start stress-ng")?;
        let (sent, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let load = Self { stress, sent: Arc::clone(&sent), ends: Arc::clone(&ends) };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut to = TcpStream::connect(listener.local_addr()?)?;
        let (mut from, _) = listener.accept()?;
        thread::spawn(move || {
            let mut chunk = vec![0; CHUNK];
            while from.read(&mut chunk).is_ok_and(|count| count > 0) {}
        });
        thread::spawn(move || {
            let chunk = vec![7; CHUNK];
            while !ends.load(Ordering::Relaxed) && to.write_all(&chunk).is_ok() {
                sent.fetch_add(CHUNK as u64, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        let begun = || tree::family(load.stress.id()).len() > STRESS.len() / 2;
        for _ in 0..100 {
            if begun() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        // Those that stressors fork for good are there soon after.
        thread::sleep(Duration::from_secs(1));
        Ok(load)
    }

    /// Processes of stress-ng, most of which stay.
    pub fn pids(&self) -> Vec<u32> {
        tree::family(self.stress.id())
    }

    /// Bytes sent so far, counted by the sender.
    pub fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = kill_process(Pid::from_child(&self.stress), Signal::TERM);
        let _ = self.stress.wait();
    }
}
