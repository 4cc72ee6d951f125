//! The one list of programs: what is loaded, where it hooks in, and which insight needs it.
//!
//! A new probe adds a file to `ebpf/src`, a folder to `probes/` and its lines here.

pub use crate::core::insight::Insight;

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// The tracepoint it hooks.
    pub tracepoint: &'static str,
    /// The one it hooks on kernels that do not have that.
    pub or: Option<&'static str>,
    /// Kernels that do not have its tracepoint do without: the insight is worth no less.
    pub is_spare: bool,
    /// What it is for.
    pub insight: Insight,
}

/// All programs on BTF tracepoints, in the order in which they are attached: the scheduler's first, so that the first
/// calls seen belong to threads whose state is known.
pub const PROGRAMS: &[Program] = &[
    on("sched_switch", Insight::RunQueue),
    on("sched_wakeup", Insight::RunQueue),
    on("sched_wakeup_new", Insight::RunQueue),
    on("sched_process_exit", Insight::Exits),
    on("sched_process_fork", Insight::Exits),
    on("sched_process_exec", Insight::Exits),
    on("sys_enter", Insight::Syscalls),
    on("sys_exit", Insight::Syscalls),
    on("sock_send_length", Insight::Network),
    on("sock_recv_length", Insight::Network),
    beside("conn_send", "sock_send_length", Insight::Connections),
    beside("conn_recv", "sock_recv_length", Insight::Connections),
    beside("conn_state", "inet_sock_set_state", Insight::Connections),
    beside("conn_retransmit", "tcp_retransmit_skb", Insight::Connections),
    // The ends of interrupts before their beginnings, and the switch, by which all else is told, first.
    beside("blame_switch", "sched_switch", Insight::Blame),
    beside("blame_flush", "sched_switch", Insight::Blame),
    beside("blame_wakeup", "sched_wakeup", Insight::Blame),
    beside("blame_wakeup_new", "sched_wakeup_new", Insight::Blame),
    beside("blame_migrate", "sched_migrate_task", Insight::Blame),
    beside("blame_irq_exit", "irq_handler_exit", Insight::Blame),
    beside("blame_irq_entry", "irq_handler_entry", Insight::Blame),
    beside("blame_softirq_exit", "softirq_exit", Insight::Blame),
    beside("blame_softirq_entry", "softirq_entry", Insight::Blame),
    // What ends something is there before what begins it.
    on("block_rq_complete", Insight::Disk),
    on("block_rq_issue", Insight::Disk),
    // Since 5.11.
    Program { is_spare: true, ..on("block_rq_merge", Insight::Disk) },
    // Since 6.5.
    Program { or: Some("block_rq_insert"), ..on("block_io_start", Insight::Disk) },
];

/// A program that is named like its tracepoint.
const fn on(name: &'static str, insight: Insight) -> Program {
    Program { name, tracepoint: name, or: None, is_spare: false, insight }
}

/// A program with a name of its own, on a tracepoint that others may use too.
const fn beside(name: &'static str, tracepoint: &'static str, insight: Insight) -> Program {
    Program { name, tracepoint, or: None, is_spare: false, insight }
}

/// The kind of hook all of them use.
pub const HOOK: &str = "tp_btf";
