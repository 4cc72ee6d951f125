//! Reads what the interfaces themselves counted, to hold the bytes of processes against.

use std::path::Path;

use procfs::net::dev_status;

use super::stats::{Carrier, Interface};

/// Cumulative wire bytes of all interfaces, by name; none where procfs does not tell.
pub fn read_interfaces() -> Vec<Interface> {
    let mut all: Vec<_> = dev_status()
        .unwrap_or_default()
        .into_iter()
        .map(|(name, device)| {
            let carrier = carrier(&name);
            Interface { name, carrier, tx_bytes: device.sent_bytes, rx_bytes: device.recv_bytes }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// An interface with a device of its own has a link to it.
fn carrier(name: &str) -> Carrier {
    match name {
        "lo" => Carrier::Loopback,
        _ if Path::new("/sys/class/net").join(name).join("device").exists() => Carrier::Device,
        _ => Carrier::Virtual,
    }
}
