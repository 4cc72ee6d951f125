//! The dashboard: one loop that owns the state and draws when something changed.
//!
//! Keys come first, then signals, then numbers. Nothing here measures, and nothing here decides what a key means.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::Dashboard;
use crate::config::{self, Config};
use crate::failure::BadInput;
use crate::sampler::{self, Message, Request, Start};
use crate::terminal::{Screen, sampler_panic};
use kscope::core::filter::Filter;
use kscope::privileged::Separated;
use kscope::source::{When, procfs_trouble};
use kscope::ui::app::{App, Effect, Settings};
use kscope::ui::everything::Arrangement;
use kscope::ui::theme::Theme;
use kscope::ui::view::View;

/// The first numbers come this soon, however long the interval is.
const FIRST: Duration = Duration::from_millis(40);
/// Snapshots that may wait for the screen.
const QUEUE: usize = 2;

/// What the dashboard starts with.
pub struct Prepared {
    settings: Settings,
    /// What to say about it.
    notes: Vec<String>,
}

impl Prepared {
    /// What is read while it runs: themes.
    pub fn reads(&self) -> Vec<PathBuf> {
        self.settings.user_theme_dir.iter().cloned().collect()
    }
}

/// Reads what the user has configured, with the rights that kscope was started with.
pub fn prepare(args: &Dashboard, filter: Filter) -> Result<Prepared> {
    let config = config::read(args.config.as_deref())?;
    let (settings, notes) = settings(args, config, filter)?;
    Ok(Prepared { settings, notes })
}

/// Runs the dashboard until the user quits.
pub async fn run(Prepared { settings, notes }: Prepared, only: Vec<u32>, separated: Separated) -> Result<()> {
    let (interval, budget) = (settings.interval, settings.budget);
    let mut app = App::new(settings);
    let of_procfs = procfs_trouble().map(str::to_owned);
    for note in notes.into_iter().chain(of_procfs).chain(separated.services.notes.iter().cloned()) {
        app.on_note(note);
    }
    let mut screen = Screen::take()?;
    let (messages, mut inbox) = mpsc::channel(QUEUE);
    let (requests, asked) = std::sync::mpsc::sync_channel(QUEUE);
    let mut interests = app.interests();
    let first = interval.min(FIRST);
    sampler::start(
        Start { only, first, interval, runs: When::Windows, budget, interests, settle: false },
        separated,
        messages,
        asked,
    )?;
    let mut events = EventStream::new();
    let mut signals = Signals::new()?;
    let mut dirty = true;
    loop {
        if dirty {
            screen.terminal.draw(|frame| app.draw(frame)).context("the terminal does not take output any more")?;
        }
        dirty = true;
        let effect = tokio::select! {
            biased;
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => app.on_key(key),
                Some(Ok(Event::Resize(..))) => None,
                Some(Ok(_)) => { dirty = false; None }
                // The terminal is gone.
                Some(Err(_)) | None => Some(Effect::Quit),
            },
            signal = signals.next() => match signal {
                Asked::Stop => Some(Effect::Quit),
                Asked::Suspend => Some(Effect::Suspend),
                Asked::Redraw => { screen.resume()?; None }
            },
            message = inbox.recv() => {
                take(&mut app, message)?;
                None
            }
        };
        // As with the requests below: the queue is full for milliseconds at most.
        if interests != app.interests() {
            interests = app.interests();
            let _ = requests.send(Request::Look(interests));
        }
        match effect {
            Some(Effect::Quit) => return Ok(()),
            Some(Effect::Suspend) => screen.suspend()?,
            // The queue is full for as long as a sample is read, a few milliseconds at most. That the sampler is gone shows
            // above.
            Some(Effect::SetInterval(interval)) => {
                let _ = requests.send(Request::Interval(interval));
            }
            Some(Effect::SetBudget(budget)) => {
                let _ = requests.send(Request::Budget(budget));
            }
            None => {}
        }
    }
}

fn take(app: &mut App, message: Option<Message>) -> Result<()> {
    match message {
        Some(Message::Begun) => {}
        Some(Message::Snapshot(snapshot)) => app.on_snapshot(snapshot),
        Some(Message::Note(text)) => app.on_note(text),
        Some(Message::Failed(error)) => return Err(error),
        None => bail!("the sampler stopped: {}", sampler_panic().unwrap_or("it gave no reason")),
    }
    Ok(())
}

/// What a signal asks for.
enum Asked {
    Stop,
    Suspend,
    Redraw,
}

/// The signals that mean something to a program on a terminal.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    stop: Signal,
    resume: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            resume: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Stop,
            _ = self.stop.recv() => Asked::Suspend,
            _ = self.resume.recv() => Asked::Redraw,
        }
    }
}

/// What the dashboard starts with: the command line, then the configuration, then the defaults. And what to say about it.
fn settings(args: &Dashboard, config: Config, filter: Filter) -> Result<(Settings, Vec<String>)> {
    let user_theme_dir = config::dir().map(|dir: PathBuf| dir.join("themes"));
    let theme = args.theme.clone().or(config.theme).unwrap_or_else(|| "dark".into());
    let (theme, notes) = Theme::load(&theme, user_theme_dir.as_deref()).map_err(|error| BadInput(error.to_string()))?;
    let view = match args.view.clone().or(config.view) {
        None => View::Overview,
        Some(name) => View::named(&name).ok_or_else(|| unknown_view(&name))?,
    };
    let mut arrangement = Arrangement::default();
    if let Some(columns) = &config.columns {
        arrangement.choose(columns).map_err(BadInput)?;
    }
    let settings = Settings {
        arrangement,
        theme,
        user_theme_dir,
        filter,
        view,
        interval: args.interval.or(config.interval).unwrap_or(Duration::from_secs(1)),
        budget: args.budget.or(config.budget).and_then(|budget| budget.0),
        hide_waiting: config.hide_waiting.unwrap_or(true),
        no_color: std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        indexed_colors: !has_true_colour(),
        utc_offset_s: utc_offset_s(),
    };
    Ok((settings, notes))
}

fn unknown_view(name: &str) -> anyhow::Error {
    let known: Vec<&str> = View::ALL.iter().map(|view| view.name()).collect();
    anyhow!(BadInput(format!("there is no view {name:?}; there are {}", known.join(", "))))
}

/// Terminals that draw any colour say so in COLORTERM; others are taken to know 256.
fn has_true_colour() -> bool {
    std::env::var("COLORTERM").is_ok_and(|v| v == "truecolor" || v == "24bit")
}

fn utc_offset_s() -> i32 {
    // SAFETY: both calls only write to the structures they are given; a null time asks for the present one.
    let offset = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const now, &raw mut local).is_null() { 0 } else { local.tm_gmtoff }
    };
    i32::try_from(offset).unwrap_or(0)
}
