//! Which exemplars are kept, and for how long.
//!
//! Of each call the slowest are kept, the slowest of each process, and at least one of each octave of latencies that has one: so
//! a filter finds those of its processes, and the ordinary is there to be held against the slow.
//!
//! Invariant: the number of those kept is bounded, whatever comes: by call, and in all.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use kscope_layout::bucket::scale3;

use crate::core::ident::ProcessId;

/// Of each call so many of the slowest are kept.
pub const SLOWEST: usize = 32;
/// And of each call and process.
pub const SLOWEST_OF_PROCESS: usize = 3;
/// Exemplars kept in all.
pub const MOST: usize = 4_096;
/// How long they are kept, seconds.
pub const KEPT_S: f64 = 60.0;

/// One call that returned. Times in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// The process.
    pub id: ProcessId,
    /// The thread.
    pub tid: u32,
    /// Name of the process, made printable.
    pub comm: Arc<str>,
    /// Its cgroup, as that of the process.
    pub cgroup: Arc<str>,
    /// Number of the call.
    pub nr: u32,
    /// When it returned, seconds since 1970, UTC.
    pub unix_s: f64,
    /// How long it took.
    pub latency_ns: u64,
    /// Part of it spent blocked.
    pub blocked_ns: u64,
    /// Part of it spent waiting for a CPU.
    pub runnable_ns: u64,
    /// What it returned: an error is negative.
    pub result: i64,
    /// Its arguments, as they were in the registers.
    pub args: [u64; 6],
    /// The path it was given, or the address of a socket, made printable; empty if there is none, or if it was not in memory.
    pub text: String,
    /// What its first file descriptor was open on shortly after, made printable: perhaps another file by then. Empty where
    /// nobody asked, or the process was gone.
    pub file: String,
}

impl Exemplar {
    /// The error it returned, positive.
    pub fn errno(&self) -> Option<u32> {
        let error = u32::try_from(self.result.checked_neg()?).ok()?;
        (1..=MAX_ERRNO).contains(&error).then_some(error)
    }

    /// The bucket that counts it.
    pub fn bucket(&self) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "there are 256")]
        let bucket = scale3(self.latency_ns) as u16;
        bucket
    }

    /// The octave of latencies that it is in: 0 up to 59.6 ns (2^-24 s), then one for each doubling.
    pub fn octave(&self) -> u16 {
        self.bucket().div_ceil(8)
    }
}

/// The highest number of an error (include/linux/err.h).
const MAX_ERRNO: u32 = 4095;

/// Exemplars: of an interval, or of the last minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exemplars {
    /// By call, then the slowest first.
    list: Vec<Arc<Exemplar>>,
    /// So many more came than there was room for until they were read.
    pub overwritten: u64,
}

impl Exemplars {
    /// What came in an interval.
    pub fn new(mut list: Vec<Arc<Exemplar>>, overwritten: u64) -> Self {
        keep(&mut list);
        Self { list, overwritten }
    }

    /// Adds what came in the interval that followed.
    pub fn append(&mut self, later: &Self) {
        self.list.extend(later.list.iter().map(Arc::clone));
        keep(&mut self.list);
        self.overwritten = self.overwritten.saturating_add(later.overwritten);
    }

    /// Forgets those that returned more than [`KEPT_S`] before `unix_s`; and those that did after it, since the time of day was
    /// set back meanwhile, and nobody can say how old they are.
    pub fn forget(&mut self, unix_s: f64) {
        self.list.retain(|e| (unix_s - KEPT_S..unix_s + 1.0).contains(&e.unix_s));
    }

    /// All of them, by call, then the slowest first.
    pub fn list(&self) -> &[Arc<Exemplar>] {
        &self.list
    }

    /// Those of a call, the slowest first.
    pub fn of(&self, nr: u32) -> &[Arc<Exemplar>] {
        let from = self.list.partition_point(|e| e.nr < nr);
        let rest = &self.list[from..];
        &rest[..rest.partition_point(|e| e.nr == nr)]
    }
}

/// Sorts, and drops what is too much.
fn keep(list: &mut Vec<Arc<Exemplar>>) {
    list.sort_by_key(|e| (e.nr, Reverse(e.latency_ns)));
    let (mut nr, mut kept, mut octave) = (None, 0, None);
    let mut of_process: HashMap<ProcessId, usize> = HashMap::new();
    list.retain(|e| {
        if nr != Some(e.nr) {
            (nr, kept, octave) = (Some(e.nr), 0, None);
            of_process.clear();
        }
        // The slowest come first, so each octave's first is its slowest.
        let is_new = octave.replace(e.octave()) != Some(e.octave());
        let own = of_process.entry(e.id).or_default();
        (kept, *own) = (kept + 1, *own + 1);
        kept <= SLOWEST || *own <= SLOWEST_OF_PROCESS || is_new
    });
    if list.len() > MOST {
        let mut by_latency: Vec<u64> = list.iter().map(|e| e.latency_ns).collect();
        by_latency.sort_unstable_by_key(|ns| Reverse(*ns));
        let least = by_latency[MOST - 1];
        list.retain(|e| e.latency_ns >= least);
        list.truncate(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(nr: u32, latency_ns: u64, unix_s: f64) -> Arc<Exemplar> {
        Arc::new(Exemplar {
            id: ProcessId { pid: 7, birth: 1 },
            tid: 7,
            comm: "reader".into(),
            cgroup: "/".into(),
            nr,
            unix_s,
            latency_ns,
            blocked_ns: 0,
            runnable_ns: 0,
            result: 0,
            args: [0; 6],
            text: String::new(),
            file: String::new(),
        })
    }

    #[test]
    fn of_each_call_the_slowest_are_kept_and_one_of_each_octave() {
        let quick = (0..500).map(|at| one(3, 1_500 + at, 1.0));
        let slow = (0..100).map(|at| one(3, 1_000_000_000 - at, 1.0));
        let other = [one(5, 70, 1.0)];
        let kept = Exemplars::new(quick.chain(slow).chain(other).collect(), 0);
        let of: Vec<u64> = kept.of(3).iter().map(|e| e.latency_ns).collect();
        assert_eq!((of[0], of[SLOWEST - 1]), (1_000_000_000, 999_999_969));
        // The slowest of their octaves: 2^-19 s are 1,907.3 ns.
        assert!(of.len() <= SLOWEST + 3 && of.contains(&1_999) && of.contains(&1_907), "{of:?}");
        assert_eq!(kept.of(5).len(), 1);
        assert!(kept.of(4).is_empty());
    }

    #[test]
    fn a_minute_is_kept_and_never_more_than_there_is_room_for() {
        let mut kept = Exemplars::default();
        for second in 0..200_u32 {
            let calls = (0..400).flat_map(|nr| (0..40).map(move |at| one(nr, 100 + at, f64::from(second))));
            kept.append(&Exemplars::new(calls.collect(), 1));
            kept.forget(f64::from(second));
            assert!(kept.list().len() <= MOST);
        }
        assert!(kept.list().iter().all(|e| e.unix_s >= 139.0));
        assert_eq!(kept.overwritten, 200);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_them_for_longer() {
        let mut kept = Exemplars::new(vec![one(0, 100, 7_199.5)], 0);
        kept.forget(7_200.0);
        assert_eq!(kept.list().len(), 1);
        kept.forget(3_601.0);
        assert!(kept.list().is_empty());
    }

    #[test]
    fn errors_are_told_from_results() {
        let result = |result| Exemplar { result, ..(*one(0, 1, 0.0)).clone() }.errno();
        assert_eq!(
            [result(-11), result(0), result(512), result(-4096), result(i64::MIN)],
            [Some(11), None, None, None, None]
        );
    }
}
