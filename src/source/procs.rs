//! Who processes are: names, command lines, users, parents and cgroups from procfs, read once and kept.
//!
//! Everything read here is untrusted and made printable at once. A process that is gone before it could be asked keeps the
//! name that the kernel noted at its exit.
//!
//! Invariant: `Ident`s are shared, not copied: as long as nothing changes, all samples hold the same one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::host::shown_later_ns;
use crate::core::ident::ProcessId;
use crate::core::units::printable_bytes;
use crate::model::Ident;
use crate::privileged::names::Book;
use crate::probes::time::account::ProcessReading;

/// A process may have changed its name without a sign of it (`prctl`): each that ran since is asked again after this many
/// samples.
const REFRESH_EVERY: u64 = 16;
/// Others can move a process to another cgroup while it rests: so each is asked again after this many at the latest.
const REFRESH_ALL_EVERY: u64 = 256;

/// What was asked, and when.
#[derive(Debug)]
struct Known {
    ident: Arc<Ident>,
    /// Calls of `execve` that the process had made when it was asked.
    execs: u64,
    /// The CPU time that its threads had used by then, ns.
    on_cpu_ns: u64,
}

/// The table of who is who.
#[derive(Debug, Default)]
pub struct Processes {
    book: Book,
    known: HashMap<ProcessId, Known>,
    users: HashMap<u32, String>,
    round: u64,
    /// Only processes that do something are asked: see [`Processes::hurry`].
    in_haste: bool,
    /// Those that were not asked, with the calls of `execve` that they had made.
    unasked: Vec<(ProcessId, u64)>,
    /// The CPU time that processes had used at the sample before, ns, while only those that run are asked.
    ran: HashMap<ProcessId, u64>,
}

impl Processes {
    /// A table that asks this book for users.
    pub fn new(book: Book) -> Self {
        Self { book, ..Self::default() }
    }

    /// Begins a new sample.
    pub fn next_round(&mut self) {
        self.round += 1;
        self.unasked.clear();
    }

    /// Asks only processes that did something since the sample before until [`Self::unasked`] is called: to ask each of 5,000
    /// takes a fifth of a second, which the first numbers need not wait for. The others have no name so long.
    pub const fn hurry(&mut self) {
        self.in_haste = true;
    }

    /// The processes that were not asked; from now on all are.
    pub fn unasked(&mut self) -> Vec<(ProcessId, u64)> {
        (self.in_haste, self.ran) = (false, HashMap::new());
        std::mem::take(&mut self.unasked)
    }

    /// Who the process is. `execs` counts its calls of `execve`: one more, and it is somebody else.
    pub fn ident(&mut self, id: ProcessId, reading: &ProcessReading, execs: u64, exited: bool) -> Arc<Ident> {
        if self.in_haste && !exited && self.rested(id, reading) {
            self.unasked.push((id, execs));
            return Arc::new(Ident { kthread: reading.kthread, ..Ident::default() });
        }
        self.asked(id, reading, execs, exited)
    }

    /// Did the process do nothing since the sample before? At the first sample nobody knows.
    fn rested(&mut self, id: ProcessId, reading: &ProcessReading) -> bool {
        let on_cpu_ns = reading.account.time.on_cpu_ns();
        self.ran.insert(id, on_cpu_ns).is_none_or(|before| before == on_cpu_ns)
    }

    fn asked(&mut self, id: ProcessId, reading: &ProcessReading, execs: u64, exited: bool) -> Arc<Ident> {
        let turn = |every: u64| self.round % every == u64::from(id.pid) % every;
        let on_cpu_ns = reading.account.time.on_cpu_ns();
        // Of the dead there is nothing to ask any more, but they may have left a last name.
        let due = |known: &Known| {
            let ran = known.on_cpu_ns != on_cpu_ns;
            if exited { reading.last_comm.is_some() } else { turn(REFRESH_ALL_EVERY) || ran && turn(REFRESH_EVERY) }
        };
        let known = self.known.get(&id);
        if let Some(known) = known.filter(|k| k.execs == execs && !due(k)) {
            return Arc::clone(&known.ident);
        }
        let before = known.map(|k| Arc::clone(&k.ident));
        let ident = self.ask(id, reading, exited, before.as_deref());
        // Most refreshes change nothing: then the old one stays shared.
        let ident = before.filter(|b| **b == ident).unwrap_or_else(|| Arc::new(ident));
        self.known.insert(id, Known { ident: Arc::clone(&ident), execs, on_cpu_ns });
        ident
    }

    /// Its name, as it was asked for last.
    pub fn name(&self, id: ProcessId) -> Option<Arc<str>> {
        self.known.get(&id).map(|known| known.ident.comm.as_str().into())
    }

    /// Drops what is known of a process that is gone.
    pub fn forget(&mut self, id: ProcessId) {
        self.known.remove(&id);
    }

    fn ask(&mut self, id: ProcessId, reading: &ProcessReading, exited: bool, before: Option<&Ident>) -> Ident {
        let mut ident = if exited { None } else { self.read(id, reading) }
            .or_else(|| before.cloned())
            .unwrap_or_else(|| Ident { kthread: reading.kthread, ..Ident::default() });
        if let Some(comm) = reading.last_comm.filter(|_| exited || ident.comm.is_empty()) {
            ident.comm = printable_bytes(until_nul(&comm));
        }
        if ident.ppid == 0 {
            ident.ppid = reading.parent.map_or(0, |p| p.pid);
        }
        ident
    }

    /// Reads procfs; `None` if the process is gone, or its pid is somebody else's by now.
    fn read(&mut self, id: ProcessId, reading: &ProcessReading) -> Option<Ident> {
        let dir = PathBuf::from(format!("/proc/{}", id.pid));
        let stat = Stat::parse(&fs::read(dir.join("stat")).ok()?)?;
        // The kernel shows the start in hundredths of a second (USER_HZ).
        let start_ns = reading.start_ns.saturating_add_signed(shown_later_ns());
        if stat.start_ticks.abs_diff(start_ns / 10_000_000) > 1 {
            return None;
        }
        let uid = fs::metadata(&dir).map(|m| m.uid()).ok();
        Some(Ident {
            comm: stat.comm,
            cmdline: read_command_line(&dir.join("cmdline")).unwrap_or_default(),
            user: uid.map(|uid| self.user(uid)).unwrap_or_default(),
            cgroup: fs::read(dir.join("cgroup")).map(|bytes| cgroup_v2(&bytes)).unwrap_or_default(),
            ppid: stat.ppid,
            kthread: reading.kthread,
        })
    }

    fn user(&mut self, uid: u32) -> String {
        let name = || self.book.user(uid).map_or_else(|| uid.to_string(), |name| printable_bytes(&name));
        self.users.entry(uid).or_insert_with(name).clone()
    }
}

/// The fields of `/proc/PID/stat` that are needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) comm: String,
    ppid: u32,
    start_ticks: u64,
}

impl Stat {
    /// `comm` may hold anything, parentheses and spaces included: it ends at the last parenthesis.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let open = bytes.iter().position(|&b| b == b'(')?;
        let close = bytes.iter().rposition(|&b| b == b')')?;
        let comm = bytes.get(open + 1..close)?;
        let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
        let mut fields = rest.split_whitespace();
        // After the name: state, ppid, …, and the start time as the 20th.
        let ppid = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(17)?.parse().ok()?;
        Some(Self { comm: printable_bytes(comm), ppid, start_ticks })
    }
}

/// The longest command line that is read: argument lists can be megabytes, and a process may say that its own are gigabytes
/// (`PR_SET_MM`).
const MAX_COMMAND_LINE: usize = 4096;

fn read_command_line(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_COMMAND_LINE as u64).read_to_end(&mut bytes)?;
    Ok(command_line(&bytes))
}

pub(crate) fn command_line(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    let bytes = &bytes[..end.min(MAX_COMMAND_LINE)];
    let spaced: Vec<u8> = bytes.iter().map(|&b| if b == 0 { b' ' } else { b }).collect();
    printable_bytes(&spaced)
}

/// The path in the unified hierarchy.
pub(crate) fn cgroup_v2(cgroups: &[u8]) -> String {
    // A name may be no UTF-8.
    let mut lines = cgroups.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"0::")).map(printable_bytes).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let line = b"12 (a) b (c\n) S 7 12 12 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 8877 1 2";
        let read = Stat::parse(line).unwrap();
        assert_eq!((read.ppid, read.start_ticks), (7, 8877));
        assert!(read.comm.starts_with("a) b (c") && !read.comm.contains('\n'));
        assert_eq!(Stat::parse(b"12 (a"), None);
        assert_eq!(Stat::parse(b") ("), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn command_lines_end_with_their_last_argument() {
        assert_eq!(command_line(b"sleep\x001000\0\0"), "sleep 1000");
        assert_eq!(command_line(b""), "");
        assert!(command_line(&vec![b'x'; 100_000]).len() <= MAX_COMMAND_LINE);
    }

    #[test]
    fn the_cgroup_is_that_of_the_unified_hierarchy() {
        assert_eq!(cgroup_v2(b"0::/\xff\n"), "/\u{fffd}");
        assert_eq!(cgroup_v2(b"1:cpu:/a\n0::/system.slice/nginx.service\n"), "/system.slice/nginx.service");
        assert_eq!(cgroup_v2(b"1:cpu:/a\n"), "");
    }
}
