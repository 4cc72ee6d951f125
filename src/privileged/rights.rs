//! Capabilities and ids: what each of kscope's processes keeps, and giving up the rest for good.
//!
//! Nothing here fails because less was there than could be kept. Invariant: what is given up cannot be had back, neither by
//! starting another program (`no_new_privs`) nor from another set.

use std::env;
use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities, set_keep_capabilities,
    set_no_new_privs,
};

/// What the helper works with.
pub const HELPER: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
/// What it may raise, for as long as it asks the kernel to count the runs of programs.
pub const HELPER_AT_TIMES: CapabilitySet = CapabilitySet::SYS_ADMIN;
/// What the process needs that looks into others: the right to trace them, and to open what only their users may read.
pub const EYES: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// Whom `sudo` works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id; not root's.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Caller {
    /// The one whom `sudo` names, if this process is root: anybody else could say anything.
    pub fn of_sudo() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let number = |name: &str| env::var(name).ok();
        Self::parse(&number("SUDO_UID")?, &number("SUDO_GID")?)
    }

    fn parse(uid: &str, gid: &str) -> Option<Self> {
        // The last number stands for «no change».
        let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
        let caller = Self { uid: number(uid)?, gid: number(gid)? };
        (caller.uid != 0).then_some(caller)
    }
}

/// Does this kernel let a process without capabilities read maps that it has descriptors of? It is asked with a descriptor
/// that is none: then the kernel complains of that, or of the missing right before it looks.
pub fn maps_need_a_right() -> io::Result<bool> {
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..sets })?;
    let refused = crate::kernel::maps::look_up_nothing();
    set_capabilities(None, sets)?;
    Ok(refused.raw_os_error() == Some(libc::EPERM))
}

/// Gives up all capabilities but those to keep, from all sets, for good; and the ids for those of `caller`, with all groups
/// beside. `raised` is what is in effect of those kept.
pub fn keep(kept: CapabilitySet, raised: CapabilitySet, caller: Option<Caller>) -> io::Result<()> {
    let kept = kept & capabilities(None)?.permitted;
    // First, as it takes a capability. Without that one the set stays, and no program that is started can use it.
    empty_the_bounding_set();
    if let Some(caller) = caller {
        set_keep_capabilities(true)?;
        become_caller(caller)?;
        set_keep_capabilities(false)?;
    }
    set_no_new_privs(true)?;
    match clear_ambient_capability_set() {
        // Kernels without it have none to clear.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let (effective, inheritable) = (kept & raised, CapabilitySet::empty());
    Ok(set_capabilities(None, CapabilitySets { effective, permitted: kept, inheritable })?)
}

/// With `raised` in effect as well, as far as they were kept, while `work` is done.
pub fn with<T>(raised: CapabilitySet, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let sets = capabilities(None)?;
    let effective = sets.effective | raised & sets.permitted;
    set_capabilities(None, CapabilitySets { effective, ..sets })?;
    let done = work();
    set_capabilities(None, sets)?;
    done
}

fn empty_the_bounding_set() {
    // Until there is no such capability.
    for number in 0..64 {
        // SAFETY: it changes nothing but this set.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
            break;
        }
    }
}

fn become_caller(Caller { uid, gid }: Caller) -> io::Result<()> {
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: plain numbers, and no group from a null list of none. There is one thread.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()))?;
        done(libc::setresgid(gid, gid, gid))?;
        done(libc::setresuid(uid, uid, uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_two_numbers_name_a_caller() {
        assert_eq!(Caller::parse("1000", "100"), Some(Caller { uid: 1000, gid: 100 }));
        for (uid, gid) in [("0", "0"), ("4294967295", "1"), ("1", "4294967295"), ("-1", "1"), ("a", "1"), ("", "")] {
            assert_eq!(Caller::parse(uid, gid), None, "{uid} {gid}");
        }
    }

    proptest! {
        #[test]
        fn any_text_names_a_caller_or_nobody(uid in ".{0,12}", gid in ".{0,12}") {
            let _ = Caller::parse(&uid, &gid);
        }
    }
}
