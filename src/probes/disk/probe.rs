//! Reads what requests of block devices did, and who asked for them.
//!
//! Names, and what the kernel itself counts, come from `/proc/diskstats`, which also has the devices that make no requests, and
//! tells when a request has ended whose end was not seen (`ebpf/src/disk.rs`).
//!
//! Invariant: the account of a process stays until it has been gone for two samples and none of its requests is in flight.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::Zeroable as _;
use kscope_layout::RecordKey;
use kscope_layout::disk::{Asked, DeviceRow, NO_SLOT, Started, direction, phase};

use super::stats::{Counted, Device, Direction, DiskTraffic};
use crate::core::ident::ProcessId;
use crate::core::units::printable;
use crate::kernel::loader::DiskMaps;
use crate::kernel::maps::SharedArray;
use crate::model::{DeviceSample, DiskSample};

/// Reads the maps of block I/O, and knows what they held when they were read last.
#[derive(Debug, Default)]
pub struct DiskReader {
    /// Slots in use, with the devices they are for.
    devices: HashMap<u32, Device>,
    /// Rows as of the last reading.
    rows: HashMap<(Device, Direction), Arc<DeviceRow>>,
    /// Of each line of `/proc/diskstats` seen, what it is about if it is a whole disk.
    disks: HashMap<Device, Option<Disk>>,
    /// Requests that have ended and were not seen to, by address, with their beginnings.
    ended: HashMap<u64, u64>,
    /// Flushes that were not seen to end at the last reading, the same.
    flushes: HashMap<u64, u64>,
    /// Accounts whose process was not there in the last sample.
    ownerless: HashSet<RecordKey>,
}

/// A whole disk, as the kernel shows it.
#[derive(Clone, Debug)]
struct Disk {
    name: Arc<str>,
    makes_requests: bool,
}

impl Disk {
    /// Does the kernel count its requests in flight? It does not where it was told to count nothing of it.
    fn knows_what_is_in_flight(&self) -> bool {
        let path = sysfs(&self.name).join("queue/iostats");
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    }
}

/// Where the kernel shows a disk: there, the slashes of its name are exclamation marks.
fn sysfs(name: &str) -> PathBuf {
    Path::new("/sys/block").join(name.replace('/', "!"))
}

/// A line of `/proc/diskstats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    counted: Counted,
    in_flight: u64,
}

/// What devices did, by direction.
type Rows = HashMap<Device, Vec<(Direction, Arc<DeviceRow>)>>;

/// Counters as they were read.
#[derive(Debug)]
pub struct Counts {
    processes: HashMap<ProcessId, DiskTraffic>,
    rows: Rows,
    requests: Vec<(u64, Started)>,
    /// `/proc/diskstats`.
    text: String,
}

/// What was read at once.
#[derive(Debug, Default)]
pub struct DiskReading {
    /// Of devices.
    pub devices: DiskSample,
    /// By process, cumulative.
    pub processes: HashMap<ProcessId, DiskTraffic>,
    /// Entries in use: requests in flight, and devices.
    pub used: (usize, usize),
    /// Owners of requests in flight.
    busy: HashSet<RecordKey>,
}

impl DiskReader {
    /// Everything, as it is now; what has begun after `at_ns` is in the next reading. What has been counted is read before what
    /// is in flight: a request that passes from one to the other meanwhile is in the next reading, and in none twice.
    pub fn read(&mut self, maps: &mut DiskMaps, at_ns: u64) -> io::Result<DiskReading> {
        let counts = self.count(maps)?;
        self.complete(counts, maps, at_ns)
    }

    /// Reads the counters, and no more.
    pub fn count(&mut self, maps: &mut DiskMaps) -> io::Result<Counts> {
        let mut processes = HashMap::new();
        maps.devices.for_each(|device, slot| {
            self.devices.insert(*slot, Device::of(device));
        })?;
        maps.processes.for_each(|key, asked| {
            processes.insert(owner(key), traffic(asked));
        })?;
        let rows = self.read_rows(&maps.rows);
        let mut requests = Vec::new();
        maps.requests.for_each(|address, started| requests.push((address, *started)))?;
        let text = read_diskstats();
        Ok(Counts { processes, rows, requests, text })
    }

    /// Makes a reading of what [`Self::count`] has read.
    pub fn complete(&mut self, counts: Counts, maps: &mut DiskMaps, at_ns: u64) -> io::Result<DiskReading> {
        let Counts { processes, mut rows, requests, text } = counts;
        let mut reading = DiskReading { processes, ..DiskReading::default() };
        let mut lines: HashMap<Device, Line> = text.lines().filter_map(|line| self.line(line)).collect();
        self.find_ended(&requests, &lines, maps)?;
        for (address, started) in &requests {
            self.sort_in(*address, started, at_ns, &mut reading);
        }
        reading.used = (requests.len(), self.devices.len());
        let mut devices: Vec<Device> = self.devices.values().copied().collect();
        // Of which no request was seen.
        devices.extend(lines.iter().filter(|(_, line)| !line.counted.is_nothing()).map(|(device, _)| *device));
        devices.sort_unstable();
        devices.dedup();
        for device in devices {
            let mut rows = rows.remove(&device).unwrap_or_default();
            rows.retain(|(d, row)| is_used(row) || reading.devices.in_flight.contains_key(&(device, *d)));
            let counted = lines.remove(&device).map(|line| line.counted);
            reading.devices.devices.push(self.device(device, rows, counted));
        }
        Ok(reading)
    }

    /// What the kernel itself counts of whole disks in `/proc/diskstats`, cumulative: how many requests ended, not how long they took.
    pub fn read_counted(&mut self, text: &str) -> DiskSample {
        let lines: Vec<(Device, Line)> = text.lines().filter_map(|line| self.line(line)).collect();
        let mut lines: Vec<(Device, Line)> = lines.into_iter().filter(|(_, l)| !l.counted.is_nothing()).collect();
        lines.sort_unstable_by_key(|(device, _)| *device);
        let device = |(device, line): &(Device, Line)| {
            let counted = line.counted;
            let known = self.disks.get(device).and_then(Option::as_ref).is_some_and(|disk| disk.makes_requests);
            let row = |bytes, unseen| Arc::new(DeviceRow { bytes, unseen, ..DeviceRow::zeroed() });
            let reads = (Direction::Read, row(counted.read_bytes, counted.reads));
            let writes = (Direction::Write, row(counted.write_bytes, counted.writes));
            self.device(*device, if known { vec![reads, writes] } else { Vec::new() }, Some(counted))
        };
        DiskSample { devices: lines.iter().map(device).collect(), in_flight: HashMap::new() }
    }

    /// Counts a request whose end was not seen: in flight, or ended all the same.
    fn sort_in(&self, address: u64, started: &Started, at_ns: u64, reading: &mut DiskReading) {
        let device = self.devices.get(&started.slot).filter(|_| started.slot != NO_SLOT);
        let (Some(device), Some(direction)) = (device, Direction::ALL.get(started.direction as usize)) else { return };
        let entry = reading.devices.in_flight.entry((*device, *direction)).or_default();
        let bytes = u64::from(started.bytes);
        if self.ended.get(&address) == Some(&started.start_ns) {
            entry.ended += 1;
            entry.ended_bytes = entry.ended_bytes.saturating_add(bytes);
            let account = reading.processes.entry(owner(started.process)).or_default();
            *account = account.plus(DiskTraffic::one(*direction, bytes));
        } else {
            reading.busy.insert(started.process);
            if started.start_ns > at_ns {
                return;
            }
            entry.since_ns = if entry.count == 0 { started.start_ns } else { entry.since_ns.min(started.start_ns) };
            entry.count += 1;
        }
    }

    /// Finds out which requests have ended though nobody saw it: the kernel has since had none in flight on their device. It may
    /// leave out those that no driver has got yet. A flush gets to it as another request, so two readings must agree on it.
    fn find_ended(
        &mut self,
        requests: &[(u64, Started)],
        lines: &HashMap<Device, Line>,
        maps: &mut DiskMaps,
    ) -> io::Result<()> {
        let is_resting = |slot: u32| {
            let device = self.devices.get(&slot);
            let rests = device.and_then(|device| lines.get(device)).is_some_and(|line| line.in_flight == 0);
            rests && device.and_then(|d| self.disks.get(d)?.as_ref()).is_some_and(Disk::knows_what_is_in_flight)
        };
        let flushes = requests.iter().filter(|(_, s)| s.direction == direction::FLUSH && s.issue_ns == 0);
        let flushes: HashMap<u64, u64> = flushes.map(|(address, s)| (*address, s.start_ns)).collect();
        let had_time = |(address, started): &&(u64, Started)| {
            started.issue_ns != 0 || self.flushes.get(address) == flushes.get(address) && flushes.contains_key(address)
        };
        let known = |(address, started): &&(u64, Started)| self.ended.get(address) == Some(&started.start_ns);
        let mut ended: HashMap<u64, u64> = requests.iter().filter(known).map(|(a, s)| (*a, s.start_ns)).collect();
        let over: HashMap<u64, u64> = requests
            .iter()
            .filter(had_time)
            .filter(|(_, s)| is_resting(s.slot))
            .map(|(a, s)| (*a, s.start_ns))
            .collect();
        if over.keys().any(|address| !ended.contains_key(address)) {
            // Who was seen is gone from the map by now.
            maps.requests.for_each(|address, started| {
                if over.get(&address) == Some(&started.start_ns) {
                    ended.insert(address, started.start_ns);
                }
            })?;
        }
        (self.ended, self.flushes) = (ended, flushes);
        Ok(())
    }

    fn read_rows(&mut self, rows: &SharedArray<DeviceRow>) -> Rows {
        let devices: Vec<(u32, Device)> = self.devices.iter().map(|(slot, device)| (*slot, *device)).collect();
        let of = |(slot, device): (u32, Device)| {
            let all = (0_usize..).zip(Direction::ALL);
            let row = |(at, direction)| {
                let index = slot as usize * direction::COUNT as usize + at;
                Some((direction, self.row(rows, index, (device, direction))?))
            };
            (device, all.filter_map(row).collect())
        };
        devices.into_iter().map(of).collect()
    }

    fn device(&self, device: Device, rows: Vec<(Direction, Arc<DeviceRow>)>, counted: Option<Counted>) -> DeviceSample {
        let disk = self.disks.get(&device).and_then(Option::as_ref);
        let name = disk.map_or_else(|| device.to_string().into(), |d| Arc::clone(&d.name));
        // The kernel shows no number of a hidden disk (a path of several to an NVMe namespace), which has requests.
        DeviceSample { device, name, makes_requests: disk.is_none_or(|d| d.makes_requests), rows, counted }
    }

    /// A row, the same as before if nothing was counted since.
    fn row(&mut self, rows: &SharedArray<DeviceRow>, index: usize, key: (Device, Direction)) -> Option<Arc<DeviceRow>> {
        let at = rows.at(index)?;
        // SAFETY: inside the mapping, aligned; volatile as the kernel writes at the same time. The total is added to last.
        let counted = unsafe {
            let total = (&raw const (*at).phases[phase::TOTAL].sums.total_ns).read_volatile();
            (total, (&raw const (*at).unseen).read_volatile())
        };
        if let Some(known) = self.rows.get(&key).filter(|row| counts(row) == counted) {
            return Some(Arc::clone(known));
        }
        let row = Arc::new(rows.get(index)?);
        self.rows.insert(key, Arc::clone(&row));
        Some(row)
    }

    /// A line of `/proc/diskstats`, if it is about a whole disk.
    fn line(&mut self, line: &str) -> Option<(Device, Line)> {
        let (device, name, line) = parse(line)?;
        let disk = self.disks.entry(device).or_insert_with(|| whole_disk(name));
        // A number can be used again, by a device of another name.
        if disk.as_ref().is_some_and(|known| *known.name != *printable(name)) {
            *disk = whole_disk(name);
        }
        disk.as_ref().map(|_| (device, line))
    }

    /// Removes the accounts of processes that are gone: whoever is not among `living`, in two samples in a row, and waits for
    /// nothing.
    pub fn forget_the_gone(
        &mut self,
        reading: &DiskReading,
        maps: &DiskMaps,
        living: impl Fn(ProcessId) -> bool,
    ) -> io::Result<()> {
        let mut ownerless = HashSet::new();
        for id in reading.processes.keys().filter(|id| !living(**id)) {
            let key = RecordKey::of(id.pid, id.birth, 0);
            if self.ownerless.contains(&key) && !reading.busy.contains(&key) {
                maps.processes.remove(&key)?;
            } else {
                ownerless.insert(key);
            }
        }
        self.ownerless = ownerless;
        Ok(())
    }
}

/// What the kernel itself counts; empty where procfs does not tell.
pub fn read_diskstats() -> String {
    // With room at once, or it takes several reads.
    let mut text = String::with_capacity(16 << 10);
    let _ = std::fs::File::open("/proc/diskstats").and_then(|mut file| file.read_to_string(&mut text));
    text
}

fn owner(key: RecordKey) -> ProcessId {
    ProcessId { pid: key.tgid(), birth: key.birth() }
}

fn traffic(asked: &Asked) -> DiskTraffic {
    let at = |direction: u32| direction as usize;
    DiskTraffic {
        read_bytes: asked.bytes[at(direction::READ)],
        write_bytes: asked.bytes[at(direction::WRITE)],
        reads: asked.requests[at(direction::READ)],
        writes: asked.requests[at(direction::WRITE)],
        others: asked.requests[at(direction::FLUSH)].saturating_add(asked.requests[at(direction::OTHER)]),
        total_ns: asked.total_ns.iter().fold(0, |sum, ns| ns.saturating_add(sum)),
        hidden: 0,
    }
}

/// What grows with every request that a row counts.
const fn counts(row: &DeviceRow) -> (u64, u64) {
    (row.phases[phase::TOTAL].sums.total_ns, row.unseen)
}

fn is_used(row: &DeviceRow) -> bool {
    counts(row) != (0, 0)
}

/// A disk by its name; `None` for a partition.
fn whole_disk(name: &str) -> Option<Disk> {
    // Partitions are below their disks.
    let path = sysfs(name);
    let is_disk = name != ".." && name != "." && path.exists();
    // Whoever makes requests has queues for them.
    is_disk.then(|| Disk { name: printable(name).into(), makes_requests: path.join("mq").exists() })
}

/// Bytes of the unit in `/proc/diskstats`, whatever the device's own sectors are.
const SECTOR: u64 = 512;

/// Device, name and numbers of a line of `/proc/diskstats` (Documentation/admin-guide/iostats.rst).
pub(crate) fn parse(line: &str) -> Option<(Device, &str, Line)> {
    let mut fields = line.split_ascii_whitespace();
    let device = Device { major: fields.next()?.parse().ok()?, minor: fields.next()?.parse().ok()? };
    let name = fields.next()?;
    let numbers: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    let [reads, _, read_sectors, _, writes, _, write_sectors, _, in_flight, ..] = numbers[..] else { return None };
    let (read_bytes, write_bytes) = (read_sectors.saturating_mul(SECTOR), write_sectors.saturating_mul(SECTOR));
    Some((device, name, Line { counted: Counted { reads, read_bytes, writes, write_bytes }, in_flight }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_of_diskstats_is_read_with_and_without_newer_fields() {
        let line = " 254       0 vda 100 7 800 9 50 3 400 8 0 982 2350 1 2 3 4 5 6";
        let counted = Counted { reads: 100, read_bytes: 409_600, writes: 50, write_bytes: 204_800 };
        assert_eq!(parse(line), Some((Device { major: 254, minor: 0 }, "vda", Line { counted, in_flight: 0 })));
        let line = parse("   8 0 sda 100 7 800 9 50 3 400 8 6 1 2").map(|(_, _, line)| line);
        assert_eq!(line, Some(Line { counted, in_flight: 6 }));
        assert_eq!(parse("   8 1 sda1 1 2 3 4"), None);
    }

    proptest! {
        #[test]
        fn no_line_breaks_it(line in ".{0,80}") {
            let _ = parse(&line);
            let _ = whole_disk(&line);
        }
    }
}
