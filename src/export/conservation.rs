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
}

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
        let _ = writeln!(
            out,
            "  unattributed: headers, acknowledgements, what was sent again or lay in buffers, kernel sockets, splice, forwarding, other\n  \
             network namespaces"
        );
    }
}
