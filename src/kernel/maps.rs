//! Reading maps without a system call an entry: arrays through shared memory, hashes in batches; and
//! putting back what is free.
//!
//! aya has neither. What is read here is written by the kernel at the same time, so every read is volatile and yields
//! bytes, never references. What the bytes mean is the probes' business.
//!
//! Invariant: an index or a size that does not fit the map is an error or `None`, never an access outside.

use std::cell::OnceCell;
use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use bytemuck::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

#[cfg(any(test, feature = "untrusted"))]
use super::pretended::Pretended;

/// An array map (`BPF_F_MMAPABLE`) as shared memory, a chunk at a time: all of a chunk's pages count as this process's memory
/// once it is mapped, and most arrays are used at their beginning only.
#[derive(Debug)]
pub struct SharedArray<T> {
    fd: OwnedFd,
    chunks: Vec<OnceCell<Chunk>>,
    len: usize,
    _values: PhantomData<T>,
}

impl<T: Pod> SharedArray<T> {
    /// Distance between elements: the kernel rounds values up to eight bytes.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);
    /// Elements of a chunk; all of them, where chunks would cut some.
    const IN_CHUNK: usize =
        if CHUNK.is_multiple_of(Self::STRIDE) { CHUNK / Self::STRIDE } else { usize::MAX / Self::STRIDE };

    /// Maps the `len` elements of the array behind `fd` for reading and writing, the first chunk at once.
    pub fn map(fd: impl AsFd, len: usize) -> io::Result<Self> {
        let fd = fd.as_fd().try_clone_to_owned()?;
        let chunks = (0..len.div_ceil(Self::IN_CHUNK)).map(|_| OnceCell::new()).collect();
        let array = Self { fd, chunks, len, _values: PhantomData };
        if let Some(first) = array.chunks.first() {
            // It is empty: nobody had this array before.
            let _ = first.set(array.map_chunk(0)?);
        }
        Ok(array)
    }

    fn map_chunk(&self, number: usize) -> io::Result<Chunk> {
        let elements = Self::IN_CHUNK.min(self.len - number * Self::IN_CHUNK);
        Chunk::map(&self.fd, number * CHUNK, elements * Self::STRIDE)
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True for an array without elements.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the element at `index` lies, for volatile accesses to its fields. `None` beyond the end, or when there is no
    /// address space left to map it.
    pub fn at(&self, index: usize) -> Option<*mut T> {
        if index >= self.len {
            return None;
        }
        let number = index / Self::IN_CHUNK;
        let cell = self.chunks.get(number)?;
        let base = if let Some(chunk) = cell.get() {
            chunk.base
        } else {
            let chunk = self.map_chunk(number).ok()?;
            cell.get_or_init(|| chunk).base
        };
        // SAFETY: inside the chunk, which has as many elements; page- and eight-byte-aligned.
        Some(unsafe { base.as_ptr().add(index % Self::IN_CHUNK * Self::STRIDE) }.cast())
    }

    /// A copy of the element at `index`, as it is while the kernel may be writing it.
    pub fn get(&self, index: usize) -> Option<T> {
        // SAFETY: `at` is inside the mapping, aligned, and every bit pattern is a `T`.
        self.at(index).map(|p| unsafe { p.read_volatile() })
    }

    /// Makes the element at `index` all zeros.
    pub fn clear(&self, index: usize) {
        if let Some(at) = self.at(index) {
            // SAFETY: as in `get`.
            unsafe { at.write_volatile(T::zeroed()) };
        }
    }
}

/// Bytes that are mapped at once.
const CHUNK: usize = 256 << 10;

/// A part of an array as shared memory.
#[derive(Debug)]
struct Chunk {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only accessed by volatile reads and writes.
unsafe impl Send for Chunk {}

impl Chunk {
    fn map(fd: &OwnedFd, offset: usize, bytes: usize) -> io::Result<Self> {
        let bytes = bytes.next_multiple_of(rustix::param::page_size());
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd, offset as u64)? };
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("the kernel mapped a map at address 0"))?;
        Ok(Self { base, bytes })
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, which nothing refers to any more. An error could only mean it is gone.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// `BPF_MAP_LOOKUP_ELEM` of include/uapi/linux/bpf.h.
const LOOKUP_ELEM: libc::c_long = 1;
/// `BPF_MAP_UPDATE_ELEM` of include/uapi/linux/bpf.h.
const UPDATE_ELEM: libc::c_long = 2;
/// `BPF_MAP_DELETE_ELEM`.
const DELETE_ELEM: libc::c_long = 3;
/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`; of hashes since 5.14.
const TAKE_ELEM: libc::c_long = 21;
/// `BPF_MAP_LOOKUP_BATCH`.
const LOOKUP_BATCH: libc::c_long = 24;
/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
const LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;

/// The part of `union bpf_attr` that batch commands use.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The part of `union bpf_attr` that element commands use.
#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A hash map, read in batches into buffers that are kept.
#[derive(Debug)]
pub struct Hash<K, V> {
    fd: OwnedFd,
    keys: Vec<K>,
    values: Vec<V>,
    /// What it holds instead of a map of the kernel's.
    #[cfg(any(test, feature = "untrusted"))]
    pretended: Option<Pretended<K, V>>,
}

impl<K: Pod, V: Pod> Hash<K, V> {
    /// Entries asked for at once: more than any chain of a hash bucket, or the kernel says ENOSPC.
    const BATCH: usize = 1024;

    /// The hash behind `fd`.
    pub const fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            keys: Vec::new(),
            values: Vec::new(),
            #[cfg(any(test, feature = "untrusted"))]
            pretended: None,
        }
    }

    /// A hash that is in no kernel. Nothing is done with `fd`.
    #[cfg(any(test, feature = "untrusted"))]
    pub fn pretend(fd: OwnedFd) -> Self {
        Self { pretended: Some(Pretended::default()), ..Self::new(fd) }
    }

    /// What it holds instead of a map of the kernel's, if that is so.
    #[cfg(any(test, feature = "untrusted"))]
    pub const fn pretended(&self) -> Option<&Pretended<K, V>> {
        self.pretended.as_ref()
    }

    /// Calls `each` for all entries, in the order of the map. An entry that is added or removed meanwhile may be missed.
    pub fn for_each(&mut self, each: impl FnMut(K, &V)) -> io::Result<()> {
        self.pass(LOOKUP_BATCH, each)
    }

    /// The same, and removes them: each entry is seen once, and none goes unseen.
    pub fn drain(&mut self, each: impl FnMut(K, &V)) -> io::Result<()> {
        self.pass(LOOKUP_AND_DELETE_BATCH, each)
    }

    fn pass(&mut self, command: libc::c_long, mut each: impl FnMut(K, &V)) -> io::Result<()> {
        #[cfg(any(test, feature = "untrusted"))]
        if let Some(pretended) = &self.pretended {
            pretended.all(command == LOOKUP_AND_DELETE_BATCH).iter().for_each(|(key, value)| each(*key, value));
            return Ok(());
        }
        let mut size = Self::BATCH.max(self.keys.len());
        let mut position = 0_u64;
        let mut first = true;
        loop {
            self.keys.resize(size, K::zeroed());
            self.values.resize(size, V::zeroed());
            let mut next = 0_u64;
            let mut attr = BatchAttr {
                in_batch: if first { 0 } else { &raw const position as u64 },
                out_batch: &raw mut next as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: u32::try_from(size).map_err(io::Error::other)?,
                map_fd: self.fd.as_raw_fd().cast_unsigned(),
                ..BatchAttr::default()
            };
            let result = bpf(command, &mut attr);
            match &result {
                // ENOENT is the end; what was found on the way there counts.
                Ok(()) => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                    size *= 2;
                    continue;
                }
                Err(_) => return result,
            }
            let found = (attr.count as usize).min(size);
            for (key, value) in self.keys[..found].iter().zip(&self.values[..found]) {
                each(*key, value);
            }
            if result.is_err() {
                return Ok(());
            }
            (position, first) = (next, false);
        }
    }

    /// One entry; `None` when there is none.
    pub fn get(&self, key: &K) -> io::Result<Option<V>> {
        #[cfg(any(test, feature = "untrusted"))]
        if let Some(pretended) = &self.pretended {
            return Ok(pretended.get(key));
        }
        let mut value = V::zeroed();
        let mut attr = ElementAttr {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            key: ptr::from_ref(key) as u64,
            value: &raw mut value as u64,
            ..ElementAttr::default()
        };
        match bpf(LOOKUP_ELEM, &mut attr) {
            Ok(()) => Ok(Some(value)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Removes an entry; `false` when there is none.
    pub fn remove(&self, key: &K) -> io::Result<bool> {
        #[cfg(any(test, feature = "untrusted"))]
        if let Some(pretended) = &self.pretended {
            return Ok(pretended.take(key).is_some());
        }
        let mut attr = ElementAttr {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            key: ptr::from_ref(key) as u64,
            ..ElementAttr::default()
        };
        match bpf(DELETE_ELEM, &mut attr) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl<K: Pod, V: Pod> Hash<K, V> {
    /// Removes an entry and gives back what it held last; `None` when there is none.
    pub fn take(&self, key: &K) -> io::Result<Option<V>> {
        #[cfg(any(test, feature = "untrusted"))]
        if let Some(pretended) = &self.pretended {
            return Ok(pretended.take(key));
        }
        let mut value = V::zeroed();
        let mut attr = ElementAttr {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            key: ptr::from_ref(key) as u64,
            value: &raw mut value as u64,
            ..ElementAttr::default()
        };
        match bpf(TAKE_ELEM, &mut attr) {
            Ok(()) => Ok(Some(value)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// A stack of values (`BPF_MAP_TYPE_STACK`), which programs take from and user space fills.
#[derive(Debug)]
pub struct Stack<T> {
    fd: OwnedFd,
    _values: PhantomData<T>,
}

impl<T: Pod> Stack<T> {
    /// The stack behind `fd`.
    pub const fn new(fd: OwnedFd) -> Self {
        Self { fd, _values: PhantomData }
    }

    /// Puts a value on top.
    pub fn push(&self, value: T) -> io::Result<()> {
        let mut attr = ElementAttr {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            value: &raw const value as u64,
            ..ElementAttr::default()
        };
        bpf(UPDATE_ELEM, &mut attr)
    }
}

/// Looks up nothing in no map: what the kernel says to that. One that lets only the privileged read maps says so first.
pub(crate) fn look_up_nothing() -> io::Error {
    let mut attr = ElementAttr { map_fd: u32::MAX, ..ElementAttr::default() };
    bpf(LOOKUP_ELEM, &mut attr).err().unwrap_or_else(|| io::Error::other("there is a map without a descriptor"))
}

/// The system call `bpf`. `A` must be a prefix of `union bpf_attr` as `command` reads it.
pub(super) fn bpf<A>(command: libc::c_long, attr: &mut A) -> io::Result<()> {
    // SAFETY: all attribute types are prefixes of `union bpf_attr`, whose pointers refer to buffers of the stated sizes
    // that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
