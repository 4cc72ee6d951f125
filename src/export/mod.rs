//! What leaves kscope: one report, as JSON, CSV, or text for people. All three show the same [`Report`].
//!
//! Pure: text in memory. Writing it somewhere is the caller's business.

mod conservation;
mod csv;
mod latency;
mod losses;
mod process;
mod report;
mod sections;
mod text;

pub use csv::to_csv;
pub use report::{CommandResult, Report, Scope};
pub use text::to_text;

/// The report as one JSON object and a newline.
pub fn to_json(report: &Report) -> String {
    let mut text = serde_json::to_string(report).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text.push('\n');
    text
}
