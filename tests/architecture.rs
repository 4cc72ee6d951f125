//! The layer rules of the design, kept by reading the sources: who may import what, and how long a file may be.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, without its tests.
const MAX_LINES: usize = 500;

struct Source {
    /// Path below `src`.
    path: String,
    /// Its lines without comments and without unit tests.
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.iter().map(|path| source(path, &root)).collect()
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn source(path: &Path, root: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let path = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    Source { path, code, lines: body.lines().count() }
}

/// Lines of `source` that name one of `words` as a path.
fn mentions<'a>(source: &'a Source, words: &[&str]) -> Vec<&'a str> {
    source.code.lines().filter(|line| words.iter().any(|word| names(line, word))).collect()
}

/// Does `line` name the path `word`, and not just a longer word that ends with it?
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn check(rule: &str, applies: impl Fn(&str) -> bool, forbidden: &[&str]) {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|source| applies(&source.path))
        .flat_map(|source| mentions(source, forbidden).into_iter().map(|line| format!("{}: {line}", source.path)))
        .collect();
    assert!(wrong.is_empty(), "{rule}\n{}", wrong.join("\n"));
}

fn draws(path: &str) -> bool {
    // Themes are files of the user; reading them is their job.
    (path.starts_with("ui/") && path != "ui/theme.rs") || path.ends_with("/view.rs")
}

#[test]
fn core_imports_nothing_of_ours() {
    let ours = ["crate::model", "crate::probes", "crate::ui", "crate::kernel", "crate::source", "crate::export"];
    check("core imports nothing of ours", |path| path.starts_with("core/"), &ours);
}

#[test]
fn statistics_import_core_alone() {
    let others = [
        "crate::model",
        "crate::ui",
        "crate::kernel",
        "crate::source",
        "aya::",
        "ratatui::",
        "procfs::",
        "std::fs",
        "std::time",
        "tokio::",
    ];
    check("stats.rs imports core", |path| path.ends_with("/stats.rs"), &others);
}

#[test]
fn the_model_imports_core_and_statistics() {
    let others =
        ["crate::ui", "crate::kernel", "crate::source", "aya::", "ratatui::", "procfs::", "std::fs", "tokio::"];
    check("model imports core and stats", |path| path.starts_with("model/"), &others);
}

#[test]
fn what_draws_reads_no_clock_no_file_and_no_map() {
    let others = [
        "aya::",
        "procfs::",
        "tokio::",
        "crate::kernel",
        "crate::source",
        "std::fs",
        "std::process",
        "std::net",
        "Instant::now",
        "SystemTime",
        "libc::",
        "rustix::",
    ];
    check("views and ui are functions of borrowed data", draws, &others);
}

#[test]
fn what_reads_does_not_draw() {
    let reads = |path: &str| path.starts_with("kernel/") || path.starts_with("source/") || path.ends_with("/probe.rs");
    check("only ui and views draw", reads, &["ratatui::", "crate::ui"]);
}

#[test]
fn no_file_is_too_long_and_none_is_called_utils() {
    for source in sources() {
        assert!(source.lines <= MAX_LINES, "{} has {} lines without its tests", source.path, source.lines);
        assert!(!source.path.contains("util"), "{}: name it for what it is", source.path);
    }
}

#[test]
fn the_reader_of_sources_sees_paths_and_not_parts_of_words() {
    assert!(names("use crate::ui::theme;", "crate::ui"));
    assert!(names("    std::fs::read(x)", "std::fs"));
    assert!(!names("use kscope_aya::x;", "aya::"));
}
