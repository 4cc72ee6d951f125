//! What comes of snapshots: sums, sentences, reports, screens. Nothing of it may fail, whatever is counted.

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::{assert_harmless, assert_harmless_lines};
use crate::export::{Report, Scope, to_csv, to_json, to_text};
use crate::model::{Snapshot, joined};
use crate::ui::app::{App, Settings};
use crate::ui::view::View;
use crate::verdicts::{Facts, Window, verdicts};

/// The size of a screen on which every table has rows.
const SIZE: (u16, u16) = (100, 30);

/// Shows intervals one after the other; `choice` says in which view.
pub fn show(parts: Vec<Snapshot>, choice: u8) {
    let facts: Vec<Facts> = parts.iter().map(Facts::of).collect();
    let said = verdicts(&Window::new(facts.iter()));
    for verdict in &said {
        assert_harmless(&verdict.sentence);
    }
    let whole = parts.iter().skip(1).fold(parts.first().cloned().unwrap_or_default(), |mut sum, part| {
        sum.append(part);
        sum
    });
    let report = Report::new(&whole, &Scope::Host, None, said);
    assert_harmless_lines(&to_json(&report));
    assert_harmless_lines(&to_text(&report));
    assert_harmless_lines(&to_csv(&report));
    let _ = (whole.cost().of_machine(2), whole.conservation().tx_unattributed(), whole.lost.total());
    draw(&parts, choice);
    let _ = joined(parts);
}

fn draw(parts: &[Snapshot], choice: u8) {
    let view = View::ALL[usize::from(choice) % View::ALL.len()];
    let mut app = App::new(Settings { view, ..Settings::default() });
    for part in parts {
        app.on_snapshot(Arc::new(part.clone()));
    }
    let Ok(mut terminal) = Terminal::new(TestBackend::new(SIZE.0, SIZE.1));
    let Ok(_) = terminal.draw(|frame| app.draw(frame));
}
