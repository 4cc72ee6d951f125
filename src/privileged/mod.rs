//! Least privilege by separation: what needs rights is done by small processes that are started first; the one that draws,
//! parses and talks has none.
//!
//! ```text
//!                     the process that draws          no capabilities
//!                      │ 8 bytes    ▲ maps (once), how programs stand
//!                      ▼            │
//!                     kscope-helper                   CAP_BPF, CAP_PERFMON
//! ```
//!
//! Not here: what is loaded (`kernel`). Invariant: a process that is asked takes numbers out of a closed list, never text.

pub mod command;
pub mod description;
pub mod eyes;
pub mod helper;
pub mod process;
pub mod remote;
pub mod wire;
