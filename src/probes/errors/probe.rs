//! Reads the counters of errors, and adds up what they hold to the errors of the host.
//!
//! Invariant: what a counter held when it was removed is in the sums of the host, so those only grow.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use kscope_layout::RecordKey;
use kscope_layout::errors::ErrorKey;

use super::stats::{ErrorCount, Errors, HostErrors};
use crate::core::ident::ProcessId;
use crate::kernel::maps::Hash;

/// Reads the counters, and knows what they held when they were read last.
#[derive(Debug, Default)]
pub struct ErrorReader {
    known: BTreeMap<ErrorKey, u64>,
    /// By call and error.
    host: BTreeMap<(u32, u32), u64>,
}

impl ErrorReader {
    /// All errors that were ever counted, as of now; those of processes that were freed only in the sums of the host.
    pub fn read(&mut self, counters: &mut Hash<ErrorKey, u64>) -> io::Result<Arc<Errors>> {
        self.count(counters)?;
        Ok(self.list())
    }

    /// Reads the counters, and no more.
    pub fn count(&mut self, counters: &mut Hash<ErrorKey, u64>) -> io::Result<()> {
        let (known, host) = (&mut self.known, &mut self.host);
        counters.for_each(|key, count| {
            let was = known.insert(key, *count).unwrap_or(0);
            add(host, key, *count, was);
        })
    }

    /// All errors as of the last reading.
    pub fn list(&self) -> Arc<Errors> {
        Arc::new(self.errors())
    }

    /// Removes the counters of a process, which must be one that makes no more calls.
    pub fn free(&mut self, id: ProcessId, counters: &Hash<ErrorKey, u64>) -> io::Result<()> {
        let first = ErrorKey { call: RecordKey::of(id.pid, id.birth, 0), ..ErrorKey::default() };
        let of_process = |key: &ErrorKey| (key.call.tgid(), key.call.birth()) == (id.pid, id.birth);
        let keys: Vec<ErrorKey> = self.known.range(first..).map(|(key, _)| *key).take_while(of_process).collect();
        for key in keys {
            let was = self.known.remove(&key).unwrap_or(0);
            // What came since it was read last.
            if let Some(now) = counters.get(&key)? {
                add(&mut self.host, key, now, was);
            }
            counters.remove(&key)?;
        }
        Ok(())
    }

    /// Counters in use.
    pub fn used(&self) -> usize {
        self.known.len()
    }

    fn errors(&self) -> Errors {
        let count = |(key, count): (&ErrorKey, &u64)| ErrorCount {
            id: ProcessId { pid: key.call.tgid(), birth: key.call.birth() },
            nr: key.call.what(),
            errno: key.errno,
            count: *count,
        };
        let of_host = |(&(nr, errno), &count): (&(u32, u32), &u64)| HostErrors { nr, errno, count };
        Errors { by_process: self.known.iter().map(count).collect(), host: self.host.iter().map(of_host).collect() }
    }
}

fn add(host: &mut BTreeMap<(u32, u32), u64>, key: ErrorKey, now: u64, was: u64) {
    let sum = host.entry((key.call.what(), key.errno)).or_default();
    *sum = sum.saturating_add(now.saturating_sub(was));
}
