//! The measurements of one loop after the other: nothing attached, one column, nothing attached, the next column, …
//!
//! A cost is what a measurement has more than the two with nothing attached beside it, tens of milliseconds away, as a
//! share of them: a CPU whose speed changes with what its neighbours do changes both alike. Where these two disagree, the
//! speed changed in between, and the measurement is repeated. Every other round goes through the columns backwards, so that
//! none always follows the same one. Tools take seconds to start: theirs are measured in blocks between blocks with nothing
//! attached, and compared half with the block before and half with the one after, so that a drift widens the spread.
//!
//! Invariant: the costs of one round stand at the same place in every column's list.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::attach;
use crate::columns::{Beside, OURS, Programs};
use crate::loops::{Loop, Worker};
use crate::tool::{Running, installed};
use crate::watch::{Watch, tracing_programs};

/// How far two measurements with nothing attached may be apart, as a share.
const STEADY: f64 = 0.04;
/// Times a measurement is repeated for it.
const REPEATS: u32 = 2;
/// Rounds that are never left out: four values have a range.
const FEW: usize = 4;
/// After so many rounds, some ten thousand processes, maps that nobody reads would be half full.
const UNREAD_ROUNDS: usize = 5;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds of a loop, at most.
    pub rounds: usize,
    /// No round is begun after so long with one loop, but for the first few.
    pub a_loop: Duration,
    /// Rounds of a loop that keeps all CPUs busy; 0 leaves it out.
    pub heavy_rounds: usize,
    /// Times each tool is started.
    pub tool_rounds: usize,
    /// Measurements of a loop each time a tool runs.
    pub tool_cells: usize,
    /// One measurement.
    pub time: Duration,
}

/// What was measured of one loop.
pub struct Row {
    /// The loop.
    pub of: Loop,
    /// Its operation with nothing attached, ns.
    pub nothing: Vec<f64>,
    /// The share of `nothing` more, for each of [`OURS`].
    pub costs: Vec<Vec<f64>>,
    /// The same beside each tool, in the order they were given.
    pub beside: Vec<Vec<f64>>,
    /// Measurements that were repeated because the CPU's speed changed.
    pub unsteady: u32,
    /// Why it could not be measured.
    pub failure: Option<String>,
    worker: Option<Worker>,
}

/// What was learned of a tool.
pub struct Peer {
    /// Its column.
    pub column: Beside,
    /// CPU time of its user space, in shares of a CPU, each time it ran.
    pub cpu: Vec<f64>,
    /// Why it could not be measured.
    pub failure: Option<String>,
}

impl Peer {
    /// Nothing of it is known yet.
    pub fn new(column: Beside) -> Self {
        Self { column, cpu: Vec::new(), failure: None }
    }
}

impl Row {
    /// Starts the loop's process.
    pub fn start(of: Loop, tools: usize) -> Self {
        let worker = Worker::start(&of);
        let failure = worker.as_ref().err().map(ToString::to_string);
        let (nothing, costs, beside) = (Vec::new(), vec![Vec::new(); OURS.len()], vec![Vec::new(); tools]);
        Self { of, nothing, costs, beside, unsteady: 0, failure, worker: worker.ok() }
    }

    fn fail(&mut self, why: &anyhow::Error) {
        self.failure = Some(format!("{why:#}"));
        self.worker = None;
    }
}

/// The programs that are attached in turn.
pub struct Loaded {
    empty: attach::Programs,
    clock: attach::Programs,
    kscope: attach::Programs,
}

impl Loaded {
    /// Loads them all.
    pub fn load() -> Result<Self> {
        let (empty, clock) = (attach::Programs::floor("empty")?, attach::Programs::floor("clock")?);
        Ok(Self { empty, clock, kscope: attach::Programs::kscope()? })
    }

    fn of(&self, which: Programs) -> &attach::Programs {
        match which {
            Programs::Empty => &self.empty,
            Programs::Clock => &self.clock,
            Programs::Kscope => &self.kscope,
        }
    }

    fn ids(&self) -> crate::watch::Programs {
        [&self.empty, &self.clock, &self.kscope].into_iter().flat_map(attach::Programs::ids).collect()
    }
}

/// Measures ours in one loop.
pub fn ours(row: &mut Row, loaded: &mut Loaded, watch: &mut Watch, effort: Effort) -> Result<()> {
    let start = Instant::now();
    let rounds = if row.of.heavy { effort.heavy_rounds } else { effort.rounds };
    for round in 0..rounds {
        if round >= FEW && start.elapsed() >= effort.a_loop {
            break;
        }
        if round == 0 || row.of.makes_processes && round % UNREAD_ROUNDS == 0 {
            loaded.kscope = attach::Programs::kscope()?;
        }
        if let Err(why) = ours_once(row, loaded, watch, effort.time * row.of.longer, round % 2 == 1) {
            row.fail(&why);
            break;
        }
    }
    Ok(())
}

fn ours_once(row: &mut Row, loaded: &Loaded, watch: &mut Watch, time: Duration, backwards: bool) -> Result<()> {
    let Some(worker) = &mut row.worker else { return Ok(()) };
    let expected = watch.with(&loaded.ids());
    let mut before = watch.measure(worker, time, &expected)?;
    row.nothing.push(before);
    for step in 0..OURS.len() {
        let at = if backwards { OURS.len() - 1 - step } else { step };
        let mut left = REPEATS;
        loop {
            let attached = loaded.of(OURS[at].programs).attach(OURS[at].insights)?;
            let ns = watch.measure(worker, time, &expected)?;
            drop(attached);
            let after = watch.measure(worker, time, &expected)?;
            let beside = f64::midpoint(before, after);
            let steady = (before - after).abs() <= STEADY * beside;
            row.nothing.push(after);
            before = after;
            if steady || left == 0 {
                row.costs[at].push(ns / beside - 1.0);
                break;
            }
            row.unsteady += 1;
            left -= 1;
        }
    }
    Ok(())
}

/// Measures all loops beside each of the tools.
pub fn tools(rows: &mut [Row], peers: &mut [Peer], watch: &mut Watch, effort: Effort) {
    for peer in peers.iter_mut().filter(|p| !installed(p.column.tool.program)) {
        peer.failure = Some("it is not installed".into());
    }
    let nothing = watch.with(&crate::watch::Programs::new());
    for round in 0..effort.tool_rounds {
        let mut before = block(rows, watch, effort, &nothing);
        for (at, peer) in peers.iter_mut().enumerate().filter(|(_, peer)| peer.failure.is_none()) {
            eprintln!("bench: round {} of {} beside {}", round + 1, effort.tool_rounds, peer.column.title);
            let running = match Running::start(peer.column.tool) {
                Ok(running) => running,
                Err(why) => {
                    peer.failure = Some(format!("{why:#}"));
                    continue;
                }
            };
            let beside = block(rows, watch, effort, &tracing_programs());
            peer.cpu.push(running.cpu_share());
            drop(running);
            let after = block(rows, watch, effort, &nothing);
            for (row, loops) in rows.iter_mut().enumerate() {
                let compared = beside[row].iter().zip(&before[row]).zip(&after[row]).enumerate();
                let costs =
                    compared.map(|(k, ((ns, before), after))| ns / if k % 2 == 0 { before } else { after } - 1.0);
                loops.beside[at].extend(costs);
            }
            before = after;
        }
    }
}

/// Some measurements of every loop.
fn block(rows: &mut [Row], watch: &mut Watch, effort: Effort, expected: &crate::watch::Programs) -> Vec<Vec<f64>> {
    let mut block = |row: &mut Row| -> Result<Vec<f64>> {
        let Some(worker) = &mut row.worker else { return Ok(Vec::new()) };
        let cells = if row.of.heavy { effort.tool_cells.min(2) } else { effort.tool_cells };
        (0..cells).map(|_| watch.measure(worker, effort.time * row.of.longer, expected)).collect()
    };
    rows.iter_mut()
        .map(|row| {
            block(row).unwrap_or_else(|why| {
                row.fail(&why);
                Vec::new()
            })
        })
        .collect()
}
