//! What the loops do, each made ready once in a process of its own (`loops.rs`).
//!
//! Invariant: all system calls of a slice are the work's own; whatever it needs is opened before.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::mm::{MapFlags, ProtFlags};

use crate::partner::{DATAGRAM, MESSAGE, MIB, Partner, WINDOW, tcp_partner, this_program, udp_partner};

/// Something to do over and over.
pub struct Work {
    /// Does it this many times; says how many operations that was.
    pub run: Box<dyn FnMut(u32) -> Result<f64>>,
}

/// Bytes of one write of the TCP flood.
const WRITE: usize = 64 << 10;
/// Entries that `find` is stopped after.
const ENTRIES: usize = 4_000;

/// Work that is one operation at a time.
fn each(mut operation: impl FnMut() -> Result<()> + 'static) -> Work {
    Work {
        run: Box::new(move |times| {
            for _ in 0..times {
                operation()?;
            }
            Ok(f64::from(times))
        }),
    }
}

/// Work whose operation is several of those that are counted.
fn times(many: f64, mut work: Work) -> Work {
    Work { run: Box::new(move |times| Ok((work.run)(times)? * many)) }
}

/// The shortest call.
pub fn getppid() -> Work {
    each(|| {
        std::hint::black_box(rustix::process::getppid());
        Ok(())
    })
}

/// `read`, `write`, `openat`, `close`, `newfstatat`, `lseek`, `pread64`, `getpid`, `mmap`, `munmap`.
pub fn mix() -> Result<Work> {
    let (zero, null) = (File::open("/dev/zero")?, File::options().write(true).open("/dev/null")?);
    let path = std::env::temp_dir().join(format!("kscope-bench-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    rustix::io::write(&file, &[1; 4096])?;
    let mut bytes = [0; MESSAGE];
    let round = move || -> Result<()> {
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
    Ok(times(10.0, each(round)))
}

/// A message through a pipe and back.
pub fn pipe() -> Result<Work> {
    let mut partner =
        Partner(this_program()?.args(["--partner", "stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let to: OwnedFd = partner.0.stdin.take().context("no pipe")?.into();
    let from: OwnedFd = partner.0.stdout.take().context("no pipe")?.into();
    Ok(ping(partner, to, from))
}

/// A message through a TCP connection and back.
pub fn tcp() -> Result<Work> {
    let (partner, stream) = tcp_partner("tcp")?;
    stream.set_nodelay(true)?;
    Ok(ping(partner, stream.try_clone()?, stream))
}

/// A datagram there and back.
pub fn udp() -> Result<Work> {
    let (partner, socket) = udp_partner("udp")?;
    Ok(ping(partner, socket.try_clone()?, socket))
}

fn ping(partner: Partner, to: impl AsFd + 'static, from: impl AsFd + 'static) -> Work {
    let mut bytes = [0; MESSAGE];
    each(move || {
        rustix::io::write(&to, &bytes)?;
        if rustix::io::read(&from, &mut bytes)? == 0 {
            bail!("the partner {} is gone", partner.0.id());
        }
        Ok(())
    })
}

/// A MiB through a TCP connection, and a word that it has arrived.
pub fn flood() -> Result<Work> {
    let (partner, mut stream) = tcp_partner("tcp-sink")?;
    let (bytes, mut word) = (vec![0; WRITE], [0]);
    Ok(each(move || {
        (0..MIB / WRITE).try_for_each(|_| stream.write_all(&bytes))?;
        stream.read_exact(&mut word).with_context(|| format!("the partner {} is gone", partner.0.id()))
    }))
}

/// A window of datagrams, and a word that they have arrived.
pub fn udp_flood() -> Result<Work> {
    let (partner, socket) = udp_partner("udp-sink")?;
    let bytes = [0; DATAGRAM];
    let window = each(move || {
        for _ in 0..WINDOW {
            socket.send(&bytes)?;
        }
        socket.recv(&mut [0]).with_context(|| format!("the partner {} is gone", partner.0.id()))?;
        Ok(())
    });
    Ok(times(f64::from(WINDOW), window))
}

/// A process that does nothing but end.
pub fn fork() -> Work {
    each(|| {
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

/// A program that does nothing but end.
pub fn exec() -> Work {
    each(|| {
        Command::new("/bin/true").status()?;
        Ok(())
    })
}

/// The first entries of `find /`: the whole would be as many minutes as the disk is full.
pub fn find() -> Work {
    Work {
        run: Box::new(|_| {
            let find = Command::new("find").args(["/", "-xdev"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
            let mut find = Partner(find.context("find")?);
            let output = BufReader::new(find.0.stdout.take().context("no pipe")?);
            let entries = output.split(b'\n').take(ENTRIES).flatten().count();
            Ok(entries as f64)
        }),
    }
}

/// Whether there is a compiler, and what it is called.
pub fn compiler() -> Option<&'static str> {
    ["cc", "gcc", "clang"].into_iter().find(|name| crate::tool::installed(name))
}

/// Small C files, as many compilers at a time as there are CPUs.
pub fn compile() -> Result<Work> {
    const FILES: usize = 8;
    let sources = Sources::write(FILES)?;
    let compiler = compiler().context("there is no C compiler")?;
    let at_a_time = std::thread::available_parallelism()?.get();
    Ok(Work {
        run: Box::new(move |_| {
            let mut files: Vec<_> = (0..FILES).collect();
            while !files.is_empty() {
                let start = |file| sources.compile(compiler, file);
                let now: Vec<_> = files.drain(..at_a_time.min(files.len())).map(start).collect::<Result<_>>()?;
                for mut child in now {
                    child.0.wait()?;
                }
            }
            Ok(FILES as f64)
        }),
    })
}

/// Generated C files in a directory of their own, which goes with this.
struct Sources(PathBuf);

impl Sources {
    fn write(files: usize) -> Result<Self> {
        let sources = Self(std::env::temp_dir().join(format!("kscope-bench-{}.d", std::process::id())));
        fs::create_dir(&sources.0)?;
        for file in 0..files {
            let functions =
                (0..60).map(|f| format!("int f{f}(int a) {{ return printf(\"%d\", a * {f}) + {file}; }}\n"));
            let text = format!("#include <stdio.h>\n#include <stdlib.h>\n{}", functions.collect::<String>());
            fs::write(sources.0.join(format!("{file}.c")), text)?;
        }
        Ok(sources)
    }

    fn compile(&self, compiler: &str, file: usize) -> Result<Partner> {
        let mut command = Command::new(compiler);
        command.current_dir(&self.0).args(["-O1", "-c", &format!("{file}.c")]);
        Ok(Partner(command.stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        // What is left of it is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
