//! Connections: bytes, ends and owners against what the two ends know, paths and queues against `ss`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;

use serde_json::{Value, json};

use crate::Case;
use crate::kscope::{Output, Report, Running, TempDir, number, report_as, workload_path};
use crate::workload::{arg, in_child};

pub const CASES: &[Case] = &[
    ("connections::bytes_ends_and_owners_over_ipv4", || both_ways("v4")),
    ("connections::bytes_ends_and_owners_over_ipv6", || both_ways("v6")),
    ("connections::udp_bytes_by_socket", udp_by_socket),
    ("connections::of_500_short_ones_none_is_lost", short_ones),
    ("connections::of_a_storm_none_is_lost_unnoticed", storm),
    ("connections::those_without_room_are_counted_as_lost", crowd),
    ("connections::a_refused_one_is_shown_once", refused),
    ("connections::what_is_sent_again_is_counted", sent_again),
    ("connections::those_of_another_network_namespace_are_counted", elsewhere),
    ("connections::a_bulk_transfer_is_conserved", conserved),
];

/// Those for which `ss` is the oracle.
pub const SS_CASES: &[Case] =
    &[("connections::path_and_owner_of_an_idle_one", idle), ("connections::a_full_accept_queue", full_queue)];

/// Why `ss` cannot be asked, if so.
pub fn ss_missing() -> Option<String> {
    Command::new("ss").arg("-V").output().is_err().then(|| "needs ss".into())
}

pub fn workload(name: &str, args: &[String]) -> Option<Value> {
    match (name, args) {
        ("both-ways", [version]) => Some(talk(loopback(version))),
        ("short-connections", [_]) => Some(short_connections(arg(args, 0))),
        ("crowd", [_]) => Some(sockets_at_once(arg(args, 0))),
        ("udp-sockets", []) => Some(udp_sockets()),
        ("refused", []) => Some(ask_in_vain()),
        ("elsewhere", []) => Some(talk_elsewhere()),
        ("conserved", []) => Some(send_in_bulk()),
        _ => None,
    }
}

fn loopback(version: &str) -> IpAddr {
    match version {
        "v4" => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    }
}

fn report(workload: &[&str]) -> Report {
    let (output, facts) = report_as(&["--format", "json", "--with", "connections"], workload);
    Report::parse(&output, facts)
}

/// All rows of a process but those that listen: a child has the listening sockets of its parent too.
fn of(report: &Report, pid: u64) -> Vec<&Value> {
    let list = report.json["connections"]["list"].as_array().expect("a list of connections");
    let listens = |row: &Value| row["protocol"] == "tcp" && row["peer"].is_null();
    list.iter().filter(|row| row["pid"] == pid && !listens(row)).collect()
}

/// The one row of a process.
fn only(report: &Report, pid: u64) -> &Value {
    match of(report, pid)[..] {
        [one] => one,
        ref many => panic!("{} connections of {pid}: {many:?} in {}", many.len(), report.json["connections"]),
    }
}

fn moved(row: &Value) -> (u64, u64) {
    (number(&row["tx_bytes"]), number(&row["rx_bytes"]))
}

/// What one end knows of itself.
fn end(local: SocketAddr, peer: SocketAddr, sent: u64, received: u64) -> Value {
    json!({ "local": local.to_string(), "peer": peer.to_string(), "sent": sent, "received": received })
}

fn assert_end(report: &Report, end: &Value) {
    let row = only(report, number(&end["pid"]));
    assert_eq!((&row["local"], &row["peer"]), (&end["local"], &end["peer"]));
    assert_eq!(moved(row), (number(&end["sent"]), number(&end["received"])), "{row}");
    assert_eq!((&row["protocol"], &row["state"]), (&"tcp".into(), &"closed".into()));
    assert_eq!(row["age_quality"], "exact");
}

fn both_ways(version: &str) {
    let report = report(&["both-ways", version]);
    assert_eq!(report.json["connections"]["quality"], "exact");
    assert_eq!(number(&report.facts["client"]["sent"]), 3_000_001);
    for which in ["client", "server"] {
        let end = &report.facts[which];
        assert_end(&report, end);
        assert_eq!(only(&report, number(&end["pid"]))["elsewhere"], false);
    }
}

/// A client sends 3,000,001 bytes and gets 70,007 back.
fn talk(address: IpAddr) -> Value {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    let server = in_child(|| {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut got = vec![0; 3_000_001];
        stream.read_exact(&mut got).unwrap();
        stream.write_all(&vec![1; 70_007]).unwrap();
        end(stream.local_addr().unwrap(), peer, 70_007, 3_000_001)
    });
    let client = in_child(|| {
        let mut stream = TcpStream::connect(there).unwrap();
        stream.write_all(&vec![2; 3_000_001]).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        end(stream.local_addr().unwrap(), there, 3_000_001, got.len() as u64)
    });
    json!({ "client": client.join(), "server": server.join() })
}

fn short_ones() {
    let report = report(&["short-connections", "500"]);
    assert_eq!(
        (&report.json["connections"]["lost"], &report.json["connections"]["quality"]),
        (&0.into(), &"exact".into())
    );
    for (which, bytes) in [("client", (1_024, 0)), ("server", (0, 1_024))] {
        let rows = of(&report, number(&report.facts[which]["pid"]));
        assert_eq!(rows.len(), 500, "connections of the {which}");
        assert!(rows.iter().all(|row| moved(row) == bytes && row["state"] == "closed"));
    }
}

/// More than there is room for within one interval.
fn storm() {
    const EACH: u64 = 5_000;
    let report = report(&["short-connections", "5000"]);
    let section = &report.json["connections"];
    let lost = number(&section["lost"]);
    let rows: Vec<_> = ["client", "server"].map(|w| of(&report, number(&report.facts[w]["pid"]))).concat();
    let whole = rows.iter().filter(|row| moved(row).0 + moved(row).1 == 1_024).count() as u64;
    let unlisted = number(&section["unlisted"]["count"]);
    assert!(whole + unlisted + lost >= 2 * EACH, "{whole} whole, {unlisted} unlisted, {lost} events lost");
    let known: u64 = rows.iter().map(|row| moved(row).0 + moved(row).1).sum();
    let unlisted = number(&section["unlisted"]["tx_bytes"]) + number(&section["unlisted"]["rx_bytes"]);
    assert!(known + unlisted <= 2 * EACH * 1_024);
    if lost == 0 {
        assert_eq!(known + unlisted, 2 * EACH * 1_024);
    }
    assert_eq!(section["quality"], if lost > 0 { "lower_bound" } else { "exact" });
}

/// More at once than the map has room for.
fn crowd() {
    const ALL: u64 = 9_000;
    let report = report(&["crowd", &ALL.to_string()]);
    let section = &report.json["connections"];
    let rows = of(&report, number(&report.facts["crowd"]["pid"]));
    let known = rows.iter().filter(|row| moved(row) == (10, 0)).count() as u64;
    let lost = number(&section["lost"]);
    assert!(known < ALL && known + lost >= ALL, "{known} known, {lost} events lost");
    assert_eq!(section["quality"], "lower_bound");
    assert_eq!(
        traffic(report.process(number(&report.facts["crowd"]["pid"])).0),
        10 * ALL,
        "of the process all are known"
    );
}

fn traffic(owner: &Value) -> u64 {
    number(&owner["network"]["tx_bytes"])
}

/// A UDP socket after the other sends 10 bytes, and stays open until all have.
fn sockets_at_once(times: u64) -> Value {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let room = Some(times + 100);
    setrlimit(Resource::Nofile, Rlimit { current: room, maximum: room }).expect("a privileged process may");
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = sink.local_addr().unwrap();
    let crowd = in_child(|| {
        let send = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            assert_eq!(socket.send_to(&[1; 10], there).unwrap(), 10);
            socket
        };
        let sockets: Vec<UdpSocket> = (0..times).map(send).collect();
        json!({ "sockets": sockets.len() })
    });
    json!({ "crowd": crowd.join() })
}

/// One after the other, 1 KiB each.
fn short_connections(times: u64) -> Value {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    let server = in_child(|| {
        let mut got = Vec::new();
        for _ in 0..times {
            listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        }
        json!({ "received": got.len() })
    });
    let client = in_child(|| {
        for _ in 0..times {
            TcpStream::connect(there).unwrap().write_all(&[3; 1_024]).unwrap();
        }
        json!({})
    });
    let server = server.join();
    assert_eq!(number(&server["received"]), times * 1_024);
    json!({ "client": client.join(), "server": server })
}

fn udp_by_socket() {
    let report = report(&["udp-sockets"]);
    for which in ["sender", "receiver"] {
        let end = &report.facts[which];
        let row = only(&report, number(&end["pid"]));
        assert_eq!(moved(row), (number(&end["sent"]), number(&end["received"])));
        assert_eq!((&row["protocol"], &row["local"], &row["peer"]), (&"udp".into(), &end["local"], &end["peer"]));
        // Nothing tells of the end of a UDP socket: it is missing in the kernel's list.
        assert_eq!((&row["state"], &row["path"]), (&"closed".into(), &Value::Null));
    }
}

/// A sender with a peer, and a receiver without: 300 datagrams, each acknowledged through a pipe.
fn udp_sockets() -> Value {
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = to.local_addr().unwrap();
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    from.connect(there).unwrap();
    let here = from.local_addr().unwrap();
    let (mut acknowledged, mut acknowledge) = std::io::pipe().unwrap();
    let receiver = in_child(|| {
        for _ in 0..300 {
            assert_eq!(to.recv(&mut [0; 2_000]).unwrap(), 700);
            acknowledge.write_all(&[1]).unwrap();
        }
        json!({ "local": there.to_string(), "peer": null, "sent": 0, "received": 300 * 700 })
    });
    let sender = in_child(|| {
        for _ in 0..300 {
            assert_eq!(from.send(&[5; 700]).unwrap(), 700);
            acknowledged.read_exact(&mut [0]).unwrap();
        }
        json!({ "local": here.to_string(), "peer": there.to_string(), "sent": 300 * 700, "received": 0 })
    });
    json!({ "sender": sender.join(), "receiver": receiver.join() })
}

fn refused() {
    let report = report(&["refused"]);
    let row = only(&report, number(&report.facts["asker"]["pid"]));
    assert_eq!((&row["state"], &row["peer"]), (&"closed".into(), &report.facts["asker"]["peer"]));
    assert_eq!(moved(row), (0, 0));
}

/// Asks a port at which nobody listens any more.
fn ask_in_vain() -> Value {
    let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let asker = in_child(|| {
        let error = TcpStream::connect(there).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        json!({ "peer": there.to_string() })
    });
    json!({ "asker": asker.join() })
}

/// A receiver drops what comes in, by a filter on its socket, until the sender has sent it again three times.
fn sent_again() {
    let ((report, again), (here, there)) = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let there = listener.local_addr().unwrap();
        let mut sender = TcpStream::connect(there).unwrap();
        let (mut receiver, here) = listener.accept().unwrap();
        let measured = measured(|| {
            drop_all(&receiver, true);
            sender.write_all(&[7; 1_000]).unwrap();
            while sent_again_by(&sender) < 3 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            drop_all(&receiver, false);
            receiver.read_exact(&mut [0; 1_000]).unwrap();
            sent_again_by(&sender)
        });
        (measured, (here, there))
    };
    let row = mine(&report, here, Some(there));
    assert_eq!(number(&row["retransmits"]), u64::from(again), "segments sent again, as TCP_INFO has them");
    assert_eq!(row["path"]["retransmits_ever"], again);
    assert_eq!(moved(row), (1_000, 0), "what is sent again is no new payload");
}

/// Has the kernel drop all packets for a socket, or lets them through again.
fn drop_all(stream: &TcpStream, yes: bool) {
    let mut nothing = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    let option = if yes { libc::SO_ATTACH_FILTER } else { libc::SO_DETACH_FILTER };
    let length = u32::try_from(size_of_val(&program)).unwrap();
    // SAFETY: the program and its one instruction outlive the call; detaching ignores the value.
    let result =
        unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const program).cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// `tcpi_total_retrans` of the sender itself.
fn sent_again_by(stream: &TcpStream) -> u32 {
    // SAFETY: zeros are a valid tcp_info; the length says how much of it there is.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = u32::try_from(size_of_val(&info)).unwrap();
        let place = (&raw mut info).cast();
        assert_eq!(libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut length), 0);
        info.tcpi_total_retrans
    }
}

fn elsewhere() {
    let report = report(&["elsewhere"]);
    for which in ["client", "server"] {
        let end = &report.facts[which];
        assert_end(&report, end);
        assert_eq!(only(&report, number(&end["pid"]))["elsewhere"], true);
    }
}

fn talk_elsewhere() -> Value {
    alone_in_a_network();
    talk(loopback("v4"))
}

/// Gives the calling process an empty network of its own, with a loopback interface that works.
fn alone_in_a_network() {
    // SAFETY: a workload has one thread.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // SAFETY: zeros are a valid ifreq; it outlives the call.
    unsafe {
        let mut up: libc::ifreq = std::mem::zeroed();
        (up.ifr_name[0], up.ifr_name[1]) = (b'l'.cast_signed(), b'o'.cast_signed());
        up.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap();
        assert_eq!(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const up), 0);
    }
}

/// Measures until `meanwhile` has returned.
fn measured<T>(meanwhile: impl FnOnce() -> T) -> (Report, T) {
    let mut kscope = Running::start(&["report", "--format", "json", "--with", "connections", "--for", "60s"]);
    kscope.wait_until_measuring();
    let known = meanwhile();
    let output: Output = kscope.stop();
    (Report::parse(&output, Value::Null), known)
}

/// The row with these ends, which must be the calling process's.
fn mine(report: &Report, local: SocketAddr, peer: Option<SocketAddr>) -> &Value {
    let (local, peer) = (Value::from(local.to_string()), peer.map_or(Value::Null, |peer| peer.to_string().into()));
    let list = report.json["connections"]["list"].as_array().expect("a list of connections");
    let row = list.iter().find(|row| row["local"] == local && row["peer"] == peer);
    let row = row.unwrap_or_else(|| panic!("nothing at {local} with {peer} in {list:?}"));
    assert_eq!(row["pid"], std::process::id());
    row
}

/// The line of `ss` with these ends, in their order.
fn ss(options: &str, ends: &[String]) -> String {
    let output = Command::new("ss").arg(options).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let has = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.windows(ends.len()).any(|window| window == ends)
    };
    text.lines().find(has).unwrap_or_else(|| panic!("{ends:?} not in {text}")).to_owned()
}

/// The value of `name:value` in a line of `ss`.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// A connection that was there before, on which nothing happens while it is measured.
fn idle() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(there).unwrap();
    let (mut server, here) = listener.accept().unwrap();
    for _ in 0..20 {
        client.write_all(&[1; 5_000]).unwrap();
        server.read_exact(&mut [0; 5_000]).unwrap();
    }
    let (report, line) = measured(|| ss("-tinHO", &[here.to_string(), there.to_string()]));
    let row = mine(&report, here, Some(there));
    assert_eq!((&row["state"], &row["age_quality"]), (&"established".into(), &"lower_bound".into()));
    assert_eq!(moved(row), (0, 0), "what it moved before");
    let path = &row["path"];
    let (rtt, deviation) = field(&line, "rtt").split_once('/').unwrap();
    // In ms with three decimals: microseconds, as the kernel has them.
    let shown = |ns: &Value| format!("{:.3}", number(ns) as f64 / 1e6).trim_end_matches('0').to_owned();
    let said = |ms: &str| format!("{:.3}", ms.parse::<f64>().unwrap()).trim_end_matches('0').to_owned();
    assert_eq!((shown(&path["rtt_ns"]), shown(&path["rtt_var_ns"])), (said(rtt), said(deviation)), "{line}");
    assert_eq!(path["cwnd"].to_string(), field(&line, "cwnd"));
    assert_eq!(path["mss"].to_string(), field(&line, "mss"));
    drop((client, server));
}

/// Three wait, and there is room for no more.
fn full_queue() {
    const BACKLOG: i32 = 2;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // SAFETY: a descriptor of ours; listening again changes the limit only.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) }, 0);
    let there = listener.local_addr().unwrap();
    let waiting: Vec<TcpStream> = (0..=BACKLOG).map(|_| TcpStream::connect(there).unwrap()).collect();
    let (report, line) = measured(|| ss("-lntH", &[there.to_string()]));
    let row = mine(&report, there, None);
    let words: Vec<&str> = line.split_whitespace().collect();
    let queue = &row["accept_queue"];
    assert_eq!([queue["length"].to_string(), queue["limit"].to_string()], [words[1], words[2]], "{line}");
    assert_eq!((number(&queue["length"]), &row["state"]), (waiting.len() as u64, &"listening".into()));
    // Those that wait have no process yet.
    let peers = waiting.iter().map(|stream| stream.local_addr().unwrap().to_string());
    let list = report.json["connections"]["list"].as_array().unwrap();
    for peer in peers {
        let row = list.iter().find(|row| row["peer"] == peer.as_str()).unwrap();
        assert_eq!(row["pid"], Value::Null);
    }
}

/// Header of a packet as loopback counts it, at most: IPv4 with options, TCP with options.
const MOST_HEADER: u64 = 60 + 60;
/// What is sent in bulk.
const BULK: u64 = 200_000_000;

/// In a network that nobody else uses, measuring nothing but the process that uses it.
fn conserved() {
    let dir = TempDir::new();
    let path = dir.join("facts.json");
    let workload = ["--workload", "conserved"];
    let status = Command::new(workload_path()).args(workload).env("KSCOPE_FACTS", &path).status().unwrap();
    assert!(status.success());
    let facts: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (sum, packets) = (&facts["conservation"], number(&facts["packets"]));
    assert_eq!((number(&sum["tx_payload"]), number(&sum["rx_payload"])), (BULK, BULK));
    assert_eq!((&sum["tx_interfaces"], &sum["quality"]), (&0.into(), &"estimate".into()));
    let unattributed = number(&sum["loopback_bytes"]) - BULK;
    assert_eq!((number(&sum["tx_unattributed"]), number(&sum["rx_unattributed"])), (unattributed, unattributed));
    // Where a receiver does not keep up, its kernel drops packets.
    let again = number(&facts["sent_again"]);
    let most = again + packets * MOST_HEADER;
    assert!(
        unattributed > again && unattributed <= most,
        "{unattributed} bytes, {again} sent again, {packets} packets"
    );
}

fn send_in_bulk() -> Value {
    alone_in_a_network();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    let own = std::process::id().to_string();
    let mut kscope = Running::start(&["report", "--format", "json", "--pid", &own, "--only", "--for", "60s"]);
    kscope.wait_until_measuring();
    let sender = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(there).unwrap();
        let piece = vec![1; 50_000];
        for _ in 0..BULK / 50_000 {
            stream.write_all(&piece).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Until the other end has got it all, and closed.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        bytes_sent_again_by(&stream)
    });
    let mut stream = listener.accept().unwrap().0;
    let mut received = 0;
    let mut piece = vec![0; 100_000];
    while let n @ 1.. = stream.read(&mut piece).unwrap() {
        received += n as u64;
    }
    assert_eq!(received, BULK);
    drop(stream);
    let again = sender.join().unwrap();
    let report = Report::parse(&kscope.stop(), Value::Null);
    let sum = &report.json["network"]["conservation"];
    json!({ "conservation": sum, "packets": packets_on_loopback(), "sent_again": again })
}

/// `tcpi_bytes_retrans` of `struct tcp_info`, which the C library's does not have.
fn bytes_sent_again_by(stream: &TcpStream) -> u64 {
    const AT: usize = 208 / 8;
    let mut info = [0_u64; AT + 1];
    let mut length = u32::try_from(size_of_val(&info)).unwrap();
    let place = info.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than the length says.
    let result =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut length) };
    assert!(result == 0 && length as usize == size_of_val(&info));
    info[AT]
}

/// Packets sent over the loopback interface of this network.
fn packets_on_loopback() -> u64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    line.split_whitespace().nth(9).unwrap().parse().unwrap()
}
