//! Everything about one process, where a report is about one: its threads, and what its cgroup allows it.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::report::Scope;
use crate::core::units::{count, duration, printable};
use crate::model::Snapshot;
use crate::probes::page::home::home_of;
use crate::probes::page::stats::{PageStats, Quota, ThreadStats};
use crate::probes::syscalls::names::name;
use crate::probes::time::stats::TimeSplit;

/// Rows of the table for people.
const ROWS: usize = 15;

/// One process.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Process id.
    pub pid: u32,
    /// Since it was started, at the end.
    pub age_ns: u64,
    /// Its command line.
    pub cmdline: String,
    /// The user it runs as.
    pub user: String,
    /// Its cgroup of version 2.
    pub cgroup: String,
    /// The container or the unit that it is a part of; `null` where its cgroup does not tell.
    pub home: Option<String>,
    /// The nearest limit of CPU time above it, and what that did in the interval; `null` without one.
    pub quota: Option<Quota>,
    /// Its threads; `null` where they cannot be told apart.
    pub threads: Option<Vec<Thread>>,
}

/// One thread.
#[derive(Clone, Debug, Serialize)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// It ended in the interval.
    pub exited: bool,
    /// Where its time went.
    pub time: TimeSplit,
    /// The call it was in at the end.
    pub syscall: Option<String>,
}

impl From<&ThreadStats> for Thread {
    fn from(thread: &ThreadStats) -> Self {
        let syscall = thread.call.map(|nr| name(nr).into_owned());
        Self { tid: thread.tid, comm: thread.comm.clone(), exited: thread.exited, time: thread.time, syscall }
    }
}

/// The process that was looked at, if it is in scope.
pub fn row(snapshot: &Snapshot, scope: &Scope) -> Option<Row> {
    let page: &PageStats = snapshot.page.as_ref().filter(|page| scope.holds(page.id))?;
    let at = snapshot.processes.binary_search_by_key(&page.id, |p| p.id).ok()?;
    let ident = &snapshot.processes[at].ident;
    Some(Row {
        pid: page.id.pid,
        age_ns: page.age_ns,
        cmdline: ident.cmdline.clone(),
        user: ident.user.clone(),
        cgroup: ident.cgroup.clone(),
        home: home_of(&ident.cgroup).map(|home| home.to_string()),
        quota: page.quota.clone(),
        threads: page.threads.as_ref().map(|threads| threads.iter().map(Thread::from).collect()),
    })
}

/// The threads that ran most.
pub fn write(row: &Row, out: &mut String) {
    let home = row.home.as_ref().map(|home| format!(" · {}", printable(home))).unwrap_or_default();
    let user = printable(&row.user);
    let _ = writeln!(out, "\nProcess {}  {user}{home} · up {}", row.pid, duration(row.age_ns));
    if let Some(quota) = &row.quota {
        let of = format!("throttled in {} of {} periods", count(quota.throttled), count(quota.periods));
        let for_ns = duration(quota.throttled_ns);
        let _ = writeln!(out, "  cgroup {} may use {:.2} CPUs: {of}, {for_ns}", printable(&quota.cgroup), quota.cpus());
    }
    let Some(threads) = &row.threads else {
        let _ = writeln!(out, "  threads are told apart only while everything is counted");
        return;
    };
    let mut threads: Vec<&Thread> = threads.iter().collect();
    threads.sort_by_key(|t| (std::cmp::Reverse(t.time.on_cpu_ns()), t.tid));
    let head = ["THREAD", "NAME", "user", "kernel", "cpu wait", "blocked"];
    let [tid, name, user, kernel, wait, blocked] = head;
    let _ = writeln!(out, "  {tid:>7} {name:<16} {user:>9} {kernel:>9} {wait:>9} {blocked:>9}  most of it, in");
    for thread in threads.iter().take(ROWS) {
        let time = thread.time;
        let [user, kernel, wait, blocked] =
            [time.user_ns, time.kernel_ns, time.runnable_ns, time.blocked_ns].map(duration);
        let comm = format!("{}{}", printable(&thread.comm), if thread.exited { " †" } else { "" });
        let most = time.blocked_by.top().map_or("–", |(cause, _)| cause.label());
        let call = thread.syscall.as_deref().unwrap_or("");
        let tid = thread.tid;
        let _ = writeln!(out, "  {tid:>7} {comm:<16} {user:>9} {kernel:>9} {wait:>9} {blocked:>9}  {most}  {call}");
    }
    if threads.len() > ROWS {
        let _ = writeln!(out, "  … and {} more", threads.len() - ROWS);
    }
}
