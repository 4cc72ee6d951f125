//! More than there is room for, later than asked for, and stranger than one thinks: true numbers, or a stated gap.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::dashboard::{large_dashboard, tabs_line, wait_for_view};
use crate::kscope::{self, Report, Running, TempDir, assert_close, number, report, workload_path};
use crate::process::fork_as;
use crate::workload::{self, arg, in_child, in_child_of, nanosleep, ns, reap};
use crate::{Case, btf, privileges, trial};

pub const CASES: &[Case] = &[
    ("storms::of_100000_threads_every_call_is_counted_or_lost", threads_in_turn),
    ("storms::more_dead_threads_than_the_table_holds_are_a_lower_bound", threads_while_stopped),
    ("storms::more_living_threads_than_the_table_holds_are_a_lower_bound", threads_at_once),
    ("storms::an_interval_is_as_long_as_it_was", late),
    ("storms::a_pid_used_ten_times_is_ten_processes", used_often),
    ("storms::exec_from_a_thread_is_one_process", exec_from_thread),
    ("storms::the_id_of_a_thread_that_became_the_first_does_not_inherit", thread_id_reused),
    ("storms::a_child_that_borrows_its_parents_memory_is_a_process", vforked),
    ("storms::other_namespaces_are_counted_by_the_hosts_pid", namespaces),
    ("storms::a_name_cannot_break_a_report", hostile_report),
    ("storms::an_argument_list_of_gigabytes_takes_no_memory", long_arguments),
];

const CLOCK_CASES: &[Case] = &[("storms::in_a_time_namespace_times_are_those_of_the_host", other_clocks)];

const CPU_CASES: &[Case] = &[("storms::a_cpu_that_goes_and_comes_back_takes_nothing_along", hotplug)];

pub const SCREEN_CASES: &[Case] =
    &[("storms::a_late_interval_says_so", late_on_screen), ("storms::a_name_cannot_steer_the_screen", hostile_screen)];

pub fn trials() -> Vec<Trial> {
    let clocks = CLOCK_CASES.iter().map(|case| trial(*case, &[privileges, btf, no_other_clocks]));
    clocks.chain(CPU_CASES.iter().map(|case| trial(*case, &[privileges, btf, no_cpu_to_spare]))).collect()
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    Some(match name {
        "threads-in-turn" => in_turn(arg(args, 0), arg(args, 1)),
        "threads-at-once" => at_once(arg(args, 0)),
        "spin-and-call" => in_child(|| spin_and_call(arg(args, 0))).join(),
        "use-often" => use_often(),
        "exec-from-thread" => become_another(&args[0]),
        "reuse-thread" => reuse_thread(&args[0]),
        "awake" => {
            workload::call(libc::SYS_getuid, arg(args, 0));
            assert!(nanosleep(Duration::from_millis(1_500)));
            json!({})
        }
        "linger" => {
            nanosleep(Duration::from_mins(2));
            json!({})
        }
        "vfork" => borrow_memory(),
        "long-arguments" => claim_arguments(arg(args, 0)),
        _ => return None,
    })
}

/// Calls of `kscope report` while `meanwhile` runs a workload, whatever is lost.
fn around(workload: &[&str], meanwhile: impl FnOnce(&Running, &mut Command)) -> (Value, Value) {
    let dir = TempDir::new();
    let facts = dir.join("facts.json");
    let mut kscope = Running::start(&["report", "--for", "85s", "--format", "json"]);
    kscope.wait_until_measuring();
    let mut command = Command::new(workload_path());
    command.arg("--workload").args(workload).env("KSCOPE_FACTS", &facts);
    meanwhile(&kscope, &mut command);
    let output = kscope.stop();
    assert!(output.status.success(), "{}", output.stderr);
    let facts = serde_json::from_str(&std::fs::read_to_string(facts).unwrap()).unwrap();
    (serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {}", output.stderr)), facts)
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

fn send(kscope: &Running, signal: Signal) {
    kill_process(Pid::from_raw(kscope.pid().cast_signed()).unwrap(), signal).unwrap();
}

/// Of `made` calls by the processes of the facts all are counted, or each that is not is an event lost; and the quality says
/// which of both it is.
fn assert_counted_or_lost(report: &Value, facts: &Value, made: u64) -> u64 {
    let lost = number(&report["self"]["dropped"]["threads"]);
    let records = number(&report["self"]["dropped"]["latency"]);
    let all = Report::of(report.clone(), facts.clone());
    let pids = facts["pids"].as_array().expect("pids").iter().map(number);
    let counted: u64 = pids.map(|pid| all.process(pid).count("getppid")).sum();
    assert!(counted <= made, "{counted} of {made}");
    assert!(counted + lost + records >= made, "{counted} of {made}, and {lost} + {records} lost");
    let touched = ["syscalls", "runqueue", "network", "time", "errors", "dead"];
    for group in touched {
        let expected = if lost > 0 { "lower_bound" } else { "exact" };
        if records == 0 || group == "time" || group == "network" {
            assert_eq!(report["quality"][group], expected, "{group}, with {lost} events lost");
        }
    }
    // What no thread's entry is needed for.
    assert_eq!(report["quality"]["disk"], "exact");
    if lost + records == 0 {
        assert_eq!(counted, made);
    }
    lost
}

const CALLS_OF_A_THREAD: u64 = 3;

fn threads_in_turn() {
    const THREADS: u64 = 100_000;
    let (report, facts) = around(&["threads-in-turn", "100000", "3"], |_, command| run(command));
    assert_counted_or_lost(&report, &facts, THREADS * CALLS_OF_A_THREAD);
}

fn threads_while_stopped() {
    const THREADS: u64 = 40_000;
    let bystander = std::cell::Cell::new(0);
    let (report, facts) = around(&["threads-in-turn", "40000", "3"], |kscope, command| {
        let mut before = Command::new(workload_path());
        let mut before = before.args(["--workload", "getppid", "4000"]).stderr(Stdio::null()).spawn().unwrap();
        bystander.set(before.id());
        assert!(before.wait().unwrap().success());
        send(kscope, Signal::STOP);
        run(command);
        send(kscope, Signal::CONT);
    });
    let lost = assert_counted_or_lost(&report, &facts, THREADS * CALLS_OF_A_THREAD);
    assert!(lost > 0, "a trial that proves little: {}", report["self"]["dropped"]);
    let all = Report::of(report, facts);
    assert_eq!(all.process(bystander.get().into()).count("getppid"), 4_000, "who had an entry lost nothing");
}

/// So many threads, few at a time, of so many calls each.
fn in_turn(threads: u64, calls: u64) -> Value {
    let mut left = threads;
    while left > 0 {
        let batch = left.min(8);
        std::thread::scope(|scope| {
            for _ in 0..batch {
                let small = std::thread::Builder::new().stack_size(16 << 10);
                small.spawn_scoped(scope, || workload::call(libc::SYS_getppid, calls)).unwrap();
            }
        });
        left -= batch;
    }
    json!({ "pids": [std::process::id()] })
}

/// More than fit into the table and beside it on a small host: 16,384 and 8,192.
fn threads_at_once() {
    const THREADS: u64 = 26_000;
    let (report, facts) = around(&["threads-at-once", "26000"], |_, command| run(command));
    let lost = assert_counted_or_lost(&report, &facts, THREADS);
    // A larger host has a larger table.
    assert!(
        lost > 0 || number(&report["host"]["cpus"]) > 8,
        "a trial that proves little: {}",
        report["self"]["dropped"]
    );
}

/// Threads of four processes (one may not have so many) that are all there before the first of them makes its one call.
fn at_once(threads: u64) -> Value {
    const PROCESSES: usize = 4;
    let (mut ready, mut is_ready) = std::io::pipe().unwrap();
    let (mut go, going) = std::io::pipe().unwrap();
    let mut going = Some(going);
    let mut crowd = |threads: u64| {
        let all_there = Arc::new(Barrier::new(usize::try_from(threads + 1).unwrap()));
        let start = |_| {
            let all_there = Arc::clone(&all_there);
            let one = move || {
                all_there.wait();
                workload::call(libc::SYS_getppid, 1);
            };
            std::thread::Builder::new().stack_size(16 << 10).spawn(one).unwrap()
        };
        let all: Vec<_> = (0..threads).map(start).collect();
        drop(going.take());
        is_ready.write_all(&[1]).unwrap();
        // Until the parent closes its end.
        assert_eq!(go.read(&mut [0]).unwrap(), 0);
        all_there.wait();
        for thread in all {
            thread.join().unwrap();
        }
        json!({})
    };
    let children: Vec<_> = (0..PROCESSES).map(|_| in_child(|| crowd(threads / PROCESSES as u64))).collect();
    ready.read_exact(&mut [0; PROCESSES]).unwrap();
    drop(going);
    let pids: Vec<Value> = children.into_iter().map(|child| child.join()["pid"].clone()).collect();
    json!({ "pids": pids })
}

/// kscope sleeps for some of its intervals; what a process did meanwhile is over the time that it took.
fn late() {
    const STOPPED: Duration = Duration::from_secs(4);
    let begin = std::cell::Cell::new(None);
    let (report, facts) = around(&["spin-and-call", "50000"], |kscope, command| {
        begin.set(Some(Instant::now()));
        send(kscope, Signal::STOP);
        let stopped = Instant::now();
        run(command);
        std::thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
        send(kscope, Signal::CONT);
    });
    let known = begin.get().unwrap().elapsed();
    let interval = number(&report["interval_ns"]);
    // From before it was stopped until after it was continued, as it was asked to end at once then.
    assert!((ns(STOPPED)..=ns(known + Duration::from_secs(5))).contains(&interval), "{interval} ns of {known:?}");
    let all = Report::of(report, facts);
    let process = all.process(number(&all.facts["pid"]));
    assert_eq!(process.count("getppid"), 50_000);
    let time = &process.0["time"];
    let on_cpu = number(&time["user_ns"]) + number(&time["kernel_ns"]);
    assert_close("CPU time", on_cpu, number(&all.facts["rusage_ns"]), 0.03, 2_000_000);
    assert_eq!(all.json["quality"]["time"], "exact");
}

fn spin_and_call(calls: u64) -> Value {
    workload::call(libc::SYS_getppid, calls);
    workload::spin(Duration::from_secs(1));
    json!({})
}

fn late_on_screen() {
    let terminal = large_dashboard();
    let pid = std::fs::read_to_string(terminal.path("pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    terminal.wait("an interval in time", |screen| screen.contains("lost 0") && !screen.contains("late"));
    kill_process(pid, Signal::STOP).unwrap();
    // What is waited for is that time goes by.
    std::thread::sleep(Duration::from_secs(4));
    kill_process(pid, Signal::CONT).unwrap();
    let screen = terminal.wait("that it says so", |screen| screen.contains("late: over"));
    let over = screen.split("late: over ").nth(1).unwrap();
    let seconds: f64 = over.split_whitespace().next().unwrap().parse().unwrap();
    assert!(seconds >= 4.0, "{screen}");
    terminal.wait("an interval in time again", |screen| screen.contains("lost 0") && !screen.contains("late"));
}

fn used_often() {
    let report = report(&["use-often"]);
    let rows = report.processes(number(&report.facts["pid"]));
    let counts: BTreeSet<u64> = rows.iter().map(|p| p.count("getppid")).collect();
    assert_eq!(counts, (1..=10).map(|at| at * 100).collect(), "{} rows", rows.len());
}

/// One after the other, all with the pid of the first.
fn use_often() -> Value {
    let work = |at: u64| {
        move || {
            workload::call(libc::SYS_getppid, at * 100);
            json!({})
        }
    };
    let first = in_child(work(1));
    let pid = first.pid;
    first.join();
    for at in 2..=10 {
        assert_eq!(in_child_of(work(at), || fork_as(pid)).join()["pid"], pid);
    }
    json!({ "pid": pid })
}

/// Time that is nobody's: what the kernel charges for the end of a process, which no program sees.
const ENDS_NS: u64 = 5_000_000;

fn exec_from_thread() {
    let report = report(&["exec-from-thread", "imago"]);
    let process = report.process(number(&report.facts["pid"]));
    let counts = ["getppid", "execve", "getuid"].map(|call| process.count(call));
    assert_eq!((counts, process.0["comm"].as_str()), ([18, 1, 13], Some("imago")));
    let time = &process.0["time"];
    let on_cpu = number(&time["user_ns"]) + number(&time["kernel_ns"]);
    assert_close("CPU time", on_cpu, number(&report.facts["rusage_ns"]), 0.03, ENDS_NS);
}

/// A child whose second thread becomes another program, and whose first had calls of its own.
fn become_another(comm: &str) -> Value {
    let dir = TempDir::new();
    let path = dir.join(comm);
    std::os::unix::fs::symlink(workload_path(), &path).unwrap();
    in_child(|| exec_in_thread(&path, |_| {})).join()
}

fn exec_in_thread(path: &Path, tell: impl FnOnce(i32) + Send) -> Value {
    workload::call(libc::SYS_getppid, 11);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            workload::call(libc::SYS_getppid, 7);
            // SAFETY: asks for its own id.
            tell(unsafe { libc::gettid() });
            let mut command = Command::new(path);
            command.args(["--workload", "awake", "13"]).env_remove("KSCOPE_FACTS").stderr(Stdio::null());
            panic!("exec: {}", command.exec())
        });
    });
    json!({})
}

fn thread_id_reused() {
    let report = report(&["reuse-thread", "imago"]);
    let (first, second) = (number(&report.facts["first"]["pid"]), number(&report.facts["second"]["pid"]));
    let counts = |pid: u64| ["getppid", "getuid"].map(|call| report.process(pid).count(call));
    assert_eq!((counts(first), counts(second)), ([18, 13], [0, 70]), "(getppid, getuid)");
}

/// As above; and as soon as the thread's old id is free, another process has it as its pid.
fn reuse_thread(comm: &str) -> Value {
    let dir = TempDir::new();
    let path = dir.join(comm);
    std::os::unix::fs::symlink(workload_path(), &path).unwrap();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let first = in_child(|| exec_in_thread(&path, |tid| writer.write_all(&tid.to_le_bytes()).unwrap()));
    let mut tid = [0; 4];
    reader.read_exact(&mut tid).unwrap();
    let tid = i32::from_le_bytes(tid);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new(&format!("/proc/{}/task/{tid}", first.pid)).exists() {
        assert!(Instant::now() < deadline, "the thread keeps its id");
        std::thread::yield_now();
    }
    let second = in_child_of(
        || {
            workload::call(libc::SYS_getuid, 70);
            json!({})
        },
        || fork_as(tid),
    );
    assert_eq!(second.pid, tid);
    json!({ "second": second.join(), "first": first.join() })
}

fn vforked() {
    let report = report(&["vfork"]);
    let (parent, child) = (number(&report.facts["pid"]), number(&report.facts["child"]));
    assert_eq!(report.process(child).count("getppid"), 300);
    assert_eq!(report.process(parent).count("getppid"), 11);
    // The parent is held up until the child has ended.
    let blocked = number(&report.process(parent).0["time"]["blocked_ns"]);
    assert!(blocked >= 200_000_000, "{blocked} ns");
}

extern "C" fn borrower(_: *mut libc::c_void) -> libc::c_int {
    workload::call(libc::SYS_getppid, 300);
    nanosleep(Duration::from_millis(200));
    0
}

fn borrow_memory() -> Value {
    in_child(|| {
        workload::call(libc::SYS_getppid, 11);
        let mut stack = vec![0_u64; 16 << 10];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the child has the upper end of this stack for itself, and the parent does not go on before it has ended.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(stack.len()).cast();
            libc::clone(borrower, top, flags, std::ptr::null_mut())
        };
        assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
        reap(pid);
        json!({ "child": pid })
    })
    .join()
}

fn namespaces() {
    let me = workload_path();
    let inside = ["unshare", "-pfnmiu", "--mount-proc", me.to_str().unwrap(), "--workload", "getppid", "4000"];
    let output = Running::start(&[&["report", "--format", "json", "--"], &inside[..]].concat()).finish();
    assert!(output.status.success(), "{}", output.stderr);
    let report = Report::parse(&output, Value::Null);
    let counts: Vec<(u64, u64)> =
        report.all().iter().map(|p| (number(&p.0["pid"]), p.count("getppid"))).filter(|(_, n)| *n > 0).collect();
    let [(pid, 4_000)] = counts[..] else { panic!("{counts:?}") };
    assert_ne!(pid, 1, "its pid is that of the host");
}

/// Runs what follows with clocks that are far ahead of the host's.
const OTHER_CLOCKS: [&str; 4] = ["--time", "--monotonic=100000", "--boottime=200000", "--"];

/// Why there are no other clocks, if so.
fn no_other_clocks() -> Option<String> {
    let works = Command::new("unshare").args(OTHER_CLOCKS).arg("true").stderr(Stdio::null()).status();
    (!works.is_ok_and(|status| status.success())).then(|| "needs time namespaces (unshare --time)".into())
}

/// The kernel's programs have the clocks of the host, kscope has not.
fn other_clocks() {
    let dir = TempDir::new();
    let path = dir.join("facts.json");
    let mut command = Command::new("unshare");
    command.args(OTHER_CLOCKS).arg(env!("CARGO_BIN_EXE_kscope")).args(["report", "--format", "json", "--"]);
    command.arg(workload_path()).args(["--workload", "spin-and-call", "5000"]).env("KSCOPE_FACTS", &path);
    let output = Running::spawn(command).finish();
    assert!(output.status.success(), "{}", output.stderr);
    let facts = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let report = Report::parse(&output, facts);
    let process = report.process(number(&report.facts["pid"]));
    assert_eq!(process.count("getppid"), 5_000);
    assert!(process.0["ppid"] != 0 && process.0["comm"] != "", "{}", process.0);
    let time = &process.0["time"];
    let on_cpu = number(&time["user_ns"]) + number(&time["kernel_ns"]);
    assert_close("CPU time", on_cpu, number(&report.facts["rusage_ns"]), 0.03, 2_000_000);
}

/// A process that goes on until it is dropped.
struct Lasting(Child);

impl Drop for Lasting {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Clears the screen, begins a line, ends a cell.
const HOSTILE: &str = "\u{1b}[2J\n\",x\t|";

/// A process with this name that calls; its arguments, and the name it was started by, are of the same kind.
fn hostile() -> Lasting {
    let mut command = Command::new(workload_path());
    command.arg0("\u{1b}]0;title\u{7}\n").args(["--workload", "caller", HOSTILE]);
    let child = Lasting(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_to_string(format!("/proc/{}/comm", child.0.id())).unwrap().trim_end() != HOSTILE.trim_end() {
        assert!(Instant::now() < deadline, "it does not take its name");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn hostile_report() {
    let child = hostile();
    let pid = child.0.id().to_string();
    for format in ["text", "json", "csv"] {
        let output = kscope::run(&["report", "--for", "1s", "--format", format, "--pid", &pid]);
        assert!(output.status.success(), "{}", output.stderr);
        let steering = output.stdout.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(steering, None, "{format}: {:?}", output.stdout);
        assert!(output.stdout.contains("[2J"), "{format} names it: {}", output.stdout);
        match format {
            "json" => {
                let report = Report::parse(&output, Value::Null);
                assert!(report.process(child.0.id().into()).0["comm"].as_str().unwrap().contains("[2J"));
            }
            "csv" => {
                let cells: BTreeSet<usize> = output.stdout.lines().map(cells_of_csv).collect();
                assert_eq!(cells.len(), 1, "lines of {cells:?} cells in {}", output.stdout);
            }
            _ => {}
        }
    }
}

/// Cells of a line of CSV, with its quotes.
fn cells_of_csv(line: &str) -> usize {
    let mut quoted = false;
    let mut cells = 1;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells += 1,
            _ => {}
        }
    }
    assert!(!quoted, "a quote that does not end: {line}");
    cells
}

fn hostile_screen() {
    let child = hostile();
    let terminal = large_dashboard();
    let titles = ["Overview", "Syscalls", "Scheduler", "Network", "Stuck", "Disk", "Processes", "Self"];
    terminal.press(&["p"]);
    terminal.type_text(&child.0.id().to_string());
    terminal.press(&["Enter"]);
    for (key, title) in ["1", "2", "3", "4", "5", "6", "7", "9"].into_iter().zip(titles) {
        terminal.press(&[key]);
        wait_for_view(&terminal, title);
        let screen = terminal.screen();
        assert!(tabs_line(&screen).is_some_and(|line| line < 4), "{title}:\n{screen}");
    }
    terminal.press(&["7"]);
    let named = |screen: &str| screen.lines().filter(|line| line.contains("[2J")).count() == 1;
    terminal.wait("its row", |screen| tabs_line(screen).is_some() && named(screen));
    terminal.press(&["Enter"]);
    terminal.wait("its page", |screen| screen.contains("[2J"));
    terminal.press(&["q"]);
    terminal.wait("the end", |screen| screen.contains("EXIT:0"));
    terminal.assert_restored();
}

/// The most memory that a process has had, bytes.
fn peak_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// One that says that its arguments are 4 GB, and one that was started with some megabytes.
fn long_arguments() {
    let mut command = Command::new(workload_path());
    command.args(["--workload", "long-arguments", "4294967296"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut giant = Lasting(command.spawn().unwrap());
    let mut said = String::new();
    BufReader::new(giant.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let long = "x".repeat(120_000);
    let mut command = Command::new(workload_path());
    command.args(["--workload", "linger"]).args(vec![&long; 14]).stderr(Stdio::null());
    let _wordy = Lasting(command.spawn().unwrap());

    let mut kscope = Running::start(&["report", "--for", "80s", "--format", "json"]);
    kscope.wait_until_measuring();
    // By then it has asked everybody for their names.
    let peak = peak_of(kscope.pid());
    assert!(peak < 200 << 20, "{} MiB", peak >> 20);
    Report::parse(&kscope.stop(), Value::Null);
    assert_eq!(said, "ready\n", "an argument list of 4 GB was not to be had here");
}

/// Says that its arguments are so many bytes of zeros, and waits.
fn claim_arguments(bytes: u64) -> Value {
    let bytes = usize::try_from(bytes).unwrap();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().skip(1).map(|f| f.parse().unwrap_or(0)).collect();
    // Numbered as in proc(5), where the state is the third.
    let field = |number: usize| fields[number - 4];
    // SAFETY: a fresh mapping of memory that nobody writes; the map lives across the call, and its addresses are ours.
    let refused = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let area = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, flags, -1, 0);
        assert_ne!(area, libc::MAP_FAILED);
        let area = area as u64;
        let brk = libc::sbrk(0) as u64;
        let (code, stack, env) = ((field(26), field(27)), field(28), (field(50), field(51)));
        let data = (field(45), field(46));
        // `struct prctl_mm_map`: no auxiliary vector, and the executable stays.
        let map: [u64; 13] = [
            code.0,
            code.1,
            data.0,
            data.1,
            field(47),
            brk,
            stack,
            area,
            area + bytes as u64,
            env.0,
            env.1,
            0,
            u64::from(u32::MAX) << 32,
        ];
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, map.as_ptr(), size_of_val(&map), 0)
    };
    if refused == 0 {
        println!("ready");
    } else {
        println!("{}", std::io::Error::last_os_error());
    }
    let mut end = [0];
    let _ = std::io::stdin().read(&mut end);
    json!({})
}

const LAST_CPU: &str = "/sys/devices/system/cpu/cpu1/online";

/// Why no CPU can be taken away, if so.
fn no_cpu_to_spare() -> Option<String> {
    let online = std::fs::read_to_string(LAST_CPU).unwrap_or_default();
    let writable = online.trim() == "1" && std::fs::write(LAST_CPU, "1").is_ok();
    (!writable).then(|| format!("needs a CPU that can be taken away by {LAST_CPU}"))
}

/// A CPU that is not there as long as this is.
struct Unplugged;

impl Unplugged {
    fn new() -> Self {
        std::fs::write(LAST_CPU, "0").unwrap();
        Self
    }
}

impl Drop for Unplugged {
    fn drop(&mut self) {
        std::fs::write(LAST_CPU, "1").unwrap();
    }
}

fn hotplug() {
    let (report, facts) = around(&["spin-and-call", "50000"], |_, command| {
        let mut before = command.spawn().unwrap();
        let unplugged = Unplugged::new();
        assert!(before.wait().unwrap().success());
        drop(unplugged);
        run(command);
    });
    let all = Report::of(report, facts);
    // The facts are those of the second.
    let process = all.process(number(&all.facts["pid"]));
    assert_eq!(process.count("getppid"), 50_000);
    let interval = number(&all.json["interval_ns"]);
    for row in all.json["runqueue"]["cpus"].as_array().unwrap() {
        assert!(number(&row["max_ns"]) <= interval, "{row}");
    }
    for process in all.all() {
        let time = &process.0["time"];
        let on_cpu = number(&time["user_ns"]) + number(&time["kernel_ns"]);
        assert!(on_cpu <= interval * number(&all.json["host"]["cpus"]), "{on_cpu} ns in {interval}: {}", process.0);
    }
    assert_eq!(all.json["quality"]["time"], "exact");
}
