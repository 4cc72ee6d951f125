//! What kscope writes to standard output and standard error. Both may be anything: a pipe whose reader has gone, a full disk.
//!
//! Invariant: writing never panics. What was asked for and cannot be written is an error; a message that cannot be is not.

use std::io::{self, ErrorKind, Write as _};

use anyhow::{Context as _, Result};

/// Writes what was asked for to standard output.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    // Flushed here: at the end of the program nobody would hear of what could not be written.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has gone (`kscope report | head`): it has what it wanted.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Says something on standard error. If nobody can hear it, the work is done all the same.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "kscope: {text}");
}

/// Says below it what to do about it.
pub fn advise(text: &str) {
    let _ = writeln!(io::stderr(), "        {text}");
}

/// Writes what is made up already, on standard error.
pub fn raw(text: &str) {
    let _ = write!(io::stderr(), "{text}");
}
