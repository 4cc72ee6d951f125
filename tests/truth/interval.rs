//! One interval for all numbers: what is counted from one sample to the next covers the time that the report states.
//!
//! The workloads keep time themselves, by absolute timers: what they do in a second is known without counting it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{Report, number, run, workload_path};
use crate::workload::{arg, call, nanosleep, stay_ahead};

pub const CASES: &[Case] = &[
    ("interval::a_thousand_calls_a_second_are_a_thousand", paced),
    ("interval::blocked_threads_shorten_no_interval", beside_blocked),
    ("interval::payload_and_interfaces_cover_the_same_time", conservation),
    ("interval::a_sample_is_read_within_its_bound", spread),
];

/// One call, or one burst of datagrams, in each of these.
const STEP_NS: u64 = 1_000_000;
/// Datagrams of a burst.
const BURST: u64 = 4;
/// Payload of a datagram.
const PAYLOAD: u64 = 8_000;
/// What loopback counts beside it: the headers of IPv4 and UDP.
const HEADERS: u64 = 20 + 8;

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    match name {
        "paced-calls" => Some(pace(arg(args, 0), || call(libc::SYS_getppid, 1))),
        "paced-datagrams" => Some(datagrams(arg(args, 0))),
        "blocked" => {
            block(arg(args, 0));
            Some(json!({}))
        }
        _ => None,
    }
}

/// Does its work at each whole step of the clock for so many steps, before everything else on its CPU. The steps that it began
/// late are its own to tell: `late_ns` is the worst.
fn pace(steps: u64, mut work: impl FnMut()) -> Value {
    stay_ahead();
    ready();
    let begin = monotonic_ns().next_multiple_of(STEP_NS);
    let mut late_ns = 0;
    for step in 1..=steps {
        let due = begin + step * STEP_NS;
        sleep_until(due);
        late_ns = late_ns.max(monotonic_ns() - due);
        work();
    }
    json!({ "late_ns": late_ns })
}

fn datagrams(steps: u64) -> Value {
    let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let mut payload = vec![0; usize::try_from(PAYLOAD).unwrap()];
    pace(steps, || {
        for _ in 0..BURST {
            sender.send(&payload).unwrap();
            receiver.recv(&mut payload).unwrap();
        }
    })
}

/// Threads that wait for a byte which never comes, so that a report asks what each of them waits for.
fn block(threads: u64) {
    let (reader, _writer) = std::io::pipe().unwrap();
    for _ in 0..threads {
        let mut reader = reader.try_clone().unwrap();
        let wait = move || drop(reader.read(&mut [0]));
        std::thread::Builder::new().stack_size(16 << 10).spawn(wait).unwrap();
    }
    ready();
    nanosleep(Duration::from_hours(1));
}

fn ready() {
    println!("ready");
    std::io::stdout().flush().unwrap();
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

fn sleep_until(ns: u64) {
    let at = crate::workload::timespec(Duration::from_nanos(ns));
    // SAFETY: the time outlives the call; an absolute sleep leaves no remainder.
    unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const at, std::ptr::null_mut()) };
}

/// A workload that runs beside kscope; it is gone when dropped.
struct Beside {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Beside {
    /// Starts it, and waits until it is at work.
    fn start(workload: &[&str]) -> Self {
        let mut command = Command::new(workload_path());
        command.arg("--workload").args(workload).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, stdout }
    }

    /// Waits for its end; its facts.
    fn facts(mut self) -> Value {
        self.stdout.read_to_end(&mut Vec::new()).unwrap();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// What a report over `time` says of a workload that runs all the time, which takes its number of steps.
fn measure(workload: &str, time: Duration) -> (Report, u64) {
    // Before and after it kscope needs some time of its own.
    let steps = time.as_millis() + 3_000;
    let beside = Beside::start(&[workload, &steps.to_string()]);
    let pid = beside.child.id();
    let time = format!("{}ms", time.as_millis());
    let output = run(&["report", "--for", &time, "--format", "json"]);
    (Report::parse(&output, beside.facts()), pid.into())
}

fn assert_paced(time: Duration) {
    let (report, pid) = measure("paced-calls", time);
    let (count, interval_ns) = (report.process(pid).count("getppid"), number(&report.json["interval_ns"]));
    // One call may be due at either end, and those that were late are known.
    let late = number(&report.facts["late_ns"]) + report.stolen_ns;
    let bound = interval_ns / 200 + STEP_NS + late;
    println!("{count} calls in {:.1} ms, late at most {late} ns", interval_ns as f64 / 1e6);
    assert!((count * STEP_NS).abs_diff(interval_ns) <= bound, "{count} calls in {interval_ns} ns");
}

fn paced() {
    [200, 400, 2_000].map(Duration::from_millis).into_iter().for_each(assert_paced);
}

fn beside_blocked() {
    let _blocked = Beside::start(&["blocked", "2000"]);
    [400, 1_200].map(Duration::from_millis).into_iter().for_each(assert_paced);
}

/// The payload of a process and the bytes of loopback are two counters, read one after the other. What they may differ by is
/// what moved between the readings, which the stated spread bounds.
fn conservation() {
    for time in [200, 400, 2_000].map(Duration::from_millis) {
        let (report, pid) = measure("paced-datagrams", time);
        let sum = &report.json["network"]["conservation"];
        let sent = number(&report.process(pid).0["network"]["tx_bytes"]);
        let headers = i64::try_from(sent / PAYLOAD * HEADERS).unwrap();
        let burst = i64::try_from(BURST * (PAYLOAD + HEADERS)).unwrap();
        let late = i64::try_from(number(&report.facts["late_ns"]) + report.stolen_ns).unwrap();
        let bound = burst + burst * late / i64::try_from(STEP_NS).unwrap();
        println!("{sum}, {headers} bytes of headers");
        for way in ["tx_unattributed", "rx_unattributed"] {
            let unattributed = sum[way].as_i64().unwrap();
            assert!((unattributed - headers).abs() <= bound, "{way}: {unattributed}, {headers} are headers: {sum}");
        }
    }
}

fn spread() {
    for (threads, most_ns) in [("200", 1_000_000), ("5000", 5_000_000)] {
        let _blocked = Beside::start(&["blocked", threads]);
        let output = run(&["report", "--for", "2s", "--format", "json"]);
        let report = Report::parse(&output, Value::Null);
        let spread_ns = number(&report.json["self"]["spread_ns"]);
        println!("{spread_ns} ns beside {threads} threads");
        assert!((1..=most_ns + report.stolen_ns).contains(&spread_ns), "{spread_ns} ns beside {threads} threads");
    }
}
