//! Arguments and results of a call as people write them.
//!
//! Invariant: what comes out has no control character, since what came from outside has none any more.

use crate::core::arguments::{self, Argument};
use crate::core::units::bytes;
use crate::probes::errors::names;

use super::stats::Exemplar;

/// The arguments of a call: `fd 7 ~/var/log/syslog, 4.00 KiB, at 8192`. What a descriptor was open on has a `~`, since it was asked
/// later. Empty where nothing is known of them.
pub fn arguments(exemplar: &Exemplar) -> String {
    let signature = arguments::of(exemplar.nr).unwrap_or_default();
    let mut files = Some(exemplar.file.as_str());
    let parts = signature.iter().zip(exemplar.args).filter_map(|(argument, word)| {
        let file = if *argument == Argument::Fd { files.take().unwrap_or_default() } else { "" };
        part(*argument, word, &exemplar.text, file)
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// What it returned: a number, an address, or the name of an error.
pub fn result(exemplar: &Exemplar) -> String {
    match exemplar.errno() {
        Some(errno) => names::name(errno).into_owned(),
        None if exemplar.result < 0 || exemplar.result > ADDRESSES => format!("{:#x}", exemplar.result),
        None => exemplar.result.to_string(),
    }
}

/// Results above are addresses, not sizes.
const ADDRESSES: i64 = 1 << 40;

#[expect(clippy::cast_possible_truncation, reason = "the kernel takes the lower half of the register as an int")]
fn part(argument: Argument, word: u64, text: &str, file: &str) -> Option<String> {
    let int = word as i32;
    let unless_zero = |text: String| (word != 0).then_some(text);
    match argument {
        Argument::Hidden => None,
        Argument::Fd if int < 0 => Some(format!("fd {int}")),
        Argument::Fd => Some(if file.is_empty() { format!("fd {int}") } else { format!("fd {int} ~{file}") }),
        Argument::Dir => (int != AT_FDCWD).then(|| format!("dir fd {int}")),
        // After a successful `execve` the registers are those of another program, and hold nothing.
        Argument::Path if text.is_empty() => unless_zero(format!("path at {word:#x}")),
        Argument::Path => Some(text.into()),
        Argument::Address => (!text.is_empty()).then(|| text.into()),
        Argument::Size => Some(bytes(word as f64)),
        Argument::Offset => Some(format!("at {}", word.cast_signed())),
        Argument::Flags => unless_zero(format!("flags {:#x}", word as u32)),
        Argument::OpenFlags => Some(open_flags(word as u32)),
        Argument::FutexOperation => Some(futex_operation(word as u32)),
        Argument::Pid => Some(format!("pid {int}")),
        Argument::Signal => Some(format!("signal {int}")),
        Argument::Pointer => unless_zero(format!("{word:#x}")),
        Argument::Number(what) => Some(format!("{what} {int}")),
    }
}

/// `AT_FDCWD` of include/uapi/linux/fcntl.h.
const AT_FDCWD: i32 = -100;

/// Flags of `open` that are the same everywhere (include/uapi/asm-generic/fcntl.h).
const OPEN: [(u32, &str); 6] = [
    (0o100, "CREAT"),
    (0o200, "EXCL"),
    (0o1000, "TRUNC"),
    (0o2000, "APPEND"),
    (0o4000, "NONBLOCK"),
    (0o2_000_000, "CLOEXEC"),
];

fn open_flags(word: u32) -> String {
    let access = ["RDONLY", "WRONLY", "RDWR", "3"][(word & 3) as usize];
    let mut rest = word & !3;
    let mut out = String::from(access);
    for (bit, name) in OPEN.into_iter().filter(|(bit, _)| word & bit != 0) {
        rest &= !bit;
        out.push('|');
        out.push_str(name);
    }
    if rest == 0 { out } else { format!("{out}|{rest:#x}") }
}

/// Operations of `futex` by number (include/uapi/linux/futex.h).
const FUTEX: [&str; 14] = [
    "wait",
    "wake",
    "fd",
    "requeue",
    "cmp_requeue",
    "wake_op",
    "lock_pi",
    "unlock_pi",
    "trylock_pi",
    "wait_bitset",
    "wake_bitset",
    "wait_requeue_pi",
    "cmp_requeue_pi",
    "lock_pi2",
];

fn futex_operation(word: u32) -> String {
    // Without the bits for "private" and for the clock.
    FUTEX.get((word & 0x7f) as usize).map_or_else(|| format!("operation {word:#x}"), |name| (*name).into())
}

#[cfg(test)]
mod tests {
    use syscalls::Sysno;

    use super::*;
    use crate::core::ident::ProcessId;

    fn exemplar(call: Sysno, args: [u64; 6], text: &str, file: &str, result: i64) -> Exemplar {
        Exemplar {
            id: ProcessId { pid: 7, birth: 1 },
            tid: 7,
            comm: "reader".into(),
            cgroup: "/".into(),
            nr: call as u32,
            unix_s: 0.0,
            latency_ns: 1,
            blocked_ns: 0,
            runnable_ns: 0,
            result,
            args,
            text: text.into(),
            file: file.into(),
        }
    }

    #[test]
    fn arguments_are_written_by_what_they_are() {
        let read = exemplar(Sysno::pread64, [7, 0x7f00, 4096, 8192, 9, 9], "", "/var/log/syslog", 4096);
        assert_eq!(arguments(&read), "fd 7 ~/var/log/syslog, 4.00 KiB, at 8192");
        let open = exemplar(Sysno::openat, [(-100_i64).cast_unsigned(), 1, 0o2_000_101, 0, 0, 0], "/etc/x", "", -2);
        assert_eq!((arguments(&open).as_str(), result(&open).as_str()), ("/etc/x, WRONLY|CREAT|CLOEXEC", "ENOENT"));
        let at = exemplar(Sysno::openat, [5, 0x1000, 0, 0, 0, 0], "", "", 3);
        assert_eq!((arguments(&at).as_str(), result(&at).as_str()), ("dir fd 5, path at 0x1000, RDONLY", "3"));
        let copy = exemplar(Sysno::sendfile, [4, 5, 0, 10, 0, 0], "", "socket:[1]", 10);
        assert_eq!(arguments(&copy), "fd 4 ~socket:[1], fd 5, 10 B");
        let wait = exemplar(Sysno::futex, [0x7fff_0000, 128, 2, 0, 0, 0], "", "", 0);
        assert_eq!(arguments(&wait), "0x7fff0000, wait, value 2");
        let map = exemplar(Sysno::mmap, [0, 4096, 3, 0x22, u64::MAX, 0], "", "", 0x7f12_3456_7000);
        assert_eq!(arguments(&map), "4.00 KiB, flags 0x3, flags 0x22, fd -1, at 0");
        assert_eq!(result(&map), "0x7f1234567000");
    }

    #[test]
    fn of_calls_that_are_not_known_nothing_is_claimed() {
        assert_eq!(arguments(&exemplar(Sysno::bpf, [1; 6], "", "", 0)), "");
    }
}
