use std::collections::HashMap;
use std::process::Command;
use std::time::Instant;

use proptest::prelude::*;

use super::blob::Blob;
use super::*;
use crate::kernel::offsets::VMLINUX;

const PATHS: [&str; 9] = [
    "task.pid",
    "task.deep",
    "task.in_union",
    "task.inner.field",
    "task.inner.none",
    "task.old_bits",
    "task.new_bits",
    "task.after_bits",
    "task.pointer.field",
];

/// All kinds once, and a structure with everything that can be on the way to a member.
fn every_kind() -> Blob {
    let mut blob = Blob::new();
    // Refers forward, as real BTF does: `inner` is type 8.
    let pointer = blob.refer(kind::PTR, "", 8);
    let int = blob.int("int", 4);
    let part = blob.raw("unsigned int", kind::INT << 24, 4, &[3 << 16 | 5]);
    let array = blob.raw("", kind::ARRAY << 24, 0, &[int, int, 16]);
    blob.raw("choice", kind::ENUM << 24 | 2, 4, &[0, 1, 0, 2]);
    blob.raw("wide", kind::ENUM64 << 24 | 1, 8, &[0, 1, 0]);
    blob.refer(kind::FWD, "elsewhere", 0);
    let inner = blob.structure("inner", &[("other", int, 0), ("field", array, 96)]);
    let inner = blob.refer(kind::CONST, "", inner);
    let inner = blob.refer(kind::VOLATILE, "", inner);
    let inner = blob.refer(kind::TYPE_TAG, "user", inner);
    let inner = blob.refer(kind::RESTRICT, "", inner);
    let inner = blob.refer(kind::TYPEDEF, "inner_t", inner);
    blob.raw("f", kind::FUNC << 24 | 1, 1, &[]);
    blob.raw("v", kind::VAR << 24, int, &[0]);
    blob.raw(".data", kind::DATASEC << 24 | 1, 4, &[1, 0, 4]);
    blob.raw("double", kind::FLOAT << 24, 8, &[]);
    blob.raw("tag", kind::DECL_TAG << 24, int, &[u32::MAX]);
    let lowest = blob.structure("", &[("deep", int, 64)]);
    let union = blob.union("", &[("in_union", int, 0), ("", lowest, 0)]);
    blob.structure("task", &[("elsewhere", int, 0)]);
    blob.structure_with_bit_fields(
        "task",
        &[
            ("pid", int, 32),
            ("", union, 128),
            ("inner", inner, 256),
            ("pointer", pointer, 512),
            ("old_bits", part, 576),
            ("new_bits", int, 1 << 24 | 0x260),
            ("after_bits", int, 640),
        ],
    );
    blob.tracepoint("sched_switch", 5);
    blob.tracepoint("sched_switch_more", 2);
    blob.tracepoint("broken", 0);
    blob
}

#[test]
fn members_are_found_through_anonymous_nested_and_qualified_types() {
    let bytes = every_kind().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    for (path, offset) in [
        ("task.pid", Some(4)),
        ("task.elsewhere", Some(0)),
        ("task.in_union", Some(16)),
        ("task.deep", Some(24)),
        ("task.inner.field", Some(44)),
        ("task.inner", Some(32)),
        ("task.after_bits", Some(80)),
        ("task.pi", None),
        ("task.pid_", None),
        ("task.inner.none", None),
        ("tas.pid", None),
    ] {
        assert_eq!(btf.member_offset(path), Ok(offset), "{path}");
    }
}

#[test]
fn what_has_no_byte_offset_is_refused() {
    let bytes = every_kind().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    for path in ["task.old_bits", "task.new_bits"] {
        assert_eq!(btf.member_offset(path), Err(BtfError::BitField(path.into())));
    }
    let behind = |path: &str, member: &str| {
        let error = btf.member_offset(path).unwrap_err();
        assert_eq!(error, BtfError::NotAStructure { path: path.into(), member: member.into() });
        assert!(error.concerns_one_member());
    };
    behind("task.pointer.field", "pointer");
    behind("task.pid.x", "pid");
    assert_eq!(btf.member_offset("task"), Err(BtfError::Path("task".into())));
}

#[test]
fn bits_and_functions_are_found() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    blob.structure_with_bit_fields(
        "task",
        &[("pid", int, 0), ("on_rq", int, 1 << 24 | 64), ("in_iowait", int, (1 << 24) + 77)],
    );
    let prototype = blob.raw("", kind::FUNC_PROTO << 24, 0, &[]);
    blob.refer(kind::FUNC, "bpf_task_pt_regs", prototype);
    let bytes = blob.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.bit_position("task.on_rq"), Ok(Some((8, 1))));
    assert_eq!(btf.bit_position("task.in_iowait"), Ok(Some((9, 32))));
    assert_eq!((btf.bit_position("task.pid"), btf.bit_position("task.none")), (Ok(None), Ok(None)));
    assert_eq!(btf.functions_of(&["bpf_task_pt_regs", "task"]), Ok(vec!["bpf_task_pt_regs"]));
}

#[test]
fn arity_leaves_out_the_data_pointer() {
    let bytes = every_kind().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.tracepoint_arity("sched_switch"), Ok(Some(4)));
    assert_eq!(btf.tracepoint_arity("sched_switch_more"), Ok(Some(1)));
    assert_eq!(btf.tracepoint_arity("sched"), Ok(None));
    assert_eq!(btf.tracepoint_arity("broken"), Err(BtfError::Prototype("broken".into())));
}

#[test]
fn foreign_and_cut_files_are_named() {
    assert_eq!(Btf::parse(&[]).unwrap_err(), BtfError::Truncated("the header"));
    assert_eq!(Btf::parse(b"\x7fELF").unwrap_err(), BtfError::Magic(0x457f));
    assert_eq!(Btf::parse(&[0xeb, 0x9f, 1, 0]).unwrap_err(), BtfError::BigEndian);
    assert_eq!(Btf::parse(&[0x9f, 0xeb, 2, 0]).unwrap_err(), BtfError::Version(2));
    let bytes = every_kind().bytes();
    for len in 4..bytes.len() {
        assert!(matches!(Btf::parse(&bytes[..len]), Err(BtfError::Truncated(_))), "{len} bytes");
    }
    let mut blob = Blob::new();
    blob.raw("new", 20 << 24, 0, &[]);
    assert_eq!(Btf::parse(&blob.bytes()).unwrap_err(), BtfError::Kind { id: 1, kind: 20 });
}

#[test]
fn circles_end() {
    let mut blob = Blob::new();
    blob.refer(kind::CONST, "", 2);
    blob.refer(kind::TYPEDEF, "circle", 1);
    blob.structure("task", &[("circle", 1, 0)]);
    // Each anonymous member is the structure itself, twice: exponential without a bound.
    blob.structure("matryoshka", &[("", 4, 0), ("", 4, 0)]);
    blob.structure("stray", &[("member", 99, 0)]);
    let bytes = blob.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.member_offset("task.circle.pid"), Err(BtfError::Endless("type 1".into())));
    assert_eq!(btf.member_offset("matryoshka.pid"), Err(BtfError::Endless("pid".into())));
    assert_eq!(btf.member_offset("stray.member"), Err(BtfError::Id(99)));
}

/// Asks everything; only that it comes back matters.
fn exercise(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for path in PATHS {
        let _ = btf.member_offset(path);
    }
    let _ = btf.tracepoint_arity("sched_switch");
    let _ = btf.tracepoint_arity("broken");
}

proptest! {
    #[test]
    fn random_bytes_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), lens in any::<[u8; 4]>()) {
        exercise(&bytes);
        // The same behind a header that lets them through.
        if bytes.len() >= 24 {
            bytes[..8].copy_from_slice(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
            for (i, len) in lens.into_iter().enumerate() {
                bytes[8 + 4 * i..12 + 4 * i].copy_from_slice(&u32::from(len).to_le_bytes());
            }
            exercise(&bytes);
        }
    }

    #[test]
    fn mutations_do_not_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = every_kind().bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        exercise(&bytes);
    }
}

/// Offsets in bits by `structure.member`, as another reader of the same file states them.
fn oracle() -> Option<HashMap<String, u32>> {
    let output = Command::new("bpftool").args(["btf", "dump", "file", VMLINUX, "format", "raw"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let quoted = |line: &str| line.split('\'').nth(1).map(str::to_owned);
    let mut offsets = HashMap::new();
    let mut structure = None;
    for line in text.lines() {
        if line.starts_with('[') {
            structure = quoted(line).filter(|_| line.contains("] STRUCT '"));
        } else if let (Some(structure), Some(member)) = (&structure, quoted(line))
            && let Some((_, bits)) = line.rsplit_once("bits_offset=")
            && let Ok(bits) = bits.parse()
        {
            offsets.entry(format!("{structure}.{member}")).or_insert(bits);
        }
    }
    Some(offsets)
}

#[test]
fn the_running_kernel_agrees_with_bpftool() {
    let Ok(bytes) = std::fs::read(VMLINUX) else {
        eprintln!("skipped: this kernel has no {VMLINUX}");
        return;
    };
    let start = Instant::now();
    let btf = Btf::parse(&bytes).unwrap();
    let parsed = start.elapsed();
    assert!(parsed.as_millis() < 500, "{parsed:?} for {} bytes", bytes.len());
    let Some(oracle) = oracle() else {
        eprintln!("skipped: bpftool is not installed, or cannot read {VMLINUX}");
        return;
    };
    assert!(oracle.contains_key("task_struct.pid") && oracle.contains_key("sock_common.skc_family"));
    let all = ["task_struct.pid", "task_struct.tgid", "task_struct.comm", "sock.sk_protocol", "sock.__sk_common"];
    for path in all {
        assert_eq!(btf.member_offset(path).unwrap(), oracle.get(path).map(|bits| bits / 8), "{path}");
    }
    let family = btf.member_offset("sock_common.skc_family").unwrap();
    assert_eq!(family, oracle.get("sock_common.skc_family").map(|bits| bits / 8));
    assert_eq!(btf.member_offset("sock.__sk_common.skc_family").unwrap(), family);
}

#[test]
fn mutations_of_the_running_kernel_do_not_panic() {
    let Ok(bytes) = std::fs::read(VMLINUX) else {
        eprintln!("skipped: this kernel has no {VMLINUX}");
        return;
    };
    // A fixed walk over the file: each step damages one word and asks again.
    let mut damaged = bytes.clone();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..40 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 20) as usize % (bytes.len() - 4);
        damaged[at..at + 4].copy_from_slice(&state.to_le_bytes()[4..]);
        if let Ok(btf) = Btf::parse(&damaged) {
            let _ = btf.member_offset("task_struct.pid");
            let _ = btf.member_offset("sock.__sk_common.skc_family");
            let _ = btf.tracepoint_arity("sched_switch");
        }
        damaged[at..at + 4].copy_from_slice(&bytes[at..at + 4]);
    }
}
