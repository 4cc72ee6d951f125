//! Findings made by hand, one for each reason.

use super::*;

const ROOT: u64 = 0x1ff_ffff_ffff;

fn facts() -> Facts {
    Facts {
        kernel: "6.18.44".into(),
        effective: Some(ROOT),
        pid_namespace: Some(INIT_PID_NAMESPACE.into()),
        lockdown: Some("[none] integrity confidentiality".into()),
        seccomp: Some(0),
        bpf: BpfCall::Answers,
        btf: Some(Ok(5_500_000)),
        unprivileged_bpf_disabled: Some(2),
        bpf_stats_enabled: Some(0),
        perf_event_paranoid: Some(2),
        tracefs: true,
        memlock: Some(8 << 20),
        proc: Some("rw,relatime".into()),
        landlock: Some(7),
    }
}

fn check(facts: &Facts, name: &str) -> Check {
    checks(facts, 30 << 20).into_iter().find(|check| check.name == name).unwrap()
}

/// The state of one check where something is wrong, with its reason and advice.
fn wrong(facts: &Facts, name: &str) -> (State, String) {
    let check = check(facts, name);
    assert!(!check.reason.is_empty() && !check.advice.is_empty(), "{check:?}");
    (check.state, format!("{} {}", check.reason, check.advice))
}

#[test]
fn root_on_a_new_kernel_has_everything() {
    for check in checks(&facts(), 30 << 20) {
        assert_eq!((check.state, check.reason.as_str()), (State::Ok, ""), "{check:?}");
    }
}

#[test]
fn without_landlock_it_says_what_is_open() {
    let (state, text) = wrong(&Facts { landlock: None, ..facts() }, "landlock");
    assert_eq!(state, State::Degraded);
    assert!(text.contains("can open what its user can") && text.contains("lsm="), "{text}");
}

#[test]
fn a_missing_capability_is_named_with_the_command_that_gives_it() {
    let perfmon_is_missing = Facts { effective: Some(1 << BPF), ..facts() };
    let (state, text) = wrong(&perfmon_is_missing, "privileges");
    assert_eq!(state, State::Impossible);
    assert!(text.contains("no CAP_PERFMON") && !text.contains("no CAP_BPF"), "{text}");
    assert!(text.contains("sudo setcap cap_bpf,cap_perfmon+ep"), "{text}");
    let (_, text) = wrong(&Facts { effective: Some(0), ..facts() }, "privileges");
    assert!(text.contains("no CAP_BPF and no CAP_PERFMON"), "{text}");
}

#[test]
fn two_capabilities_are_enough_and_what_needs_more_is_degraded() {
    let facts = Facts { effective: Some(1 << BPF | 1 << PERFMON), ..facts() };
    assert_eq!(check(&facts, "privileges").state, State::Ok);
    assert_eq!(wrong(&facts, "run statistics").0, State::Degraded);
    let (state, text) = wrong(&facts, "other processes");
    assert!(state == State::Degraded && text.contains("cap_sys_ptrace"), "{text}");
}

#[test]
fn a_filter_that_refuses_is_told_from_a_missing_right_and_from_a_security_module() {
    let refused = Facts { bpf: BpfCall::Refused(libc::EPERM), ..facts() };
    assert!(wrong(&Facts { seccomp: Some(2), ..refused.clone() }, "bpf(2)").1.contains("seccomp filter"));
    assert_eq!(wrong(&Facts { seccomp: Some(2), ..refused.clone() }, "seccomp").0, State::Impossible);
    assert!(wrong(&Facts { effective: Some(0), ..refused.clone() }, "bpf(2)").1.contains("without CAP_BPF"));
    assert!(wrong(&refused, "bpf(2)").1.contains("security module"));
    assert!(
        wrong(&Facts { bpf: BpfCall::Refused(libc::ENOSYS), ..facts() }, "bpf(2)").1.contains("CONFIG_BPF_SYSCALL")
    );
    assert_eq!(check(&Facts { seccomp: Some(2), ..facts() }, "seccomp").state, State::Ok);
}

#[test]
fn lockdown_forbids_in_one_mode_only() {
    let mode = |text: &str| Facts { lockdown: Some(text.into()), ..facts() };
    assert!(wrong(&mode("none integrity [confidentiality]"), "lockdown").1.contains("lockdown=integrity"));
    assert_eq!(check(&mode("none [integrity] confidentiality"), "lockdown").state, State::Ok);
    assert_eq!(check(&Facts { lockdown: None, ..facts() }, "lockdown").state, State::Ok);
}

#[test]
fn without_types_nothing_can_be_loaded() {
    let (state, text) = wrong(&Facts { btf: Some(Err("No such file".into())), ..facts() }, "BTF");
    assert!(state == State::Impossible && text.contains("CONFIG_DEBUG_INFO_BTF"), "{text}");
}

#[test]
fn a_namespace_of_pids_is_named() {
    let (state, text) = wrong(&Facts { pid_namespace: Some("pid:[4026532300]".into()), ..facts() }, "process ids");
    assert!(state == State::Impossible && text.contains("4026532300") && text.contains("--pid=host"), "{text}");
}

#[test]
fn locked_memory_matters_before_5_11() {
    let old = Facts { kernel: "5.10.0-33-amd64".into(), effective: Some(1 << BPF | 1 << PERFMON), ..facts() };
    let (state, text) = wrong(&old, "memory");
    assert!(state == State::Impossible && text.contains("prlimit --memlock=unlimited"), "{text}");
    assert_eq!(check(&Facts { memlock: None, ..old.clone() }, "memory").state, State::Ok);
    assert_eq!(check(&Facts { effective: Some(ROOT), ..old.clone() }, "memory").state, State::Ok);
    assert_eq!(check(&Facts { kernel: "6.1.0".into(), ..old }, "memory").state, State::Ok);
}

#[test]
fn old_kernels_are_degraded_and_very_old_ones_impossible() {
    let kernel = |release: &str| Facts { kernel: release.into(), ..facts() };
    assert_eq!(wrong(&kernel("6.1.176"), "kernel").0, State::Degraded);
    assert_eq!(wrong(&kernel("5.10.262"), "kernel").0, State::Degraded);
    assert_eq!(wrong(&kernel("5.4.0"), "kernel").0, State::Impossible);
    assert_eq!(check(&kernel("7.3.4"), "kernel").state, State::Ok);
    assert_eq!(wrong(&Facts { tracefs: false, ..kernel("6.1.176") }, "tracefs").0, State::Degraded);
}

#[test]
fn proc_that_hides_or_is_not_there_is_said() {
    assert_eq!(wrong(&Facts { proc: None, ..facts() }, "/proc").0, State::Impossible);
    let hidden = Facts { proc: Some("rw,hidepid=2".into()), ..facts() };
    assert_eq!(check(&hidden, "/proc").state, State::Ok);
    assert!(wrong(&Facts { effective: Some(0), ..hidden }, "/proc").1.contains("hidepid"));
}
