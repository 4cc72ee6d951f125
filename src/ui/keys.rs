//! The one list of keys. What a key does, the footer, the help page and the table of the README all come from it.
//!
//! Not here: what an action does to the state; that is `ui::app`. Keys of prompts are those of every line editor.
//!
//! Invariant: in each view a key means one thing.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::place::Place;
use super::view::View;

/// Everything a key can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show a view.
    Show(View),
    /// Show the next view.
    NextView,
    /// Show the view before.
    PreviousView,
    /// Select the next verdict.
    NextVerdict,
    /// Go to a place of the view, or back from there.
    Go(Place),
    /// Move the selection.
    Move(Motion),
    /// Go into the selected row.
    Enter,
    /// List single calls of the selected call, or go back.
    Exemplars,
    /// List those of the next octave of latencies; up: of slower ones.
    Octave(bool),
    /// Keep what calls were, to hold what comes against it.
    Pin,
    /// Undo the last narrowing: overlay, drill-down, row text, filter.
    Back,
    /// Ask for pids to filter by.
    FilterPids,
    /// Ask for a text that rows must contain.
    FilterRows,
    /// Sort by the next column.
    NextSort,
    /// Turn the order round.
    Reverse,
    /// Processes flat, as a tree, or by cgroup.
    NextArrangement,
    /// Hide or show what is below the selected row.
    Fold,
    /// The same for all roots.
    FoldAll,
    /// Choose the columns of processes.
    Columns,
    /// Freeze what is shown, or go on.
    Pause,
    /// Measure over longer intervals.
    Slower,
    /// Measure over shorter intervals.
    Faster,
    /// Keep the next of the usual budgets, or none.
    NextBudget,
    /// Show or hide calls that wait by design.
    Waiting,
    /// Show peers of connections by name, or by address again.
    Names,
    /// The next theme.
    NextTheme,
    /// Show or hide the lines that measure the same with other tools.
    Commands,
    /// Show or hide the help.
    Help,
    /// Stop the program.
    Quit,
    /// Hand the terminal back to the shell until `fg`.
    Suspend,
}

/// A step of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The first row, and stay with whatever is first.
    First,
    /// The last row.
    Last,
}

/// A line of the list: keys that ask for one thing.
pub struct Key {
    /// The keys.
    chords: &'static [(KeyCode, KeyModifiers)],
    /// How they are written.
    pub label: &'static str,
    /// The views in which they apply.
    pub views: &'static [View],
    /// What they ask for.
    pub action: Action,
    /// One line of help.
    pub help: &'static str,
    /// A word for the footer; none for keys that hands know.
    pub footer: Option<&'static str>,
}

const ALL: &[View] = &{
    let mut all = [View::Page; View::ALL.len() + 1];
    let mut at = 0;
    while at < View::ALL.len() {
        all[at] = View::ALL[at];
        at += 1;
    }
    all
};
const TABLES: &[View] = &[View::Overview, View::Scheduler, View::Network, View::Stuck, View::Processes];
const CALLS: &[View] = &[View::Overview, View::Syscalls, View::Stuck, View::Page];

const fn key(code: KeyCode) -> (KeyCode, KeyModifiers) {
    (code, KeyModifiers::NONE)
}

const fn char(c: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(c), KeyModifiers::NONE)
}

const fn ctrl(c: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(c), KeyModifiers::CONTROL)
}

/// A key of every view, which hands know.
const fn everywhere(
    chords: &'static [(KeyCode, KeyModifiers)],
    label: &'static str,
    action: Action,
    help: &'static str,
) -> Key {
    Key { chords, label, views: ALL, action, help, footer: None }
}

/// The list, in the order of the footer.
pub const KEYS: &[Key] = &[
    Key {
        chords: &[key(KeyCode::Enter)],
        label: "Enter",
        views: &[View::Syscalls],
        action: Action::Enter,
        help: "show the processes that make the selected call; then the page of the selected process",
        footer: Some("callers"),
    },
    Key {
        chords: &[key(KeyCode::Enter)],
        label: "Enter",
        views: &[View::Disk],
        action: Action::Enter,
        help: "show the processes that use block devices; then the page of the selected process",
        footer: Some("users"),
    },
    Key {
        chords: &[key(KeyCode::Enter)],
        label: "Enter",
        views: TABLES,
        action: Action::Enter,
        help: "the page of the selected process",
        footer: Some("process"),
    },
    Key {
        chords: &[char('v')],
        label: "v",
        views: &[View::Overview],
        action: Action::NextVerdict,
        help: "select the next verdict and say its rule; Enter then shows its evidence",
        footer: Some("verdict"),
    },
    Key {
        chords: &[char('o')],
        label: "o",
        views: &[View::Network],
        action: Action::Go(Place::Connections),
        help: "open connections and listening sockets, or back to processes; bytes by connection are counted only meanwhile",
        footer: Some("connections"),
    },
    Key {
        chords: &[char('n')],
        label: "n",
        views: &[View::Network],
        action: Action::Names,
        help: "peers of connections by name, or by address again; no name is ever looked up unasked",
        footer: None,
    },
    Key {
        chords: &[key(KeyCode::Enter)],
        label: "Enter",
        views: &[View::Page],
        action: Action::Go(Place::Threads),
        help: "its threads one by one; again: its calls",
        footer: Some("threads"),
    },
    Key {
        chords: &[char('B')],
        label: "B",
        views: &[View::Page],
        action: Action::Pin,
        help: "keep the last minute of its calls as the baseline (dots); again: the earlier part of what is kept",
        footer: Some("baseline"),
    },
    everywhere(
        &[key(KeyCode::Esc)],
        "Esc",
        Action::Back,
        "one step back: help, row text, page, callers, then the filter",
    ),
    Key {
        chords: &[char('e')],
        label: "e",
        views: &[View::Syscalls],
        action: Action::Go(Place::Errors),
        help: "errors by call and process, and who runs in circles; again: back",
        footer: Some("errors"),
    },
    Key {
        chords: &[char('x')],
        label: "x",
        views: &[View::Syscalls],
        action: Action::Exemplars,
        help: "single calls of the selected call, the slowest of the last minute, with their arguments; again: back",
        footer: Some("single calls"),
    },
    Key {
        chords: &[char('.'), key(KeyCode::Right), char(']')],
        label: "→ .",
        views: &[View::Syscalls],
        action: Action::Octave(true),
        help: "of the single calls only those of the next slower octave; after the slowest all of them",
        footer: None,
    },
    Key {
        chords: &[char(','), key(KeyCode::Left), char('[')],
        label: "← ,",
        views: &[View::Syscalls],
        action: Action::Octave(false),
        help: "of the single calls only those of the next quicker octave",
        footer: None,
    },
    Key {
        chords: &[char('p')],
        label: "p",
        views: ALL,
        action: Action::FilterPids,
        help: "filter every view by pid, several by comma",
        footer: Some("pid"),
    },
    Key {
        chords: &[char('/')],
        label: "/",
        views: ALL,
        action: Action::FilterRows,
        help: "show only rows that contain a text",
        footer: Some("rows"),
    },
    Key {
        chords: &[char('s')],
        label: "s",
        views: ALL,
        action: Action::NextSort,
        help: "sort by the next column",
        footer: Some("sort"),
    },
    everywhere(&[char('r')], "r", Action::Reverse, "reverse the order"),
    Key {
        chords: &[char('w')],
        label: "w",
        views: CALLS,
        action: Action::Waiting,
        help: "show or hide calls that wait by design (futex, poll, epoll_wait, …)",
        footer: Some("waiting"),
    },
    Key {
        chords: &[char('d')],
        label: "d",
        views: &[View::Processes],
        action: Action::Go(Place::Dead),
        help: "the dead of the last five minutes by command and parent, or back to the living",
        footer: Some("dead"),
    },
    Key {
        chords: &[char('v')],
        label: "v",
        views: &[View::Processes],
        action: Action::NextArrangement,
        help: "flat, as a tree by parent, or by cgroup",
        footer: Some("tree"),
    },
    Key {
        chords: &[char('f')],
        label: "f",
        views: &[View::Processes],
        action: Action::Fold,
        help: "fold or unfold the selected row: a folded one shows the sum of all below it",
        footer: Some("fold"),
    },
    Key {
        chords: &[char('F')],
        label: "F",
        views: &[View::Processes],
        action: Action::FoldAll,
        help: "fold everything, or unfold it",
        footer: None,
    },
    Key {
        chords: &[char('o')],
        label: "o",
        views: &[View::Processes],
        action: Action::Columns,
        help: "choose the columns (config.toml: columns = [\"PID\", \"COMMAND\", …])",
        footer: Some("columns"),
    },
    Key {
        chords: &[char('b')],
        label: "b",
        views: &[View::Scheduler],
        action: Action::Go(Place::Blame),
        help: "who ran while others waited for a CPU, or back; measured while it is shown (about 1 µs a switch)",
        footer: Some("blame"),
    },
    Key {
        chords: &[char('g')],
        label: "g",
        views: &[View::Scheduler],
        action: Action::Go(Place::BlameByGroup),
        help: "the same by control group, or by process again",
        footer: None,
    },
    Key {
        chords: &[char('b')],
        label: "b",
        views: &[View::Own],
        action: Action::NextBudget,
        help: "the next budget (none, 0.5, 1, 2, 5 % of CPU time): above it events are sampled, and numbers say so",
        footer: Some("budget"),
    },
    Key {
        chords: &[char(' ')],
        label: "space",
        views: ALL,
        action: Action::Pause,
        help: "freeze what is shown, or go on; measuring continues",
        footer: Some("pause"),
    },
    everywhere(&[char('+'), char('=')], "+", Action::Slower, "a longer interval (0.1, 0.2, 0.5, 1, 2, 5, 10 s)"),
    everywhere(&[char('-'), char('_')], "-", Action::Faster, "a shorter interval"),
    Key {
        chords: &[char('t')],
        label: "t",
        views: ALL,
        action: Action::NextTheme,
        help: "the next theme",
        footer: Some("theme"),
    },
    everywhere(
        &[char('c')],
        "c",
        Action::Commands,
        "show me the command: bpftrace, perf or ss lines that measure what is shown here",
    ),
    Key {
        chords: &[char('?'), key(KeyCode::F(1))],
        label: "?",
        views: ALL,
        action: Action::Help,
        help: "this help",
        footer: Some("help"),
    },
    Key {
        chords: &[char('q'), ctrl('c')],
        label: "q",
        views: ALL,
        action: Action::Quit,
        help: "quit; Ctrl-C too",
        footer: Some("quit"),
    },
    everywhere(
        &[char('1')],
        "1",
        Action::Show(View::Overview),
        "Overview: the three insights side by side, and who is behind them",
    ),
    everywhere(
        &[char('2')],
        "2",
        Action::Show(View::Syscalls),
        "Syscalls: rate, errors and latency of each system call",
    ),
    everywhere(&[char('3')], "3", Action::Show(View::Scheduler), "Scheduler: how long threads waited for a CPU"),
    everywhere(
        &[char('4')],
        "4",
        Action::Show(View::Network),
        "Network: bytes of each process, against the interfaces",
    ),
    everywhere(
        &[char('5')],
        "5",
        Action::Show(View::Stuck),
        "Stuck: system calls that have not returned, by age, and what they wait for",
    ),
    everywhere(&[char('6')], "6", Action::Show(View::Disk), "Disk: latency of block I/O by device, and who causes it"),
    everywhere(&[char('7')], "7", Action::Show(View::Processes), "Processes: everything of all processes in one table"),
    everywhere(
        &[char('9')],
        "9",
        Action::Show(View::Own),
        "Self: what kscope itself costs, program by program, and what it does not see",
    ),
    everywhere(&[key(KeyCode::Tab)], "Tab", Action::NextView, "the next view"),
    everywhere(&[key(KeyCode::BackTab)], "Shift-Tab", Action::PreviousView, "the view before"),
    everywhere(&[key(KeyCode::Up), char('k')], "↑ k", Action::Move(Motion::Up), "the row above"),
    everywhere(&[key(KeyCode::Down), char('j')], "↓ j", Action::Move(Motion::Down), "the row below"),
    everywhere(&[key(KeyCode::PageUp)], "PgUp", Action::Move(Motion::PageUp), "a page up"),
    everywhere(&[key(KeyCode::PageDown)], "PgDn", Action::Move(Motion::PageDown), "a page down"),
    everywhere(&[key(KeyCode::Home)], "Home", Action::Move(Motion::First), "the first row, whichever that becomes"),
    everywhere(&[key(KeyCode::End)], "End", Action::Move(Motion::Last), "the last row"),
    everywhere(&[ctrl('z')], "Ctrl-Z", Action::Suspend, "back to the shell; fg returns"),
];

/// What a key asks for in a view, if anything.
pub fn action(view: View, event: KeyEvent) -> Option<Action> {
    // Shift is part of the character it made; terminals disagree on whether they report it.
    let modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
    KEYS.iter()
        .filter(|k| k.views.contains(&view))
        .find(|k| k.chords.contains(&(event.code, modifiers)))
        .map(|k| k.action)
}

/// The keys of a view, without those of the other views.
pub fn of(view: View) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |k| k.views.contains(&view))
}

/// How a key that means nothing is called in the message that says so; never a control character.
pub fn name_of(event: KeyEvent) -> String {
    let base = match event.code {
        KeyCode::Char(c) => c.escape_debug().to_string(),
        code => code.to_string(),
    };
    if event.modifiers.contains(KeyModifiers::CONTROL) { format!("Ctrl-{}", base.to_uppercase()) } else { base }
}

/// The list as a table for the README.
pub fn markdown() -> String {
    let mut table = String::from("| Key | Does |\n|---|---|\n");
    for key in KEYS {
        let views = if key.views.len() == ALL.len() {
            String::new()
        } else {
            format!(" ({})", key.views.iter().map(|v| v.title()).collect::<Vec<_>>().join(", "))
        };
        table.extend(["| `", key.label, "` | ", key.help, &views, " |\n"]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_each_view_a_key_means_one_thing() {
        for view in View::ALL {
            let mut seen = Vec::new();
            for chord in of(view).flat_map(|k| k.chords) {
                assert!(!seen.contains(&chord), "{chord:?} is twice in {}", view.title());
                seen.push(chord);
            }
        }
    }

    #[test]
    fn each_view_has_its_number() {
        for view in View::ALL {
            let event = KeyEvent::new(KeyCode::Char(view.digit()), KeyModifiers::NONE);
            assert_eq!(action(View::Overview, event), Some(Action::Show(view)));
        }
    }

    #[test]
    fn shift_does_not_hide_a_character_and_control_makes_another_key() {
        let with = |c, m| action(View::Overview, KeyEvent::new(KeyCode::Char(c), m));
        assert_eq!(with('?', KeyModifiers::SHIFT), Some(Action::Help));
        assert_eq!(with('c', KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(with('c', KeyModifiers::NONE), Some(Action::Commands));
        assert_eq!(with('q', KeyModifiers::ALT), None);
    }

    #[test]
    fn the_readme_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        if let Ok(readme) = std::fs::read_to_string(path) {
            assert!(readme.contains(&markdown()), "README.md needs this table of keys:\n{}", markdown());
        }
    }
}
