//! The rows of the table of block devices: one for each direction in which a device ever did anything.
//!
//! Not here: their columns. Invariant: a row that was there once stays, so that nothing flickers.

use super::history::History;
use super::rows::{Digest, Row};
use super::selection::RowId;
use crate::probes::disk::stats::{Device, DeviceStats, Direction, Flow};

/// What a device does in one direction.
#[derive(Clone, Debug)]
pub struct DiskRow {
    /// Which device.
    pub device: Device,
    /// Its name.
    pub name: String,
    /// The direction; `None` for a device that makes no requests, in all directions.
    pub direction: Option<Direction>,
    /// Requests that ended; what goes through a device that makes none is counted by the kernel.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long they took.
    pub latency: Digest,
    /// The part of that in the queue, 0…1.
    pub queued: Option<f64>,
    /// Begun and not ended.
    pub in_flight: u64,
    /// Age of the oldest of those, ns; `None` when there is none.
    pub oldest_ns: Option<u64>,
}

impl DiskRow {
    /// What it does, in a word.
    pub const fn does(&self) -> &'static str {
        match self.direction {
            Some(direction) => direction.name(),
            None => "any",
        }
    }

    fn of(device: &DeviceStats, flow: &Flow) -> Self {
        Self {
            device: device.device,
            name: device.name.clone(),
            direction: Some(flow.direction),
            requests: flow.requests(),
            bytes: flow.bytes,
            latency: Digest::of(&flow.total),
            queued: flow.queue_share(),
            in_flight: flow.in_flight,
            oldest_ns: (flow.in_flight > 0).then_some(flow.oldest_ns),
        }
    }

    /// One that hands on what it gets.
    fn without_requests(device: &DeviceStats) -> Self {
        let counted = device.counted.unwrap_or_default();
        Self {
            device: device.device,
            name: device.name.clone(),
            direction: None,
            requests: counted.reads.saturating_add(counted.writes),
            bytes: counted.read_bytes.saturating_add(counted.write_bytes),
            latency: Digest::default(),
            queued: None,
            in_flight: 0,
            oldest_ns: None,
        }
    }
}

impl Row for DiskRow {
    fn id(&self) -> RowId {
        RowId::Disk(self.device, self.direction)
    }

    fn group(&self) -> u8 {
        u8::from(self.direction.is_none())
    }
}

/// The rows of the newest interval whose device or direction contains `text`. No filter applies to devices.
pub fn disks(history: &History, text: &str) -> Vec<DiskRow> {
    let Some(tick) = history.latest() else { return Vec::new() };
    let disk = &tick.snapshot.disk;
    let flows = disk.flows().map(|(device, flow)| DiskRow::of(device, flow));
    let others = disk.devices.iter().filter(|d| !d.makes_requests).map(DiskRow::without_requests);
    let text = text.to_lowercase();
    let has = |row: &DiskRow| row.name.to_lowercase().contains(&text) || row.does().contains(&text);
    flows.chain(others).filter(has).collect()
}
