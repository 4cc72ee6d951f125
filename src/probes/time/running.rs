//! Threads that seem to be on a CPU, held against the scheduler's own account of them in procfs.
//!
//! A thread whose switch away no program saw (some sandboxes run no programs in the context of their own processes) seems to
//! run until it is switched to again. Not here: what the programs do when they find such a run out (`ebpf/src/runqueue.rs`).
//!
//! Invariant: a thread is given no more time on CPUs than the scheduler gives it; where procfs does not tell, nothing changes.

use std::fs;
use std::sync::OnceLock;

use kscope_layout::cause::{self, Beside};
use kscope_layout::{NO_CALL, Thread, flags, state, with_missed_run};

/// The scheduler's account of a running thread lags by up to one tick of its clock, which is 10 ms at most (`CONFIG_HZ=100`).
const TICK_NS: u64 = 10_000_000;
/// On CPUs without that tick (`nohz_full=`) another CPU keeps the account, once a second.
const FULL_TICK_NS: u64 = 2_000_000_000;
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

/// What a thread that seems to run really did from its last event on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It ran for so many ns, and left its CPU.
    Left(u64),
    /// It is there, but a hypervisor ran something else on its CPU for so many ns.
    Stolen(u64),
}

/// Does the kernel do without its tick on some CPUs while a thread runs there?
fn has_full_nohz() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        fs::read_to_string("/sys/devices/system/cpu/nohz_full")
            .is_ok_and(|cpus| cpus.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// How far the scheduler's account of a running thread may lag on this host, ns.
pub fn lag_ns() -> u64 {
    if has_full_nohz() { FULL_TICK_NS } else { TICK_NS }
}

/// What a thread did from its last event to `now_ns` if not simply run, where the account of one that runs may lag by so many
/// ns; `None` if it ran.
pub fn unseen(thread: &Thread, now_ns: u64, told: Told, lag_ns: u64) -> Option<Unseen> {
    let seen = thread
        .user_ns
        .wrapping_sub(thread.user_then_ns)
        .wrapping_add(thread.kernel_ns.wrapping_sub(thread.kernel_then_ns));
    let since = now_ns.saturating_sub(thread.since_ns);
    let ran = told.exec_ns.saturating_sub(thread.exec_ns).saturating_sub(seen);
    let missing = since.saturating_sub(ran);
    if missing == 0 || told.is_ready && missing <= lag_ns {
        return None;
    }
    // A thread that was away for longer than it ran and is ready again has been blocked, rather than robbed of its CPU.
    Some(if told.is_ready && missing <= ran { Unseen::Stolen(missing - lag_ns) } else { Unseen::Left(ran) })
}

/// Threads of a process, by procfs; `None` where it does not tell.
pub fn threads_of(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let at = stat.iter().rposition(|byte| *byte == b')')?;
    // The fields after the name begin with the third, and threads are the twentieth.
    let text = std::str::from_utf8(stat.get(at + 2..)?).ok()?;
    text.split_ascii_whitespace().nth(17)?.parse().ok()
}

/// Makes of a thread that seemed to run what it did. If it left its CPU it is blocked from then on, as far as is known.
pub fn correct(entry: &mut Beside, unseen: Unseen, now_ns: u64) {
    let thread = &mut entry.thread;
    let ran_ns = match unseen {
        Unseen::Left(ran_ns) => ran_ns,
        Unseen::Stolen(ns) => {
            thread.runnable_ns = thread.runnable_ns.saturating_add(ns);
            thread.stolen_ns = thread.stolen_ns.saturating_add(ns);
            thread.since_ns = now_ns.min(thread.since_ns.saturating_add(ns));
            return;
        }
    };
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

    const NOW: u64 = 1_200_000_000;

    fn told(exec_ns: u64, is_ready: bool) -> Option<Unseen> {
        unseen(&thread(), NOW, Told { exec_ns, is_ready }, TICK_NS)
    }

    #[test]
    fn a_thread_that_runs_may_be_a_tick_behind() {
        for lag in [0, 4_000_000, 10_000_000] {
            assert_eq!(told(500 + 200_000_000 - lag, true), None);
        }
        assert_eq!(unseen(&thread(), NOW, Told { exec_ns: 500, is_ready: true }, FULL_TICK_NS), None);
    }

    #[test]
    fn a_thread_that_left_ran_as_long_as_the_scheduler_says() {
        assert_eq!(told(80_500, false), Some(Unseen::Left(80_000)));
        // It is ready again, but has been away for longer than it ran.
        assert_eq!(told(80_500, true), Some(Unseen::Left(80_000)));
        assert_eq!(told(0, false), Some(Unseen::Left(0)));
    }

    #[test]
    fn a_thread_that_was_robbed_of_its_cpu_was_ready() {
        let robbed = told(500 + 150_000_000, true).unwrap_or_else(|| panic!("it just ran"));
        assert_eq!(robbed, Unseen::Stolen(40_000_000));
        let mut entry = Beside { thread: thread(), ..Beside::zeroed() };
        correct(&mut entry, robbed, NOW);
        let Thread { runnable_ns, stolen_ns, since_ns, flags, .. } = entry.thread;
        assert_eq!((runnable_ns, stolen_ns, NOW - since_ns, flags), (40_000_000, 40_000_000, 160_000_000, 0));
    }

    #[test]
    fn time_that_is_accounted_already_is_not_counted_twice() {
        let thread = Thread { user_ns: 30_070, ..thread() };
        let told = Told { exec_ns: 80_500, is_ready: false };
        assert_eq!(unseen(&thread, NOW, told, TICK_NS), Some(Unseen::Left(50_000)));
    }

    #[test]
    fn procfs_tells_of_this_thread() {
        let pid = std::process::id();
        let told = ask(pid, pid);
        assert!(told.is_none_or(|told| told.exec_ns > 0), "{told:?}");
        assert!(threads_of(pid).is_none_or(|threads| threads > 0));
    }
}
