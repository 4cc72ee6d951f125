//! The kinds of failure that the exit status tells apart.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};

use thiserror::Error;

/// What the user gave cannot be used: exit status 2. Everything else that fails is exit status 1.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// The command of a report cannot be started.
#[derive(Debug, Error)]
#[error("cannot run {name}")]
pub struct NotStarted {
    name: String,
    source: io::Error,
}

impl NotStarted {
    /// For this reason.
    pub fn new(name: &OsStr, source: io::Error) -> Self {
        Self { name: name.to_string_lossy().into_owned(), source }
    }

    /// The exit status, as of shells, `env` and `timeout`: 127 where there is no such program, 126 where it cannot be run.
    pub fn status(&self) -> u8 {
        if self.source.kind() == ErrorKind::NotFound { 127 } else { 126 }
    }
}
