//! The trials that did not run, said in the last line: a run that leaves trials out must not look like one that ran them.
//!
//! Where `KSCOPE_LEFT_OUT` names a file the line is written to it, too: `make test` ends with it, after the results of other
//! tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use libtest_mimic::Conclusion;

static LEFT_OUT: Mutex<BTreeMap<String, Vec<&'static str>>> = Mutex::new(BTreeMap::new());

/// A trial did not run, for this reason.
pub fn note(trial: &'static str, reason: &str) {
    LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner).entry(reason.to_owned()).or_default().push(trial);
}

/// Says how many did not run, and which, by reason.
pub fn say(conclusion: &Conclusion) {
    let all = conclusion.num_passed + conclusion.num_failed + conclusion.num_ignored;
    // Of a list, or of a filter that no trial matched, there is nothing to say.
    if all == 0 {
        return;
    }
    let line = line(all, &LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner));
    println!("{line}");
    if let Some(path) = std::env::var_os("KSCOPE_LEFT_OUT") {
        std::fs::write(path, format!("{line}\n")).unwrap();
    }
}

fn line(all: u64, left_out: &BTreeMap<String, Vec<&str>>) -> String {
    let count: usize = left_out.values().map(Vec::len).sum();
    if count == 0 {
        return format!("truth: all {all} trials ran");
    }
    let mut line = format!("truth: {count} of {all} trials did not run: ");
    for (at, (reason, trials)) in left_out.iter().enumerate() {
        let between = if at == 0 { "" } else { "; " };
        write!(line, "{between}{} ({reason})", trials.join(", ")).unwrap();
    }
    line
}
