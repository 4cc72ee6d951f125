//! A machine that does not exist: samples of any size, the same each time.
//!
//! Most processes rest: they have records of what they did once. One in ten works, and how much follows Zipf's law. One
//! in a hundred ends in each tick, and as many are born. There are no connections: the model has none yet.
//!
//! Invariant: counters only grow, and samples are sorted as the sampler's are.

use std::sync::Arc;

use bytemuck::Zeroable as _;
use kscope::core::hook::Hook;
use kscope::core::ident::ProcessId;
use kscope::model::{Host, Ident, Own, ProbeState, ProbeStatus, ProcessSample, Records, Sample};
use kscope::probes::network::stats::{Carrier, Interface, Traffic};
use kscope::probes::own::stats::{Counting, RunStats, Runs};
use kscope::probes::time::stats::TimeSplit;
use kscope_layout::bucket::scale3;
use kscope_layout::{RUN_QUEUE, RecordKey, Row, pack_max};

/// How large the machine is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its CPUs.
    pub cpus: u32,
    /// Its processes.
    pub processes: u32,
    /// Their threads.
    pub threads: u32,
    /// The system calls that are in use.
    pub calls: u32,
}

/// A tick lasts a second.
const TICK_NS: u64 = 1_000_000_000;
/// What the busiest process does in a tick.
const BUSIEST: u32 = 20_000;

struct Process {
    sample: ProcessSample,
    start_ns: u64,
    /// By what is measured.
    records: Vec<(u32, Row)>,
}

/// The machine.
pub struct World {
    size: Size,
    random: u64,
    tick: u32,
    next_pid: u32,
    processes: Vec<Process>,
    calls: Vec<(u32, Row)>,
    cpus: Vec<(u32, Row)>,
    probes: Arc<[ProbeStatus]>,
}

const PROGRAMS: [&str; 8] = [
    "sched_switch",
    "sched_wakeup",
    "sched_wakeup_new",
    "sched_process_exit",
    "sys_enter",
    "sys_exit",
    "sock_send_length",
    "sock_recv_length",
];

impl World {
    /// A machine that has run for a while.
    pub fn new(size: Size) -> Self {
        let probes =
            PROGRAMS.map(|name| ProbeStatus { name, hook: Hook::TpBtf, state: ProbeState::Running, fallback: None });
        let mut world = Self {
            size,
            random: 0x9e37_79b9_7f4a_7c15,
            tick: 0,
            next_pid: 1,
            processes: Vec::new(),
            calls: (0..size.calls).map(|nr| (nr, Row::zeroed())).collect(),
            cpus: (0..size.cpus).map(|cpu| (cpu, Row::zeroed())).collect(),
            probes: Arc::new(probes),
        };
        for _ in 0..size.processes {
            world.fork();
        }
        for at in 0..world.processes.len() {
            world.work(at, 20);
        }
        world
    }

    /// A number below `end`.
    fn below(&mut self, end: u32) -> u32 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % u64::from(end.max(1))).unwrap_or(0)
    }

    fn fork(&mut self) {
        let pid = self.next_pid;
        self.next_pid += 1;
        let start_ns = (u64::from(self.tick) << 30) + (u64::from(pid) << 10);
        let mut whats: Vec<u32> = (0..2 + self.below(6)).map(|_| self.skewed_call()).collect();
        whats.sort_unstable();
        whats.dedup();
        whats.push(RUN_QUEUE);
        let ident = Ident {
            comm: format!("{}-{pid}", ["worker", "nginx", "postgres", "kworker", "bash"][pid as usize % 5]),
            cmdline: format!("/usr/sbin/daemon --instance {pid} --config /etc/daemon/instance-{pid}.conf"),
            user: "www-data".into(),
            cgroup: format!("/system.slice/daemon-{}.service", pid % 100),
            ppid: 1,
            kthread: pid % 5 == 3,
        };
        let sample = ProcessSample {
            id: ProcessId { pid, birth: RecordKey::birth_of(start_ns) },
            ident: Arc::new(ident),
            threads: self.size.threads / self.size.processes.max(1),
            ..ProcessSample::default()
        };
        let records = whats.into_iter().map(|what| (what, Row::zeroed())).collect();
        self.processes.push(Process { sample, start_ns, records });
    }

    /// Low numbers are made by many, the others by few.
    fn skewed_call(&mut self) -> u32 {
        let a = self.below(self.size.calls);
        self.below(a + 1)
    }

    /// Lets a second pass.
    pub fn step(&mut self) {
        self.tick += 1;
        self.processes.retain(|p| !p.sample.exited);
        let turnover = (self.size.processes / 100).max(1);
        for _ in 0..turnover {
            let at = self.below(u32::try_from(self.processes.len()).unwrap_or(u32::MAX)) as usize;
            let sample = &mut self.processes[at].sample;
            (sample.exited, sample.threads) = (true, 0);
            self.fork();
            self.work(self.processes.len() - 1, 20);
        }
        let working = (self.size.processes / 10).max(3);
        for rank in 1..=working {
            // Spread over the table, and the same ones in each tick as long as they live.
            let at = (rank as usize * 7919) % self.processes.len();
            self.work(at, (BUSIEST / rank).max(3));
        }
    }

    /// Process `at` makes `events` of everything that it makes.
    fn work(&mut self, at: usize, events: u32) {
        let (tick, shift) = (self.tick, self.below(3));
        let cpu = self.below(self.size.cpus) as usize;
        let process = &mut self.processes[at];
        let sample = &mut process.sample;
        let kinds = u32::try_from(process.records.len()).unwrap_or(1);
        for (what, record) in &mut process.records {
            let (row, median) = match *what {
                RUN_QUEUE => (self.cpus.get_mut(cpu), 20_000_u64),
                nr => (self.calls.get_mut(nr as usize), 1_000 << (nr % 8)),
            };
            let mut rest = events.div_ceil(kinds);
            let mut row = row;
            // Half of them around the median, a quarter an octave above, and so on: a tail.
            for octave in 0..6 {
                let n = if octave == 5 { rest } else { rest.div_ceil(2) };
                rest -= n;
                let ns = (median << (octave + shift)) + 13 * u64::from(octave);
                add(record, ns, n, tick);
                if let Some((_, row)) = &mut row {
                    add(row, ns, n, tick);
                }
            }
        }
        let ns = u64::from(events) * 2_000;
        sample.time = sample.time.plus(TimeSplit {
            user_ns: ns,
            kernel_ns: ns / 2,
            runnable_ns: ns / 10,
            blocked_ns: TICK_NS - ns.min(TICK_NS),
            ..TimeSplit::default()
        });
        if at.is_multiple_of(3) {
            let (bytes, calls) = (u64::from(events) * 700, u64::from(events));
            let moved = Traffic { tx_bytes: bytes, rx_bytes: bytes / 9, tx_calls: calls, rx_calls: calls };
            sample.traffic = sample.traffic.plus(moved);
        }
        sample.voluntary += u64::from(events);
        sample.preempted += u64::from(events / 10);
    }

    /// What the sampler would read now.
    pub fn sample(&self) -> Sample {
        let runs = |n: u64| Runs { count: n * 1_000, time_ns: n * 100_000 };
        Sample {
            at_ns: u64::from(self.tick) * TICK_NS,
            unix_s: 1_772_373_751.0 + f64::from(self.tick),
            epoch: self.tick,
            host: Host {
                name: "simulated".into(),
                kernel: "6.18.44".into(),
                cpus: self.size.cpus,
                load: 1.0,
                threads: self.size.threads,
                uptime_s: 3_600,
            },
            calls: self.calls.iter().filter(|(_, row)| row.sums.total_ns != 0).copied().collect(),
            cpus: self.cpus.clone(),
            records: self.records(),
            processes: self.processes.iter().map(|p| p.sample.clone()).collect(),
            interfaces: vec![Interface {
                name: "eth0".into(),
                carrier: Carrier::Device,
                tx_bytes: 1 << 40,
                rx_bytes: 1 << 39,
            }],
            own: Own {
                pid: 1,
                cpu_ns: u64::from(self.tick) * 4_000_000,
                rss_bytes: 20 << 20,
                read_ns: 1_000_000,
                spread_ns: 300_000,
            },
            programs: RunStats {
                counting: Counting::Windows,
                over_ns: 50_000_000,
                runs: (1..=8).map(runs).collect(),
                misses: vec![Some(0); 8],
                attached: Vec::new(),
            },
            probes: Arc::clone(&self.probes),
            ..Sample::default()
        }
    }

    /// The records of all processes as a sample keeps them.
    fn records(&self) -> Arc<Records> {
        let (mut all, mut slot) = (Records::default(), 0);
        for process in &self.processes {
            for (what, row) in process.records.iter().filter(|(_, row)| row.sums.total_ns > 0) {
                let key = RecordKey::new(process.sample.id.pid, process.start_ns, *what);
                let filled = (0_u16..).zip(row.buckets).filter(|(_, n)| *n > 0);
                all.push(key, row.sums, slot, filled);
                slot += 1;
            }
        }
        Arc::new(all)
    }
}

fn add(row: &mut Row, ns: u64, count: u32, epoch: u32) {
    if count == 0 {
        return;
    }
    let n = &mut row.buckets[scale3(ns) as usize];
    *n = n.wrapping_add(count);
    row.sums.total_ns += ns * u64::from(count);
    row.sums.errors = row.sums.errors.wrapping_add(count / 50);
    let slot = &mut row.sums.max[(epoch & 1) as usize];
    *slot = (*slot).max(pack_max(epoch, ns));
}
