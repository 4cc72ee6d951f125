//! The dashboard in a real terminal: what it shows of a workload and what its keys do.
//!
//! Not here: how it starts and ends (`lifecycle.rs`).

use std::ffi::CString;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::workload_path;
use crate::terminal::{Style, Terminal};
use crate::workload::{self, nanosleep};

pub const CASES: &[Case] = &[
    ("dashboard::shows_a_workload_by_name_and_its_calls", shows_workload),
    ("dashboard::digits_and_tab_switch_views", views),
    ("dashboard::p_narrows_every_view_to_a_pid", filter_by_pid),
    ("dashboard::slash_narrows_rows", filter_rows),
    ("dashboard::w_takes_waiting_calls_away_and_brings_them_back", waiting),
    ("dashboard::space_pauses", pause),
    ("dashboard::plus_and_minus_change_the_interval", interval),
    ("dashboard::t_changes_the_theme", theme),
    ("dashboard::own_cost_is_known_in_the_header_and_in_self", own_cost),
    ("dashboard::question_mark_opens_the_help_and_escape_closes_it", help),
];

const TITLES: [&str; 8] = ["Overview", "Syscalls", "Scheduler", "Network", "Stuck", "Disk", "Processes", "Self"];
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_kscope");

/// A process of this name that goes on calling until it is dropped.
struct Caller(Child);

impl Caller {
    fn start(name: &str) -> Self {
        Self(Command::new(workload_path()).args(["--workload", "caller", name]).spawn().unwrap())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    let ("caller", [comm]) = (name, args) else { return None };
    let comm = CString::new(comm.as_str()).unwrap();
    // SAFETY: the name is a C string, of which the kernel takes the first 15 bytes.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) }, 0);
    // Longer than any trial; nobody stays behind when the tests are killed.
    let end = Instant::now() + Duration::from_mins(2);
    while Instant::now() < end {
        workload::call(libc::SYS_getppid, 1_000);
        assert!(nanosleep(Duration::from_millis(1)));
    }
    Some(json!({}))
}

/// Starts the dashboard and waits until it shows the first numbers. After its end the terminal says `EXIT:` and the status,
/// then `ECHO:1` if what is typed is shown again, and echoes lines.
pub fn dashboard(width: u16, height: u16) -> Terminal {
    let after = r"echo EXIT:$?; echo ECHO:$(stty -a | tr -s '\n;' '  ' | grep -c ' echo '); exec cat";
    let terminal = Terminal::start(width, height, &format!("sh -c 'echo $$ >$HOME/pid; exec {PROGRAM}'; {after}"));
    terminal.wait("the dashboard", |screen| terminal.is_taken() && !screen.trim().is_empty());
    terminal
}

/// The dashboard at its full size, with its tabs.
pub fn large_dashboard() -> Terminal {
    let terminal = dashboard(120, 36);
    terminal.wait("four tabs", |screen| tabs_line(screen).is_some());
    terminal
}

pub fn tabs_line(screen: &str) -> Option<usize> {
    screen.lines().position(|line| TITLES.iter().all(|title| line.contains(title)))
}

/// The title that looks unlike the others.
fn active_view(terminal: &Terminal) -> Option<&'static str> {
    let cells = terminal.cells();
    let texts: Vec<String> = cells.iter().map(|row| row.iter().map(|(c, _)| c).collect()).collect();
    let at = texts.iter().position(|line| TITLES.iter().all(|title| line.contains(title)))?;
    let style_of = |title: &str| {
        let column = texts[at][..texts[at].find(title).unwrap()].chars().count();
        &cells[at][column].1
    };
    let styles: Vec<&Style> = TITLES.iter().map(|title| style_of(title)).collect();
    let alone = |style: &Style| styles.iter().filter(|other| **other == style).count() == 1;
    let mut distinct = TITLES.into_iter().zip(&styles).filter(|(_, style)| alone(style));
    let (title, _) = distinct.next()?;
    distinct.next().is_none().then_some(title)
}

pub fn wait_for_view(terminal: &Terminal, title: &str) {
    terminal.wait(&format!("{title} as the active tab"), |_| active_view(terminal) == Some(title));
}

/// Whether a table has a row that begins with `word` and has numbers.
fn has_row(screen: &str, word: &str) -> bool {
    screen.lines().any(|line| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
        words.next() == Some(word) && words.any(|w| w.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn shows_workload() {
    let _caller = Caller::start("truth-ant");
    let terminal = large_dashboard();
    terminal.wait("the workload's name", |screen| screen.contains("truth-ant"));
    terminal.press(&["2"]);
    terminal.wait("the workload's calls", |screen| has_row(screen, "getppid"));
    // Its callers: the only row, then Enter.
    terminal.press(&["/"]);
    terminal.type_text("getppid");
    terminal.press(&["Enter", "Enter"]);
    terminal.wait("who makes the call", |screen| screen.contains("truth-ant"));
}

fn views() {
    let terminal = large_dashboard();
    wait_for_view(&terminal, "Overview");
    for (key, title) in [("2", "Syscalls"), ("4", "Network"), ("3", "Scheduler"), ("6", "Disk"), ("1", "Overview")] {
        terminal.press(&[key]);
        wait_for_view(&terminal, title);
    }
    for title in TITLES[1..].iter().chain(&TITLES[..1]) {
        terminal.press(&["Tab"]);
        wait_for_view(&terminal, title);
    }
}

/// The first window is over long before the first numbers are due.
fn own_cost() {
    let terminal = large_dashboard();
    let unprivileged = crate::own::privileges().is_some();
    let mark = if unprivileged { "cost ≥" } else { "cost ~" };
    terminal.wait("the cost in the header", |screen| screen.lines().next().is_some_and(|line| line.contains(mark)));
    terminal.press(&["9"]);
    let row = |screen: &str| screen.lines().find(|line| line.contains(" sys_enter ")).map(str::to_owned);
    let wanted = if unprivileged { '–' } else { '~' };
    terminal.wait("runs of a program", |screen| row(screen).is_some_and(|line| line.contains(wanted)));
    terminal.wait("how full the maps are", |screen| screen.contains("THREADS_MORE"));
}

fn filter_by_pid() {
    let (ant, _bee) = (Caller::start("truth-ant"), Caller::start("truth-bee"));
    let terminal = large_dashboard();
    terminal.wait("both names", |screen| screen.contains("truth-ant") && screen.contains("truth-bee"));
    let pid = ant.0.id().to_string();
    terminal.press(&["p"]);
    terminal.type_text(&pid);
    terminal.press(&["Enter"]);
    let only_ant = |screen: &str| screen.contains("truth-ant") && !screen.contains("truth-bee");
    terminal.wait("only the one", |screen| only_ant(screen) && screen.matches(&pid).count() >= 2);
    for key in ["2", "3", "4"] {
        terminal.press(&[key]);
        terminal.wait("the filter in every view", |screen| screen.contains(&pid) && !screen.contains("truth-bee"));
    }
}

fn filter_rows() {
    let (_ant, bee) = (Caller::start("truth-ant"), Caller::start("truth-bee"));
    let terminal = large_dashboard();
    terminal.wait("both names", |screen| screen.contains("truth-ant") && screen.contains("truth-bee"));
    terminal.press(&["/"]);
    terminal.type_text("truth-bee");
    let pid = bee.0.id().to_string();
    terminal.wait("only the one", |screen| screen.contains(&pid) && !screen.contains("truth-ant"));
    terminal.press(&["Escape"]);
    terminal.wait("both again", |screen| screen.contains("truth-ant") && screen.contains("truth-bee"));
}

fn waiting() {
    let _caller = Caller::start("truth-ant");
    let terminal = large_dashboard();
    terminal.press(&["2"]);
    // A call that works tells that there are numbers; only then does a missing row mean something.
    terminal.wait("numbers", |screen| has_row(screen, "getppid"));
    terminal.press(&["/"]);
    terminal.type_text("nanosleep");
    terminal.press(&["Enter"]);
    terminal.wait("fewer rows", |screen| !has_row(screen, "getppid"));
    let shown = |screen: &str| has_row(screen, "nanosleep");
    let at_first = shown(&terminal.screen());
    terminal.press(&["w"]);
    terminal.wait("the other way round", |screen| shown(screen) != at_first);
    terminal.press(&["w"]);
    terminal.wait("as it was", |screen| shown(screen) == at_first);
}

fn pause() {
    let terminal = large_dashboard();
    let paused = |screen: &str| screen.to_lowercase().contains("paused");
    assert!(!paused(&terminal.screen()));
    terminal.press(&["Space"]);
    terminal.wait("that it is paused", paused);
    terminal.press(&["Space"]);
    terminal.wait("that it goes on", |screen| !paused(screen));
}

fn interval() {
    let terminal = large_dashboard();
    terminal.wait("the interval", |screen| screen.contains("live 1 s"));
    terminal.press(&["+"]);
    terminal.wait("a longer interval", |screen| screen.contains("live 2 s"));
    terminal.press(&["-", "-"]);
    terminal.wait("a shorter interval", |screen| screen.contains("live 500 ms") || screen.contains("live 0.5 s"));
}

fn theme() {
    let terminal = large_dashboard();
    let look = || {
        let cells = terminal.cells();
        let texts: Vec<String> = cells.iter().map(|row| row.iter().map(|(c, _)| c).collect()).collect();
        texts.iter().position(|line| TITLES.iter().all(|t| line.contains(t))).map(|at| cells[at].clone())
    };
    let before = look();
    terminal.press(&["t"]);
    terminal.wait("other colours", |_| look().is_some_and(|now| Some(now) != before));
}

fn help() {
    let terminal = large_dashboard();
    let open = |screen: &str| screen.contains("Esc closes");
    assert!(!open(&terminal.screen()));
    terminal.press(&["?"]);
    terminal.wait("the help", open);
    terminal.press(&["Escape"]);
    terminal.wait("no help", |screen| !open(screen));
}
