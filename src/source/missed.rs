//! Events that no program saw because it was at work on their CPU already: the kernel keeps a program from interrupting itself,
//! and counts what that costs (`bpf_prog_info.recursion_misses`, since 5.12).
//!
//! Pure. Invariant: a miss lowers what its program counts, and nothing else.

use crate::core::insight::Insight;
use crate::core::quality::Quality;
use crate::kernel::programs::PROGRAMS;
use crate::model::{ProbeStatus, Qualities};

/// What the numbers are worth, given the misses of the programs in the order of `probes`.
pub fn lowered(mut qualities: Qualities, probes: &[ProbeStatus], misses: &[Option<u64>]) -> Qualities {
    let touched = probes.iter().zip(misses).filter(|(_, count)| count.is_some_and(|n| n > 0));
    let insights = touched.filter_map(|(probe, _)| PROGRAMS.iter().find(|p| p.name == probe.name).map(|p| p.insight));
    for insight in insights {
        let lower = |quality: &mut Quality| *quality = quality.worst(Quality::LowerBound);
        let q = &mut qualities;
        match insight {
            // A call that was not seen to begin or to end is not counted, and its time is taken for the user's.
            Insight::Syscalls => [&mut q.syscalls, &mut q.errors, &mut q.time].into_iter().for_each(lower),
            Insight::RunQueue => [&mut q.runqueue, &mut q.time].into_iter().for_each(lower),
            Insight::Network => lower(&mut q.network),
            Insight::Exits => lower(&mut q.dead),
            Insight::Disk => lower(&mut q.disk),
            Insight::Blame => lower(&mut q.blame),
            Insight::Connections => lower(&mut q.connections),
        }
    }
    qualities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::hook::Hook;
    use crate::model::ProbeState;

    fn probes(names: &[&'static str]) -> Vec<ProbeStatus> {
        names
            .iter()
            .map(|name| ProbeStatus { name, hook: Hook::TpBtf, state: ProbeState::Running, fallback: None })
            .collect()
    }

    #[test]
    fn a_miss_lowers_what_its_program_counts_and_nothing_else() {
        let probes = probes(&["sys_exit", "sock_send_length", "block_rq_issue"]);
        let exact = Qualities::default();
        assert_eq!(lowered(exact, &probes, &[Some(0), Some(0), None]), exact);
        let network = Qualities { network: Quality::LowerBound, ..exact };
        assert_eq!(lowered(exact, &probes, &[Some(0), Some(1), None]), network);
        let lower = Quality::LowerBound;
        let calls = Qualities { syscalls: lower, errors: lower, time: lower, ..exact };
        assert_eq!(lowered(exact, &probes, &[Some(3), Some(0), Some(0)]), calls);
        let none = Qualities { network: Quality::NotAvailable, ..exact };
        assert_eq!(lowered(none, &probes, &[Some(0), Some(9), Some(0)]).network, Quality::NotAvailable);
    }
}
