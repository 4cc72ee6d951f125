use super::*;
use crate::kernel::btf::blob::{Blob, Member};

/// The least that a kernel must have, with `task` in place of some of `task_struct`'s members.
fn kernel(task: &[Member], status: u32, tracepoints: &[(&str, u32)]) -> Vec<u8> {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let info = blob.structure_with_bit_fields("thread_info", &[("flags", int, 0), ("status", int, status)]);
    let names = ["pid", "tgid", "flags", "group_leader", "on_cpu", "comm", "real_parent", "exit_code", "signal"];
    let entity = blob.structure("sched_entity", &[("sum_exec_runtime", int, 64)]);
    let mut members = vec![("thread_info", info, 0), ("se", entity, 640)];
    members.extend((3..).zip(names).map(|(i, name)| (name, int, i * 32)));
    members.extend_from_slice(task);
    blob.structure("task_struct", &members);
    let common = blob.structure("sock_common", &[("skc_family", int, 128)]);
    blob.structure("signal_struct", &[("live", int, 32), ("flags", int, 64), ("group_exit_code", int, 96)]);
    blob.structure("sock", &[("__sk_common", common, 64)]);
    for (name, arguments) in tracepoints {
        blob.tracepoint(name, *arguments);
    }
    blob.bytes()
}

fn global(offsets: &Offsets, name: &str) -> u32 {
    offsets.globals().iter().find(|(global, _)| *global == name).unwrap().1
}

#[test]
fn newer_names_come_first_and_older_ones_do() {
    let all = [("state", 1, 800), ("__state", 1, 808), ("real_start_time", 1, 840)];
    let new = Offsets::from_btf(&kernel(&all, 64, &[("sched_switch", 5)])).unwrap();
    let old = Offsets::from_btf(&kernel(&[all[0], all[2]], 64, &[("sched_switch", 4)])).unwrap();
    assert_eq!((global(&new, "TASK_STATE"), global(&old, "TASK_STATE")), (101, 100));
    assert_eq!((global(&new, "SWITCH_ARGS"), global(&old, "SWITCH_ARGS")), (4, 3));
    assert_eq!((global(&new, "TASK_PID"), global(&new, "TASK_START")), (12, 105));
    assert_eq!(global(&new, "SOCK_FAMILY"), 24);
}

#[test]
fn the_system_call_entry_is_looked_for_where_it_means_something() {
    let bytes = kernel(&[("__state", 1, 800), ("start_boottime", 1, 832)], 64, &[]);
    let offsets = Offsets::from_btf(&bytes).unwrap();
    assert_eq!(
        global(&offsets, "TASK_TI_STATUS"),
        match std::env::consts::ARCH {
            "x86_64" => 8,
            "aarch64" => 0,
            _ => ABSENT,
        }
    );
}

#[test]
fn what_is_optional_may_be_absent_and_what_is_required_may_not() {
    let members = [("__state", 1, 800), ("start_boottime", 1, 832)];
    let bit_field = 8 << 24 | 64;
    let offsets = Offsets::from_btf(&kernel(&members, bit_field, &[("sys_enter", 3)])).unwrap();
    assert_eq!((global(&offsets, "TASK_TI_STATUS"), global(&offsets, "SWITCH_ARGS")), (ABSENT, ABSENT));
    assert!(offsets.has_tracepoint("sys_enter"));
    assert!(!offsets.has_tracepoint("sock_send_length") && !offsets.has_tracepoint("none"));

    let error = Offsets::from_btf(&kernel(&members[1..], 64, &[])).unwrap_err();
    assert!(matches!(error, OffsetsError::Missing { .. }));
    let text = error.to_string();
    assert!(text.contains("no task_struct.__state or task_struct.state,"), "{text}");
}

#[test]
fn a_kernel_without_btf_is_told_what_to_do() {
    let error = Offsets::read(Path::new("/nonexistent/vmlinux")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/vmlinux") && error.contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
    let error = Offsets::read(Path::new("/")).unwrap_err();
    assert!(matches!(error, OffsetsError::Unreadable { .. }));
    assert!(matches!(Offsets::from_btf(b"nonsense"), Err(OffsetsError::Btf(BtfError::Magic(_)))));
}

#[test]
fn each_global_is_named_once() {
    let others = [COMPAT_BIT, SWITCH_ARGS, EXIT_ARGS]
        .into_iter()
        .chain(HELPERS.map(|helper| helper.0))
        .chain(IOWAIT.1)
        .chain(BLOCK_ARGS.map(|args| args.0));
    let mut names: Vec<&str> = FIELDS.iter().map(|field| field.global).chain(others).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_running_kernel_has_what_is_required() {
    let path = Path::new(VMLINUX);
    if !path.exists() {
        eprintln!("skipped: this kernel has no {VMLINUX}");
        return;
    }
    let offsets = Offsets::read(path).unwrap();
    assert!(offsets.has_tracepoint("sys_enter") && offsets.has_tracepoint("sched_switch"));
    assert!(matches!(global(&offsets, "SWITCH_ARGS"), 3 | 4));
}
