//! Running something as an ordinary user, with no capability or a few: a child of the trial drops what it has and executes it.
//!
//! Invariant: nothing of root is kept: user, groups and capabilities are those that were asked for.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::kscope::{TempDir, workload_path};

/// `nobody` of Debian and most others. The number need not have a name.
const USER: u32 = 65_534;
/// Of include/uapi/linux/capability.h.
pub const CAP_PERFMON: u32 = 38;
pub const CAP_BPF: u32 = 39;

/// What lets kscope load its programs, and nothing else.
pub const BPF_AND_PERFMON: &[u32] = &[CAP_BPF, CAP_PERFMON];

/// Why nobody can become somebody else here, if so.
pub fn not_root() -> Option<String> {
    // SAFETY: it takes nothing and cannot fail.
    (unsafe { libc::geteuid() } != 0).then(|| "needs root, to become an ordinary user".into())
}

/// Copies of what is tried where everybody may execute them, in a directory in which everybody may write.
pub struct Copies {
    pub dir: TempDir,
}

impl Copies {
    pub fn new() -> Self {
        let copies = Self { dir: TempDir::new() };
        std::fs::set_permissions(copies.dir.join(""), Permissions::from_mode(0o777)).unwrap();
        for (from, to) in
            [(PathBuf::from(env!("CARGO_BIN_EXE_kscope")), copies.kscope()), (workload_path(), copies.workload())]
        {
            std::fs::copy(from, &to).unwrap();
            std::fs::set_permissions(to, Permissions::from_mode(0o755)).unwrap();
        }
        copies
    }

    pub fn kscope(&self) -> PathBuf {
        self.dir.join("kscope")
    }

    pub fn workload(&self) -> PathBuf {
        self.dir.join("workload")
    }

    /// `kscope ARGS` as an ordinary user who has these capabilities.
    pub fn command(&self, capabilities: &'static [u32], args: &[&str]) -> Command {
        let mut command = Command::new(self.kscope());
        command.args(args).current_dir("/");
        // SAFETY: what the child does before it executes the program are system calls alone.
        unsafe { command.pre_exec(move || become_ordinary(capabilities)) };
        command
    }
}

/// `as-ordinary PROGRAM ARGS…`: executes it without any capability; `as-capable` with those that kscope needs.
pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    let capabilities: &[u32] = match name {
        "as-ordinary" => &[],
        "as-capable" => BPF_AND_PERFMON,
        _ => return None,
    };
    become_ordinary(capabilities).unwrap();
    panic!("{}", Command::new(&args[0]).args(&args[1..]).exec());
}

/// The two structures of capset(2), version 3.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes the calling process an ordinary user's, with these capabilities and no others, also after it executes a program.
fn become_ordinary(capabilities: &[u32]) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let check = |result: libc::c_long| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    let mut sets = [Sets { effective: 0, permitted: 0, inheritable: 0 }; 2];
    for capability in capabilities {
        let set = &mut sets[(capability / 32) as usize];
        let bit = 1 << (capability % 32);
        (set.effective, set.permitted, set.inheritable) =
            (set.effective | bit, set.permitted | bit, set.inheritable | bit);
    }
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: each call gets numbers, or structures that outlive it. They change this process alone.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1).into())?;
        check(libc::setgroups(0, std::ptr::null()).into())?;
        check(libc::setresgid(USER, USER, USER).into())?;
        check(libc::setresuid(USER, USER, USER).into())?;
        check(libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()))?;
        for capability in capabilities {
            let (raise, zero) = (libc::PR_CAP_AMBIENT_RAISE, 0 as libc::c_ulong);
            check(libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(*capability), zero, zero).into())?;
        }
    }
    Ok(())
}
