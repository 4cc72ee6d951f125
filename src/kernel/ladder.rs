//! Which programs an insight runs on this kernel: found out by trying, from the best rung of its ladder down.
//!
//! The programs of an insight belong to rungs by their hooks (`programs.rs`). An insight with one rung takes of it what can be
//! attached; of one with several, the first rung is taken of which all can. No version is asked for: what loads decides.
//!
//! Invariant: of an insight with several rungs the programs of one run, or of none, so that nothing is counted twice.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use aya::Btf;
use aya::programs::ProgramError;

use super::advice::{self, program_failure};
use super::attach::Attached;
use super::offsets::Offsets;
use super::programs::{Hook, Insight, PROGRAMS, Program};
use crate::core::quality::Quality;
use crate::model::{ProbeState, ProbeStatus};

/// What the kernel has where it has kprobes.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Rungs above this one are not tried.
static BEST: AtomicU8 = AtomicU8::new(0);

/// Tries no hooks above the rung of this one, so that the lower ones can be tested on kernels that have the better. For the
/// whole process; to be said before anything is loaded.
pub fn begin_at(hook: Hook) {
    BEST.store(hook.rung(), Ordering::Relaxed);
}

/// Loads and attaches what can be of these insights, but for those that are measured on demand, and says how each program
/// stands.
pub fn climb(attached: &mut Attached, insights: &[Insight], offsets: &Offsets, btf: &Btf) -> Vec<ProbeStatus> {
    let mut statuses = Vec::with_capacity(PROGRAMS.len());
    let wanted: Vec<Program> = PROGRAMS.iter().filter(|p| insights.contains(&p.insight)).copied().collect();
    // In the list the programs of an insight stand together, and in it they are attached.
    for programs in wanted.chunk_by(|a, b| a.insight == b.insight) {
        let rungs: Vec<Vec<Program>> = (0..Hook::RUNGS)
            .map(|rung| programs.iter().filter(|p| p.hook.rung() == rung && is_there(p, offsets)).copied().collect())
            .filter(|rung: &Vec<Program>| !rung.is_empty())
            .collect();
        match rungs.as_slice() {
            [only] => statuses.extend(only.iter().map(|p| first(attached, *p, offsets, btf))),
            rungs => statuses.extend(take(attached, rungs, offsets, btf)),
        }
    }
    statuses
}

/// Is it to be tried on this kernel? Of those that are not needed, what has nothing to hook is not.
fn is_there(program: &Program, offsets: &Offsets) -> bool {
    !program.is_spare || offsets.has(program.hook, program.target)
}

fn first(attached: &mut Attached, program: Program, offsets: &Offsets, btf: &Btf) -> ProbeStatus {
    let state =
        if program.insight.is_on_demand() { ProbeState::Idle } else { attach(attached, program, offsets, Some(btf)) };
    ProbeStatus { name: program.name, hook: program.hook, state, fallback: None }
}

/// Takes the first rung that can be taken; where none can, the programs of the first are listed with what every rung said.
fn take(attached: &mut Attached, rungs: &[Vec<Program>], offsets: &Offsets, btf: &Btf) -> Vec<ProbeStatus> {
    let mut refusals: Vec<(String, String)> = Vec::new();
    for rung in rungs {
        match all_of(attached, rung, offsets, btf) {
            Ok(()) => {
                let fallback = if refusals.is_empty() { None } else { Some(joined(&refusals)) };
                let status = |p: &Program| ProbeStatus {
                    name: p.name,
                    hook: p.hook,
                    state: ProbeState::Running,
                    fallback: fallback.clone(),
                };
                return rung.iter().map(status).collect();
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    let reason = joined(&refusals);
    // What the last rung needs is the least that helps.
    let advice = refusals.last().map_or_else(String::new, |(_, advice)| advice.clone());
    let failed = ProbeState::Failed { reason, advice };
    let first = rungs.first().map_or(&[][..], Vec::as_slice);
    let status = |p: &Program| ProbeStatus { name: p.name, hook: p.hook, state: failed.clone(), fallback: None };
    first.iter().map(status).collect()
}

/// What all rungs said, from the best.
fn joined(refusals: &[(String, String)]) -> String {
    let reasons: Vec<&str> = refusals.iter().map(|(reason, _)| reason.as_str()).collect();
    reasons.join(" ")
}

/// Attaches all programs of a rung, or none of them.
fn all_of(attached: &mut Attached, rung: &[Program], offsets: &Offsets, btf: &Btf) -> Result<(), (String, String)> {
    for (at, program) in rung.iter().enumerate() {
        if program.hook.rung() < BEST.load(Ordering::Relaxed) {
            let reason = format!("{} was not tried, as was asked for.", program.hook);
            return Err((reason, "Start kscope without --from-hook.".into()));
        }
        if let ProbeState::Failed { reason, advice } = attach(attached, *program, offsets, Some(btf)) {
            for taken in &rung[..at] {
                if let Err(error) = attached.unload(taken.name) {
                    tracing::warn!("{} stays loaded: {}", taken.name, advice::chain(&error));
                }
            }
            return Err((reason, advice));
        }
    }
    Ok(())
}

/// Attaches one program, and loads it first if that is to be done; how it stands then.
pub fn attach(attached: &mut Attached, program: Program, offsets: &Offsets, btf: Option<&Btf>) -> ProbeState {
    let (name, program) = (program.name, Program { target: offsets.target_of(&program), ..program });
    if let Some(helper) = program.needs.filter(|helper| !offsets.has_function(helper.function)) {
        return ProbeState::Failed {
            reason: format!("This kernel has no {}, which the program {name} calls.", helper.function),
            advice: format!("Kernels have it since {}.", helper.since),
        };
    }
    let exists = offsets.has(program.hook, program.target);
    if !exists && program.hook != Hook::TpBtf {
        return ProbeState::Failed {
            reason: format!("This kernel has no function {} to hook by {}.", program.target, program.hook),
            advice: "It is there where the kernel has IPv4 and IPv6 built in.".into(),
        };
    }
    if matches!(program.hook, Hook::Kprobe | Hook::Kretprobe) && !Path::new(KPROBES).exists() {
        return ProbeState::Failed {
            reason: format!("This kernel has no kprobes: there is no {KPROBES}."),
            advice: "Use a kernel built with CONFIG_KPROBES=y, or one since 6.3, which does not need them.".into(),
        };
    }
    let done = match btf {
        Some(btf) if !attached.has(name) => attached.load(program, btf),
        _ => attached.attach(program.insight),
    };
    match done {
        Ok(()) => ProbeState::Running,
        Err(error) => {
            tracing::warn!("{name}: {}", advice::chain(&error));
            let (reason, advice) = program_failure(program.target, exists, &error);
            ProbeState::Failed { reason: refusal(program, reason, &error), advice }
        }
    }
}

/// Where a kind of hook is not the usual one, the sentence says which it is.
fn refusal(program: Program, reason: String, error: &ProgramError) -> String {
    match error {
        // The verifier has nothing against it: the hook is what is not allowed.
        ProgramError::LoadError { io_error, verifier_log }
            if program.hook == Hook::Fexit
                && io_error.kind() == io::ErrorKind::PermissionDenied
                && verifier_log.to_string().trim().is_empty() =>
        {
            "This kernel refuses programs on its functions (fexit), whatever they do, though it takes those on tracepoints.".into()
        }
        _ if program.hook == Hook::TpBtf => reason,
        _ => format!("By {}: {reason}", program.hook),
    }
}

/// What an insight is worth, given how its programs stand: nothing when one that is needed does not run.
pub fn quality(insight: Insight, probes: &[ProbeStatus]) -> Quality {
    let runs = |p: &Program| probes.iter().any(|s| s.name == p.name && s.state == ProbeState::Running);
    let needed = |at| {
        let programs = PROGRAMS.iter().filter(move |p| p.insight == insight && p.hook.rung() == at);
        programs.filter(|p| !p.is_spare)
    };
    let stands = (0..Hook::RUNGS).find(|at| needed(*at).next().is_some() && needed(*at).all(runs));
    match stands {
        None => Quality::NotAvailable,
        // Of those that wait in a function, more than the kernel keeps return addresses of are not seen to return.
        Some(at) if at == Hook::Kretprobe.rung() => Quality::LowerBound,
        Some(_) => Quality::Exact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(running: &[&str]) -> Vec<ProbeStatus> {
        let status = |p: &Program| {
            let refused = || ProbeState::Failed { reason: String::new(), advice: String::new() };
            let state = if running.contains(&p.name) { ProbeState::Running } else { refused() };
            ProbeStatus { name: p.name, hook: p.hook, state, fallback: None }
        };
        PROGRAMS.iter().map(status).collect()
    }

    #[test]
    fn one_whole_rung_is_worth_what_it_sees() {
        let of = |running: &[&str]| quality(Insight::Network, &standing(running));
        assert_eq!(of(&["sock_send_length", "sock_recv_length"]), Quality::Exact);
        let fexit = ["inet_sendmsg", "inet6_sendmsg", "inet_recvmsg", "inet6_recvmsg"];
        assert_eq!((of(&fexit), of(&fexit[1..])), (Quality::Exact, Quality::NotAvailable));
        let kprobes: Vec<&str> = PROGRAMS.iter().filter(|p| p.hook.rung() == 2).map(|p| p.name).collect();
        assert_eq!(of(&kprobes), Quality::LowerBound);
        assert_eq!(of(&["sock_send_length", "inet_recvmsg", "inet6_recvmsg"]), Quality::NotAvailable);
    }

    #[test]
    fn insights_stand_together_and_those_on_demand_have_one_rung() {
        let runs: Vec<Insight> = PROGRAMS.chunk_by(|a, b| a.insight == b.insight).map(|run| run[0].insight).collect();
        for (at, insight) in runs.iter().enumerate() {
            assert!(!runs[at + 1..].contains(insight), "{insight:?} is in two places of the list");
        }
        assert!(PROGRAMS.iter().all(|p| p.hook.rung() == 0 || !p.insight.is_on_demand()));
    }

    #[test]
    fn all_refusals_are_told() {
        let refusals =
            [("No tracepoint.".to_owned(), String::new()), ("No fexit.".to_owned(), "Use a key.".to_owned())];
        assert_eq!(joined(&refusals), "No tracepoint. No fexit.");
    }
}
