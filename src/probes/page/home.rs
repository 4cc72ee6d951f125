//! Where a process lives, from the path of its cgroup: the container or the unit that it is a part of.
//!
//! Pure. It knows the names that Docker, containerd, CRI-O, Podman, LXC and systemd give; of others it says nothing.

/// Characters of a container's id that are shown, as its own tools do.
const ID_SHOWN: usize = 12;
/// Ids of containers have 64 hexadecimal digits.
const ID_LEN: usize = 64;

/// What a process is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// A container: who runs it, and its short id or its name.
    Container(&'static str, String),
    /// A unit of systemd.
    Unit(String),
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container("", id) => write!(f, "container {id}"),
            Self::Container(by, id) => write!(f, "container {id} ({by})"),
            Self::Unit(unit) => f.write_str(unit),
        }
    }
}

/// Prefixes of a container's directory, and what makes them.
const RUNTIMES: [(&str, &str); 6] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nerdctl-", "containerd"),
    ("", ""),
];

/// Ends of the names of units that hold processes.
const UNITS: [&str; 2] = [".service", ".scope"];

/// What the process of a cgroup is a part of, if its path tells.
pub fn home_of(cgroup: &str) -> Option<Home> {
    let parts: Vec<&str> = cgroup.split('/').filter(|part| !part.is_empty()).collect();
    let container =
        parts.iter().enumerate().rev().find_map(|(at, part)| container(part, parts.get(at.wrapping_sub(1))));
    container.or_else(|| {
        let is_unit = |part: &&&str| UNITS.iter().any(|kind| part.ends_with(kind));
        parts.iter().rev().find(is_unit).map(|unit| Home::Unit((*unit).to_owned()))
    })
}

fn container(part: &str, above: Option<&&str>) -> Option<Home> {
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some(Home::Container("lxc", name.to_owned()));
    }
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let (by, id) = RUNTIMES.iter().find_map(|(prefix, by)| {
        let id = bare.strip_prefix(prefix)?;
        (id.len() == ID_LEN && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some((*by, id))
    })?;
    let by = if by.is_empty() && above == Some(&"docker") { "docker" } else { by };
    Some(Home::Container(by, id[..ID_SHOWN].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_units_are_told_by_their_paths() {
        let id = "4f5e6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091";
        let text = |path: &str| home_of(path).map(|home| home.to_string()).unwrap_or_default();
        assert_eq!(text(&format!("/system.slice/docker-{id}.scope")), "container 4f5e6a7b8c9d (docker)");
        assert_eq!(text(&format!("/docker/{id}")), "container 4f5e6a7b8c9d (docker)");
        assert_eq!(
            text(&format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope/init")),
            "container 4f5e6a7b8c9d (containerd)"
        );
        assert_eq!(text(&format!("/kubepods/burstable/pod1/{id}")), "container 4f5e6a7b8c9d");
        assert_eq!(text("/lxc.payload.web/init.scope"), "container web (lxc)");
        assert_eq!(text("/system.slice/nginx.service"), "nginx.service");
        assert_eq!(text("/user.slice/user-0.slice/session-3.scope"), "session-3.scope");
        assert_eq!((text("/"), text("")), (String::new(), String::new()));
    }
}
