//! The dashboard: its state, its keys, the frame around the views, themes and widgets.
//!
//! Views of one insight stand with it in `probes/*/view.rs`; here is what they share. Nothing in here reads a clock, a map
//! or procfs: what is shown comes in as snapshots, what is wanted comes in as keys.

pub mod app;
pub mod charts;
pub mod columns;
pub mod command;
mod commands_view;
pub mod connections;
pub mod ctx;
pub mod dead;
pub mod disk_rows;
pub mod everything;
mod frame;
mod help;
pub mod history;
mod kept;
pub mod keys;
pub mod listing;
pub mod lists;
pub mod overlay;
mod overview;
mod packed;
mod packed_disk;
mod page;
pub mod place;
pub mod processes;
pub mod rows;
pub mod selection;
pub mod tables;
pub mod theme;
mod tick;
pub mod victims;
pub mod view;
pub mod widgets;
