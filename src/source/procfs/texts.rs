//! What the files of procfs say: parsed from bytes that others wrote.
//!
//! Pure. A name may hold anything, and a file of another kernel may have more fields or fewer: what cannot be read is `None`.
//!
//! Invariant: no text makes these panic.

use std::str::from_utf8;

/// Nanoseconds of the unit of time in `/proc/PID/stat` (`USER_HZ`, 100 a second on every architecture kscope knows).
const TICK_NS: u64 = 10_000_000;
/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The fields of `/proc/PID/stat` that are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Its name as it is: untrusted bytes.
    pub comm: &'a [u8],
    /// The letter of its main thread's state.
    pub state: u8,
    /// Pid of its parent.
    pub ppid: u32,
    /// A kernel thread.
    pub kthread: bool,
    /// CPU time in user mode of all its threads, dead ones included, in steps of 10 ms, ns.
    pub user_ns: u64,
    /// The same in the kernel.
    pub kernel_ns: u64,
    /// Threads alive.
    pub threads: u32,
    /// Start since boot, in steps of 10 ms, ns.
    pub start_ns: u64,
    /// The CPU its main thread last ran on.
    pub cpu: u32,
}

/// Reads `/proc/PID/stat`. The name ends at the last parenthesis, whatever is in it.
pub fn stat(bytes: &[u8]) -> Option<Stat<'_>> {
    let open = bytes.iter().position(|&b| b == b'(')?;
    let close = bytes.iter().rposition(|&b| b == b')')?;
    let comm = bytes.get(open + 1..close)?;
    let fields: Vec<&str> = from_utf8(bytes.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
    // Fields are numbered from 1 in proc(5); the one after the name is the third.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    let small = |at: usize| field(at)?.parse::<u32>().ok();
    Some(Stat {
        comm,
        state: *field(3)?.as_bytes().first()?,
        ppid: small(4)?,
        kthread: number(9)? & KERNEL_THREAD != 0,
        user_ns: number(14)?.saturating_mul(TICK_NS),
        kernel_ns: number(15)?.saturating_mul(TICK_NS),
        threads: small(20)?,
        start_ns: number(22)?.saturating_mul(TICK_NS),
        cpu: small(39)?,
    })
}

/// What the scheduler counts of one thread since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// Time on CPUs, ns.
    pub on_cpu_ns: u64,
    /// Time it waited for one; of waits that have ended, ns.
    pub delay_ns: u64,
    /// How often it got one.
    pub runs: u64,
}

/// Reads `/proc/PID/task/TID/schedstat`.
pub fn schedstat(bytes: &[u8]) -> Option<Schedstat> {
    let mut numbers = from_utf8(bytes).ok()?.split_ascii_whitespace().map(|field| field.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Schedstat { on_cpu_ns: next()?, delay_ns: next()?, runs: next()? })
}

/// Bytes read from storage and written to it, of `/proc/PID/io`. What was written and deleted again before it got there is
/// taken out.
pub fn io(bytes: &[u8]) -> Option<(u64, u64)> {
    let text = from_utf8(bytes).ok()?;
    let written: u64 = value(text, "write_bytes:")?;
    Some((value(text, "read_bytes:")?, written.saturating_sub(value(text, "cancelled_write_bytes:").unwrap_or(0))))
}

/// How often a thread left a CPU of its own will, and how often it was pushed off, of `/proc/PID/task/TID/status`.
pub fn switches(bytes: &[u8]) -> Option<(u64, u64)> {
    // The name is in it, escaped by the kernel; it may be no UTF-8 all the same.
    let text = String::from_utf8_lossy(bytes);
    Some((value(&text, "voluntary_ctxt_switches:")?, value(&text, "nonvoluntary_ctxt_switches:")?))
}

/// The number after `key` at the beginning of a line.
fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

/// Waits that ended on each CPU, and how long they took in all, ns, of `/proc/schedstat`.
pub fn cpu_waits(text: &str) -> Vec<(u32, u64, u64)> {
    let cpu = |line: &str| {
        let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let cpu = fields.next()?.parse().ok()?;
        // The first six tell of calls of the scheduler, the seventh how long was run (Documentation/scheduler/sched-stats).
        let mut numbers = fields.map(|field| field.parse().ok());
        let waited_ns = numbers.nth(7).flatten()?;
        Some((cpu, numbers.next().flatten()?, waited_ns))
    };
    text.lines().filter_map(cpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: &str = "S 7 12 12 0 -1 4194560 9 8 7 6 150 25 3 2 20 0 4 0 8877 3133440 418 18446744073709551615 1 2 3 4 5 6 \
                        7 8 9 10 0 0 17 3 0 0 0 0 0 1 2 3 4 5 6 7 0";

    #[test]
    fn names_may_hold_anything() {
        for name in ["kscope", "a) b (c", "two\nlines", ") S 1 (", "\u{1b}[2J", "", "((", "))"] {
            let line = format!("12 ({name}) {REST}\n");
            let read = stat(line.as_bytes()).unwrap();
            assert_eq!(read.comm, name.as_bytes());
            assert_eq!((read.state, read.ppid, read.threads, read.cpu), (b'S', 7, 4, 3), "{name:?}");
            assert_eq!((read.user_ns, read.kernel_ns), (1_500_000_000, 250_000_000));
            assert_eq!((read.start_ns, read.kthread), (88_770_000_000, false));
        }
        let odd = [b"12 (\xff\xfe) ".as_slice(), REST.as_bytes()].concat();
        assert_eq!(stat(&odd).unwrap().comm, b"\xff\xfe");
    }

    #[test]
    fn a_kernel_thread_says_so() {
        let line = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 3 0 0 20 0 1 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0";
        assert!(stat(line.as_bytes()).unwrap().kthread);
    }

    #[test]
    fn missing_fields_are_none() {
        for line in
            ["", "12", "12 (a", ") (", "12 (a)", "12 (a) S", "12 (a) S x 1 2 3", "12 (a) S 7 12 12 0 -1 4194560 9"]
        {
            assert_eq!(stat(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(schedstat(b"127640 2108611"), None);
        assert_eq!(schedstat(b"1 two 3"), None);
        assert_eq!(io(b"rchar: 1\nwchar: 2\n"), None);
        assert_eq!(switches(b"voluntary_ctxt_switches:\t3\n"), None);
    }

    #[test]
    fn the_scheduler_says_how_long_and_how_often() {
        let known = Schedstat { on_cpu_ns: 127_640, delay_ns: 2_108_611, runs: 2 };
        assert_eq!(schedstat(b"127640 2108611 2\n"), Some(known));
    }

    #[test]
    fn what_was_never_written_back_is_not_written() {
        let text = b"rchar: 6976\nwchar: 9\nsyscr: 10\nsyscw: 0\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n";
        assert_eq!(io(text), Some((4_096, 4_096)));
    }

    #[test]
    fn switches_are_told_apart() {
        let text = b"Name:\tvoluntary_ctxt_switches: 9\nState:\tR\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";
        assert_eq!(switches(text), Some((150, 545)));
    }

    #[test]
    fn waits_of_cpus_are_the_eighth_and_ninth_number() {
        let text = "version 17\ntimestamp 4294892295\ncpu0 0 0 0 0 0 0 9000 7000 12 \ndomain0 MC 03 1 2 3\ncpu1 0 0 0 0 0 0 5 6 7\ncpu2 1\ncpux 0 0 0 0 0 0 5 6 7\n";
        assert_eq!(cpu_waits(text), [(0, 12, 7_000), (1, 7, 6)]);
    }

    proptest! {
        #[test]
        fn no_text_breaks_them(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[cpu0-9() \\n:_a-z]{0,200}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = (stat(bytes), schedstat(bytes), io(bytes), switches(bytes));
            }
            let _ = cpu_waits(&text);
        }
    }
}
