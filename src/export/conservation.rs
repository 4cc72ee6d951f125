//! Payload against wire: the row of a report that says how much of what interfaces carried no process accounts for.

use std::fmt::Write as _;

use serde::Serialize;

use super::report::NetworkRow;
use crate::core::quality::Quality;
use crate::core::units::{bytes, signed_bytes};
use crate::model::Snapshot;
use crate::probes::network::stats::Conservation;

/// Payload bytes of the scope, and how those of the host compare with what interfaces carried.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NetworkTotal {
    /// Of the scope.
    #[serde(flatten)]
    pub bytes: NetworkRow,
    /// Of the host.
    pub conservation: ConservationRow,
}

impl NetworkTotal {
    /// Of a scope that moved `bytes`.
    pub fn of(bytes: NetworkRow, snapshot: &Snapshot) -> Self {
        Self { bytes, conservation: ConservationRow::of(snapshot.conservation(), snapshot.qualities.network) }
    }
}

/// Payload against wire; see [`Conservation`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ConservationRow {
    /// What the unattributed bytes are worth: a difference of two things that are not the same is an estimate.
    pub quality: Quality,
    /// Payload sent by all measured processes.
    pub tx_payload: u64,
    /// Payload received by them.
    pub rx_payload: u64,
    /// Bytes that devices sent.
    pub tx_interfaces: u64,
    /// Bytes that devices received.
    pub rx_interfaces: u64,
    /// Bytes over loopback, each sent and received.
    pub loopback_bytes: u64,
    /// Sent by interfaces, but handed to a socket by no process; negative when payload still lay in buffers.
    pub tx_unattributed: i64,
    /// Received by interfaces, but got from a socket by no process.
    pub rx_unattributed: i64,
    /// What the unattributed bytes can be.
    pub unattributed: &'static str,
    /// Bytes that virtual interfaces sent, which count for nothing above: most are counted again where they leave the host.
    pub tx_virtual: u64,
    /// Bytes that they received.
    pub rx_virtual: u64,
    /// Why more payload than wire is no mistake, where virtual interfaces carried what others did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// What unattributed bytes can be.
const UNATTRIBUTED: &str = "headers, acknowledgements, what was sent again or lay in buffers, kernel sockets, splice, forwarding, other network namespaces";

/// Where payload that left by no device went.
const BY_VIRTUAL: &str = "payload went over virtual interfaces (veth, bridges, tunnels), to other network namespaces of this host or around in it: that is on no device's wire";

impl ConservationRow {
    fn of(conservation: Conservation, quality: Quality) -> Self {
        Self {
            quality: quality.worst(Quality::Estimate),
            tx_payload: conservation.payload.tx_bytes,
            rx_payload: conservation.payload.rx_bytes,
            tx_interfaces: conservation.tx_bytes,
            rx_interfaces: conservation.rx_bytes,
            loopback_bytes: conservation.loopback_bytes,
            tx_unattributed: conservation.tx_unattributed(),
            rx_unattributed: conservation.rx_unattributed(),
            unattributed: UNATTRIBUTED,
            tx_virtual: conservation.tx_virtual,
            rx_virtual: conservation.rx_virtual,
            reason: conservation.went_over_virtual().then_some(BY_VIRTUAL),
        }
    }

    /// A table for people; `mark` is that of the payload's quality.
    pub fn write(&self, out: &mut String, mark: &str) {
        let plain = |n: u64| bytes(n as f64);
        let _ = writeln!(
            out,
            "  {:<9} {:>11} {:>11} {:>11} {:>13}",
            "host", "payload", "devices", "loopback", "unattributed"
        );
        for (way, payload, devices, rest) in [
            ("sent", self.tx_payload, self.tx_interfaces, self.tx_unattributed),
            ("received", self.rx_payload, self.rx_interfaces, self.rx_unattributed),
        ] {
            let payload = format!("{mark}{}", plain(payload));
            let (devices, loopback) = (plain(devices), plain(self.loopback_bytes));
            let rest = format!("{}{}", self.quality.mark(), signed_bytes(rest));
            let _ = writeln!(out, "  {way:<9} {payload:>11} {devices:>11} {loopback:>11} {rest:>13}");
        }
        let _ = writeln!(out, "  unattributed: {}", self.unattributed);
        if let Some(reason) = self.reason {
            let (tx, rx) = (plain(self.tx_virtual), plain(self.rx_virtual));
            let _ = writeln!(out, "  negative: {reason} ({tx} sent, {rx} received)");
        }
    }
}
