//! The report as comma-separated values: one line a distribution, of the scope and of each process.

use std::fmt::Write as _;

use super::latency::LatencyRow;
use super::report::{CallRow, Report};

/// The header of the table.
const HEADER: &str =
    "scope,pid,comm,kind,name,count,errors,total_ns,p50_ns,p90_ns,p99_ns,p999_ns,max_ns,tx_bytes,rx_bytes\n";

/// The report as a table (RFC 4180, lines end with a line feed).
pub fn to_csv(report: &Report) -> String {
    let mut out = String::from(HEADER);
    let all = Owner { scope: "all", pid: None, comm: "" };
    calls(&mut out, &all, report.syscalls.as_deref().unwrap_or_default());
    if let Some(runqueue) = &report.runqueue {
        latency(&mut out, &all, "runqueue", "", &runqueue.all, None);
        for cpu in &runqueue.cpus {
            latency(&mut out, &all, "runqueue_cpu", &cpu.cpu.to_string(), &cpu.delay, None);
        }
    }
    if let Some(network) = &report.network {
        bytes(&mut out, &all, network.bytes.tx_bytes, network.bytes.rx_bytes);
    }
    for process in &report.processes {
        let owner = Owner { scope: "process", pid: Some(process.pid), comm: &process.comm };
        calls(&mut out, &owner, process.syscalls.as_deref().unwrap_or_default());
        if let Some(delay) = &process.runqueue {
            latency(&mut out, &owner, "runqueue", "", delay, None);
        }
        if let Some(network) = &process.network {
            bytes(&mut out, &owner, network.tx_bytes, network.rx_bytes);
        }
    }
    out
}

struct Owner<'a> {
    scope: &'static str,
    pid: Option<u32>,
    comm: &'a str,
}

impl Owner<'_> {
    fn begin(&self, out: &mut String, kind: &str, name: &str) {
        let pid = self.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let _ = write!(out, "{},{pid},{},{kind},{},", self.scope, quoted(self.comm), quoted(name));
    }
}

fn calls(out: &mut String, owner: &Owner<'_>, rows: &[CallRow]) {
    for row in rows {
        latency(out, owner, "syscall", &row.name, &row.latency, Some(row.errors));
    }
}

fn latency(out: &mut String, owner: &Owner<'_>, kind: &str, name: &str, row: &LatencyRow, errors: Option<u64>) {
    let cell = |value: Option<u64>| value.map(|v| v.to_string()).unwrap_or_default();
    owner.begin(out, kind, name);
    let _ = writeln!(
        out,
        "{},{},{},{},{},{},{},{},,",
        row.count,
        cell(errors),
        row.total_ns,
        cell(row.p50_ns),
        cell(row.p90_ns),
        cell(row.p99_ns),
        cell(row.p999_ns),
        cell(row.max_ns)
    );
}

fn bytes(out: &mut String, owner: &Owner<'_>, tx: u64, rx: u64) {
    owner.begin(out, "network", "");
    let _ = writeln!(out, ",,,,,,,,{tx},{rx}");
}

/// A field, quoted where it must be. A leading sign that a spreadsheet would take for a formula is defused with a quote.
fn quoted(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_table_or_a_spreadsheet() {
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(quoted("=cmd()"), "'=cmd()");
        assert_eq!(quoted("nginx"), "nginx");
    }

    #[test]
    fn every_line_has_as_many_fields_as_the_header() {
        let row = LatencyRow {
            count: 0,
            total_ns: 0,
            p50_ns: None,
            p90_ns: None,
            p99_ns: None,
            p999_ns: None,
            max_ns: Some(0),
            histogram: crate::core::histogram::Histogram::new(),
        };
        let owner = Owner { scope: "process", pid: Some(1), comm: "init" };
        let (mut a, mut b) = (String::new(), String::new());
        latency(&mut a, &owner, "syscall", "read", &row, Some(3));
        bytes(&mut b, &owner, 1, 2);
        let fields = |line: &str| line.trim_end().split(',').count();
        assert_eq!((fields(&a), fields(&b)), (fields(HEADER), fields(HEADER)));
    }
}
