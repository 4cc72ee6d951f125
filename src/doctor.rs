//! `kscope doctor`: says what is there, what is missing and how to mend it, and what the maps take.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use kscope::core::units::{bytes, count, printable};
use kscope::kernel::doctor::{Findings, examine};

/// Examines this host and prints what was found. Fails when something is missing.
pub fn run() -> Result<()> {
    let findings = examine();
    print!("{}", text(&findings));
    if !findings.is_well() {
        bail!("not everything can be measured on this host");
    }
    Ok(())
}

fn text(findings: &Findings) -> String {
    let mut out = String::new();
    for check in &findings.checks {
        let mark = if check.trouble.is_none() { "ok" } else { "no" };
        let _ = writeln!(out, "{mark:<4} {:<20} {}", check.name, check.about);
        if let Some((reason, advice)) = &check.trouble {
            let _ = writeln!(out, "     {}\n     {}", printable(reason), printable(advice));
        }
    }
    let host = findings.host;
    let total: u64 = findings.maps.iter().map(|map| map.bytes).sum();
    let _ = writeln!(
        out,
        "\n{} of kernel memory for maps, on a host of {} CPUs with pid_max {}:",
        bytes(total as f64),
        host.cpus,
        host.pid_max
    );
    for map in &findings.maps {
        let _ = writeln!(
            out,
            "     {:<20} {:>9}   room for {} ({})",
            map.name,
            bytes(map.bytes as f64),
            count(map.max),
            map.holds
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope::kernel::doctor::Check;
    use kscope::kernel::sizing::HostFacts;

    #[test]
    fn what_is_missing_says_why_and_what_to_do() {
        let there = Check { name: "process ids", about: "those of the host".into(), trouble: None };
        let trouble = Some(("No right.".to_owned(), "Run it with \u{1b}[2Jsudo.".to_owned()));
        let missing = Check { name: "privileges", about: "root".into(), trouble };
        let findings =
            Findings { checks: vec![there, missing], host: HostFacts { cpus: 2, pid_max: 32_768 }, maps: Vec::new() };
        assert!(!findings.is_well());
        let text = text(&findings);
        assert!(text.contains("ok   process ids") && text.contains("no   privileges"), "{text}");
        assert!(text.contains("No right.") && !text.contains('\u{1b}'), "{text}");
    }
}
