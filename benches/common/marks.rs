//! A document that keeps what was measured between two lines of its own.

use std::fs;

use anyhow::{Context as _, Result, bail};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Puts a text between the marks of the document at `path`; what is around them stays.
pub fn put(path: &str, text: &str) -> Result<()> {
    let old = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let Some((before, rest)) = old.split_once(BEGIN) else { bail!("{path} has no line {BEGIN}") };
    let Some((_, after)) = rest.split_once(END) else { bail!("{path} has no line {END}") };
    fs::write(path, format!("{before}{BEGIN}\n{text}\n{END}{after}")).with_context(|| format!("write {path}"))
}
