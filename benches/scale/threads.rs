//! The table of threads without a kernel: a file in memory behind the same mapping, and an empty hash beside it.
//!
//! The hash is a real one, since reading it is a system call; making it needs the right to. Without, nothing is measured.

use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

use bytemuck::Zeroable as _;
use kscope::kernel::maps::{Hash, SharedArray};
use kscope::probes::time::probe::{self, Horizon, ThreadReader};
use kscope_layout::cause::{Beside, Causes};
use kscope_layout::{NO_CALL, Thread, ThreadKey, state};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::generate::Size;

/// Slots of the table, as on a host that allows four million threads.
const SLOTS: usize = 1 << 17;
/// `BPF_MAP_CREATE` and `BPF_MAP_TYPE_HASH` of include/uapi/linux/bpf.h.
const MAP_CREATE: libc::c_long = 0;
const TYPE_HASH: u32 = 1;

/// A reader and what it reads.
pub struct Table {
    reader: ThreadReader,
    slots: SharedArray<Thread>,
    causes: SharedArray<Causes>,
    more: Hash<ThreadKey, Beside>,
}

impl Table {
    /// The threads of a machine of this size, one in ten in a call, one a CPU running.
    pub fn new(size: Size) -> io::Result<Self> {
        let file = memfd_create("threads", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, (SLOTS * size_of::<Thread>()) as u64)?;
        let slots = SharedArray::<Thread>::map(file.as_fd(), SLOTS)?;
        let file = memfd_create("causes", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, (SLOTS * size_of::<Causes>()) as u64)?;
        let causes = SharedArray::<Causes>::map(file.as_fd(), SLOTS)?;
        let each = (size.threads / size.processes).max(1);
        for tid in 1..=size.threads {
            let tgid = (tid - 1) / each * each + 1;
            let thread = Thread {
                tid,
                claims: 1,
                tgid,
                state: if tid <= size.cpus { state::RUNNING } else { state::SLEEPING },
                cpu: tid - 1,
                process_start_ns: u64::from(tgid) << 20,
                start_ns: u64::from(tid) << 20,
                since_ns: 1_000,
                call: if tid % 10 == 0 { 0 } else { NO_CALL },
                call_since_ns: 1_000,
                ..Thread::zeroed()
            };
            if let Some(at) = slots.at(tid as usize % SLOTS) {
                // SAFETY: inside the mapping, aligned; nobody else has it.
                unsafe { at.write(thread) };
            }
        }
        Ok(Self { reader: ThreadReader::default(), slots, causes, more: Hash::new(empty_hash()?) })
    }

    /// One reading; the number of processes found.
    pub fn read(&mut self) -> io::Result<usize> {
        let table = probe::Table { slots: &self.slots, causes: &self.causes, more: &mut self.more };
        let threads = self.reader.read(table, Horizon { now_ns: 2_000_000_000, ..Horizon::default() })?;
        Ok(threads.processes.len())
    }
}

fn empty_hash() -> io::Result<OwnedFd> {
    let size = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let attributes = [TYPE_HASH, size(size_of::<ThreadKey>())?, size(size_of::<Beside>())?, 16];
    // SAFETY: the first four fields of `union bpf_attr` for this command; the rest counts as zeros.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) })
}
