//! Every program by name: whether it runs here, on which hook, and if not, why and what tells instead.
//!
//! Pure. Invariant: the list has all programs, also where none could be tried.

use super::State;
use super::checks::Cause;
use crate::core::insight::Insight;
use crate::kernel::programs::{HOOK, PROGRAMS, Program};
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

/// Those that were tried. `cause` is what the checks found that makes the kernel refuse.
pub fn tried(probes: &[ProbeStatus], cause: &Cause) -> Vec<ProgramFinding> {
    let of = |program: &Program| {
        let probe = probes.iter().find(|probe| probe.name == program.name);
        match probe.map(|probe| (probe.hook, &probe.state)) {
            Some((HOOK, ProbeState::Running | ProbeState::Idle)) => finding(program, HOOK, State::Ok, ("", "")),
            Some((hook, ProbeState::Running | ProbeState::Idle)) => {
                let reason = format!("{HOOK} could not be had; it runs on {hook}.");
                finding(program, hook, State::Degraded, (&reason, ""))
            }
            Some((hook, ProbeState::Failed { reason, advice })) => {
                let advice = cause.of(reason).unwrap_or(advice);
                finding(program, hook, fallback(program).0, (&joined(reason, program), advice))
            }
            // Kernels without its tracepoint do without.
            None if program.is_spare => {
                let reason =
                    format!("This kernel has no tracepoint {}; nothing is missed by that.", program.tracepoint);
                finding(program, HOOK, State::Degraded, (&reason, ""))
            }
            None => finding(program, HOOK, State::Impossible, ("It is not among the programs that were loaded.", "")),
        }
    };
    PROGRAMS.iter().map(of).collect()
}

/// All of them, where none could be tried.
pub fn untried(reason: &str, advice: &str) -> Vec<ProgramFinding> {
    let of = |program: &Program| {
        let reason = joined(&format!("It could not be tried: {reason}"), program);
        finding(program, HOOK, fallback(program).0, (&reason, advice))
    };
    PROGRAMS.iter().map(of).collect()
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

fn finding(program: &Program, hook: &'static str, state: State, (reason, advice): (&str, &str)) -> ProgramFinding {
    let (reason, advice) = (reason.to_owned(), advice.to_owned());
    ProgramFinding { name: program.name, hook, insight: program.insight.subject(), state, reason, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &'static str, hook: &'static str, state: ProbeState) -> ProbeStatus {
        ProbeStatus { name, hook, state }
    }

    fn of<'a>(all: &'a [ProgramFinding], name: &str) -> &'a ProgramFinding {
        all.iter().find(|finding| finding.name == name).unwrap()
    }

    #[test]
    fn each_program_is_listed_with_the_hook_it_stands_on() {
        let failed = ProbeState::Failed { reason: "No.".into(), advice: "Do.".into() };
        let probes = [
            status("sys_enter", HOOK, ProbeState::Running),
            status("conn_send", HOOK, ProbeState::Idle),
            status("sock_send_length", "fexit", ProbeState::Running),
            status("sys_exit", HOOK, failed.clone()),
            status("sched_switch", HOOK, failed),
        ];
        let all = tried(&probes, &Cause::default());
        assert_eq!(all.len(), PROGRAMS.len());
        assert_eq!((of(&all, "sys_enter").state, of(&all, "conn_send").state), (State::Ok, State::Ok));
        let fallen = of(&all, "sock_send_length");
        assert!(
            fallen.state == State::Degraded && fallen.hook == "fexit" && fallen.reason.contains("fexit"),
            "{fallen:?}"
        );
        let off = of(&all, "sys_exit");
        assert_eq!((off.state, &*off.reason, &*off.advice), (State::Impossible, "No.", "Do."));
        let switch = of(&all, "sched_switch");
        assert!(switch.state == State::Degraded && switch.reason.contains("/proc"), "{switch:?}");
        assert_eq!(of(&all, "block_rq_merge").state, State::Degraded);
    }

    #[test]
    fn what_could_not_be_tried_says_so() {
        let all = untried("No right.", "sudo");
        assert_eq!(all.len(), PROGRAMS.len());
        let calls = of(&all, "sys_enter");
        assert!(
            calls.state == State::Impossible && calls.reason.contains("could not be tried: No right."),
            "{calls:?}"
        );
        assert_eq!(calls.advice, "sudo");
    }
}
