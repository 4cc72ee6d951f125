//! Who ran while others waited, on the synthetic machine: the web server waits for the encoder, which also waits for itself.

use std::sync::Arc;

use kscope::core::ident::ProcessId;
use kscope::model::{BlameStats, ProcessStats};
use kscope::probes::blame::stats::{Blame, Cause, Part, Tells, Victim};

const MS: u64 = 1_000_000;

/// Blame of one second, with the names of `processes`.
pub fn stats(busy: bool, processes: &[ProcessStats]) -> BlameStats {
    let names = processes.iter().map(|p| (p.id, Arc::clone(&p.ident))).collect();
    let tells = Tells { throttled: true, steal: true, elsewhere: true };
    let mut victims = vec![victim(1402, 0, &[(Cause::Idle, 0, 2), (Cause::Interrupts, 0, 1)])];
    if busy {
        let nginx = [
            (Cause::Others, 21_077, 1_800),
            (Cause::OwnThreads, 0, 212),
            (Cause::Others, 1402, 171),
            (Cause::Throttled, 0, 60),
            (Cause::Interrupts, 0, 41),
            (Cause::Steal, 0, 17),
            (Cause::Idle, 0, 6),
            (Cause::Unknown, 0, 3),
            // Gone before anybody could ask for its name.
            (Cause::Others, 31_337, 1),
        ];
        victims.insert(0, victim(8812, 400, &nginx));
        victims.insert(1, victim(21_077, 0, &[(Cause::OwnThreads, 0, 900), (Cause::Others, 8812, 200)]));
    }
    BlameStats::new(Blame { measured_ns: 1_000 * MS, tells, victims }, names)
}

fn victim(pid: u32, elsewhere_ms: u64, parts: &[(Cause, u32, u64)]) -> Victim<ProcessId> {
    let id = |pid| ProcessId { pid, birth: pid * 7 };
    let part =
        |&(cause, pid, ms): &(Cause, u32, u64)| Part { cause, offender: (pid > 0).then(|| id(pid)), ns: ms * MS };
    Victim {
        who: id(pid),
        wait_ns: parts.iter().map(|(.., ms)| ms * MS).sum(),
        elsewhere_ns: elsewhere_ms * MS,
        parts: parts.iter().map(part).collect(),
    }
}
