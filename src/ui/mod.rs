//! What is drawn and how keys act on it: themes and widgets that know nothing of kscope's data.

pub mod theme;
pub mod widgets;
