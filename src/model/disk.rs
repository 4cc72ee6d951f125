//! Block I/O as it was read: cumulative rows by device and direction, what is in flight, what the kernel itself counts.

use std::collections::HashMap;
use std::sync::Arc;

use kscope_layout::disk::{DeviceRow, phase};
use kscope_layout::max_of;

use crate::core::histogram::Histogram;
use crate::core::latency::LatencyStats;
use crate::probes::disk::stats::{Counted, Device, DeviceStats, Direction, DiskStats, Flow};

/// One reading.
#[derive(Clone, Debug, Default)]
pub struct DiskSample {
    /// Devices that did anything, by number.
    pub devices: Vec<DeviceSample>,
    /// Requests whose end was not seen.
    pub in_flight: HashMap<(Device, Direction), InFlightRequests>,
}

/// One device.
#[derive(Clone, Debug, Default)]
pub struct DeviceSample {
    /// Which one.
    pub device: Device,
    /// Its name.
    pub name: Arc<str>,
    /// What it gets becomes requests.
    pub makes_requests: bool,
    /// What it did, by direction; those that it ever did. Shared while it does nothing.
    pub rows: Vec<(Direction, Arc<DeviceRow>)>,
    /// What the kernel itself counted.
    pub counted: Option<Counted>,
}

/// Requests of one device in one direction whose end was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlightRequests {
    /// How many are in flight.
    pub count: u64,
    /// When the oldest began, `CLOCK_MONOTONIC`.
    pub since_ns: u64,
    /// Others that have ended: the kernel has none in flight any more. They leave this number when their row counts them.
    pub ended: u64,
    /// Bytes of those.
    pub ended_bytes: u64,
}

impl DiskSample {
    /// What devices did from `prev` to this reading, taken at `at_ns`, whose closed epoch is `epoch`.
    pub fn since(&self, prev: &Self, at_ns: u64, epoch: u32) -> DiskStats {
        let device = |now: &DeviceSample| {
            let was = prev.devices.binary_search_by_key(&now.device, |d| d.device).ok().map(|at| &prev.devices[at]);
            let flow = |(direction, row): &(Direction, Arc<DeviceRow>)| {
                let before = was.and_then(|w| w.rows.iter().find(|(d, _)| d == direction)).map(|(_, row)| row);
                let of = |sample: &Self| sample.in_flight.get(&(now.device, *direction)).copied().unwrap_or_default();
                let (under_way, then) = (of(self), of(prev));
                let mut flow = flow_between(*direction, before, row, epoch);
                flow.in_flight = under_way.count;
                flow.oldest_ns = if flow.in_flight == 0 { 0 } else { at_ns.saturating_sub(under_way.since_ns) };
                flow.unseen = flow.unseen.saturating_add(under_way.ended).saturating_sub(then.ended);
                flow.bytes = flow.bytes.saturating_add(under_way.ended_bytes).saturating_sub(then.ended_bytes);
                flow
            };
            DeviceStats {
                device: now.device,
                name: now.name.to_string(),
                makes_requests: now.makes_requests,
                flows: now.rows.iter().map(flow).collect(),
                // One that has just appeared begins at 0.
                counted: now.counted.map(|c| c.since(was.and_then(|w| w.counted).unwrap_or_default())),
            }
        };
        DiskStats { devices: self.devices.iter().map(device).collect() }
    }
}

fn flow_between(direction: Direction, was: Option<&Arc<DeviceRow>>, now: &Arc<DeviceRow>, epoch: u32) -> Flow {
    if was.is_some_and(|was| Arc::ptr_eq(was, now)) {
        return Flow::none(direction);
    }
    let of = |phase: usize| {
        let (row, before) = (&now.phases[phase], was.map(|w| &w.phases[phase]));
        let histogram = Histogram::between(before.map(|b| &b.buckets[..]), &row.buckets);
        let max_ns = max_of(row.sums.max[(epoch & 1) as usize], epoch);
        LatencyStats::between(before.map(|b| &b.sums), &row.sums, histogram, max_ns)
    };
    Flow {
        bytes: now.bytes.wrapping_sub(was.map_or(0, |w| w.bytes)),
        unseen: now.unseen.wrapping_sub(was.map_or(0, |w| w.unseen)),
        total: of(phase::TOTAL),
        queue: of(phase::QUEUE),
        device: of(phase::DEVICE),
        ..Flow::none(direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;
    use kscope_layout::pack_max;

    fn row(count: u32, ns: u64, epoch: u32) -> Arc<DeviceRow> {
        let mut row = DeviceRow::zeroed();
        row.bytes = u64::from(count) * 512;
        for (at, part) in [4, 1, 3].into_iter().enumerate() {
            let phase = &mut row.phases[at];
            phase.buckets[40] = count;
            phase.sums.total_ns = u64::from(count) * ns * part / 4;
            phase.sums.max[(epoch & 1) as usize] = pack_max(epoch, ns * part / 4);
        }
        Arc::new(row)
    }

    fn sample(rows: Vec<(Direction, Arc<DeviceRow>)>, reads: u64) -> DiskSample {
        let counted = Some(Counted { reads, ..Counted::default() });
        let device = DeviceSample {
            device: Device { major: 8, minor: 0 },
            name: "sda".into(),
            makes_requests: true,
            rows,
            counted,
        };
        DiskSample { devices: vec![device], in_flight: HashMap::new() }
    }

    #[test]
    fn rows_are_subtracted_and_a_new_one_counts_from_zero() {
        let prev = sample(vec![(Direction::Read, row(3, 4_000, 1))], 7);
        let mut next = sample(vec![(Direction::Read, row(8, 4_000, 2)), (Direction::Write, row(2, 8_000, 2))], 12);
        let key = (Device { major: 8, minor: 0 }, Direction::Write);
        next.in_flight.insert(key, InFlightRequests { count: 3, since_ns: 900, ended: 2, ended_bytes: 70 });
        let stats = next.since(&prev, 1_000, 2);
        let [read, write] = &stats.devices[0].flows[..] else { panic!("two directions") };
        assert_eq!((read.total.count(), read.bytes, read.total.max_ns, read.in_flight), (5, 2_560, 4_000, 0));
        assert_eq!(read.queue.total_ns + read.device.total_ns, read.total.total_ns);
        assert_eq!((write.total.count(), write.in_flight, write.oldest_ns), (2, 3, 100));
        assert_eq!((write.unseen, write.requests(), write.bytes), (2, 4, 1_024 + 70));
        assert_eq!(stats.devices[0].counted.map(|c| c.reads), Some(5));
    }

    #[test]
    fn a_row_that_stands_still_is_nothing() {
        let first = sample(vec![(Direction::Read, row(3, 4_000, 1))], 3);
        let stats = first.clone().since(&first, 9, 2);
        assert!(stats.devices[0].flows[0].is_idle());
    }
}
