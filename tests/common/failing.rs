//! What fails on the machine, and its slowest calls.

use std::sync::Arc;

use kscope::core::ident::ProcessId;
use kscope::model::{ProcessStats, Snapshot};
use kscope::probes::errors::stats::{ErrorCount, Errors, HostErrors};
use kscope::probes::exemplars::stats::{Exemplar, Exemplars};
use syscalls::Sysno;

/// The error that a call returns where it fails.
fn errno(nr: u32) -> i32 {
    match Sysno::new(nr as usize) {
        Some(Sysno::openat) => libc::ENOENT,
        Some(Sysno::futex) => libc::ETIMEDOUT,
        _ => libc::EAGAIN,
    }
}

/// Errors, as many as the calls say.
pub fn errors(processes: &[ProcessStats]) -> Errors {
    let mut errors = Errors::default();
    for process in processes {
        for call in process.calls.iter().filter(|call| call.latency.errors > 0) {
            let (nr, errno, count) = (call.nr, errno(call.nr).unsigned_abs(), call.latency.errors);
            errors.by_process.push(ErrorCount { id: process.id, nr, errno, count });
            match errors.host.binary_search_by_key(&(nr, errno), |e| (e.nr, e.errno)) {
                Ok(at) => errors.host[at].count += count,
                Err(at) => errors.host.insert(at, HostErrors { nr, errno, count }),
            }
        }
    }
    errors.by_process.sort_by_key(|e| (e.id, e.nr, e.errno));
    errors
}

/// Of each call of each process one in the octave of its longest, and one sixteen times as quick.
pub fn exemplars(unix_s: f64, processes: &[ProcessStats]) -> Exemplars {
    let mut list = Vec::new();
    for process in processes {
        for call in &process.calls {
            for (part, ago) in [(1, 0.2), (16, 0.7)] {
                let latency_ns = call.latency.max_ns / part;
                list.push(Arc::new(one(process, call.nr, latency_ns, unix_s - ago)));
            }
        }
    }
    Exemplars::new(list, 0)
}

fn one(process: &ProcessStats, nr: u32, latency_ns: u64, unix_s: f64) -> Exemplar {
    let call = Sysno::new(nr as usize);
    let (args, text, file, result) = match call {
        Some(Sysno::openat) => ([u64::MAX - 99, 0x7f00, 0o2_000_000, 0, 0, 0], "/srv/www/favicon.ico", "", -2),
        Some(Sysno::write) => ([9, 0x7f00, 16_384, 0, 0, 0], "", "/var/log/access.log", 16_384),
        Some(Sysno::pread64) => ([22, 0x7f00, 8_192, 40_960, 0, 0], "", "/var/lib/base/16384", 8_192),
        Some(Sysno::futex) => ([0x7f12_0000, 128, 2, 0, 0, 0], "", "", -110),
        _ => ([12, 0x7f00, 4_096, 0, 0, 0], "", "tcp 10.0.0.1:443 → 10.0.0.7:51022", 512),
    };
    Exemplar {
        id: ProcessId { ..process.id },
        tid: process.id.pid + 3,
        comm: process.ident.comm.as_str().into(),
        cgroup: process.ident.cgroup.as_str().into(),
        nr,
        unix_s,
        latency_ns,
        blocked_ns: latency_ns / 10,
        runnable_ns: latency_ns * 6 / 10,
        result,
        args,
        text: text.into(),
        file: file.into(),
    }
}

/// The same machine, where the web server asks for connections that are not there.
pub fn in_circles(snapshot: Snapshot) -> Snapshot {
    let mut snapshot = snapshot;
    for process in snapshot.processes.iter_mut().filter(|p| p.ident.comm == "nginx") {
        for call in process.calls.iter_mut().filter(|call| call.nr == Sysno::accept4 as u32) {
            call.latency.errors = call.latency.count() * 96 / 100;
        }
    }
    snapshot.errors = errors(&snapshot.processes);
    snapshot
}
