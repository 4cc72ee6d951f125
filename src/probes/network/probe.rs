//! Reads what the interfaces themselves counted, to hold the bytes of processes against.
//!
//! Invariant: one interface with a strange name hides no other, and no name can steer a terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::stats::{Carrier, Interface};
use crate::core::units::printable_bytes;

/// Cumulative wire bytes of all interfaces, by name; none where procfs does not tell.
pub fn read_interfaces() -> Vec<Interface> {
    named_interfaces(&count_interfaces())
}

/// What procfs says of them, as it is now.
pub fn count_interfaces() -> Vec<u8> {
    // With room at once: the kernel counts anew at each read.
    let mut bytes = Vec::with_capacity(ROOM);
    // Where it cannot be read there are none.
    let _ = File::open("/proc/net/dev").and_then(|mut file| file.read_to_end(&mut bytes));
    bytes
}

/// A line is some 130 bytes.
const ROOM: usize = 16 << 10;

/// The interfaces in what was read, by name, with what carries each.
pub fn named_interfaces(bytes: &[u8]) -> Vec<Interface> {
    let mut all: Vec<_> = interfaces(bytes, carrier).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The interfaces in the bytes of `/proc/net/dev`; `carrier` says what one of this name is.
pub(crate) fn interfaces(bytes: &[u8], carrier: impl Fn(&[u8]) -> Carrier) -> impl Iterator<Item = Interface> {
    bytes.split(|&b| b == b'\n').filter_map(move |line| {
        // The kernel allows any byte in a name but blanks, slashes and colons. The two lines of titles have no colon.
        let colon = line.iter().position(|&b| b == b':')?;
        let name = line.get(..colon)?.trim_ascii();
        let numbers = std::str::from_utf8(line.get(colon + 1..)?).ok()?;
        let mut numbers = numbers.split_ascii_whitespace().map_while(|field| field.parse::<u64>().ok());
        // Eight of what was received, then those of what was sent.
        let (rx_bytes, tx_bytes) = (numbers.next()?, numbers.nth(7)?);
        Some(Interface { name: printable_bytes(name), carrier: carrier(name), tx_bytes, rx_bytes })
    })
}

/// An interface with a device of its own has a link to it.
fn carrier(name: &[u8]) -> Carrier {
    match name {
        b"lo" => Carrier::Loopback,
        b"." | b".." => Carrier::Virtual,
        _ if name.contains(&b'/') => Carrier::Virtual,
        _ if Path::new("/sys/class/net").join(OsStr::from_bytes(name)).join("device").exists() => Carrier::Device,
        _ => Carrier::Virtual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: &str = "Inter-|   Receive                                                |  Transmit\n \
                          face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n";

    #[test]
    fn bytes_of_interfaces_are_read() {
        let text = format!(
            "{TITLES}    lo: 1170 15 0 0 0 0 0 0 1171 15 0 0 0 0 0 0\neth0:90 1 0 0 0 0 0 0 80 1 0 0 0 0 0 0\n"
        );
        let all: Vec<_> = interfaces(text.as_bytes(), carrier).map(|i| (i.name, i.rx_bytes, i.tx_bytes)).collect();
        assert_eq!(all, [("lo".into(), 1170, 1171), ("eth0".into(), 90, 80)]);
    }

    #[test]
    fn a_strange_name_hides_no_other_and_steers_nothing() {
        let line = b" \xff\x1b[2J: 1 0 0 0 0 0 0 0 2 0\n  cut: 5 0\n  ok: 3 0 0 0 0 0 0 0 4 0\n";
        let all: Vec<_> = interfaces(line, |_| Carrier::Virtual).map(|i| (i.name, i.tx_bytes)).collect();
        assert_eq!(all, [("\u{fffd}\u{fffd}[2J".into(), 2), ("ok".into(), 4)]);
    }
}
