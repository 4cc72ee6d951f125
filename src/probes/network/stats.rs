//! The arithmetic of network bytes. Payload as the process handed it to or got it from the socket, not wire bytes: no
//! headers, no retransmits, nothing the kernel sends by itself.

use serde::Serialize;

use crate::core::latency::times;

/// Cumulative or per-interval traffic of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Payload bytes sent.
    pub tx_bytes: u64,
    /// Payload bytes received.
    pub rx_bytes: u64,
    /// Sends that moved bytes.
    pub tx_calls: u64,
    /// Receives that moved bytes.
    pub rx_calls: u64,
}

impl Traffic {
    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self {
            tx_bytes: self.tx_bytes.saturating_sub(prev.tx_bytes),
            rx_bytes: self.rx_bytes.saturating_sub(prev.rx_bytes),
            tx_calls: self.tx_calls.saturating_sub(prev.tx_calls),
            rx_calls: self.rx_calls.saturating_sub(prev.rx_calls),
        }
    }

    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            tx_bytes: self.tx_bytes + other.tx_bytes,
            rx_bytes: self.rx_bytes + other.rx_bytes,
            tx_calls: self.tx_calls + other.tx_calls,
            rx_calls: self.rx_calls + other.rx_calls,
        }
    }

    /// What stands for `factor` times as much.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            tx_bytes: times(self.tx_bytes, factor),
            rx_bytes: times(self.rx_bytes, factor),
            tx_calls: times(self.tx_calls, factor),
            rx_calls: times(self.rx_calls, factor),
        }
    }

    /// Bytes in both directions.
    pub const fn bytes(self) -> u64 {
        self.tx_bytes + self.rx_bytes
    }
}

/// Wire bytes of a network interface, cumulative or per interval, as `/proc/net/dev` counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
}
