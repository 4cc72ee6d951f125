//! What the doctor says: as root that all is well, elsewhere what is missing and why.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::kscope::{Running, TempDir, run};
use crate::ordinary::{BPF_AND_PERFMON, Copies};
use crate::{Case, btf, ordinary, privileges, trial};

const CASES: &[Case] = &[
    ("doctor::all_programs_are_listed_by_name_and_hook", all_is_well),
    ("doctor::a_namespace_of_pids_is_named", in_a_namespace),
    ("doctor::a_filter_that_refuses_bpf_is_named", filtered),
    ("doctor::a_mount_point_that_is_no_utf_8_hides_no_other", strange_mount),
    ("doctor::two_capabilities_are_enough_and_the_rest_is_degraded", capable),
];
const ORDINARY_CASE: Case = ("doctor::an_ordinary_user_hears_which_capability_is_missing", unprivileged);

pub fn trials() -> Vec<libtest_mimic::Trial> {
    let needs: &[fn() -> Option<String>] = &[privileges, btf, ordinary::not_root, outside];
    let mut all: Vec<_> = CASES.iter().map(|case| trial(*case, needs)).collect();
    all.push(trial(ORDINARY_CASE, &[ordinary::not_root]));
    all
}

/// Why the doctor finds something wrong here in any case, if so.
fn outside() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    (link.as_os_str() != "pid:[4026531836]").then(|| "needs the host's PID namespace".into())
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    (name == "without-bpf").then(|| {
        refuse_bpf().unwrap();
        panic!("{}", Command::new(&args[0]).args(&args[1..]).exec());
    })
}

/// Has every bpf(2) of this process, and of what it executes, end with EPERM.
fn refuse_bpf() -> io::Result<()> {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::try_from(libc::SYS_bpf).unwrap()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: the filter and its steps outlive the calls, which copy them.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What `doctor --json` says, and its exit status.
fn asked(command: Command) -> (Value, Option<i32>) {
    let output = Running::spawn(command).finish();
    let json: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}; stderr: {}", output.stdout, output.stderr));
    assert_eq!(json["schema"], 1);
    (json, output.status.code())
}

fn check<'a>(json: &'a Value, name: &str) -> &'a Value {
    json["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).expect("the check")
}

/// The reason and the advice of a check that is not well.
fn told(json: &Value, name: &str) -> String {
    let check = check(json, name);
    format!("{} {}", check["reason"].as_str().expect("a reason"), check["advice"].as_str().expect("an advice"))
}

fn all_is_well() {
    let (json, status) = asked({
        let mut command = Command::new(env!("CARGO_BIN_EXE_kscope"));
        command.args(["doctor", "--json"]);
        command
    });
    assert_eq!((&json["well"], status), (&json!(true), Some(0)), "{json}");
    let programs = json["programs"].as_array().unwrap();
    assert!(programs.iter().all(|p| p["name"].is_string() && p["hook"].is_string() && p["state"] != "impossible"));
    assert!(programs.iter().any(|p| p["name"] == "sys_enter" && p["state"] == "ok"), "{json}");
    assert!(json["maps"].as_array().unwrap().iter().all(|map| map["bytes"].as_u64().unwrap() > 0));
    // It changes nothing: who asks again hears the same.
    assert!(run(&["doctor"]).status.success());
}

fn unprivileged() {
    let copies = Copies::new();
    let (json, status) = asked(copies.command(&[], &["doctor", "--json"]));
    assert_eq!((&json["well"], status), (&json!(false), Some(1)));
    let text = told(&json, "privileges");
    assert!(text.contains("no CAP_BPF and no CAP_PERFMON") && text.contains("sudo setcap"), "{text}");
    let programs = json["programs"].as_array().unwrap();
    let calls = programs.iter().find(|p| p["name"] == "sys_enter").unwrap();
    assert!(
        calls["state"] == "impossible" && calls["reason"].as_str().unwrap().contains("could not be tried"),
        "{calls}"
    );
    let (json, _) = asked(copies.command(&[ordinary::CAP_BPF], &["doctor", "--json"]));
    let text = told(&json, "privileges");
    assert!(text.contains("no CAP_PERFMON") && !text.contains("no CAP_BPF"), "{text}");
}

fn capable() {
    let copies = Copies::new();
    let (json, status) = asked(copies.command(BPF_AND_PERFMON, &["doctor", "--json"]));
    assert_eq!((&json["well"], status), (&json!(true), Some(0)), "{json}");
    for name in ["run statistics", "other processes"] {
        assert_eq!(check(&json, name)["state"], "degraded", "{json}");
    }
    assert!(told(&json, "run statistics").contains("CAP_SYS_ADMIN"));
}

fn in_a_namespace() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_kscope"), "doctor", "--json"]);
    let (json, status) = asked(command);
    assert_eq!((&json["well"], status), (&json!(false), Some(1)));
    let text = told(&json, "process ids");
    assert!(text.contains("PID namespace") && text.contains("--pid=host"), "{text}");
}

/// A user may mount by any name, FUSE for one. The namespace is the command's own.
fn strange_mount() {
    let dir = TempDir::new();
    let mount = "d=$(printf '%s/\\377' \"$0\"); mkdir \"$d\" && mount -t tmpfs none \"$d\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", mount]).arg(dir.join("")).args([
        env!("CARGO_BIN_EXE_kscope"),
        "doctor",
        "--json",
    ]);
    let (json, status) = asked(command);
    assert_eq!((&check(&json, "/proc")["state"], status), (&json!("ok"), Some(0)), "{json}");
}

fn filtered() {
    let mut command = Command::new(crate::kscope::workload_path());
    command.args(["--workload", "without-bpf", env!("CARGO_BIN_EXE_kscope"), "doctor", "--json"]);
    let (json, status) = asked(command);
    assert_eq!((&json["well"], status), (&json!(false), Some(1)));
    assert!(told(&json, "bpf(2)").contains("seccomp filter"), "{json}");
    // What the kernel did not look at cannot tell what is wrong with it: the reason is the same.
    assert!(told(&json, "programs").contains("seccomp filter"), "{json}");
    assert_eq!(check(&json, "privileges")["state"], "ok");
}
