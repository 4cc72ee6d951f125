//! A real terminal, by tmux: starts a program in one, types, and looks at what is on the screen.
//!
//! Invariant: nothing sleeps and hopes. Whoever waits says for what, and gets the screen shown when it does not come.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::kscope::TempDir;

/// Longer than the slowest start, many intervals long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why there is no terminal to try, if so.
pub fn missing() -> Option<String> {
    let found = Command::new("tmux").arg("-V").output().is_ok_and(|out| out.status.success());
    (!found).then(|| "needs tmux".into())
}

/// A tmux server of its own with one window without decoration.
pub struct Terminal {
    dir: TempDir,
}

impl Terminal {
    /// Runs `script` in `sh` in a terminal of this size.
    pub fn start(width: u16, height: u16, script: &str) -> Self {
        let terminal = Self { dir: TempDir::new() };
        let conf = terminal.dir.join("conf");
        std::fs::write(&conf, "set -g status off\nset -g default-terminal screen-256color\n").unwrap();
        let (width, height) = (width.to_string(), height.to_string());
        let mut command = terminal.command();
        command.arg("-f").arg(conf).args(["new-session", "-d", "-x", &width, "-y", &height, script]);
        // Nobody's own configuration or taste may decide.
        command.env("HOME", terminal.dir.join("")).env_remove("XDG_CONFIG_HOME").env_remove("NO_COLOR");
        command.env_remove("TMUX").env_remove("KSCOPE_FACTS");
        let output = command.output().unwrap();
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        terminal
    }

    /// A path that goes away with the terminal.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.dir.join("tmux"));
        command
    }

    fn ask(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Presses keys, by tmux's names (`Enter`, `Escape`, `Tab`, `C-z`, `x`).
    pub fn press(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat());
    }

    /// Types a text.
    pub fn type_text(&self, text: &str) {
        self.ask(&["send-keys", "-l", text]);
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.ask(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Takes the terminal away, as a closed window or a broken connection does.
    pub fn hang_up(&self) {
        self.ask(&["kill-server"]);
    }

    /// What is on the screen now.
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// The same with the look of each character.
    pub fn cells(&self) -> Vec<Vec<(char, Style)>> {
        cells(&self.ask(&["capture-pane", "-p", "-e"]))
    }

    /// One of tmux's variables that are 0 or 1.
    fn flag(&self, name: &str) -> bool {
        self.ask(&["display-message", "-p", &format!("#{{{name}}}")]).trim() == "1"
    }

    /// A program has the screen for itself.
    pub fn is_taken(&self) -> bool {
        self.flag("alternate_on")
    }

    /// The shell has its terminal back as it was: its own screen, a cursor, no reports of the mouse.
    pub fn assert_restored(&self) {
        self.wait("the shell's own screen", |_| !self.is_taken());
        assert!(self.flag("cursor_flag"), "the cursor is hidden");
        assert!(!self.flag("mouse_any_flag"), "the mouse is still reported");
    }

    /// Waits until the screen is as wanted, and gives it.
    pub fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(40));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A server that is gone already is what was wanted.
        let _ = self.command().arg("kill-server").output();
    }
}

/// How a character looks: its SGR parameters, colours with what they are of ("38;5;4").
pub type Style = BTreeSet<String>;

/// The characters of a capture with escape sequences. tmux writes SGR only, and resets before it takes a look away.
fn cells(captured: &str) -> Vec<Vec<(char, Style)>> {
    let (mut rows, mut style) = (vec![Vec::new()], Style::new());
    let mut rest = captured.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' => rows.push(Vec::new()),
            '\u{1b}' => {
                let sequence: String = rest.by_ref().skip(1).take_while(|c| !c.is_ascii_alphabetic()).collect();
                apply(&sequence, &mut style);
            }
            // Shift in and out, for line drawing.
            '\u{e}' | '\u{f}' => {}
            _ => rows.last_mut().unwrap().push((c, style.clone())),
        }
    }
    rows
}

fn apply(sequence: &str, style: &mut Style) {
    let mut parts = sequence.split(';').map(|p| p.parse::<u32>().unwrap_or(0));
    while let Some(part) = parts.next() {
        let value = match part {
            38 | 48 => {
                let kind = parts.next().unwrap_or(0);
                let count = if kind == 5 { 1 } else { 3 };
                let numbers: Vec<String> = parts.by_ref().take(count).map(|n| n.to_string()).collect();
                format!("{part};{}", numbers.join(";"))
            }
            _ => part.to_string(),
        };
        match part {
            0 => style.clear(),
            39 => drop_colour(style, true),
            49 => drop_colour(style, false),
            30..=38 | 90..=97 => set_colour(style, true, value),
            40..=48 | 100..=107 => set_colour(style, false, value),
            _ => drop(style.insert(value)),
        }
    }
}

fn set_colour(style: &mut Style, foreground: bool, value: String) {
    drop_colour(style, foreground);
    style.insert(value);
}

fn drop_colour(style: &mut Style, foreground: bool) {
    let is_colour = |part: &String| {
        let code = part.split(';').next().and_then(|p| p.parse::<u32>().ok()).unwrap_or(0);
        if foreground { matches!(code, 30..=38 | 90..=97) } else { matches!(code, 40..=48 | 100..=107) }
    };
    style.retain(|part| !is_colour(part));
}
