//! What is measured without programs in the kernel, and why the rest is not: the list of probes, qualities, sentences.
//!
//! Invariant: each program whose numbers are missing is in the list with the reason.

use std::path::Path;
use std::sync::Arc;

use crate::core::insight::Insight;
use crate::core::quality::Quality;
use crate::kernel::advice::{LoadError, chain};
use crate::kernel::programs::{Hook, PROGRAMS};
use crate::model::{Basis, ProbeState, ProbeStatus, Qualities};

/// What is read: names for the list of probes, the file that must be there, and what is missing where it is not.
const READ: [(&str, &str, &str); 5] = [
    ("stat", "/proc/self/stat", "User and kernel time are not known."),
    ("schedstat", SCHEDSTAT, "Waits for a CPU are not known: this kernel has no CONFIG_SCHED_INFO."),
    (
        "io",
        "/proc/self/io",
        "Bytes of block devices by process are not known: this kernel has no CONFIG_TASK_IO_ACCOUNTING.",
    ),
    ("diskstats", "/proc/diskstats", "Requests of block devices are not known."),
    ("net_dev", "/proc/self/net/dev", "Bytes of interfaces are not known."),
];
const SCHEDSTAT: &str = "/proc/self/schedstat";

/// Why only procfs is read, as a basis of numbers.
pub fn basis(error: &LoadError) -> Basis {
    let reason = match error {
        LoadError::NotPrivileged { missing } => format!("kscope was started without {missing}."),
        other => format!("The programs could not be loaded: {}.", chain(other)),
    };
    Basis::Procfs { reason: reason.into(), advice: error.advice().into() }
}

/// One line that says what is missing and how to get it.
pub fn notice(basis: &Basis) -> Option<String> {
    let Basis::Procfs { reason, advice } = basis else { return None };
    Some(format!(
        "{reason} What /proc tells is shown: times and waits as estimates, no system calls, no network by process. {advice}"
    ))
}

/// The list of probes: what is read, and the programs of insights that nothing else tells of.
pub fn probes(basis: &Basis, exists: impl Fn(&str) -> bool) -> Arc<[ProbeStatus]> {
    let Basis::Procfs { reason, advice } = basis else { return Arc::default() };
    let read = READ.iter().map(|(name, file, missing)| ProbeStatus {
        name,
        hook: Hook::Procfs,
        fallback: None,
        state: if exists(file) {
            ProbeState::Running
        } else {
            ProbeState::Failed { reason: (*missing).into(), advice: String::new() }
        },
    });
    let told = [Insight::RunQueue, Insight::Disk];
    let untold = PROGRAMS.iter().filter(|program| program.hook == Hook::TpBtf && !told.contains(&program.insight)).map(
        |program| ProbeStatus {
            name: program.name,
            hook: program.hook,
            fallback: None,
            state: ProbeState::Failed { reason: reason.to_string(), advice: advice.to_string() },
        },
    );
    read.chain(untold).collect()
}

/// What the numbers are worth. `only` some processes are measured: then devices, which are everybody's, are not.
pub fn qualities(exists: impl Fn(&str) -> bool, only: bool) -> Qualities {
    let none = Quality::NotAvailable;
    let if_there = |there: bool| if there { Quality::Estimate } else { none };
    let waits = if_there(exists(SCHEDSTAT));
    Qualities {
        syscalls: none,
        runqueue: waits,
        network: none,
        // The parts of thread time are one number: without waits, the rest would be taken for blocked.
        time: waits,
        errors: none,
        disk: if_there(exists("/proc/diskstats") && !only),
        blame: none,
        connections: none,
        dead: none,
    }
}

/// Is there such a file?
pub fn exists(file: &str) -> bool {
    Path::new(file).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unprivileged() -> Basis {
        basis(&LoadError::NotPrivileged { missing: "CAP_BPF and CAP_PERFMON".into() })
    }

    #[test]
    fn what_is_missing_is_said_with_how_to_get_it() {
        let text = notice(&unprivileged()).unwrap();
        for part in ["without CAP_BPF and CAP_PERFMON", "sudo kscope", "sudo setcap cap_bpf,cap_perfmon+ep"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(text.lines().count(), 1);
        assert_eq!(notice(&Basis::Programs), None);
    }

    #[test]
    fn what_procfs_tells_runs_and_the_rest_says_why_not() {
        let probes = probes(&unprivileged(), |_| true);
        let state = |name: &str| &probes.iter().find(|p| p.name == name).unwrap().state;
        assert_eq!((state("schedstat"), state("io")), (&ProbeState::Running, &ProbeState::Running));
        assert!(matches!(state("sys_enter"), ProbeState::Failed { reason, .. } if reason.contains("CAP_BPF")));
        assert!(!probes.iter().any(|p| p.name == "sched_switch"));
    }

    #[test]
    fn what_the_kernel_does_not_count_is_not_available() {
        let q = qualities(|_| true, false);
        assert_eq!((q.runqueue, q.time, q.disk), (Quality::Estimate, Quality::Estimate, Quality::Estimate));
        assert_eq!(
            (q.syscalls, q.network, q.dead),
            (Quality::NotAvailable, Quality::NotAvailable, Quality::NotAvailable)
        );
        let without = qualities(|file| file != SCHEDSTAT, false);
        assert_eq!((without.runqueue, without.time), (Quality::NotAvailable, Quality::NotAvailable));
        assert_eq!(qualities(|_| true, true).disk, Quality::NotAvailable);
    }
}
