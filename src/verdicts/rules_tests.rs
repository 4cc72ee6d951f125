//! Every rule on facts captured from the situation it is about, and all rules on a machine at rest.

use std::fs;
use std::path::PathBuf;

use super::super::{Facts, Verdict, verdicts};
use super::*;

fn fixture(name: &str) -> Vec<Facts> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/verdicts/{name}.json"));
    serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn said(name: &str) -> Vec<Verdict> {
    verdicts(&Window::new(fixture(name).iter()))
}

/// The situations that were captured, and the rules that must speak of each.
const SITUATIONS: &[(&str, &[&str])] = &[
    ("contended", &["slower", "starved", "one_cpu"]),
    ("stuck", &["locked", "uninterruptible"]),
    ("short_lives", &["short_lives"]),
];

#[test]
fn each_rule_speaks_of_its_situation() {
    for (situation, rules) in SITUATIONS {
        let said = said(situation);
        for rule in *rules {
            assert!(said.iter().any(|v| v.rule == *rule), "{rule} in {situation}: {said:?}");
        }
        assert!(said.len() <= super::super::SHOWN, "{said:?}");
    }
    let tested = |rule: &Rule| SITUATIONS.iter().any(|(_, rules)| rules.contains(&rule.name));
    assert!(RULES.iter().all(tested), "a rule without a situation");
}

#[test]
fn who_ran_meanwhile_is_named() {
    let said = said("contended");
    let sentence = &said.iter().find(|v| v.rule == "slower").unwrap().sentence;
    assert!(sentence.contains("waiting for a CPU; on the same CPUs truth-hog (3 processes) ran most"), "{sentence}");
}

#[test]
fn at_rest_there_is_nothing_to_say() {
    assert_eq!(said("rest"), []);
    assert_eq!(verdicts(&Window::new([].iter())), []);
}

#[test]
fn the_same_facts_give_the_same_sentences() {
    assert_eq!(said("contended"), said("contended"));
}

#[test]
fn nothing_is_compared_before_there_is_something_to_compare_with() {
    let facts = fixture("contended");
    let short = &facts[facts.len() - 4..];
    assert!(verdicts(&Window::new(short.iter())).iter().all(|v| v.rule != "slower"));
}

#[test]
fn what_is_not_measured_is_not_judged() {
    let mut facts = fixture("contended");
    for interval in &mut facts {
        interval.time_known = false;
    }
    assert!(verdicts(&Window::new(facts.iter())).iter().all(|v| v.rule != "starved"));
}
