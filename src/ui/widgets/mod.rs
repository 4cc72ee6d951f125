//! Drawing primitives over borrowed plain data, one file each.
//!
//! They know numbers, histograms and themes; they do not know snapshots, views or keys. Text is defused by each of them
//! before it reaches a cell.
//!
//! Invariant: every widget draws inside its area, whatever its size, and cannot fail.

pub mod bar;
pub mod heatmap;
pub mod histogram;
pub mod pane;
pub mod prompt;
pub mod spark;
pub mod table;
#[cfg(test)]
mod testing;
pub mod text;
