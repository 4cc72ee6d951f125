//! The one list of rules. Each says when it speaks, and finds what to say.
//!
//! Not here: facts and windows. Every rule is tested on facts captured from the real situation (`tests/fixtures/verdicts`,
//! made anew by `make fixtures`), and must be silent on those of a machine at rest.
//!
//! Invariant: thresholds are constants with units, and stated in the rule's own words.

use std::collections::BTreeMap;

use super::facts::{CallFacts, ProcessFacts};
use super::window::{Window, median};
use super::{Evidence, Verdict};
use crate::core::units::{duration, percent, printable, rate};
use crate::probes::syscalls::names::{name, waits};

/// A rule.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// When it speaks.
    pub when: &'static str,
    /// What it finds.
    pub find: fn(&Window<'_>) -> Vec<Verdict>,
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "slower",
        when: "the p99 of a working call of a process is at least 1 ms and four times what it was before, in the median of intervals with 20 calls or more",
        find: slower,
    },
    Rule {
        name: "starved",
        when: "a process waits for a CPU at least as long as it runs, and for a fifth of the time of one CPU or more; those of one name are one sentence",
        find: starved,
    },
    Rule {
        name: "one_cpu",
        when: "of several CPUs one has 80 % of all waiting, and threads wait for it as long as the interval or longer",
        find: one_cpu,
    },
    Rule { name: "locked", when: "a call waits for a file's lock for 10 s or longer", find: locked },
    Rule {
        name: "uninterruptible",
        when: "a thread has been in state D inside one call for 10 s or longer",
        find: uninterruptible,
    },
    Rule {
        name: "short_lives",
        when: "processes of one name and parent end at 20 a second or more",
        find: short_lives,
    },
];

const SLOWER_TIMES: u64 = 4;
const SLOWER_NS: u64 = 1_000_000;
const SLOWER_CALLS: u64 = 20;

/// A call takes longer than it did.
fn slower(window: &Window<'_>) -> Vec<Verdict> {
    let mut found = Vec::new();
    let processes = window.processes();
    for process in &processes {
        for call in &process.calls {
            let now = median(Window::p99s(window.now(), process.id, call.nr, SLOWER_CALLS));
            let before = median(Window::p99s(window.before(), process.id, call.nr, SLOWER_CALLS));
            let (Some(now), Some(before)) = (now, before) else { continue };
            if now >= SLOWER_NS && now >= before.saturating_mul(SLOWER_TIMES) {
                let sentence = format!(
                    "p99 of {} in {} rose from {} to {}{}{}",
                    name(call.nr),
                    who(process),
                    duration(before),
                    duration(now),
                    since(window, process, call, now),
                    cause(call, &processes, process)
                );
                let weight = call.total_ns as f64 / 1e9 / window.seconds();
                found.push(verdict("slower", &sentence, Some(process), Evidence::Syscalls(call.nr), weight));
            }
        }
    }
    found
}

/// Since when it is so: how long ago the last interval was in which it was nearer to before than to now.
fn since(window: &Window<'_>, process: &ProcessFacts, call: &CallFacts, now: u64) -> String {
    let mut seconds = 0.0;
    for facts in window.all().iter().rev() {
        match Window::p99s(&[facts], process.id, call.nr, 1).first() {
            Some(p99) if p99.saturating_mul(2) < now => return format!(" {} ago", units_s(seconds)),
            _ => seconds += facts.seconds,
        }
    }
    String::new()
}

fn units_s(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a window is minutes long")]
    duration((seconds * 1e9) as u64)
}

/// A part of a call's time from which on it is named as the cause.
const CAUSE: f64 = 0.4;

/// What most of a call's time is.
fn cause(call: &CallFacts, processes: &[ProcessFacts], of: &ProcessFacts) -> String {
    let share = |ns: u64| ns as f64 / call.total_ns.max(1) as f64;
    let (runnable, blocked) = (share(call.runnable_ns), share(call.blocked_ns));
    if runnable >= CAUSE && runnable >= blocked {
        format!("; {} of it is waiting for a CPU{}", percent(runnable), meanwhile(processes, of))
    } else if blocked >= CAUSE {
        format!("; {} of it is blocked, not working", percent(blocked))
    } else {
        String::new()
    }
}

/// Who ran most of those that were seen on the same CPUs, processes of one name together. Who ran in its place is measured
/// only while somebody looks (Scheduler, key b).
fn meanwhile(processes: &[ProcessFacts], of: &ProcessFacts) -> String {
    let mut names: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for other in processes.iter().filter(|p| p.id != of.id && p.ran_on & of.ran_on != 0 && p.comm != of.comm) {
        let sum = names.entry(&other.comm).or_default();
        *sum = (sum.0.saturating_add(other.on_cpu_ns), sum.1 + 1);
    }
    let Some((name, (_, n))) = names.into_iter().max_by_key(|(_, sum)| *sum) else { return String::new() };
    let times = if n > 1 { format!(" ({n} processes)") } else { String::new() };
    format!("; on the same CPUs {}{times} ran most", printable(name))
}

const STARVED_OF_A_CPU: f64 = 0.2;

/// Processes that could run are kept waiting: those of one name together, so that the many do not hide the one.
fn starved(window: &Window<'_>) -> Vec<Verdict> {
    if !window.now().iter().all(|f| f.time_known) {
        return Vec::new();
    }
    let processes = window.processes();
    let mut names: BTreeMap<&str, Vec<&ProcessFacts>> = BTreeMap::new();
    for process in &processes {
        let waits_too_long = process.runnable_ns >= process.on_cpu_ns
            && process.runnable_ns as f64 / 1e9 >= STARVED_OF_A_CPU * window.seconds();
        if waits_too_long {
            names.entry(&process.comm).or_default().push(process);
        }
    }
    let sentence = |group: Vec<&ProcessFacts>| {
        let most = group.iter().max_by_key(|p| (p.runnable_ns, std::cmp::Reverse(p.id)))?;
        let (waited_ns, ran_ns) = group.iter().fold((0_u64, 0_u64), |(waited, ran), p| {
            (waited.saturating_add(p.runnable_ns), ran.saturating_add(p.on_cpu_ns))
        });
        let (who, wait, they) = match group.len() {
            1 => (who(most), "waits", "it"),
            n => (format!("{} ({n} processes)", printable(&most.comm)), "wait", "they"),
        };
        let share = percent(waited_ns as f64 / waited_ns.saturating_add(ran_ns).max(1) as f64);
        let sentence =
            format!("{who} {wait} for a CPU in {share} of the time {they} could run{}", meanwhile(&processes, most));
        let weight = waited_ns as f64 / 1e9 / window.seconds();
        Some(verdict("starved", &sentence, Some(most), Evidence::Scheduler, weight))
    };
    names.into_values().filter_map(sentence).collect()
}

const ONE_CPU_SHARE: f64 = 0.8;

/// The waiting is on one CPU, others are there.
fn one_cpu(window: &Window<'_>) -> Vec<Verdict> {
    let queues = window.run_queues();
    let all: u64 = queues.iter().map(|q| q.waited_ns).fold(0, u64::saturating_add);
    let Some(worst) = queues.iter().max_by_key(|q| q.waited_ns) else { return Vec::new() };
    let (share, waiting) =
        (worst.waited_ns as f64 / all.max(1) as f64, worst.waited_ns as f64 / 1e9 / window.seconds());
    if window.newest().is_none_or(|f| f.cpus < 2) || share < ONE_CPU_SHARE || waiting < 1.0 {
        return Vec::new();
    }
    // 0: it is not known how the delays are distributed.
    let p99 = if worst.p99_ns > 0 { format!(", p99 {}", duration(worst.p99_ns)) } else { String::new() };
    let sentence = format!(
        "cpu {} carries {} of all waiting for a CPU: on average {waiting:.1} threads wait for it{p99}",
        worst.cpu,
        percent(share)
    );
    vec![verdict("one_cpu", &sentence, None, Evidence::Scheduler, waiting)]
}

const STUCK_NS: u64 = 10_000_000_000;

/// Somebody waits for a lock on a file.
fn locked(window: &Window<'_>) -> Vec<Verdict> {
    stuck(window, "locked", |nr, _| matches!(&*name(nr), "flock" | "fcntl"))
}

/// Somebody sleeps so that not even a signal wakes it.
fn uninterruptible(window: &Window<'_>) -> Vec<Verdict> {
    stuck(window, "uninterruptible", |nr, uninterruptible| uninterruptible && !waits(nr))
}

fn stuck(window: &Window<'_>, rule: &'static str, is: fn(u32, bool) -> bool) -> Vec<Verdict> {
    let calls = window.newest().map_or(&[][..], |f| &f.stuck);
    let old = calls.iter().filter(|call| call.age_ns >= STUCK_NS && is(call.nr, call.uninterruptible));
    let sentence = |call: &super::StuckFacts| {
        let on = if call.on.is_empty() { String::new() } else { format!(": {}", printable(&call.on)) };
        let state = if call.uninterruptible { " in state D" } else { "" };
        let (who, call_name, age) = (named(&call.comm, call.id.0), name(call.nr), duration(call.age_ns));
        Verdict {
            rule: rule.into(),
            sentence: format!("{who} has been inside {call_name}{state} for {age}{on}."),
            pid: Some(call.id.0),
            evidence: Evidence::Stuck,
            // One thread that does nothing.
            weight: 1.0,
        }
    };
    old.map(sentence).collect()
}

const ENDS_A_SECOND: f64 = 20.0;

/// Processes are started only to end.
fn short_lives(window: &Window<'_>) -> Vec<Verdict> {
    let mut groups: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (comm, parent, n) in window.now().iter().flat_map(|f| &f.ended) {
        let sum = groups.entry((comm, parent)).or_default();
        *sum = sum.saturating_add(*n);
    }
    let a_second = |n: u64| n as f64 / window.seconds();
    let many = groups.into_iter().filter(|(_, n)| a_second(*n) >= ENDS_A_SECOND);
    let sentence = |((comm, parent), n): ((&str, &str), u64)| {
        let by = if parent.is_empty() { String::new() } else { format!(", started by {}", printable(parent)) };
        let sentence = format!(
            "{} ends {}{by}: processes that live so shortly are seen by no top",
            printable(comm),
            rate(a_second(n))
        );
        // What a fork, an exec and an exit take at least: half a millisecond.
        verdict("short_lives", &sentence, None, Evidence::Processes, a_second(n) * 0.0005)
    };
    many.map(sentence).collect()
}

fn verdict(rule: &str, sentence: &str, of: Option<&ProcessFacts>, evidence: Evidence, weight: f64) -> Verdict {
    Verdict { rule: rule.into(), sentence: format!("{sentence}."), pid: of.map(|p| p.id.0), evidence, weight }
}

fn who(process: &ProcessFacts) -> String {
    named(&process.comm, process.id.0)
}

fn named(comm: &str, pid: u32) -> String {
    format!("{} ({pid})", printable(comm))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
