//! Reads from procfs what a call in flight waits for: arguments, what is behind them, wait channels.
//!
//! The kernel shows this of other users' processes only to whoever might trace them, so a process of its own asks
//! (`privileged/eyes.rs`). Everything read is untrusted and made printable at once. The process may have gone on meanwhile: what
//! belongs to another call than the one that was seen is not taken.
//!
//! Invariant: what is read of a process's memory is what the arguments of the call say, and only as long as it may be.

use std::fs;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;

use kscope_layout::NO_CALL;

use super::args::{From, Matters, int, limit, matters, names_its_owner};
use super::locks::{Held, held};
use super::stats::Detail;
use super::tables::SocketTables;
use crate::core::units::{duration, printable, printable_bytes};

/// The longest path that is read out of a process.
const LONGEST_PATH: usize = 128;

/// A thread that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleeper {
    /// Its process.
    pub pid: u32,
    /// Its own id.
    pub tid: u32,
    /// The call it was seen in; [`NO_CALL`] if none was seen.
    pub nr: u32,
    /// Not even a signal wakes it.
    pub uninterruptible: bool,
    /// When it was seen to enter the call, `CLOCK_MONOTONIC`; 0 if that was not seen.
    pub since_ns: u64,
}

/// The call that a thread is in, and what it waits for there; `None` if it left the call that was seen, or is in none.
pub fn ask(sleeper: Sleeper, tables: &mut Tables) -> Option<(u32, Detail)> {
    let Sleeper { pid, tid, nr: seen, uninterruptible, since_ns } = sleeper;
    let dir = format!("/proc/{pid}/task/{tid}");
    let read = |file: &str| fs::read_to_string(format!("{dir}/{file}")).unwrap_or_default();
    let text = read("syscall");
    let mut detail = Detail {
        comm: printable(read("comm").trim_end()).into_owned(),
        on: String::new(),
        // 0 stands for none, or for one that we may not see.
        wchan: Some(printable(&read("wchan")).into_owned()).filter(|text| text != "0").unwrap_or_default(),
    };
    match parse(&text) {
        Some((nr, arguments)) if seen == NO_CALL || seen == nr => {
            detail.on = Asked { pid, since_ns, tables }.on(nr, arguments);
            Some((nr, detail))
        }
        // Not where nothing could be read: that says nothing of the thread.
        _ if seen == NO_CALL && uninterruptible && !text.is_empty() => {
            detail.on = "a page fault".into();
            Some((seen, detail))
        }
        _ => None,
    }
}

/// Number and arguments from `/proc/PID/task/TID/syscall`: `0 0x3 0x7ffc… 0x1 … sp pc`, `running`, or `-1 sp pc`.
pub(crate) fn parse(text: &str) -> Option<(u32, [u64; 6])> {
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
pub struct Tables {
    locks: Option<Vec<Held>>,
    sockets: SocketTables,
}

/// A process that is asked about one call.
struct Asked<'a> {
    pid: u32,
    /// See [`Sleeper::since_ns`].
    since_ns: u64,
    tables: &'a mut Tables,
}

impl Asked<'_> {
    /// What a call with these arguments waits for.
    fn on(&mut self, nr: u32, arguments: [u64; 6]) -> String {
        let what = self.what(nr, arguments);
        let time = self.time(nr, arguments);
        match (matters(nr), what.is_empty() || time.is_empty()) {
            (Matters::Time, _) => time,
            (_, true) if time.is_empty() => what,
            (_, true) => format!("at most {time}"),
            (_, false) => format!("{what}, at most {time}"),
        }
    }

    /// The same without the limit of time, as far as that is no plain number.
    fn what(&mut self, nr: u32, arguments: [u64; 6]) -> String {
        let [first, second, ..] = arguments;
        match matters(nr) {
            Matters::File => self.file(int(first)),
            Matters::Lock => self.lock(int(first)),
            Matters::Futex => self.futex(first, second),
            Matters::Child => child(int(first)),
            Matters::ChildById => child_by_id(int(first), int(second)),
            Matters::Path(at) => self.path(arguments[at]),
            Matters::Peer => self.peer(arguments),
            Matters::Epoll => format!("{}, {}", self.file(int(first)), at_most(int(arguments[3]))),
            Matters::Poll(at, timeout) => {
                let limit = timeout.map(|at| format!(", {}", at_most(int(arguments[at])))).unwrap_or_default();
                format!("{} descriptors{limit}", int(arguments[at]))
            }
            Matters::Time | Matters::Nothing => String::new(),
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
        self.tables.sockets.named(self.pid, inode).unwrap_or_else(|| format!("socket {inode}"))
    }

    /// The file, and who holds a lock on it.
    fn lock(&mut self, fd: i32) -> String {
        let file = self.file(fd);
        let Ok(found) = fs::metadata(format!("/proc/{}/fd/{fd}", self.pid)) else { return file };
        let (device, inode) = (found.dev(), found.ino());
        let key = (libc::major(device), libc::minor(device), inode);
        let read = || held(&fs::read("/proc/locks").unwrap_or_default()).collect();
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

    /// The limit of time that a call has, counted from its beginning; empty if it has none.
    fn time(&self, nr: u32, arguments: [u64; 6]) -> String {
        let Some(limit) = limit(nr, arguments) else { return String::new() };
        let mut bytes = [0; 16];
        if self.read(limit.address, &mut bytes) < bytes.len() {
            return String::new();
        }
        let (seconds, ns) = bytes.split_at(8);
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        let ns = word(seconds).saturating_mul(1_000_000_000).saturating_add(word(ns));
        match limit.from {
            From::Call => duration(ns),
            From::Clock(clock) => until(ns, clock_ns(self.pid, clock), self.since_ns),
        }
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
pub(crate) fn address(bytes: &[u8]) -> Option<String> {
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

/// An absolute time of a clock that shows `now_ns`, for a call that began at `since_ns` of `CLOCK_MONOTONIC` (0: not known).
fn until(ns: u64, now_ns: Option<u64>, since_ns: u64) -> String {
    let Some(now_ns) = now_ns else { return format!("until {} of its clock", duration(ns)) };
    // It can be over already: of a clock that was set, or of a thread that waits for a CPU.
    let left_ns = i128::from(ns) - i128::from(now_ns);
    let age_ns = clock(libc::CLOCK_MONOTONIC).filter(|_| since_ns != 0).map(|now| now.saturating_sub(since_ns));
    let in_all = u64::try_from((left_ns + i128::from(age_ns.unwrap_or(0))).max(0)).unwrap_or(u64::MAX);
    if age_ns.is_some() { duration(in_all) } else { format!("{} more", duration(in_all)) }
}

/// What a clock shows to a process, ns; `None` for clocks of CPU time, which are those of the process itself, and where the
/// process has clocks of its own (a time namespace).
fn clock_ns(pid: u32, which: i32) -> Option<u64> {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/time")).ok();
    let told = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI];
    let is_ours = which == libc::CLOCK_REALTIME || namespace(&pid.to_string()) == namespace("self");
    if told.contains(&which) && is_ours { clock(which) } else { None }
}

/// What a clock shows, ns.
fn clock(which: i32) -> Option<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time to a live variable.
    let done = unsafe { libc::clock_gettime(which, &raw mut now) } == 0;
    done.then(|| now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.unsigned_abs()))
}

/// A limit of time in ms.
fn at_most(ms: i32) -> String {
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

    #[test]
    fn an_absolute_time_is_told_from_the_beginning_of_its_call() {
        let now = clock(libc::CLOCK_MONOTONIC).unwrap();
        let second = 1_000_000_000;
        assert_eq!(until(now + 50 * second, Some(now), now), "50.0 s");
        assert_eq!(until(5 + 50 * second, Some(5), now - 70 * second), "2.00 min", "half of it has passed");
        assert_eq!(until(now + 50 * second, Some(now), 0), "50.0 s more", "nobody saw it begin");
        assert_eq!(until(5, Some(9), 0), "0 ns more", "it is over");
        assert_eq!(until(90 * second, None, now), "until 90.0 s of its clock");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in ".{0,120}", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&text);
            let _ = address(&bytes);
        }
    }
}
