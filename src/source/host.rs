//! What the machine says of itself: name, kernel, load, and what kscope uses of it.

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use procfs::process::StatM;
use procfs::{Current as _, FromRead as _, LoadAverage};
use rustix::process::getpid;
use rustix::system::uname;
use rustix::time::{ClockId, clock_gettime};

use crate::core::units::printable;
use crate::model::{Host, Own};
use crate::privileged;

/// Nanoseconds of the host's `CLOCK_MONOTONIC`: the clock of the programs (`bpf_ktime_get_ns`).
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic).saturating_add_signed(-OFFSETS.monotonic_ns)
}

/// Nanoseconds of the host's `CLOCK_BOOTTIME`: the clock of starts.
pub fn boottime_ns() -> u64 {
    nanoseconds(ClockId::Boottime).saturating_add_signed(-OFFSETS.boottime_ns)
}

/// By how much procfs shows starts later than the host has them, ns.
pub fn shown_later_ns() -> i64 {
    OFFSETS.boottime_ns
}

/// How far this process's clocks are ahead of the host's: programs know those of the host only. Not 0 in a time namespace of its
/// own (`unshare --time`), where it stays the same as long as a process lives.
static OFFSETS: LazyLock<Offsets> =
    LazyLock::new(|| Offsets::parse(&fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default()));

#[derive(Debug, Default, PartialEq, Eq)]
struct Offsets {
    monotonic_ns: i64,
    boottime_ns: i64,
}

impl Offsets {
    /// Lines of a clock's name, seconds and nanoseconds. What is not there is 0: before Linux 5.6 all clocks were the host's.
    fn parse(text: &str) -> Self {
        let of = |clock: &str| {
            let mut fields = text.lines().find_map(|line| line.strip_prefix(clock))?.split_whitespace();
            let mut next = || fields.next()?.parse::<i64>().ok();
            next()?.checked_mul(1_000_000_000)?.checked_add(next()?)
        };
        Self { monotonic_ns: of("monotonic").unwrap_or(0), boottime_ns: of("boottime").unwrap_or(0) }
    }
}

/// Seconds since 1970, UTC.
pub fn unix_s() -> f64 {
    nanoseconds(ClockId::Realtime) as f64 / 1e9
}

fn nanoseconds(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let rest = u64::try_from(t.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// What is missing where there is no procfs, or one that hides processes from this one, as a sentence. It is to be asked when
/// rights have been given up.
pub fn procfs_trouble() -> Option<&'static str> {
    if !fs::exists("/proc/self/stat").unwrap_or(false) {
        return Some(
            "/proc is not mounted: processes have no command lines, users and cgroups, and what devices and interfaces count is not known. To mount it: `mount -t proc proc /proc`.",
        );
    }
    fs::read("/proc/1/comm").is_err().then_some(
        "/proc hides the processes of others (hidepid): they have no command lines, users and cgroups here. To show them: `mount -o remount,hidepid=0 /proc`.",
    )
}

/// The machine as it is now.
pub fn read_host() -> Host {
    let names = uname();
    let (load, threads) = LoadAverage::current().map_or((0.0, 0), |load| (f64::from(load.one), load.max));
    Host {
        name: printable(&names.nodename().to_string_lossy()).into_owned(),
        kernel: printable(&names.release().to_string_lossy()).into_owned(),
        cpus: online_cpus(),
        load,
        threads,
        uptime_s: boottime_ns() / 1_000_000_000,
    }
}

/// CPUs that are online, whatever this process may run on.
fn online_cpus() -> u32 {
    // SAFETY: no preconditions.
    let n = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u32::try_from(n).unwrap_or(1).max(1)
}

/// CPU time of kscope so far, with that of the processes that work for it, ns.
pub fn read_cpu_ns() -> u64 {
    let kin = privileged::kin().iter().map(|pid| cpu_ns_of(*pid));
    kin.fold(nanoseconds(ClockId::ProcessCPUTime), u64::saturating_add)
}

/// Memory of the processes that work for this one: what they do not share with it, bytes.
fn read_kin() -> u64 {
    let mut pages = 0;
    for pid in privileged::kin() {
        pages += StatM::from_file(format!("/proc/{pid}/statm")).map_or(0, |of| of.resident.saturating_sub(of.shared));
    }
    pages * rustix::param::page_size() as u64
}

/// CPU time of a process; 0 of one that is gone.
fn cpu_ns_of(pid: u32) -> u64 {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both are written to, and alive.
    let read = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    if !read {
        return 0;
    }
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What kscope's user space has used so far.
/// Of that, CPU time is a counter (see [`read_cpu_ns`]).
pub fn read_own(cpu_ns: u64, read: Duration) -> Own {
    let rss_pages = StatM::from_file("/proc/self/statm").map_or(0, |of| of.resident);
    let private_bytes = read_kin();
    Own {
        pid: u32::try_from(getpid().as_raw_nonzero().get()).unwrap_or(0),
        cpu_ns,
        rss_bytes: rss_pages * rustix::param::page_size() as u64 + private_bytes,
        read_ns: u64::try_from(read.as_nanos()).unwrap_or(u64::MAX),
        spread_ns: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_a_namespace_are_told_from_those_of_the_host() {
        let offsets = Offsets::parse("monotonic       -3600         5\nboottime        86400         0\n");
        assert_eq!(offsets, Offsets { monotonic_ns: -3_599_999_999_995, boottime_ns: 86_400_000_000_000 });
        assert_eq!(Offsets::parse(""), Offsets::default());
        assert_eq!(Offsets::parse("monotonic x y\nboottime 9999999999999999 0"), Offsets::default());
    }
}
