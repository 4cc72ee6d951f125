//! The configuration file: what the dashboard starts with when the command line does not say.
//!
//! Invariant: a file that cannot be understood is an error that names the file and the line, never half a configuration.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::cli::{Budget, parse_budget, parse_interval};
use crate::failure::BadInput;
use kscope::core::units::printable_lines;

/// `config.toml`; every key may be left out.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of a theme.
    pub theme: Option<String>,
    /// Name of the first view.
    pub view: Option<String>,
    /// Time between samples, such as `"2s"`.
    #[serde(default, deserialize_with = "interval")]
    pub interval: Option<Duration>,
    /// The most of the machine's CPU time that kscope may take, such as `"1%"`, or `"off"`.
    #[serde(default, deserialize_with = "budget")]
    pub budget: Option<Budget>,
    /// Leave out calls that wait by design, as the key `w` does; yes if not given: they would drown the rest.
    pub hide_waiting: Option<bool>,
    /// Titles of the columns that Processes shows.
    pub columns: Option<Vec<String>>,
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_interval(&text).map(Some).map_err(serde::de::Error::custom)
}

fn budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Budget>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_budget(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Where kscope's files are: `$XDG_CONFIG_HOME/kscope` or `~/.config/kscope`.
pub fn dir() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").filter(|p| p.is_absolute()).or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("kscope"))
}

/// Reads `file`, which must be there, or the usual file, which need not.
pub fn read(file: Option<&Path>) -> Result<Config, BadInput> {
    let path = match file {
        Some(path) => path.to_path_buf(),
        None => match dir() {
            Some(dir) => dir.join("config.toml"),
            None => return Ok(Config::default()),
        },
    };
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).map_err(|error| BadInput(format!("{}: {error}", path.display()))),
        // Not there, or (with somebody else's HOME) not ours to read: only a file that was asked for must be there.
        Err(error) if file.is_none() && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Ok(Config::default())
        }
        Err(error) => Err(BadInput(format!("cannot read the configuration {}: {error}", path.display()))),
    }
}

/// Understands the text of a configuration, or says why not.
pub fn parse(text: &str) -> Result<Config, String> {
    // The error shows the line that is wrong, whatever is in it.
    toml::from_str(text).map_err(|error| printable_lines(error.to_string().trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// It is a configuration, or there is a sentence on why not that steers no terminal.
    fn law(text: &str) {
        if let Err(sentence) = parse(text) {
            assert!(!sentence.is_empty() && printable_lines(&sentence) == sentence, "{sentence:?}");
        }
    }

    #[test]
    fn keys_are_read_and_unknown_ones_are_named() {
        let config = parse("theme = \"light\"\ninterval = \"2s\"\nhide_waiting = true").unwrap();
        assert_eq!(config.interval, Some(Duration::from_secs(2)));
        assert_eq!(config.theme.as_deref(), Some("light"));
        assert!(parse("colour = 1").unwrap_err().contains("colour"));
        assert!(parse("interval = \"soon\"").unwrap_err().contains("line 1"));
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn what_fuzzing_has_found_is_a_configuration_or_a_sentence() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
        for entry in fs::read_dir(dir).unwrap() {
            law(&String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()));
        }
    }

    #[test]
    fn an_error_shows_the_line_and_steers_no_terminal() {
        let sentence = parse("theme = \"a\u{1b}[2J\"").unwrap_err();
        assert!(sentence.contains("line 1") && !sentence.contains('\u{1b}'), "{sentence:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_a_sentence(text in any::<String>()) {
            law(&text);
        }

        #[test]
        fn any_values_of_the_keys_are_a_configuration_or_a_sentence(
            lines in proptest::collection::vec(("theme|view|interval|budget|hide_waiting|columns|x", "(true|[0-9]{1,20}s?|\"[^\"]{0,9}\"|\\[\"[a-z]*\"\\]|.{0,9})"), 0..5)
        ) {
            let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            law(&lines.join("\n"));
        }
    }
}
