//! Themes: which colour means what, read from TOML once and then plain fields.
//!
//! A theme is a palette (name -> colour), roles (what is drawn -> style) and a heat ramp; it may inherit another. It is
//! not a place for layout, and the draw path never looks a style up by name. What a file gets wrong is a warning, and
//! the inherited value stays; only a theme that does not exist or cannot be read is an error.
//!
//! Invariant: a monochrome theme holds no colour.

use ratatui::style::{Color, Modifier, Style};
use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, fs, io};
use toml::{Table, Value};

use crate::core::units::printable;

const BUILTIN: [(&str, &str); 3] = [
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("monochrome", include_str!("../../themes/monochrome.toml")),
];
/// Steps computed between two neighbours of a heat ramp, so that a few colours in a file become a smooth ramp.
const HEAT_STEPS: u8 = 3;
/// No real theme comes near; a bigger file is a mistake.
const MAX_FILE_BYTES: u64 = 64 * 1024;

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident,)*) => {
        /// The styles of one theme.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Theme {
            /// Its name, as in [`Theme::names`].
            pub name: String,
            $($(#[$doc])* pub $role: Style,)*
            /// From few to many, at least eight foreground colours; empty in monochrome.
            pub heat: Vec<Style>,
            /// True when shapes (`░▒▓█`) must say what colours would.
            pub mono: bool,
        }

        impl Theme {
            fn blank(name: &str) -> Self {
                Self { name: name.into(), $($role: Style::new(),)* heat: Vec::new(), mono: false }
            }

            fn role_mut(&mut self, role: &str) -> Option<&mut Style> {
                match role {
                    $(stringify!($role) => Some(&mut self.$role),)*
                    _ => None,
                }
            }

            fn styles_mut(&mut self) -> impl Iterator<Item = &mut Style> {
                [$(&mut self.$role,)*].into_iter().chain(self.heat.iter_mut())
            }
        }
    };
}

roles! {
    /// Ordinary text and numbers.
    text,
    /// What is secondary: labels, units, column titles.
    dim,
    /// Titles of panes.
    title,
    /// The one accent: focus, current values, the sorted column.
    accent,
    /// Patched over the selected row.
    selected,
    /// The active tab.
    header,
    /// Frames and axes.
    border,
    /// The frame of the pane that has the keys.
    border_focus,
    /// Within the thresholds that the help states.
    good,
    /// Above the first threshold.
    warn,
    /// Above the second threshold.
    bad,
    /// Bytes sent.
    tx,
    /// Bytes received.
    rx,
    /// Time in user mode.
    user,
    /// Time in the kernel.
    kernel,
    /// Time runnable but waiting for a CPU.
    runnable,
    /// Time blocked.
    blocked,
    /// The pinned baseline behind a live curve.
    baseline,
    /// Keys in the footer and the help.
    key,
}

/// Why a theme could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    /// No file and no builtin has this name.
    #[error("there is no theme {name:?}; there are: {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// Its file exists but cannot be read.
    #[error("cannot read the theme file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its file is not TOML.
    #[error("theme {name:?} is not valid TOML: {message}")]
    Syntax {
        /// The theme.
        name: String,
        /// What the parser said, in one line.
        message: String,
    },
    /// It inherits itself, perhaps through others.
    #[error("theme {name:?} inherits itself; remove one `inherits`")]
    Cycle {
        /// The theme that came up twice.
        name: String,
    },
}

impl Default for Theme {
    /// The builtin dark theme.
    fn default() -> Self {
        Self::builtin("dark")
    }
}

impl Theme {
    /// The names that [`Theme::load`] accepts: the builtin ones, then those of `*.toml` files in `user_dir`, sorted.
    pub fn names(user_dir: Option<&Path>) -> Vec<String> {
        let mut names: Vec<String> = BUILTIN.iter().map(|&(name, _)| name.to_owned()).collect();
        let mut user: Vec<String> = user_dir.map(user_names).unwrap_or_default();
        user.retain(|name| !names.contains(name));
        user.sort();
        names.append(&mut user);
        names
    }

    /// Reads a theme and what it inherits. A file in `user_dir` comes before a builtin of the same name, which it may
    /// inherit. The second value lists what was ignored, a sentence each.
    pub fn load(name: &str, user_dir: Option<&Path>) -> Result<(Self, Vec<String>), ThemeError> {
        let mut layers: Vec<(String, Table)> = Vec::new();
        let mut next = Some(name.to_owned());
        let mut user_seen: Vec<String> = Vec::new();
        while let Some(name) = next {
            let from_user = !user_seen.contains(&name) && user_dir.is_some_and(|dir| user_names(dir).contains(&name));
            let seen = layers.iter().filter(|(n, _)| *n == name).count();
            if seen > usize::from(user_seen.contains(&name)) || (seen > 0 && builtin_source(&name).is_none()) {
                return Err(ThemeError::Cycle { name });
            }
            let table = match (from_user, user_dir) {
                (true, Some(dir)) => {
                    user_seen.push(name.clone());
                    parse(&name, &read(&dir.join(format!("{name}.toml")))?)?
                }
                _ => parse(&name, builtin_source(&name).ok_or_else(|| unknown(&name, user_dir))?)?,
            };
            next = table.get("inherits").and_then(Value::as_str).map(str::to_owned);
            layers.push((name, table));
        }
        let mut warnings = Vec::new();
        let theme = build(name, &layers, &mut warnings);
        Ok((theme, warnings))
    }

    /// A theme of this text, which inherits nothing.
    #[cfg(any(test, feature = "untrusted"))]
    pub fn of_text(name: &str, text: &str) -> Result<(Self, Vec<String>), ThemeError> {
        let mut warnings = Vec::new();
        let theme = build(name, &[(name.to_owned(), parse(name, text)?)], &mut warnings);
        Ok((theme, warnings))
    }

    /// The builtin theme without colours, for `NO_COLOR` and terminals that have none.
    pub fn monochrome() -> Self {
        Self::builtin("monochrome")
    }

    /// The same theme in the 256 colours of xterm, for terminals that do not announce true colour.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        for style in self.styles_mut() {
            style.fg = style.fg.map(nearest_index);
            style.bg = style.bg.map(nearest_index);
        }
        self
    }

    /// The style of `value` on the ramp whose top is `max`, on a logarithmic scale; `None` for nothing, or in monochrome.
    pub fn heat_of(&self, value: f64, max: f64) -> Option<Style> {
        let last = self.heat.len().checked_sub(1)?;
        let share = heat_share(value, max)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share within 0 and 1")]
        let step = (share * last as f64).round() as usize;
        self.heat.get(step.min(last)).copied()
    }

    fn builtin(name: &str) -> Self {
        // The test below keeps the builtin files readable; a blank theme is still legible.
        Self::load(name, None).map_or_else(|_| Self::blank(name), |(theme, _)| theme)
    }
}

/// Where `value` lies between nothing and `max` on a logarithmic scale, 0…1; `None` when it is nothing.
pub fn heat_share(value: f64, max: f64) -> Option<f64> {
    (value > 0.0 && max > 0.0).then(|| (value.ln_1p() / max.ln_1p()).clamp(0.0, 1.0))
}

fn builtin_source(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|&&(n, _)| n == name).map(|&(_, source)| source)
}

fn unknown(name: &str, user_dir: Option<&Path>) -> ThemeError {
    ThemeError::Unknown { name: name.to_owned(), known: Theme::names(user_dir) }
}

fn user_names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect()
}

fn read(path: &Path) -> Result<String, ThemeError> {
    let fail = |source| ThemeError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(fail)?.len();
    if size > MAX_FILE_BYTES {
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB")));
    }
    fs::read_to_string(path).map_err(fail)
}

fn parse(name: &str, source: &str) -> Result<Table, ThemeError> {
    source.parse::<Table>().map_err(|error| ThemeError::Syntax {
        name: name.to_owned(),
        message: printable(&error.message().lines().collect::<Vec<_>>().join("; ")).into_owned(),
    })
}

/// Lays the tables over each other, the inherited ones first. The palette is complete before any role is read, so that
/// a theme can change a colour of the roles it inherits.
fn build(name: &str, layers: &[(String, Table)], warnings: &mut Vec<String>) -> Theme {
    let mut theme = Theme::blank(name);
    let mut palette = BTreeMap::new();
    for (layer, table) in layers.iter().rev() {
        for (key, value) in sub_table(table, "palette", layer, warnings) {
            match value.as_str().and_then(|text| text.parse::<Color>().ok()) {
                Some(color) => drop(palette.insert(key.as_str(), color)),
                None => warnings.push(format!("theme {layer:?}: palette.{key} is not a colour such as \"#4ec9b8\"")),
            }
        }
    }
    for (layer, table) in layers.iter().rev() {
        for (key, value) in sub_table(table, "roles", layer, warnings) {
            match (theme.role_mut(key), style(value, &palette)) {
                (Some(slot), Ok(style)) => *slot = style,
                (None, _) => warnings.push(format!("theme {layer:?}: there is no role {key:?}")),
                (_, Err(why)) => warnings.push(format!("theme {layer:?}: roles.{key}: {why}")),
            }
        }
        match table.get("heat").map(|value| ramp(value, &palette)) {
            Some(Ok(heat)) => theme.heat = heat,
            Some(Err(why)) => warnings.push(format!("theme {layer:?}: heat: {why}")),
            None => {}
        }
        match table.get("monochrome").map(Value::as_bool) {
            Some(Some(mono)) => theme.mono = mono,
            Some(None) => warnings.push(format!("theme {layer:?}: monochrome must be true or false")),
            None => {}
        }
        for key in
            table.keys().filter(|k| !["palette", "roles", "heat", "monochrome", "inherits"].contains(&k.as_str()))
        {
            warnings.push(format!("theme {layer:?}: unknown key {key:?}"));
        }
    }
    // They name what is in the file, whatever that is.
    for warning in &mut *warnings {
        *warning = printable(warning).into_owned();
    }
    theme.mono |= theme.heat.is_empty();
    if theme.mono {
        theme.heat.clear();
        for style in theme.styles_mut() {
            (style.fg, style.bg) = (None, None);
        }
    }
    theme
}

fn sub_table<'a>(table: &'a Table, key: &str, layer: &str, warnings: &mut Vec<String>) -> Vec<(&'a String, &'a Value)> {
    match table.get(key) {
        None => Vec::new(),
        Some(Value::Table(inner)) => inner.iter().collect(),
        Some(_) => {
            warnings.push(format!("theme {layer:?}: {key} must be a table"));
            Vec::new()
        }
    }
}

fn color(value: &Value, palette: &BTreeMap<&str, Color>) -> Result<Color, String> {
    let text = value.as_str().ok_or("a colour is a text")?;
    let named = palette.get(text).copied().or_else(|| text.parse().ok());
    named.ok_or_else(|| format!("{text:?} is neither in the palette nor a colour"))
}

fn style(value: &Value, palette: &BTreeMap<&str, Color>) -> Result<Style, String> {
    let Value::Table(table) = value else { return Ok(Style::new().fg(color(value, palette)?)) };
    let mut style = Style::new();
    for (key, value) in table {
        match key.as_str() {
            "fg" => style = style.fg(color(value, palette)?),
            "bg" => style = style.bg(color(value, palette)?),
            "modifiers" => {
                for name in value.as_array().ok_or("modifiers is a list")? {
                    style = style.add_modifier(modifier(name)?);
                }
            }
            other => return Err(format!("{other:?} is not one of fg, bg, modifiers")),
        }
    }
    Ok(style)
}

fn modifier(value: &Value) -> Result<Modifier, String> {
    match value.as_str() {
        Some("bold") => Ok(Modifier::BOLD),
        Some("dim") => Ok(Modifier::DIM),
        Some("italic") => Ok(Modifier::ITALIC),
        Some("underlined") => Ok(Modifier::UNDERLINED),
        Some("reversed") => Ok(Modifier::REVERSED),
        _ => Err(format!("{value} is not one of bold, dim, italic, underlined, reversed")),
    }
}

fn ramp(value: &Value, palette: &BTreeMap<&str, Color>) -> Result<Vec<Style>, String> {
    let stops = value.as_array().ok_or("a ramp is a list of colours")?;
    let stops = stops.iter().map(|stop| color(stop, palette)).collect::<Result<Vec<_>, _>>()?;
    let Some(&last) = stops.last() else { return Err("a ramp needs colours".into()) };
    let mut out = Vec::new();
    for pair in stops.windows(2) {
        out.extend((0..HEAT_STEPS).map(|step| Style::new().fg(between(pair[0], pair[1], step))));
    }
    out.push(Style::new().fg(last));
    Ok(out)
}

/// The colour `step`/[`HEAT_STEPS`] of the way from `a` to `b`; ANSI colours have no in-between.
fn between(a: Color, b: Color, step: u8) -> Color {
    let (Color::Rgb(r, g, b_), Color::Rgb(r2, g2, b2)) = (a, b) else { return a };
    let (step, steps) = (u16::from(step), u16::from(HEAT_STEPS));
    let mix = |from: u8, to: u8| {
        let mixed = (u16::from(from) * (steps - step) + u16::from(to) * step) / steps;
        u8::try_from(mixed).unwrap_or(u8::MAX)
    };
    Color::Rgb(mix(r, r2), mix(g, g2), mix(b_, b2))
}

/// The nearest of xterm's colour cube and greys to a true colour.
fn nearest_index(color: Color) -> Color {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let Color::Rgb(r, g, b) = color else { return color };
    let distance = |(r2, g2, b2): (u8, u8, u8)| {
        let square = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        2 * square(r, r2) + 4 * square(g, g2) + 3 * square(b, b2)
    };
    let cube = (0..216_u8).map(|i| {
        let level = |n: u8| LEVELS[usize::from(n % 6)];
        (16 + i, (level(i / 36), level(i / 6), level(i)))
    });
    let greys = (0..24_u8).map(|i| (232 + i, (8 + 10 * i, 8 + 10 * i, 8 + 10 * i)));
    let nearest = cube.chain(greys).min_by_key(|&(_, rgb)| distance(rgb));
    nearest.map_or(color, |(index, _)| Color::Indexed(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let dir = std::env::temp_dir().join(format!("kscope-theme-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            for (file, text) in files {
                fs::write(dir.join(file), text).unwrap();
            }
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn builtin_themes_have_every_role_and_no_warning() {
        for name in ["dark", "light"] {
            let (mut theme, warnings) = Theme::load(name, None).unwrap();
            assert_eq!(warnings, [""; 0]);
            assert!(theme.heat.len() >= 8 && !theme.mono);
            assert!(theme.styles_mut().all(|style| *style != Style::new()), "{name} leaves a role blank");
        }
        assert_ne!(Theme::load("light", None).unwrap().0.text, Theme::default().text);
    }

    #[test]
    fn monochrome_has_no_colour() {
        let mut theme = Theme::monochrome();
        assert!(theme.mono && theme.heat.is_empty());
        assert!(theme.styles_mut().all(|style| style.fg.is_none() && style.bg.is_none()));
        assert!(theme.selected.add_modifier.contains(Modifier::REVERSED));
    }

    #[test]
    fn an_unknown_theme_is_an_error_that_lists_those_there_are() {
        let dir = Dir::new("unknown", &[("nord.toml", "inherits = \"dark\""), ("notes.txt", "")]);
        assert_eq!(Theme::names(Some(&dir.0)), ["dark", "light", "monochrome", "nord"]);
        let error = Theme::load("drak", Some(&dir.0)).unwrap_err();
        assert_eq!(error.to_string(), "there is no theme \"drak\"; there are: dark, light, monochrome, nord");
        assert!(matches!(Theme::load("../nord", Some(&dir.0)), Err(ThemeError::Unknown { .. })));
    }

    #[test]
    fn a_theme_changes_a_colour_of_the_roles_it_inherits() {
        let dir = Dir::new("inherit", &[("mine.toml", "inherits = \"dark\"\n[palette]\nteal = \"#102030\"\n")]);
        let (theme, warnings) = Theme::load("mine", Some(&dir.0)).unwrap();
        assert_eq!((theme.accent.fg, warnings.len()), (Some(Color::Rgb(16, 32, 48)), 0));
        assert_eq!(theme.text, Theme::default().text);
    }

    #[test]
    fn mistakes_are_warnings_and_keep_what_was_inherited() {
        let text = "inherits = \"dark\"\nfont = 3\n[roles]\nacent = \"red\"\naccent = \"reddish\"\ntext = {fg = 1}\n";
        let dir = Dir::new("warn", &[("mine.toml", text)]);
        let (theme, warnings) = Theme::load("mine", Some(&dir.0)).unwrap();
        assert_eq!((theme.accent, theme.text), (Theme::default().accent, Theme::default().text));
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(warnings.iter().any(|w| w == "theme \"mine\": there is no role \"acent\""));
    }

    #[test]
    fn a_file_may_inherit_the_builtin_of_its_own_name_but_not_itself() {
        let files = [("dark.toml", "inherits = \"dark\"\n[roles]\ntext = \"#010203\""), ("a.toml", "inherits = \"a\"")];
        let dir = Dir::new("cycle", &files);
        let (theme, _) = Theme::load("dark", Some(&dir.0)).unwrap();
        assert_eq!((theme.text.fg, theme.dim), (Some(Color::Rgb(1, 2, 3)), Theme::default().dim));
        assert!(matches!(Theme::load("a", Some(&dir.0)), Err(ThemeError::Cycle { .. })));
        let two = Dir::new("cycle2", &[("a.toml", "inherits = \"b\""), ("b.toml", "inherits = \"a\"")]);
        assert!(matches!(Theme::load("a", Some(&two.0)), Err(ThemeError::Cycle { .. })));
    }

    #[test]
    fn broken_toml_is_one_line() {
        let dir = Dir::new("syntax", &[("mine.toml", "roles = [")]);
        let message = Theme::load("mine", Some(&dir.0)).unwrap_err().to_string();
        assert!(message.starts_with("theme \"mine\" is not valid TOML: ") && !message.contains('\n'));
    }

    #[test]
    fn heat_rises_with_the_count_and_reaches_both_ends() {
        let theme = Theme::default();
        assert_eq!(theme.heat_of(0.0, 100.0), None);
        assert_eq!(theme.heat_of(100.0, 100.0), theme.heat.last().copied());
        assert_eq!(theme.heat_of(0.01, 1e6), theme.heat.first().copied());
        assert_eq!(Theme::monochrome().heat_of(1.0, 1.0), None);
    }

    #[test]
    fn true_colours_have_a_neighbour_among_256() {
        assert_eq!(nearest_index(Color::Rgb(255, 0, 0)), Color::Indexed(196));
        assert_eq!(nearest_index(Color::Rgb(128, 128, 128)), Color::Indexed(244));
        assert_eq!(Theme::default().indexed().text.fg, Some(Color::Indexed(251)));
    }
}
