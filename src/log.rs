//! The log, if one is asked for. It goes to a file: standard error is the terminal that the dashboard draws on.
//!
//! Invariant: a log that is not whole is an error at the end, never silence, and never a line on the screen.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context as _, Result, anyhow};
use tracing_subscriber::EnvFilter;

/// Why the log is not whole.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Writes a log to this file from now on.
pub fn to(path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let file = crate::create(path, "the log")?;
    // What is no file, such as a pipe, cannot be emptied.
    if file.metadata().is_ok_and(|found| found.is_file()) {
        file.set_len(0).with_context(|| format!("cannot empty the log {}", path.display()))?;
    }
    let filter = EnvFilter::try_from_env("KSCOPE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let writer = Mutex::new(Log(file));
    tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(writer).init();
    tracing::info!("kscope {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Fails if something could not be written to the log.
pub fn check() -> Result<()> {
    FAILURE.get().map_or(Ok(()), |error| Err(anyhow!("the log is not complete: {error}")))
}

/// A file that remembers the first failure. To the one who writes it claims success: it would put the failure on the screen.
struct Log(File);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.0.write_all(bytes) {
            let _ = FAILURE.set(error);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
