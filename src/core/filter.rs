//! Which processes are looked at: by pid, by name, by cgroup. It applies to every view and is always shown.
//!
//! It is not the text filter of rows (`ui::app`), which only hides lines of one table.
//!
//! Invariant: parts that are given must all hold; an empty filter lets everything through.

use std::fmt;

use wildmatch::WildMatch;

/// A filter of processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Process ids, any of which passes; empty for all. Sorted, without repetitions.
    pub pids: Vec<u32>,
    comm: Option<WildMatch>,
    cgroup: Option<String>,
}

impl Filter {
    /// Processes with one of `pids` (all if empty), a name like the glob `comm` (`*` and `?`) and in the cgroup at path
    /// `cgroup` or below it.
    pub fn new(mut pids: Vec<u32>, comm: Option<&str>, cgroup: Option<&str>) -> Self {
        pids.sort_unstable();
        pids.dedup();
        let cgroup = cgroup.map(|path| format!("/{}", path.trim_matches('/')));
        Self { pids, comm: comm.map(WildMatch::new), cgroup }
    }

    /// The same with other pids.
    #[must_use]
    pub fn with_pids(self, mut pids: Vec<u32>) -> Self {
        pids.sort_unstable();
        pids.dedup();
        Self { pids, ..self }
    }

    /// True when every process passes.
    pub const fn is_empty(&self) -> bool {
        self.pids.is_empty() && self.comm.is_none() && self.cgroup.is_none()
    }

    /// Does a process with this id, name and cgroup path (empty if unknown) pass?
    pub fn matches(&self, pid: u32, comm: &str, cgroup: &str) -> bool {
        (self.pids.is_empty() || self.pids.binary_search(&pid).is_ok())
            && self.comm.as_ref().is_none_or(|glob| glob.matches(comm))
            && self.cgroup.as_ref().is_none_or(|path| within(cgroup, path))
    }

    /// Does this name pass, whatever the rest?
    pub fn lets_name(&self, comm: &str) -> bool {
        self.comm.as_ref().is_none_or(|glob| glob.matches(comm))
    }

    /// Must more than a name pass?
    pub const fn asks_more_than_a_name(&self) -> bool {
        !self.pids.is_empty() || self.cgroup.is_some()
    }

    /// The pids in `text`: numbers apart by commas or blanks. An empty text is no pid at all.
    ///
    /// # Errors
    /// One sentence for people, saying which part is no pid.
    pub fn parse_pids(text: &str) -> Result<Vec<u32>, String> {
        let mut pids = Vec::new();
        for part in text.split([',', ' ']).filter(|p| !p.is_empty()) {
            match part.parse() {
                Ok(pid) if pid > 0 => pids.push(pid),
                _ => return Err(format!("“{}” is no pid: give numbers, several by comma", part.escape_debug())),
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// The pids as they are typed: `12,40`.
    pub fn pids_text(&self) -> String {
        self.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Is the cgroup path `inner` the path `outer` or below it?
fn within(inner: &str, outer: &str) -> bool {
    outer == "/" || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for Filter {
    /// For the header: `pid 12,40 · comm nginx*`, `none` when empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pids = (!self.pids.is_empty()).then(|| format!("pid {}", self.pids_text()));
        let comm = self.comm.as_ref().map(|glob| format!("comm {}", glob.to_string().escape_debug()));
        let cgroup = self.cgroup.as_ref().map(|path| format!("cgroup {}", path.escape_debug()));
        let parts: Vec<String> = [pids, comm, cgroup].into_iter().flatten().collect();
        if parts.is_empty() { f.write_str("none") } else { f.write_str(&parts.join(" · ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_given_parts_must_hold() {
        let filter = Filter::new(vec![40, 12], Some("ngin?*"), Some("system.slice/nginx.service/"));
        let cgroup = "/system.slice/nginx.service/worker";
        assert!(filter.matches(12, "nginx", cgroup));
        assert!(!filter.matches(13, "nginx", cgroup));
        assert!(!filter.matches(12, "redis", cgroup));
        assert!(!filter.matches(12, "nginx", "/system.slice/nginx.service2"));
        assert!(!filter.matches(12, "nginx", ""));
    }

    #[test]
    fn an_empty_filter_passes_everything() {
        assert!(Filter::default().is_empty());
        assert!(Filter::default().matches(1, "", ""));
        assert!(Filter::new(vec![], None, Some("/")).matches(1, "init", "/init.scope"));
    }

    #[test]
    fn pids_are_read_as_people_type_them() {
        assert_eq!(Filter::parse_pids(" 40, 12,12 "), Ok(vec![12, 40]));
        assert_eq!(Filter::parse_pids(""), Ok(vec![]));
        assert_eq!(Filter::parse_pids("12,nginx").unwrap_err(), "“nginx” is no pid: give numbers, several by comma");
        assert!(Filter::parse_pids("0").is_err());
    }

    #[test]
    fn the_header_shows_every_part_and_no_control_character() {
        let filter = Filter::new(vec![40, 12], Some("a\u{1b}*"), Some("/x"));
        assert_eq!(filter.to_string(), "pid 12,40 · comm a\\u{1b}* · cgroup /x");
        assert_eq!(Filter::default().to_string(), "none");
    }

    proptest! {
        #[test]
        fn pids_survive_a_round_trip(pids in proptest::collection::vec(1_u32..5_000_000, 0..6)) {
            let filter = Filter::new(pids, None, None);
            prop_assert_eq!(Filter::parse_pids(&filter.pids_text()), Ok(filter.pids));
        }
    }
}
