//! What the kernel measures of kscope's programs: runs, their time, events missed (`bpf_prog_info`).
//!
//! Counting costs two readings of the clock and an update of counters at every run of every BPF program on the host, so it
//! is switched on for windows only: 50 ms in each 5 s, 1 % of the time. Switching patches code on all CPUs,
//! some 250 µs each way on two. A report that was asked to counts all the time instead.
//!
//! Invariant: a reader never waits for a window. Counting is off when the [`Meter`] is gone.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::held::{Counter, On};
use super::maps::bpf;
use crate::probes::own::stats::{Counting, PERIOD_MS, RunStats, Runs, WINDOW_MS};

/// Where in its period a window can begin.
const SPREAD: Duration = Duration::from_millis(PERIOD_MS - WINDOW_MS);
const WINDOW: Duration = Duration::from_millis(WINDOW_MS);
const PERIOD: Duration = Duration::from_millis(PERIOD_MS);

/// When to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Not at all.
    Never,
    /// In windows.
    Windows,
    /// When [`Meter::count`] is called.
    OnDemand,
    /// All the time.
    Always,
}

/// A place is filled when its program is loaded.
type Programs = Arc<[OnceLock<OwnedFd>]>;

/// Counts the runs of programs.
#[derive(Debug)]
pub struct Meter {
    programs: Programs,
    counter: Counter,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Never,
    Denied(Arc<str>),
    OnDemand(RunStats),
    Always {
        begin: Reading,
        _on: On,
    },
    /// The thread that opens the windows ends when `_open` is gone.
    Windows {
        last: Arc<Mutex<RunStats>>,
        _open: Sender<Infallible>,
    },
}

impl Meter {
    /// Begins to count for the programs behind these descriptors (`None`: one that was not loaded). `counter` has it done.
    pub fn start(programs: Vec<Option<OwnedFd>>, counter: Counter, when: When) -> Self {
        let place = |fd: Option<OwnedFd>| fd.map_or_else(OnceLock::new, OnceLock::from);
        Self::begin(programs.into_iter().map(place).collect(), counter, when)
    }

    /// Counts for the programs among these, too, that were not loaded before: all, in the same order.
    pub fn include(&self, programs: Vec<Option<OwnedFd>>) {
        for (place, program) in self.programs.iter().zip(programs) {
            if let Some(program) = program {
                // One that is known stays as it is.
                let _ = place.set(program);
            }
        }
    }

    fn begin(programs: Programs, counter: Counter, when: When) -> Self {
        let mode = match when {
            When::Never => Mode::Never,
            When::Always => match switch_on(&counter) {
                Ok(on) => Mode::Always { begin: Reading::of(&programs), _on: on },
                Err(reason) => Mode::Denied(reason),
            },
            When::Windows => start_windows(&programs, &counter),
            When::OnDemand => Mode::OnDemand(RunStats { counting: Counting::Waiting, ..RunStats::default() }),
        };
        Self { programs, counter, mode }
    }

    /// Begins anew, to count at other times.
    #[must_use]
    pub fn restarted(self, when: When) -> Self {
        Self::begin(self.programs, self.counter, when)
    }

    /// Counts as long as `wait` takes, where that was asked for; reading then yields what was counted last. `attached` is the
    /// part of the time in which each program is attached, for what is counted while all are.
    pub fn count(&mut self, attached: Vec<f64>, wait: impl FnOnce()) {
        let Mode::OnDemand(last) = &mut self.mode else { return wait() };
        match switch_on(&self.counter) {
            Ok(on) => {
                let begin = Reading::of(&self.programs);
                wait();
                let counted = begin.until(&Reading::of(&self.programs), Counting::Windows);
                drop(on);
                *last = RunStats { attached, ..counted };
            }
            Err(reason) => self.mode = Mode::Denied(reason),
        }
    }

    /// What is known now.
    pub fn read(&self) -> RunStats {
        let now = Reading::of(&self.programs);
        let idle = |counting| RunStats { counting, ..RunStats::default() };
        let stats = match &self.mode {
            Mode::Never => idle(Counting::Off),
            Mode::Denied(reason) => idle(Counting::Denied(Arc::clone(reason))),
            Mode::OnDemand(last) => last.clone(),
            Mode::Always { begin, .. } => begin.until(&now, Counting::Always),
            Mode::Windows { last, .. } => last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        RunStats { misses: now.misses, ..stats }
    }
}

/// Counting lasts as long as what is returned.
fn switch_on(counter: &Counter) -> Result<On, Arc<str>> {
    counter.switch_on().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => "Run statistics need CAP_SYS_ADMIN: start kscope with sudo.".into(),
        // Before Linux 5.8.
        Some(libc::EINVAL) => "This kernel has no run statistics.".into(),
        _ => format!("The kernel refuses run statistics: {error}.").into(),
    })
}

fn start_windows(programs: &Programs, counter: &Counter) -> Mode {
    let last = Arc::new(Mutex::new(RunStats { counting: Counting::Waiting, ..RunStats::default() }));
    let (open, closed) = channel();
    let (mine, programs, counter) = (Arc::clone(&last), Arc::clone(programs), counter.clone());
    let run = move || {
        let publish = |stats| *mine.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        if let Err(reason) = windows(&programs, &counter, &closed, publish) {
            publish(RunStats { counting: Counting::Denied(reason), ..RunStats::default() });
        }
    };
    match thread::Builder::new().name("kscope-cost".into()).stack_size(128 << 10).spawn(run) {
        Ok(_) => Mode::Windows { last, _open: open },
        Err(error) => Mode::Denied(format!("Run statistics are not read: {error}.").into()),
    }
}

/// Opens a window in each period until nobody listens any more.
fn windows(
    programs: &Programs,
    counter: &Counter,
    closed: &Receiver<Infallible>,
    publish: impl Fn(RunStats),
) -> Result<(), Arc<str>> {
    let start = Instant::now();
    for number in 0.. {
        let due = start + PERIOD * number + offset(number);
        if is_closed(closed, due.saturating_duration_since(Instant::now())) {
            break;
        }
        let on = switch_on(counter)?;
        let begin = Reading::of(programs);
        let over = is_closed(closed, WINDOW);
        let end = Reading::of(programs);
        drop(on);
        publish(begin.until(&end, Counting::Windows));
        if over {
            break;
        }
    }
    Ok(())
}

fn is_closed(closed: &Receiver<Infallible>, wait: Duration) -> bool {
    matches!(closed.recv_timeout(wait), Err(RecvTimeoutError::Disconnected))
}

/// Where in its period a window begins. Samples are taken at fixed times, and so is much of what a host does: windows that
/// kept step with it would show always the same part of it. Multiples of the golden ratio are spread evenly.
fn offset(number: u32) -> Duration {
    let part = u64::from(number) * 618_034 % 1_000_000;
    SPREAD / 1_000_000 * u32::try_from(part).unwrap_or(0)
}

/// Counters at one moment.
#[derive(Debug)]
struct Reading {
    at: Instant,
    runs: Vec<Runs>,
    misses: Vec<Option<u64>>,
}

impl Reading {
    fn of(programs: &Programs) -> Self {
        let infos: Vec<Option<ProgramInfo>> = programs.iter().map(|fd| fd.get().and_then(|fd| info(fd).ok())).collect();
        let runs = |info: &Option<ProgramInfo>| {
            info.map_or_else(Runs::default, |i| Runs { count: i.run_cnt, time_ns: i.run_time_ns })
        };
        Self {
            at: Instant::now(),
            runs: infos.iter().map(runs).collect(),
            misses: infos.iter().map(|info| info.map(|i| i.recursion_misses)).collect(),
        }
    }

    fn until(&self, end: &Self, counting: Counting) -> RunStats {
        RunStats {
            counting,
            over_ns: u64::try_from((end.at - self.at).as_nanos()).unwrap_or(u64::MAX),
            runs: end.runs.iter().zip(&self.runs).map(|(end, begin)| end.since(*begin)).collect(),
            misses: end.misses.clone(),
            attached: Vec::new(),
        }
    }
}

/// `BPF_OBJ_GET_INFO_BY_FD` of include/uapi/linux/bpf.h.
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// `struct bpf_prog_info` as far as it is needed; `run_cnt` since 5.1, `recursion_misses` since 5.12.
#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramInfo {
    /// What the program is and what it was made from: `type` to `prog_tags`.
    identity: [u64; 24],
    run_time_ns: u64,
    run_cnt: u64,
    recursion_misses: u64,
}

#[repr(C)]
struct InfoAttr {
    fd: u32,
    info_len: u32,
    info: u64,
}

fn info(program: &OwnedFd) -> io::Result<ProgramInfo> {
    let mut info = ProgramInfo { identity: [0; 24], run_time_ns: 0, run_cnt: 0, recursion_misses: 0 };
    let mut attr = InfoAttr {
        fd: program.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of::<ProgramInfo>()).map_err(io::Error::other)?,
        info: ptr::from_mut(&mut info) as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_layout_is_that_of_the_kernel() {
        // pahole -C bpf_prog_info on a kernel with BTF.
        assert_eq!(offset_of!(ProgramInfo, run_time_ns), 192);
        assert_eq!(offset_of!(ProgramInfo, recursion_misses), 208);
    }

    #[test]
    fn windows_stay_in_their_periods_and_do_not_keep_step() {
        assert_eq!(offset(0), Duration::ZERO);
        let mut places: Vec<u128> = (0..20).map(|n| offset(n).as_millis()).collect();
        assert!(places.iter().all(|at| *at <= SPREAD.as_millis()));
        places.sort_unstable();
        let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| gap > 50) && gaps.max() < Some(600), "{places:?}");
    }

    #[test]
    fn without_programs_there_is_nothing_and_nothing_waits() {
        let meter = Meter::start(vec![None], Counter::Here, When::Never);
        let stats = meter.read();
        assert_eq!((stats.counting, stats.misses), (Counting::Off, vec![None]));
        // With the privilege or without: reading answers at once.
        let meter = Meter::start(vec![None], Counter::Here, When::Windows);
        let stats = meter.read();
        assert!(matches!(stats.counting, Counting::Waiting | Counting::Denied(_)), "{stats:?}");
    }
}
