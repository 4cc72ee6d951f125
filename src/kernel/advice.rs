//! From an error of the kernel to a sentence that says what happened, why, and what to do.
//!
//! Pure but for reading this process's own capabilities. Nothing here decides by the kernel's version: only by what failed.

use std::fs;
use std::io;

use procfs::process::Status;
use thiserror::Error;

use crate::kernel::rows::row;

/// Why kscope cannot measure at all. The message says what is wrong; [`LoadError::advice`] what to do.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The binary carries no programs.
    #[error("this kscope was built without its eBPF programs")]
    NoPrograms,
    /// Not root, and without the capabilities.
    #[error("kscope needs the capabilities {missing} to load its eBPF programs, and was started without")]
    NotPrivileged {
        /// Names of those that are missing.
        missing: String,
    },
    /// In a container's PID namespace.
    #[error(
        "kscope runs in a PID namespace of its own ({namespace}); the kernel reports process ids of the host, so names and ids would not match"
    )]
    PidNamespace {
        /// What `/proc/self/ns/pid` says.
        namespace: String,
    },
    /// BTF is absent or lacks something.
    #[error(transparent)]
    Offsets(#[from] super::offsets::OffsetsError),
    /// aya could not parse the kernel's BTF.
    #[error("the kernel's BTF cannot be read")]
    Btf(#[from] aya::BtfError),
    /// The object could not be loaded: its maps were not made.
    #[error("the kernel refused kscope's maps")]
    Object(#[source] Box<aya::EbpfError>),
    /// A map that should be there is not, or cannot be mapped.
    #[error("the map {name} cannot be read")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What the helper that loads said.
    #[error("{message}")]
    Told {
        /// Why.
        message: String,
        /// What to do.
        advice: String,
    },
    /// The helper that loads does not answer.
    #[error("the process that loads kscope's programs failed")]
    Helper(#[from] io::Error),
    /// No program at all could be attached.
    #[error("none of kscope's programs could be attached: {first}")]
    NothingRuns {
        /// The reason the first of them gave.
        first: String,
    },
}

impl LoadError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NoPrograms => "Build it with `make run`, which installs bpf-linker and the rust-src component first.".into(),
            Self::NotPrivileged { .. } => "Run `sudo kscope`, or give the binary the capabilities once: `sudo setcap cap_bpf,cap_perfmon+ep $(command -v kscope)`.".into(),
            Self::PidNamespace { .. } => {
                "Run it on the host, or in a container that shares the host's PID namespace (`docker run --pid=host --privileged …`).".into()
            }
            Self::Offsets(_) | Self::Btf(_) => {
                "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y (all current distributions' are; 5.10 or newer).".into()
            }
            Self::Object(e) => match root_errno(e.as_ref()) {
                Some(libc::EPERM) => permission_advice(),
                Some(libc::ENOMEM) => "There was no memory for the maps (30 to 64 MiB): free some, or raise the limit of locked memory (`ulimit -l unlimited`) on kernels before 5.11.".into(),
                _ => "Please report it with the output of `uname -a`.".into(),
            },
            Self::Told { advice, .. } => advice.clone(),
            Self::Map { .. } | Self::Helper(_) => "Please report it with the output of `uname -a`.".into(),
            Self::NothingRuns { .. } => permission_advice(),
        }
    }
}

/// `CAP_SYS_ADMIN`, `CAP_PERFMON` and `CAP_BPF` of include/uapi/linux/capability.h.
pub(super) const SYS_ADMIN: u32 = 21;
pub(super) const PERFMON: u32 = 38;
pub(super) const BPF: u32 = 39;

/// Fails when this process lacks the capabilities to load tracing programs.
pub fn require_capabilities() -> Result<(), LoadError> {
    // Without /proc nobody knows: then the kernel says no, or not.
    let Some(status) = own_status() else { return Ok(()) };
    let missing = missing_capabilities(status.capeff);
    if missing.is_empty() { Ok(()) } else { Err(LoadError::NotPrivileged { missing: missing.join(" and ") }) }
}

/// `/proc/self/status`. The name in it is what the program's file is called, by any bytes.
pub(super) fn own_status() -> Option<Status> {
    row(&fs::read("/proc/self/status").ok()?)
}

fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective & (1 << bit) != 0;
    if has(SYS_ADMIN) {
        return Vec::new();
    }
    [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(bit, _)| !has(*bit))
        .map(|(_, name)| name)
        .collect()
}

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO` of `include/linux/proc_ns.h`).
pub(super) const INIT_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Fails in a PID namespace other than the initial one: BPF programs see the host's process ids.
pub fn require_host_pids() -> Result<(), LoadError> {
    match fs::read_link("/proc/self/ns/pid") {
        Ok(link) if link.as_os_str() != INIT_PID_NAMESPACE => {
            Err(LoadError::PidNamespace { namespace: link.to_string_lossy().into_owned() })
        }
        // Without /proc there are no names at all, which the panes then say.
        _ => Ok(()),
    }
}

/// Why one program does not run, and what to do: a pair of sentences for its pane.
pub fn program_failure(tracepoint: &str, exists: bool, error: &(dyn std::error::Error + 'static)) -> (String, String) {
    if !exists {
        return (
            format!("This kernel has no tracepoint {tracepoint}."),
            "It is needed for this insight; newer kernels have it (sock_send_length and sock_recv_length since 6.3)."
                .into(),
        );
    }
    let refused = |by: &str| format!("The program on {tracepoint} could not be attached: {by}.");
    let report = || "Please report it with the output of `uname -a`.".into();
    let (errno, log) = load_error(error).unwrap_or((root_errno(error), String::new()));
    if let Some(verdict) = verdict(&log) {
        return (refused(&format!("the kernel's verifier says “{verdict}”")), report());
    }
    // The chain's first line: a verifier log has thousands.
    let short: String = chain(error).lines().next().unwrap_or_default().chars().take(160).collect();
    let early = if is_early(errno, &log) { REFUSED_EARLY } else { "" };
    let advice = if matches!(errno, Some(libc::EPERM | libc::EACCES)) { permission_advice() } else { report() };
    (refused(&short) + early, advice)
}

/// What a verifier's log ends in, before its statistics.
fn verdict(log: &str) -> Option<String> {
    let is_statistic = |line: &&str| {
        ["processed ", "verification time", "stack depth", "insns processed"].iter().any(|s| line.starts_with(s))
    };
    let mut lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines.rfind(|line| !is_statistic(line))?;
    Some(last.trim_end_matches('.').chars().take(160).collect())
}

/// What EPERM without a word of the verifier means.
const REFUSED_EARLY: &str =
    " The kernel refused it before its verifier looked at it: a capability, lockdown, seccomp or a security module.";

fn is_early(errno: Option<i32>, verifier_log: &str) -> bool {
    errno == Some(libc::EPERM) && verifier_log.trim().is_empty()
}

/// Why the kernel did not load a program, and the log of its verifier.
fn load_error(error: &(dyn std::error::Error + 'static)) -> Option<(Option<i32>, String)> {
    let mut at = Some(error);
    while let Some(e) = at {
        if let Some(aya::programs::ProgramError::LoadError { io_error, verifier_log }) = e.downcast_ref() {
            return Some((io_error.raw_os_error(), verifier_log.to_string()));
        }
        at = e.source();
    }
    None
}

fn permission_advice() -> String {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        return "Kernel lockdown is in confidentiality mode, which forbids reading kernel memory: boot without lockdown=confidentiality.".into();
    }
    "Run it with sudo; in a container also give it CAP_BPF, CAP_PERFMON and a seccomp profile that allows bpf(2)."
        .into()
}

/// All messages of an error and its sources, joined.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        let part = e.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = e.source();
    }
    text
}

/// The operating system's error at the root of an error, if there is one.
fn root_errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut at = Some(error);
    while let Some(e) = at {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        if let Some(aya::programs::ProgramError::LoadError { io_error, .. }) = e.downcast_ref() {
            return io_error.raw_os_error();
        }
        at = e.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named() {
        assert_eq!(missing_capabilities(0), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing_capabilities(1 << BPF), ["CAP_PERFMON"]);
        assert!(missing_capabilities(0x01ff_ffff_ffff).is_empty());
        assert!(own_status().is_some());
    }

    #[test]
    fn a_refusal_without_a_word_of_the_verifier_is_explained() {
        let early = |errno, log| is_early(Some(errno), log);
        assert!(early(libc::EPERM, "") && early(libc::EPERM, "\n"));
        assert!(!early(libc::EPERM, "0: R1=ctx()") && !early(libc::EINVAL, ""));
    }

    #[test]
    fn what_the_verifier_said_last_is_the_reason() {
        let log = "func#0 @0\n0: R1=ctx()\ncombined stack size of 4 calls is 528. Too large\nverification time 7 usec\n\
                   stack depth 288+64\nprocessed 9 insns (limit 1000000) max_states_per_insn 0\n";
        assert_eq!(verdict(log).as_deref(), Some("combined stack size of 4 calls is 528. Too large"));
        assert_eq!((verdict(""), verdict("processed 9 insns (limit 1000000)\n")), (None, None));
    }

    #[test]
    fn a_chain_tells_the_cause_once() {
        let error = LoadError::Map { name: "THREADS", error: io::Error::other("no such thing") };
        assert_eq!(chain(&error), "the map THREADS cannot be read: no such thing");
    }
}
