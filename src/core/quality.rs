//! How far a number can be trusted. Every group of numbers carries one of these to the screen and to the report.

use serde::Serialize;

/// The quality of a number or a group of numbers, from best to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Every event was counted.
    #[default]
    Exact,
    /// The true number is at least this (a map was full, events were lost).
    LowerBound,
    /// Only a part of the events was counted, by chance, and scaled up.
    Sampled,
    /// Derived from something coarser than the events.
    Estimate,
    /// Nothing is measured; drawn as `–`, never as 0.
    NotAvailable,
}

impl Quality {
    /// The mark drawn before a number of this quality: nothing, `≥`, `≈`, `~`.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Exact | Self::NotAvailable => "",
            Self::LowerBound => "≥",
            Self::Sampled => "≈",
            Self::Estimate => "~",
        }
    }

    /// The word used in reports and panes.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::LowerBound => "lower_bound",
            Self::Sampled => "sampled",
            Self::Estimate => "estimate",
            Self::NotAvailable => "not_available",
        }
    }

    /// The worse of two.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        self.max(other)
    }
}
