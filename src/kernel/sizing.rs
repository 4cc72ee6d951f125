//! How large the maps are: by the number of CPUs and by how high thread ids go on this host.
//!
//! Pure: it is told the facts of the host. Invariant: at most 64 MiB in all, on any host.

/// What the sizes depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Possible CPUs (not only those online now).
    pub cpus: u32,
    /// `kernel.pid_max`.
    pub pid_max: u32,
}

/// Entries of each map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Slots of the thread array, a power of two.
    pub thread_slots: u32,
    /// Threads that found their slot taken.
    pub threads_more: u32,
    /// Latency records: pairs of process and system call in use at the same time.
    pub records: u32,
    /// Copies of the system-call table, a power of two; CPUs share them evenly.
    pub call_shards: u32,
    /// Rows of run-queue delays.
    pub cpus: u32,
}

impl Sizes {
    /// Sizes for a host.
    pub fn of(host: HostFacts) -> Self {
        let cpus = host.cpus.clamp(1, 4096);
        Self {
            thread_slots: host.pid_max.clamp(4096, 65_536).next_power_of_two(),
            threads_more: 16_384,
            records: (32_768 + 128 * cpus).min(49_152),
            call_shards: cpus.next_power_of_two().min(16),
            cpus,
        }
    }
}

/// Possible CPUs from the text of `/sys/devices/system/cpu/possible`, such as `0-127`; the ids may have holes.
pub fn parse_possible_cpus(text: &str) -> Option<u32> {
    let last = text.trim().rsplit([',', '-']).next()?;
    last.parse::<u32>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope_layout::{CALL_ROWS, Record, Row, Thread};

    #[test]
    fn even_the_largest_host_stays_within_the_bound() {
        let s = Sizes::of(HostFacts { cpus: 128, pid_max: 4_194_304 });
        // Hash elements carry their key and about 48 bytes of the kernel's own.
        let bytes = s.thread_slots as usize * size_of::<Thread>()
            + s.threads_more as usize * (size_of::<Thread>() + 64)
            + s.records as usize * (size_of::<Record>() + 56)
            + (s.call_shards * CALL_ROWS + s.cpus) as usize * size_of::<Row>();
        assert!(bytes <= 64 << 20, "{} MiB", bytes >> 20);
    }

    #[test]
    fn possible_cpus_are_one_more_than_the_last() {
        assert_eq!(parse_possible_cpus("0\n"), Some(1));
        assert_eq!(parse_possible_cpus("0-127\n"), Some(128));
        assert_eq!(parse_possible_cpus("0-3,8-11"), Some(12));
        assert_eq!(parse_possible_cpus(""), None);
    }
}
