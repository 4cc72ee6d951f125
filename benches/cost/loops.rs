//! The work whose price is measured: small loops, each run by a process of its own that times itself.
//!
//! A loop runs on one CPU, with its partner if it has one, and before everything else there (nice -20), so that other
//! load of the machine disturbs it little. It is cut into slices of about a millisecond; its result is the median slice,
//! since an interrupted slice is dear whatever is attached.
//!
//! Not here: what is attached meanwhile (`variant.rs`). Invariant: a loop reads the clock twice a slice, through the vDSO:
//! all system calls of a slice are the loop's own.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::CpuSet;

/// One loop.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// How the process that runs it is told which.
    pub key: &'static str,
    /// What it does, and what one operation is.
    pub title: &'static str,
    /// Left out of quick runs.
    pub full_only: bool,
    run: fn(Duration) -> Result<f64>,
}

/// All of them, in the order of the table.
pub const LOOPS: [Loop; 9] = [
    Loop { key: "getppid", title: "`getppid`", full_only: false, run: getppid },
    Loop { key: "mix", title: "ten different calls, per call", full_only: false, run: mix },
    Loop { key: "pipe", title: "pipe ping-pong", full_only: false, run: pipe },
    Loop { key: "tcp", title: "TCP ping-pong", full_only: false, run: tcp },
    Loop { key: "udp", title: "UDP ping-pong", full_only: false, run: udp },
    Loop { key: "flood", title: "TCP flood, per MiB", full_only: false, run: flood },
    Loop { key: "fork", title: "fork, exit, wait", full_only: false, run: fork },
    Loop { key: "exec", title: "`/bin/true`: spawn, exec, wait", full_only: false, run: exec },
    Loop { key: "find", title: "`find /usr -xdev`, per entry", full_only: true, run: find },
];

/// Bytes of a message that goes back and forth.
const MESSAGE: usize = 64;
/// Bytes of one write of the flood.
const FLOOD: usize = 64 << 10;
/// Shortest slice that the clock and the timer's interrupts leave alone.
const SLICE: Duration = Duration::from_millis(1);

impl Loop {
    /// Runs it for `time` in a process of its own; returns nanoseconds an operation.
    pub fn measure(&self, time: Duration) -> Result<f64> {
        let output = this_program()?
            .args(["--loop", self.key, "--ms", &time.as_millis().to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("the loop {} failed", self.key);
        }
        text.trim().parse().with_context(|| format!("the loop {} said {text:?}", self.key))
    }
}

/// What the process started by [`Loop::measure`] does: the loop named `key`, its result on standard output.
pub fn run(key: &str, time: Duration) -> Result<()> {
    let Some(found) = LOOPS.iter().find(|l| l.key == key) else { bail!("there is no loop {key}") };
    settle_on_one_cpu()?;
    println!("{}", (found.run)(time)?);
    Ok(())
}

/// What a partner does: `stdio`, or `tcp`, `udp` and `sink` with the port to connect to.
pub fn partner(role: &str) -> Result<()> {
    let (role, port) = role.split_once(':').unwrap_or((role, "0"));
    let to = (Ipv4Addr::LOCALHOST, port.parse::<u16>()?);
    match role {
        "stdio" => echo(io::stdin().as_fd(), io::stdout().as_fd()),
        "tcp" => {
            let stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            echo(stream.as_fd(), stream.as_fd())
        }
        "udp" => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(to)?;
            socket.send(b"here")?;
            echo(socket.as_fd(), socket.as_fd())
        }
        "sink" => {
            let mut stream = TcpStream::connect(to)?;
            let mut bytes = vec![0; FLOOD];
            while stream.read(&mut bytes)? > 0 {}
            Ok(())
        }
        _ => bail!("there is no partner {role}"),
    }
}

/// Sends back what comes until nothing does.
fn echo(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let mut bytes = [0; MESSAGE];
    loop {
        let count = rustix::io::read(&from, &mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        rustix::io::write(&to, &bytes[..count])?;
    }
}

/// The last CPU this process may run on: the first one often serves interrupts. Partners inherit it.
fn settle_on_one_cpu() -> Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).context("no CPU is allowed")?;
    let mut one = CpuSet::new();
    one.set(last);
    rustix::thread::sched_setaffinity(None, &one)?;
    rustix::process::setpriority_process(None, -20)?;
    Ok(())
}

/// Nanoseconds an operation: the median of slices.
fn slices(time: Duration, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut batch = 1_u32;
    let mut slice = |batch: u32| -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..batch {
            operation()?;
        }
        Ok(start.elapsed())
    };
    // Warms up as it looks for the number of operations that fill a slice.
    while slice(batch)? < SLICE {
        batch *= 2;
    }
    let start = Instant::now();
    let mut nanos = Vec::new();
    while nanos.is_empty() || start.elapsed() < time {
        nanos.push(slice(batch)?.as_nanos() as f64 / f64::from(batch));
    }
    Ok(crate::table::median(&nanos))
}

fn getppid(time: Duration) -> Result<f64> {
    slices(time, || {
        std::hint::black_box(rustix::process::getppid());
        Ok(())
    })
}

fn mix(time: Duration) -> Result<f64> {
    let (zero, null) = (File::open("/dev/zero")?, File::options().write(true).open("/dev/null")?);
    let path = std::env::temp_dir().join(format!("kscope-bench-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    rustix::io::write(&file, &[1; 4096])?;
    let mut bytes = [0; MESSAGE];
    let round = || -> Result<()> {
        rustix::io::read(&zero, &mut bytes)?;
        rustix::io::write(&null, &bytes)?;
        drop(rustix::fs::open(c"/dev/null", OFlags::RDONLY, Mode::empty())?);
        rustix::fs::fstat(&file)?;
        rustix::fs::seek(&file, SeekFrom::Start(0))?;
        rustix::io::pread(&file, &mut bytes, 1024)?;
        std::hint::black_box(rustix::process::getpid());
        // SAFETY: a fresh mapping at an address of the kernel's choice, unmapped before anything refers to it.
        unsafe {
            let page = rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                4096,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?;
            rustix::mm::munmap(page, 4096)?;
        }
        Ok(())
    };
    Ok(slices(time, round)? / 10.0)
}

fn pipe(time: Duration) -> Result<f64> {
    let mut partner =
        Partner(this_program()?.args(["--partner", "stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let to: OwnedFd = partner.0.stdin.take().context("no pipe")?.into();
    let from: OwnedFd = partner.0.stdout.take().context("no pipe")?.into();
    ping(time, to, from)
}

fn tcp(time: Duration) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _partner = Partner::connecting("tcp", listener.local_addr()?.port())?;
    let stream = listener.accept()?.0;
    stream.set_nodelay(true)?;
    ping(time, stream.as_fd(), stream.as_fd())
}

fn udp(time: Duration) -> Result<f64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _partner = Partner::connecting("udp", socket.local_addr()?.port())?;
    let (_, from) = socket.recv_from(&mut [0; MESSAGE])?;
    socket.connect(from)?;
    ping(time, socket.as_fd(), socket.as_fd())
}

/// A message there and back.
fn ping(time: Duration, to: impl AsFd, from: impl AsFd) -> Result<f64> {
    let mut bytes = [0; MESSAGE];
    slices(time, || {
        rustix::io::write(&to, &bytes)?;
        if rustix::io::read(&from, &mut bytes)? == 0 {
            bail!("the partner is gone");
        }
        Ok(())
    })
}

fn flood(time: Duration) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _partner = Partner::connecting("sink", listener.local_addr()?.port())?;
    let mut stream = listener.accept()?.0;
    let bytes = vec![0; FLOOD];
    // Sixteen MiB a slice, or it would measure how full the buffers are.
    let mib = 16;
    let per_slice = slices(time, || Ok((0..mib * (1 << 20) / FLOOD).try_for_each(|_| stream.write_all(&bytes))?))?;
    Ok(per_slice / mib as f64)
}

fn fork(time: Duration) -> Result<f64> {
    slices(time, || {
        // SAFETY: this process has one thread, and the child does nothing but end.
        unsafe {
            match libc::fork() {
                -1 => Err(io::Error::last_os_error().into()),
                0 => libc::_exit(0),
                child => {
                    libc::waitpid(child, std::ptr::null_mut(), 0);
                    Ok(())
                }
            }
        }
    })
}

fn exec(time: Duration) -> Result<f64> {
    slices(time, || {
        Command::new("/bin/true").status()?;
        Ok(())
    })
}

fn find(time: Duration) -> Result<f64> {
    let mut entries = 1;
    let run = slices(time, || {
        let output = Command::new("find").args(["/usr", "-xdev"]).stderr(Stdio::null()).output()?.stdout;
        entries = output.split(|&byte| byte == b'\n').count();
        Ok(())
    })?;
    Ok(run / entries as f64)
}

fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// The other side of a loop; ends with it.
struct Partner(Child);

impl Partner {
    fn connecting(role: &str, port: u16) -> Result<Self> {
        Ok(Self(this_program()?.args(["--partner", &format!("{role}:{port}")]).spawn()?))
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
