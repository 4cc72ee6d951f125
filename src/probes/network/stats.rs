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
            tx_bytes: self.tx_bytes.saturating_add(other.tx_bytes),
            rx_bytes: self.rx_bytes.saturating_add(other.rx_bytes),
            tx_calls: self.tx_calls.saturating_add(other.tx_calls),
            rx_calls: self.rx_calls.saturating_add(other.rx_calls),
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
        self.tx_bytes.saturating_add(self.rx_bytes)
    }
}

/// What carries the packets of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// A device: what it carries leaves the host, or comes from outside.
    #[default]
    Device,
    /// The host itself: every packet is sent and received.
    Loopback,
    /// Another interface, or another network namespace: bridges, tunnels, pairs. Many of its packets are counted there again.
    Virtual,
}

/// Wire bytes of a network interface, cumulative or per interval, as `/proc/net/dev` counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What carries its packets.
    pub carrier: Carrier,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
}

/// Payload of processes, held against what the interfaces carried in the same time.
///
/// The difference has many causes, none of which is measured: headers and acknowledgements, packets sent again, sockets of the kernel,
/// receiving by `splice` or without copying, forwarding, other network namespaces, and what lay in buffers at either end.
/// So it can be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conservation {
    /// Payload of all measured processes.
    pub payload: Traffic,
    /// Bytes that devices sent; of all interfaces but loopback, where no interface has a device (in a container).
    pub tx_bytes: u64,
    /// Bytes that they received.
    pub rx_bytes: u64,
    /// Bytes over loopback: sent as well as received.
    pub loopback_bytes: u64,
    /// Bytes that virtual interfaces sent, where they are not taken for devices.
    pub tx_virtual: u64,
    /// Bytes that they received.
    pub rx_virtual: u64,
}

impl Conservation {
    /// Of one interval.
    pub fn of(payload: Traffic, interfaces: &[Interface]) -> Self {
        let carried_by = |carrier| interfaces.iter().filter(move |i| i.carrier == carrier);
        let bare = carried_by(Carrier::Device).next().is_none();
        let outside = if bare { Carrier::Virtual } else { Carrier::Device };
        let beside = |bytes: fn(&Interface) -> u64| {
            if bare { 0 } else { carried_by(Carrier::Virtual).map(bytes).fold(0, u64::saturating_add) }
        };
        Self {
            tx_virtual: beside(|i| i.tx_bytes),
            rx_virtual: beside(|i| i.rx_bytes),
            payload,
            tx_bytes: carried_by(outside).map(|i| i.tx_bytes).fold(0, u64::saturating_add),
            rx_bytes: carried_by(outside).map(|i| i.rx_bytes).fold(0, u64::saturating_add),
            loopback_bytes: carried_by(Carrier::Loopback).map(|i| i.tx_bytes).fold(0, u64::saturating_add),
        }
    }

    /// What interfaces sent and no process handed to a socket.
    pub fn tx_unattributed(self) -> i64 {
        difference(self.tx_bytes.saturating_add(self.loopback_bytes), self.payload.tx_bytes)
    }

    /// Did virtual interfaces carry payload that no device did?
    pub fn went_over_virtual(self) -> bool {
        let over = |rest: i64, bytes: u64| rest < 0 && bytes > 0;
        let carried = self.tx_virtual.saturating_add(self.rx_virtual);
        over(self.tx_unattributed(), carried) || over(self.rx_unattributed(), carried)
    }

    /// What interfaces received and no process got from a socket.
    pub fn rx_unattributed(self) -> i64 {
        difference(self.rx_bytes.saturating_add(self.loopback_bytes), self.payload.rx_bytes)
    }
}

fn difference(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, carrier: Carrier, tx_bytes: u64, rx_bytes: u64) -> Interface {
        Interface { name: name.into(), carrier, tx_bytes, rx_bytes }
    }

    #[test]
    fn each_packet_is_held_against_payload_once() {
        let payload = Traffic { tx_bytes: 1_000, rx_bytes: 900, ..Traffic::default() };
        let interfaces = [
            interface("eth0", Carrier::Device, 700, 500),
            interface("docker0", Carrier::Virtual, 300, 300),
            interface("lo", Carrier::Loopback, 350, 350),
        ];
        let sum = Conservation::of(payload, &interfaces);
        assert_eq!((sum.tx_unattributed(), sum.rx_unattributed()), (50, -50));
        assert!((sum.tx_virtual, sum.rx_virtual) == (300, 300) && sum.went_over_virtual());
        assert!(!Conservation::of(payload, &interfaces[..1]).went_over_virtual());
        // In a container no interface has a device.
        let inside = [interface("eth0", Carrier::Virtual, 700, 500), interface("lo", Carrier::Loopback, 0, 0)];
        let inside = Conservation::of(payload, &inside);
        assert_eq!((inside.tx_bytes, inside.tx_virtual, inside.went_over_virtual()), (700, 0, false));
    }
}
