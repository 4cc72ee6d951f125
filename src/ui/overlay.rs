//! What can lie over a view: the help, commands, or a question with a line to type the answer in.
//!
//! Not here: what an answer does; that is `ui::app`.

use std::cell::Cell;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::widgets::prompt::Prompt;

/// What lies over the view.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// The help, scrolled down by some lines; drawing knows how far that can go.
    Help(Cell<u16>),
    /// The lines that would measure the same with other tools, scrolled down.
    Commands(Cell<u16>),
    /// A question and what was typed so far.
    Prompt(Question, Prompt),
    /// The columns of processes, with the cursor on one.
    Columns(usize),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Pids to filter by.
    Pids,
    /// A text that rows must contain.
    Rows,
}

/// What a key did to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing that matters.
    Nothing,
    /// The text is now this.
    Typed(String),
    /// This is the answer.
    Done(String),
    /// Never mind.
    Cancelled,
}

impl Overlay {
    /// A question, with the answer that holds now.
    pub fn ask(question: Question, text: &str) -> Self {
        let mut prompt = Prompt::new(match question {
            Question::Pids => "pid, several by comma:",
            Question::Rows => "rows with:",
        });
        text.chars().for_each(|c| prompt.insert(c));
        Self::Prompt(question, prompt)
    }
}

impl Asked {
    /// Gives a key to a prompt.
    pub fn of(prompt: &mut Prompt, event: KeyEvent) -> Self {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        match event.code {
            KeyCode::Esc => return Self::Cancelled,
            KeyCode::Enter => return Self::Done(prompt.text.clone()),
            KeyCode::Backspace => prompt.backspace(),
            KeyCode::Left => prompt.left(),
            KeyCode::Right => prompt.right(),
            KeyCode::Home => prompt.home(),
            KeyCode::End => prompt.end(),
            KeyCode::Char('u') if control => prompt.clear(),
            KeyCode::Char(c) if !control => prompt.insert(c),
            _ => return Self::Nothing,
        }
        Self::Typed(prompt.text.clone())
    }
}
