//! Payload bytes by process, to the byte, against what the calls returned to the two ends.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{number, report};
use crate::workload::{arg, in_child};

pub const CASES: &[Case] = &[
    ("network::tcp_over_ipv4", || exact(&["tcp", "v4", "10000000", "write"], 10_000_000)),
    ("network::tcp_over_ipv6", || exact(&["tcp", "v6", "10000000", "write"], 10_000_000)),
    ("network::tcp_by_sendfile", || exact(&["tcp", "v4", "10000000", "sendfile"], 10_000_000)),
    ("network::tcp_by_sendmsg_and_recvmsg", || exact(&["tcp", "v4", "10000000", "vectors"], 10_000_000)),
    ("network::tcp_by_sendmsg_and_recvmsg_over_ipv6", || exact(&["tcp", "v6", "10000000", "vectors"], 10_000_000)),
    ("network::what_is_peeked_at_counts_once", || exact(&["tcp", "v4", "1000000", "peek"], 1_000_000)),
    ("network::udp_over_ipv4", || exact(&["udp", "v4", "1000000"], 1_000_000)),
    ("network::udp_over_ipv6", || exact(&["udp", "v6", "1000000"], 1_000_000)),
    ("network::a_datagram_that_is_cut_counts_as_far_as_it_is_copied", cut),
    ("network::unix_sockets_are_no_network", unix_is_none),
];

pub const NAMESPACE_CASES: &[Case] =
    &[("network::payload_to_another_namespace_is_said_to_be_that", to_another_namespace)];

/// What a pair of interfaces needs: iproute2, and an interface with a device, or virtual ones would be the wire.
pub fn no_pairs() -> Option<String> {
    let version = std::process::Command::new("ip").arg("-V").output();
    let has_ip = version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("iproute2"));
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let has_device = interfaces.map(|interface| interface.path().join("device")).any(|device| device.exists());
    (!has_ip || !has_device).then(|| "needs iproute2 and a network device".into())
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    let loopback = |version: &str| match version {
        "v4" => IpAddr::from(Ipv4Addr::LOCALHOST),
        "v6" => IpAddr::from(Ipv6Addr::LOCALHOST),
        other => panic!("no address version {other}"),
    };
    match (name, args) {
        ("tcp", [version, _, mode]) => Some(tcp(loopback(version), arg(args, 1), mode)),
        ("udp", [version, _]) => Some(udp(loopback(version), arg(args, 1))),
        ("cut", [version, mode]) => Some(receive_cut(loopback(version), mode)),
        ("namespace", [bytes]) => Some(namespace(bytes.parse().unwrap())),
        ("unix", [_]) => Some(unix(arg(args, 0))),
        _ => None,
    }
}

/// The sender shows what it sent and received nothing, the receiver the reverse, and the command's tree the sum.
fn exact(workload: &[&str], bytes: u64) {
    let report = report(workload);
    let (sender, receiver) = (&report.facts["sender"], &report.facts["receiver"]);
    let moved = (number(&sender["bytes"]), number(&receiver["bytes"]));
    assert_eq!(moved, (bytes, bytes), "the workload itself lost bytes");
    assert_eq!(traffic(report.process(number(&sender["pid"])).0), (bytes, 0), "the sender's tx and rx");
    assert_eq!(traffic(report.process(number(&receiver["pid"])).0), (0, bytes), "the receiver's tx and rx");
    assert_eq!(traffic(&report.json), (bytes, bytes), "both together");
}

/// Datagrams of 1,000 bytes for buffers of 100 to 300, and ways to receive them; TCP throws away what is asked for so.
const DATAGRAMS: u64 = 50;
const CUT: [(&str, u64); 6] = [
    ("recv", 100),
    ("recv-trunc", 100),
    ("recvmsg", 300),
    ("recvmsg-trunc", 300),
    ("recvmmsg-trunc", 100),
    ("large-trunc", 1_000),
];

fn cut() {
    for version in ["v4", "v6"] {
        let wrong: Vec<_> = CUT
            .iter()
            .filter_map(|(mode, room)| {
                let report = report(&["cut", version, mode]);
                let pid = number(&report.facts["receiver"]["pid"]);
                assert_eq!(number(&report.facts["receiver"]["bytes"]), DATAGRAMS * room, "{mode}");
                let shown = traffic(report.process(pid).0).1;
                (shown != DATAGRAMS * room).then_some((version, mode, shown, DATAGRAMS * room))
            })
            .collect();
        assert!(wrong.is_empty(), "shown, copied: {wrong:?}");
    }
    let report = report(&["cut", "v4", "tcp-trunc"]);
    let pid = number(&report.facts["receiver"]["pid"]);
    assert_eq!(traffic(report.process(pid).0).1, number(&report.facts["receiver"]["bytes"]), "what TCP threw away");
}

fn receive_cut(address: IpAddr, mode: &str) -> Value {
    if mode == "tcp-trunc" {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let there = listener.local_addr().unwrap();
        let receive = || {
            let from = listener.accept().unwrap().0;
            let mut buffer = [0_u8; 1_000];
            let mut read = |flags| {
                // SAFETY: the buffer is as long as it says.
                unsafe { libc::recv(from.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) }
            };
            assert_eq!(read(libc::MSG_TRUNC | libc::MSG_WAITALL), 1_000);
            read(libc::MSG_WAITALL).unsigned_abs() as u64
        };
        return ends(|| send_plainly(TcpStream::connect(there).unwrap(), 2_000), receive);
    }
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let there = socket.local_addr().unwrap();
    let send = || {
        let from = UdpSocket::bind((address, 0)).unwrap();
        (0..DATAGRAMS).map(|_| from.send_to(&[7; 1_000], there).unwrap() as u64).sum()
    };
    ends(send, || (0..DATAGRAMS).map(|_| receive_one(&socket, mode)).sum())
}

/// Bytes that were copied of one datagram.
fn receive_one(socket: &UdpSocket, mode: &str) -> u64 {
    let flags = if mode.ends_with("-trunc") { libc::MSG_TRUNC } else { 0 };
    let mut buffer = [0_u8; 2_000];
    let room = match mode.split('-').next() {
        Some("recvmsg") => 300,
        Some("large") => buffer.len(),
        _ => 100,
    };
    let (fd, at) = (socket.as_raw_fd(), buffer.as_mut_ptr());
    // SAFETY: the buffers lie in one that is longer than all of them, and the messages outlive the calls.
    let returned = unsafe {
        let part = |from: usize, len| libc::iovec { iov_base: at.add(from).cast(), iov_len: len };
        // A part of each length: 100 and 200.
        let mut parts = [part(0, 100), part(100, 200)];
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), if room == 300 { 2 } else { 1 });
        match mode {
            "recvmsg" | "recvmsg-trunc" => libc::recvmsg(fd, &raw mut message, flags),
            "recvmmsg-trunc" => {
                let mut one: libc::mmsghdr = std::mem::zeroed();
                one.msg_hdr = message;
                assert_eq!(libc::recvmmsg(fd, &raw mut one, 1, flags as _, std::ptr::null_mut()), 1);
                isize::try_from(one.msg_len).unwrap()
            }
            _ => libc::recv(fd, at.cast(), room, flags),
        }
    };
    assert_eq!(returned == 1_000, flags != 0, "{mode} returned {returned}");
    buffer.iter().take_while(|byte| **byte == 7).count() as u64
}

/// What goes to another namespace is on no device's wire: JSON says what the text says, and how much it was.
fn to_another_namespace() {
    let bytes = 3_000_000;
    let report = report(&["namespace", &bytes.to_string()]);
    let row = &report.json["network"]["conservation"];
    let what = row["unattributed"].as_str().expect("a sentence on what unattributed bytes are");
    assert!(what.contains("other network namespaces"), "{what}");
    assert!(row["tx_unattributed"].as_i64().unwrap() < 0 && number(&row["tx_virtual"]) >= bytes, "{row}");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("veth")), "{row}");
}

/// A pair of interfaces, one of them in the namespace of a child, which receives.
fn namespace(bytes: u64) -> Value {
    let ip = |args: &str| {
        let status = std::process::Command::new("ip").args(args.split_whitespace()).status().unwrap();
        assert!(status.success(), "ip {args}");
    };
    let name = format!("ks{}", std::process::id());
    let (ready, mut begin) = std::io::pipe().unwrap();
    let (mut unshared, says) = std::io::pipe().unwrap();
    let receiver = in_child(move || {
        // SAFETY: the process has one thread.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        (&says).write_all(&[1]).unwrap();
        (&ready).read_exact(&mut [0]).unwrap();
        let listener = TcpListener::bind("10.213.7.2:7000").unwrap();
        (&says).write_all(&[1]).unwrap();
        json!({ "bytes": receive_plainly(listener.accept().unwrap().0) })
    });
    unshared.read_exact(&mut [0]).unwrap();
    ip(&format!("link add {name} type veth peer name eth0 netns {}", receiver.pid));
    ip(&format!("addr add 10.213.7.1/30 dev {name}"));
    ip(&format!("link set {name} up"));
    let inside = format!("-t {} -n ip", receiver.pid);
    for args in ["addr add 10.213.7.2/30 dev eth0", "link set eth0 up"] {
        let mut command = std::process::Command::new("nsenter");
        assert!(command.args(inside.split_whitespace()).args(args.split_whitespace()).status().unwrap().success());
    }
    begin.write_all(&[1]).unwrap();
    unshared.read_exact(&mut [0]).unwrap();
    let sender =
        in_child(move || json!({ "bytes": send_plainly(TcpStream::connect("10.213.7.2:7000").unwrap(), bytes) }));
    // The pair goes with the namespace of the receiver.
    json!({ "sender": sender.join(), "receiver": receiver.join() })
}

fn unix_is_none() {
    let report = report(&["unix", "1000000"]);
    for end in ["sender", "receiver"] {
        let end = &report.facts[end];
        assert_eq!(number(&end["bytes"]), 1_000_000, "the workload itself lost bytes");
        assert_eq!(traffic(report.process(number(&end["pid"])).0), (0, 0));
    }
}

fn traffic(owner: &Value) -> (u64, u64) {
    (number(&owner["network"]["tx_bytes"]), number(&owner["network"]["rx_bytes"]))
}

/// Runs the two ends as processes of their own. Each gives back how many bytes its calls said they moved.
fn ends(sender: impl FnOnce() -> u64, receiver: impl FnOnce() -> u64) -> Value {
    let receiver = in_child(|| json!({ "bytes": receiver() }));
    let sender = in_child(|| json!({ "bytes": sender() }));
    json!({ "sender": sender.join(), "receiver": receiver.join() })
}

fn tcp(address: IpAddr, bytes: u64, mode: &str) -> Value {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    let send: fn(&TcpStream, u64) -> u64 = match mode {
        "sendfile" => send_file,
        "vectors" => send_vectors,
        _ => |stream, bytes| send_plainly(stream, bytes),
    };
    let receive: fn(&TcpStream) -> u64 = match mode {
        "vectors" => receive_vectors,
        "peek" => receive_peeking,
        _ => |stream| receive_plainly(stream),
    };
    ends(|| send(&TcpStream::connect(there).unwrap(), bytes), || receive(&listener.accept().unwrap().0))
}

/// In pieces of a size that divides nothing.
fn send_plainly(mut to: impl Write, bytes: u64) -> u64 {
    let piece = vec![7_u8; 30_011];
    let mut sent = 0;
    while sent < bytes {
        let left = usize::try_from(bytes - sent).unwrap().min(piece.len());
        sent += to.write(&piece[..left]).unwrap() as u64;
    }
    sent
}

fn receive_plainly(mut from: impl Read) -> u64 {
    let mut piece = vec![0_u8; 40_009];
    let mut received = 0;
    loop {
        match from.read(&mut piece).unwrap() {
            0 => return received,
            n => received += n as u64,
        }
    }
}

fn receive_peeking(mut from: &TcpStream) -> u64 {
    let mut piece = [0_u8; 9_973];
    let (mut peeked, mut received) = (0, 0);
    loop {
        peeked += from.peek(&mut piece).unwrap() as u64;
        match from.read(&mut piece).unwrap() {
            0 => break,
            n => received += n as u64,
        }
    }
    assert!(peeked > 0, "nothing was peeked at");
    received
}

fn send_file(to: &TcpStream, bytes: u64) -> u64 {
    // SAFETY: the name is a C string; the descriptor is new and owned by nobody else.
    let file = unsafe {
        let fd = libc::memfd_create(c"payload".as_ptr(), 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: plain calls on descriptors that are open.
    assert_eq!(unsafe { libc::ftruncate(file.as_raw_fd(), bytes.cast_signed()) }, 0);
    let mut sent = 0;
    while sent < bytes {
        let left = usize::try_from(bytes - sent).unwrap();
        // SAFETY: as above; without an offset the file's own position moves.
        let n = unsafe { libc::sendfile(to.as_raw_fd(), file.as_raw_fd(), std::ptr::null_mut(), left) };
        assert!(n > 0, "sendfile: {}", std::io::Error::last_os_error());
        sent += n.unsigned_abs() as u64;
    }
    sent
}

const VECTORS: [usize; 3] = [1_000, 24, 8_976];

fn send_vectors(to: &TcpStream, bytes: u64) -> u64 {
    let mut sent = 0;
    while sent < bytes {
        let left = usize::try_from(bytes - sent).unwrap();
        sent += vectors(left, |message| {
            // SAFETY: the message and its buffers are alive, and only read.
            unsafe { libc::sendmsg(to.as_raw_fd(), message, 0) }
        });
    }
    sent
}

fn receive_vectors(from: &TcpStream) -> u64 {
    let mut received = 0;
    loop {
        let n = vectors(usize::MAX, |message| {
            // SAFETY: the message and its buffers are alive and nobody else's.
            unsafe { libc::recvmsg(from.as_raw_fd(), message, 0) }
        });
        if n == 0 {
            return received;
        }
        received += n;
    }
}

/// Calls `act` with a message of three buffers that hold no more than `limit` bytes together.
fn vectors(limit: usize, act: impl FnOnce(*mut libc::msghdr) -> isize) -> u64 {
    let mut buffers = VECTORS.map(|size| vec![3_u8; size]);
    let mut left = limit;
    let mut parts = buffers.each_mut().map(|buffer| {
        let size = buffer.len().min(left);
        left -= size;
        libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: size }
    });
    // SAFETY: zeros are a valid msghdr: no address, no ancillary data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    let n = act(&raw mut message);
    assert!(n >= 0, "{}", std::io::Error::last_os_error());
    n.unsigned_abs() as u64
}

/// In datagrams of 1,000 bytes, each acknowledged through a pipe before the next: none can find a full buffer.
fn udp(address: IpAddr, bytes: u64) -> Value {
    const DATAGRAM: usize = 1_000;
    let to = UdpSocket::bind((address, 0)).unwrap();
    let there = to.local_addr().unwrap();
    let (mut acknowledged, mut acknowledge) = std::io::pipe().unwrap();
    let datagrams = bytes / DATAGRAM as u64;
    let send = || {
        let from = UdpSocket::bind((address, 0)).unwrap();
        (0..datagrams)
            .map(|_| {
                let sent = from.send_to(&[5; DATAGRAM], there).unwrap();
                acknowledged.read_exact(&mut [0]).unwrap();
                sent as u64
            })
            .sum()
    };
    let receive = || {
        (0..datagrams)
            .map(|_| {
                let received = to.recv_from(&mut [0; 2 * DATAGRAM]).unwrap().0;
                acknowledge.write_all(&[1]).unwrap();
                received as u64
            })
            .sum()
    };
    ends(send, receive)
}

fn unix(bytes: u64) -> Value {
    let (near, far) = UnixStream::pair().unwrap();
    ends(
        move || {
            let sent = send_plainly(&near, bytes);
            // The other end's copies in this process would keep the stream open.
            near.shutdown(std::net::Shutdown::Write).unwrap();
            sent
        },
        move || receive_plainly(&far),
    )
}
