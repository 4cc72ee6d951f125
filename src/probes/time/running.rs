//! Threads that seem to be on a CPU, held against the scheduler's own account of them in procfs.
//!
//! A thread whose switch away no program saw (some sandboxes run no programs in the context of their own processes) seems to
//! run until it is switched to again. Not here: what the programs do when they find such a run out (`ebpf/src/runqueue.rs`).
//!
//! Invariant: a thread is given no more time on CPUs than the scheduler gives it; where procfs does not tell, nothing changes.

use std::fs;

use kscope_layout::cause::{self, Beside};
use kscope_layout::{NO_CALL, Thread, flags, state, with_missed_run};

/// The scheduler's account of a running thread lags by up to one tick of its clock, which is 10 ms at most (`CONFIG_HZ=100`).
const TICK_NS: u64 = 10_000_000;
/// A run that began so shortly ago is taken for what it seems: reading two files takes about as long.
const RECENT_NS: u64 = 50_000;

/// What procfs says of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Time on CPUs, ns: field 1 of `schedstat`.
    pub exec_ns: u64,
    /// On a CPU, or waiting for one: state R of `stat`.
    pub is_ready: bool,
}

/// Asks procfs of a thread; `None` where it does not tell.
pub fn ask(pid: u32, tid: u32) -> Option<Told> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}")).ok();
    let exec_ns = read("schedstat")?.split_ascii_whitespace().next()?.parse().ok()?;
    // The name, in brackets, may hold anything but the last of them.
    let is_ready = fs::read(format!("/proc/{pid}/task/{tid}/stat"))
        .ok()
        .and_then(|stat| {
            let at = stat.iter().rposition(|byte| *byte == b')')?;
            stat.get(at + 2).map(|state| *state == b'R')
        })
        .unwrap_or(false);
    Some(Told { exec_ns, is_ready })
}

/// Is it worth asking of a thread that seems to run at `now_ns`?
pub const fn is_in_doubt(thread: &Thread, now_ns: u64) -> bool {
    now_ns.saturating_sub(thread.since_ns) > RECENT_NS
}

/// The time on CPUs of a thread from its last event to `now_ns`, if it has left its CPU since, unseen; `None` if it runs.
pub fn ran_unseen_ns(thread: &Thread, now_ns: u64, told: Told) -> Option<u64> {
    let seen = thread
        .user_ns
        .wrapping_sub(thread.user_then_ns)
        .wrapping_add(thread.kernel_ns.wrapping_sub(thread.kernel_then_ns));
    let since = now_ns.saturating_sub(thread.since_ns);
    let ran = told.exec_ns.saturating_sub(thread.exec_ns).saturating_sub(seen);
    let runs = ran >= since || told.is_ready && since - ran <= TICK_NS;
    (!runs).then_some(ran)
}

/// Threads of a process, by procfs; `None` where it does not tell.
pub fn threads_of(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let at = stat.iter().rposition(|byte| *byte == b')')?;
    // The fields after the name begin with the third, and threads are the twentieth.
    let text = std::str::from_utf8(stat.get(at + 2..)?).ok()?;
    text.split_ascii_whitespace().nth(17)?.parse().ok()
}

/// Makes of a thread that seemed to run a thread that ran for so long after its last event, and was blocked then until
/// `now_ns`: how it waited is not known.
pub fn leave(entry: &mut Beside, ran_ns: u64, now_ns: u64) {
    let thread = &mut entry.thread;
    if thread.call != NO_CALL || thread.flags & flags::KTHREAD != 0 {
        thread.kernel_ns = thread.kernel_ns.saturating_add(ran_ns);
    } else {
        thread.user_ns = thread.user_ns.saturating_add(ran_ns);
    }
    thread.state = state::SLEEPING;
    thread.since_ns = now_ns.min(thread.since_ns.saturating_add(ran_ns));
    thread.flags = cause::with(with_missed_run(thread.flags), cause::OTHER);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable as _;

    fn thread() -> Thread {
        Thread {
            since_ns: 1_000_000_000,
            exec_ns: 500,
            user_ns: 70,
            user_then_ns: 70,
            call: NO_CALL,
            ..Thread::zeroed()
        }
    }

    #[test]
    fn a_thread_that_runs_may_be_a_tick_behind() {
        let now = 1_200_000_000;
        for lag in [0, 4_000_000, 10_000_000] {
            assert_eq!(ran_unseen_ns(&thread(), now, Told { exec_ns: 500 + 200_000_000 - lag, is_ready: true }), None);
        }
    }

    #[test]
    fn a_thread_that_sleeps_ran_as_long_as_the_scheduler_says() {
        let told = |exec_ns, is_ready| ran_unseen_ns(&thread(), 1_200_000_000, Told { exec_ns, is_ready });
        assert_eq!(told(80_500, false), Some(80_000));
        // It is ready again, but has been away for longer than a tick.
        assert_eq!(told(80_500, true), Some(80_000));
        assert_eq!(told(0, false), Some(0));
    }

    #[test]
    fn time_that_is_accounted_already_is_not_counted_twice() {
        let thread = Thread { user_ns: 30_070, ..thread() };
        assert_eq!(ran_unseen_ns(&thread, 1_200_000_000, Told { exec_ns: 80_500, is_ready: false }), Some(50_000));
    }

    #[test]
    fn procfs_tells_of_this_thread() {
        let pid = std::process::id();
        let told = ask(pid, pid);
        assert!(told.is_none_or(|told| told.exec_ns > 0), "{told:?}");
        assert!(threads_of(pid).is_none_or(|threads| threads > 0));
    }
}
