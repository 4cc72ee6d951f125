//! Every reader of bytes that come from outside, as a function of these bytes alone, with what must hold whatever they are: it ends,
//! does not panic, overflows nothing, and no text that comes of it can steer a terminal.
//!
//! Not a part of the program: it is built for tests and, by the feature `untrusted`, for `fuzz/`. The property tests give each
//! reader arbitrary bytes and what is in `fuzz/corpus`, whole and damaged; `make fuzz` goes on from there. What fuzzing finds is kept in
//! the corpus, and so is a test from then on. The configuration and the command line belong to the program, not to this library: their
//! laws are in `config.rs` and `cli.rs`, their targets in `fuzz/`.
//!
//! Invariant: a reader is in [`READERS`], or nobody tries it.

mod maps;
mod read;
mod show;
mod texts;
mod world;

#[cfg(test)]
mod tests;

use crate::core::units::{printable, printable_lines};

/// A reader, by the name of its fuzz target and corpus.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// The name.
    pub name: &'static str,
    /// Reads, and fails if something does not hold.
    pub read: fn(&[u8]),
}

/// All of them.
pub const READERS: [Reader; 7] = [
    Reader { name: "btf", read: read::btf },
    Reader { name: "netlink", read: read::netlink },
    Reader { name: "procfs", read: texts::procfs },
    Reader { name: "maps", read: maps::maps },
    Reader { name: "filters", read: texts::filters },
    Reader { name: "themes", read: texts::themes },
    Reader { name: "fixtures", read: texts::fixtures },
];

/// Reads with the reader of this name.
///
/// # Panics
///
/// If there is no such reader, or it breaks a law.
pub fn read(name: &str, bytes: &[u8]) {
    let reader = READERS.iter().find(|reader| reader.name == name);
    assert!(reader.is_some(), "there is no reader {name}");
    if let Some(reader) = reader {
        (reader.read)(bytes);
    }
}

/// Fails unless a terminal shows this text as it is, in one line.
fn assert_harmless(text: &str) {
    assert!(printable(text) == text, "it could steer a terminal: {text:?}");
}

/// Fails unless lines of text are harmless, each by itself.
fn assert_harmless_lines(text: &str) {
    assert!(printable_lines(text) == text, "it could steer a terminal: {text:?}");
}
