//! What is behind a socket, from the tables in `/proc/PID/net`.
//!
//! Pure. Not here: reading them. Anything may be in them: what makes no sense is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::core::units::printable;

/// The tables, with what each is of.
pub const TABLES: [(&str, &str); 5] =
    [("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"), ("unix", "unix")];

/// `TCP_LISTEN` of `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// What the table of `kind` says of the socket with this inode.
pub fn socket(table: &str, kind: &str, inode: u64) -> Option<String> {
    table.lines().skip(1).find_map(|line| if kind == "unix" { unix(line, inode) } else { inet(line, kind, inode) })
}

/// `  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0  12345 …`
fn inet(line: &str, kind: &str, inode: u64) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.get(9)?.parse() != Ok(inode) {
        return None;
    }
    let (local, peer) = (address(fields[1])?, address(fields[2])?);
    Some(match (fields[3], peer.port()) {
        (LISTEN, _) => format!("{kind} {local} listening"),
        (_, 0) => format!("{kind} {local}"),
        _ => format!("{kind} {local} → {peer}"),
    })
}

/// `0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/x.sock`
fn unix(line: &str, inode: u64) -> Option<String> {
    let mut fields = line.split_whitespace().skip(6);
    if fields.next()?.parse() != Ok(inode) {
        return None;
    }
    let path: Vec<&str> = fields.collect();
    Some(if path.is_empty() { "unix".into() } else { format!("unix {}", printable(&path.join(" "))) })
}

/// An address as procfs writes it: words in the order of this machine's bytes, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(words.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match words.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(at)?);
            }
            let v6 = Ipv6Addr::from(bytes);
            v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_socket_is_named_by_its_ends() {
        let line = |state, inode| {
            let peer = "0200007F:1F90";
            format!("sl\n  0: 0100007F:0016 {peer} {state} 0:0 00:0 0 0 0 {inode} 1")
        };
        assert_eq!(socket(&line("01", 77), "tcp", 77).as_deref(), Some("tcp 127.0.0.1:22 → 127.0.0.2:8080"));
        assert_eq!(socket(&line("0A", 77), "tcp", 77).as_deref(), Some("tcp 127.0.0.1:22 listening"));
        assert_eq!(socket(&line("01", 78), "tcp", 77), None);
        let unix = "Num\n0000: 00000002 00000000 00010000 0001 01 5 /run/a b\n";
        assert_eq!(socket(unix, "unix", 5).as_deref(), Some("unix /run/a b"));
    }

    #[test]
    fn addresses_of_the_newer_kind_may_hold_one_of_the_older() {
        let mapped = address("0000000000000000FFFF00000100007F:0050").unwrap();
        assert_eq!(mapped.to_string(), "127.0.0.1:80");
        assert_eq!(address("00000000000000000000000001000000:0050").unwrap().to_string(), "[::1]:80");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", inode in any::<u64>()) {
            let table = format!("head\n{text}\n");
            for (_, kind) in TABLES {
                let _ = socket(&table, kind, inode);
            }
            let _ = address(&text);
        }
    }
}
