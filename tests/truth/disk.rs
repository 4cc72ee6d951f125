//! Block I/O against fio, against a process that counts its own, and against the kernel's `/proc/diskstats`.
//!
//! All of it is done on loop devices that nobody else uses, over files in memory: the numbers of a device are then those of
//! one program, to the byte.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::kscope::{Report, TempDir, assert_close, number, report, run};
use crate::workload::{arg, in_child};
use crate::{Case, btf, privileges, trial};

const CASES: &[Case] = &[
    ("disk::reads_and_writes_of_fio_one_by_one", || {
        exact(&["--ioengine=psync", "--rw=randrw", "--bs=4k", "--io_size=24M"]);
    }),
    ("disk::reads_and_writes_of_fio_many_at_once", || {
        exact(&["--ioengine=libaio", "--iodepth=16", "--rw=randrw", "--bsrange=4k-64k", "--io_size=256M"]);
    }),
    ("disk::a_process_has_its_requests_and_no_others", a_process),
    ("disk::a_flush_is_no_write", a_flush),
];

/// Those that need a device which can be slowed down.
const SLOW_CASES: &[Case] =
    &[("disk::latencies_are_those_of_fio", latencies), ("disk::what_hangs_is_in_flight", what_hangs)];

pub fn trials() -> Vec<Trial> {
    let plain = CASES.iter().map(|case| trial(*case, &[privileges, btf, missing]));
    plain.chain(SLOW_CASES.iter().map(|case| trial(*case, &[privileges, btf, missing, no_brake]))).collect()
}

/// Size of the devices, bytes.
const SIZE: u64 = 64 << 20;

/// Why there is no device to try it on, if so.
fn missing() -> Option<String> {
    if !Path::new("/dev/loop-control").exists() {
        return Some("needs loop devices".into());
    }
    let absent = ["fio", "losetup"].into_iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    absent.map(|tool| format!("needs {tool}"))
}

/// Where the root of the first version of control groups slows devices down.
const BRAKE: &str = "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device";

/// Why no device can be slowed down, if so.
fn no_brake() -> Option<String> {
    (!Path::new(BRAKE).exists()).then(|| format!("needs {BRAKE}, to slow a device down"))
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    match (name, args) {
        ("requests", [device, _, _]) => Some(requests(device, arg(args, 1), arg(args, 2))),
        ("flushes", [device, _]) => Some(flushes(device, arg(args, 1))),
        _ => None,
    }
}

/// A loop device of its own, detached when dropped.
struct Loop {
    path: String,
    /// The file behind it, removed when dropped.
    file: Option<PathBuf>,
}

impl Loop {
    /// Over a file in memory.
    fn new() -> Self {
        let dir = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let file = dir.join(format!("kscope-truth-disk-{}", std::process::id()));
        // What was never written would be read without a request in some file systems.
        let mut out = File::create(&file).unwrap();
        (0..SIZE >> 20).for_each(|_| out.write_all(&vec![7; 1 << 20]).unwrap());
        let mut device = Self::over(file.to_str().unwrap());
        device.file = Some(file);
        device
    }

    fn over(path: &str) -> Self {
        let output = Command::new("losetup").args(["--find", "--show", path]).output().unwrap();
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Self { path: String::from_utf8(output.stdout).unwrap().trim().to_owned(), file: None }
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    /// Its row in a report.
    fn row<'a>(&self, report: &'a Report) -> &'a Value {
        let devices = report.json["disk"]["devices"].as_array().expect("an array of devices");
        devices.iter().find(|d| d["name"] == self.name()).unwrap_or_else(|| panic!("no {} in {devices:?}", self.name()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // A leftover is no reason to fail.
        let _ = Command::new("losetup").args(["--detach", &self.path]).status();
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// What a device did in one direction: requests and bytes.
fn moved(device: &Value, direction: &str) -> (u64, u64) {
    flow(device, direction).map_or((0, 0), |row| (number(&row["requests"]), number(&row["bytes"])))
}

fn flow<'a>(device: &'a Value, direction: &str) -> Option<&'a Value> {
    let rows = device["directions"].as_array().expect("an array of directions");
    rows.iter().find(|row| row["direction"] == direction)
}

/// The device, the kernel's own counters and the writes of the process say what fio says.
fn exact(arguments: &[&str]) {
    let device = Loop::new();
    let (report, fio) = report_on_fio(&device, arguments);
    let row = device.row(&report);
    let of = |direction: &str| (number(&fio[direction]["total_ios"]), number(&fio[direction]["io_bytes"]));
    // Neighbours that wait together are merged into one request; none of a single one.
    let counted = &row["diskstats"];
    for (direction, requests, bytes) in [("read", "reads", "read_bytes"), ("write", "writes", "write_bytes")] {
        let (shown, known) = (moved(row, direction), of(direction));
        assert!(known.0 > 500, "fio did too little: {known:?}");
        assert_eq!(shown, (number(&counted[requests]), number(&counted[bytes])), "{direction}: diskstats");
        assert_eq!(shown.1, known.1, "{direction}: bytes of fio");
        if arguments.contains(&"--ioengine=psync") {
            assert_eq!(shown.0, known.0, "{direction}: requests of fio");
            // fio sees the way into the kernel and back as well, never less.
            let (ours, its) = (&flow(row, direction).unwrap()["p50_ns"], &fio[direction]["clat_ns"]["percentile"]);
            assert!(number(ours) as f64 <= 1.05 * number(&its["50.000000"]) as f64, "{direction}: p50 {ours}, {its}");
        }
        sums(row, direction);
    }
    let process = &report.process(number(&report.json["command"]["pid"])).0["disk"];
    assert_eq!(number(&process["write_bytes"]), of("write").1, "written by the process");
    assert_eq!(number(&process["writes"]), moved(row, "write").0);
    // It may have to read its own program as well.
    assert!(number(&process["read_bytes"]) >= of("read").1, "read by the process: {process}");
}

/// Queue and device sum to the total; what has a latency and what has not, to the requests.
fn sums(device: &Value, direction: &str) {
    let row = flow(device, direction).unwrap();
    let total = |of: &Value| number(&of["total_ns"]);
    assert_eq!(total(&row["queue"]) + total(&row["device"]), total(row), "{row}");
    assert_eq!(number(&row["count"]) + number(&row["unseen"]), number(&row["requests"]), "{row}");
    assert_eq!(number(&row["in_flight"]), 0, "{row}");
}

/// A report around fio on a device, with what fio says of its one job.
fn report_on_fio(device: &Loop, arguments: &[&str]) -> (Report, Value) {
    let dir = TempDir::new();
    let said = dir.join("fio.json");
    let (name, output) = (format!("--filename={}", device.path), format!("--output={}", said.display()));
    // One process with its threads: its pid is the command's.
    let fio = ["fio", "--name=truth", "--thread", "--direct=1", "--output-format=json", &name, &output];
    let output = run(&[&["report", "--format", "json", "--"][..], &fio, arguments].concat());
    assert!(output.status.success(), "{}", output.stderr);
    let fio: Value = serde_json::from_str(&std::fs::read_to_string(said).unwrap()).unwrap();
    let report = Report::parse(&output, Value::Null);
    assert_eq!(report.json["command"]["status"], 0);
    assert_eq!(report.json["quality"]["disk"], "exact");
    (report, fio["jobs"][0].clone())
}

fn a_process() {
    let device = Loop::new();
    let report = report(&["requests", &device.path, "700", "300"]);
    let pid = number(&report.facts["pid"]);
    let process = &report.process(pid).0["disk"];
    let of = |name: &str| number(&process[name]);
    assert_eq!((of("reads"), of("read_bytes")), (700, 700 * BLOCK as u64));
    assert_eq!((of("writes"), of("write_bytes")), (300, 300 * BLOCK as u64));
    let row = device.row(&report);
    assert_eq!((moved(row, "read").0, moved(row, "write").0), (700, 300));
    let waited = number(&report.facts["waited_ns"]);
    assert!(of("total_ns") <= waited, "its requests took longer than its calls: {process}, {waited} ns");
}

/// Bytes of one transfer; a request of that size is not divided.
const BLOCK: usize = 16 << 10;

#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

/// A process that reads and writes past the page cache, and nothing else.
fn requests(device: &str, reads: u64, writes: u64) -> Value {
    // The pages of the program stay in memory as long as this process does: its child reads none of them.
    // SAFETY: no preconditions.
    assert_eq!(unsafe { libc::mlockall(libc::MCL_CURRENT) }, 0);
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(device).unwrap();
    let work = || {
        let mut buffer = Box::new(Aligned([3; BLOCK]));
        let begin = std::time::Instant::now();
        // Apart from each other, so that none is merged with the next.
        let place = |n: u64| (n * 37 % (SIZE / BLOCK as u64)) * BLOCK as u64;
        (0..reads).for_each(|n| file.read_exact_at(&mut buffer.0, place(n)).unwrap());
        (0..writes).for_each(|n| file.write_all_at(&buffer.0, place(n)).unwrap());
        json!({ "waited_ns": crate::workload::ns(begin.elapsed()) })
    };
    in_child(work).join()
}

fn a_flush() {
    let device = Loop::new();
    let report = report(&["flushes", &device.path, "50"]);
    let row = device.row(&report);
    assert_eq!(moved(row, "flush"), (50, 0));
    assert_eq!(moved(row, "write"), (50, 50 * BLOCK as u64));
    assert_eq!(number(&report.process(number(&report.facts["pid"])).0["disk"]["others"]), 50);
    // The kernel counts a flush among the writes.
    assert_eq!(number(&row["diskstats"]["writes"]), 100);
}

/// Writes past the page cache, each followed by a flush.
fn flushes(device: &str, writes: u64) -> Value {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(device).unwrap();
    let work = || {
        let buffer = Box::new(Aligned([3; BLOCK]));
        for n in 0..writes {
            file.write_all_at(&buffer.0, n * 2 * BLOCK as u64).unwrap();
            // SAFETY: a descriptor that is open.
            assert_eq!(unsafe { libc::fdatasync(file.as_raw_fd()) }, 0);
        }
        Value::Null
    };
    in_child(work).join()
}

/// Reads of a device are slowed down until dropped.
struct Brake(String);

impl Brake {
    fn on(device: &Loop, bytes_per_second: u64) -> Self {
        let number = std::fs::read_to_string(format!("/sys/block/{}/dev", device.name())).unwrap();
        let brake = Self(number.trim().to_owned());
        brake.set(bytes_per_second);
        brake
    }

    fn set(&self, bytes_per_second: u64) {
        std::fs::write(BRAKE, format!("{} {bytes_per_second}\n", self.0)).unwrap();
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A device over another one that is slow: its requests take so long that what fio measures beside them, the way into the
/// kernel and the way back to fio, is nothing.
fn latencies() {
    let inner = Loop::new();
    let device = Loop::over(&inner.path);
    // A brake lets pass at once what fits into a tenth of a second: even the smallest do not.
    let brake = Brake::on(&inner, 36 << 10);
    let sizes = "--bssplit=4k/25:8k/25:12k/30:16k/20";
    let arguments = ["--ioengine=psync", "--rw=randread", sizes, "--number_ios=40"];
    let (report, fio) = report_on_fio(&device, &arguments);
    drop(brake);
    let row = device.row(&report);
    let shown = flow(row, "read").unwrap();
    let known = &fio["read"]["clat_ns"];
    assert_eq!(number(&shown["requests"]), number(&fio["read"]["total_ios"]));
    for (name, percentile) in [("p50_ns", "50.000000"), ("p90_ns", "90.000000"), ("p99_ns", "99.000000")] {
        assert_close(name, number(&shown[name]), number(&known["percentile"][percentile]), 0.1, 0);
    }
    assert_close("max_ns", number(&shown["max_ns"]), number(&known["max"]), 0.1, 0);
    sums(row, "read");
    // It is the device below that is slow.
    assert!(number(&shown["device"]["total_ns"]) > 9 * number(&shown["queue"]["total_ns"]), "{shown}");
}

/// A kilobyte a second: the request is in flight at the end, with its age, and is no latency.
fn what_hangs() {
    let inner = Loop::new();
    let device = Loop::over(&inner.path);
    let brake = Brake::on(&inner, 1 << 10);
    let report = {
        let mut kscope = crate::kscope::Running::start(&["report", "--format", "json", "--for", "60s"]);
        kscope.wait_until_measuring();
        let path = device.path.clone();
        let reader = std::thread::spawn(move || {
            let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
            file.read_exact_at(&mut Box::new(Aligned([0; BLOCK])).0, 0).unwrap();
        });
        // The kernel says so itself.
        let stat = format!("/sys/block/{}/inflight", device.name());
        while std::fs::read_to_string(&stat).unwrap().split_whitespace().next() != Some("1") {
            std::thread::yield_now();
        }
        let output = kscope.stop();
        drop(brake);
        reader.join().unwrap();
        Report::parse(&output, Value::Null)
    };
    let row = flow(device.row(&report), "read").unwrap();
    assert_eq!((number(&row["in_flight"]), number(&row["requests"])), (1, 0), "{row}");
    assert!(number(&row["oldest_ns"]) > 0, "{row}");
}
