//! Maps that are in no kernel: arrays in memory, hashes in lists, filled with any bytes.
//!
//! Invariant: small, so that the same keys and slots come up again and counters go any way from one sample to the next.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use bytemuck::{Pod, bytes_of};
use kscope_layout::blame::{Pair, PairKey};
use kscope_layout::cause::{Beside, Causes};
use kscope_layout::connections::Connection;
use kscope_layout::disk::{Asked, DeviceRow};
use kscope_layout::errors::ErrorKey;
use kscope_layout::exemplars::Exemplar;
use kscope_layout::lives::Death;
use kscope_layout::{Buckets, Head, RecordKey, Row, Thread, ThreadKey};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::kernel::loader::{BlameMaps, DiskMaps, ExemplarMaps, RecordMaps};
use crate::kernel::maps::{Hash, SharedArray, Stack};

/// Bytes from outside, taken from the front; zeros when there are none left.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    /// A value of these bytes.
    pub fn take<T: Pod>(&mut self) -> T {
        let mut value = T::zeroed();
        let all = bytemuck::bytes_of_mut(&mut value);
        let (mine, rest) = self.0.split_at(all.len().min(self.0.len()));
        all[..mine.len()].copy_from_slice(mine);
        self.0 = rest;
        value
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u8) -> usize {
        usize::from(self.take::<u8>() % end.max(1))
    }

    /// Are there none left?
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An array as shared memory that this process writes, as the kernel would.
pub struct Array<T> {
    file: File,
    values: PhantomData<T>,
}

impl<T: Pod> Array<T> {
    /// With room for `len`, and as kscope maps it.
    pub fn new(len: usize) -> io::Result<(Self, SharedArray<T>)> {
        let fd = memfd_create("untrusted", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, (len * size_of::<T>()).next_multiple_of(rustix::param::page_size()) as u64)?;
        let shared = SharedArray::map(&fd, len)?;
        Ok((Self { file: fd.into(), values: PhantomData }, shared))
    }

    /// Writes an element.
    pub fn put(&self, at: usize, value: T) -> io::Result<()> {
        self.file.write_all_at(bytes_of(&value), (at * size_of::<T>()) as u64)
    }
}

/// A descriptor that nothing is done with.
fn nothing() -> io::Result<OwnedFd> {
    Ok(memfd_create("untrusted", MemfdFlags::CLOEXEC)?)
}

fn hash<K: Pod, V: Pod>() -> io::Result<Hash<K, V>> {
    Ok(Hash::pretend(nothing()?))
}

/// Puts an entry into a pretended hash. Every other key is a small one, which comes up again.
fn put<K: Pod, V: Pod>(hash: &Hash<K, V>, bytes: &mut Bytes<'_>) {
    let mut key: K = bytes.take();
    if bytes.take::<u8>() & 1 == 0 {
        let first = bytes_of(&key).first().copied().unwrap_or(0) & 3;
        key = K::zeroed();
        bytemuck::bytes_of_mut(&mut key)[0] = first;
    }
    if let Some(pretended) = hash.pretended() {
        pretended.put(key, bytes.take());
    }
}

/// Slots of the table of threads: few, and a power of two as in the kernel.
pub const SLOTS: u8 = 8;
/// Slots of records.
const RECORDS: u8 = 8;
/// CPUs.
const CPUS: u8 = 2;
/// Exemplars of each of them.
const RING: u8 = 3;
/// Devices of a row for each direction.
const DEVICES: u8 = 2;

/// All maps, and what writes them.
pub struct World {
    pub threads: SharedArray<Thread>,
    pub causes: SharedArray<Causes>,
    pub more: Hash<ThreadKey, Beside>,
    pub records: RecordMaps,
    pub without_record: SharedArray<Row>,
    pub cpus: SharedArray<Row>,
    pub connections: Hash<u64, Connection>,
    pub disk: DiskMaps,
    pub deaths: Hash<RecordKey, Death>,
    pub lives: SharedArray<u64>,
    pub lost: SharedArray<u64>,
    pub errors: Hash<ErrorKey, u64>,
    pub exemplars: ExemplarMaps,
    pub blame: BlameMaps,
    write: Write,
}

struct Write {
    threads: Array<Thread>,
    causes: Array<Causes>,
    heads: Array<Head>,
    buckets: Array<Buckets>,
    cpus: Array<Row>,
    rows: Array<DeviceRow>,
    lives: Array<u64>,
    lost: Array<u64>,
    rings: Array<Exemplar>,
    made: Array<u64>,
}

impl World {
    /// Empty maps.
    pub fn new() -> io::Result<Self> {
        let (w_threads, threads) = Array::new(SLOTS.into())?;
        let (w_causes, causes) = Array::new(SLOTS.into())?;
        let (w_heads, heads) = Array::new(RECORDS.into())?;
        let (w_buckets, buckets) = Array::new(RECORDS.into())?;
        let (w_cpus, cpus) = Array::new(CPUS.into())?;
        let (w_rows, rows) = Array::new(usize::from(DEVICES) * 4)?;
        let (w_lives, lives) = Array::new(kscope_layout::lives::events::COUNT as usize)?;
        let (w_lost, lost) = Array::new(kscope_layout::lost::COUNT as usize)?;
        let (w_rings, rings) = Array::new(usize::from(CPUS * RING))?;
        let (w_made, made) = Array::new(CPUS.into())?;
        let (_, since) = Array::new(1)?;
        let (_, without_record) = Array::new(0)?;
        Ok(Self {
            threads,
            causes,
            more: hash()?,
            records: RecordMaps { index: hash()?, heads, buckets, free: Stack::new(nothing()?) },
            without_record,
            cpus,
            connections: hash()?,
            disk: DiskMaps { requests: hash()?, devices: hash()?, rows, processes: hash()? },
            deaths: hash()?,
            lives,
            lost,
            errors: hash()?,
            exemplars: ExemplarMaps { rings, made },
            blame: BlameMaps { pairs: hash()?, waits: hash()?, since },
            write: Write {
                threads: w_threads,
                causes: w_causes,
                heads: w_heads,
                buckets: w_buckets,
                cpus: w_cpus,
                rows: w_rows,
                lives: w_lives,
                lost: w_lost,
                rings: w_rings,
                made: w_made,
            },
        })
    }

    /// Writes one element of some map.
    pub fn change(&self, bytes: &mut Bytes<'_>) -> io::Result<()> {
        let write = &self.write;
        match bytes.below(16) {
            0 => write.threads.put(bytes.below(SLOTS), bytes.take()),
            1 => write.causes.put(bytes.below(SLOTS), bytes.take()),
            2 => write.heads.put(bytes.below(RECORDS), bytes.take()),
            3 => write.buckets.put(bytes.below(RECORDS), bytes.take()),
            4 => write.cpus.put(bytes.below(CPUS), bytes.take()),
            5 => write.rows.put(bytes.below(DEVICES * 4), bytes.take()),
            6 => write.lives.put(bytes.below(3), bytes.take()),
            7 => write.lost.put(bytes.below(7), bytes.take()),
            8 => {
                write.rings.put(bytes.below(CPUS * RING), bytes.take())?;
                write.made.put(bytes.below(CPUS), bytes.take())
            }
            9 => {
                put(&self.more, bytes);
                Ok(())
            }
            10 => {
                put(&self.connections, bytes);
                Ok(())
            }
            11 => {
                let device = bytes.take::<u32>();
                if let Some(devices) = self.disk.devices.pretended() {
                    devices.put(device, if bytes.below(4) == 0 { bytes.take() } else { device % u32::from(DEVICES) });
                }
                put(&self.disk.requests, bytes);
                Ok(())
            }
            12 => {
                put::<_, Asked>(&self.disk.processes, bytes);
                Ok(())
            }
            13 => {
                put(&self.deaths, bytes);
                Ok(())
            }
            14 => {
                put(&self.errors, bytes);
                Ok(())
            }
            _ => {
                put::<PairKey, Pair>(&self.blame.pairs, bytes);
                Ok(())
            }
        }
    }
}
