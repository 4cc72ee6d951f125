//! Synthetic snapshots: a web server that slows down while a video is encoded, the same numbers each time.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "synthetic numbers are small and not negative"
)]

pub mod blame;
pub mod failing;

use std::sync::Arc;

use kscope::core::histogram::{BUCKETS, bounds, midpoint};
use kscope::core::hook::Hook;
use kscope::core::ident::ProcessId;
use kscope::core::latency::LatencyStats;
use kscope::core::quality::Quality;
use kscope::model::{Host, Ident, Own, ProbeState, ProbeStatus, ProcessStats, Snapshot};
use kscope::probes::connections::stats::{Connection, Path, Protocol, Queues, State};
use kscope::probes::disk::stats::{Counted, Device, DeviceStats, Direction, DiskStats, DiskTraffic, Flow};
use kscope::probes::lives::stats::{Dead, End, Status, Turnover};
use kscope::probes::network::stats::{Carrier, Interface, Traffic};
use kscope::probes::own::stats::{Counting, MapUse, RunStats, Runs};
use kscope::probes::page::stats::{PageStats, Quota, ThreadStats};
use kscope::probes::runqueue::stats::CpuStats;
use kscope::probes::stuck::stats::{self as stuck, Detail, InFlight};
use kscope::probes::syscalls::names::waits;
use kscope::probes::syscalls::stats::{CallStats, merge_calls};
use kscope::probes::time::causes::BlockedBy;
use kscope::probes::time::stats::{Doing, TimeSplit};
use syscalls::Sysno;

/// 2026-03-01 14:02:31 UTC, the end of the first interval.
const START_S: f64 = 1_772_373_751.0;

/// One call of one program: per second, median, spread in octaves, part that fails.
struct Makes(Sysno, f64, f64, f64, f64);

struct Program {
    pid: u32,
    comm: &'static str,
    cmdline: &'static str,
    user: &'static str,
    threads: u32,
    makes: &'static [Makes],
    /// Waits for a CPU per second, their median in ns.
    waits: (f64, f64),
    /// Shares of one CPU: user, kernel, runnable.
    time: (f64, f64, f64),
    /// Bytes per second: sent, received.
    bytes: (f64, f64),
}

const US: f64 = 1e3;
const MS: f64 = 1e6;

const PROGRAMS: &[Program] = &[
    Program {
        pid: 1,
        comm: "systemd",
        cmdline: "/sbin/init",
        user: "root",
        threads: 1,
        makes: &[Makes(Sysno::epoll_pwait, 4.0, 200.0 * MS, 0.8, 0.0), Makes(Sysno::openat, 12.0, 6.0 * US, 0.5, 0.2)],
        waits: (16.0, 9.0 * US),
        time: (0.002, 0.001, 0.0002),
        bytes: (0.0, 0.0),
    },
    Program {
        pid: 640,
        comm: "systemd-journal",
        cmdline: "/lib/systemd/systemd-journald",
        user: "root",
        threads: 1,
        makes: &[Makes(Sysno::sendmsg, 55.0, 9.0 * US, 0.6, 0.0), Makes(Sysno::ftruncate, 8.0, 41.0 * US, 0.9, 0.0)],
        waits: (80.0, 11.0 * US),
        time: (0.006, 0.009, 0.001),
        bytes: (0.0, 0.0),
    },
    Program {
        pid: 1402,
        comm: "postgres",
        cmdline: "postgres: writer process",
        user: "postgres",
        threads: 1,
        makes: &[
            Makes(Sysno::pread64, 9_200.0, 91.0 * US, 0.9, 0.0),
            Makes(Sysno::pwrite64, 1_400.0, 52.0 * US, 1.0, 0.0),
            Makes(Sysno::recvfrom, 1_200.0, 3.4 * US, 0.5, 0.01),
            Makes(Sysno::epoll_pwait, 600.0, 1.2 * MS, 1.3, 0.0),
        ],
        waits: (2_100.0, 16.0 * US),
        time: (0.52, 0.36, 0.05),
        bytes: (11.2 * 1_048_576.0, 4.1 * 1_048_576.0),
    },
    Program {
        pid: 2213,
        comm: "redis-server",
        cmdline: "redis-server 127.0.0.1:6379",
        user: "redis",
        threads: 5,
        makes: &[
            Makes(Sysno::read, 12_100.0, 1.1 * US, 0.4, 0.0),
            Makes(Sysno::write, 12_000.0, 5.2 * US, 0.5, 0.0),
            Makes(Sysno::epoll_pwait, 6_000.0, 70.0 * US, 1.1, 0.0),
        ],
        waits: (900.0, 8.0 * US),
        time: (0.21, 0.30, 0.012),
        bytes: (1.9 * 1_048_576.0, 0.6 * 1_048_576.0),
    },
    Program {
        pid: 8812,
        comm: "nginx",
        cmdline: "nginx: worker process",
        user: "www-data",
        threads: 16,
        makes: &[
            Makes(Sysno::write, 18_200.0, 4.1 * US, 0.7, 0.0),
            Makes(Sysno::sendfile, 2_300.0, 61.0 * US, 0.9, 0.0),
            Makes(Sysno::openat, 9_800.0, 6.0 * US, 0.5, 0.31),
            Makes(Sysno::accept4, 7_900.0, 2.0 * US, 0.6, 0.12),
            Makes(Sysno::close, 9_900.0, 0.7 * US, 0.4, 0.0),
            Makes(Sysno::epoll_pwait, 4_000.0, 310.0 * US, 1.4, 0.0),
            Makes(Sysno::futex, 800.0, 2.4 * MS, 1.8, 0.05),
        ],
        waits: (21_000.0, 21.0 * US),
        time: (1.40, 0.72, 2.31),
        bytes: (71.0 * 1_048_576.0, 8.2 * 1_048_576.0),
    },
    Program {
        pid: 9977,
        comm: "sshd",
        cmdline: "sshd: ops@pts/0",
        user: "ops",
        threads: 1,
        makes: &[Makes(Sysno::write, 30.0, 7.0 * US, 0.4, 0.0), Makes(Sysno::ppoll, 31.0, 31.0 * MS, 0.6, 0.0)],
        waits: (61.0, 9.0 * US),
        time: (0.001, 0.002, 0.0001),
        bytes: (4_300.0, 220.0),
    },
    Program {
        pid: 21_077,
        comm: "ffmpeg",
        cmdline: "ffmpeg -i in.mkv -c:v libx264 out.mp4",
        user: "media",
        threads: 12,
        makes: &[
            Makes(Sysno::read, 610.0, 130.0 * US, 1.2, 0.0),
            Makes(Sysno::write, 90.0, 44.0 * US, 0.8, 0.0),
            Makes(Sysno::futex, 5_200.0, 900.0 * US, 1.6, 0.02),
        ],
        waits: (9_400.0, 44.0 * US),
        time: (5.61, 0.29, 1.10),
        bytes: (0.0, 0.0),
    },
];

/// Counts around a median, spread over octaves as a bell, on buckets.
fn bell(count: f64, median: f64, octaves: f64) -> LatencyStats {
    let mut stats = LatencyStats::empty();
    let weight = |index: u16| {
        let off = (midpoint(index) / median).log2() / octaves;
        // A bell with a tail: one value in some hundred is far slower.
        (-off * off / 2.0).exp() + if off > 0.0 && off < 6.0 { 0.006 * (-off / 2.0).exp() } else { 0.0 }
    };
    let last = BUCKETS as u16 - 1;
    let weights: Vec<f64> = (1..last).map(weight).collect();
    let total: f64 = weights.iter().sum();
    let mut owed = 0.0;
    for (index, weight) in (1..last).zip(weights) {
        owed += count * weight / total;
        let whole = owed.floor();
        owed -= whole;
        stats.histogram.add(index, whole as u64);
        stats.total_ns += (whole * midpoint(index)) as u64;
        if whole > 0.0 {
            stats.max_ns = (bounds(index).0 * 1.02) as u64;
        }
    }
    stats
}

fn noise(seed: u32) -> f64 {
    let mut x = seed.wrapping_mul(2_654_435_769) ^ 0x9e37_79b9;
    x ^= x >> 15;
    x = x.wrapping_mul(2_246_822_519);
    x ^= x >> 13;
    f64::from(x & 0xffff) / 65_536.0
}

/// A shell script at work: many that live shortly, some that fail, one that is killed now and then.
fn dead(tick: u32) -> Vec<Dead> {
    let one = |n: u32, comm: &str, life_ns: u64, status: Status| Dead {
        id: ProcessId { pid: 30_100 + n, birth: tick },
        comm: comm.into(),
        parent: 9_977,
        parent_comm: "backup.sh".into(),
        end: Some(End { life_ns, status, ran_program: true }),
        watched_ns: life_ns,
        time: Some(TimeSplit { user_ns: life_ns / 3, kernel_ns: life_ns / 2, ..TimeSplit::default() }),
        calls: Some(75),
        traffic: Some(Traffic::default()),
    };
    let life = |n: u32, median: f64| (median * (0.6 + noise(tick * 41 + n))) as u64;
    let mut dead: Vec<Dead> = (0..20).map(|n| one(n, "ls", life(n, 2.1 * MS), Status::Exited(0))).collect();
    dead.extend((20..30).map(|n| one(n, "grep", life(n, 3.4 * MS), Status::Exited(u8::from(n % 3 == 0)))));
    if tick.is_multiple_of(8) {
        dead.push(one(30, "gzip", life(30, 640.0 * MS), Status::Killed(9)));
    }
    dead
}

/// What is inside a call: pools that wait by design, and a write to a disk that does not answer.
fn inflight(busy: bool) -> Vec<InFlight> {
    let call = |pid: u32, tid: u32, call: Sysno, age_ns: u64, (on, wchan): (&str, &str)| InFlight {
        process: ProcessId { pid, birth: pid * 7 },
        tid,
        nr: call.id() as u32,
        age_ns,
        age_quality: Quality::Exact,
        state: if wchan == "folio_wait_bit" { stuck::State::Uninterruptible } else { stuck::State::Sleeping },
        detail: Some(Arc::new(Detail { comm: String::new(), on: on.into(), wchan: wchan.into() })),
    };
    let mut calls = vec![
        call(
            2213,
            2213,
            Sysno::flock,
            312_000_000_000,
            ("fd 5 /var/lib/redis/lock, held by 1402 postgres", "flock_lock_inode_wait"),
        ),
        call(8812, 8813, Sysno::epoll_wait, 40_000_000_000, ("epoll fd 8, no timeout", "do_epoll_wait")),
        call(8812, 8812, Sysno::epoll_wait, 1_200_000_000, ("epoll fd 7, no timeout", "do_epoll_wait")),
        call(8812, 8814, Sysno::futex, 900_000_000, ("address 0x7f2a10", "futex_do_wait")),
    ];
    if busy {
        let disk = ("fd 31 /var/lib/postgresql/base/16384/2619", "folio_wait_bit");
        calls.insert(1, call(1402, 1402, Sysno::pwrite64, 3_400_000_000, disk));
    }
    calls
}

/// What a database reads and writes; what others write, kernel threads submit.
fn disk_of(pid: u32, busy: bool) -> DiskTraffic {
    let times = if busy { 5 } else { 1 };
    match pid {
        1402 => DiskTraffic {
            read_bytes: 21_000_000 * times,
            write_bytes: 4_100_000,
            reads: 1_300 * times,
            writes: 310,
            others: 12,
            total_ns: 240_000_000 * times,
            hidden: 0,
        },
        2213 => {
            DiskTraffic { write_bytes: 65_536, writes: 4, others: 2, total_ns: 3_000_000, ..DiskTraffic::default() }
        }
        _ => DiskTraffic::default(),
    }
}

/// A disk that gets slow when the machine is busy, and a volume over it, which makes no requests.
fn disks(tick: u32, busy: bool) -> DiskStats {
    let swing = 0.85 + 0.3 * noise(tick * 17 + 3);
    let flow = |direction, count: f64, (queue_ns, device_ns): (f64, f64), bytes: u64| {
        let (queue, device) = (bell(count * swing, queue_ns, 0.9), bell(count * swing, device_ns, 0.5));
        let total = bell(count * swing, queue_ns + device_ns, 0.6);
        Flow { bytes: total.count() * bytes, total, queue, device, ..Flow::none(direction) }
    };
    let slow = if busy { 30.0 } else { 1.0 };
    let mut write = flow(Direction::Write, 340.0, (9_000.0 * slow, 210_000.0), 13_000);
    (write.in_flight, write.oldest_ns) = if busy { (7, 1_400_000_000) } else { (0, 0) };
    let mut flush = flow(Direction::Flush, 14.0, (1.0, 1_900_000.0), 0);
    (flush.queue, flush.device) = (LatencyStats::empty(), LatencyStats::empty());
    let read = flow(Direction::Read, if busy { 6_500.0 } else { 1_300.0 }, (4_000.0 * slow, 84_000.0), 16_384);
    let device = |minor, name: &str, makes_requests, flows| DeviceStats {
        device: Device { major: 259, minor },
        name: name.into(),
        makes_requests,
        flows,
        counted: Some(Counted { reads: 1_300, read_bytes: 21_000_000, writes: 350, write_bytes: 4_400_000 }),
    };
    DiskStats {
        devices: vec![device(0, "nvme0n1", true, vec![read, write, flush]), device(3, "dm-0", false, Vec::new())],
    }
}

/// The interval number `tick` of one second, from 0; from the 40th on the machine is busy encoding.
pub fn snapshot(tick: u32) -> Snapshot {
    let busy = tick >= 40;
    let slow = |pid: u32| -> f64 { if busy && pid == 8812 { 24.0 } else { 1.0 } };
    let mut calls = Vec::new();
    let processes: Vec<ProcessStats> = PROGRAMS
        .iter()
        .filter(|p| busy || p.pid != 21_077)
        .map(|p| {
            let swing = 0.85 + 0.3 * noise(tick * 31 + p.pid);
            let made: Vec<(u32, f64, &Makes)> = p.makes.iter().map(|m| (m.0.id() as u32, m.1 * swing, m)).collect();
            let mut own = Vec::new();
            for (nr, count, m) in made {
                let median = m.2 * if m.0 == Sysno::write { slow(p.pid).sqrt() } else { 1.0 };
                let of = || {
                    let mut latency = bell(count, median, m.3);
                    latency.errors = (count * m.4) as u64;
                    if waits(nr) {
                        latency.blocked_ns = latency.total_ns.saturating_sub(latency.count() * 2_000);
                    }
                    CallStats { nr, latency }
                };
                merge_calls(&mut own, &[of()]);
                merge_calls(&mut calls, &[of()]);
            }
            let second = |share: f64| (share * swing * 1e9) as u64;
            let (user_ns, kernel_ns) = (second(p.time.0), second(p.time.1));
            let runnable_ns = if busy { second(p.time.2) } else { second(p.time.2 / 20.0) };
            let wall = u64::from(p.threads) * 1_000_000_000;
            ProcessStats {
                id: ProcessId { pid: p.pid, birth: p.pid * 7 },
                ident: Arc::new(Ident {
                    comm: p.comm.into(),
                    cmdline: p.cmdline.into(),
                    user: p.user.into(),
                    cgroup: format!("/system.slice/{}.service", p.comm),
                    ppid: 1,
                    kthread: false,
                }),
                start_ns: u64::from(p.pid) * 9_000_000_000,
                doing: if user_ns > 400_000_000 { Doing::Runs } else { Doing::Sleeps },
                threads: p.threads,
                calls: own,
                runqueue: bell(p.waits.0 * swing, p.waits.1 * slow(p.pid), 1.1),
                traffic: Traffic {
                    tx_bytes: (p.bytes.0 * swing) as u64,
                    rx_bytes: (p.bytes.1 * swing) as u64,
                    tx_calls: (p.bytes.0 / 4096.0) as u64,
                    rx_calls: (p.bytes.1 / 4096.0) as u64,
                },
                time: split(user_ns, kernel_ns, runnable_ns, wall),
                voluntary: 100,
                preempted: if busy { 40 } else { 2 },
                disk: disk_of(p.pid, busy),
                ..ProcessStats::default()
            }
        })
        .collect();
    let page = processes.iter().find(|p| p.id.pid == 8812).map(page_of);
    let sum = processes.iter().fold(Traffic::default(), |s, p| s.plus(p.traffic));
    Snapshot {
        unix_s: START_S + f64::from(tick),
        interval_ns: 1_000_000_000,
        host: Host {
            name: "web-03".into(),
            kernel: "6.18.44".into(),
            cpus: 8,
            load: if busy { 11.2 } else { 3.1 },
            threads: 412,
            uptime_s: 12 * 86_400 + 3_700,
        },
        calls,
        errors: failing::errors(&processes),
        exemplars: failing::exemplars(START_S + f64::from(tick), &processes),
        cpus: (0..8).map(|cpu| cpu_stats(cpu, tick, busy && (3..6).contains(&cpu))).collect(),
        blame: Some(blame::stats(busy, &processes)),
        processes,
        dead: dead(tick),
        turnover: Turnover { forks: 31, execs: 30, ends: 31 },
        inflight: inflight(busy),
        page,
        disk: disks(tick, busy),
        interfaces: vec![
            Interface {
                name: "eth0".into(),
                carrier: Carrier::Device,
                tx_bytes: sum.tx_bytes * 21 / 20,
                rx_bytes: sum.rx_bytes * 21 / 20,
            },
            Interface { name: "lo".into(), carrier: Carrier::Loopback, tx_bytes: 120_000, rx_bytes: 120_000 },
        ],
        connections: connections(busy),
        own: Own { pid: 30_000, cpu_ns: 4_200_000, rss_bytes: 21 << 20, read_ns: 900_000, spread_ns: 420_000 },
        programs: run_stats(tick, busy),
        maps: MAPS.to_vec(),
        probes: OWN_PROGRAMS
            .iter()
            .map(|p| ProbeStatus { name: p.0, hook: Hook::TpBtf, state: ProbeState::Running, fallback: None })
            .collect(),
        ..Snapshot::default()
    }
}

/// nginx between its clients and a database, as far as that was looked at.
fn connections(busy: bool) -> Vec<Connection> {
    let one = |cookie: u64, pid: u32, (local, peer): (&str, &str), state: State, bytes: (u64, u64)| Connection {
        cookie,
        since_ns: 1,
        owner: (pid > 0).then_some(ProcessId { pid, birth: pid * 7 }),
        protocol: if state == State::Unconnected { Protocol::Udp } else { Protocol::Tcp },
        local: local.parse().unwrap_or_else(|_| ([0; 4], 0).into()),
        peer: peer.parse().ok(),
        peer_name: None,
        state,
        age_ns: cookie * 31_000_000_000,
        age_is_exact: cookie > 3,
        tx_bytes: bytes.0,
        rx_bytes: bytes.1,
        retransmits: if busy && cookie == 2 { 14 } else { 0 },
        path: (state == State::Established).then_some(Path {
            rtt_ns: cookie * 1_240_000,
            rtt_var_ns: 90_000,
            cwnd: 10 * cookie as u32,
            mss: 1_448,
            retransmits_ever: 14,
        }),
        queues: (state == State::Listening).then_some(Queues { received: if busy { 311 } else { 3 }, sent: 511 }),
        elsewhere: false,
    };
    vec![
        one(1, 8812, ("10.1.0.3:443", "203.0.113.7:51034"), State::Established, (61_000_000, 410_000)),
        one(2, 8812, ("10.1.0.3:443", "198.51.100.200:40212"), State::Established, (9_100_000, 7_900_000)),
        one(3, 8812, ("[2001:db8::3]:443", "[2001:db8:7::41]:60100"), State::CloseWait, (0, 0)),
        one(4, 8812, ("10.1.0.3:41852", "10.1.0.9:5432"), State::Established, (88_000, 1_240_000)),
        one(5, 8812, ("10.1.0.3:443", "192.0.2.55:33007"), State::Closed, (1_240, 512)),
        one(6, 9977, ("10.1.0.3:22", "10.1.0.77:52110"), State::Established, (4_300, 220)),
        one(7, 1402, ("0.0.0.0:9125", "*"), State::Unconnected, (0, 31_000)),
        one(8, 8812, ("0.0.0.0:443", "*"), State::Listening, (0, 0)),
        one(9, 0, ("[::]:22", "*"), State::Listening, (0, 0)),
    ]
}

/// kscope's programs: name, runs a second, ns a run.
const OWN_PROGRAMS: [(&str, f64, f64); 8] = [
    ("sched_switch", 38_000.0, 141.0),
    ("sched_wakeup", 21_000.0, 74.0),
    ("sched_wakeup_new", 31.0, 118.0),
    ("sched_process_exit", 29.0, 92.0),
    ("sys_enter", 71_000.0, 58.0),
    ("sys_exit", 71_000.0, 83.0),
    ("sock_send_length", 19_000.0, 44.0),
    ("sock_recv_length", 2_100.0, 43.0),
];

const MAPS: [MapUse; 5] = [
    MapUse { name: "THREADS", holds: "threads by slot", used: 409, max: 65_536, bytes: 10_489_856, dropped: None },
    MapUse { name: "THREADS_MORE", holds: "threads beside", used: 3, max: 16_384, bytes: 3_932_160, dropped: Some(0) },
    MapUse { name: "RECORDS", holds: "process × call", used: 1_204, max: 33_792, bytes: 22_151_168, dropped: Some(0) },
    MapUse { name: "CALLS", holds: "calls of the host", used: 61, max: 512, bytes: 9_445_376, dropped: None },
    MapUse { name: "CPUS", holds: "delays by CPU", used: 8, max: 8, bytes: 24_576, dropped: None },
];

/// A window of 50 ms.
fn run_stats(tick: u32, busy: bool) -> RunStats {
    let swing = (0.9 + 0.2 * noise(tick / 5)) * if busy { 1.0 } else { 0.4 };
    let runs = |p: &(&str, f64, f64)| {
        let count = (p.1 * swing * 0.05) as u64;
        Runs { count, time_ns: (count as f64 * p.2) as u64 }
    };
    RunStats {
        counting: Counting::Windows,
        over_ns: 50_000_000,
        runs: OWN_PROGRAMS.iter().map(runs).collect(),
        attached: Vec::new(),
        misses: OWN_PROGRAMS.iter().map(|_| Some(0)).collect(),
    }
}

fn cpu_stats(cpu: u32, tick: u32, starved: bool) -> CpuStats {
    let swing = 0.8 + 0.4 * noise(tick * 17 + cpu);
    let mut delay = bell(1_800.0 * swing, 9.0 * US, 0.9);
    if starved {
        delay.merge(&bell(900.0 * swing, 3.1 * MS, 1.1));
    }
    CpuStats { cpu, delay }
}

/// The same machine with very many CPUs.
pub fn with_cpus(tick: u32, cpus: u32) -> Snapshot {
    let mut snapshot = snapshot(tick);
    snapshot.host.cpus = cpus;
    snapshot.cpus = (0..cpus).map(|cpu| cpu_stats(cpu, tick, tick >= 40 && cpu % 40 > 33)).collect();
    snapshot
}

/// One program that could not be attached.
pub fn without(tick: u32, probe: &'static str) -> Snapshot {
    let state = ProbeState::Failed {
        reason: format!("The kernel refused {probe}: permission denied."),
        advice: "Run kscope with sudo.".into(),
    };
    let mut snapshot = snapshot(tick);
    let mut probes = snapshot.probes.to_vec();
    for (at, status) in probes.iter_mut().enumerate().filter(|(_, p)| p.name == probe) {
        status.state = state.clone();
        (snapshot.programs.runs[at], snapshot.programs.misses[at]) = (Runs::default(), None);
    }
    Snapshot { probes: probes.into(), ..snapshot }
}

/// The same machine, where the runs of programs are counted otherwise or not at all.
pub fn counted(tick: u32, counting: Counting) -> Snapshot {
    let mut snapshot = snapshot(tick);
    let known = matches!(counting, Counting::Windows | Counting::Always);
    snapshot.programs =
        RunStats { counting, runs: if known { snapshot.programs.runs } else { Vec::new() }, ..snapshot.programs };
    snapshot
}

/// The time of threads that ran and waited for so long, blocked in the rest of `wall` for what servers wait for.
fn split(user_ns: u64, kernel_ns: u64, runnable_ns: u64, wall: u64) -> TimeSplit {
    let blocked_ns = wall.saturating_sub(user_ns + kernel_ns + runnable_ns);
    let [disk, socket, futex] = [blocked_ns / 28, blocked_ns / 55, blocked_ns / 160];
    let poll = blocked_ns - disk - socket - futex;
    let blocked_by = BlockedBy::new([0, disk, socket, 0, futex, 0, poll, 0]);
    TimeSplit { user_ns, kernel_ns, runnable_ns, blocked_ns, stolen_ns: 0, blocked_by }
}

/// The page of a process whose first thread does most of its work.
fn page_of(process: &ProcessStats) -> PageStats {
    let (threads, time) = (process.threads.max(1), process.time);
    let thread = |at: u32| {
        let share = if at == 0 { 0.2 } else { 0.8 / f64::from(threads.max(2) - 1) };
        let of = |ns: u64| (ns as f64 * share) as u64;
        let time = split(of(time.user_ns), of(time.kernel_ns), of(time.runnable_ns), 1_000_000_000);
        let (tid, comm) = (process.id.pid + at, if at == 0 { "nginx".into() } else { format!("pool-{at}") });
        ThreadStats { tid, start_ns: 1, comm, exited: false, time, call: Some(Sysno::epoll_wait.id() as u32) }
    };
    let quota = Quota {
        cgroup: "/system.slice/nginx.service".into(),
        quota_ns: 250_000_000,
        period_ns: 100_000_000,
        periods: 10,
        throttled: 3,
        throttled_ns: 41_000_000,
    };
    let threads = Some((0..threads).map(thread).collect());
    PageStats { id: process.id, age_ns: 3 * 86_400_000_000_000, threads, quota: Some(quota) }
}
