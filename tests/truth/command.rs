//! Each line that "show me the command" offers, typed: it runs, and it shows something of a load that does all there is to see.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kscope::core::ident::ProcessId;
use kscope::ui::command::{self, Asked, commands};
use kscope::ui::selection::RowId;
use kscope::ui::view::View;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::kscope::{TempDir, workload_path};
use crate::{Case, privileges, trial};

const BPFTRACE: Case = ("command::bpftrace_lines_run_and_show_something", || try_all("bpftrace"));
const PERF: Case = ("command::perf_lines_run_and_show_something", || try_all("perf"));
const SS: Case = ("command::ss_lines_run_and_show_something", || try_all("ss"));
const GREP: Case = ("command::grep_lines_run_and_show_something", || try_all("grep"));

pub fn trials() -> Vec<Trial> {
    vec![
        trial(BPFTRACE, &[privileges, no_bpftrace]),
        trial(PERF, &[privileges, no_perf]),
        trial(SS, &[no_ss]),
        trial(GREP, &[privileges]),
    ]
}

/// Why bpftrace cannot be tried, if so.
fn no_bpftrace() -> Option<String> {
    missing("bpftrace").or_else(no_tracefs)
}

/// Why perf cannot be tried, if so.
fn no_perf() -> Option<String> {
    missing("perf").or_else(no_tracefs)
}

/// Why ss cannot be tried, if so.
fn no_ss() -> Option<String> {
    missing("ss")
}

fn missing(tool: &str) -> Option<String> {
    Command::new(tool).arg("--version").output().is_err().then(|| format!("needs {tool}"))
}

fn no_tracefs() -> Option<String> {
    (!Path::new("/sys/kernel/tracing/events").is_dir()).then(|| "needs tracefs at /sys/kernel/tracing".into())
}

/// All lines of a tool, of every view: of all processes and of one; of everything, of a call, and of a thread.
fn lines(tool: &str, pid: u32) -> Vec<command::Command> {
    let write = u32::try_from(libc::SYS_write).unwrap();
    let process = ProcessId { pid, birth: 0 };
    let selections = [None, Some(RowId::Call(write)), Some(RowId::Thread(process, pid))];
    let mut all: Vec<command::Command> = Vec::new();
    for view in View::ALL {
        for selected in selections {
            for pids in [vec![], vec![pid]] {
                let asked = Asked { view, selected, pids, ..Asked::default() };
                all.extend(commands(&asked).into_iter().filter(|command| command.tool == tool));
            }
        }
    }
    all.sort_by(|a, b| a.line.cmp(&b.line));
    all.dedup();
    assert!(!all.is_empty(), "no line of {tool}");
    all
}

fn try_all(tool: &str) {
    let load = Load::start();
    lines(tool, load.0.id()).iter().for_each(try_one);
}

/// A process that does all there is to see, ended when dropped.
struct Load(Child);

impl Load {
    fn start() -> Self {
        let mut child = Command::new(workload_path())
            .args(["--workload", "everything"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the load starts");
        let mut ready = [0];
        child.stdout.take().unwrap().read_exact(&mut ready).expect("the load says that it has begun");
        Self(child)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself, of an error that the trial shows.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn workload(name: &str, _: &[String]) -> Option<Value> {
    (name == "everything").then(|| {
        (0..SLEEPERS).for_each(|number| drop(std::thread::spawn(move || sleep(number))));
        load()
    })
}

fn try_one(command: &command::Command) {
    // A second or two are enough.
    let shorter = [("interval:s:5", "interval:s:1"), ("-s INT 5", "-s INT 2"), ("sleep 5", "sleep 1")];
    let line = shorter.iter().fold(command.line.clone(), |line, (long, short)| line.replace(long, short));
    let output = typed(&line);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 124: `timeout` has ended it, as it is meant to.
    assert!(matches!(output.status.code(), Some(0 | 124)), "{line}\n{}\n{said}", output.status);
    let shows = match command.tool {
        // Nothing needs to be sent again on a healthy host.
        "bpftrace" if line.contains("retransmit") => said.contains("Attaching"),
        "bpftrace" => said.lines().any(|l| l.starts_with('@') && !l.ends_with('@')),
        "perf" if line.contains("sched") => said.contains("Maximum") || said.contains("Max delay"),
        "perf" if line.contains("--duration") => true,
        "perf" => said.contains("syscall") && said.contains("write"),
        "ss" => said.contains("rtt:"),
        _ => !said.trim().is_empty(),
    };
    assert!(shows, "{line}\nshowed nothing:\n{said}");
}

/// Runs a line as a shell does, in a directory of its own. Older bpftrace looks for the tracepoints at their old place only:
/// where they are not, they are shown there to the line alone.
fn typed(line: &str) -> Output {
    const OLD: &str = "/sys/kernel/debug/tracing";
    let dir = TempDir::new();
    std::fs::create_dir(dir.join("here")).unwrap();
    // Whatever it does, it ends.
    let mut shell = Command::new("timeout");
    shell.args(["--kill-after=5", "60"]);
    let prepare = if Path::new(OLD).join("events").is_dir() {
        String::new()
    } else {
        shell.args(["unshare", "--mount"]);
        format!("mount -t tmpfs none /sys/kernel/debug && mkdir {OLD} && mount --bind /sys/kernel/tracing {OLD}; ")
    };
    shell.args(["sh", "-c"]).arg(format!("{prepare}{line}")).current_dir(dir.join("here")).output().unwrap()
}

/// Threads of which some are always within a call that lasts: what is over when a line ends is not in flight.
const SLEEPERS: u32 = 8;

/// Sleeps, out of step with the others.
fn sleep(number: u32) {
    loop {
        std::thread::sleep(Duration::from_millis(900 + 130 * u64::from(number)));
    }
}

/// Calls, errors, switches, bytes through a socket and to a disk, over and over.
fn load() -> ! {
    let dir = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut far = listener.accept().unwrap().0;
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(dir.join("file")).unwrap();
    // It is killed, and would leave them behind.
    let none = dir.join("none");
    drop(dir);
    let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    std::io::stdout().write_all(b".").unwrap();
    std::io::stdout().flush().unwrap();
    loop {
        near.write_all(&[1; 100]).unwrap();
        far.read_exact(&mut [0; 100]).unwrap();
        file.write_all(&[2; 4096]).unwrap();
        file.sync_data().unwrap();
        assert!(full.write(&[3]).is_err() && std::fs::read(&none).is_err());
        std::thread::sleep(Duration::from_millis(2));
    }
}
