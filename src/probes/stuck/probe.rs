//! Asks procfs what calls in flight wait for: arguments, what is behind them, wait channels.
//!
//! A call is asked about once, not at each sample. Everything read is untrusted and made printable at once. The process may
//! have gone on meanwhile: what belongs to another call than the one that was seen is not taken.
//!
//! Invariant: at most [`ASKED`] calls are asked about in one sample, the oldest first, those that wait by design last.

use std::collections::HashMap;
use std::fs;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use kscope_layout::NO_CALL;

use super::args::{Matters, int, matters, names_its_owner};
use super::asleep::Clocks;
use super::locks::{Held, held};
use super::sockets::{TABLES, socket};
use super::stats::{Detail, InFlight, State};
use crate::core::quality::Quality;
use crate::core::units::{duration, printable, printable_bytes};
use crate::probes::syscalls::names::waits;

/// Calls that are asked about in one sample, at most.
pub const ASKED: usize = 512;
/// The longest path that is read out of a process.
const LONGEST_PATH: usize = 128;

/// What was found of a call, for as long as the thread stays in it.
#[derive(Debug)]
struct Known {
    nr: u32,
    /// When it was entered, or first seen.
    since_ns: u64,
    /// The call behind it, where it was not seen being entered.
    found: Found,
}

#[derive(Clone, Debug)]
struct Found {
    nr: u32,
    /// When it was entered, and what that is worth.
    since_ns: u64,
    quality: Quality,
    detail: Option<Arc<Detail>>,
}

/// Asks, and remembers the answers.
#[derive(Debug, Default)]
pub struct StuckReader {
    known: HashMap<u32, Known>,
    clocks: Clocks,
}

impl StuckReader {
    /// Completes what is known of those calls in flight that are `worth` it, at `at_ns`; `now` reads the clock. Calls that
    /// were entered before the programs were there get their number.
    pub fn complete(
        &mut self,
        calls: &mut Vec<InFlight>,
        worth: impl Fn(&InFlight) -> bool,
        at_ns: u64,
        now: impl Fn() -> u64,
    ) {
        let mut order: Vec<usize> = (0..calls.len()).filter(|&at| worth(&calls[at])).collect();
        order.sort_by_key(|&at| (waits(calls[at].nr), std::cmp::Reverse(calls[at].age_ns)));
        let mut before = std::mem::take(&mut self.known);
        let mut asked = 0;
        let mut tables = Tables::default();
        for at in order {
            let call = &mut calls[at];
            let (nr, since_ns) = (call.nr, at_ns.saturating_sub(call.age_ns));
            let same = |known: &Known| (known.nr, known.since_ns) == (nr, since_ns);
            let known = before.remove(&call.tid).filter(same);
            let known = match known {
                Some(known) => known,
                None if asked < ASKED && call.state != State::Working => {
                    asked += 1;
                    Known { nr, since_ns, found: self.ask(call, since_ns, &now, &mut tables) }
                }
                None => continue,
            };
            let found = known.found.clone();
            (call.nr, call.age_ns) = (found.nr, at_ns.saturating_sub(found.since_ns));
            (call.age_quality, call.detail) = (found.quality, found.detail);
            self.known.insert(call.tid, known);
        }
        // A thread of which nobody could say what it sleeps in is in no call.
        calls.retain(|call| call.nr != NO_CALL || call.state == State::Uninterruptible);
        calls.sort_by_key(|call| std::cmp::Reverse(call.age_ns));
    }

    fn ask(&mut self, call: &InFlight, since_ns: u64, now: &impl Fn() -> u64, tables: &mut Tables) -> Found {
        let mut found = Found { nr: call.nr, since_ns, quality: call.age_quality, detail: None };
        let (pid, tid) = (call.process.pid, call.tid);
        let dir = format!("/proc/{pid}/task/{tid}");
        let text = fs::read_to_string(format!("{dir}/syscall")).unwrap_or_default();
        let read = |file: &str| fs::read_to_string(format!("{dir}/{file}")).unwrap_or_default();
        let mut detail = Detail {
            comm: printable(read("comm").trim_end()).into_owned(),
            on: String::new(),
            // 0 stands for none, or for one that we may not see.
            wchan: Some(printable(&read("wchan")).into_owned()).filter(|text| text != "0").unwrap_or_default(),
        };
        match parse(&text) {
            Some((nr, arguments)) if call.nr == NO_CALL || call.nr == nr => {
                found.nr = nr;
                detail.on = Asked { pid, tables }.on(nr, arguments);
            }
            // It left the call that was seen, or sleeps outside of any.
            _ if call.nr != NO_CALL => return found,
            _ if call.state == State::Uninterruptible => detail.on = "a page fault".into(),
            _ => return found,
        }
        if call.age_quality != Quality::Exact
            && let Some(asleep_ns) = self.clocks.asleep_ns(pid, tid, now)
        {
            let then = now().saturating_sub(asleep_ns);
            if then < since_ns {
                (found.since_ns, found.quality) = (then, Quality::Estimate);
            }
        }
        found.detail = Some(Arc::new(detail));
        found
    }
}

/// Number and arguments from `/proc/PID/task/TID/syscall`: `0 0x3 0x7ffc… 0x1 … sp pc`, `running`, or `-1 sp pc`.
fn parse(text: &str) -> Option<(u32, [u64; 6])> {
    let mut fields = text.split_whitespace();
    let nr = fields.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some((nr, arguments))
}

/// Tables of the whole machine, read once for all calls of a sample.
#[derive(Debug, Default)]
struct Tables {
    locks: Option<Vec<Held>>,
    /// Of sockets, by the process whose network was asked, and by place in [`TABLES`].
    sockets: HashMap<(u32, usize), String>,
}

/// A process that is asked about one call.
struct Asked<'a> {
    pid: u32,
    tables: &'a mut Tables,
}

impl Asked<'_> {
    /// What a call with these arguments waits for.
    fn on(&mut self, nr: u32, arguments: [u64; 6]) -> String {
        let [first, second, ..] = arguments;
        match matters(nr) {
            Matters::File => self.file(int(first)),
            Matters::Lock => self.lock(int(first)),
            Matters::Futex => self.futex(first, second),
            Matters::Child => child(int(first)),
            Matters::ChildById => child_by_id(int(first), int(second)),
            Matters::Time(at) => self.time(arguments[at]),
            Matters::Path(at) => self.path(arguments[at]),
            Matters::Peer => self.peer(arguments),
            Matters::Epoll => format!("{}, {}", self.file(int(first)), limit(int(arguments[3]))),
            Matters::Poll(at, timeout) => {
                let limit = timeout.map(|at| format!(", {}", limit(int(arguments[at])))).unwrap_or_default();
                format!("{} descriptors{limit}", int(arguments[at]))
            }
            Matters::Nothing => String::new(),
        }
    }

    /// What is behind a descriptor.
    fn file(&mut self, fd: i32) -> String {
        let link = fs::read_link(format!("/proc/{}/fd/{fd}", self.pid)).unwrap_or_default();
        let link = link.to_string_lossy();
        let number = |prefix: &str| link.strip_prefix(prefix)?.strip_suffix(']')?.parse::<u64>().ok();
        let behind = match (number("socket:["), number("pipe:["), &*link) {
            (Some(inode), ..) => self.socket(inode),
            (_, Some(inode), _) => format!("pipe {inode}"),
            (_, _, "anon_inode:[eventpoll]") => "epoll".into(),
            (_, _, link) => printable(link).into_owned(),
        };
        format!("fd {fd} {behind}").trim_end().to_owned()
    }

    fn socket(&mut self, inode: u64) -> String {
        let pid = self.pid;
        let found = TABLES.iter().enumerate().find_map(|(at, (file, kind))| {
            let read = || fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
            socket(self.tables.sockets.entry((pid, at)).or_insert_with(read), kind, inode)
        });
        found.unwrap_or_else(|| format!("socket {inode}"))
    }

    /// The file, and who holds a lock on it.
    fn lock(&mut self, fd: i32) -> String {
        let file = self.file(fd);
        let Ok(found) = fs::metadata(format!("/proc/{}/fd/{fd}", self.pid)) else { return file };
        let (device, inode) = (found.dev(), found.ino());
        let key = (libc::major(device), libc::minor(device), inode);
        let read = || held(&fs::read_to_string("/proc/locks").unwrap_or_default()).collect();
        let locks = self.tables.locks.get_or_insert_with(read);
        match locks.iter().find(|lock| lock.file == key && lock.pid != Some(self.pid)) {
            Some(Held { pid: Some(holder), .. }) => format!("{file}, held by {}", named(*holder)),
            Some(_) => format!("{file}, held by an open file"),
            None => file,
        }
    }

    fn futex(&self, address: u64, operation: u64) -> String {
        let mut word = [0; 4];
        let owner = names_its_owner(operation) && self.read(address, &mut word) == word.len();
        let tid = u32::from_ne_bytes(word) & 0x3fff_ffff;
        if owner && tid != 0 {
            return format!("address {address:#x}, held by {}", named(tid));
        }
        format!("address {address:#x}")
    }

    fn time(&self, address: u64) -> String {
        let mut bytes = [0; 16];
        if self.read(address, &mut bytes) < bytes.len() {
            return String::new();
        }
        let (seconds, ns) = bytes.split_at(8);
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        duration(word(seconds).saturating_mul(1_000_000_000).saturating_add(word(ns)))
    }

    fn path(&self, address: u64) -> String {
        let mut bytes = [0; LONGEST_PATH];
        let read = self.read(address, &mut bytes);
        printable_bytes(bytes[..read].split(|b| *b == 0).next().unwrap_or_default())
    }

    /// The socket, and where it is to be connected to.
    fn peer(&mut self, arguments: [u64; 6]) -> String {
        let mut bytes = [0; 128];
        let length = usize::try_from(arguments[2]).unwrap_or(0).min(bytes.len());
        let read = self.read(arguments[1], &mut bytes[..length]);
        let fd = int(arguments[0]);
        address(&bytes[..read]).map_or_else(|| self.file(fd), |to| format!("fd {fd} → {to}"))
    }

    /// Copies memory of the process; how much of it could be read.
    fn read(&self, address: u64, into: &mut [u8]) -> usize {
        // Up to the end of the page first: the next one may not be there.
        let page = 4096 - usize::try_from(address % 4096).unwrap_or(0);
        let first = into.len().min(page);
        let read = self.copy(address, &mut into[..first]);
        if read < first || first == into.len() {
            return read;
        }
        read + self.copy(address.saturating_add(first as u64), &mut into[first..])
    }

    fn copy(&self, address: u64, into: &mut [u8]) -> usize {
        let Ok(pid) = i32::try_from(self.pid) else { return 0 };
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
        // SAFETY: the local part is ours and as long as it says; the remote one the kernel checks.
        let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        usize::try_from(read).unwrap_or(0)
    }
}

/// An address as `connect` takes it.
fn address(bytes: &[u8]) -> Option<String> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = || Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    match family {
        libc::AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv4Addr::from(ip), port()?)).to_string())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv6Addr::from(ip), port()?)).to_string())
        }
        libc::AF_UNIX => {
            let path = bytes.get(size_of::<libc::sa_family_t>()..)?;
            Some(format!("unix {}", printable_bytes(path.split(|b| *b == 0).find(|part| !part.is_empty())?)))
        }
        _ => None,
    }
}

/// A process or thread with its name.
fn named(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} {}", printable(name.trim_end())).trim_end().to_owned()
}

/// Whom `wait4` waits for.
fn child(pid: i32) -> String {
    match pid {
        1.. => named(pid.unsigned_abs()),
        -1 => "any child".into(),
        0 => "any child of its group".into(),
        group => format!("any child of group {}", group.unsigned_abs()),
    }
}

/// Whom `waitid` waits for: `P_ALL`, `P_PID`, `P_PGID`, `P_PIDFD`.
fn child_by_id(kind: i32, id: i32) -> String {
    match kind {
        0 => child(-1),
        1 => child(id),
        2 => format!("any child of group {id}"),
        _ => format!("process of fd {id}"),
    }
}

/// A limit of time in ms.
fn limit(ms: i32) -> String {
    u64::try_from(ms).map_or_else(|_| "no limit".into(), |ms| format!("at most {}", duration(ms * 1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn calls_and_arguments_are_read() {
        let text = "230 0x0 0x0 0x7ffeb7766b60 0x7ffeb7766ba0 0x0 0x0 0x7ffeb7766b48 0x7f46b2467503\n";
        assert_eq!(parse(text), Some((230, [0, 0, 0x7ffe_b776_6b60, 0x7ffe_b776_6ba0, 0, 0])));
        assert_eq!(parse("running\n"), None);
        assert_eq!(parse("-1 0x7ffeb7766b48 0x7f46b2467503\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn peers_are_read_from_what_connect_is_given() {
        assert_eq!(address(&[2, 0, 0x1f, 0x90, 10, 0, 0, 1, 0, 0]).as_deref(), Some("10.0.0.1:8080"));
        assert_eq!(address(b"\x01\x00/run/a\x1b\0x").as_deref(), Some("unix /run/a\u{fffd}"));
        assert_eq!(address(&[2]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in ".{0,120}", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&text);
            let _ = address(&bytes);
        }
    }
}
