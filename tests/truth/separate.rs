//! What each process of kscope may do, and that it may do nothing else.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ::kscope::core::insight::Insight;
use ::kscope::privileged::helper::Helper;
use ::kscope::privileged::leave_no_rights;
use ::kscope::privileged::wire::{self, Request, Status};
use aya::programs::loaded_programs;
use serde_json::Value;

use crate::Case;
use crate::kscope::{Report, Running, TempDir, number, workload_path};
use crate::own::descriptors;

pub const CASES: &[Case] = &[
    ("separate::what_draws_has_no_rights", drawing),
    ("separate::the_helper_has_two_capabilities_and_holds_nothing_else", helping),
    ("separate::those_that_look_and_name_have_what_they_need", others),
    ("separate::without_ptrace_nobody_keeps_that_right", no_ptrace),
    ("separate::calls_of_its_own_processes_are_recorded_nowhere", own_calls),
    ("separate::what_draws_cannot_open_exec_load_or_connect", confinement),
    ("separate::the_helper_refuses_what_is_not_on_its_list", refusals),
    ("separate::kill_9_leaves_no_program", killed),
    ("separate::without_its_helper_it_says_so_and_fails", helper_killed),
    ("separate::files_belong_to_whom_sudo_names", sudo),
    ("separate::a_command_keeps_all_rights", command),
];

const SYS_PTRACE: u64 = 1 << 19;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// A report that goes on until it is stopped.
fn measuring(args: &[&str]) -> Running {
    let mut running = Running::start(&[&["report", "--for", "80s"], args].concat());
    running.wait_until_measuring();
    running
}

/// A field of `/proc/PID/status`.
fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

fn capabilities(pid: u32, set: &str) -> u64 {
    u64::from_str_radix(&status(pid, set), 16).unwrap()
}

/// The process of that name that works for kscope.
pub fn kin(of: u32, name: &str) -> Option<u32> {
    let all = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    let mut pids = all.split_whitespace().map(|pid| pid.parse::<u32>().unwrap());
    pids.find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name))
}

fn drawing() {
    let running = measuring(&[]);
    for thread in fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap() {
        let tid = thread.unwrap().file_name().into_string().unwrap().parse().unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(capabilities(tid, set), 0, "{set} of {tid}");
        }
        assert_eq!((status(tid, "NoNewPrivs"), status(tid, "Seccomp")), ("1".to_owned(), "2".to_owned()));
    }
    running.stop();
}

fn helping() {
    let running = measuring(&[]);
    let helper = kin(running.pid(), "kscope-helper").expect("a helper");
    assert_eq!(capabilities(helper, "CapEff"), BPF | PERFMON);
    assert_eq!(capabilities(helper, "CapPrm") & !SYS_ADMIN, BPF | PERFMON);
    assert_eq!((capabilities(helper, "CapBnd"), capabilities(helper, "CapInh")), (0, 0));
    assert_eq!((status(helper, "NoNewPrivs"), status(helper, "Seccomp")), ("1".to_owned(), "2".to_owned()));
    let mut sockets = 0;
    for file in fs::read_dir(format!("/proc/{helper}/fd")).unwrap() {
        let link = fs::read_link(file.unwrap().path()).unwrap().into_os_string().into_string().unwrap();
        sockets += usize::from(link.starts_with("socket:"));
        let known = ["socket:", "anon_inode:bpf", "/dev/null"].iter().any(|known| link.starts_with(known));
        let is_btf = link.starts_with("anon_inode:btf");
        assert!(known || is_btf, "the helper holds {link}");
    }
    assert_eq!(sockets, 1);
    running.stop();
}

fn others() {
    let running = measuring(&[]);
    let eyes = kin(running.pid(), "kscope-eyes").expect("one that looks");
    assert_eq!(capabilities(eyes, "CapEff"), SYS_PTRACE | DAC_READ_SEARCH);
    assert_eq!((capabilities(eyes, "CapPrm"), capabilities(eyes, "CapBnd")), (SYS_PTRACE | DAC_READ_SEARCH, 0));
    assert_eq!(status(eyes, "Seccomp"), "2");
    let names = kin(running.pid(), "kscope-names").expect("one that names");
    assert_eq!((capabilities(names, "CapPrm"), status(names, "NoNewPrivs")), (0, "1".to_owned()));
    running.stop();
}

fn no_ptrace() {
    let running = measuring(&["--no-ptrace", "--format", "json"]);
    assert_eq!(kin(running.pid(), "kscope-eyes"), None);
    let report = Report::parse(&running.stop(), Value::Null).json;
    let notes = report["self"]["notes"].as_array().expect("sentences");
    assert!(
        notes.iter().any(|note| note.as_str().is_some_and(|text| text.starts_with("With --no-ptrace"))),
        "{notes:?}"
    );
}

fn own_calls() {
    // Waits for as long as this looks, so that there is something to look at.
    let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut running = Running::start(&["report", "--for", "3s", "--format", "json"]);
    running.wait_until_measuring();
    let own = ["kscope-helper", "kscope-eyes", "kscope-names"].map(|name| kin(running.pid(), name).unwrap());
    let all = [&own[..], &[running.pid()]].concat();
    let report = Report::parse(&running.finish(), Value::Null);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let drawing = report.process(all[3].into());
    assert!(number(&drawing.0["time"]["kernel_ns"]) > 0, "{:?}", drawing.0);
    for process in all.iter().flat_map(|pid| report.processes(u64::from(*pid))) {
        assert_eq!(process.0["syscalls"], Value::Array(Vec::new()), "{:?}", process.0);
    }
}

/// What a process that entered the same restrictions says that it could do; see [`confined`].
fn confinement() {
    let dir = TempDir::new();
    let output = Command::new(workload_path()).args(["--confined"]).arg(dir.join("file")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.lines().count() >= 14, "{said}");
    for line in said.lines() {
        let refused = line.ends_with(": EACCES") || line.ends_with(": EPERM");
        let allowed = line.starts_with("may ") && line.ends_with(": ok");
        assert!(refused || allowed, "{line:?} of:\n{said}");
    }
}

/// Enters the restrictions of the process that draws, and tries what it must not be able to do, and some of what it must.
pub fn confined(file: &str) -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let unix = UnixListener::bind(format!("{file}.socket")).unwrap();
    fs::write(file, "text").unwrap();
    let notes = leave_no_rights(None, Vec::new()).unwrap();
    let tell = |what: &str, result: io::Result<()>| match result {
        Ok(()) => println!("{what}: ok"),
        Err(error) => match error.raw_os_error() {
            Some(libc::EACCES) => println!("{what}: EACCES"),
            Some(libc::EPERM) => println!("{what}: EPERM"),
            _ => println!("{what}: {error}"),
        },
    };
    let call = |result: i64| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    if notes.iter().all(|note| !note.contains("Landlock")) {
        tell("open /etc/shadow", File::open("/etc/shadow").map(drop));
        tell("open /etc/passwd", File::open("/etc/passwd").map(drop));
        tell("read the file", File::open(file).map(drop));
    }
    tell("write to the file", OpenOptions::new().write(true).open(file).map(drop));
    tell("make a file", File::create(format!("{file}.new")).map(drop));
    tell("remove the file", fs::remove_file(file));
    tell("exec", Err(Command::new("/bin/true").exec()));
    tell("start a program", Command::new("/bin/true").spawn().map(drop));
    let shadow = CString::new("/etc/shadow").unwrap();
    // SAFETY: plain system calls with numbers, and pointers to what is alive or to nothing; most are refused.
    unsafe {
        let attr = [0_u64; 16];
        for (name, command) in [("make a map", 0), ("load a program", 5), ("attach one", 8), ("link one", 28)] {
            tell(name, call(libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of_val(&attr))));
        }
        tell("make a TCP socket", call(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into()));
        tell("make a UNIX socket", call(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into()));
        let address = libc::sockaddr_in {
            sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap(),
            sin_port: port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let length = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
        tell("connect", call(libc::connect(unix.as_raw_fd(), (&raw const address).cast(), length).into()));
        tell("trace", call(libc::ptrace(libc::PTRACE_SEIZE, 1, 0, 0)));
        tell("read memory", call(libc::process_vm_readv(1, std::ptr::null(), 0, std::ptr::null(), 0, 0) as i64));
        tell("signal another", call(libc::kill(libc::getppid(), libc::SIGTERM).into()));
        tell("change ids", call(libc::setuid(1).into()));
        tell("chroot", call(libc::chroot(shadow.as_ptr()).into()));
        tell("open for performance", call(libc::syscall(libc::SYS_perf_event_open, 0, 0, 0, 0, 0)));
        tell("be asked by io_uring", call(libc::syscall(libc::SYS_io_uring_setup, 1, &raw const attr)));
        let page =
            libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        tell("may map memory", if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) });
        tell("run memory", call(libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC).into()));
        tell("may list sockets", call(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG).into()));
    }
    tell("may read /proc", fs::read("/proc/1/stat").map(drop));
    tell("may start a thread", std::thread::Builder::new().spawn(|| ()).map(drop));
    drop((listener, unix));
    ExitCode::SUCCESS
}

fn refusals() {
    let output = Command::new(workload_path()).args(["--malformed"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Sends a real helper everything but what is on its list.
pub fn malformed() -> ExitCode {
    let helper = Helper::start(&[], &[]).unwrap();
    let pid = helper.pid();
    let Helper(started) = helper;
    let [socket] = started.sockets;
    let answer = || wire::answered(&socket).unwrap().map(|(status, ..)| status);
    assert_eq!(answer(), Some(Status::Done), "it loads");
    let held = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    // When it answers the next request it has closed what it sent.
    wire::send(&socket, &Request::FindThreads.encode(), &[]).unwrap();
    assert_eq!(answer(), Some(Status::Done));
    let before = held();
    let mut seed = 4711_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..20_000 {
        let length = if round % 2 == 0 { Request::SIZE as u64 } else { 1 + random(40) };
        // Near what is on the list as often as far from it.
        let largest = if round % 3 == 0 { 256 } else { 9 };
        let bytes: Vec<u8> =
            (0..length).map(|at| if at % 4 == 0 { random(largest).to_le_bytes()[0] } else { 0 }).collect();
        if Request::decode(&bytes).is_some() {
            continue;
        }
        let file = File::open("/dev/null").unwrap();
        let fds = [file.as_fd()];
        wire::send(&socket, &bytes, if round % 7 == 0 { &fds } else { &[] }).unwrap();
        assert_eq!(answer(), Some(Status::Refused), "{bytes:?}");
    }
    assert_eq!(held(), before, "it holds what it held");
    for request in [Request::FindThreads, Request::Detach(Insight::Network), Request::Attach(Insight::Network)] {
        wire::send(&socket, &request.encode(), &[]).unwrap();
        assert_eq!(answer(), Some(Status::Done), "{request:?}");
    }
    // A message of no bytes cannot be told from the end.
    wire::send(&socket, &[], &[]).unwrap();
    assert_eq!(answer(), None);
    ExitCode::SUCCESS
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_ended(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn killed() {
    let running = measuring(&[]);
    let pids: Vec<u32> =
        ["kscope-helper", "kscope-eyes", "kscope-names"].iter().map(|name| kin(running.pid(), name).unwrap()).collect();
    let programs: BTreeSet<u64> = descriptors(pids[0], "prog_id", "prog_type").into_keys().collect();
    assert!(programs.len() > 5, "{programs:?}");
    let pid = running.pid();
    let status = running.kill(pid).status;
    assert_eq!(status.code(), None);
    for pid in pids {
        wait_until("its processes end with it", || has_ended(pid));
    }
    wait_until("no program is left", || {
        !loaded_programs().flatten().any(|program| programs.contains(&u64::from(program.id())))
    });
}

fn helper_killed() {
    let running = measuring(&[]);
    let helper = kin(running.pid(), "kscope-helper").unwrap();
    let output = running.kill(helper);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("the process that holds kscope's programs has ended"), "{}", output.stderr);
    assert_eq!(output.stdout, "", "no report on what was measured in part");
}

fn sudo() {
    let dir = TempDir::new();
    let (report, log) = (dir.join("report"), dir.join("log"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
    command.args(["report", "--for", "80s"]).arg("-o").arg(&report).arg("--log").arg(&log);
    command.env("SUDO_UID", "12345").env("SUDO_GID", "12346");
    let mut running = Running::spawn(command);
    running.wait_until_measuring();
    assert_eq!(status(running.pid(), "Uid"), "12345\t12345\t12345\t12345");
    assert_eq!(status(running.pid(), "Gid"), "12346\t12346\t12346\t12346");
    assert_eq!(status(running.pid(), "Groups"), "");
    let output = running.stop();
    assert!(output.status.success(), "{}", output.stderr);
    for file in [&report, &log] {
        let found = fs::metadata(file).unwrap();
        assert_eq!((found.uid(), found.gid(), found.permissions().mode() & 0o777), (12345, 12346, 0o600));
    }
    assert!(fs::read_to_string(&report).unwrap().contains("System calls"));
}

fn command() {
    let dir = TempDir::new();
    let said = dir.join("status");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let script = format!("cat /proc/self/status > {}", said.display());
    let output = Running::start(&["report", "--", "sh", "-c", &script]).finish();
    assert!(output.status.success(), "{}", output.stderr);
    let its = fs::read_to_string(&said).unwrap();
    let fields = |text: &str| -> Vec<String> {
        let kept = ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "SigBlk"];
        text.lines().filter(|line| kept.iter().any(|field| line.starts_with(field))).map(str::to_owned).collect()
    };
    assert_eq!(fields(&its), fields(&own));
    // Rust ignores broken pipes from its start on; whatever it runs does not.
    let ignored = its.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    assert_eq!(u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 << (libc::SIGPIPE - 1), 0);
}
