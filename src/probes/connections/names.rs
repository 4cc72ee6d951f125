//! Names of peers, asked for by a thread of its own and only while somebody wants them: a reverse look-up tells a name server
//! who looks at whom, and may take seconds.
//!
//! Invariant: nobody waits for a name, and nothing grows without a bound. Until a name is there, and where there is none, the
//! address is shown.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::core::units::printable_bytes;

/// Addresses that may wait to be asked for; others are asked for with a later sample.
const QUEUE: usize = 64;
/// Addresses whose names are kept.
const MOST: usize = 4_096;
/// The longest name (`NI_MAXHOST`).
const LONGEST: usize = 1025;

/// What was asked, and what came back.
#[derive(Debug)]
pub struct Names {
    wanted: SyncSender<IpAddr>,
    found: Receiver<(IpAddr, Option<Arc<str>>)>,
    /// `None` while an answer is awaited, and where there is no name.
    known: HashMap<IpAddr, Option<Arc<str>>>,
}

impl Names {
    /// Starts the thread, which ends when this is dropped.
    pub fn start() -> io::Result<Self> {
        let (wanted, addresses) = sync_channel::<IpAddr>(QUEUE);
        let (answers, found) = sync_channel(QUEUE);
        thread::Builder::new().name("names".into()).spawn(move || {
            for address in addresses {
                if answers.send((address, look_up(address))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { wanted, found, known: HashMap::new() })
    }

    /// Takes in what has been found since.
    pub fn refresh(&mut self) {
        while let Ok((address, name)) = self.found.try_recv() {
            self.known.insert(address, name);
        }
    }

    /// The name of an address, if it is known; if it never was asked for, it is now.
    pub fn of(&mut self, address: IpAddr) -> Option<Arc<str>> {
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        if self.known.len() < MOST && self.wanted.try_send(address).is_ok() {
            self.known.insert(address, None);
        }
        None
    }
}

/// Asks the C library, which asks whom the host is configured to ask. `None` where there is no name.
fn look_up(address: IpAddr) -> Option<Arc<str>> {
    let mut name = [0_u8; LONGEST];
    let room = libc::socklen_t::try_from(LONGEST).ok()?;
    let mut ask = |socket: *const libc::sockaddr, length: usize| {
        let length = libc::socklen_t::try_from(length).unwrap_or(0);
        // SAFETY: the callers' address is alive and as long as they say; the name is written into a buffer of the stated size.
        unsafe {
            let to = name.as_mut_ptr().cast();
            libc::getnameinfo(socket, length, to, room, std::ptr::null_mut(), 0, libc::NI_NAMEREQD)
        }
    };
    let result = match address {
        IpAddr::V4(ip) => {
            // SAFETY: zeros are a valid address.
            let mut socket: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            socket.sin_family = libc::sa_family_t::try_from(libc::AF_INET).ok()?;
            socket.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
            ask((&raw const socket).cast(), size_of_val(&socket))
        }
        IpAddr::V6(ip) => {
            // SAFETY: as above.
            let mut socket: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            socket.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).ok()?;
            socket.sin6_addr.s6_addr = ip.octets();
            ask((&raw const socket).cast(), size_of_val(&socket))
        }
    };
    if result != 0 {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    Some(printable_bytes(name.to_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_there_some_time_after_it_was_asked_for() {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let line = hosts.lines().find_map(|line| line.strip_prefix("127.0.0.1"));
        let Some(known) = line.and_then(|names| names.split_whitespace().next()) else {
            return eprintln!("skipped: this host does not know itself by a name");
        };
        let address = IpAddr::from([127, 0, 0, 1]);
        let mut names = Names::start().unwrap();
        assert_eq!(names.of(address), None);
        let (found, name) = names.found.recv().unwrap();
        names.known.insert(found, name);
        assert_eq!(names.of(address).as_deref(), Some(known));
    }

    #[test]
    fn nothing_waits_for_a_full_queue() {
        // Nobody takes what is wanted.
        let (wanted, _addresses) = sync_channel(2);
        let (_answers, found) = sync_channel(2);
        let mut names = Names { wanted, found, known: HashMap::new() };
        for last in 0..9 {
            assert_eq!(names.of(IpAddr::from([192, 0, 2, last])), None);
        }
        names.refresh();
        assert_eq!(names.known.len(), 2, "the others are asked for later");
    }
}
