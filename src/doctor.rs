//! `kscope doctor`: says what is there, what is missing and how to mend it, and what the maps take.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::cli::DoctorArgs;
use crate::output::print;
use kscope::core::units::{bytes, count, printable};
use kscope::kernel::doctor::{Findings, State, examine};

/// Examines this host and prints what was found. Fails when something is impossible.
pub fn run(args: DoctorArgs) -> Result<()> {
    let findings = examine();
    let text = if args.json { format!("{}\n", as_json(&findings)) } else { text(&findings) };
    print(&text)?;
    if !findings.is_well() {
        bail!("not everything can be measured on this host");
    }
    Ok(())
}

const fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Degraded => "degraded",
        State::Impossible => "impossible",
    }
}

fn text(findings: &Findings) -> String {
    let (mut out, mut said) = (String::new(), Vec::new());
    for check in &findings.checks {
        let _ = writeln!(out, "{:<10} {:<18} {}", word(check.state), check.name, printable(&check.about));
        say(&mut out, &mut said, [&check.reason, &check.advice]);
    }
    out.push('\n');
    for program in &findings.programs {
        let (state, name, hook) = (word(program.state), program.name, program.hook);
        let _ = writeln!(out, "{state:<10} {name:<20} {hook:<8} {}", program.insight);
        say(&mut out, &mut said, [&program.reason, &program.advice]);
    }
    maps(findings, &mut out);
    out
}

/// Says why, and what to do; what holds for many is said once.
fn say<'a>(out: &mut String, said: &mut Vec<&'a str>, sentences: [&'a str; 2]) {
    for sentence in sentences.into_iter().filter(|sentence| !sentence.is_empty()) {
        if !said.contains(&sentence) {
            let _ = writeln!(out, "           {}", printable(sentence));
            said.push(sentence);
        }
    }
}

fn maps(findings: &Findings, out: &mut String) {
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
}

/// The contract of `doctor --json`: names may be added, none is renamed.
fn as_json(findings: &Findings) -> Value {
    let some = |text: &str| (!text.is_empty()).then(|| printable(text).into_owned());
    let checks = findings.checks.iter().map(|c| {
        json!({ "name": c.name, "state": c.state, "about": printable(&c.about), "reason": some(&c.reason), "advice": some(&c.advice) })
    });
    let programs = findings.programs.iter().map(|p| {
        json!({ "name": p.name, "hook": p.hook, "insight": p.insight, "state": p.state, "reason": some(&p.reason), "advice": some(&p.advice) })
    });
    let maps =
        findings.maps.iter().map(|m| json!({ "name": m.name, "holds": m.holds, "entries": m.max, "bytes": m.bytes }));
    json!({
        "schema": 1,
        "well": findings.is_well(),
        "kernel": printable(&findings.kernel),
        "cpus": findings.host.cpus,
        "pid_max": findings.host.pid_max,
        "checks": checks.collect::<Vec<_>>(),
        "programs": programs.collect::<Vec<_>>(),
        "maps": maps.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope::kernel::doctor::{Check, ProgramFinding};
    use kscope::kernel::sizing::HostFacts;

    fn findings(state: State) -> Findings {
        let well = Check {
            name: "process ids",
            state: State::Ok,
            about: "those of the host".into(),
            reason: String::new(),
            advice: String::new(),
        };
        let (reason, advice) = ("No right.".to_owned(), "Run it with \u{1b}[2Jsudo.".to_owned());
        let ill =
            Check { name: "privileges", state, about: "root".into(), reason: reason.clone(), advice: advice.clone() };
        let program = |name| ProgramFinding {
            name,
            hook: "tp_btf",
            insight: "system calls",
            state,
            reason: reason.clone(),
            advice: advice.clone(),
        };
        Findings {
            kernel: "6.18".into(),
            checks: vec![well, ill],
            programs: vec![program("sys_enter"), program("sys_exit")],
            host: HostFacts { cpus: 2, pid_max: 32_768 },
            maps: Vec::new(),
        }
    }

    #[test]
    fn what_is_missing_says_why_and_what_to_do_once() {
        let findings = findings(State::Impossible);
        assert!(!findings.is_well());
        let text = text(&findings);
        assert!(text.contains("ok         process ids") && text.contains("impossible privileges"), "{text}");
        assert!(text.matches("No right.").count() == 1 && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_is_only_degraded_is_well() {
        assert!(findings(State::Degraded).is_well() && findings(State::Ok).is_well());
    }

    #[test]
    fn json_has_the_names_of_the_contract() {
        let json = as_json(&findings(State::Impossible));
        assert_eq!((&json["schema"], &json["well"], &json["kernel"]), (&json!(1), &json!(false), &json!("6.18")));
        assert_eq!((&json["checks"][0]["state"], &json["checks"][0]["reason"]), (&json!("ok"), &Value::Null));
        assert_eq!(
            (&json["programs"][1]["name"], &json["programs"][1]["state"]),
            (&json!("sys_exit"), &json!("impossible"))
        );
        assert!(json["maps"].is_array() && !json.to_string().contains("\\u001b"), "{json}");
    }
}
