//! Reads the exemplars that came since they were read last, and asks what their file descriptors are open on.
//!
//! What a descriptor is open on is asked when the call has returned, so the answer may be about another file; and only for few.
//! Who is at the other end of a socket is asked only while somebody looks: the tables of a busy host are long.
//! All that comes from outside is made printable here.
//!
//! Invariant: an exemplar that a program was writing, or wrote over, while it was read is not taken.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use kscope_layout::exemplars as layout;

use super::stats::{Exemplar, Exemplars, SLOWEST_OF_PROCESS};
use crate::core::arguments::{self, Argument};
use crate::core::ident::ProcessId;
use crate::core::units::printable_bytes;
use crate::kernel::loader::ExemplarMaps;
use crate::model::ProcessSample;
use crate::privileged::eyes::Eyes;
use crate::probes::stuck::tables::SocketTables;
use crate::probes::syscalls::names::waits;

/// Descriptors that are asked about in an interval: those of the slowest calls, of calls that wait by design after the others.
const ASKED: usize = 64;
/// Bytes of a name that are kept.
const LONGEST: usize = 160;

/// Reads them, and knows up to where it has.
#[derive(Debug, Default)]
pub struct ExemplarReader {
    /// How many each CPU had written.
    read: Vec<u64>,
    /// Entries of the rings that were ever used.
    used: usize,
    names: Names,
    eyes: Eyes,
}

/// Exemplars as the programs wrote them.
#[derive(Debug, Default)]
pub struct Came {
    list: Vec<layout::Exemplar>,
    /// How many more were overwritten before they were read.
    overwritten: u64,
}

impl Came {
    /// Puts those before that came earlier.
    pub fn follow(&mut self, earlier: Self) {
        self.list.splice(0..0, earlier.list);
        self.overwritten = self.overwritten.saturating_add(earlier.overwritten);
    }
}

/// Names of processes as exemplars share them.
type Names = HashMap<ProcessId, (Arc<str>, Arc<str>)>;

impl ExemplarReader {
    /// One that looks through these eyes.
    pub fn new(eyes: Eyes) -> Self {
        Self { eyes, ..Self::default() }
    }

    /// Those that came. `now` is this moment, ns of `CLOCK_MONOTONIC` and seconds since 1970; `peers`: sockets are looked up.
    pub fn read(
        &mut self,
        maps: &ExemplarMaps,
        now: (u64, f64),
        processes: &[ProcessSample],
        peers: bool,
    ) -> Arc<Exemplars> {
        let came = self.take(maps);
        self.complete(&came, now, processes, peers)
    }

    /// Makes exemplars out of what came, which [`Self::read`] explains.
    pub fn complete(
        &mut self,
        Came { list: came, overwritten }: &Came,
        now: (u64, f64),
        processes: &[ProcessSample],
        peers: bool,
    ) -> Arc<Exemplars> {
        self.names.clear();
        let list: Vec<Exemplar> = came.iter().map(|raw| self.exemplar(raw, now, processes)).collect();
        Arc::new(Exemplars::new(with_files(list, peers, &self.eyes), *overwritten))
    }

    /// Entries that hold something.
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Copies what came.
    pub fn take(&mut self, maps: &ExemplarMaps) -> Came {
        let cpus = maps.made.len();
        let ring = (maps.rings.len() / cpus.max(1)) as u64;
        self.read.resize(cpus, 0);
        self.used = 0;
        let (mut came, mut overwritten) = (Vec::new(), 0_u64);
        for (cpu, read) in self.read.iter_mut().enumerate() {
            let made = maps.made.get(cpu).unwrap_or(0);
            self.used += usize::try_from(made.min(ring)).unwrap_or(0);
            let first = made.saturating_sub(ring).max(*read);
            for number in first..made {
                let at = cpu * maps.rings.len() / cpus + usize::try_from(number % ring).unwrap_or(0);
                came.extend(whole(maps, at, number + 1));
            }
            overwritten = overwritten.saturating_add(first - *read);
            *read = made;
        }
        Came { list: came, overwritten }
    }

    fn exemplar(&mut self, raw: &layout::Exemplar, now: (u64, f64), processes: &[ProcessSample]) -> Exemplar {
        let id = ProcessId { pid: raw.tgid, birth: raw.birth };
        let name = || {
            let ident = processes.binary_search_by_key(&id, |p| p.id).ok().map(|at| &processes[at].ident);
            ident.map_or_else(|| ("".into(), "".into()), |i| (i.comm.as_str().into(), i.cgroup.as_str().into()))
        };
        let (comm, cgroup) = self.names.entry(id).or_insert_with(name).clone();
        Exemplar {
            id,
            tid: raw.tid,
            comm,
            cgroup,
            nr: raw.row,
            unix_s: now.1 + (raw.end_ns as f64 - now.0 as f64) / 1e9,
            latency_ns: raw.latency_ns,
            blocked_ns: raw.blocked_ns,
            runnable_ns: raw.runnable_ns,
            result: raw.result,
            args: raw.args,
            text: text(raw),
            file: String::new(),
        }
    }
}

/// The entry at a place, if it is this one and stays so while it is copied.
fn whole(maps: &ExemplarMaps, at: usize, number: u64) -> Option<layout::Exemplar> {
    let from = maps.rings.at(at)?;
    // SAFETY: inside the mapping, aligned; volatile as the kernel writes at the same time.
    let number_now = || unsafe { (&raw const (*from).number).read_volatile() };
    if number_now() != number {
        return None;
    }
    fence(Ordering::Acquire);
    let copy = maps.rings.get(at)?;
    fence(Ordering::Acquire);
    (number_now() == number).then_some(copy)
}

/// What the programs read of the caller's memory.
fn text(raw: &layout::Exemplar) -> String {
    let address = arguments::of(raw.row).into_iter().flatten().position(|a| *a == Argument::Address);
    match address {
        Some(_) => socket_address(&raw.text).unwrap_or_default(),
        None => printable_bytes(raw.text.split(|b| *b == 0).next().unwrap_or_default()),
    }
}

/// A `struct sockaddr` of IPv4, IPv6 or a path.
fn socket_address(bytes: &[u8; layout::TEXT]) -> Option<String> {
    let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    match family {
        libc::AF_INET => {
            let host: [u8; 4] = bytes[4..8].try_into().ok()?;
            Some(format!("{}:{port}", Ipv4Addr::from(host)))
        }
        libc::AF_INET6 => {
            let host: [u8; 16] = bytes[8..24].try_into().ok()?;
            Some(format!("[{}]:{port}", Ipv6Addr::from(host)))
        }
        libc::AF_UNIX => {
            let path = bytes[2..].split(|b| *b == 0).next()?;
            (!path.is_empty()).then(|| printable_bytes(path))
        }
        _ => None,
    }
}

/// Asks what the first descriptors of the slowest are open on.
fn with_files(mut list: Vec<Exemplar>, peers: bool, eyes: &Eyes) -> Vec<Arc<Exemplar>> {
    list.sort_by_key(|e| (waits(e.nr), Reverse(e.latency_ns)));
    let (places, files) = asked_about(&list);
    let links = eyes.links(&files);
    let mut sockets = peers.then(SocketTables::default);
    for ((at, (pid, _)), link) in places.into_iter().zip(files).zip(links) {
        let file = link.map_or_else(String::new, |link| printable_bytes(&link[..link.len().min(LONGEST)]));
        let peer = sockets.as_mut().and_then(|sockets| sockets.named(pid, socket_inode(&file)?));
        list[at].file = peer.unwrap_or(file);
    }
    list.into_iter().map(Arc::new).collect()
}

/// Of which exemplars what descriptor of what process is asked about.
fn asked_about(list: &[Exemplar]) -> (Vec<usize>, Vec<(u32, u32)>) {
    let mut of_process: HashMap<(ProcessId, u32), usize> = HashMap::new();
    let with_descriptor = list.iter().enumerate().filter_map(|(at, e)| Some((at, e, descriptor(e)?)));
    let few = with_descriptor.filter(|(_, exemplar, _)| {
        let own = of_process.entry((exemplar.id, exemplar.nr)).or_default();
        *own += 1;
        *own <= SLOWEST_OF_PROCESS
    });
    few.take(ASKED).map(|(at, exemplar, fd)| (at, (exemplar.id.pid, fd.unsigned_abs()))).unzip()
}

/// The first descriptor that a call was given.
fn descriptor(exemplar: &Exemplar) -> Option<i32> {
    let at = arguments::of(exemplar.nr)?.iter().position(|a| *a == Argument::Fd)?;
    // The kernel takes the lower half of the register.
    #[expect(clippy::cast_possible_truncation, reason = "an int")]
    let fd = exemplar.args.get(at).map(|word| *word as i32)?;
    (fd >= 0).then_some(fd)
}

/// The inode in `socket:[4711]`.
fn socket_inode(file: &str) -> Option<u64> {
    file.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(bytes: &[u8]) -> Option<String> {
        let mut text = [0; layout::TEXT];
        text[..bytes.len()].copy_from_slice(bytes);
        socket_address(&text)
    }

    #[test]
    fn addresses_are_read_as_far_as_they_go() {
        assert_eq!(address(&[2, 0, 0x1f, 0x90, 127, 0, 0, 1]), Some("127.0.0.1:8080".into()));
        let six = [[10, 0, 0, 53, 0, 0, 0, 0].as_slice(), &[0; 15], &[1]].concat();
        assert_eq!(address(&six), Some("[::1]:53".into()));
        assert_eq!(address(b"\x01\0/run/a\x1b[2J.sock"), Some("/run/a�[2J.sock".into()));
        assert_eq!((address(&[1, 0]), address(&[]), address(&[255; 80])), (None, None, None));
    }
}
