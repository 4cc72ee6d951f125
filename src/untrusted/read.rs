//! Readers of binary formats: BTF, netlink, addresses of sockets.

use super::assert_harmless;
use crate::kernel::btf::Btf;
use crate::kernel::offsets::Offsets;
use crate::probes::connections::diag;
use crate::probes::connections::stats::Protocol;
use crate::probes::stuck::asked::address;

/// Members that kscope asks for, and such as lie in one another.
const MEMBERS: [&str; 6] = [
    "task_struct.pid",
    "task_struct.thread_info.status",
    "sock.__sk_common.skc_family",
    "a.b",
    "task_struct.signal.live",
    "no_member",
];

/// BTF.
pub fn btf(bytes: &[u8]) {
    let _ = Offsets::from_btf(bytes);
    let Ok(btf) = Btf::parse(bytes) else { return };
    for member in MEMBERS {
        let _ = btf.member_offset(member);
        let _ = btf.bit_position(member);
    }
    let _ = btf.tracepoint_arity("sched_switch");
    let _ = btf.functions_of(&["task_pt_regs", "bpf_loop"]);
}

/// Answers of `inet_diag`, whole, by messages and by attributes, and addresses as `connect` takes them.
pub fn netlink(bytes: &[u8]) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut sockets = Vec::new();
        diag::parse(bytes, protocol, 1, &mut |socket| {
            sockets.push(socket);
            sockets.len() < 1_000
        });
        sockets.extend(diag::socket(bytes, protocol));
        for socket in sockets {
            assert_harmless(&format!("{} {:?}", socket.local, socket.peer));
        }
    }
    let _ = diag::path(bytes);
    if let Some(text) = &address(bytes) {
        assert_harmless(text);
    }
}
