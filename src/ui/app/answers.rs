//! Questions, and what their answers do.

use super::App;
use crate::core::filter::Filter;
use crate::ui::history::Look;
use crate::ui::overlay::{Asked, Overlay, Question};

impl App {
    pub(super) fn ask(&mut self, question: Question, text: &str) {
        self.overlay = Some(Overlay::ask(question, text));
    }

    pub(super) fn answer(&mut self, question: Question, asked: Asked) {
        match (question, asked) {
            (_, Asked::Nothing) | (Question::Pids, Asked::Typed(_)) => {}
            (Question::Pids, Asked::Cancelled) => self.overlay = None,
            (Question::Pids, Asked::Done(text)) => match Filter::parse_pids(&text) {
                Ok(pids) => {
                    self.overlay = None;
                    let filter = self.look.filter.clone().with_pids(pids);
                    self.look_at(Look { filter, ..self.look.clone() });
                }
                Err(sentence) => {
                    if let Some(Overlay::Prompt(_, prompt)) = &mut self.overlay {
                        prompt.error = Some(sentence);
                    }
                }
            },
            (Question::Rows, Asked::Typed(text)) => self.set_text(text),
            (Question::Rows, Asked::Cancelled) => {
                self.overlay = None;
                self.set_text(String::new());
            }
            (Question::Rows, Asked::Done(text)) => {
                self.overlay = None;
                self.set_text(text);
            }
        }
    }

    pub(super) fn set_text(&mut self, text: String) {
        self.tables.of_mut(self.table()).text = text;
        self.refresh();
    }
}
