//! What is behind a socket, from the tables in `/proc/PID/net`.
//!
//! Pure. Not here: reading them. Anything may be in them: what makes no sense is left out. Addresses are read by the crate
//! `procfs`; paths of Unix sockets, which any process chooses, are not: the crate ends one at its first blank.

use std::net::SocketAddr;

use procfs::net::{TcpNetEntries, TcpState, UdpNetEntries};

use crate::core::units::{printable, printable_bytes};
use crate::kernel::rows::{lines, row_below_head};

/// The tables, with what each is of.
pub const TABLES: [(&str, &str); 5] =
    [("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"), ("unix", "unix")];

/// What the table of `kind` says of the socket with this inode. Only its row is parsed: tables have a hundred thousand.
pub fn socket(table: &[u8], kind: &str, inode: u64) -> Option<String> {
    let at = if kind == "unix" { 6 } else { 9 };
    let number = inode.to_string();
    let fits = |line: &&[u8]| fields(line).nth(at) == Some(number.as_bytes());
    let row = lines(table).skip(1).find(fits)?;
    match kind {
        "unix" => Some(unix(row)),
        "tcp" => {
            let tcp = row_below_head::<TcpNetEntries>(row)?.0.pop()?;
            Some(inet(kind, tcp.local_address, tcp.remote_address, tcp.state == TcpState::Listen))
        }
        _ => {
            let udp = row_below_head::<UdpNetEntries>(row)?.0.pop()?;
            Some(inet(kind, udp.local_address, udp.remote_address, false))
        }
    }
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

fn inet(kind: &str, local: SocketAddr, peer: SocketAddr, listens: bool) -> String {
    // A socket of IPv6 may have addresses of IPv4.
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (local, peer) = (plain(local), plain(peer));
    match peer.port() {
        _ if listens => format!("{kind} {local} listening"),
        0 => format!("{kind} {local}"),
        _ => format!("{kind} {local} → {peer}"),
    }
}

/// `0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/x.sock`
fn unix(line: &[u8]) -> String {
    let path: Vec<String> = fields(line).skip(7).map(printable_bytes).collect();
    if path.is_empty() { "unix".into() } else { format!("unix {}", printable(&path.join(" "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_socket_is_named_by_its_ends() {
        let line = |state, inode| {
            let peer = "0200007F:1F90";
            format!("sl\n  0: 0100007F:0016 {peer} {state} 0:0 00:0 0 0 0 {inode} 1").into_bytes()
        };
        assert_eq!(socket(&line("07", 77), "udp", 77).as_deref(), Some("udp 127.0.0.1:22 → 127.0.0.2:8080"));
        assert_eq!(socket(&line("01", 77), "tcp", 77).as_deref(), Some("tcp 127.0.0.1:22 → 127.0.0.2:8080"));
        assert_eq!(socket(&line("0A", 77), "tcp", 77).as_deref(), Some("tcp 127.0.0.1:22 listening"));
        assert_eq!(socket(&line("01", 78), "tcp", 77), None);
        let unix = b"Num\n0000: 00000002 00000000 00010000 0001 01 5 /run/a b\n";
        assert_eq!(socket(unix, "unix", 5).as_deref(), Some("unix /run/a b"));
    }

    #[test]
    fn addresses_of_the_newer_kind_may_hold_one_of_the_older() {
        let of = |local: &str| {
            let table = format!("sl\n 0: {local} 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 5 1");
            socket(table.as_bytes(), "tcp", 5)
        };
        let mapped = of("0000000000000000FFFF00000100007F:0050");
        assert_eq!(mapped.as_deref(), Some("tcp 127.0.0.1:80 listening"));
        let newer = of("00000000000000000000000001000000:0050");
        assert_eq!(newer.as_deref(), Some("tcp [::1]:80 listening"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", inode in any::<u64>()) {
            let table = format!("head\n{text}\n0: {text} {text} 0A 0:0 00:0 0 0 0 {inode} {text}\n");
            for (_, kind) in TABLES {
                let _ = socket(table.as_bytes(), kind, inode);
            }
        }
    }
}
