//! Kinds of places at which programs hook in, from the best to the least.
//!
//! An insight may have programs for more than one kind: a ladder, of which one rung is taken as a whole. Which one is found
//! out by trying (`kernel/ladder.rs`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a program hooks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hook {
    /// A tracepoint, with arguments whose types the verifier knows.
    #[serde(rename = "tp_btf")]
    TpBtf,
    /// The return of a kernel function, with its arguments.
    #[serde(rename = "fexit")]
    Fexit,
    /// The beginning of a kernel function, by a breakpoint.
    #[serde(rename = "kprobe")]
    Kprobe,
    /// The return of a kernel function, by a changed return address.
    #[serde(rename = "kretprobe")]
    Kretprobe,
    /// No place in the kernel: a file that tells something like it.
    #[serde(rename = "procfs")]
    Procfs,
}

impl Hook {
    /// Those that programs hook in by.
    pub const ALL: [Self; 4] = [Self::TpBtf, Self::Fexit, Self::Kprobe, Self::Kretprobe];

    /// Rungs of a ladder that programs stand on.
    pub const RUNGS: u8 = 3;

    /// The rung of a ladder that it belongs to; 0 is the best.
    pub const fn rung(self) -> u8 {
        match self {
            Self::TpBtf => 0,
            Self::Fexit => 1,
            Self::Kprobe | Self::Kretprobe => 2,
            Self::Procfs => Self::RUNGS,
        }
    }

    /// What its rung is called.
    pub const fn rung_name(self) -> &'static str {
        match self {
            Self::TpBtf | Self::Fexit | Self::Kprobe => self.name(),
            Self::Kretprobe => Self::Kprobe.name(),
            Self::Procfs => Self::Procfs.name(),
        }
    }

    /// Its name as the kernel's documentation and other tools have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Procfs => "procfs",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
