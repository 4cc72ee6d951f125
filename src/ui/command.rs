//! Show me the command: what one would type to measure the present view with another tool.
//!
//! Pure text: of a view, a filter and a selection makes lines of bpftrace, perf, ss and grep. Nothing is run.
//!
//! Invariant: a line is safe to paste. What comes from outside (names of processes, texts of filters) is never part of one: only
//! numbers are, and names from kscope's own tables.

use super::place::Place;
use super::selection::RowId;
use super::view::View;
use crate::probes::syscalls::names::name;

/// Processes that a line names at most.
pub const MOST_PIDS: usize = 16;

/// What is to be measured.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The view.
    pub view: View,
    /// Where in it.
    pub place: Place,
    /// The selected row.
    pub selected: Option<RowId>,
    /// The processes that pass the filter; none for all.
    pub pids: Vec<u32>,
    /// More processes pass than a line can name.
    pub too_many: bool,
}

/// A line to type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The tool.
    pub tool: &'static str,
    /// What to type.
    pub line: String,
    /// What it shows.
    pub shows: &'static str,
    /// What it does not, that the view does.
    pub lacks: &'static str,
}

/// The lines for what is asked, the closest to the view first.
pub fn commands(asked: &Asked) -> Vec<Command> {
    match (asked.view, asked.place) {
        (View::Overview | View::Processes, _) => vec![calls_by_process(asked), run_queue(asked), summary(asked)],
        (View::Syscalls, Place::Errors) => vec![errors(asked), summary(asked)],
        (View::Syscalls | View::Page, _) => vec![latency(asked), errors(asked), summary(asked)],
        (View::Scheduler, place) if place.is_blame() => {
            ran_instead(asked).into_iter().chain([run_queue(asked)]).collect()
        }
        (View::Scheduler, _) => [run_queue(asked), sched()].into_iter().chain(ran_instead(asked)).collect(),
        (View::Network, Place::Connections) => vec![sockets(asked), retransmits(), bytes(asked)],
        (View::Network, _) => vec![bytes(asked), sockets(asked), retransmits()],
        (View::Stuck, _) => [in_flight(asked), slow_calls(asked)].into_iter().chain(channels(asked)).collect(),
        (View::Disk, _) => vec![disk_latency(asked), disk_bytes(asked)],
        (View::Own, _) => vec![programs()],
    }
}

fn typed(tool: &'static str, line: String, shows: &'static str, lacks: &'static str) -> Command {
    Command { tool, line, shows, lacks }
}

/// A bpftrace program that ends after five seconds, by itself: a signal that comes while it starts is lost to it.
fn bpftrace(program: &str, shows: &'static str, lacks: &'static str) -> Command {
    typed("bpftrace", format!("bpftrace -e '{program} interval:s:5 {{ exit(); }}'"), shows, lacks)
}

/// A filter, `/…/ `, of conditions that must all hold; none of them holds always.
fn filter(conditions: &[Option<String>]) -> String {
    let conditions: Vec<&str> = conditions.iter().flatten().map(String::as_str).collect();
    if conditions.is_empty() { String::new() } else { format!("/{}/ ", conditions.join(" && ")) }
}

/// `(pid == 7 || pid == 8)`: one of the chosen processes.
fn one_of(asked: &Asked, field: &str) -> Option<String> {
    let any: Vec<String> = asked.pids.iter().map(|pid| format!("{field} == {pid}")).collect();
    match &any[..] {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("({})", many.join(" || "))),
    }
}

/// `7,8`.
fn list(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// The call that is looked at.
fn call(asked: &Asked) -> Option<u32> {
    asked.place.callers_of().or(asked.place.singles().map(|s| s.nr)).or(match asked.selected {
        Some(RowId::Call(nr)) => Some(nr),
        _ => None,
    })
}

fn latency(asked: &Asked) -> Command {
    let call = call(asked);
    let begins = filter(&[call.map(|nr| format!("args->id == {nr}")), one_of(asked, "pid")]);
    let key = if call.is_some() { "" } else { "[@call[tid]]" };
    let title = call.map_or_else(|| "ns".into(), |nr| format!("ns_in_{}", identifier(&name(nr))));
    bpftrace(
        &format!(
            "tracepoint:raw_syscalls:sys_enter {begins}{{ @begin[tid] = nsecs; @call[tid] = args->id; }} \
             tracepoint:raw_syscalls:sys_exit /@begin[tid]/ {{ @{title}{key} = hist(nsecs - @begin[tid]); \
             delete(@begin[tid]); delete(@call[tid]); }} END {{ clear(@begin); clear(@call); }}"
        ),
        "a histogram of the latency of the call, or of each call by its number",
        "its buckets are powers of two, and a call in flight at the start is not in it",
    )
}

/// Letters, digits and underscores alone.
fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn errors(asked: &Asked) -> Command {
    let failed = Some("args->ret < 0 && args->ret > -4096".to_owned());
    let only = call(asked).map(|nr| format!("args->id == {nr}"));
    let filter = filter(&[failed, only, one_of(asked, "pid")]);
    bpftrace(
        &format!("tracepoint:raw_syscalls:sys_exit {filter}{{ @failed[comm, args->id, args->ret] = count(); }}"),
        "which calls (by number) return which error, and how often",
        "names of calls and errors, and who runs in circles",
    )
}

fn summary(asked: &Asked) -> Command {
    let who = if asked.pids.is_empty() { "-a".to_owned() } else { format!("-p {}", list(&asked.pids)) };
    typed(
        "perf",
        format!("timeout -s INT 5 perf trace -s {who}"),
        "calls, errors, least, mean and longest time of each call, by thread",
        "quantiles; and it hands every event to user space, which can cost more than what is measured",
    )
}

fn calls_by_process(asked: &Asked) -> Command {
    let filter = filter(&[one_of(asked, "pid")]);
    bpftrace(
        &format!("tracepoint:raw_syscalls:sys_enter {filter}{{ @calls[pid, comm] = count(); }}"),
        "how many calls each process makes",
        "latencies, CPU time and bytes",
    )
}

fn run_queue(asked: &Asked) -> Command {
    let who = one_of(asked, "args->next_pid").map_or_else(String::new, |pids| format!(" && {pids}"));
    bpftrace(
        &format!(
            "tracepoint:sched:sched_wakeup, tracepoint:sched:sched_wakeup_new {{ @ready[args->pid] = nsecs; }} \
             tracepoint:sched:sched_switch {{ if ((args->prev_state & 255) == 0) {{ @ready[args->prev_pid] = nsecs; }} \
             $since = @ready[args->next_pid]; if ($since != 0{who}) {{ @waited_ns = hist(nsecs - $since); }} \
             delete(@ready[args->next_pid]); }} END {{ clear(@ready); }}"
        ),
        "a histogram of how long threads that could run waited for a CPU",
        "these tracepoints know thread ids: of a chosen process it shows the first thread alone",
    )
}

fn ran_instead(asked: &Asked) -> Option<Command> {
    let victim = one_of(asked, "args->next_pid")?;
    Some(bpftrace(
        &format!("tracepoint:sched:sched_switch /{victim}/ {{ @ran_before[args->prev_comm] = count(); }}"),
        "who was on the CPU just before the first thread of the chosen processes got it",
        "how long those ran while it waited; interrupts, quotas and stolen time",
    ))
}

fn sched() -> Command {
    typed(
        "perf",
        "perf sched record -o sched.data -- sleep 5 && perf sched -i sched.data latency".to_owned(),
        "mean and longest run-queue delay of each thread",
        "distributions; and it writes every switch to a file, some MB a second on a busy machine",
    )
}

fn bytes(asked: &Asked) -> Command {
    let moved = Some("args->ret > 0 && (args->family == 2 || args->family == 10)".to_owned());
    let taken = Some("(args->flags & 2) == 0".to_owned());
    let (sent, received) =
        (filter(&[moved.clone(), one_of(asked, "pid")]), filter(&[moved, taken, one_of(asked, "pid")]));
    bpftrace(
        &format!(
            "tracepoint:sock:sock_send_length {sent}{{ @tx[pid, comm] = sum(args->ret); }} \
             tracepoint:sock:sock_recv_length {received}{{ @rx[pid, comm] = sum(args->ret); }}"
        ),
        "payload bytes sent and received by each process, from Linux 6.3 on",
        "what the interfaces carry beside them",
    )
}

fn sockets(asked: &Asked) -> Command {
    let any: Vec<String> = asked.pids.iter().map(|pid| format!("pid={pid},")).collect();
    let only = if any.is_empty() { String::new() } else { format!(" | grep -A1 -E '{}'", any.join("|")) };
    typed(
        "ss",
        format!("ss -tinp{only}"),
        "TCP connections with their processes, round-trip times, congestion windows and bytes since they were opened",
        "UDP, connections that have closed, and rates",
    )
}

fn retransmits() -> Command {
    bpftrace(
        "tracepoint:tcp:tcp_retransmit_skb { @retransmits[args->sport, args->dport] = count(); }",
        "retransmitted segments by local and remote port",
        "whose connection it is: the kernel retransmits in nobody's name",
    )
}

fn in_flight(asked: &Asked) -> Command {
    let filter = filter(&[one_of(asked, "pid")]);
    bpftrace(
        &format!(
            "tracepoint:raw_syscalls:sys_enter {filter}{{ @since_ns[pid, tid, comm, args->id] = nsecs; }} \
             tracepoint:raw_syscalls:sys_exit {{ delete(@since_ns[pid, tid, comm, args->id]); }}"
        ),
        "calls (by number) that did not return by its end, with when they were entered",
        "calls that were entered before it was started, and what they wait for",
    )
}

fn channels(asked: &Asked) -> Option<Command> {
    let first = asked.pids.first().or(match &asked.selected {
        Some(RowId::Thread(id, _) | RowId::Process(id)) => Some(&id.pid),
        _ => None,
    })?;
    let pids = if asked.pids.is_empty() { vec![*first] } else { asked.pids.clone() };
    let files: Vec<String> =
        pids.iter().map(|pid| format!("/proc/{pid}/task/*/wchan /proc/{pid}/task/*/syscall")).collect();
    Some(typed(
        "grep",
        format!("grep -H . {}", files.join(" ")),
        "of each thread, the kernel function it sleeps in, and the number and arguments of its call",
        "how long it has been there",
    ))
}

fn slow_calls(asked: &Asked) -> Command {
    let who = if asked.pids.is_empty() { "-a".to_owned() } else { format!("-p {}", list(&asked.pids)) };
    typed(
        "perf",
        format!("timeout -s INT 5 perf trace --duration 1000 {who}"),
        "calls that took longer than a second, with their arguments",
        "those that have not returned",
    )
}

/// The device that is looked at, in the kernel's own form.
fn device(asked: &Asked) -> Option<String> {
    match asked.selected {
        Some(RowId::Disk(device, _)) => Some(format!("args->dev == {}", device.major << 20 | device.minor)),
        _ => None,
    }
}

fn disk_latency(asked: &Asked) -> Command {
    let begins = filter(&[device(asked)]);
    bpftrace(
        &format!(
            "tracepoint:block:block_rq_issue {begins}{{ @begin[args->dev, args->sector] = nsecs; }} \
             tracepoint:block:block_rq_complete /@begin[args->dev, args->sector]/ {{ \
             @ns[args->rwbs] = hist(nsecs - @begin[args->dev, args->sector]); \
             delete(@begin[args->dev, args->sector]); }} END {{ clear(@begin); }}"
        ),
        "a histogram of how long the driver and the device take, by kind of request (R, W, F, D, …)",
        "the time in the queue before that, and what is in flight",
    )
}

fn disk_bytes(asked: &Asked) -> Command {
    let filter = filter(&[device(asked), one_of(asked, "pid")]);
    bpftrace(
        &format!(
            "tracepoint:block:block_rq_issue {filter}{{ @bytes[pid, args->comm, args->rwbs] = sum(args->bytes); }}"
        ),
        "bytes handed to devices, by who is on the CPU then",
        "who submitted them, where a kernel thread hands them on",
    )
}

fn programs() -> Command {
    typed(
        "bpftool",
        "bpftool prog profile name sys_enter duration 5 cycles instructions".to_owned(),
        "cycles and instructions of one of kscope's programs",
        "all programs at once, and user space; it needs hooks on functions of the kernel",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ident::ProcessId;
    use crate::probes::disk::stats::{Device, Direction};
    use proptest::prelude::*;

    fn lines(asked: &Asked) -> Vec<String> {
        commands(asked).into_iter().map(|command| command.line).collect()
    }

    #[test]
    fn every_view_has_lines_and_says_what_they_show_and_lack() {
        for view in View::ALL {
            let commands = commands(&Asked { view, ..Asked::default() });
            assert!(!commands.is_empty(), "{view:?}");
            assert!(commands.iter().all(|c| !c.shows.is_empty() && !c.lacks.is_empty() && c.line.contains(c.tool)));
        }
    }

    #[test]
    fn the_selected_call_and_the_filter_are_in_the_line() {
        let asked =
            Asked { view: View::Syscalls, selected: Some(RowId::Call(1)), pids: vec![7, 12], ..Asked::default() };
        let lines = lines(&asked);
        assert!(lines[0].contains("/args->id == 1 && (pid == 7 || pid == 12)/"), "{}", lines[0]);
        assert!(lines[0].contains("@ns_in_write = hist("), "{}", lines[0]);
        assert!(lines[2].ends_with("perf trace -s -p 7,12"), "{}", lines[2]);
        let callers = Asked { place: Place::Callers(0), selected: None, ..asked };
        assert!(commands(&callers)[0].line.contains("args->id == 0"));
    }

    #[test]
    fn a_device_is_chosen_by_its_number() {
        let row = RowId::Disk(Device { major: 254, minor: 16 }, Some(Direction::Read));
        let asked = Asked { view: View::Disk, selected: Some(row), ..Asked::default() };
        assert!(lines(&asked)[0].contains("/args->dev == 266338320/"), "{:?}", lines(&asked));
    }

    #[test]
    fn a_selected_thread_is_asked_where_no_process_is_chosen() {
        let row = RowId::Thread(ProcessId { pid: 31, birth: 1 }, 32);
        let asked = Asked { view: View::Stuck, selected: Some(row), ..Asked::default() };
        assert!(lines(&asked).contains(&"grep -H . /proc/31/task/*/wchan /proc/31/task/*/syscall".to_owned()));
    }

    proptest! {
        #[test]
        fn a_line_is_balanced_and_quoted_once(
            view in 0..View::ALL.len(),
            pids in proptest::collection::vec(any::<u32>(), 0..MOST_PIDS),
            nr in proptest::option::of(any::<u32>()),
        ) {
            let asked = Asked { view: View::ALL[view], pids, selected: nr.map(RowId::Call), ..Asked::default() };
            for line in lines(&asked) {
                let count = |c: char| line.matches(c).count();
                prop_assert!(matches!(count('\''), 0 | 2), "{line}");
                prop_assert_eq!(count('{'), count('}'));
                prop_assert_eq!(count('('), count(')'));
                prop_assert!(!line.contains(['`', '"', ';', '\n', '\\']) || count('\'') == 2, "{line}");
            }
        }
    }
}
