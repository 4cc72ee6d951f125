//! The columns of the table: ours, the floors they are compared with, and the peers.

use kscope::kernel::programs::Insight;

use crate::variant::{Floor, Tool, Variant};

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub title: &'static str,
    /// What is attached.
    pub variant: Variant,
    /// Title of the floor that its costs are divided by.
    pub floor: Option<&'static str>,
}

/// Every hook.
pub const ALL: &[Insight] = &Insight::ALL;
/// The hooks of the system calls.
pub const SYSCALLS: &[Insight] = &[Insight::Syscalls];
/// The hooks of the scheduler.
pub const SCHEDULER: &[Insight] = &[Insight::RunQueue, Insight::Exits];
/// The hooks of the network.
pub const NETWORK: &[Insight] = &[Insight::Network];

/// The head of the column that everything of kscope's is in.
pub const KSCOPE: &str = "kscope";
/// The head of the one it is compared with.
pub const FLOOR: &str = "floor";

const REPORT: Tool =
    Tool { program: env!("CARGO_BIN_EXE_kscope"), args: &["report", "--for", "1h", "--format", "json"], bpf: true };

/// Ours.
pub const OURS: [Column; 10] = [
    floor(FLOOR, Floor::Empty, ALL),
    floor("floor + clock", Floor::Clock, ALL),
    ours(KSCOPE, ALL, FLOOR),
    Column { title: "`kscope report` beside", variant: Variant::Tool(REPORT), floor: Some(FLOOR) },
    floor("floor: calls", Floor::Empty, SYSCALLS),
    ours("kscope: calls", SYSCALLS, "floor: calls"),
    floor("floor: scheduler", Floor::Empty, SCHEDULER),
    ours("kscope: scheduler", SCHEDULER, "floor: scheduler"),
    floor("floor: network", Floor::Empty, NETWORK),
    ours("kscope: network", NETWORK, "floor: network"),
];

/// Others' tools that answer a part of the same questions, where they are installed.
pub const PEERS: [Column; 8] = [
    peer(
        "bpftrace calls",
        "bpftrace",
        &[
            "-e",
            "tracepoint:raw_syscalls:sys_enter { @s[tid] = nsecs; } tracepoint:raw_syscalls:sys_exit /@s[tid]/ { @h[pid, args->id] = hist(nsecs - @s[tid]); delete(@s[tid]); }",
        ],
        true,
    ),
    peer("syscount -L", "syscount", &["-L", "-P"], true),
    peer("perf trace -s", "perf", &["trace", "-s", "-a"], false),
    peer(
        "bpftrace run queue",
        "bpftrace",
        &[
            "-e",
            "tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new { @q[args->pid] = nsecs; } tracepoint:sched:sched_switch { if (args->prev_state == 0) { @q[args->prev_pid] = nsecs; } $s = @q[args->next_pid]; if ($s) { @h = hist(nsecs - $s); } delete(@q[args->next_pid]); }",
        ],
        true,
    ),
    peer("runqlat -P", "runqlat", &["-P"], true),
    peer(
        "bpftrace network",
        "bpftrace",
        &[
            "-e",
            "tracepoint:sock:sock_send_length { @tx[pid] = sum(args->ret); } tracepoint:sock:sock_recv_length { @rx[pid] = sum(args->ret); }",
        ],
        true,
    ),
    peer("nethogs", "nethogs", &["-t", "-a", "-d", "1"], false),
    peer("runqlat (bcc)", "runqlat-bpfcc", &["-P"], true),
];

const fn floor(title: &'static str, floor: Floor, insights: &'static [Insight]) -> Column {
    Column { title, variant: Variant::Floor(floor, insights), floor: None }
}

const fn ours(title: &'static str, insights: &'static [Insight], floor: &'static str) -> Column {
    Column { title, variant: Variant::Kscope(insights), floor: Some(floor) }
}

const fn peer(title: &'static str, program: &'static str, args: &'static [&'static str], bpf: bool) -> Column {
    Column { title, variant: Variant::Tool(Tool { program, args, bpf }), floor: Some(FLOOR) }
}
