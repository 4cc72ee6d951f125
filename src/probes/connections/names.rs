//! Names of peers, asked for by a thread of its own and only while somebody wants them: a reverse look-up tells a name server
//! who looks at whom, and may take seconds.
//!
//! Invariant: nobody waits for a name, and nothing grows without a bound. Until a name is there, and where there is none, the
//! address is shown.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::core::units::printable_bytes;
use crate::privileged::names::Book;

/// Addresses that may wait to be asked for; others are asked for with a later sample.
const QUEUE: usize = 64;
/// Addresses whose names are kept.
const MOST: usize = 4_096;

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
    pub fn start(book: Book) -> io::Result<Self> {
        let (wanted, addresses) = sync_channel::<IpAddr>(QUEUE);
        let (answers, found) = sync_channel(QUEUE);
        thread::Builder::new().name("names".into()).spawn(move || {
            for address in addresses {
                let name = book.host(address).map(|name| printable_bytes(&name).into());
                if answers.send((address, name)).is_err() {
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
        let mut names = Names::start(Book::default()).unwrap();
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
