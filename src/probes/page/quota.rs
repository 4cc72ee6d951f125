//! How a cgroup limits CPU time, from its files: of version 2 (`cpu.max`, `cpu.stat`), or of version 1 (`cpu.cfs_*`).
//!
//! Pure text is parsed here; the files are read by whoever has them (`probe.rs`). Invariant: a group without a limit is none.

use super::stats::Quota;

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
pub fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let has_cpu = || options.split(',').any(|option| option == "cpu");
        if kind == "cgroup2" || (kind == "cgroup" && has_cpu()) {
            found.push(Hierarchy { mount: mount.to_owned(), unified: kind == "cgroup2" });
        }
    }
    found.sort_by_key(|hierarchy| hierarchy.unified);
    found
}

/// The path of a process in a hierarchy, from its `/proc/PID/cgroup`.
pub fn path_in<'a>(hierarchy: &Hierarchy, text: &'a str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let fits = if hierarchy.unified {
            id == "0" && controllers.is_empty()
        } else {
            controllers.split(',').any(|c| c == "cpu")
        };
        fits.then_some(path)
    })
}

/// `path` and the groups above it, the nearest first; the root has no limit.
pub fn upwards(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path.trim_end_matches('/')), |path| path.rsplit_once('/').map(|(above, _)| above))
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
        let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n";
        let [old, new] = &hierarchies(mounts)[..] else { panic!("two") };
        let text = "5:cpuset:/x\n4:cpu,cpuacct:/a/b\n0::/system.slice/c\n";
        assert_eq!((path_in(old, text), path_in(new, text)), (Some("/a/b"), Some("/system.slice/c")));
        assert_eq!(upwards("/a/b/c").collect::<Vec<_>>(), ["/a/b/c", "/a/b", "/a"]);
        assert_eq!(upwards("/").count(), 0);
    }
}
