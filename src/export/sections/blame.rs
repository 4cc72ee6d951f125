//! Who ran while others waited for a CPU.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::report::Scope;
use crate::core::ident::ProcessId;
use crate::core::quality::Quality;
use crate::core::units::{duration, printable};
use crate::model::{BlameStats, Snapshot};
use crate::probes::blame::stats::{Cause, Part, Tells, Victim};

/// Victims for people.
const VICTIMS: usize = 10;
/// Parts of each for people.
const PARTS: usize = 5;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// What the numbers are worth.
    pub quality: Quality,
    /// How long it was measured.
    pub measured_ns: u64,
    /// What this kernel tells apart.
    pub tells: Tells,
    /// Who waited, the longest first.
    pub victims: Vec<VictimRow>,
}

/// A process that waited for a CPU.
#[derive(Clone, Debug, Serialize)]
pub struct VictimRow {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its control group.
    pub cgroup: String,
    /// Its waits that ended, of all threads.
    pub wait_ns: u64,
    /// Part of them that nobody knows the cause of.
    pub unknown_ns: u64,
    /// Part of them in which another CPU was idle that it may use, at least; `null` where that is not known. Not in `by`.
    pub idle_elsewhere_ns: Option<u64>,
    /// Whose time it was, the largest part first; they add up to `wait_ns`.
    pub by: Vec<PartRow>,
}

/// A part of the waits.
#[derive(Clone, Debug, Serialize)]
pub struct PartRow {
    /// Process id of who ran; `null` if no other process did.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// Its control group.
    pub cgroup: Option<String>,
    /// Why it was waited.
    pub cause: Cause,
    /// How long.
    pub ns: u64,
}

/// The victims in scope; `None` if it was not measured.
pub fn section(snapshot: &Snapshot, scope: &Scope) -> Option<Section> {
    let stats = snapshot.blame.as_ref()?;
    let tells = stats.blame.tells;
    let victims = stats.blame.victims.iter().filter(|victim| scope.holds(victim.who));
    Some(Section {
        quality: snapshot.qualities.blame,
        measured_ns: stats.blame.measured_ns,
        tells,
        victims: victims.map(|victim| row(victim, stats, tells)).collect(),
    })
}

fn row(victim: &Victim<ProcessId>, stats: &BlameStats, tells: Tells) -> VictimRow {
    let ident = stats.ident(victim.who);
    VictimRow {
        pid: victim.who.pid,
        comm: ident.map(|i| i.comm.clone()).unwrap_or_default(),
        cgroup: ident.map(|i| i.cgroup.clone()).unwrap_or_default(),
        wait_ns: victim.wait_ns,
        unknown_ns: victim.unexplained_ns(),
        idle_elsewhere_ns: tells.elsewhere.then_some(victim.elsewhere_ns),
        by: victim.parts.iter().map(|part| part_row(part, stats)).collect(),
    }
}

fn part_row(part: &Part<ProcessId>, stats: &BlameStats) -> PartRow {
    let ident = part.offender.and_then(|id| stats.ident(id));
    PartRow {
        pid: part.offender.map(|id| id.pid),
        comm: ident.map(|i| i.comm.clone()),
        cgroup: ident.map(|i| i.cgroup.clone()),
        cause: part.cause,
        ns: part.ns,
    }
}

/// The longest waits, and who is most to blame.
pub fn write(section: &Section, out: &mut String) {
    let mark = section.quality.mark();
    let _ =
        writeln!(out, "\nBlame  who ran while others waited for a CPU, measured for {}", duration(section.measured_ns));
    for victim in section.victims.iter().take(VICTIMS) {
        let who = format!("{} {}", victim.pid, printable(&victim.comm));
        let waited = format!("{mark}{}", duration(victim.wait_ns));
        let _ = write!(out, "  {who:<24} waited {waited:>10}");
        if let Some(ns) = victim.idle_elsewhere_ns.filter(|ns| *ns > 0) {
            let _ = write!(out, ", ≥{} of it while another CPU idled", duration(ns));
        }
        let _ = writeln!(out);
        for part in victim.by.iter().take(PARTS) {
            let share = 100.0 * part.ns as f64 / victim.wait_ns.max(1) as f64;
            let who = match (part.pid, &part.comm) {
                (Some(pid), comm) => format!("{pid} {}", printable(comm.as_deref().unwrap_or("(gone)"))),
                (None, _) => part.cause.name().to_owned(),
            };
            let _ = writeln!(out, "    {share:>5.1} %  {:>10}  {who}", duration(part.ns));
        }
    }
}
