//! What the history keeps of block devices: the latencies of each that did anything, by direction, as bytes.
//!
//! Not here: queue and device apart, bytes, and what is in flight, of which only the newest interval is asked.

use super::packed::PackedCalls;
use crate::core::latency::LatencyStats;
use crate::probes::disk::stats::{Device, Direction, DiskStats};
use crate::probes::syscalls::stats::CallStats;

/// Latencies of one interval.
#[derive(Clone, Debug, Default)]
pub struct PackedDisk {
    keys: Box<[(Device, Direction)]>,
    /// By place in `keys`.
    latencies: PackedCalls,
}

impl PackedDisk {
    /// Packs what devices did.
    pub fn of(disk: &DiskStats) -> Self {
        let busy = || disk.flows().filter(|(_, flow)| !flow.total.is_empty());
        let latencies = busy().zip(0..).map(|((_, flow), nr)| CallStats { nr, latency: flow.total.clone() });
        Self {
            keys: busy().map(|(device, flow)| (device.device, flow.direction)).collect(),
            latencies: PackedCalls::of(&latencies.collect::<Vec<_>>()),
        }
    }

    /// The bytes that it keeps alive.
    pub fn weight(&self) -> usize {
        size_of_val(&*self.keys) + self.latencies.weight()
    }

    /// The latencies of what is chosen.
    pub fn latency(&self, chosen: impl Fn(Device, Direction) -> bool) -> LatencyStats {
        let is_chosen = |nr: u32| self.keys.get(nr as usize).is_some_and(|key| chosen(key.0, key.1));
        let mut sum = LatencyStats::empty();
        self.latencies.iter().filter(|call| is_chosen(call.nr)).for_each(|call| sum.merge(&call.latency()));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::histogram::Histogram;
    use crate::probes::disk::stats::{DeviceStats, Flow};

    #[test]
    fn what_is_chosen_comes_out_as_it_went_in() {
        let flow = |direction, n: u64| {
            let mut flow = Flow::none(direction);
            flow.total.histogram = Histogram::rising([(40, n)].into_iter().filter(|(_, n)| *n > 0));
            flow.total.total_ns = 1_000 * n;
            flow
        };
        let device = |minor, flows| DeviceStats { device: Device { major: 8, minor }, flows, ..DeviceStats::default() };
        let flows = vec![flow(Direction::Read, 3), flow(Direction::Write, 0), flow(Direction::Flush, 1)];
        let disk = DiskStats { devices: vec![device(0, flows), device(16, vec![flow(Direction::Read, 7)])] };
        let packed = PackedDisk::of(&disk);
        assert_eq!(packed.latency(|_, _| true), disk.latency(|_, _| true));
        assert_eq!(packed.latency(|_, _| true).count(), 11);
        let one = |device: Device, direction| device.minor == 16 && direction == Direction::Read;
        assert_eq!(packed.latency(one), disk.latency(one));
        assert_eq!(packed.latency(|_, direction| direction == Direction::Write).count(), 0);
    }
}
