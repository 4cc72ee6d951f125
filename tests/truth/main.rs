//! The truth: kscope's numbers against what a workload knows of itself, on the running kernel.
//!
//! Each trial runs `kscope` on a workload and compares. The workloads live in this same executable, behind
//! `--workload NAME ARGS…`, and write what they measured of themselves to the file named by `KSCOPE_FACTS`.
//!
//! Invariant: with privileges and BTF every trial runs, and fails where a probe does not work. Only without them are
//! trials ignored, by name and with the reason, and the last line says so. Bounds are those the interface states; none has a margin for luck.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod accounts;
mod blame;
mod budget;
mod causes;
mod command;
mod connections;
mod dashboard;
mod denied;
mod disk;
mod doctor;
mod errors;
mod exemplars;
mod faults;
mod filters;
mod interrupted;
mod interval;
mod kscope;
mod ladder;
mod launched;
mod left_out;
mod lifecycle;
mod lives;
mod network;
mod ordinary;
mod own;
mod page;
mod process;
mod runqueue;
mod separate;
mod storms;
mod stuck;
mod syscalls;
mod terminal;
mod time;
mod unprivileged;
mod verdicts;
mod workload;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

/// The name of a trial and what it does.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("--workload") => return workload::main(&args.collect::<Vec<_>>()),
        Some("--confined") => return separate::confined(&args.next().unwrap()),
        Some("--malformed") => return separate::malformed(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Trials share two things that only one may use at a time: the CPUs and the dashboard's idea of "the busiest".
    arguments.test_threads = Some(1);
    let conclusion = libtest_mimic::run(&arguments, trials());
    left_out::say(&conclusion);
    conclusion.exit_code()
}

fn trials() -> Vec<Trial> {
    let kernel = [
        syscalls::CASES,
        runqueue::CASES,
        network::CASES,
        ladder::CASES,
        time::CASES,
        causes::CASES,
        page::CASES,
        process::CASES,
        errors::CASES,
        denied::CASES,
        interrupted::CASES,
        exemplars::CASES,
        lives::CASES,
        filters::KERNEL_CASES,
        stuck::CASES,
        verdicts::CASES,
        connections::CASES,
        separate::CASES,
        interval::CASES,
        accounts::CASES,
        storms::CASES,
        faults::CASES,
    ];
    let kernel = kernel.concat().into_iter().map(|case| trial(case, &[privileges, btf]));
    let straced = errors::STRACE_CASES.iter().map(|case| trial(*case, &[privileges, btf, strace_missing]));
    let sockets = connections::SS_CASES.iter().map(|case| trial(*case, &[privileges, btf, connections::ss_missing]));
    let namespaces = network::NAMESPACE_CASES.iter().map(|case| trial(*case, &[privileges, btf, network::no_pairs]));
    let own =
        [own::CASES, budget::CASES].concat().into_iter().map(|case| trial(case, &[privileges, btf, own::privileges]));
    let blame = blame::CASES.iter().map(|case| trial(*case, &[privileges, btf, blame::unsupported]));
    let quota =
        blame::QUOTA_CASES.iter().map(|case| trial(*case, &[privileges, btf, blame::unsupported, blame::quotas]));
    let screen = [
        dashboard::CASES,
        lifecycle::CASES,
        stuck::SCREEN_CASES,
        lives::SCREEN_CASES,
        storms::SCREEN_CASES,
        faults::SCREEN_CASES,
    ]
    .concat();
    let screen = screen.into_iter().map(|case| trial(case, &[privileges, btf, terminal::missing]));
    let colliding = causes::COLLIDING.iter().map(|case| trial(*case, &[privileges, btf, causes::no_collisions]));
    let limited = page::LIMITED.iter().map(|case| trial(*case, &[privileges, btf, page::no_limits]));
    let plain = filters::PLAIN_CASES.iter().map(|case| trial(*case, &[]));
    let mut all: Vec<Trial> = plain.chain(kernel).collect();
    all.extend(colliding);
    all.extend(limited);
    all.extend(straced);
    all.extend(sockets);
    all.extend(namespaces);
    all.extend(blame);
    all.extend(quota);
    all.extend(storms::trials());
    all.extend(faults::trials());
    all.extend(disk::trials());
    all.extend(command::trials());
    all.extend(launched::trials());
    all.extend(own);
    all.extend(screen);
    all.extend(unprivileged::trials());
    all.extend(doctor::trials());
    all
}

/// A trial that is ignored when one of `needs` gives a reason.
fn trial((name, case): Case, needs: &'static [fn() -> Option<String>]) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = needs.iter().find_map(|missing| missing()) {
            left_out::note(name, &reason);
            return Ok(Completion::ignored_with(reason));
        }
        case();
        Ok(Completion::Completed)
    })
}

/// Why strace cannot be asked, if so.
fn strace_missing() -> Option<String> {
    std::process::Command::new("strace").arg("-V").output().is_err().then(|| "needs strace".into())
}

/// Why the eBPF programs cannot be loaded by this user, if so.
fn privileges() -> Option<String> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_PERFMON: u64 = 1 << 38;
    const CAP_BPF: u64 = 1 << 39;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let have = u64::from_str_radix(effective.trim(), 16).ok()?;
    let enough = have & CAP_SYS_ADMIN != 0 || have & (CAP_BPF | CAP_PERFMON) == CAP_BPF | CAP_PERFMON;
    (!enough).then(|| "needs root, or CAP_BPF and CAP_PERFMON".into())
}

/// Why the kernel's types are not known, if so.
fn btf() -> Option<String> {
    let path = std::path::Path::new("/sys/kernel/btf/vmlinux");
    (!path.exists()).then(|| format!("needs {}, a kernel with CONFIG_DEBUG_INFO_BTF", path.display()))
}
