//! The command that is reported on, while it runs; and when to stop measuring, with one or without.
//!
//! Not here: starting it (`privileged/command.rs`). Invariant: its end is what its starter saw, not what is known here of it.

use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, sleep_until, timeout};

use crate::failure::NotStarted;
use kscope::export::CommandResult;
use kscope::privileged::command::{Event, Moment, Started, Waiting};

/// Events of a command: it ends, and so does all that it left behind.
const EVENTS: usize = 2;
/// An interrupt from a terminal reaches the command, too: its end is waited for so long.
const AFTER_AN_INTERRUPT: Duration = Duration::from_millis(500);

/// A command that was started.
pub struct Launched {
    /// Its process id.
    pub pid: u32,
    /// When it began.
    pub began: Moment,
    events: Receiver<io::Result<Event>>,
    /// It is over when nothing that it left behind lives any more.
    children: bool,
    ended: Option<(ExitStatus, Moment)>,
    alone: Option<Moment>,
}

impl Launched {
    /// Starts it.
    pub fn start(command: Waiting, name: &OsStr, children: bool) -> Result<Self> {
        let started = command.go().map_err(|error| NotStarted::new(name, error))?;
        let (pid, began) = (started.pid.as_raw_nonzero().get().unsigned_abs(), started.at);
        Ok(Self { pid, began, events: listen(started)?, children, ended: None, alone: None })
    }

    /// Waits until it is over. To be dropped and called again at any time.
    async fn over(&mut self) -> Result<()> {
        while self.over_at().is_none() {
            let event = self.events.recv().await;
            let event = event.ok_or_else(|| anyhow!("the process that waits for it has ended"))?;
            match event.context("cannot be told")? {
                Event::Ended { status, at } => self.ended = Some((ExitStatus::from_raw(status), at)),
                Event::Alone { at } => self.alone = Some(at),
                Event::Began { .. } | Event::Refused { .. } => {}
            }
        }
        Ok(())
    }

    /// After an interrupt: gives it the time to end of the same.
    pub async fn end_of_the_same(&mut self) {
        // If it goes on, it does so without being measured.
        let _ = timeout(AFTER_AN_INTERRUPT, self.over()).await;
    }

    /// When it was over, if it is.
    fn over_at(&self) -> Option<Moment> {
        if self.children { self.alone } else { self.ended.map(|(_, at)| at) }
    }

    /// How it ended, if it did, and how long of it was measured; `measured_until`: the last sample.
    pub fn result(&self, measured_until_ns: u64) -> CommandResult {
        let status = self.ended.map(|(status, _)| status);
        let until = self.over_at().map_or(measured_until_ns, |over| over.monotonic_ns.min(measured_until_ns));
        CommandResult {
            pid: self.pid,
            status: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            interval_ns: until.saturating_sub(self.began.monotonic_ns),
        }
    }
}

/// The exit status of kscope: that of the command, 128 and the signal if one ended it, 0 as long as it runs.
pub fn exit_code(result: &CommandResult) -> ExitCode {
    let code = result.status.or(result.signal.map(|signal| 128 + signal)).unwrap_or(0);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// Listens to the starter, in a thread: nothing else waits for a socket here.
fn listen(started: Started) -> Result<Receiver<io::Result<Event>>> {
    let (sender, events) = channel(EVENTS);
    let listen = move || {
        while let Some(event) = started.next().transpose() {
            let over = event.is_err();
            if sender.blocking_send(event).is_err() || over {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("command".into()).stack_size(64 << 10);
    thread.spawn(listen).context("cannot wait for the command")?;
    Ok(events)
}

/// When to stop.
pub struct Stop {
    deadline: Option<Instant>,
    interrupt: Signal,
    terminate: Signal,
}

/// Why measuring ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The time is up.
    Time,
    /// The command is over.
    Over,
    /// Somebody asked for it.
    Asked,
}

impl Stop {
    /// From now on nobody who asks to stop ends this process.
    pub fn new() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { deadline: None, interrupt, terminate })
    }

    /// Measuring begins now and may take so long.
    pub fn begin(&mut self, most: Option<Duration>) {
        self.deadline = most.map(|most| Instant::now() + most);
    }

    /// Waits until time is up, the command is over, or somebody asks to stop.
    pub async fn wait(&mut self, command: Option<&mut Launched>) -> Result<Why> {
        let time_is_up = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        let over = async {
            match command {
                Some(command) => command.over().await,
                None => pending().await,
            }
        };
        tokio::select! {
            over = over => over.context("wait for the command").map(|()| Why::Over),
            _ = self.interrupt.recv() => Ok(Why::Asked),
            _ = self.terminate.recv() => Ok(Why::Asked),
            () = time_is_up => Ok(Why::Time),
        }
    }
}
