//! What stood out in the time of a report.

use std::fmt::Write as _;

use serde::Serialize;

use crate::core::units::printable;
use crate::verdicts::{Evidence, NOTHING, RULES, UNJUDGED, Verdict};

/// A verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The name of its rule.
    pub rule: String,
    /// When the rule speaks.
    pub when: &'static str,
    /// The sentence.
    pub sentence: String,
    /// The process it is about, if it is about one.
    pub pid: Option<u32>,
    /// Where the evidence is.
    pub evidence: Evidence,
}

/// The rows, the weightiest first.
pub fn rows(verdicts: Vec<Verdict>) -> Vec<Row> {
    let when = |name: &str| RULES.iter().find(|rule| rule.name == name).map_or("", |rule| rule.when);
    let row =
        |v: Verdict| Row { when: when(&v.rule), rule: v.rule, sentence: v.sentence, pid: v.pid, evidence: v.evidence };
    verdicts.into_iter().map(row).collect()
}

/// The sentences. `judged`: what they are made from was measured.
pub fn write(rows: &[Row], judged: bool, out: &mut String) {
    let _ = writeln!(out, "\nVerdicts");
    if rows.is_empty() {
        let _ = writeln!(out, "  {}", if judged { NOTHING } else { UNJUDGED });
    }
    for row in rows {
        let _ = writeln!(out, "  {}", printable(&row.sentence));
    }
}
