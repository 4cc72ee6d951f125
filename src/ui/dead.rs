//! The rows of the dead: groups of the last minutes, and the latest of one group.
//!
//! Not here: how they are added up (`probes/lives`). A filter by name applies; one by pid or cgroup does not, since the dead
//! of a group have many pids, and nobody noted their cgroups.

use std::sync::Arc;

use super::history::{History, Look};
use super::rows::Row;
use super::selection::RowId;
use crate::core::quality::Quality;
use crate::probes::lives::stats::{Group, Key};
use crate::probes::lives::window::Late;

/// The dead of one command and parent.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// What they did.
    pub group: Group,
    /// How many die each second of late.
    pub per_s: f64,
    /// The share of one CPU that they took, over all the time that is covered.
    pub cpu: f64,
    /// All those for which there was no group left.
    pub others: bool,
}

impl GroupRow {
    /// What the numbers of what they did are worth, where ends are worth `quality`.
    pub fn worth(&self, quality: Quality) -> Quality {
        quality.worst(self.group.account_quality())
    }
}

/// One that died.
#[derive(Clone, Debug)]
pub struct EndRow {
    /// It.
    pub late: Arc<Late>,
    /// How long ago, to the interval, ns.
    pub ago_ns: u64,
}

impl Row for GroupRow {
    fn id(&self) -> RowId {
        RowId::Group(if self.others { 0 } else { number_of(&self.group.comm, &self.group.parent) })
    }

    fn group(&self) -> u8 {
        u8::from(self.others)
    }
}

impl Row for EndRow {
    fn id(&self) -> RowId {
        RowId::Dead(self.late.dead.id)
    }

    fn group(&self) -> u8 {
        0
    }
}

/// A group as a number (FNV-1a of 64 bits); 0 is that of the others.
fn number_of(comm: &str, parent: &str) -> u64 {
    let bytes = comm.bytes().chain([0]).chain(parent.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)).max(1)
}

/// The groups whose names contain `text`.
pub fn groups(history: &History, look: &Look, text: &str) -> Vec<GroupRow> {
    let lives = history.lives();
    let span_ns = lives.span_ns().max(1) as f64;
    let text = text.to_lowercase();
    let passes = |group: &&Group| {
        let has = |name: &str| name.to_lowercase().contains(&text);
        look.filter.lets_name(&group.comm) && (text.is_empty() || has(&group.comm) || has(&group.parent))
    };
    let row = |group: &Group| GroupRow {
        per_s: lives.rate_of_late(&key_of(group)),
        cpu: group.recent_cpu_ns as f64 / span_ns,
        group: group.clone(),
        others: false,
    };
    let others = &lives.groups().others;
    let rest = (others.died > 0 && text.is_empty()).then(|| GroupRow { others: true, ..row(others) });
    lives.groups().iter().filter(passes).map(row).chain(rest).collect()
}

fn key_of(group: &Group) -> Key {
    (Arc::clone(&group.comm), Arc::clone(&group.parent))
}

/// The group with this number.
pub fn group(history: &History, number: u64) -> Option<&Group> {
    history.lives().groups().iter().find(|group| number_of(&group.comm, &group.parent) == number)
}

/// The latest of a group.
pub fn ends(history: &History, number: u64, text: &str) -> Vec<EndRow> {
    let (Some(group), Some(tick)) = (group(history, number), history.latest()) else { return Vec::new() };
    let now = tick.snapshot.unix_s;
    let row = |late: &Arc<Late>| EndRow { ago_ns: super::app::seconds_ns(now - late.unix_s), late: Arc::clone(late) };
    let key = key_of(group);
    let latest = history.lives().latest(&key);
    latest.filter(|late| late.dead.id.pid.to_string().contains(text)).map(row).collect()
}
