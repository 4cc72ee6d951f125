//! What kscope tells an ordinary user: without any capability from procfs, against the scheduler's own account and `getrusage`;
//! with `CAP_BPF` and `CAP_PERFMON` alone everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kscope::{self, Output, Process, Report, Running, assert_close, number, workload_path};
use crate::ordinary::{BPF_AND_PERFMON, Copies};
use crate::terminal::Terminal;
use crate::workload::{Schedstat, arg, pin, spin};
use crate::{Case, btf, ordinary, privileges, terminal, trial};

/// Without any capability.
const CASES: &[Case] = &[
    ("unprivileged::waits_and_times_are_those_of_the_scheduler", waits_and_times),
    ("unprivileged::what_only_programs_tell_is_null_and_says_how_to_get_it", says_what_is_missing),
    ("unprivileged::what_cannot_be_had_is_a_sentence", sentences),
    ("unprivileged::only_the_chosen_are_read", only),
    ("unprivileged::sockets_are_listed_without_bytes", sockets),
];
const SCREEN_CASES: &[Case] = &[("unprivileged::the_dashboard_shows_what_it_can_and_says_what_not", dashboard)];
/// With two of them.
const CAPABLE_CASES: &[Case] = &[
    ("capabilities::bpf_and_perfmon_give_everything", capable),
    ("capabilities::what_needs_more_is_said", capable_but_not_all),
];
const SETCAP_CASE: Case = ("capabilities::a_file_that_has_them_needs_no_sudo", with_setcap);

pub fn trials() -> Vec<libtest_mimic::Trial> {
    let mut all: Vec<_> = CASES.iter().map(|case| trial(*case, &[ordinary::not_root])).collect();
    all.extend(SCREEN_CASES.iter().map(|case| trial(*case, &[ordinary::not_root, terminal::missing])));
    all.extend(CAPABLE_CASES.iter().map(|case| trial(*case, &[ordinary::not_root, privileges, btf])));
    all.push(trial(SETCAP_CASE, &[ordinary::not_root, privileges, btf, no_setcap]));
    all
}

fn no_setcap() -> Option<String> {
    let found = Command::new("setcap").arg("-h").output().is_ok();
    (!found).then(|| "needs setcap (libcap2-bin)".into())
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    ("busy-and-stay" == name).then(|| {
        pin();
        spin(Duration::from_millis(arg(args, 0)));
        read_zeros(Duration::from_millis(arg(args, 0) / 2));
        let stat = Schedstat::of_this_thread();
        let (user_ns, kernel_ns) = rusage();
        println!("{}", json!({ "run_delay_ns": stat.run_delay_ns, "user_ns": user_ns, "kernel_ns": kernel_ns }));
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        json!({})
    })
}

fn read_zeros(time: Duration) {
    let mut zeros = std::fs::File::open("/dev/zero").unwrap();
    let (mut block, end) = (vec![0_u8; 1 << 20], Instant::now() + time);
    while Instant::now() < end {
        zeros.read_exact(&mut block).unwrap();
    }
}

/// CPU time of this process in user mode and in the kernel, ns.
fn rusage() -> (u64, u64) {
    // SAFETY: the result is written to a live variable of the right type; zeros are a valid rusage.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let part = |t: libc::timeval| (t.tv_sec * 1_000_000 + t.tv_usec).unsigned_abs() * 1_000;
    (part(usage.ru_utime), part(usage.ru_stime))
}

/// A process that was busy, said what it knows of itself, and sleeps until it is dropped: its numbers stand still.
struct Stayer {
    child: Child,
    input: Option<ChildStdin>,
    facts: Value,
}

impl Stayer {
    /// Starts several that compete for one CPU, and waits until all of them rest.
    fn several(many: usize, busy_ms: u64) -> Vec<Self> {
        let start = |_| {
            let mut command = Command::new(workload_path());
            command.args(["--workload", "busy-and-stay", &busy_ms.to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        };
        let children: Vec<Child> = (0..many).map(start).collect();
        children.into_iter().map(Self::rest).collect()
    }

    fn rest(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
            std::thread::yield_now();
        }
        Self { input: child.stdin.take(), facts: serde_json::from_str(&line).unwrap(), child }
    }

    fn pid(&self) -> u64 {
        self.child.id().into()
    }

    /// What the scheduler says of it.
    fn schedstat(&self) -> Schedstat {
        Schedstat::parse(&std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id())).unwrap())
    }
}

impl Drop for Stayer {
    fn drop(&mut self) {
        self.input = None;
        // It ends by itself when nobody speaks to it any more.
        let _ = self.child.wait();
    }
}

/// A report as an ordinary user while `meanwhile` is done.
fn report_while<T>(copies: &Copies, args: &[&str], meanwhile: impl FnOnce() -> T) -> (Report, T) {
    let args = [&["report", "--for", "60s", "--format", "json"], args].concat();
    let mut running = Running::spawn(copies.command(&[], &args));
    running.wait_until_measuring();
    let done = meanwhile();
    let output = running.stop();
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    (Report::parse(&output, Value::Null), done)
}

fn waits_and_times() {
    let copies = Copies::new();
    let (report, stayers) = report_while(&copies, &[], || Stayer::several(2, 1_000));
    assert_eq!((&report.json["source"], &report.json["quality"]["runqueue"]), (&json!("procfs"), &json!("estimate")));
    assert_eq!(report.json["quality"]["time"], "estimate");
    for stayer in &stayers {
        let row = report.process(stayer.pid()).0;
        let (delay, time, facts) = (&row["runqueue"], &row["time"], &stayer.facts);
        let known = stayer.schedstat();
        // It rested before the last sample was taken, so nothing is left to be off by.
        assert_eq!(number(&delay["total_ns"]), known.run_delay_ns, "{delay}");
        assert_eq!(number(&delay["count"]), known.timeslices, "{delay}");
        assert!(known.run_delay_ns > 200_000_000, "workloads that did not compete: {facts}");
        // Between what it said of itself and its rest it said it, and may have been made to wait once more for that.
        assert_close(
            "what it read itself",
            number(&delay["total_ns"]),
            number(&facts["run_delay_ns"]),
            0.05,
            20_000_000,
        );
        assert!(delay["p99_ns"].is_null() && delay["max_ns"].is_null(), "{delay}");
        let (user_ns, kernel_ns) = (number(&time["user_ns"]), number(&time["kernel_ns"]));
        assert_eq!(number(&time["runnable_ns"]), known.run_delay_ns);
        assert_close("time on CPUs", user_ns + kernel_ns, known.on_cpu_ns, 0.0, 0);
        // Two steps of 10 ms: one in what the kernel tells us, one in what happened since it was said.
        assert_close("user time", user_ns, number(&facts["user_ns"]), 0.0, 20_000_000);
        assert_close("kernel time", kernel_ns, number(&facts["kernel_ns"]), 0.0, 20_000_000);
        assert!(time["blocked_by"].is_null() && time["stolen_ns"].is_null(), "{time}");
    }
}

fn says_what_is_missing() {
    let copies = Copies::new();
    let (report, ()) = report_while(&copies, &[], || ());
    let json = &report.json;
    for group in ["syscalls", "network", "errors", "dead"] {
        assert_eq!(json["quality"][group], "not_available", "{group}");
    }
    for absent in ["syscalls", "network", "errors", "exemplars", "dead", "stuck", "spins"] {
        assert!(json[absent].is_null(), "{absent}: {}", json[absent]);
    }
    assert!(report.all().iter().all(|p| p.0["syscalls"].is_null() && p.0["network"].is_null()));
    let missing = &json["missing"];
    assert!(missing["reason"].as_str().unwrap().contains("CAP_BPF and CAP_PERFMON"), "{missing}");
    for way in ["sudo kscope", "sudo setcap cap_bpf,cap_perfmon+ep"] {
        assert!(missing["advice"].as_str().unwrap().contains(way), "{missing}");
    }
    let probes = json["self"]["probes"].as_array().unwrap();
    let probe = |name: &str| probes.iter().find(|p| p["name"] == name).unwrap();
    assert_eq!((&probe("schedstat")["hook"], &probe("schedstat")["running"]), (&json!("procfs"), &json!(true)));
    assert!(probe("sys_enter")["reason"].as_str().unwrap().contains("CAP_BPF"));
    // Init is not this user's: what it had disks do may not be read.
    assert!(report.processes(1).iter().all(|init: &Process<'_>| init.0["disk"].is_null()), "{}", json["processes"]);
    let text = finish(copies.command(&[], &["report", "--for", "600ms"]));
    assert!(
        text.stdout.contains("Nothing is judged") && !text.stdout.contains("Nothing stands out"),
        "{}",
        text.stdout
    );
    assert!(
        text.stdout.contains("System calls  – not measured") && text.stdout.contains("sudo setcap"),
        "{}",
        text.stdout
    );
    assert!(
        text.stderr.contains("What /proc tells is shown") && text.stderr.contains("sudo kscope"),
        "{}",
        text.stderr
    );
}

/// Runs it to its end, which must be a good one.
fn finish(command: Command) -> Output {
    let output = Running::spawn(command).finish();
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    output
}

fn sentences() {
    let copies = Copies::new();
    let args = ["report", "--for", "600ms", "--budget", "1%", "--with", "blame"];
    let stderr = finish(copies.command(&[], &args)).stderr;
    assert!(stderr.contains("No budget is kept") && stderr.contains("cannot be measured"), "{stderr}");
    let output = finish(copies.command(&[], &["report", "--for", "600ms", "--cost", "--format", "json"]));
    let report = Report::parse(&output, Value::Null);
    let probes = report.json["self"]["probes"].as_array().unwrap();
    assert!(probes.iter().all(|p| p["runs"].is_null() && p["misses"].is_null()), "{}", report.json["self"]);
}

fn only() {
    let copies = Copies::new();
    let stayers = Stayer::several(2, 20);
    let pid = stayers[0].pid();
    let (report, ()) = report_while(&copies, &["--only", "--pid", &pid.to_string()], || ());
    assert_eq!(report.json["only"], json!([pid]));
    assert_eq!(report.all().len(), 1, "{}", report.json["processes"]);
    assert_eq!((&report.process(pid).0["pid"], &report.json["disk"]), (&json!(pid), &Value::Null));
}

fn sockets() {
    let copies = Copies::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = std::net::TcpStream::connect(&address).unwrap();
    let (report, ()) = report_while(&copies, &["--with", "connections"], || client.write_all(b"hello").unwrap());
    let list = report.json["connections"]["list"].as_array().expect("a list of connections");
    let listening = list.iter().find(|c| c["local"] == address.as_str() && c["state"] == "listening");
    assert!(listening.is_some(), "no {address} in {list:?}");
    assert!(
        list.iter().any(|c| c["peer"] == address.as_str()) && list.iter().all(|c| c["tx_bytes"].is_null()),
        "{list:?}"
    );
}

fn dashboard() {
    let copies = Copies::new();
    let (workload, kscope) = (workload_path(), copies.kscope());
    let program = format!("{} --workload as-ordinary {}", workload.display(), kscope.display());
    let terminal = Terminal::start(120, 36, &format!("{program}; echo EXIT:$?; exec cat"));
    let screen = terminal.wait("what is missing", |screen| screen.contains("/proc only") && screen.contains("sudo"));
    assert!(!screen.contains("panicked"), "{screen}");
    terminal.wait("why panes are empty", |screen| screen.contains("without CAP_BPF and CAP_PERFMON"));
    for key in ["2", "3", "4", "5", "6", "7", "9"] {
        terminal.press(&[key]);
        terminal.wait("something to read", |screen| terminal.is_taken() && screen.contains("/proc only"));
    }
    terminal.wait("the rungs", |screen| screen.contains("schedstat") && screen.contains("procfs"));
    terminal.press(&["q"]);
    terminal.wait("the end", |screen| screen.contains("EXIT:0"));
}

/// `kscope report` with these capabilities around calls that are counted.
fn counted(mut command: Command, copies: &Copies) -> (Output, Report) {
    let facts = copies.dir.join("facts");
    command.arg("--").arg(copies.workload()).args(["--workload", "getppid", "12345"]).env("KSCOPE_FACTS", &facts);
    let output = finish(command);
    let facts = serde_json::from_str(&std::fs::read_to_string(&facts).unwrap()).unwrap();
    let report = Report::parse(&output, facts);
    (output, report)
}

fn assert_counted(report: &Report) {
    assert_eq!(report.json["source"], "ebpf");
    let row = kscope::call(&report.json, "getppid").expect("a row for getppid");
    assert_eq!(number(&row["count"]), 12_345, "{row}");
    assert_eq!(report.json["quality"]["syscalls"], "exact");
}

fn capable() {
    let copies = Copies::new();
    let (output, report) = counted(copies.command(BPF_AND_PERFMON, &["report", "--format", "json"]), &copies);
    assert_counted(&report);
    assert!(!output.stderr.contains("/proc"), "{}", output.stderr);
    for group in ["runqueue", "network", "time", "errors", "dead", "disk"] {
        let as_root = kscope::run(&["report", "--for", "300ms", "--format", "json"]);
        let as_root = Report::parse(&as_root, Value::Null);
        assert_eq!(report.json["quality"][group], as_root.json["quality"][group], "{group}");
    }
}

fn capable_but_not_all() {
    let copies = Copies::new();
    let (output, report) = counted(copies.command(BPF_AND_PERFMON, &["report", "--format", "json", "--cost"]), &copies);
    assert_counted(&report);
    assert!(output.stderr.contains("CAP_SYS_ADMIN"), "{}", output.stderr);
}

fn with_setcap() {
    let copies = Copies::new();
    let set = Command::new("setcap").arg("cap_bpf,cap_perfmon+ep").arg(copies.kscope()).output().unwrap();
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    assert!(Path::new(&copies.kscope()).exists());
    let (_, report) = counted(copies.command(&[], &["report", "--format", "json"]), &copies);
    assert_counted(&report);
}
