//! How a cgroup limits CPU time, from its files: of version 2 (`cpu.max`, `cpu.stat`), or of version 1 (`cpu.cfs_*`).
//!
//! Pure text is parsed here; the files are read by whoever has them (`probe.rs`). Invariant: a group without a limit is none.

use procfs::MountEntry;

use super::stats::Quota;
use crate::kernel::rows::{lines, rows};

/// Which version of cgroups the CPU controller is in, and where that hierarchy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: String,
    /// Version 2.
    pub unified: bool,
}

/// The hierarchies that may hold the CPU controller, from `/proc/self/mounts`: that of version 1 first, since the controller is
/// in one of them only.
pub fn hierarchies(mounts: &[u8]) -> Vec<Hierarchy> {
    let of = |mount: MountEntry| {
        let unified = mount.fs_vfstype == "cgroup2";
        let separate = || mount.fs_vfstype == "cgroup" && mount.fs_mntops.contains_key("cpu");
        // The crate leaves the blanks of a path as the kernel escapes them.
        (unified || separate()).then(|| Hierarchy { mount: mount.fs_file.replace("\\040", " "), unified })
    };
    let mut found: Vec<Hierarchy> = rows::<Vec<MountEntry>>(mounts).flatten().filter_map(of).collect();
    found.sort_by_key(|hierarchy| hierarchy.unified);
    found
}

/// The path of a process in a hierarchy, from its `/proc/PID/cgroup`: in bytes, since whoever may make a group may call it by any,
/// and its files are opened by them.
pub fn path_in<'a>(hierarchy: &Hierarchy, cgroups: &'a [u8]) -> Option<&'a [u8]> {
    lines(cgroups).find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let fits = if hierarchy.unified {
            id == b"0" && controllers.is_empty()
        } else {
            controllers.split(|byte| *byte == b',').any(|controller| controller == b"cpu")
        };
        fits.then_some(path)
    })
}

/// `path` and the groups above it, the nearest first; the root has no limit.
pub fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let above = |path: &&'_ [u8]| path.iter().rposition(|byte| *byte == b'/');
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    std::iter::successors(Some(&path[..end]), move |path| above(path).map(|at| &path[..at]))
        .filter(|path| !path.is_empty())
}

/// The limit of a group of version 2, from `cpu.max` and `cpu.stat`.
pub fn unified(cgroup: &str, max: &str, stat: &str) -> Option<Quota> {
    let mut fields = max.split_whitespace();
    let (quota, period) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    let throttled_ns = field(stat, "throttled_usec")?.saturating_mul(1_000);
    quota_of(cgroup, (quota, period), stat, throttled_ns)
}

/// The same of version 1, from `cpu.cfs_quota_us`, `cpu.cfs_period_us` and `cpu.stat`.
pub fn separate(cgroup: &str, quota: &str, period: &str, stat: &str) -> Option<Quota> {
    // -1 is no limit.
    let (quota, period) = (quota.trim().parse::<u64>().ok()?, period.trim().parse::<u64>().ok()?);
    quota_of(cgroup, (quota, period), stat, field(stat, "throttled_time")?)
}

fn quota_of(cgroup: &str, (quota_us, period_us): (u64, u64), stat: &str, throttled_ns: u64) -> Option<Quota> {
    (period_us > 0).then(|| Quota {
        cgroup: cgroup.to_owned(),
        quota_ns: quota_us.saturating_mul(1_000),
        period_ns: period_us.saturating_mul(1_000),
        periods: field(stat, "nr_periods").unwrap_or(0),
        throttled: field(stat, "nr_throttled").unwrap_or(0),
        throttled_ns,
    })
}

fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions_are_read() {
        let stat = "usage_usec 9\nnr_periods 40\nnr_throttled 12\nthrottled_usec 3500\n";
        let quota = unified("/a", "50000 100000\n", stat).unwrap();
        assert_eq!((quota.quota_ns, quota.throttled, quota.throttled_ns), (50_000_000, 12, 3_500_000));
        assert!((quota.cpus() - 0.5).abs() < 1e-9);
        assert_eq!(unified("/a", "max 100000\n", stat), None);
        let stat = "nr_periods 40\nnr_throttled 12\nthrottled_time 3500\n";
        assert_eq!(separate("/a", "50000\n", "100000\n", stat).unwrap().throttled_ns, 3_500);
        assert_eq!(separate("/a", "-1\n", "100000\n", stat), None);
        assert_eq!((unified("", "", ""), separate("", "", "", "")), (None, None));
    }

    #[test]
    fn a_process_is_found_in_the_hierarchy_of_the_controller() {
        let mounts = b"cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n";
        let [old, new] = &hierarchies(mounts)[..] else { panic!("two") };
        let text = b"5:cpuset:/x\n4:cpu,cpuacct:/a/b\n0::/system.slice/c\n";
        assert_eq!((path_in(old, text), path_in(new, text)), (Some(&b"/a/b"[..]), Some(&b"/system.slice/c"[..])));
        assert_eq!(upwards(b"/a/b/\xff").collect::<Vec<_>>(), [&b"/a/b/\xff"[..], b"/a/b", b"/a"]);
        assert_eq!(upwards(b"/").count(), 0);
    }
}
