//! How the dashboard starts in terminals of any size, follows them, steps aside and ends.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Case;
use crate::dashboard::{PROGRAM, dashboard, large_dashboard, tabs_line, wait_for_view};
use crate::terminal::Terminal;

pub const CASES: &[Case] = &[
    ("lifecycle::q_leaves_a_clean_terminal", quit),
    ("lifecycle::sigterm_leaves_a_clean_terminal", || ended_by("TERM")),
    ("lifecycle::sigint_leaves_a_clean_terminal", || ended_by("INT")),
    ("lifecycle::sighup_leaves_a_clean_terminal", || ended_by("HUP")),
    ("lifecycle::it_ends_with_its_terminal", hang_up),
    ("lifecycle::it_ends_with_its_terminal_while_suspended", hang_up_while_suspended),
    ("lifecycle::ctrl_z_suspends_and_fg_resumes", suspend),
    ("lifecycle::80x24_works", || small(80, 24)),
    ("lifecycle::40x12_works", || small(40, 12)),
    ("lifecycle::20x5_works", || small(20, 5)),
    ("lifecycle::10x3_works", || small(10, 3)),
    ("lifecycle::follows_a_terminal_that_changes_its_size", resize),
];

fn quit() {
    let terminal = large_dashboard();
    terminal.press(&["q"]);
    assert_clean(&terminal, "EXIT:0");
}

fn ended_by(signal: &str) {
    let terminal = large_dashboard();
    let pid = std::fs::read_to_string(terminal.path("pid")).unwrap();
    assert!(Command::new("kill").args(["-s", signal, pid.trim()]).status().unwrap().success());
    assert_clean(&terminal, "EXIT:");
}

/// It has ended, said nothing of a panic, and the terminal is as it was.
fn assert_clean(terminal: &Terminal, exit: &str) {
    let screen = terminal.wait("the end", |screen| screen.contains(exit) && screen.contains("ECHO:"));
    terminal.assert_restored();
    assert!(screen.contains("ECHO:1"), "the terminal does not echo:\n{screen}");
    assert!(!screen.contains("panicked"), "{screen}");
    terminal.type_text("typed");
    terminal.wait("what was typed", |screen| screen.contains("typed"));
}

fn hang_up() {
    let terminal = large_dashboard();
    let pid = std::fs::read_to_string(terminal.path("pid")).unwrap();
    terminal.hang_up();
    wait_for_the_end_of(pid.trim());
}

fn hang_up_while_suspended() {
    let terminal = suspended();
    terminal.type_text("jobs -p");
    terminal.press(&["Enter"]);
    let is_pid = |line: &str| line.len() > 1 && line.bytes().all(|b| b.is_ascii_digit());
    let screen = terminal.wait("the job's pid", |screen| screen.lines().any(|line| is_pid(line.trim())));
    let pid = screen.lines().map(str::trim).find(|line| is_pid(line)).unwrap().to_owned();
    terminal.hang_up();
    wait_for_the_end_of(&pid);
}

fn wait_for_the_end_of(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let stat = format!("/proc/{pid}/stat");
    // A zombie has ended; who reaps it is not its business.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "{pid} lives on without its terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A shell in which the dashboard was suspended.
fn suspended() -> Terminal {
    let terminal = Terminal::start(120, 36, "PS1='ready> ' exec bash --norc");
    terminal.wait("a prompt", |screen| screen.contains("ready>"));
    terminal.type_text(PROGRAM);
    terminal.press(&["Enter"]);
    terminal.wait("four tabs", |screen| tabs_line(screen).is_some());
    terminal.press(&["C-z"]);
    terminal.wait("the shell", |screen| screen.contains("Stopped"));
    terminal.assert_restored();
    terminal
}

fn suspend() {
    let terminal = suspended();
    terminal.type_text("echo back-$((40 + 2))");
    terminal.press(&["Enter"]);
    terminal.wait("the shell at work", |screen| screen.contains("back-42"));
    terminal.type_text("fg");
    terminal.press(&["Enter"]);
    terminal.wait("four tabs again", |screen| terminal.is_taken() && tabs_line(screen).is_some());
    terminal.press(&["2"]);
    wait_for_view(&terminal, "Syscalls");
    terminal.press(&["q"]);
    terminal.wait("the shell's own screen", |_| !terminal.is_taken());
    terminal.type_text("echo EXIT:$?; echo ECHO:1; exec cat");
    terminal.press(&["Enter"]);
    assert_clean(&terminal, "EXIT:0");
}

fn small(width: u16, height: u16) {
    let terminal = dashboard(width, height);
    // No Escape: with the next key right behind it, it would be that key with Alt.
    let keys = ["1", "2", "Enter", "3", "4", "Tab", "s", "r", "w", "t", "?", "?", "p", "7", "Enter", "/", "7", "Enter"];
    for key in keys {
        terminal.press(&[key]);
        terminal.wait("something to read", |screen| terminal.is_taken() && !screen.trim().is_empty());
    }
    terminal.press(&["q"]);
    assert_clean(&terminal, "EXIT:0");
}

fn resize() {
    let terminal = large_dashboard();
    for (width, height) in [(80, 24), (40, 12), (20, 5), (10, 3), (1, 1), (200, 50), (120, 36)] {
        terminal.resize(width, height);
        terminal.wait("that it goes on", |_| terminal.is_taken());
    }
    terminal.wait("four tabs again", |screen| tabs_line(screen).is_some());
    terminal.press(&["q"]);
    assert_clean(&terminal, "EXIT:0");
}
