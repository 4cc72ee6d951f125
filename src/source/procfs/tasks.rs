//! Reads every process and thread that procfs shows.
//!
//! Each thread's `schedstat` is read in each sample; what can only have changed if it ran is read only then.
//!
//! Invariant: a process is in a sample once, and once more after it is gone, with what was known of it last.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};

use super::account::{Account, Counters, Reading};
use super::texts::{self, Schedstat, Stat};
use crate::core::ident::ProcessId;
use crate::core::latency::Unsorted;
use crate::model::ProcessSample;
use crate::probes::disk::stats::DiskTraffic;
use crate::probes::time::account::{self, ProcessReading};
use crate::probes::time::stats::Doing;
use crate::source::procs::Processes;

/// What is known of one process.
#[derive(Debug, Default)]
struct Life {
    account: Account,
    disk: DiskTraffic,
    /// Its bytes of block devices are not ours to read.
    denied: bool,
    /// Its name, and how often that changed.
    comm: Vec<u8>,
    renamed: u64,
    reading: ProcessReading,
    /// Times its threads had got a CPU when its bytes were read.
    runs: u64,
    /// In the reading that is being made.
    is_here: bool,
}

/// All processes.
#[derive(Debug, Default)]
pub struct Tasks {
    lives: HashMap<ProcessId, Life>,
    names: Processes,
    /// The first reading was made: who is new now was born since.
    begun: bool,
    buffer: Vec<u8>,
    /// Those of the last reading, by pid, and which of them were new.
    ids: HashMap<u32, ProcessId>,
    born: Vec<ProcessId>,
}

impl Tasks {
    /// Reads what all processes did, as of `since_boot_ns`; if `only` names pids, then only theirs.
    pub fn count(&mut self, only: &[u32], since_boot_ns: u64) -> io::Result<()> {
        self.lives.values_mut().for_each(|life| life.is_here = false);
        let pids = if only.is_empty() { pids("/proc")? } else { only.to_vec() };
        self.ids.clear();
        let mut born = Vec::new();
        for pid in pids {
            let Some(id) = self.read_process(pid, since_boot_ns, &mut born) else { continue };
            self.ids.insert(pid, id);
        }
        self.born = born;
        Ok(())
    }

    /// The processes that were read last, by identity, with their names and parents.
    pub fn complete(&mut self) -> Vec<ProcessSample> {
        self.names.next_round();
        let (ids, born) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.born));
        if self.begun {
            for id in born {
                self.adopt(id, &ids);
            }
        }
        self.begun = true;
        let mut samples: Vec<ProcessSample> = self.lives.iter().map(|(id, life)| life.sample(*id)).collect();
        samples.sort_unstable_by_key(|sample| sample.id);
        for sample in &mut samples {
            if let Some(life) = self.lives.get(&sample.id) {
                sample.ident = self.names.ident(sample.id, &life.reading, life.renamed, sample.exited);
            }
        }
        for id in samples.iter().filter(|s| s.exited).map(|s| s.id) {
            self.lives.remove(&id);
            self.names.forget(id);
        }
        samples
    }

    /// Reads one process; `None` if it is gone.
    fn read_process(&mut self, pid: u32, since_boot_ns: u64, born: &mut Vec<ProcessId>) -> Option<ProcessId> {
        let dir = format!("/proc/{pid}");
        let bytes = read(&format!("{dir}/stat"), &mut self.buffer)?.to_vec();
        let stat = texts::stat(&bytes)?;
        let id = ProcessId { pid, birth: birth(stat.start_ns) };
        let life = self.lives.entry(id).or_insert_with(|| {
            born.push(id);
            Life { comm: stat.comm.to_vec(), ..Life::default() }
        });
        let threads = threads(&dir, (pid, stat.threads), &life.account, &mut self.buffer);
        let (reading, age_ns) = (&mut life.reading, since_boot_ns.saturating_sub(stat.start_ns));
        (reading.threads, reading.start_ns, reading.kthread) = (stat.threads, stat.start_ns, stat.kthread);
        (reading.state, reading.ran_on) = (doing(stat.state), 1 << (stat.cpu % u128::BITS));
        // A zombie has ended, and its numbers stay as they are until somebody asks how.
        let runs = stat.threads <= 1 && stat.state == b'R';
        life.account.update(&Reading { threads, user_ns: stat.user_ns, kernel_ns: stat.kernel_ns, runs, age_ns });
        life.notice(&dir, &stat, &mut self.buffer);
        Some(id)
    }

    /// Says whose child a process is that was born while we looked.
    fn adopt(&mut self, id: ProcessId, ids: &HashMap<u32, ProcessId>) {
        let Some(life) = self.lives.get_mut(&id) else { return };
        let path = format!("/proc/{}/stat", id.pid);
        let Some(bytes) = read(&path, &mut self.buffer) else { return };
        life.reading.parent = texts::stat(bytes).and_then(|stat| ids.get(&stat.ppid).copied());
    }
}

impl Life {
    /// Takes in what changes only when it ran: its name, and its bytes of block devices.
    fn notice(&mut self, dir: &str, stat: &Stat<'_>, buffer: &mut Vec<u8>) {
        if self.comm != stat.comm {
            self.comm = stat.comm.to_vec();
            self.renamed += 1;
        }
        self.is_here = true;
        self.reading.account = account::Account { time: self.account.time(), ..account::Account::default() };
        let runs = self.account.counters().waits.count;
        if self.denied || stat.kthread || runs == self.runs && runs > 0 {
            self.disk.hidden = u32::from(self.denied || stat.kthread);
            return;
        }
        self.runs = runs;
        if let Some((read_bytes, write_bytes)) = read(&format!("{dir}/io"), buffer).and_then(texts::io) {
            self.disk = DiskTraffic { read_bytes, write_bytes, ..DiskTraffic::default() };
        } else {
            (self.denied, self.disk.hidden) = (true, 1);
        }
    }

    fn sample(&self, id: ProcessId) -> ProcessSample {
        let counters = self.account.counters();
        ProcessSample {
            id,
            parent: self.reading.parent,
            start_ns: self.reading.start_ns,
            doing: if self.is_here { self.reading.state } else { Doing::Unknown },
            threads: if self.is_here { self.reading.threads } else { 0 },
            exited: !self.is_here,
            time: self.account.time(),
            waits: counters.waits,
            ran_on: self.reading.ran_on,
            disk: self.disk,
            voluntary: counters.voluntary,
            preempted: counters.preempted,
            ..ProcessSample::default()
        }
    }
}

/// The threads of a process, with what they did; those that are gone meanwhile are left out.
fn threads(dir: &str, (pid, count): (u32, u32), before: &Account, buffer: &mut Vec<u8>) -> Vec<(u32, Counters)> {
    let ids = if count > 1 { pids(&format!("{dir}/task")).unwrap_or_default() } else { vec![pid] };
    let mut thread = |tid: u32| {
        let path = format!("{dir}/task/{tid}");
        let counted = texts::schedstat(read(&format!("{path}/schedstat"), buffer)?)?;
        let was = before.thread(tid).copied().unwrap_or_default();
        let Schedstat { on_cpu_ns, delay_ns, runs } = counted;
        let now = Counters { on_cpu_ns, waits: Unsorted { count: runs, total_ns: delay_ns }, ..was };
        if now == was {
            return Some((tid, was));
        }
        let switches = read(&format!("{path}/status"), buffer).and_then(texts::switches);
        let (voluntary, preempted) = switches.unwrap_or((was.voluntary, was.preempted));
        Some((tid, Counters { voluntary, preempted, ..now }))
    };
    ids.into_iter().filter_map(&mut thread).collect()
}

/// The numbers that entries of a directory have as names.
fn pids(dir: &str) -> io::Result<Vec<u32>> {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(fs::read_dir(dir)?.filter_map(number).collect())
}

/// The whole of a small file.
fn read<'a>(path: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    File::open(path).ok()?.read_to_end(buffer).ok()?;
    Some(buffer)
}

/// The start of a process in units of 1024 ns, as an identity has it; of those that started in the same hundredth of a second
/// it is the same, but they have different pids.
fn birth(start_ns: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 by definition")]
    let birth = (start_ns >> 10) as u32;
    birth
}

/// The kernel's letter for the state of a thread (`task_state_array` of fs/proc/array.c).
const fn doing(letter: u8) -> Doing {
    match letter {
        b'R' => Doing::Runs,
        b'D' => Doing::DiskSleep,
        b'S' | b'I' | b'T' | b't' => Doing::Sleeps,
        _ => Doing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn boot_ns() -> u64 {
        crate::source::host::boottime_ns()
    }

    fn own(samples: &[ProcessSample]) -> &ProcessSample {
        samples.iter().find(|s| s.id.pid == std::process::id()).unwrap()
    }

    fn read_all(tasks: &mut Tasks, only: &[u32]) -> Vec<ProcessSample> {
        tasks.count(only, boot_ns()).unwrap();
        tasks.complete()
    }

    #[test]
    fn this_process_is_read_with_its_threads_and_its_time_grows() {
        let mut tasks = Tasks::default();
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        let first = read_all(&mut tasks, &[]);
        assert!(first.is_sorted_by_key(|s| s.id) && first.iter().any(|s| s.id.pid == 1));
        let before = own(&first);
        assert!(before.threads >= 2 && !before.exited && !before.ident.comm.is_empty() && before.disk.hidden == 0);
        drop(stop);
        let _ = thread.join();
        // Longer than procfs may keep it to itself: a tick, of 10 ms at most.
        let own_time = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let (begun, enough) = (own_time(), rustix::time::Timespec { tv_sec: 0, tv_nsec: 30_000_000 });
        while own_time() - begun < enough {}
        let now = read_all(&mut tasks, &[]);
        assert!(own(&now).time.on_cpu_ns() > before.time.on_cpu_ns());
        assert_eq!(own(&now).id, before.id);
    }

    #[test]
    fn a_process_that_is_gone_is_there_once_more() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let mut tasks = Tasks::default();
        let only = [child.id()];
        assert_eq!(read_all(&mut tasks, &only).len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        let last = read_all(&mut tasks, &only);
        assert!(
            last.len() == 1 && last[0].exited && last[0].threads == 0 && !last[0].ident.comm.is_empty(),
            "{last:?}"
        );
        assert!(read_all(&mut tasks, &only).is_empty());
    }
}
