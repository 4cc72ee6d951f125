//! What blocked threads wait for: each cause alone against the time that its workload was neither on a CPU nor waiting for
//! one, by the scheduler's own account.

use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ::kscope::kernel::sizing::{HostFacts, Sizes};
use ::kscope::probes::time::causes::Cause;
use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{Report, Running, assert_close, number, report, workload_path};
use crate::process::fork_as;
use crate::workload::{self, Schedstat, in_child, in_child_of, nanosleep, ns, pin};

pub const CASES: &[Case] = &[
    ("causes::a_thread_that_sleeps", || compare("sleep", Cause::Sleep)),
    ("causes::a_thread_that_waits_for_a_futex", || compare("futex", Cause::Futex)),
    ("causes::a_thread_that_waits_for_events", || compare("poll", Cause::Poll)),
    ("causes::a_thread_that_reads_from_a_pipe", || compare("pipe", Cause::Pipe)),
    ("causes::a_thread_that_reads_from_a_socket", || compare("socket", Cause::Socket)),
    ("causes::a_thread_that_receives", || compare("receive", Cause::Socket)),
    ("causes::a_thread_that_waits_for_a_lock", || compare("lock", Cause::Other)),
    ("causes::a_thread_that_reads_from_a_disk", || compare("disk", Cause::Disk)),
    ("causes::a_thread_that_syncs_to_a_disk", || compare("sync", Cause::Disk)),
    ("causes::a_thread_that_touches_a_mapped_file", || compare("map", Cause::PageFault)),
    ("causes::a_descriptor_that_becomes_another_file", reopened),
    ("causes::threads_that_were_blocked_before", found),
];

/// Need thread ids that share a slot.
pub const COLLIDING: &[Case] = &[("causes::a_thread_that_found_its_slot_taken", beside)];

const BOUND: f64 = 0.02;
/// As in `time.rs`: what the child cannot see of its own first and last steps.
const EDGES_NS: u64 = 1_000_000;
const LIFE: Duration = Duration::from_millis(1_500);
/// Waits so brief and so many that the kind of file is remembered.
const ROUNDS: usize = 100;
/// Bytes of the file that is read and mapped.
const FILE: usize = 256 << 20;
/// Bytes read or written at once: so long that switching to and fro is far below the bound.
const BLOCK: usize = 4 << 20;

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    match (name, args.first()?.as_str()) {
        ("causes", kind) => Some(run(kind)),
        ("causes-beside", _) => Some(run_beside()),
        ("causes-hold", kind) => hold(kind),
        _ => None,
    }
}

/// Why no two threads can have the same slot here, if so.
pub fn no_collisions() -> Option<String> {
    (slots() >= pid_max()).then(|| "every thread id has a slot of its own on this host".into())
}

fn pid_max() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap().trim().parse().unwrap()
}

fn slots() -> u32 {
    let cpus = std::thread::available_parallelism().unwrap().get();
    Sizes::of(HostFacts { cpus: u32::try_from(cpus).unwrap(), pid_max: pid_max() }).thread_slots
}

fn compare(kind: &str, cause: Cause) {
    let report = report(&["causes", kind]);
    check(&report, &report.facts, cause);
}

/// The process that has written `facts` was blocked for what it says, by `cause` and by nothing else.
fn check(report: &Report, facts: &Value, cause: Cause) {
    let time = &report.process(number(&facts["pid"])).0["time"];
    // What a hypervisor took is in neither account of schedstat; kscope has it in the time that the thread could have run.
    let known = number(&facts["blocked_ns"]).saturating_sub(number(&time["stolen_ns"]));
    assert!(known > 200_000_000, "a workload that was not blocked: {facts}");
    assert_close(cause.name(), number(&time["blocked_by"][cause.name()]), known, BOUND, EDGES_NS);
    let mut sum = 0;
    for other in Cause::ALL {
        let ns = number(&time["blocked_by"][other.name()]);
        sum += ns;
        assert!(other == cause || ns <= EDGES_NS, "{} is {ns} ns: {time}", other.name());
    }
    assert_eq!(sum, number(&time["blocked_ns"]), "{time}");
}

/// A thread that waits for a pipe through a descriptor, often and briefly, and then for a socket through the same one.
fn reopened() {
    let report = report(&["causes", "reopened"]);
    let by = &report.process(number(&report.facts["pid"])).0["time"]["blocked_by"];
    for cause in [Cause::Pipe, Cause::Socket] {
        assert_close(cause.name(), number(&by[cause.name()]), ns(LIFE), BOUND, 2 * EDGES_NS);
    }
}

/// One child that is blocked, by one cause.
fn run(kind: &str) -> Value {
    match kind {
        "sleep" => in_child(|| blocked(|| assert!(nanosleep(LIFE)))).join(),
        "futex" => in_child(|| blocked(|| wait_for_futex(Some(LIFE)))).join(),
        "poll" => in_child(|| blocked(|| wait_for_events(LIFE.as_millis().try_into().unwrap()))).join(),
        "pipe" => {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let child = in_child(|| blocked(|| read_byte(&reader)));
            std::thread::sleep(LIFE);
            writer.write_all(b".").unwrap();
            child.join()
        }
        "reopened" => {
            // On one CPU each waits for as long as the other runs: some microseconds.
            pin();
            let (reader, mut writer) = std::io::pipe().unwrap();
            let (mut here, there) = UnixStream::pair().unwrap();
            let (back, mut answer) = std::io::pipe().unwrap();
            let child = in_child(|| {
                blocked(|| {
                    for _ in 0..ROUNDS {
                        read_byte(&reader);
                        answer.write_all(b".").unwrap();
                    }
                    read_byte(&reader);
                    for _ in 0..ROUNDS {
                        read_byte(&reader);
                        answer.write_all(b".").unwrap();
                    }
                    // SAFETY: both are descriptors of this process.
                    assert!(unsafe { libc::dup2(there.as_raw_fd(), reader.as_raw_fd()) } >= 0);
                    read_byte(&reader);
                })
            });
            let rounds = |mut writer: &PipeWriter| {
                for _ in 0..ROUNDS {
                    writer.write_all(b".").unwrap();
                    read_byte(&back);
                }
            };
            rounds(&writer);
            std::thread::sleep(LIFE);
            writer.write_all(b".").unwrap();
            rounds(&writer);
            std::thread::sleep(LIFE);
            here.write_all(b".").unwrap();
            child.join()
        }
        "socket" | "receive" => {
            let (mut here, there) = UnixStream::pair().unwrap();
            let child =
                in_child(|| blocked(|| if kind == "socket" { read_byte(&there) } else { receive_byte(&there) }));
            std::thread::sleep(LIFE);
            here.write_all(b".").unwrap();
            child.join()
        }
        "lock" => {
            let (path, file) = file_of("lock", 1);
            file.lock().unwrap();
            let child = in_child(|| blocked(|| File::open(&path).unwrap().lock().unwrap()));
            std::thread::sleep(LIFE);
            file.unlock().unwrap();
            child.join()
        }
        "disk" => {
            let (path, _) = file_of("disk", FILE);
            in_child(|| blocked(read_directly(&path))).join()
        }
        "sync" => {
            let (path, _) = file_of("sync", BLOCK);
            in_child(|| blocked(write_and_sync(&path))).join()
        }
        "map" => {
            let (_, file) = file_of("map", FILE);
            file.sync_all().unwrap();
            in_child(|| blocked(touch_all(&file))).join()
        }
        _ => panic!("no cause {kind}"),
    }
}

/// Time in which this thread neither ran nor waited for a CPU while it did `work`.
fn blocked(work: impl FnOnce()) -> Value {
    let (begin, before) = (Instant::now(), Schedstat::of_this_thread());
    work();
    let (wall_ns, after) = (ns(begin.elapsed()), Schedstat::of_this_thread());
    let busy_ns = after.on_cpu_ns + after.run_delay_ns - before.on_cpu_ns - before.run_delay_ns;
    json!({ "blocked_ns": wall_ns.saturating_sub(busy_ns) })
}

fn read_byte(from: &impl AsRawFd) {
    let mut byte = 0_u8;
    // SAFETY: reads one byte into a live variable.
    assert_eq!(unsafe { libc::read(from.as_raw_fd(), (&raw mut byte).cast(), 1) }, 1);
}

fn receive_byte(from: &impl AsRawFd) {
    let mut byte = 0_u8;
    // SAFETY: reads one byte into a live variable.
    assert_eq!(unsafe { libc::recv(from.as_raw_fd(), (&raw mut byte).cast(), 1, 0) }, 1);
}

fn wait_for_futex(time: Option<Duration>) {
    let (word, time) = (0_u32, time.map(workload::timespec));
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the time outlive the call; nobody wakes it.
    unsafe { libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, time) };
}

fn wait_for_events(ms: i32) {
    // SAFETY: a set of events that holds nothing, and room for one that never comes.
    unsafe {
        let set = libc::epoll_create1(0);
        let mut event: libc::epoll_event = std::mem::zeroed();
        assert_eq!(libc::epoll_wait(set, &raw mut event, 1, ms), 0);
    }
}

/// A file of so many bytes on a disk; one that is there already is used again.
fn file_of(name: &str, bytes: usize) -> (PathBuf, File) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kscope-truth-{name}"));
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    if file.metadata().unwrap().len() != bytes as u64 {
        let block = vec![7_u8; bytes.min(BLOCK)];
        (0..bytes / block.len()).for_each(|_| file.write_all(&block).unwrap());
    }
    file.sync_all().unwrap();
    (path, file)
}

/// A buffer at an address that direct reads accept.
fn aligned(bytes: usize) -> &'static mut [u8] {
    let layout = std::alloc::Layout::from_size_align(bytes, 4096).unwrap();
    // SAFETY: fresh memory of that size, which nobody else has and the end of the process frees.
    unsafe { std::slice::from_raw_parts_mut(std::alloc::alloc_zeroed(layout), bytes) }
}

fn read_directly(path: &std::path::Path) -> impl FnOnce() {
    let mut file = File::options().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let buffer = aligned(BLOCK);
    move || {
        let end = Instant::now() + LIFE;
        while Instant::now() < end {
            if file.read(buffer).unwrap() == 0 {
                // SAFETY: only moves to the start of the file.
                unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_SET) };
            }
        }
    }
}

fn write_and_sync(path: &std::path::Path) -> impl FnOnce() {
    let file = File::options().write(true).open(path).unwrap();
    let block = vec![3_u8; BLOCK];
    move || {
        let end = Instant::now() + LIFE;
        while Instant::now() < end {
            file.write_all_at(&block, 0).unwrap();
            file.sync_all().unwrap();
        }
    }
}

/// Has the kernel forget what it holds in memory of a file that was synced.
fn forget_pages(file: &File) {
    // SAFETY: advice about an open file.
    assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
}

/// Touches the file through memory, a page in each megabyte: each must be read first, and those around it with it.
fn touch_all(file: &File) -> impl FnOnce() {
    // SAFETY: a fresh mapping of a file that nobody makes shorter; the end of the process unmaps it.
    let base = unsafe {
        libc::mmap(std::ptr::null_mut(), FILE, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0).cast::<u8>()
    };
    let file = file.try_clone().unwrap();
    move || {
        // Or the kernel, which keeps lists of pages by CPU, waits for what runs on another one before it forgets.
        pin();
        let (end, mut sum) = (Instant::now() + LIFE, 0_u64);
        while Instant::now() < end {
            forget_pages(&file);
            for at in (0..FILE).step_by(1 << 20) {
                // SAFETY: within the mapping.
                sum += u64::from(unsafe { base.add(at).read_volatile() });
            }
            // SAFETY: within the mapping; then its pages are asked for again.
            unsafe { libc::madvise(base.cast(), FILE, libc::MADV_DONTNEED) };
        }
        std::hint::black_box(sum);
    }
}

/// A child whose thread id has the slot of its parent's, which stays there.
fn run_beside() -> Value {
    let wanted = std::process::id() ^ slots();
    let wait = || blocked(|| assert!(nanosleep(LIFE)));
    let child = in_child_of(wait, || fork_as(i32::try_from(wanted).unwrap()));
    child.join()
}

fn beside() {
    let report = report(&["causes-beside", ""]);
    check(&report, &report.facts, Cause::Sleep);
}

const HELD: [(&str, libc::c_long, Cause); 5] = [
    ("sleep", libc::SYS_nanosleep, Cause::Sleep),
    ("futex", libc::SYS_futex, Cause::Futex),
    ("poll", libc::SYS_epoll_wait, Cause::Poll),
    ("pipe", libc::SYS_read, Cause::Pipe),
    ("socket", libc::SYS_read, Cause::Socket),
];

/// Blocks until it is killed.
fn hold(kind: &str) -> Option<Value> {
    match kind {
        "sleep" => drop(nanosleep(Duration::from_secs(1_000))),
        "futex" => wait_for_futex(None),
        "poll" => wait_for_events(-1),
        "pipe" => read_byte(&std::io::stdin()),
        "socket" => read_byte(&UnixStream::pair().unwrap().0),
        _ => return None,
    }
    Some(Value::Null)
}

/// Processes that were in their calls before kscope began, and did not stir since: they were blocked all the time.
fn found() {
    let held = HELD.map(|(kind, call, _)| Held::begin(kind, call));
    let pids = held.each_ref().map(|held| held.0.id().to_string()).join(",");
    let mut running = Running::start(&["report", "--for", "1s", "--format", "json", "--pid", &pids]);
    running.wait_until_measuring();
    let report = Report::parse(&running.finish(), Value::Null);
    let interval_ns = number(&report.json["interval_ns"]);
    for (held, (kind, _, cause)) in held.iter().zip(HELD) {
        let time = &report.process(held.0.id().into()).0["time"];
        assert_close(kind, number(&time["blocked_by"][cause.name()]), interval_ns, BOUND, 0);
        assert_eq!(time["blocked_by"][cause.name()], time["blocked_ns"], "{kind}: {time}");
    }
}

/// A process that is blocked until this is dropped.
struct Held(Child);

impl Held {
    /// Starts it and waits until it is in the call.
    fn begin(kind: &str, call: libc::c_long) -> Self {
        let mut command = Command::new(workload_path());
        command.args(["--workload", "causes-hold", kind]).stdin(Stdio::piped());
        let held = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let path = format!("/proc/{}/syscall", held.0.id());
        // `running` while it runs, else the number of the call and its arguments; nothing of a zombie.
        while std::fs::read_to_string(&path).is_ok_and(|text| !text.starts_with(&format!("{call} "))) {
            std::thread::yield_now();
        }
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended by itself: then the trial has failed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
