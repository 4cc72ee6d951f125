//! The inventory of unsafe code, `docs/unsafe.md`: made from the sources, and held against them. clippy asks for the comment on each
//! block in user space; the programs in the kernel, which it does not see, are asked here.
//!
//! What tests and benchmarks do is not in it: it is not shipped.
//!
//! Invariant: an unsafe block without a `SAFETY` comment, or of no known kind, is a failure, and so is an inventory that is not that of
//! the sources. `INVENTORY=write cargo test --test unsafe_inventory` writes it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = "docs/unsafe.md";
const BEGIN: &str = "<!-- inventory: begin -->";
const END: &str = "<!-- inventory: end -->";
/// What is shipped.
const ROOTS: [&str; 3] = ["src", "ebpf/src", "ebpf/layout/src"];
/// So many lines above a block its reason begins at most.
const REACH: usize = 14;
/// The longest block.
const LONGEST: usize = 24;

/// Kinds of unsafe code: name, and what tells one. The first that fits counts.
const KINDS: [(&str, &[&str]); 10] = [
    ("fence", &["asm!("]),
    ("helper", &["bpf_"]),
    ("mapping", &["mmap(", "munmap("]),
    ("call", &["libc::", "pre_exec", "from_raw_fd"]),
    ("send", &["unsafe impl Send", "unsafe impl Sync"]),
    ("atomic", &["atomic_"]),
    ("shared", &["_volatile("]),
    ("plain", &["transmute", "zeroed()"]),
    ("kernel", &["cast::<T>().read()", ".read()", "field(", "field::<", "cast::<*const u8>()"]),
    ("entry", &["*", "as_ptr()", "&raw", ".add("]),
];

struct Block {
    file: String,
    line: usize,
    kind: Option<&'static str>,
    has_reason: bool,
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn blocks() -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for dir in ROOTS {
        collect(&root.join(dir), &mut paths);
    }
    paths.iter().flat_map(|path| of_file(&path.strip_prefix(root).unwrap().to_string_lossy(), path)).collect()
}

fn of_file(name: &str, path: &Path) -> Vec<Block> {
    let text = fs::read_to_string(path).unwrap();
    let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines: Vec<&str> = shipped.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        for _ in 0..unsafe_in(line) {
            let from = at.saturating_sub(REACH);
            let has_reason = lines[from..=at].iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety"));
            found.push(Block { file: name.into(), line: at + 1, kind: kind_of(&lines[at..]), has_reason });
        }
    }
    found
}

/// Unsafe blocks, functions and implementations that begin in a line.
fn unsafe_in(line: &str) -> usize {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe impl ", "unsafe fn ", "unsafe extern "].iter().map(|what| code.matches(what).count()).sum()
}

/// The kind of the block that begins in the first of these lines.
fn kind_of(lines: &[&str]) -> Option<&'static str> {
    let first = lines.first()?;
    let begin = first.find("unsafe")?;
    let mut text = String::from(&first[begin..]);
    for line in lines.iter().skip(1).take(LONGEST) {
        if text.contains('{') && text.matches('{').count() <= text.matches('}').count() {
            break;
        }
        text.push('\n');
        text.push_str(line.split("//").next().unwrap_or_default());
    }
    KINDS.iter().find(|(_, signs)| signs.iter().any(|sign| text.contains(sign))).map(|(kind, _)| *kind)
}

fn inventory(blocks: &[Block]) -> String {
    let mut files: BTreeMap<(bool, &str), BTreeMap<&str, usize>> = BTreeMap::new();
    for block in blocks {
        let kinds = files.entry((block.file.starts_with("ebpf"), &block.file)).or_default();
        *kinds.entry(block.kind.unwrap_or("?")).or_default() += 1;
    }
    let sum = |ebpf: bool| files.iter().filter(|((e, _), _)| *e == ebpf).flat_map(|(_, k)| k.values()).sum::<usize>();
    let mut out = format!(
        "{} in user space, {} in the programs in the kernel.\n\n| file | blocks | kinds |\n|---|--:|---|\n",
        sum(false),
        sum(true)
    );
    for ((_, file), kinds) in &files {
        let list: Vec<String> = kinds.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        let _ = writeln!(out, "| `{file}` | {} | {} |", kinds.values().sum::<usize>(), list.join(", "));
    }
    out
}

#[test]
fn each_block_says_why_it_is_safe_and_is_of_a_known_kind() {
    let wrong: Vec<String> = blocks()
        .iter()
        .filter(|block| !block.has_reason || block.kind.is_none())
        .map(|block| format!("{}:{} {:?} reason: {}", block.file, block.line, block.kind, block.has_reason))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_inventory_is_that_of_the_sources() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let old = fs::read_to_string(&path).unwrap();
    let (before, rest) = old.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let new = format!("{before}{BEGIN}\n{}{END}{after}", inventory(&blocks()));
    if std::env::var_os("INVENTORY").is_some_and(|value| value == "write") {
        fs::write(&path, &new).unwrap();
        return;
    }
    assert!(old == new, "{DOCUMENT} is stale: INVENTORY=write cargo test --test unsafe_inventory writes it");
}

#[test]
fn each_kind_is_explained() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT)).unwrap();
    for (kind, _) in KINDS {
        assert!(text.contains(&format!("* **{kind}**")), "{kind}");
    }
}

#[test]
fn blocks_are_told_by_what_is_in_them() {
    assert_eq!(kind_of(&["    let now = unsafe { bpf_ktime_get_ns() };"]), Some("helper"));
    assert_eq!(kind_of(&["x(unsafe {", "    at.read_volatile()", "});"]), Some("shared"));
    assert_eq!(unsafe_in("#[unsafe(no_mangle)] // unsafe { }"), 0);
    assert_eq!(unsafe_in("a(unsafe { b }, unsafe { c })"), 2);
}
