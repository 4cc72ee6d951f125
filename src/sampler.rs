//! The sampler: the one thread that knows what time it is. It has the programs loaded, and hands over what happened in each
//! interval.
//!
//! Invariant: the channel is bounded. Whoever does not keep up makes intervals longer, never wrong.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::Sender;

use crate::terminal::SAMPLER;
use kscope::core::interests::Interests;
use kscope::kernel::loader;
use kscope::model::Snapshot;
use kscope::privileged::Separated;
use kscope::privileged::remote::Remote;
use kscope::source::{Intervals, Otherwise, Pace, When};

/// What the sampler says.
#[derive(Debug)]
pub enum Message {
    /// It measures from now on.
    Begun,
    /// What happened in the last interval.
    Snapshot(Arc<Snapshot>),
    /// Something that whoever reads the numbers should know.
    Note(String),
    /// It cannot go on.
    Failed(anyhow::Error),
}

/// What it can be asked for.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// Measure over intervals of this length from now on.
    Interval(Duration),
    /// Keep this budget from now on, a share of the machine's CPU time.
    Budget(Option<f64>),
    /// Measure what is looked at now, and nothing dear besides.
    Look(Interests),
    /// End the present interval now, hand it over, and go on.
    Cut,
    /// End the present interval now, hand it over, and end.
    Finish,
}

/// What it begins with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Measure these processes only, or all if there is none.
    pub only: Vec<u32>,
    /// Length of the first interval, if it is another.
    pub first: Duration,
    /// Length of an interval.
    pub interval: Duration,
    /// When the programs' runs are counted, as long as there is no budget.
    pub runs: When,
    /// The budget, a share of the machine's CPU time.
    pub budget: Option<f64>,
    /// What is looked at.
    pub interests: Interests,
    /// Begin the first interval when everything has been described for the first time. Otherwise it begins sooner, and the
    /// first numbers come earlier.
    pub settle: bool,
}

/// Starts the sampler, which has the helper load the programs. It ends when either channel is closed.
pub fn start(start: Start, separated: Separated, messages: Sender<Message>, requests: Receiver<Request>) -> Result<()> {
    let run = move || {
        if let Err(error) = sample(&start, separated, &messages, requests) {
            let _ = messages.blocking_send(Message::Failed(error));
        }
    };
    thread::Builder::new().name(SAMPLER.into()).spawn(run).context("cannot start the sampler")?;
    Ok(())
}

fn sample(start: &Start, separated: Separated, messages: &Sender<Message>, requests: Receiver<Request>) -> Result<()> {
    let Separated { helper, services, .. } = separated;
    let kernel = loader::load_by(helper, &start.only, services.clone());
    let holder = kernel.as_ref().ok().and_then(|kernel| kernel.attached.remote());
    if let Some(holder) = holder.clone() {
        tell_its_end(holder, messages)?;
    }
    let mut begin = Instant::now();
    let or = Otherwise { only: &start.only, services };
    let mut intervals = Intervals::start(kernel, &or, start.runs, start.budget, start.interests)
        .context("the first sample cannot be read")?;
    if start.settle {
        intervals.begin_anew().context("the second sample cannot be read")?;
        begin = Instant::now();
    }
    let mut clock = Clock::new(start, begin, requests);
    let send = |message| messages.blocking_send(message).is_ok();
    // Names come after the first numbers, and soon.
    let mut described = start.settle;
    let mut listened = send(Message::Begun);
    while listened && !clock.over {
        let next = intervals.next(&mut clock);
        if clock.gone {
            return Ok(());
        }
        // Without programs nothing was counted: less than what happened.
        holder.as_ref().map_or(Ok(()), Remote::is_there)?;
        listened = match next {
            Ok((snapshot, said)) => {
                send(Message::Snapshot(Arc::new(snapshot))) && said.is_none_or(|text| send(Message::Note(text)))
            }
            Err(error) => send(Message::Note(format!("A sample could not be read: {error}."))),
        };
        #[cfg(debug_assertions)]
        panic_if_asked();
        clock.next();
        if !std::mem::replace(&mut described, true) {
            intervals.catch_up();
            clock.hasten(start.first);
        }
        if std::mem::take(&mut clock.budget_changed) {
            intervals.keep(clock.budget);
        }
    }
    Ok(())
}

/// Says at once when the process that holds the programs ends: an interval may be long.
fn tell_its_end(holder: Remote, messages: &Sender<Message>) -> Result<()> {
    // It must not keep the channel open when the sampler has ended.
    let messages = messages.downgrade();
    let wait = move || {
        let error = holder.wait_for_its_end();
        if let Some(messages) = messages.upgrade() {
            let _ = messages.blocking_send(Message::Failed(error.into()));
        }
    };
    let thread = thread::Builder::new().name("helper's end".into()).stack_size(64 << 10);
    thread.spawn(wait).map(drop).context("cannot watch the process that holds the programs")
}

/// What a test asks for, of a build that is not for users: nothing else makes the sampler panic.
#[cfg(debug_assertions)]
fn panic_if_asked() {
    assert!(std::env::var_os("KSCOPE_TEST_PANIC").is_none(), "as the test asked");
}

/// Ends intervals at their time, or when somebody asks for it.
struct Clock {
    requests: Receiver<Request>,
    interval: Duration,
    begin: Instant,
    due: Instant,
    budget: Option<f64>,
    /// It is another than that of the last interval.
    budget_changed: bool,
    /// What is looked at, if that changed.
    interests: Option<Interests>,
    /// The present interval is the last.
    over: bool,
    /// Nobody listens any more.
    gone: bool,
}

impl Clock {
    fn new(start: &Start, begin: Instant, requests: Receiver<Request>) -> Self {
        Self {
            requests,
            interval: start.interval,
            begin,
            due: begin + start.first,
            budget: start.budget,
            budget_changed: false,
            interests: None,
            over: false,
            gone: false,
        }
    }

    /// Begins the next interval. One that comes late is longer, so that the next ends in time; but that is not so short that
    /// its rates would mean nothing (kscope may have been stopped).
    fn next(&mut self) {
        self.begin = Instant::now();
        let (due, least) = (self.due + self.interval, self.begin + self.interval / 2);
        self.due = if due < least { self.begin + self.interval } else { due };
    }

    /// Ends the present interval so soon, if it is not over before.
    fn hasten(&mut self, length: Duration) {
        self.due = self.due.min(Instant::now() + length);
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Interval(interval) => (self.interval, self.due) = (interval, self.begin + interval),
            Request::Budget(budget) => (self.budget, self.budget_changed) = (budget, true),
            Request::Look(interests) => self.interests = Some(interests),
            Request::Cut => self.due = Instant::now(),
            Request::Finish => self.end_now(),
        }
    }

    fn end_now(&mut self) {
        self.over = true;
        self.due = Instant::now();
    }
}

impl Pace for Clock {
    fn end(&self) -> Instant {
        self.due
    }

    fn looks(&mut self) -> Option<Interests> {
        self.interests.take()
    }

    fn wait_until(&mut self, at: Instant) {
        loop {
            let rest = at.min(self.due).saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            match self.requests.recv_timeout(rest) {
                Ok(request) => {
                    self.take(request);
                    if self.interests.is_some() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    self.gone = true;
                    self.end_now();
                }
            }
        }
    }
}
