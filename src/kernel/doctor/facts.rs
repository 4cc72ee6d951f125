//! What the host and the kernel say of themselves that decides what can be measured. Read without changing anything.
//!
//! Invariant: a file that cannot be read is `None`: nobody knows, which is not the same as no.

use std::fs;

use procfs::MountEntry;
use procfs::process::{LimitValue, Process};

use crate::kernel::advice::own_status;
use crate::kernel::maps::look_up_nothing;
use crate::kernel::offsets::VMLINUX;
use crate::kernel::rows::rows;

/// Whether the kernel lets this process use `bpf(2)` at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BpfCall {
    /// It looked at what was asked.
    #[default]
    Answers,
    /// It was refused with this error before that.
    Refused(i32),
}

/// The facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's release.
    pub kernel: String,
    /// `CapEff` of this process.
    pub effective: Option<u64>,
    /// `/proc/self/ns/pid`.
    pub pid_namespace: Option<String>,
    /// `/sys/kernel/security/lockdown`, or `lockdown=` of the kernel's command line.
    pub lockdown: Option<String>,
    /// `Seccomp` of `/proc/self/status`: 0 none, 1 strict, 2 a filter.
    pub seccomp: Option<u32>,
    /// `bpf(2)`.
    pub bpf: BpfCall,
    /// Bytes of the kernel's BTF, or why it cannot be read.
    pub btf: Option<Result<u64, String>>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<i32>,
    /// `kernel.bpf_stats_enabled`.
    pub bpf_stats_enabled: Option<i32>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// The events of tracefs can be read.
    pub tracefs: bool,
    /// The limit of locked memory, bytes; `None` if there is none.
    pub memlock: Option<u64>,
    /// `/proc` is there, with these options of its mount.
    pub proc: Option<String>,
    /// The version of Landlock; `None` if there is none.
    pub landlock: Option<i32>,
}

impl Facts {
    /// As they are now.
    pub fn read() -> Self {
        let status = own_status();
        Self {
            kernel: text("/proc/sys/kernel/osrelease")
                .unwrap_or_else(|| rustix::system::uname().release().to_string_lossy().into_owned()),
            effective: status.as_ref().map(|status| status.capeff),
            pid_namespace: fs::read_link("/proc/self/ns/pid").ok().map(|link| link.to_string_lossy().into_owned()),
            lockdown: text("/sys/kernel/security/lockdown").or_else(|| from_command_line(&procfs::cmdline().ok()?)),
            seccomp: status.and_then(|status| status.seccomp),
            bpf: ask_bpf(),
            btf: Some(fs::metadata(VMLINUX).map(|file| file.len()).map_err(|error| error.to_string())),
            unprivileged_bpf_disabled: sysctl("unprivileged_bpf_disabled"),
            bpf_stats_enabled: sysctl("bpf_stats_enabled"),
            perf_event_paranoid: sysctl("perf_event_paranoid"),
            tracefs: ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"]
                .iter()
                .any(|dir| fs::read_dir(dir).is_ok_and(|mut events| events.next().is_some())),
            memlock: locked_memory(),
            proc: proc_options(&fs::read("/proc/self/mounts").unwrap_or_default()),
            landlock: ask_landlock(),
        }
    }

    /// Version of the kernel; (0, 0) where the release is odd.
    pub fn version(&self) -> (u32, u32) {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Does this process have the capability? Where nobody knows, it is taken to.
    pub fn has(&self, capability: u32) -> bool {
        self.effective.is_none_or(|set| set & (1 << capability) != 0)
    }

    /// The lockdown mode that is chosen, such as `integrity`; `None` where nobody tells.
    pub fn lockdown_mode(&self) -> Option<&str> {
        let text = self.lockdown.as_deref()?;
        text.split('[').nth(1).and_then(|rest| rest.split(']').next()).or(Some(text))
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn sysctl(name: &str) -> Option<i32> {
    text(&format!("/proc/sys/kernel/{name}"))?.parse().ok()
}

/// The limit of locked memory of this process; `None` if there is none, or nobody tells.
fn locked_memory() -> Option<u64> {
    match Process::myself().ok()?.limits().ok()?.max_locked_memory.soft_limit {
        LimitValue::Value(bytes) => Some(bytes),
        LimitValue::Unlimited => None,
    }
}

fn from_command_line(words: &[String]) -> Option<String> {
    words.iter().find_map(|word| word.strip_prefix("lockdown=")).map(str::to_owned)
}

/// The options of the file system at `/proc`, in the order of the alphabet.
fn proc_options(mounts: &[u8]) -> Option<String> {
    let is_proc = |mount: &MountEntry| mount.fs_file == "/proc" && mount.fs_vfstype == "proc";
    let mount = rows::<Vec<MountEntry>>(mounts).flatten().filter(is_proc).last()?;
    let option =
        |(name, value): (String, Option<String>)| value.map_or(name.clone(), |value| format!("{name}={value}"));
    let mut options: Vec<String> = mount.fs_mntops.into_iter().map(option).collect();
    options.sort_unstable();
    Some(options.join(","))
}

/// Asks for an element of a map that is none: a kernel that looks at it says that there is no such descriptor. A filter, or a
/// security module, says no before.
fn ask_bpf() -> BpfCall {
    match look_up_nothing().raw_os_error() {
        Some(errno @ (libc::EPERM | libc::EACCES | libc::ENOSYS)) => BpfCall::Refused(errno),
        _ => BpfCall::Answers,
    }
}

/// Asks which version of Landlock there is. No rules are made.
fn ask_landlock() -> Option<i32> {
    /// `LANDLOCK_CREATE_RULESET_VERSION` of include/uapi/linux/landlock.h
    const VERSION: u32 = 1;
    // SAFETY: with this flag no attributes are read.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION) };
    i32::try_from(version).ok().filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_is_the_mode_in_brackets() {
        let mode =
            |text: &str| Facts { lockdown: Some(text.into()), ..Facts::default() }.lockdown_mode().map(str::to_owned);
        assert_eq!(mode("none [integrity] confidentiality").as_deref(), Some("integrity"));
        assert_eq!(mode("[none] integrity confidentiality").as_deref(), Some("none"));
        let of = |line: &str| from_command_line(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!((of("quiet lockdown=integrity ro").as_deref(), of("quiet")), (Some("integrity"), None));
    }

    #[test]
    fn a_release_has_a_version() {
        let version = |kernel: &str| Facts { kernel: kernel.into(), ..Facts::default() }.version();
        assert_eq!(version("5.10.0-33-amd64"), (5, 10));
        assert_eq!((version("6.18.44"), version("odd"), version("")), ((6, 18), (0, 0), (0, 0)));
    }

    #[test]
    fn options_are_those_of_proc_itself() {
        let mounts = b"x /\xff tmpfs rw 0 0\nproc /proc proc rw,hidepid=2 0 0\nsystemd-1 /proc/sys/fs/binfmt_misc autofs rw 0 0\n";
        assert_eq!(proc_options(mounts).as_deref(), Some("hidepid=2,rw"));
        assert_eq!(proc_options(b"tmpfs /proc tmpfs rw 0 0\nodd\n"), None);
    }

    #[test]
    fn this_host_has_facts() {
        let facts = Facts::read();
        assert!(facts.version().0 >= 5 && facts.effective.is_some() && facts.proc.is_some(), "{facts:?}");
    }
}
