//! What "flat" means, and whether it was.
//!
//! The history fills in the first half, and so does what a process learns of a busy host. So growth is that from the third quarter to the
//! last, median against median: a leak goes on, and one look that falls on a moment of work decides nothing.

use std::fmt::Write as _;

use crate::drift::WHAT;
use crate::record::{Record, Soak, mib};

/// So much may memory grow, MiB.
const MOST_MIB: f64 = 1.0;
/// So much may a sum over all the time differ, percent.
const MOST_DRIFT: f64 = 2.0;

/// A rule, and what came of it.
pub struct Rule {
    /// Was it kept?
    pub holds: bool,
    /// What was asked and what was seen.
    pub said: String,
}

/// A number of a record.
type Of = fn(&Record) -> f64;

/// All rules.
pub fn judge(soak: &Soak) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (name, of) in [("RSS", (|r| mib(r.used.rss_kib)) as Of), ("PSS", |r| mib(r.used.pss_kib))] {
        let grown = growth(&soak.records, of);
        let said =
            format!("{name} grows by less than {MOST_MIB} MiB from the third quarter to the last: {grown:+.2} MiB");
        rules.push(Rule { holds: grown < MOST_MIB, said });
    }
    let counts: [(&str, Of); 3] = [
        ("processes", |r| r.used.processes as f64),
        ("threads", |r| r.used.threads as f64),
        ("descriptors", |r| r.used.descriptors as f64),
    ];
    for (name, of) in counts {
        let (first, second) = soak.records.split_at(soak.records.len() / 2);
        let grown = most(second, of) - most(first, of);
        let said = format!("{name} are not more in the second half than they were in the first: {grown:+.0}");
        rules.push(Rule { holds: grown <= 0.0, said });
    }
    let still = soak.records.iter().filter(|r| r.drawn == 0).count();
    rules.push(Rule { holds: still == 0, said: format!("it draws between any two looks: not before {still} of them") });
    let lost = soak.whole.0.0 + soak.records.iter().map(|r| r.lost.0).sum::<u64>();
    rules.push(Rule { holds: lost == 0, said: format!("nothing is lost: {lost}") });
    for (name, drift) in WHAT.iter().zip(soak.whole.1) {
        let said = match drift {
            Some(drift) => format!("{name}, summed over all the time, within {MOST_DRIFT} %: {drift:+.3} %"),
            None => format!("{name}: nothing to compare with"),
        };
        rules.push(Rule { holds: drift.is_some_and(|drift| drift.abs() < MOST_DRIFT), said });
    }
    rules
}

/// As a list.
pub fn list(rules: &[Rule]) -> String {
    let mut out = String::new();
    for rule in rules {
        let _ = writeln!(out, "* {}: {}", if rule.holds { "kept" } else { "**not kept**" }, rule.said);
    }
    out
}

fn growth(records: &[Record], of: fn(&Record) -> f64) -> f64 {
    let quarter = records.len() / 4;
    let (before, last) = records.split_at(records.len() - quarter);
    median(last, of) - median(&before[before.len() - quarter.min(before.len())..], of)
}

fn most(records: &[Record], of: fn(&Record) -> f64) -> f64 {
    records.iter().map(of).fold(0.0, f64::max)
}

fn median(records: &[Record], of: fn(&Record) -> f64) -> f64 {
    let mut values: Vec<f64> = records.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
