//! A terminal of our own, with a program in it.

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::Result;

/// Has a command start in a new terminal of so many columns and rows: the side that we read and write.
pub fn around(command: &mut Command, size: (u16, u16)) -> Result<File> {
    let (master, slave) = open(size)?;
    command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?)).stderr(slave);
    // SAFETY: between fork and exec only these two system calls are made. Descriptor 0 is the terminal by then.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    Ok(master)
}

fn open((columns, rows): (u16, u16)) -> Result<(File, OwnedFd)> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: both descriptors are written where they may be, nobody else owns them, and the size is read during the call.
    unsafe {
        let (name, modes) = (std::ptr::null_mut(), std::ptr::null_mut());
        if libc::openpty(&raw mut master, &raw mut slave, name, modes, (&raw const size).cast_mut()) != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        let (master, slave) = (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave));
        // The programs that are started must not inherit either side.
        libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(slave.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC);
        Ok((master, slave))
    }
}
