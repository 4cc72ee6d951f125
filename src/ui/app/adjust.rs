//! Keys that change how it is measured or shown: interval, budget, theme.

use std::time::Duration;

use super::{App, Effect};
use crate::core::units;
use crate::ui::theme::Theme;

/// Intervals that `+` and `-` step through, ms.
const INTERVALS_MS: [u64; 7] = [100, 200, 500, 1000, 2000, 5000, 10_000];
/// Budgets that a key steps through, as shares of the machine's CPU time.
const BUDGETS: [f64; 4] = [0.005, 0.01, 0.02, 0.05];

impl App {
    pub(super) fn step_interval(&mut self, up: bool) -> Option<Effect> {
        let now = self.interval;
        let mut steps = INTERVALS_MS.map(Duration::from_millis).into_iter();
        let next = if up { steps.find(|s| *s > now) } else { steps.rfind(|s| *s < now) };
        if let Some(interval) = next {
            self.interval = interval;
            return Some(Effect::SetInterval(interval));
        }
        self.say(format!("the interval is already the {}", if up { "longest" } else { "shortest" }), false);
        None
    }

    /// The next of the usual budgets, and none after the last.
    pub(super) fn next_budget(&mut self) -> Effect {
        let now = self.budget;
        self.budget = BUDGETS.into_iter().find(|budget| now.is_none_or(|now| *budget > now));
        self.say(
            match self.budget {
                Some(budget) => format!("budget: at most {} of the machine's CPU time", units::fine_percent(budget)),
                None => "no budget: everything is measured".into(),
            },
            false,
        );
        Effect::SetBudget(self.budget)
    }

    /// Names of peers instead of addresses, or addresses again.
    pub(super) fn next_names(&mut self) {
        self.names = !self.names;
        let text = if self.names { "names of peers are looked up" } else { "peers are shown by their addresses" };
        self.say(text.into(), false);
    }

    pub(super) fn next_theme(&mut self) {
        if self.no_color {
            return self.say("NO_COLOR is set: the theme stays monochrome".into(), false);
        }
        let dir = self.user_theme_dir.as_deref();
        let names = Theme::names(dir);
        let at = names.iter().position(|name| *name == self.theme.name).map_or(0, |at| at + 1);
        let Some(name) = names.get(at % names.len().max(1)) else { return };
        match Theme::load(name, dir) {
            Ok((theme, warnings)) => {
                self.theme = if self.indexed_colors { theme.indexed() } else { theme };
                match warnings.first() {
                    Some(warning) => self.say(format!("theme {name}: {warning}"), true),
                    None => self.say(format!("theme {name}"), false),
                }
            }
            // Its name must change all the same, or the next key would come back to it for ever.
            Err(error) => {
                self.theme.name.clone_from(name);
                self.say(error.to_string(), true);
            }
        }
    }
}
