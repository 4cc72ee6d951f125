//! The two kinds of failure that the exit status tells apart.

use thiserror::Error;

/// What the user gave cannot be used: exit status 2. Everything else that fails is exit status 1.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadInput(pub String);
