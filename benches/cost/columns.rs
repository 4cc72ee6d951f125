//! The columns of the table: ours, the floors they are compared with, and the peers.

use kscope::kernel::programs::Insight;

use crate::tool::Tool;

/// Programs that are attached and detached around each measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Do nothing.
    Empty,
    /// Read the clock once.
    Clock,
    /// kscope's, with nobody reading.
    Kscope,
}

/// A column of programs.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub title: &'static str,
    /// Which programs.
    pub programs: Programs,
    /// On the hooks of these insights.
    pub insights: &'static [Insight],
}

/// Every hook that is always in use.
const ALL: &[Insight] = &Insight::ALWAYS;
/// The hooks of the system calls.
const SYSCALLS: &[Insight] = &[Insight::Syscalls];
/// The hooks of the scheduler.
const SCHEDULER: &[Insight] = &[Insight::RunQueue, Insight::Exits];
/// The hooks of the network.
const NETWORK: &[Insight] = &[Insight::Network];

/// Ours. The first is the floor that tools are compared with.
pub const OURS: [Column; 9] = [
    Column { title: "floor", programs: Programs::Empty, insights: ALL },
    Column { title: "floor + clock", programs: Programs::Clock, insights: ALL },
    Column { title: "kscope", programs: Programs::Kscope, insights: ALL },
    Column { title: "floor: calls", programs: Programs::Empty, insights: SYSCALLS },
    Column { title: "kscope: calls", programs: Programs::Kscope, insights: SYSCALLS },
    Column { title: "floor: scheduler", programs: Programs::Empty, insights: SCHEDULER },
    Column { title: "kscope: scheduler", programs: Programs::Kscope, insights: SCHEDULER },
    Column { title: "floor: network", programs: Programs::Empty, insights: NETWORK },
    Column { title: "kscope: network", programs: Programs::Kscope, insights: NETWORK },
];

/// Which of [`OURS`] is the floor of the column at `at`: empty programs on the same hooks. `None` for a floor.
pub fn floor_of(at: usize) -> Option<usize> {
    let column = &OURS[at];
    let same = |c: &Column| c.programs == Programs::Empty && c.insights == column.insights;
    OURS.iter().position(same).filter(|_| column.programs != Programs::Empty)
}

/// Where the column of that title is.
pub fn position(title: &str) -> Option<usize> {
    OURS.iter().position(|c| c.title == title)
}

/// A column of a whole program with its user space.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// Its head.
    pub title: &'static str,
    /// What runs.
    pub tool: Tool,
}

/// kscope with its user space, reading at its own pace.
pub const REPORT: Beside = Beside {
    title: "`kscope report` beside",
    tool: Tool {
        program: env!("CARGO_BIN_EXE_kscope"),
        args: &["report", "--for", "1h", "--format", "json"],
        bpf: true,
    },
};

/// Others' tools that answer a part of the same questions, where they are installed.
pub const PEERS: [Beside; 8] = [
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

const fn peer(title: &'static str, program: &'static str, args: &'static [&'static str], bpf: bool) -> Beside {
    Beside { title, tool: Tool { program, args, bpf } }
}
