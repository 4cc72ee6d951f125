//! From facts to findings: what each requirement is worth here, why, and the command that mends it.
//!
//! Pure. Invariant: whatever is not well has a reason and an advice.

use super::facts::{BpfCall, Facts};
use super::{Check, State};
use crate::kernel::advice::{BPF, INIT_PID_NAMESPACE, PERFMON, SYS_ADMIN};

/// `CAP_SYS_PTRACE` of include/uapi/linux/capability.h.
const SYS_PTRACE: u32 = 19;

const SETCAP: &str = "Run `sudo kscope`, or once: `sudo setcap cap_bpf,cap_perfmon+ep $(command -v kscope)`.";

/// All requirements but the programs themselves. `map_bytes` is what the maps take on this host.
pub fn checks(facts: &Facts, map_bytes: u64) -> Vec<Check> {
    vec![
        kernel(facts),
        btf(facts),
        privileges(facts),
        bpf_call(facts),
        seccomp(facts),
        lockdown(facts),
        process_ids(facts),
        memory(facts, map_bytes),
        procfs(facts),
        other_processes(facts),
        run_statistics(facts),
        unprivileged_bpf(facts),
        perf_events(facts),
        tracefs(facts),
        landlock(facts),
    ]
}

/// What makes the kernel say "not permitted" here, so that a program it refused can say it, too.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    advice: Option<String>,
}

impl Cause {
    /// From what was found: the first requirement that is impossible and that refuses in this way.
    pub fn of_checks(checks: &[Check], facts: &Facts) -> Self {
        let refusing = ["privileges", "bpf(2)", "lockdown"];
        let found = checks.iter().find(|c| c.state == State::Impossible && refusing.contains(&c.name));
        let text = found.map(|check| format!("{} {}", check.reason, check.advice));
        let otherwise = || {
            let lockdown = facts.lockdown_mode().map_or("not told".to_owned(), str::to_owned);
            format!(
                "The capabilities are there, lockdown is {lockdown}, and no filter refuses bpf(2): this kernel refuses this kind of program itself (its configuration, or a security module)."
            )
        };
        Self { advice: Some(text.unwrap_or_else(otherwise)) }
    }

    /// What to say where the reason is that something is not permitted.
    pub fn of(&self, reason: &str) -> Option<&str> {
        let refused = reason.contains("EPERM") || reason.contains("not permitted") || reason.contains("os error 1)");
        self.advice.as_deref().filter(|_| refused)
    }
}

fn well(name: &'static str, about: impl Into<String>) -> Check {
    Check { name, state: State::Ok, about: about.into(), reason: String::new(), advice: String::new() }
}

fn ill(name: &'static str, state: State, about: &str, (reason, advice): (&str, &str)) -> Check {
    Check { name, state, about: about.into(), reason: reason.into(), advice: advice.into() }
}

fn kernel(facts: &Facts) -> Check {
    let release = &facts.kernel;
    match facts.version() {
        (0, 0) | (6.., _) | (5, 10..) if facts.version() >= (6, 3) || facts.version() == (0, 0) => {
            well("kernel", format!("{release}: everything from 6.3 on"))
        }
        (6.., _) | (5, 10..) => ill(
            "kernel",
            State::Degraded,
            release,
            (
                "Before 6.3 there is no tracepoint for bytes of sockets.",
                "A kernel from 6.3 on has everything; the programs below say what works on this one.",
            ),
        ),
        _ => ill("kernel", State::Impossible, release, ("kscope needs Linux 5.10 or newer.", "Boot a newer kernel.")),
    }
}

fn btf(facts: &Facts) -> Check {
    match &facts.btf {
        Some(Ok(bytes)) => well("BTF", format!("/sys/kernel/btf/vmlinux, {bytes} bytes")),
        Some(Err(error)) => ill(
            "BTF",
            State::Impossible,
            "/sys/kernel/btf/vmlinux",
            (
                &format!("The kernel's types cannot be read: {error}."),
                "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y (`zgrep DEBUG_INFO_BTF /proc/config.gz`); in a container mount /sys.",
            ),
        ),
        None => well("BTF", "not looked at"),
    }
}

fn privileges(facts: &Facts) -> Check {
    let about = "CAP_BPF and CAP_PERFMON, or root";
    if facts.has(SYS_ADMIN) {
        return well("privileges", about);
    }
    let needed = [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON")];
    let missing: Vec<&str> = needed.iter().filter(|(bit, _)| !facts.has(*bit)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return well("privileges", about);
    }
    let reason = format!("This process has no {}: without it only /proc is read.", missing.join(" and no "));
    ill("privileges", State::Impossible, about, (&reason, SETCAP))
}

/// The kernel refuses before it looks at anything: then no program can be loaded, whatever it is like.
fn bpf_call(facts: &Facts) -> Check {
    let about = "the system call that loads programs";
    let BpfCall::Refused(errno) = facts.bpf else { return well("bpf(2)", about) };
    let (name, filter) = (errno_name(errno), facts.seccomp == Some(2));
    let (reason, advice) = match errno {
        _ if filter => (
            format!("A seccomp filter refuses bpf(2) with {name}."),
            "Start it without that filter; in a container: `docker run --security-opt seccomp=unconfined …`, or a profile that allows bpf.",
        ),
        libc::ENOSYS => ("This kernel has no bpf(2).".into(), "Use a kernel built with CONFIG_BPF_SYSCALL=y."),
        // Kernels before 5.19 ask for the capability first.
        _ if !facts.has(BPF) && !facts.has(SYS_ADMIN) => {
            (format!("The kernel refuses bpf(2) with {name} to a process without CAP_BPF."), SETCAP)
        }
        _ => (
            format!(
                "Something refuses bpf(2) with {name} though the capability is there: a security module, as a rule."
            ),
            "Look into its log (`sudo journalctl -k | grep -i -e apparmor -e avc`), and allow kscope to use bpf.",
        ),
    };
    ill("bpf(2)", State::Impossible, about, (&reason, advice))
}

fn errno_name(errno: i32) -> String {
    match errno {
        libc::EPERM => "EPERM".into(),
        libc::EACCES => "EACCES".into(),
        libc::ENOSYS => "ENOSYS".into(),
        other => format!("error {other}"),
    }
}

fn seccomp(facts: &Facts) -> Check {
    match (facts.seccomp, facts.bpf) {
        (Some(0) | None, _) => well("seccomp", "no filter"),
        (Some(_), BpfCall::Answers) => well("seccomp", "a filter that lets bpf(2) pass"),
        (Some(_), BpfCall::Refused(_)) => ill(
            "seccomp",
            State::Impossible,
            "a filter",
            ("A seccomp filter is in force, and bpf(2) does not get through.", "See bpf(2)."),
        ),
    }
}

fn lockdown(facts: &Facts) -> Check {
    match facts.lockdown_mode() {
        Some("confidentiality") => ill(
            "lockdown",
            State::Impossible,
            "confidentiality",
            (
                "Kernel lockdown is in confidentiality mode, which forbids programs to read kernel memory.",
                "Boot with `lockdown=integrity` or without (`sudo grubby --update-kernel=ALL --remove-args=lockdown`).",
            ),
        ),
        Some("integrity") => well("lockdown", "integrity, which lets programs read"),
        Some(mode) => well("lockdown", mode),
        None => well("lockdown", "none that the kernel tells of"),
    }
}

fn process_ids(facts: &Facts) -> Check {
    let about = "those of the host";
    match &facts.pid_namespace {
        Some(link) if link != INIT_PID_NAMESPACE => ill(
            "process ids",
            State::Impossible,
            about,
            (
                &format!(
                    "This is a PID namespace of its own ({link}); programs in the kernel see the ids of the host, so names would not match."
                ),
                "Run it on the host, or in a container that shares its PID namespace: `docker run --pid=host --privileged …`.",
            ),
        ),
        _ => well("process ids", about),
    }
}

fn memory(facts: &Facts, map_bytes: u64) -> Check {
    let about = format!("{} KiB for maps", map_bytes / 1024);
    let charged = facts.version() < (5, 11) && facts.version() != (0, 0);
    match facts.memlock {
        Some(limit) if charged && limit < map_bytes && !facts.has(24) => ill(
            "memory",
            State::Impossible,
            &about,
            (
                &format!(
                    "Before 5.11 maps count as locked memory, of which this process may have {} KiB.",
                    limit / 1024
                ),
                "Raise the limit first: `sudo prlimit --memlock=unlimited --pid $$`.",
            ),
        ),
        _ => well("memory", about),
    }
}

fn procfs(facts: &Facts) -> Check {
    let about = "names, times, devices";
    let Some(options) = &facts.proc else {
        let what = ("/proc is not mounted: processes have no names.", "`sudo mount -t proc proc /proc`");
        return ill("/proc", State::Impossible, about, what);
    };
    let hidden =
        options.split(',').any(|o| matches!(o, "hidepid=1" | "hidepid=2" | "hidepid=invisible" | "hidepid=noaccess"));
    if hidden && !facts.has(SYS_PTRACE) {
        let what = (
            "/proc is mounted with hidepid: processes of others have no names.",
            "`sudo mount -o remount,hidepid=0 /proc`, or `sudo kscope`.",
        );
        return ill("/proc", State::Degraded, about, what);
    }
    well("/proc", about)
}

fn other_processes(facts: &Facts) -> Check {
    let about = "files, arguments and addresses of the processes of others";
    if facts.has(SYS_PTRACE) {
        return well("other processes", about);
    }
    let what = (
        "Without CAP_SYS_PTRACE /proc does not tell what calls of others wait for, their files, nor who holds their sockets.",
        "`sudo kscope`, or once: `sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep $(command -v kscope)`.",
    );
    ill("other processes", State::Degraded, about, what)
}

fn run_statistics(facts: &Facts) -> Check {
    let about = "what kscope's own programs cost";
    if facts.has(SYS_ADMIN) || facts.bpf_stats_enabled == Some(1) {
        return well("run statistics", about);
    }
    let what =
        ("Only CAP_SYS_ADMIN may switch them on: cost is a lower bound, and no budget can be kept.", "`sudo kscope`");
    ill("run statistics", State::Degraded, about, what)
}

fn unprivileged_bpf(facts: &Facts) -> Check {
    let value = facts.unprivileged_bpf_disabled.map_or("not known".into(), |value| value.to_string());
    // It decides for processes without CAP_BPF only, and those may load nothing that traces in any case.
    well(
        "unprivileged_bpf",
        format!("kernel.unprivileged_bpf_disabled is {value}: no matter, kscope's programs need CAP_BPF anyway"),
    )
}

fn perf_events(facts: &Facts) -> Check {
    let value = facts.perf_event_paranoid.map_or("not known".into(), |value| value.to_string());
    well("perf_event", format!("kernel.perf_event_paranoid is {value}: no matter with CAP_PERFMON"))
}

fn tracefs(facts: &Facts) -> Check {
    let about = "for fallbacks on old kernels";
    if facts.tracefs {
        return well("tracefs", about);
    }
    if facts.version() >= (6, 3) {
        return well("tracefs", "not readable; not needed on this kernel");
    }
    let what = ("The events of tracefs cannot be read.", "`sudo mount -t tracefs tracefs /sys/kernel/tracing`");
    ill("tracefs", State::Degraded, about, what)
}

fn landlock(facts: &Facts) -> Check {
    let about = "keeps the process that draws from files that it does not need";
    match facts.landlock {
        Some(version) => well("landlock", format!("{about}: version {version}")),
        None => ill(
            "landlock",
            State::Degraded,
            about,
            (
                "This kernel has no Landlock: the process that draws has no capabilities, but can open what its user can.",
                "Boot with `landlock` in `lsm=`, or use a kernel with CONFIG_SECURITY_LANDLOCK (5.13 or newer).",
            ),
        ),
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
