//! Readers of text: the files of procfs, sysfs and cgroupfs, filters, themes, fixtures.

use procfs::process::Status;

use super::assert_harmless;
use crate::core::filter::Filter;
use crate::kernel::rows::row;
use crate::kernel::sizing::parse_possible_cpus;
use crate::probes::connections::owners::socket_inode;
use crate::probes::disk::probe as disk;
use crate::probes::network::probe::interfaces;
use crate::probes::network::stats::Carrier;
use crate::probes::page::home::home_of;
use crate::probes::page::quota;
use crate::probes::stuck::asked::parse as parse_call;
use crate::probes::stuck::asleep::{exec_start_ns, last_cpu};
use crate::probes::stuck::locks::held;
use crate::probes::stuck::sockets::{TABLES, socket};
use crate::source::procfs::texts;
use crate::source::procs::{Stat, cgroup_v2, command_line};
use crate::ui::theme::Theme;
use crate::verdicts::{Facts, Window, verdicts};

/// Every file is given to every parser: each is quick to say that it is not its own.
pub fn procfs(bytes: &[u8]) {
    if let Some(stat) = Stat::parse(bytes) {
        assert_harmless(&stat.comm);
    }
    assert_harmless(&command_line(bytes));
    interfaces(bytes, |_| Carrier::Virtual).for_each(|interface| assert_harmless(&interface.name));
    let _ = socket_inode(bytes);
    let _ = (texts::stat(bytes), texts::schedstat(bytes), texts::io(bytes), texts::switches(bytes));
    let text = String::from_utf8_lossy(bytes);
    let _ = (parse_possible_cpus(&text), held(bytes).count(), row::<Status>(bytes).is_some());
    let _ = texts::cpu_waits(&text);
    let _ = (parse_call(&text), exec_start_ns(&text), last_cpu(&text));
    text.lines().filter_map(disk::parse).for_each(|(device, ..)| assert_harmless(&device.to_string()));
    for inode in [0, 12_345] {
        TABLES.iter().filter_map(|(_, kind)| socket(bytes, kind, inode)).for_each(|text| assert_harmless(&text));
    }
    cgroups(bytes);
}

/// Mounts, the cgroups of a process, their files.
fn cgroups(bytes: &[u8]) {
    let cgroup = cgroup_v2(bytes);
    assert_harmless(&cgroup);
    if let Some(home) = home_of(&cgroup) {
        assert_harmless(&home.to_string());
    }
    for hierarchy in quota::hierarchies(bytes) {
        let path = quota::path_in(&hierarchy, bytes).unwrap_or_default();
        assert!(quota::upwards(path).take(5_000).all(|above| path.starts_with(above)));
    }
    let text = &String::from_utf8_lossy(bytes);
    let (first, rest) = text.split_once('\n').unwrap_or((text, text));
    for quota in [quota::unified("/a", first, rest), quota::separate("/a", first, first, rest)].into_iter().flatten() {
        assert!(quota.period_ns > 0 && quota.cpus() >= 0.0);
    }
}

/// What is typed or given as a filter, and the names and paths that it is held against.
pub fn filters(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let (pids, comm, cgroup) = (lines.next().unwrap_or_default(), lines.next(), lines.next());
    let given = Filter::parse_pids(pids);
    if let Err(sentence) = &given {
        assert_harmless(sentence);
    }
    let filter = Filter::new(given.unwrap_or_default(), comm, cgroup);
    assert_harmless(&filter.to_string());
    for name in lines {
        let _ = (filter.matches(7, name, name), filter.lets_name(name));
    }
}

/// A theme's file.
pub fn themes(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Theme::of_text("given", text) {
        Ok((theme, warnings)) => {
            for warning in &warnings {
                assert_harmless(warning);
            }
            let indexed = theme.indexed();
            assert!(!indexed.mono || indexed.heat.is_empty());
            let _ = indexed.heat_of(3.0, 7.0);
        }
        Err(error) => assert_harmless(&error.to_string()),
    }
}

/// Facts that were written down, and the sentences about them.
pub fn fixtures(bytes: &[u8]) {
    let Ok(facts) = serde_json::from_slice::<Vec<Facts>>(bytes) else { return };
    for verdict in verdicts(&Window::new(facts.iter())) {
        assert_harmless(&verdict.sentence);
    }
}
