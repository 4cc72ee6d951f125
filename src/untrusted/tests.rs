use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// The corpus of a reader, each file with its path; a reader without one has nothing to begin with.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    let mut files: Vec<_> = entries.map(|entry| read(entry.unwrap().path())).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
}

/// Bytes as they come in counters: many zeros, many with all bits set, some like anything.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![2 => Just(0_u8), 1 => Just(0xff_u8), 2 => 0_u8..8, 2 => any::<u8>()];
    proptest::collection::vec(byte, 0..4_000)
}

/// What a file of the corpus may turn into: cut, and with some bytes changed.
fn damage(bytes: &[u8], cut: usize, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, byte) in changes {
        let at = at % bytes.len().max(1);
        if let Some(place) = bytes.get_mut(at) {
            *place = *byte;
        }
    }
    bytes.truncate(bytes.len().saturating_sub(cut));
    bytes
}

/// As often as the readers' cost allows.
fn runner(name: &str) -> TestRunner {
    let cases = if matches!(name, "maps") { 192 } else { 768 };
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn law(name: &str) {
    let corpus = corpus(name);
    for (path, bytes) in &corpus {
        println!("{}", path.display());
        read(name, bytes);
    }
    runner(name)
        .run(&any_bytes(), |bytes| {
            read(name, &bytes);
            Ok(())
        })
        .unwrap();
    let which = (0..corpus.len(), 0_usize..64, proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6));
    let damaged = |(at, cut, changes): (usize, usize, Vec<(usize, u8)>)| {
        read(name, &damage(&corpus[at].1, cut.saturating_sub(48), &changes));
        Ok(())
    };
    runner(name).run(&which, damaged).unwrap();
}

#[test]
fn btf_is_read_or_refused() {
    law("btf");
}

#[test]
fn netlink_is_read_or_refused() {
    law("netlink");
}

#[test]
fn files_of_procfs_are_read_or_refused() {
    law("procfs");
}

#[test]
fn maps_with_anything_in_them_are_read_subtracted_and_shown() {
    law("maps");
}

#[test]
fn filters_take_what_is_typed() {
    law("filters");
}

#[test]
fn themes_are_read_or_refused() {
    law("themes");
}

#[test]
fn fixtures_are_read_or_refused() {
    law("fixtures");
}

#[test]
fn each_reader_has_a_law_a_target_and_a_corpus() {
    let laws = include_str!("tests.rs");
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
    for Reader { name, .. } in READERS {
        assert!(laws.contains(&format!("law(\"{name}\")")), "{name} has no law");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no target");
        corpus(name);
    }
}
