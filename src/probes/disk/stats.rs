//! The arithmetic of block I/O. A request begins when it is made of what a process submitted, waits in its queue, is handed to
//! the driver, and ends when all of its bytes are done. It is counted when it ends.
//!
//! Invariant: of requests that a driver got, queue time and device time sum to the total.

use std::fmt;

use serde::Serialize;

use crate::core::latency::LatencyStats;
use crate::core::quality::Quality;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Reads.
    Read,
    /// Writes, zone appends included.
    Write,
    /// Flushes of the device's cache that carry no data.
    Flush,
    /// Discards, zeroing without data, zone management.
    Other,
}

impl Direction {
    /// All of them, in the order of `kscope_layout::disk::direction`.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Flush, Self::Other];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Other => "other",
        }
    }
}

/// Number of a block device: a whole disk, or what stands for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Kind of driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Device {
    const MINOR_BITS: u32 = 20;

    /// From the kernel's own form of it.
    pub const fn of(packed: u32) -> Self {
        Self { major: packed >> Self::MINOR_BITS, minor: packed & ((1 << Self::MINOR_BITS) - 1) }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What devices did in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Those that did anything since kscope was started, by number.
    pub devices: Vec<DeviceStats>,
}

/// One device in one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Which one.
    pub device: Device,
    /// Its name, or its number where the kernel tells no name.
    pub name: String,
    /// What it gets becomes requests. Those for which that is not so (dm, md, zram, ram disks) hand it on as it is, to other
    /// devices or to memory: nobody can say how long it took.
    pub makes_requests: bool,
    /// What it did, by direction; those that it ever did.
    pub flows: Vec<Flow>,
    /// What the kernel itself counted (`/proc/diskstats`), where it does.
    pub counted: Option<Counted>,
}

/// What a device did in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The direction.
    pub direction: Direction,
    /// Bytes of the requests that ended.
    pub bytes: u64,
    /// Requests of which is known only that they ended, not when: they are in no latency.
    pub unseen: u64,
    /// How long they took in all. Its errors are requests that failed.
    pub total: LatencyStats,
    /// How long they waited before the driver got them.
    pub queue: LatencyStats,
    /// How long the driver and the device took.
    pub device: LatencyStats,
    /// Requests that have begun and not ended, at the end of the interval.
    pub in_flight: u64,
    /// How long ago the oldest of them began, ns; 0 when there is none.
    pub oldest_ns: u64,
}

impl Flow {
    /// Nothing happened.
    pub const fn none(direction: Direction) -> Self {
        Self {
            direction,
            bytes: 0,
            unseen: 0,
            total: LatencyStats::empty(),
            queue: LatencyStats::empty(),
            device: LatencyStats::empty(),
            in_flight: 0,
            oldest_ns: 0,
        }
    }

    /// Requests that ended.
    pub fn requests(&self) -> u64 {
        self.total.count().saturating_add(self.unseen)
    }

    /// The part of the time that requests waited before the driver got them, 0…1; `None` when none was handed to it.
    pub fn queue_share(&self) -> Option<f64> {
        let all = self.queue.total_ns.saturating_add(self.device.total_ns);
        (all > 0).then(|| self.queue.total_ns as f64 / all as f64)
    }

    /// Nothing ended and nothing is under way.
    pub const fn is_idle(&self) -> bool {
        self.total.is_empty() && self.unseen == 0 && self.in_flight == 0
    }

    /// Adds the interval that followed.
    fn append(&mut self, later: &Self) {
        self.bytes = self.bytes.saturating_add(later.bytes);
        self.unseen = self.unseen.saturating_add(later.unseen);
        self.total.merge(&later.total);
        self.queue.merge(&later.queue);
        self.device.merge(&later.device);
        (self.in_flight, self.oldest_ns) = (later.in_flight, later.oldest_ns);
    }
}

/// Operations and bytes as `/proc/diskstats` counts them, cumulative or per interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Reads that completed.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes that completed; the kernel counts flushes without data among them.
    pub writes: u64,
    /// Bytes written.
    pub write_bytes: u64,
}

impl Counted {
    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self {
            reads: self.reads.saturating_sub(prev.reads),
            read_bytes: self.read_bytes.saturating_sub(prev.read_bytes),
            writes: self.writes.saturating_sub(prev.writes),
            write_bytes: self.write_bytes.saturating_sub(prev.write_bytes),
        }
    }

    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            reads: self.reads.saturating_add(other.reads),
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            writes: self.writes.saturating_add(other.writes),
            write_bytes: self.write_bytes.saturating_add(other.write_bytes),
        }
    }

    /// Did anything move?
    pub const fn is_nothing(self) -> bool {
        self.reads == 0 && self.writes == 0
    }
}

impl DeviceStats {
    /// The flow in one direction, if there ever was any.
    pub fn flow(&self, direction: Direction) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.direction == direction)
    }

    fn append(&mut self, later: &Self) {
        for flow in &later.flows {
            match self.flows.binary_search_by_key(&flow.direction, |f| f.direction) {
                Ok(at) => self.flows[at].append(flow),
                Err(at) => self.flows.insert(at, flow.clone()),
            }
        }
        self.counted = match (self.counted, later.counted) {
            (Some(mine), Some(theirs)) => Some(mine.plus(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }
}

impl DiskStats {
    /// Adds the interval that followed.
    pub fn append(&mut self, later: &Self) {
        for device in &later.devices {
            match self.devices.binary_search_by_key(&device.device, |d| d.device) {
                Ok(at) => self.devices[at].append(device),
                Err(at) => self.devices.insert(at, device.clone()),
            }
        }
    }

    /// All flows with their devices.
    pub fn flows(&self) -> impl Iterator<Item = (&DeviceStats, &Flow)> {
        self.devices.iter().flat_map(|device| device.flows.iter().map(move |flow| (device, flow)))
    }

    /// Requests of all devices and directions, or of the chosen ones.
    pub fn latency(&self, chosen: impl Fn(Device, Direction) -> bool) -> LatencyStats {
        LatencyStats::sum(self.flows().filter(|(d, f)| chosen(d.device, f.direction)).map(|(_, f)| &f.total))
    }
}

/// What a process had devices do, cumulative or per interval. It is whose call made the kernel submit a request: what is
/// written through the page cache is submitted by a kernel thread later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskTraffic {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads that ended.
    pub reads: u64,
    /// Writes that ended.
    pub writes: u64,
    /// Flushes without data, and discards.
    pub others: u64,
    /// How long all of them took, each from its beginning to its end, ns.
    pub total_ns: u64,
    /// Of so many processes nobody may read what they did.
    pub hidden: u32,
}

impl DiskTraffic {
    /// One request that took nobody knows how long.
    pub fn one(direction: Direction, bytes: u64) -> Self {
        match direction {
            Direction::Read => Self { reads: 1, read_bytes: bytes, ..Self::default() },
            Direction::Write => Self { writes: 1, write_bytes: bytes, ..Self::default() },
            Direction::Flush | Direction::Other => Self { others: 1, ..Self::default() },
        }
    }

    /// What was added since `prev`.
    #[must_use]
    pub const fn since(self, prev: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_sub(prev.read_bytes),
            write_bytes: self.write_bytes.saturating_sub(prev.write_bytes),
            reads: self.reads.saturating_sub(prev.reads),
            writes: self.writes.saturating_sub(prev.writes),
            others: self.others.saturating_sub(prev.others),
            total_ns: self.total_ns.saturating_sub(prev.total_ns),
            hidden: self.hidden,
        }
    }

    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            write_bytes: self.write_bytes.saturating_add(other.write_bytes),
            reads: self.reads.saturating_add(other.reads),
            writes: self.writes.saturating_add(other.writes),
            others: self.others.saturating_add(other.others),
            total_ns: self.total_ns.saturating_add(other.total_ns),
            hidden: self.hidden.saturating_add(other.hidden),
        }
    }

    /// What its bytes are worth, where those of readable processes are worth `quality`.
    pub fn worth(self, quality: Quality) -> Quality {
        match self.hidden {
            0 => quality,
            _ if self.bytes() == 0 => Quality::NotAvailable,
            _ => quality.worst(Quality::LowerBound),
        }
    }

    /// Bytes in both directions.
    pub const fn bytes(self) -> u64 {
        self.read_bytes.saturating_add(self.write_bytes)
    }

    /// Did it have no device do anything, as far as that is known?
    pub const fn is_nothing(self) -> bool {
        self.requests() == 0 && self.bytes() == 0
    }

    /// Requests of any kind.
    pub const fn requests(self) -> u64 {
        self.reads.saturating_add(self.writes).saturating_add(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::histogram::Histogram;

    fn flow(direction: Direction, count: u64, in_flight: u64) -> Flow {
        let mut flow = Flow { bytes: 4096 * count, in_flight, oldest_ns: in_flight * 9, ..Flow::none(direction) };
        flow.total.histogram = Histogram::rising([(9, count)].into_iter());
        (flow.total.total_ns, flow.queue.total_ns, flow.device.total_ns) = (100 * count, 25 * count, 75 * count);
        flow
    }

    fn device(minor: u32, flows: Vec<Flow>, reads: u64) -> DeviceStats {
        let counted = Some(Counted { reads, ..Counted::default() });
        DeviceStats {
            device: Device { major: 8, minor },
            name: format!("sd{minor}"),
            makes_requests: true,
            flows,
            counted,
        }
    }

    #[test]
    fn intervals_add_up_by_device_and_direction_and_what_is_in_flight_is_the_last() {
        let mut first = DiskStats { devices: vec![device(1, vec![flow(Direction::Write, 2, 7)], 0)] };
        let flows = vec![flow(Direction::Read, 1, 0), flow(Direction::Write, 3, 4)];
        first.append(&DiskStats { devices: vec![device(0, Vec::new(), 5), device(1, flows, 1)] });
        assert_eq!(first.devices.iter().map(|d| d.device.minor).collect::<Vec<_>>(), [0, 1]);
        let write = first.devices[1].flow(Direction::Write).unwrap();
        assert_eq!((write.total.count(), write.bytes, write.in_flight, write.oldest_ns), (5, 5 * 4096, 4, 36));
        assert_eq!(write.queue_share(), Some(0.25));
        assert_eq!(first.latency(|_, direction| direction == Direction::Read).count(), 1);
        assert_eq!(first.latency(|_, _| true).count(), 6);
    }

    #[test]
    fn numbers_of_devices_are_those_of_the_kernel() {
        assert_eq!(Device::of(254 << 20 | 16).to_string(), "254:16");
    }

    #[test]
    fn without_a_request_at_the_driver_there_is_no_share() {
        let mut flush = Flow::none(Direction::Flush);
        flush.total.total_ns = 9;
        assert_eq!(flush.queue_share(), None);
    }
}
