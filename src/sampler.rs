//! The sampler: the one thread that knows what time it is. It loads the programs, takes a sample each interval, and hands
//! over what happened since the one before.
//!
//! Invariant: the channel is bounded. A dashboard that does not keep up makes intervals longer, never wrong.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::Sender;

use crate::terminal::SAMPLER;
use kscope::kernel::loader;
use kscope::model::Snapshot;
use kscope::source::{Live, Source as _, When};

/// What the sampler says.
#[derive(Debug)]
pub enum Message {
    /// What happened in the last interval.
    Snapshot(Arc<Snapshot>),
    /// A sample could not be read; the next one is tried.
    Note(String),
    /// It cannot go on.
    Failed(anyhow::Error),
}

/// The first numbers come this soon, however long the interval is.
const FIRST: Duration = Duration::from_millis(200);

/// Starts the sampler. It ends when either channel is closed.
pub fn start(interval: Duration, messages: Sender<Message>, intervals: Receiver<Duration>) -> Result<()> {
    let run = move || {
        if let Err(error) = sample(interval, &messages, &intervals) {
            let _ = messages.blocking_send(Message::Failed(error));
        }
    };
    thread::Builder::new().name(SAMPLER.into()).spawn(run).context("cannot start the sampler")?;
    Ok(())
}

fn sample(mut interval: Duration, messages: &Sender<Message>, intervals: &Receiver<Duration>) -> Result<()> {
    let mut source = Live::new(loader::load()?, When::Windows);
    let mut prev = source.sample().context("the first sample cannot be read")?;
    let mut last = Instant::now();
    let mut due = last + interval.min(FIRST);
    loop {
        match intervals.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(new) => {
                interval = new;
                due = last + interval;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let message = match source.sample() {
            Ok(next) => {
                let snapshot = Snapshot::between(&prev, &next);
                prev = next;
                Message::Snapshot(Arc::new(snapshot))
            }
            Err(error) => Message::Note(format!("A sample could not be read: {error}.")),
        };
        last = Instant::now();
        due = (due + interval).max(last);
        if messages.blocking_send(message).is_err() {
            return Ok(());
        }
    }
}
