//! Pure building blocks: histograms, counters, filters, units. No clock, no file, no map, no colour.
//!
//! Invariant: nothing here imports another module of kscope, and nothing here can fail.

pub mod arguments;
pub mod budget;
pub mod filter;
pub mod histogram;
pub mod hook;
pub mod ident;
pub mod insight;
pub mod interests;
pub mod latency;
pub mod quality;
pub mod units;
pub mod window;
