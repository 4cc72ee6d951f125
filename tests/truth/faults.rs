//! What goes wrong around kscope: it is killed, its disk is full, its reader has gone, /proc is not there, memory is short. Then
//! there is a sentence, an exit status that says so, and nothing is left behind; what can be measured is.
//!
//! Against the command line and /proc alone: of how many processes kscope consists is its own business.

use std::collections::BTreeSet;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kscope::{Output, Report, Running, TempDir, number, workload_path};
use crate::terminal::Terminal;
use crate::{Case, btf, privileges, trial};

pub const CASES: &[Case] = &[
    ("faults::kill_9_leaves_nothing_behind", killed),
    ("faults::ten_at_once_do_not_disturb_each_other", ten_at_once),
    ("faults::a_full_disk_is_a_sentence", full_disk),
    ("faults::a_log_on_a_full_disk_is_a_sentence", full_log),
    ("faults::nobody_who_listens_to_messages_is_no_reason_to_fail", deaf),
    ("faults::a_reader_that_goes_is_no_failure", broken_pipe),
    ("faults::a_configuration_that_cannot_be_read_is_a_sentence", configuration),
    ("faults::a_panic_of_the_sampler_ends_the_report", panic_in_report),
];

/// Those that need a place of their own to mount and unmount in.
const MOUNT_CASES: &[Case] = &[
    ("faults::without_proc_it_counts_and_says_what_is_missing", without_proc),
    ("faults::a_proc_that_hides_processes_hides_none_from_root", hidepid),
    ("faults::an_ordinary_user_with_a_proc_that_hides_gets_a_sentence", hidepid_as_nobody),
    ("faults::without_tracefs_nothing_is_missing", without_tracefs),
];

const MEMORY_CASES: &[Case] = &[("faults::no_memory_for_the_maps_is_a_sentence", no_memory)];

pub const SCREEN_CASES: &[Case] = &[
    ("faults::without_a_home_the_dashboard_works", || home("unset HOME XDG_CONFIG_HOME;")),
    ("faults::with_a_home_that_is_not_there_the_dashboard_works", || home("HOME=/nonexistent; export HOME;")),
    ("faults::a_panic_of_the_sampler_gives_the_terminal_back", panic_on_screen),
];

pub fn trials() -> Vec<Trial> {
    let mounts = MOUNT_CASES.iter().map(|case| trial(*case, &[privileges, btf, no_mounts]));
    mounts.chain(MEMORY_CASES.iter().map(|case| trial(*case, &[privileges, btf, no_memory_limits]))).collect()
}

/// Why nothing can be mounted apart from the host, if so.
fn no_mounts() -> Option<String> {
    let works = in_own_mounts("true", &[]).status().is_ok_and(|status| status.success());
    (!works).then(|| "needs mount namespaces (unshare -m)".into())
}

/// A script with mounts of its own; kscope is `$0`, and `args` are its.
fn in_own_mounts(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_kscope")]).args(args);
    command
}

fn shell(script: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_kscope")]);
    Running::spawn(command).finish()
}

fn assert_no_panic(output: &Output) {
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    assert_eq!(output.status.signal(), None, "{}", output.stderr);
}

/// It failed, and said why in a sentence with these words.
fn assert_sentence(output: &Output, words: &[&str]) {
    assert_no_panic(output);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let said = |line: &&str| line.starts_with("kscope: ") && words.iter().all(|word| line.contains(word));
    assert!(output.stderr.lines().any(|line| said(&line)), "nothing of {words:?} in {}", output.stderr);
}

/// A process and those below it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", all[at])).unwrap();
        for task in tasks {
            let children = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
        at += 1;
    }
    all
}

/// What of the kernel's a process has open, by kind (`prog_id`, `map_id`, `link_id`) and number.
fn objects(pid: u32) -> BTreeSet<(String, u32)> {
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        for line in text.lines() {
            let Some((kind, id)) = line.split_once(':') else { continue };
            if matches!(kind, "prog_id" | "map_id" | "link_id") {
                found.insert((kind.to_owned(), id.trim().parse().unwrap()));
            }
        }
    }
    found
}

/// Asks the kernel for a descriptor of it: `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID`, `BPF_LINK_GET_FD_BY_ID`.
fn is_there((kind, id): &(String, u32)) -> bool {
    let command = match kind.as_str() {
        "prog_id" => 13,
        "map_id" => 14,
        _ => 30,
    };
    let attributes = [*id, 0, 0];
    // SAFETY: the attributes live across the call and are as long as stated.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 {
        return false;
    }
    // SAFETY: a descriptor that was just made, and is nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) });
    true
}

fn pins() -> BTreeSet<PathBuf> {
    let Ok(dir) = std::fs::read_dir("/sys/fs/bpf") else { return BTreeSet::new() };
    dir.map(|entry| entry.unwrap().path()).collect()
}

fn killed() {
    let before = pins();
    let args = ["report", "--for", "80s", "--with", "blame,connections"];
    let mut kscope = Running::start(&args);
    kscope.wait_until_measuring();
    let pids = family(kscope.pid());
    let held: BTreeSet<_> = pids.iter().flat_map(|pid| objects(*pid)).collect();
    let of_kind = |wanted: &str| held.iter().filter(|(kind, _)| kind == wanted).count();
    assert!(of_kind("prog_id") > 10 && of_kind("map_id") > 10, "a trial that proves little: {held:?}");
    assert!(held.iter().all(is_there));
    let cgroup = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(pids.iter().all(|pid| cgroup(&pid.to_string()) == cgroup("self")), "it made a cgroup");
    assert_eq!(pins(), before);
    kill_process(Pid::from_raw(kscope.pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(kscope.finish().status.signal(), Some(libc::SIGKILL));
    // What goes on below it, and the kernel, need a moment.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left: Vec<_> = held.iter().filter(|object| is_there(object)).collect();
        let alive = pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}/fdinfo/0")).exists()).count();
        if left.is_empty() && alive == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{alive} processes and {left:?} are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(pins(), before);
}

fn ten_at_once() {
    const CALLS: u64 = 20_000;
    let dir = TempDir::new();
    let start = |_| Running::start(&["report", "--for", "80s", "--format", "json"]);
    let mut all: Vec<Running> = (0..10).map(start).collect();
    all.iter_mut().for_each(Running::wait_until_measuring);
    let facts = |name: &str, workload: &[&str]| -> Value {
        let path = dir.join(name);
        let mut command = Command::new(workload_path());
        command.arg("--workload").args(workload).env("KSCOPE_FACTS", &path);
        assert!(command.status().unwrap().success());
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let caller = number(&facts("calls", &["getppid", &CALLS.to_string()])["pid"]);
    let failing = number(&facts("errors", &["enoent", "500"])["pid"]);
    // All at once: to detach from a tracepoint that others are attached to takes its time.
    all.iter().for_each(Running::ask_to_stop);
    for kscope in all {
        let output = kscope.finish();
        assert!(output.status.success(), "{}", output.stderr);
        let report = Report::parse(&output, Value::Null);
        assert_eq!(report.process(caller).count("getppid"), CALLS);
        let open = report.process(failing).call("openat").expect("a row of the failing call");
        assert_eq!((number(&open["count"]), number(&open["errors"])), (500, 500));
        assert_eq!(report.json["quality"]["syscalls"], "exact");
    }
}

fn full_disk() {
    for format in ["text", "json", "csv"] {
        let output = shell(&format!("exec $0 report --for 1s --format {format} >/dev/full"));
        assert_sentence(&output, &["cannot write to standard output", "No space left on device"]);
        let output = shell(&format!("exec $0 report --for 1s --format {format} --output /dev/full"));
        assert_sentence(&output, &["cannot write /dev/full", "No space left on device"]);
    }
    assert_no_panic(&shell("exec $0 doctor >/dev/full"));
}

/// What was asked for is there all the same.
fn full_log() {
    let output = shell("exec $0 report --for 1s --format json --log /dev/full");
    assert_sentence(&output, &["the log is not complete", "No space left on device"]);
    Report::parse(&output, Value::Null);
}

fn deaf() {
    for redirection in ["2>/dev/full", "2>&-", "2> >(exit)"] {
        let output = shell(&format!("$0 report --for 1s --format json {redirection}; exit $?"));
        assert_eq!(output.status.code(), Some(0), "with {redirection}: {}", output.stderr);
        Report::parse(&output, Value::Null);
    }
}

fn broken_pipe() {
    for command in ["report --for 1s", "report --for 1s --format json", "report --for 1s --format csv", "doctor"] {
        let output = shell(&format!("$0 {command} | head -c 1; exit ${{PIPESTATUS[0]}}"));
        assert_no_panic(&output);
        // Nothing more is said than on any day. (The doctor may have found something.)
        let said = output.stderr.lines().filter(|line| line.contains("pipe")).count();
        assert_eq!((said, output.stdout.len()), (0, 1), "{}", output.stderr);
        if command != "doctor" {
            assert!(output.status.success(), "{command}: {}", output.stderr);
        }
    }
}

/// Bad input: exit status 2, before anything is loaded.
fn configuration() {
    let dir = TempDir::new();
    let config = dir.join("kscope");
    std::fs::create_dir_all(config.join("config.toml")).unwrap();
    let as_directory = shell(&format!("XDG_CONFIG_HOME={} exec $0 </dev/null", dir.join("").display()));
    let named = shell("exec $0 --config /nonexistent/kscope.toml </dev/null");
    for output in [as_directory, named] {
        assert_no_panic(&output);
        assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
        assert!(output.stderr.contains("cannot read the configuration"), "{}", output.stderr);
    }
}

fn panic_in_report() {
    let output = shell("KSCOPE_TEST_PANIC=1 exec $0 report --for 60s --format json");
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("kscope: the sampler stopped") && output.stderr.contains("as the test asked"));
    assert_eq!(output.stdout, "", "what came before is not the whole interval");
}

/// Calls of a child of this process, reported by a kscope in such surroundings.
fn counts_in(surroundings: &str) -> (Report, String) {
    let mut kscope = Running::spawn(in_own_mounts(
        &format!("{surroundings} && exec \"$0\" \"$@\""),
        &["report", "--for", "80s", "--format", "json"],
    ));
    kscope.wait_until_measuring();
    let mut child = Command::new(workload_path());
    child.args(["--workload", "getppid", "3000"]).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    let pid = u64::from(child.id());
    assert!(child.wait().unwrap().success());
    let output = kscope.stop();
    assert!(output.status.success(), "{}", output.stderr);
    assert_no_panic(&output);
    let report = Report::parse(&output, Value::Null);
    assert_eq!(report.process(pid).count("getppid"), 3_000);
    (report, output.stderr)
}

fn without_proc() {
    let (_, stderr) = counts_in("umount -l /proc");
    assert!(stderr.contains("/proc is not mounted"), "{stderr}");
}

/// The mount is another one: the host's stays as it is.
fn hidepid() {
    let (report, _) = counts_in("mount -t proc -o hidepid=2 proc /proc");
    let named = report.all().iter().filter(|p| p.0["comm"] != "").count();
    assert!(named > 1, "no names in {:?}", report.all());
    // What is hidden from the user whose ids it takes is said.
    let (_, stderr) =
        counts_in("mount -t proc -o hidepid=2 proc /proc; export SUDO_UID=65534 SUDO_GID=65534 SUDO_USER=nobody");
    assert!(stderr.contains("hides the processes of others (hidepid)"), "{stderr}");
}

/// With as much as procfs tells, or with nothing: it says so.
fn hidepid_as_nobody() {
    let script = "mount -t proc -o hidepid=2 proc /proc && cd / && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\"";
    // Where the build is may be nobody's to read.
    let dir = TempDir::new();
    let copy = dir.join("kscope");
    std::fs::copy(env!("CARGO_BIN_EXE_kscope"), &copy).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(&copy).args(["report", "--for", "1s"]);
    let output = Running::spawn(command).finish();
    assert_no_panic(&output);
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains("setcap") || text.contains("sudo"), "{text}");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{text}");
}

fn without_tracefs() {
    let unmount = "for at in /sys/kernel/tracing /sys/kernel/debug/tracing /sys/kernel/debug; do umount -l $at 2>/dev/null; done; true";
    let (report, _) = counts_in(unmount);
    assert_eq!(report.json["quality"]["syscalls"], "exact");
}

/// A group of this process whose memory has a limit, gone when dropped.
struct Limited(PathBuf);

impl Limited {
    const ROOT: &str = "/sys/fs/cgroup/memory";

    fn new(bytes: u64) -> std::io::Result<Self> {
        let path = Path::new(Self::ROOT).join(format!("kscope-truth-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        let limited = Self(path);
        std::fs::write(limited.0.join("memory.limit_in_bytes"), bytes.to_string())?;
        Ok(limited)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // The kernel may need a moment until the last process has left it.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Why memory cannot be limited here, if so. (Of version 1; a group of version 2 is not ours to make where systemd is.)
fn no_memory_limits() -> Option<String> {
    Limited::new(1 << 30).is_err().then(|| format!("needs a memory cgroup that can be made below {}", Limited::ROOT))
}

/// Enough for the process, and not for the maps.
fn no_memory() {
    let limited = Limited::new(56 << 20).unwrap();
    let group = limited.0.join("cgroup.procs");
    let output = shell(&format!("echo $$ >{} && exec $0 report --for 1s", group.display()));
    assert_no_panic(&output);
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains("memory"), "{text}");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{text}");
}

/// The dashboard after this was done in its shell.
fn home(before: &str) {
    let kscope = env!("CARGO_BIN_EXE_kscope");
    let terminal = Terminal::start(120, 36, &format!("{before} {kscope}; echo EXIT:$?; exec cat"));
    terminal.wait("the dashboard", |screen| terminal.is_taken() && screen.contains("Overview"));
    terminal.wait("numbers", |screen| screen.contains("lost 0"));
    terminal.press(&["t", "q"]);
    terminal.wait("a good end", |screen| screen.contains("EXIT:0"));
    terminal.assert_restored();
}

fn panic_on_screen() {
    let kscope = env!("CARGO_BIN_EXE_kscope");
    let terminal = Terminal::start(120, 36, &format!("KSCOPE_TEST_PANIC=1 {kscope}; echo EXIT:$?; exec cat"));
    let screen = terminal.wait("the end", |screen| screen.contains("EXIT:"));
    assert!(screen.contains("EXIT:1"), "{screen}");
    let said: String = screen.lines().collect();
    assert!(said.contains("the sampler stopped") && said.contains("as the test asked"), "{screen}");
    terminal.assert_restored();
}
