//! Stuck now: calls that do not return are found and named, also those that were entered before kscope came.
//!
//! The oracle is `/proc/PID/syscall` and the letter in `/proc/PID/stat`, and what the workload was told to wait for.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Case;
use crate::dashboard::large_dashboard;
use crate::kscope::{Output, Report, Running, TempDir, number, run, workload_path};
use crate::workload::{nanosleep, ns, timespec};

pub const CASES: &[Case] = &[
    ("stuck::what_began_before_is_found_and_named", before),
    ("stuck::a_limit_of_time_is_shown_from_the_beginning_of_its_call", limits),
    ("stuck::a_call_of_a_pool_that_waits_is_one_row_of_its_process", folded),
];
pub const SCREEN_CASES: &[Case] = &[("stuck::view_5_names_the_holder_of_a_lock_at_once", view)];

/// Longer than any trial; nobody stays behind when the tests are killed.
const LONG: Duration = Duration::from_mins(2);

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    if name != "stick" {
        return None;
    }
    match args[0].as_str() {
        "sleep" => assert!(nanosleep(LONG)),
        "fifo" => drop(File::open(&args[1]).unwrap().read(&mut [0])),
        "lock" => File::open(&args[1]).unwrap().lock().unwrap(),
        "hold" => {
            let file = File::open(&args[1]).unwrap();
            file.lock().unwrap();
            assert!(nanosleep(LONG));
        }
        "uninterruptible" => wait_like_vfork(),
        limit if LIMITS.iter().any(|(of, ..)| *of == limit) => wait_with(limit),
        _ => (0..4).for_each(|_| drop(std::thread::spawn(|| nanosleep(LONG)))),
    }
    if args[0] == "pool" {
        assert!(nanosleep(LONG));
    }
    Some(json!({}))
}

/// Calls with a limit of time, by name: what the kernel says they are, and the clock that the limit is of, if it is absolute.
const LIMITS: [(&str, libc::c_long, Option<libc::clockid_t>); 10] = [
    ("clock_nanosleep", libc::SYS_clock_nanosleep, None),
    ("clock_nanosleep-monotonic", libc::SYS_clock_nanosleep, Some(libc::CLOCK_MONOTONIC)),
    ("clock_nanosleep-realtime", libc::SYS_clock_nanosleep, Some(libc::CLOCK_REALTIME)),
    ("clock_nanosleep-boottime", libc::SYS_clock_nanosleep, Some(libc::CLOCK_BOOTTIME)),
    ("futex-wait", libc::SYS_futex, None),
    ("futex-bitset", libc::SYS_futex, Some(libc::CLOCK_MONOTONIC)),
    ("futex-bitset-realtime", libc::SYS_futex, Some(libc::CLOCK_REALTIME)),
    ("futex-lock-pi", libc::SYS_futex, Some(libc::CLOCK_REALTIME)),
    ("ppoll", libc::SYS_ppoll, None),
    ("mq_timedreceive", libc::SYS_mq_timedreceive, Some(libc::CLOCK_REALTIME)),
];

/// Waits in one of [`LIMITS`] for [`LONG`].
fn wait_with(name: &str) {
    let (_, call, clock) = LIMITS.into_iter().find(|(of, ..)| *of == name).unwrap();
    let mut until = timespec(LONG);
    if let Some(clock) = clock {
        let mut now = timespec(Duration::ZERO);
        // SAFETY: writes the time to a live variable.
        assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut now) }, 0);
        (until.tv_sec, until.tv_nsec) = (until.tv_sec + now.tv_sec, now.tv_nsec);
    }
    let (until, none) = (&raw const until, std::ptr::null::<u8>());
    let flags = if clock == Some(libc::CLOCK_REALTIME) { libc::FUTEX_CLOCK_REALTIME } else { 0 };
    // SAFETY: all that is pointed to outlives the calls.
    let result = unsafe {
        match name {
            "futex-lock-pi" => {
                // A lock that another thread holds for as long.
                let word = Box::leak(Box::new(std::sync::atomic::AtomicU32::new(0)));
                let (word, held) = (&*word, std::sync::Barrier::new(2));
                std::thread::scope(|s| {
                    s.spawn(|| {
                        let own = u32::try_from(libc::syscall(libc::SYS_gettid)).unwrap();
                        word.store(own, std::sync::atomic::Ordering::SeqCst);
                        held.wait();
                        nanosleep(LONG + LONG);
                    });
                    held.wait();
                    libc::syscall(call, word.as_ptr(), libc::FUTEX_LOCK_PI | libc::FUTEX_PRIVATE_FLAG, 0, until)
                })
            }
            "futex-wait" => libc::syscall(call, &raw const flags, libc::FUTEX_WAIT, flags, until),
            "ppoll" => libc::syscall(call, none, 0, until, none, 8),
            "mq_timedreceive" => {
                let (queue, mode) = (c"/kscope-truth", 0o600);
                let name = queue.as_ptr().add(1);
                let fd = libc::syscall(libc::SYS_mq_open, name, libc::O_CREAT | libc::O_RDONLY, mode, none);
                assert!(fd >= 0, "mq_open: {}", std::io::Error::last_os_error());
                libc::syscall(libc::SYS_mq_unlink, name);
                let mut message = [0_u8; 8_192];
                libc::syscall(call, fd, message.as_mut_ptr(), message.len(), none, until)
            }
            _ if call == libc::SYS_futex => {
                let operation = libc::FUTEX_WAIT_BITSET | flags;
                libc::syscall(call, &raw const flags, operation, flags, until, none, u32::MAX)
            }
            _ => libc::syscall(call, clock.unwrap_or(libc::CLOCK_MONOTONIC), i32::from(clock.is_some()), until, none),
        }
    };
    panic!("{name} ended with {result}: {}", std::io::Error::last_os_error());
}

/// The parent of a `vfork` sleeps in state D until its child is gone. Without sharing memory, so that the child can sleep.
fn wait_like_vfork() {
    let flags = libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: without CLONE_VM it is a fork whose parent waits; the process has one thread.
    if unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } == 0 {
        nanosleep(LONG);
        // SAFETY: ends the child without running what its parent has registered for its own end.
        unsafe { libc::_exit(0) }
    }
}

/// A process that waits, and what it started, until it is dropped.
struct Stuck {
    child: Child,
    spawned: Instant,
}

impl Stuck {
    /// Starts it and waits until the kernel says that it is inside `call`.
    fn start(kind: &str, path: &Path, call: libc::c_long) -> Self {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(workload_path());
        let spawned = Instant::now();
        let child = command.args(["--workload", "stick", kind]).arg(path).process_group(0).spawn().unwrap();
        let inside = format!("{call} ");
        let file = format!("/proc/{}/syscall", child.id());
        while !std::fs::read_to_string(&file).unwrap().starts_with(&inside) {
            assert!(spawned.elapsed() < LONG, "{kind} never was in its call");
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { child, spawned }
    }

    fn row<'a>(&self, stuck: &'a [Value]) -> &'a Value {
        let pid = u64::from(self.child.id());
        stuck.iter().find(|row| row["pid"] == pid).unwrap_or_else(|| panic!("pid {pid} is not in {stuck:?}"))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let group = self.child.id().cast_signed();
        // SAFETY: a signal to the group that was made for it; it may be gone.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

fn rows(output: &Output) -> Vec<Value> {
    Report::parse(output, Value::Null).json["stuck"].as_array().expect("an array of stuck calls").clone()
}

fn before() {
    let dir = TempDir::new();
    let (fifo, lock) = (dir.join("fifo"), dir.join("lock"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    File::create(&lock).unwrap();
    // Somebody has it open for writing, so that the reader comes as far as its read.
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || File::options().write(true).open(fifo).unwrap()
    });
    let sleeper = Stuck::start("sleep", &lock, libc::SYS_nanosleep);
    let reader = Stuck::start("fifo", &fifo, libc::SYS_read);
    let holder = Stuck::start("hold", &lock, libc::SYS_nanosleep);
    let waiter = Stuck::start("lock", &lock, libc::SYS_flock);
    let parent = Stuck::start("uninterruptible", &lock, libc::SYS_clone);
    let _writer = writer.join().unwrap();

    let rows = rows(&run(&["report", "--for", "200ms", "--format", "json"]));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let held = format!("{}, held by {}", path(&lock), holder.child.id());
    for (stuck, call, on, state) in [
        (&sleeper, "nanosleep", "2.00 min".to_owned(), "S"),
        (&reader, "read", path(&fifo), "S"),
        (&waiter, "flock", held, "S"),
        (&parent, "clone", String::new(), "D"),
    ] {
        let row = stuck.row(&rows);
        let shown = (row["syscall"].as_str().unwrap(), row["state"].as_str().unwrap());
        assert_eq!(shown, (call, state), "{row}");
        assert!(row["on"].as_str().unwrap().contains(&on), "{row} without {on}");
        let age = number(&row["age_ns"]);
        assert!(age > 0 && age <= ns(stuck.spawned.elapsed()), "older than the process: {row}");
        assert_ne!(row["age_quality"], "exact", "nobody saw it begin: {row}");
    }
    let channel = waiter.row(&rows)["wchan"].as_str().unwrap();
    let oracle = std::fs::read_to_string(format!("/proc/{}/wchan", waiter.child.id())).unwrap();
    assert_eq!(channel, oracle.trim_end_matches('0'));
}

/// Each asks for two minutes; an absolute time is as long as the host is up, or as the epoch is old.
fn limits() {
    let dir = TempDir::new();
    let mut running = Running::start(&["report", "--for", "60s", "--format", "json"]);
    running.wait_until_measuring();
    let waiting = LIMITS.map(|(name, call, clock)| (name, clock, Stuck::start(name, &dir.join("none"), call)));
    for (.., stuck) in &waiting {
        // It sleeps, and not on its way to the call.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", stuck.child.id())).unwrap();
        while !stat().contains(") S ") {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let seen = rows(&running.stop());
    let before = rows(&run(&["report", "--for", "200ms", "--format", "json"]));
    let shown = |rows: &[Value], stuck: &Stuck| {
        let pid = stuck.child.id();
        let row = rows.iter().find(|row| row["pid"] == pid && row["tid"] == pid);
        row.unwrap_or_else(|| panic!("no row for {pid} in {rows:?}"))["on"].as_str().unwrap().to_owned()
    };
    let wrong: Vec<_> = waiting
        .iter()
        .map(|(name, clock, stuck)| (name, clock, shown(&seen, stuck), shown(&before, stuck)))
        // What began before is not known to last that long: what is left of it is.
        .filter(|(_, clock, seen, before)| {
            let known = if clock.is_some() { " more" } else { "2.00 min" };
            !seen.ends_with("2.00 min") || !before.ends_with(known)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn folded() {
    let dir = TempDir::new();
    let pool = Stuck::start("pool", &dir.join("none"), libc::SYS_nanosleep);
    let pid = pool.child.id().to_string();
    let all = rows(&run(&["report", "--for", "200ms", "--format", "json", "--pid", &pid]));
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    assert_eq!((all.len(), all.iter().filter(|row| row["idle"] == true).count()), (threads, threads), "{all:?}");
    let text = run(&["report", "--for", "200ms", "--pid", &pid]).stdout;
    assert!(text.contains(&format!("0 calls; {threads} more wait by design")), "{text}");
}

fn view() {
    let dir = TempDir::new();
    let lock = dir.join("lock");
    File::create(&lock).unwrap();
    let holder = Stuck::start("hold", &lock, libc::SYS_nanosleep);
    let waiter = Stuck::start("lock", &lock, libc::SYS_flock);
    let terminal = large_dashboard();
    terminal.press(&["5", "p"]);
    terminal.type_text(&waiter.child.id().to_string());
    terminal.press(&["Enter"]);
    let pid = waiter.child.id().to_string();
    terminal.wait("the lock", |screen| screen.lines().any(|line| line.contains(&pid) && line.contains("flock")));
    terminal.press(&["p"]);
    (0..pid.len()).for_each(|_| terminal.press(&["BSpace"]));
    terminal.type_text(&holder.child.id().to_string());
    terminal.press(&["Enter"]);
    terminal.wait("what waits by design", |screen| screen.contains("nanosleep") && screen.contains("2.00 min"));
}
