//! Which rows the table of everything has, and in what order.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::forest::Forest;
use super::row::{EveryRow, Lead, Rows as Laid};
use super::{Arrangement, Mode};
use crate::core::ident::ProcessId;
use crate::model::ProcessStats;
use crate::ui::columns::{EVERYTHING, Key};
use crate::ui::history::{History, Look};
use crate::ui::processes::contains;
use crate::ui::rows::{Row as _, Rows};
use crate::ui::selection::{Ids, RowId};

/// The rows.
#[derive(Debug, Default)]
pub struct EveryList {
    /// What the user chose.
    pub arrangement: Arrangement,
    laid: Option<Arc<Laid>>,
    /// Places of those that are not hidden in a folded row.
    shown: Vec<u32>,
}

/// What a row is sorted by, kept.
#[derive(Clone, Debug)]
enum Kept {
    Number(Option<f64>),
    Text(String),
}

impl Kept {
    const fn key(&self) -> Key<'_> {
        match self {
            Self::Number(number) => Key::Number(*number),
            Self::Text(text) => Key::Text(text.as_str()),
        }
    }
}

impl EveryList {
    /// A list that is arranged like this.
    pub fn new(arrangement: Arrangement) -> Self {
        Self { arrangement, ..Self::default() }
    }

    /// Lists nothing.
    pub fn clear(&mut self) {
        self.laid = None;
        self.shown.clear();
    }

    /// Lists the processes of the newest interval that pass the filter and contain `text`, in the order of a column.
    pub fn list(&mut self, (history, look): (&History, &Look), text: &str, sort: usize, falling: bool) {
        self.clear();
        let Some(tick) = history.latest() else { return };
        let (text, mut scratch) = (text.to_lowercase(), String::new());
        let all = tick.snapshot.processes.iter().zip(0_u32..);
        let passing = all.filter(|(p, _)| look.passes(p) && contains(p, &text, &mut scratch));
        let mut leads: Vec<Lead> = passing.map(|(_, place)| Lead::Process(place)).collect();
        let processes = &tick.snapshot.processes;
        let parents = match self.arrangement.mode {
            Mode::Flat => vec![None; leads.len()],
            Mode::Tree => by_parent(&leads, processes),
            Mode::Cgroups => by_cgroup(&mut leads, processes),
        };
        let forest = Forest::new(parents.into_iter());
        let laid = |leads, nodes| Laid { tick: Arc::clone(tick), leads, nodes, hide_waiting: look.hide_waiting };
        let leads: Arc<[Lead]> = leads.into();
        let keys = keys(&Arc::new(laid(Arc::clone(&leads), forest.laid_out(|a, b| a.cmp(&b)))), sort);
        let nodes = forest.laid_out(|a, b| order(&keys, falling, a, b));
        self.laid = Some(Arc::new(laid(leads, nodes)));
        self.show();
    }

    /// Finds out which rows are hidden in folded ones.
    fn show(&mut self) {
        let Some(laid) = &self.laid else { return };
        let mut row = EveryRow::new(laid);
        let mut at = 0;
        while at < laid.nodes.len() {
            self.shown.push(u32::try_from(at).unwrap_or(u32::MAX));
            row.turn_to(at, false);
            let folded = row.below > 0 && self.arrangement.folded.contains(&row.id());
            at += if folded { row.below + 1 } else { 1 };
        }
    }

    /// Do rows stand below each other?
    pub fn is_tree(&self) -> bool {
        self.arrangement.mode != Mode::Flat
    }

    /// All roots that have something below them.
    pub fn roots(&self) -> Vec<RowId> {
        let Some(laid) = &self.laid else { return Vec::new() };
        let mut row = EveryRow::new(laid);
        let roots = (0..laid.nodes.len()).filter(|&at| laid.nodes[at].depth == 0);
        let of = |at| {
            row.turn_to(at, false);
            (row.below > 0).then(|| row.id())
        };
        roots.filter_map(of).collect()
    }

    /// Processes in all, those hidden in folded rows included.
    pub fn processes(&self) -> usize {
        self.laid.as_ref().map_or(0, |l| l.leads.iter().filter(|lead| matches!(lead, Lead::Process(_))).count())
    }

    /// The row at a place on the screen.
    fn row(&self, at: usize) -> Option<EveryRow> {
        let (laid, &place) = (self.laid.as_ref()?, self.shown.get(at)?);
        let mut row = EveryRow::new(laid);
        row.turn_to(place as usize, false);
        if row.below > 0 && self.arrangement.folded.contains(&row.id()) {
            row.turn_to(place as usize, true);
            row.folded = true;
        }
        Some(row)
    }
}

/// What each item is sorted by: with all that is below it, whether that is shown or not.
fn keys(laid: &Arc<Laid>, sort: usize) -> Vec<(Kept, RowId)> {
    let mut keys = vec![(Kept::Number(None), RowId::Call(0)); laid.leads.len()];
    let Some(key) = EVERYTHING.get(sort).and_then(|column| column.key) else { return keys };
    let mut row = EveryRow::new(laid);
    for (at, node) in laid.nodes.iter().enumerate() {
        row.turn_to(at, true);
        let kept = match key(&row) {
            Key::Number(number) => Kept::Number(number),
            Key::Text(text) => Kept::Text(text.to_owned()),
        };
        keys[node.item as usize] = (kept, row.id());
    }
    keys
}

fn order(keys: &[(Kept, RowId)], falling: bool, a: u32, b: u32) -> Ordering {
    let ((a, a_id), (b, b_id)) = (&keys[a as usize], &keys[b as usize]);
    a.key().compare(b.key(), falling).then_with(|| a_id.cmp(b_id))
}

/// The parent of each, where it is listed.
fn by_parent(leads: &[Lead], processes: &[ProcessStats]) -> Vec<Option<u32>> {
    let of = |lead: &Lead| if let Lead::Process(place) = lead { processes.get(*place as usize) } else { None };
    let mut pids: HashMap<u32, u32> = HashMap::with_capacity(leads.len());
    let mut identities: HashMap<ProcessId, u32> = HashMap::with_capacity(leads.len());
    for (process, item) in leads.iter().filter_map(of).zip(0_u32..) {
        identities.insert(process.id, item);
        // Of several that had a pid in the interval the one that lives is meant.
        if !process.exited || !pids.contains_key(&process.id.pid) {
            pids.insert(process.id.pid, item);
        }
    }
    let parent = |process: &ProcessStats| {
        let adopted = pids.get(&process.ident.ppid).filter(|_| process.ident.ppid != process.id.pid);
        adopted.or_else(|| identities.get(&process.parent?)).copied()
    };
    leads.iter().map(|lead| of(lead).and_then(parent)).collect()
}

/// Appends the cgroups to the processes, and says what is below what.
fn by_cgroup(leads: &mut Vec<Lead>, processes: &[ProcessStats]) -> Vec<Option<u32>> {
    let mut known: HashMap<Arc<str>, u32> = HashMap::new();
    let mut parents: Vec<Option<u32>> = Vec::with_capacity(leads.len());
    let mut groups: Vec<(Lead, Option<u32>)> = Vec::new();
    let first = u32::try_from(leads.len()).unwrap_or(u32::MAX);
    for lead in leads.iter() {
        let Lead::Process(place) = lead else { continue };
        let path = processes.get(*place as usize).map_or("", |p| p.ident.cgroup.as_str());
        parents.push(Some(group(path, &mut known, &mut groups, first)));
    }
    for (lead, parent) in groups {
        leads.push(lead);
        parents.push(parent);
    }
    parents
}

/// The item of a cgroup, made with those above it if it is new.
fn group(path: &str, known: &mut HashMap<Arc<str>, u32>, groups: &mut Vec<(Lead, Option<u32>)>, first: u32) -> u32 {
    let path = if path.is_empty() { "/" } else { path };
    if let Some(item) = known.get(path) {
        return *item;
    }
    let mut parent = None;
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
    let mut from = 0;
    for end in ends {
        let part = &path[..end];
        let item = if let Some(item) = known.get(part) {
            *item
        } else {
            let shared: Arc<str> = part.into();
            let item = first + u32::try_from(groups.len()).unwrap_or(u32::MAX);
            groups.push((Lead::Cgroup(Arc::clone(&shared), from), parent));
            known.insert(shared, item);
            item
        };
        (parent, from) = (Some(item), end + 1);
    }
    parent.unwrap_or(first)
}

impl Rows<EveryRow> for &EveryList {
    fn count(&self) -> usize {
        self.shown.len()
    }

    fn with<T>(&self, at: usize, look: impl FnOnce(&EveryRow) -> T) -> Option<T> {
        self.row(at).map(|row| look(&row))
    }
}

impl Ids for EveryList {
    fn count(&self) -> usize {
        self.shown.len()
    }

    fn at(&self, index: usize) -> Option<RowId> {
        self.row(index).map(|row| row.id())
    }

    fn find(&self, id: RowId) -> Option<usize> {
        let laid = self.laid.as_ref()?;
        let mut row = EveryRow::new(laid);
        self.shown.iter().position(|&place| {
            row.turn_to(place as usize, false);
            row.id() == id
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::histogram::Histogram;
    use crate::core::latency::LatencyStats;
    use crate::model::{Ident, Snapshot};
    use crate::probes::disk::stats::DiskTraffic;
    use crate::probes::network::stats::Traffic;
    use crate::probes::syscalls::stats::CallStats;
    use crate::probes::time::stats::TimeSplit;
    use proptest::prelude::*;

    fn process(pid: u32, parent: u32, n: u64, cgroup: &str) -> ProcessStats {
        let mut latency = LatencyStats::empty();
        latency.histogram = Histogram::new();
        latency.histogram.add(u16::try_from(n % 200).unwrap(), n);
        latency.errors = n / 2;
        let ident = Ident { comm: format!("p{pid}"), ppid: parent, cgroup: cgroup.into(), ..Ident::default() };
        ProcessStats {
            id: ProcessId { pid, birth: 1 },
            ident: Arc::new(ident),
            threads: u32::try_from(n).unwrap(),
            calls: vec![CallStats { nr: 0, latency }],
            traffic: Traffic { tx_bytes: 3 * n, rx_bytes: 5 * n, ..Traffic::default() },
            time: TimeSplit {
                user_ns: n,
                kernel_ns: 2 * n,
                runnable_ns: 7 * n,
                blocked_ns: 11 * n,
                ..TimeSplit::default()
            },
            disk: DiskTraffic { write_bytes: 19 * n, ..DiskTraffic::default() },
            voluntary: 13 * n,
            preempted: 17 * n,
            ..ProcessStats::default()
        }
    }

    fn history(processes: Vec<ProcessStats>) -> History {
        let mut history = History::default();
        let snapshot = Snapshot { interval_ns: 1_000_000_000, processes, ..Snapshot::default() };
        history.push(Arc::new(snapshot), &Look::default());
        history
    }

    fn listed(list: &mut EveryList, history: &History, title: &str, falling: bool) -> Vec<EveryRow> {
        let sort = EVERYTHING.iter().position(|c| c.title == title).unwrap();
        list.list((history, &Look::default()), "", sort, falling);
        (0..list.shown.len()).filter_map(|at| list.row(at)).collect()
    }

    /// Everything that adds up.
    fn numbers(row: &EveryRow) -> [u64; 12] {
        let (time, traffic) = (row.time(), row.traffic());
        [
            row.sum(|p| p.threads.into()),
            time.user_ns,
            time.kernel_ns,
            time.runnable_ns,
            time.blocked_ns,
            traffic.tx_bytes,
            traffic.rx_bytes,
            row.sum(|p| p.voluntary),
            row.sum(|p| p.preempted),
            row.calls().count,
            row.calls().errors,
            row.disk().write_bytes,
        ]
    }

    fn names(rows: &[EveryRow]) -> Vec<String> {
        rows.iter().map(|row| row.process().map_or("?".into(), |p| p.ident.comm.clone())).collect()
    }

    proptest! {
        #[test]
        fn a_folded_row_is_the_sum_of_its_parts_in_every_mode(
            family in proptest::collection::vec((0_u32..30, 0_u64..1_000, 0_usize..5), 1..40),
            falling in any::<bool>(),
        ) {
            let groups = ["", "/", "/a", "/a/b", "/a/c.service"];
            let processes: Vec<_> =
                family.iter().zip(1_u32..).map(|(&(ppid, n, g), pid)| process(pid, ppid, n, groups[g])).collect();
            let history = history(processes);
            let mut list = EveryList::default();
            let all = listed(&mut list, &history, "on-cpu", falling);
            let whole = all.iter().map(numbers).reduce(|a, b| std::array::from_fn(|at| a[at] + b[at])).unwrap();
            for mode in [Mode::Tree, Mode::Cgroups] {
                list.arrangement.mode = mode;
                list.arrangement.folded.clear();
                let open = listed(&mut list, &history, "on-cpu", falling);
                prop_assert_eq!(open.iter().filter(|row| row.process().is_some()).count(), family.len());
                // Folded one after the other, each is the sum of the processes that it hides and its own.
                for row in &open {
                    let at = open.iter().position(|r| r.id() == row.id()).unwrap();
                    let parts = open[at..=at + row.below].iter().filter(|part| part.process().is_some());
                    let sum = parts.map(numbers).fold([0; 12], |a, b| std::array::from_fn(|at| a[at] + b[at]));
                    list.arrangement.folded = [row.id()].into();
                    let folded = listed(&mut list, &history, "on-cpu", falling);
                    prop_assert_eq!(folded.len(), open.len() - row.below);
                    // And folding moves nothing else.
                    prop_assert_eq!(folded[at].id(), row.id());
                    prop_assert_eq!(numbers(&folded[at]), sum);
                }
                list.arrangement.folded = list.roots().into_iter().collect();
                let roots = listed(&mut list, &history, "on-cpu", falling);
                let sum = roots.iter().map(numbers).reduce(|a, b| std::array::from_fn(|at| a[at] + b[at])).unwrap();
                prop_assert_eq!(sum, whole);
            }
        }
    }

    #[test]
    fn siblings_are_sorted_by_what_is_below_them() {
        let history = history(vec![
            process(1, 0, 1, ""),
            process(2, 1, 5, ""),
            process(3, 1, 2, ""),
            process(4, 3, 9, ""),
            process(5, 0, 7, ""),
        ]);
        let mut list = EveryList::default();
        list.arrangement.mode = Mode::Tree;
        assert_eq!(names(&listed(&mut list, &history, "on-cpu", true)), ["p1", "p3", "p4", "p2", "p5"]);
        assert_eq!(names(&listed(&mut list, &history, "on-cpu", false)), ["p5", "p1", "p2", "p3", "p4"]);
        assert_eq!(names(&listed(&mut list, &history, "COMMAND", false)), ["p1", "p2", "p3", "p4", "p5"]);
        list.arrangement.mode = Mode::Flat;
        assert_eq!(names(&listed(&mut list, &history, "on-cpu", true)), ["p4", "p5", "p2", "p3", "p1"]);
    }

    #[test]
    fn a_cgroup_has_its_own_part_of_the_path_as_name() {
        let history = history(vec![process(1, 0, 1, "/a/b"), process(2, 0, 3, "/a"), process(3, 0, 1, "")]);
        let mut list = EveryList::default();
        list.arrangement.mode = Mode::Cgroups;
        let rows = listed(&mut list, &history, "on-cpu", true);
        let shown: Vec<(u16, String)> = rows
            .iter()
            .map(|r| (r.depth, r.process().map_or_else(|| r.lead().unwrap().label().into(), |p| p.ident.comm.clone())))
            .collect();
        let expected = [(0, "/a"), (1, "p2"), (1, "b"), (2, "p1"), (0, "/"), (1, "p3")];
        assert_eq!(shown, expected.map(|(depth, name)| (depth, name.to_owned())));
    }
}
