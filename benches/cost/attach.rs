//! kscope's programs and the empty ones, loaded once, attached and detached many times.
//!
//! Loading parses megabytes of BTF; attaching is one system call a program. So the programs are kept by their descriptors
//! alone, and a link is made of one for each measurement. Programs keep their maps alive.
//!
//! Invariant: nothing of ours is attached but while an [`Attached`] lives.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use aya::programs::BtfTracePoint;
use aya::{Btf, EbpfLoader};
use kscope::kernel::loader;
use kscope::kernel::offsets::{Offsets, VMLINUX};
use kscope::kernel::programs::{Insight, PROGRAMS};

/// The empty programs; no bytes in a build without the feature `bench`.
pub static FLOOR: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/kscope-floor"));

/// One program a hook.
pub struct Programs(Vec<(Insight, OwnedFd)>);

/// Links: they end with this.
pub struct Attached {
    _links: Vec<OwnedFd>,
}

impl Programs {
    /// kscope's own, with fresh maps. Nobody reads these, so a loop that makes many processes fills them: load anew then.
    pub fn kscope() -> Result<Self> {
        let loaded = loader::load()?;
        let named = loaded.probes.iter().zip(loaded.programs);
        Ok(Self(named.filter_map(|(probe, program)| Some((insight(probe.name)?, program?))).collect()))
    }

    /// The program `name` of the floor on every hook that kscope uses and this kernel has.
    pub fn floor(name: &str) -> Result<Self> {
        let (offsets, btf) = (Offsets::read(Path::new(VMLINUX))?, Btf::from_sys_fs()?);
        let hooks = PROGRAMS.iter().filter(|p| !p.insight.is_on_demand() && offsets.has_tracepoint(p.target));
        let load = |hook: &str| -> Result<OwnedFd> {
            let mut object = EbpfLoader::new().btf(Some(&btf)).load(FLOOR)?;
            let program: &mut BtfTracePoint =
                object.program_mut(name).context("it is not in the object")?.try_into()?;
            program.load(hook, &btf)?;
            Ok(program.fd()?.as_fd().try_clone_to_owned()?)
        };
        let loaded = hooks.map(|p| Ok((p.insight, load(p.target).with_context(|| format!("{name} on {}", p.target))?)));
        Ok(Self(loaded.collect::<Result<_>>()?))
    }

    /// Their ids.
    pub fn ids(&self) -> BTreeSet<u32> {
        self.0.iter().filter_map(|(_, program)| id(program)).collect()
    }

    /// Attaches those of these insights.
    pub fn attach(&self, insights: &[Insight]) -> Result<Attached> {
        let wanted = self.0.iter().filter(|(insight, _)| insights.contains(insight));
        let links = wanted.map(|(_, program)| link(program)).collect::<io::Result<_>>().context("attach a program")?;
        Ok(Attached { _links: links })
    }
}

fn insight(program: &str) -> Option<Insight> {
    PROGRAMS.iter().find(|p| p.name == program).map(|p| p.insight)
}

/// The id of a program, as the kernel says it of each descriptor.
fn id(program: &OwnedFd) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
}

/// `BPF_RAW_TRACEPOINT_OPEN` of include/uapi/linux/bpf.h: a program that was loaded for a BTF tracepoint knows which.
fn link(program: &OwnedFd) -> io::Result<OwnedFd> {
    const OPEN: libc::c_long = 17;
    #[repr(C)]
    struct Attributes {
        name: u64,
        program: u32,
        zero: u32,
    }
    let attributes = Attributes { name: 0, program: program.as_raw_fd().cast_unsigned(), zero: 0 };
    // SAFETY: the kernel reads as many bytes as it is told there are, and gives a descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, OPEN, &raw const attributes, size_of::<Attributes>());
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
