//! The one list of programs: what is loaded, where it hooks in, and which insight needs it.
//!
//! A new probe adds a file to `ebpf/src`, a folder to `probes/` and its lines here.

pub use crate::core::hook::Hook;
pub use crate::core::insight::Insight;

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// The tracepoint, or the function of the kernel, that it hooks.
    pub target: &'static str,
    /// The one it hooks on kernels that do not have that.
    pub or: Option<&'static str>,
    /// How it hooks that. Where an insight has programs with hooks of several rungs, those of one rung are taken: the first
    /// of which all can be attached.
    pub hook: Hook,
    /// A helper of the kernel that it calls, and that younger ones alone have.
    pub needs: Option<Helper>,
    /// Kernels that do not have its target do without: the insight is worth no less.
    pub is_spare: bool,
    /// What it is for.
    pub insight: Insight,
}

/// A function that the kernel has for programs, known by its name in BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The kernel's function.
    pub function: &'static str,
    /// The first version that has it, for people: nothing is decided by it.
    pub since: &'static str,
}

/// Turns of a loop as calls: a loop that the verifier need not follow.
const LOOP: Helper = Helper { function: "bpf_loop", since: "5.17" };
/// The cookie of a socket, as tracepoints have sockets.
const COOKIE: Helper = Helper { function: "bpf_get_socket_ptr_cookie", since: "5.12" };

/// All programs, in the order in which they are attached: the scheduler's first, so that the first calls seen belong to
/// threads whose state is known.
pub const PROGRAMS: &[Program] = &[
    on("sched_switch", Insight::RunQueue),
    on("sched_wakeup", Insight::RunQueue),
    on("sched_wakeup_new", Insight::RunQueue),
    on("sched_process_exit", Insight::Exits),
    on("sched_process_fork", Insight::Exits),
    on("sched_process_exec", Insight::Exits),
    on("sys_enter", Insight::Syscalls),
    on("sys_exit", Insight::Syscalls),
    on("signal_deliver", Insight::Syscalls),
    on("sock_send_length", Insight::Network),
    on("sock_recv_length", Insight::Network),
    // Where those are not there (before 6.3): what the functions return that every send and receive goes through.
    at(Hook::Fexit, "inet_sendmsg", "inet_sendmsg"),
    at(Hook::Fexit, "inet6_sendmsg", "inet6_sendmsg"),
    at(Hook::Fexit, "inet_recvmsg", "inet_recvmsg"),
    at(Hook::Fexit, "inet6_recvmsg", "inet6_recvmsg"),
    // Until 6.5.
    Program { is_spare: true, ..at(Hook::Fexit, "inet_sendpage", "inet_sendpage") },
    at(Hook::Kretprobe, "sendmsg_return", "inet_sendmsg"),
    at(Hook::Kretprobe, "sendmsg6_return", "inet6_sendmsg"),
    at(Hook::Kprobe, "recvmsg_begin", "inet_recvmsg"),
    at(Hook::Kretprobe, "recvmsg_return", "inet_recvmsg"),
    at(Hook::Kprobe, "recvmsg6_begin", "inet6_recvmsg"),
    at(Hook::Kretprobe, "recvmsg6_return", "inet6_recvmsg"),
    Program { is_spare: true, ..at(Hook::Kprobe, "sendpage_begin", "inet_sendpage") },
    Program { is_spare: true, ..at(Hook::Kretprobe, "sendpage_return", "inet_sendpage") },
    needing(COOKIE, beside("conn_send", "sock_send_length", Insight::Connections)),
    needing(COOKIE, beside("conn_recv", "sock_recv_length", Insight::Connections)),
    needing(COOKIE, beside("conn_state", "inet_sock_set_state", Insight::Connections)),
    needing(COOKIE, beside("conn_retransmit", "tcp_retransmit_skb", Insight::Connections)),
    // The ends of interrupts before their beginnings, and the switch, by which all else is told, first.
    needing(LOOP, beside("blame_switch", "sched_switch", Insight::Blame)),
    needing(LOOP, beside("blame_flush", "sched_switch", Insight::Blame)),
    beside("blame_wakeup", "sched_wakeup", Insight::Blame),
    beside("blame_wakeup_new", "sched_wakeup_new", Insight::Blame),
    needing(LOOP, beside("blame_migrate", "sched_migrate_task", Insight::Blame)),
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
    beside(name, name, insight)
}

/// A program with a name of its own, on a tracepoint that others may use too.
const fn beside(name: &'static str, target: &'static str, insight: Insight) -> Program {
    Program { name, target, or: None, hook: Hook::TpBtf, needs: None, is_spare: false, insight }
}

/// A program that calls a helper which older kernels do not have.
const fn needing(helper: Helper, program: Program) -> Program {
    Program { needs: Some(helper), ..program }
}

/// A program on a function that bytes of the network go through.
const fn at(hook: Hook, name: &'static str, function: &'static str) -> Program {
    Program { hook, ..beside(name, function, Insight::Network) }
}
