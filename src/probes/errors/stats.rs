//! The arithmetic of errors: by process, call and error, and of the host by call and error.
//!
//! The same type holds what was ever counted and what was counted in an interval.
//!
//! Invariant: both lists are sorted by their keys, each of which is there once; those of the host hold what the gone have left.

use crate::core::ident::ProcessId;
use crate::core::latency::times;

/// How often a call of a process returned an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCount {
    /// The process.
    pub id: ProcessId,
    /// Number of the call.
    pub nr: u32,
    /// The error, positive.
    pub errno: u32,
    /// How often.
    pub count: u64,
}

/// The same of all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostErrors {
    /// Number of the call.
    pub nr: u32,
    /// The error, positive.
    pub errno: u32,
    /// How often.
    pub count: u64,
}

/// Errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// By process, call and error.
    pub by_process: Vec<ErrorCount>,
    /// By call and error.
    pub host: Vec<HostErrors>,
}

impl ErrorCount {
    const fn key(&self) -> (ProcessId, u32, u32) {
        (self.id, self.nr, self.errno)
    }
}

impl HostErrors {
    const fn key(&self) -> (u32, u32) {
        (self.nr, self.errno)
    }
}

impl Errors {
    /// What was counted from `prev` to `next`. A counter that was not there before counts from zero.
    #[must_use]
    pub fn between(prev: &Self, next: &Self) -> Self {
        Self {
            by_process: grown(&prev.by_process, &next.by_process, ErrorCount::key, |e| &mut e.count),
            host: grown(&prev.host, &next.host, HostErrors::key, |e| &mut e.count),
        }
    }

    /// Adds what was counted in the interval that followed.
    pub fn append(&mut self, later: &Self) {
        add(&mut self.by_process, &later.by_process, ErrorCount::key, |e| &mut e.count);
        add(&mut self.host, &later.host, HostErrors::key, |e| &mut e.count);
    }

    /// What stands for more of the same: the errors of a process for `factor` of it times as many, those whose process is not
    /// known for `otherwise`.
    pub fn scale(&mut self, factor: impl Fn(ProcessId) -> f64, otherwise: f64) {
        let mut known: Vec<HostErrors> = self.host.iter().map(|e| HostErrors { count: 0, ..*e }).collect();
        let mut scaled = known.clone();
        for error in &mut self.by_process {
            let at = known.binary_search_by_key(&(error.nr, error.errno), HostErrors::key).ok();
            let before = error.count;
            error.count = times(before, factor(error.id));
            if let Some(at) = at {
                known[at].count = known[at].count.saturating_add(before);
                scaled[at].count = scaled[at].count.saturating_add(error.count);
            }
        }
        for ((host, known), scaled) in self.host.iter_mut().zip(known).zip(scaled) {
            host.count = scaled.count.saturating_add(times(host.count.saturating_sub(known.count), otherwise));
        }
    }

    /// The errors of one process.
    pub fn of(&self, id: ProcessId) -> &[ErrorCount] {
        let from = self.by_process.partition_point(|e| e.id < id);
        let rest = &self.by_process[from..];
        &rest[..rest.partition_point(|e| e.id == id)]
    }
}

/// What grew, by how much.
fn grown<T: Copy, K: Ord>(prev: &[T], next: &[T], key: impl Fn(&T) -> K, count: impl Fn(&mut T) -> &mut u64) -> Vec<T> {
    let mut before = prev.iter().peekable();
    let mut out = Vec::new();
    for now in next {
        while before.next_if(|was| key(was) < key(now)).is_some() {}
        let was = before.next_if(|was| key(was) == key(now)).map_or(0, |was| *count(&mut was.clone()));
        let mut grown = *now;
        let sum = count(&mut grown);
        *sum = sum.saturating_sub(was);
        if *sum > 0 {
            out.push(grown);
        }
    }
    out
}

fn add<T: Copy, K: Ord>(to: &mut Vec<T>, later: &[T], key: impl Fn(&T) -> K, count: impl Fn(&mut T) -> &mut u64) {
    for more in later {
        match to.binary_search_by(|e| key(e).cmp(&key(more))) {
            Ok(at) => {
                let sum = count(&mut to[at]);
                *sum = sum.saturating_add(*count(&mut more.clone()));
            }
            Err(at) => to.insert(at, *more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProcessId = ProcessId { pid: 7, birth: 1 };
    const OTHER: ProcessId = ProcessId { pid: 9, birth: 2 };

    fn errors(of: &[(ProcessId, u32, u32, u64)], host: &[(u32, u32, u64)]) -> Errors {
        Errors {
            by_process: of.iter().map(|&(id, nr, errno, count)| ErrorCount { id, nr, errno, count }).collect(),
            host: host.iter().map(|&(nr, errno, count)| HostErrors { nr, errno, count }).collect(),
        }
    }

    #[test]
    fn counters_are_subtracted_and_new_ones_count_from_zero() {
        let then = errors(&[(ID, 0, 11, 5), (ID, 2, 2, 9)], &[(0, 11, 5), (2, 2, 9)]);
        let now = errors(&[(ID, 0, 11, 8), (ID, 1, 9, 2), (ID, 2, 2, 9)], &[(0, 11, 8), (1, 9, 2), (2, 2, 12)]);
        // The host's errors of call 2 grew by a process that is gone.
        let between = errors(&[(ID, 0, 11, 3), (ID, 1, 9, 2)], &[(0, 11, 3), (1, 9, 2), (2, 2, 3)]);
        assert_eq!(Errors::between(&then, &now), between);
        assert_eq!(Errors::between(&Errors::default(), &then), then);
    }

    #[test]
    fn intervals_add_up() {
        let mut sum = errors(&[(ID, 0, 11, 3)], &[(0, 11, 3)]);
        sum.append(&errors(&[(ID, 0, 11, 4), (OTHER, 0, 2, 1)], &[(0, 2, 1), (0, 11, 4)]));
        assert_eq!(sum, errors(&[(ID, 0, 11, 7), (OTHER, 0, 2, 1)], &[(0, 2, 1), (0, 11, 7)]));
        assert_eq!(sum.of(OTHER).len(), 1);
        assert!(sum.of(ProcessId { pid: 8, birth: 1 }).is_empty());
    }

    #[test]
    fn what_was_seen_in_a_window_is_scaled_by_process_and_the_rest_by_time() {
        let mut seen = errors(&[(ID, 0, 11, 10), (OTHER, 0, 11, 1)], &[(0, 11, 13)]);
        seen.scale(|id| if id == ID { 100.0 } else { 50.0 }, 20.0);
        assert_eq!(seen, errors(&[(ID, 0, 11, 1_000), (OTHER, 0, 11, 50)], &[(0, 11, 1_090)]));
    }
}
