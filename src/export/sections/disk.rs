//! Block devices in a report: latencies by device and direction, divided into queue and device.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::latency::LatencyRow;
use crate::core::latency::LatencyStats;
use crate::core::quality::Quality;
use crate::core::units::{byte_rate, bytes, count, duration, percent, printable, rate};
use crate::model::Snapshot;
use crate::probes::disk::stats::{Counted, DeviceStats, Direction, Flow};

/// Block devices; always those of the whole host.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Those that did anything, by number.
    pub devices: Vec<DeviceRow>,
    #[serde(skip)]
    quality: Quality,
    #[serde(skip)]
    seconds: f64,
}

/// One device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceRow {
    /// Its number, `major:minor`.
    pub device: String,
    /// Its name.
    pub name: String,
    /// It hands on what it gets without making requests of it (dm, md, zram, ram disks), so it has no latencies.
    pub makes_requests: bool,
    /// What it did, by direction.
    pub directions: Vec<FlowRow>,
    /// What `/proc/diskstats` counted; `null` where it does not count.
    pub diskstats: Option<Counted>,
}

/// What a device did in one direction.
#[derive(Clone, Debug, Serialize)]
pub struct FlowRow {
    /// The direction.
    pub direction: Direction,
    /// Bytes of the requests that ended.
    pub bytes: u64,
    /// Requests that ended, `count` of them with a latency.
    pub requests: u64,
    /// Requests of which is known only that they ended, not when.
    pub unseen: u64,
    /// Requests that failed.
    pub errors: u64,
    /// From beginning to end.
    #[serde(flatten)]
    pub total: LatencyRow,
    /// Until the driver got them; `null` where it got none (flushes without data).
    pub queue: Option<LatencyRow>,
    /// From then on.
    pub device: Option<LatencyRow>,
    /// Begun and not ended at the end of the interval; `null` where no program in the kernel sees requests begin.
    pub in_flight: Option<u64>,
    /// How long ago the oldest of them began.
    pub oldest_ns: Option<u64>,
}

/// The devices of a snapshot; `None` where nothing measures them.
pub fn section(snapshot: &Snapshot) -> Option<Section> {
    let quality = snapshot.qualities.disk;
    (quality != Quality::NotAvailable).then(|| Section {
        devices: snapshot
            .disk
            .devices
            .iter()
            .filter_map(|device| device_row(device, !snapshot.basis.is_procfs()))
            .collect(),
        quality,
        seconds: snapshot.seconds(),
    })
}

fn device_row(device: &DeviceStats, seen: bool) -> Option<DeviceRow> {
    let directions: Vec<FlowRow> =
        device.flows.iter().filter(|flow| !flow.is_idle()).map(|flow| flow_row(flow, seen)).collect();
    let row = DeviceRow {
        device: device.device.to_string(),
        name: device.name.clone(),
        makes_requests: device.makes_requests,
        directions,
        diskstats: device.counted,
    };
    let is_idle = row.directions.is_empty() && device.counted.is_none_or(Counted::is_nothing);
    (!is_idle).then_some(row)
}

fn flow_row(flow: &Flow, seen: bool) -> FlowRow {
    let phase = |latency: &LatencyStats| (latency.count() > 0).then(|| LatencyRow::of(latency));
    FlowRow {
        direction: flow.direction,
        bytes: flow.bytes,
        requests: flow.requests(),
        unseen: flow.unseen,
        errors: flow.total.errors,
        total: LatencyRow::of(&flow.total),
        queue: phase(&flow.queue),
        device: phase(&flow.device),
        in_flight: seen.then_some(flow.in_flight),
        oldest_ns: seen.then_some(flow.oldest_ns),
    }
}

/// The table for people.
pub fn write(section: Option<&Section>, out: &mut String) {
    let Some(section) = section else {
        let _ = writeln!(out, "\nDisk  – not measured");
        return;
    };
    let flows = || section.devices.iter().flat_map(|d| d.directions.iter().map(move |f| (d, f)));
    let (done, moved) =
        flows().fold((0, 0), |sum, (_, f)| (f.requests.saturating_add(sum.0), f.bytes.saturating_add(sum.1)));
    let mark = section.quality.mark();
    let _ = writeln!(out, "\nDisk  {mark}{} requests, {} (all processes)", count(done), bytes(moved as f64));
    if done > 0 {
        let _ = writeln!(
            out,
            "  {:<14} {:<8} {:>9} {:>12} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9}",
            "DEVICE", "does", "requests", "bytes", "p50", "p90", "p99", "max", "queued", "in flight"
        );
    }
    for (device, flow) in flows() {
        write_flow(device, flow, section.seconds, out);
    }
    for device in section.devices.iter().filter(|d| !d.makes_requests) {
        let moved = device.diskstats.map_or(0, |c| c.read_bytes.saturating_add(c.write_bytes));
        let _ = writeln!(
            out,
            "  {:<14} makes no requests of the {} it moved",
            printable(&device.name),
            bytes(moved as f64)
        );
    }
}

fn write_flow(device: &DeviceRow, flow: &FlowRow, seconds: f64, out: &mut String) {
    let cell = |value: Option<u64>| value.map_or_else(|| "–".into(), duration);
    let queued = flow.queue.as_ref().zip(flow.device.as_ref()).map(|(q, d)| {
        let all = q.total_ns.saturating_add(d.total_ns).max(1);
        percent(q.total_ns as f64 / all as f64)
    });
    let _ = writeln!(
        out,
        "  {:<14} {:<8} {:>9} {:>12} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9}",
        printable(&device.name),
        flow.direction.name(),
        rate(flow.requests as f64 / seconds),
        byte_rate(flow.bytes as f64 / seconds),
        cell(flow.total.p50_ns),
        cell(flow.total.p90_ns),
        cell(flow.total.p99_ns),
        cell(flow.total.max_ns.filter(|_| flow.total.count > 0)),
        queued.unwrap_or_else(|| "–".into()),
        flow.in_flight.map_or_else(|| "–".into(), |n| n.to_string())
    );
}
