//! Every program by name: whether it runs here, on which hook, and if not, why and what tells instead.
//!
//! Pure. Invariant: the list has all programs, also where none could be tried.

use super::State;
use super::checks::Cause;
use crate::core::insight::Insight;
use crate::kernel::programs::{Hook, PROGRAMS, Program};
use crate::model::{ProbeState, ProbeStatus};

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFinding {
    /// Its name.
    pub name: &'static str,
    /// The hook it stands on, or would.
    pub hook: &'static str,
    /// What it is for.
    pub insight: &'static str,
    /// How it stands.
    pub state: State,
    /// Why it is not well; empty where it is.
    pub reason: String,
    /// What to do; empty where nothing can be done or needs to.
    pub advice: String,
}

/// Those that were tried, and those that this kernel does without. `cause` is what the checks found that makes the kernel refuse.
pub fn tried(probes: &[ProbeStatus], cause: &Cause) -> Vec<ProgramFinding> {
    let of = |program: &Program| {
        let Some(probe) = probes.iter().find(|probe| probe.name == program.name) else {
            return untaken(program, probes);
        };
        Some(match &probe.state {
            ProbeState::Running | ProbeState::Idle => {
                let state = if probe.fallback.is_some() { State::Degraded } else { State::Ok };
                finding(program, state, (probe.fallback.as_deref().unwrap_or_default(), ""))
            }
            ProbeState::Failed { reason, advice } => {
                let advice = cause.of(reason).unwrap_or(advice);
                finding(program, fallback(program).0, (&joined(reason, program), advice))
            }
        })
    };
    PROGRAMS.iter().filter_map(of).collect()
}

/// What is said of a program that is not among those that were tried.
fn untaken(program: &Program, probes: &[ProbeStatus]) -> Option<ProgramFinding> {
    // Another rung of its ladder was taken.
    let of_insight = |other: &&Program| other.insight == program.insight && other.hook != program.hook;
    let listed = |other: &Program| probes.iter().any(|probe| probe.name == other.name);
    if PROGRAMS.iter().filter(of_insight).any(listed) || program.hook != Hook::TpBtf {
        return None;
    }
    if program.is_spare {
        let reason = format!("This kernel has no tracepoint {}; nothing is missed by that.", program.target);
        return Some(finding(program, State::Degraded, (&reason, "")));
    }
    Some(finding(program, State::Impossible, ("It is not among the programs that were loaded.", "")))
}

/// All of them, where none could be tried; of a ladder its first rung.
pub fn untried(reason: &str, advice: &str) -> Vec<ProgramFinding> {
    let of = |program: &Program| {
        let reason = joined(&format!("It could not be tried: {reason}"), program);
        finding(program, fallback(program).0, (&reason, advice))
    };
    PROGRAMS.iter().filter(|program| program.hook == Hook::TpBtf).map(of).collect()
}

/// What is left of an insight without its programs.
fn fallback(program: &Program) -> (State, &'static str) {
    match program.insight {
        Insight::RunQueue => (State::Degraded, " /proc tells number and sum of waits, and thread time."),
        Insight::Disk => (State::Degraded, " /proc tells requests and bytes of devices, not how long they took."),
        Insight::Connections => (State::Degraded, " Sockets are listed, without their bytes."),
        _ => (State::Impossible, ""),
    }
}

fn joined(reason: &str, program: &Program) -> String {
    format!("{reason}{}", fallback(program).1)
}

fn finding(program: &Program, state: State, (reason, advice): (&str, &str)) -> ProgramFinding {
    let (reason, advice) = (reason.to_owned(), advice.to_owned());
    ProgramFinding {
        name: program.name,
        hook: program.hook.name(),
        insight: program.insight.subject(),
        state,
        reason,
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &'static str, hook: Hook, state: ProbeState) -> ProbeStatus {
        ProbeStatus { name, hook, state, fallback: (hook != Hook::TpBtf).then(|| "No better one.".into()) }
    }

    fn of<'a>(all: &'a [ProgramFinding], name: &str) -> &'a ProgramFinding {
        all.iter().find(|finding| finding.name == name).unwrap()
    }

    #[test]
    fn each_program_is_listed_with_the_hook_it_stands_on() {
        let failed = ProbeState::Failed { reason: "No.".into(), advice: "Do.".into() };
        let probes = [
            status("sys_enter", Hook::TpBtf, ProbeState::Running),
            status("conn_send", Hook::TpBtf, ProbeState::Idle),
            status("inet_sendmsg", Hook::Fexit, ProbeState::Running),
            status("sys_exit", Hook::TpBtf, failed.clone()),
            status("sched_switch", Hook::TpBtf, failed),
        ];
        let all = tried(&probes, &Cause::default());
        assert_eq!((of(&all, "sys_enter").state, of(&all, "conn_send").state), (State::Ok, State::Ok));
        let fallen = of(&all, "inet_sendmsg");
        assert_eq!((fallen.state, fallen.hook, &*fallen.reason), (State::Degraded, "fexit", "No better one."));
        assert!(all.iter().all(|finding| finding.name != "sock_send_length"), "another rung was taken");
        let off = of(&all, "sys_exit");
        assert_eq!((off.state, &*off.reason, &*off.advice), (State::Impossible, "No.", "Do."));
        let switch = of(&all, "sched_switch");
        assert!(switch.state == State::Degraded && switch.reason.contains("/proc"), "{switch:?}");
        assert_eq!(of(&all, "block_rq_merge").state, State::Degraded);
    }

    #[test]
    fn what_could_not_be_tried_says_so() {
        let all = untried("No right.", "sudo");
        assert_eq!(all.len(), PROGRAMS.iter().filter(|program| program.hook == Hook::TpBtf).count());
        let calls = of(&all, "sys_enter");
        assert!(
            calls.state == State::Impossible && calls.reason.contains("could not be tried: No right."),
            "{calls:?}"
        );
        assert_eq!(calls.advice, "sudo");
    }
}
