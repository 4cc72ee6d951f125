//! The one list of programs: what is loaded, where it hooks in, and which insight needs it.
//!
//! A new probe adds a file to `ebpf/src`, a folder to `probes/` and its lines here.

pub use crate::core::insight::Insight;

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the object, and the tracepoint it hooks.
    pub name: &'static str,
    /// What it is for.
    pub insight: Insight,
}

/// All programs on BTF tracepoints, in the order in which they are attached: the scheduler's first, so that the first
/// calls seen belong to threads whose state is known.
pub const PROGRAMS: &[Program] = &[
    Program { name: "sched_switch", insight: Insight::RunQueue },
    Program { name: "sched_wakeup", insight: Insight::RunQueue },
    Program { name: "sched_wakeup_new", insight: Insight::RunQueue },
    Program { name: "sched_process_exit", insight: Insight::Exits },
    Program { name: "sys_enter", insight: Insight::Syscalls },
    Program { name: "sys_exit", insight: Insight::Syscalls },
    Program { name: "sock_send_length", insight: Insight::Network },
    Program { name: "sock_recv_length", insight: Insight::Network },
];

/// The kind of hook all of them use.
pub const HOOK: &str = "tp_btf";
