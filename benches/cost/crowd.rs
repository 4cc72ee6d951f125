//! Idle processes, so that there are as many as on a busy host.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// How many processes there are, threads of the kernel included.
pub fn processes() -> usize {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())).count()
}

/// Memory that could be had, bytes.
pub fn available_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Processes that sleep until this is dropped.
pub struct Idle(Option<Child>);

impl Idle {
    /// Makes as many as are missing to `total` on this machine.
    pub fn up_to(total: usize) -> Result<Self> {
        let missing = total.saturating_sub(processes() + 1);
        if missing == 0 {
            return Ok(Self(None));
        }
        let mut parent = Command::new(std::env::current_exe()?)
            .args(["--idle", &missing.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(parent.stdout.take().context("no pipe")?).read_line(&mut line)?;
        let idle = Self(Some(parent));
        if line.trim() != "ready" {
            bail!("idle processes could not be made");
        }
        Ok(idle)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(parent) = &mut self.0 {
            // It ends when its input does, and its children with it.
            drop(parent.stdin.take());
            let _ = parent.wait();
        }
    }
}

/// What the parent of idle processes does: makes them, says so, waits for the end of its input, and ends them.
pub fn serve(count: usize) -> Result<()> {
    let children = (0..count).map(|_| sleeper()).collect::<io::Result<Vec<_>>>()?;
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    // All of them are gone when this process is, so that the next crowd is counted right.
    for &child in &children {
        // SAFETY: they are its own children, and nobody has waited for them.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    for &child in &children {
        // SAFETY: as above; no status is asked for.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    Ok(())
}

/// A process that sleeps, and ends at the latest with its parent.
fn sleeper() -> io::Result<libc::pid_t> {
    // SAFETY: this process has one thread, and the child makes system calls only.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: as above.
        0 => unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::close(0);
            libc::close(1);
            loop {
                libc::pause();
            }
        },
        child => Ok(child),
    }
}
