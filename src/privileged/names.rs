//! Names of users and of hosts, asked for by a process that may talk to whoever knows them.
//!
//! The C library loads modules for that and connects to servers, as the host is configured: nothing that the process that draws
//! may do. This one has no capabilities. A question is a number or an address, an answer a name.
//!
//! Invariant: a name of a user never waits for one of a host, which may take seconds.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;

use super::process::{self, Started};
use super::wire;

/// The longest name (`NI_MAXHOST`).
const LONGEST: usize = 1025;

/// Asks for names.
#[derive(Clone, Debug)]
pub struct Book(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// This process asks the C library.
    Here,
    /// Another one does.
    There { users: Mutex<OwnedFd>, hosts: Mutex<OwnedFd> },
}

impl Default for Book {
    fn default() -> Self {
        Self(Arc::new(Source::Here))
    }
}

impl Book {
    /// Starts a process that asks; `restrict` gives up what it does not need.
    pub fn start(restrict: impl FnOnce() -> io::Result<()>) -> io::Result<(Self, u32)> {
        let Started { pid, sockets: [users, hosts] } = process::start(c"kscope-names", |[users, hosts]| {
            if restrict().is_err() {
                return;
            }
            let slow = move || answer_all(&hosts, host_of);
            if thread::Builder::new().name("hosts".into()).spawn(slow).is_ok() {
                answer_all(&users, user_of);
            }
        })?;
        Ok((Self(Arc::new(Source::There { users: Mutex::new(users), hosts: Mutex::new(hosts) })), pid))
    }

    /// The name of a user, as bytes from outside; `None` if there is none.
    pub fn user(&self, uid: u32) -> Option<Vec<u8>> {
        match &*self.0 {
            Source::Here => user(uid),
            Source::There { users, .. } => asked(users, &uid.to_le_bytes()),
        }
    }

    /// The name of a host, as bytes from outside; `None` if there is none. It may take seconds.
    pub fn host(&self, address: IpAddr) -> Option<Vec<u8>> {
        match &*self.0 {
            Source::Here => host(address),
            Source::There { hosts, .. } => {
                let mapped = match address {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                asked(hosts, &mapped.octets())
            }
        }
    }
}

fn asked(socket: &Mutex<OwnedFd>, question: &[u8]) -> Option<Vec<u8>> {
    wire::ask(socket, question).filter(|name| !name.is_empty())
}

/// Answers with a name or an empty one, until nobody asks any more. Questions have exactly `N` bytes.
fn answer_all<const N: usize>(socket: &OwnedFd, name: impl Fn([u8; N]) -> Option<Vec<u8>>) {
    let text = |question: &[u8]| Some(name(question.try_into().ok()?).unwrap_or_default());
    wire::answer_all(socket, &mut [0; 32], text);
}

fn user_of(question: [u8; 4]) -> Option<Vec<u8>> {
    user(u32::from_le_bytes(question))
}

fn host_of(question: [u8; 16]) -> Option<Vec<u8>> {
    let address = Ipv6Addr::from(question);
    host(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

fn user(uid: u32) -> Option<Vec<u8>> {
    uzers::get_user_by_uid(uid).map(|user| user.name().as_encoded_bytes().to_vec())
}

/// Asks the C library, which asks whom the host is configured to ask. `None` where there is no name.
fn host(address: IpAddr) -> Option<Vec<u8>> {
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
    Some(CStr::from_bytes_until_nul(&name).ok()?.to_bytes().to_vec())
}
