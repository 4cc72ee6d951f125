//! Reads what the interfaces themselves counted, to hold the bytes of processes against.

use procfs::net::dev_status;

use super::stats::Interface;

/// Cumulative wire bytes of all interfaces, by name; none where procfs does not tell.
pub fn read_interfaces() -> Vec<Interface> {
    let mut all: Vec<_> = dev_status()
        .unwrap_or_default()
        .into_iter()
        .map(|(name, device)| Interface { name, tx_bytes: device.sent_bytes, rx_bytes: device.recv_bytes })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
