use std::net::TcpListener;

use proptest::prelude::*;

use super::*;

/// A message around a body.
fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A socket at 10.0.0.1:80 with the peer 10.0.0.2:4000.
fn body(state: u8) -> Vec<u8> {
    let mut body = vec![0; MESSAGE];
    (body[0], body[1]) = (2, state);
    body[4..8].copy_from_slice(&[0, 80, 0x0f, 0xa0]);
    body[8..12].copy_from_slice(&[10, 0, 0, 1]);
    body[24..28].copy_from_slice(&[10, 0, 0, 2]);
    body[44..52].copy_from_slice(&0x1_0000_0007_u64.to_ne_bytes());
    body[56..60].copy_from_slice(&3_u32.to_ne_bytes());
    body[60..64].copy_from_slice(&128_u32.to_ne_bytes());
    body[68..72].copy_from_slice(&4711_u32.to_ne_bytes());
    body
}

fn with_info(mut body: Vec<u8>, length: usize) -> Vec<u8> {
    let mut info = vec![0; length];
    for (at, value) in [(16, 1448_u32), (68, 250), (72, 40), (80, 10), (100, 2)] {
        if let Some(place) = info.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }
    body.extend([8, 0, 9, 0, 1, 2, 3, 4]);
    body.extend(u16::try_from(4 + length).unwrap().to_ne_bytes());
    body.extend(INFO.to_ne_bytes());
    body.extend(info);
    body
}

fn parsed(bytes: &[u8]) -> (Vec<Socket>, Answer) {
    let mut all = Vec::new();
    let answer = parse(bytes, Protocol::Tcp, 1, &mut |socket| {
        all.push(socket);
        true
    });
    (all, answer)
}

#[test]
fn a_request_is_as_long_as_it_says() {
    let request = Table::ALL[3].request(9);
    assert_eq!(request.len(), LENGTH as usize);
    assert_eq!(request[HEADER..HEADER + 3], [10, 17, 2]);
}

#[test]
fn a_socket_is_read_with_its_path() {
    let mut bytes = message(BY_FAMILY, 1, &with_info(body(1), 104));
    bytes.extend(message(BY_FAMILY, 1, &body(10)));
    bytes.extend(message(DONE, 1, &[0; 4]));
    let (all, answer) = parsed(&bytes);
    assert_eq!((all.len(), answer), (2, Answer::End));
    let open = &all[0];
    assert_eq!((open.cookie, open.inode, open.state), (0x1_0000_0007, 4711, State::Established));
    assert_eq!(
        (open.local.to_string(), open.peer.unwrap().to_string()),
        ("10.0.0.1:80".into(), "10.0.0.2:4000".into())
    );
    let path = open.path.unwrap();
    assert_eq!(
        (path.rtt_ns, path.rtt_var_ns, path.cwnd, path.mss, path.retransmits_ever),
        (250_000, 40_000, 10, 1448, 2)
    );
    assert_eq!((all[1].state, all[1].queues), (State::Listening, Queues { received: 3, sent: 128 }));
}

#[test]
fn what_is_too_short_or_of_another_request_is_no_socket() {
    assert_eq!(parsed(&message(BY_FAMILY, 1, &body(1)[..MESSAGE - 1])).0, []);
    assert_eq!(parsed(&message(BY_FAMILY, 2, &body(1))), (Vec::new(), Answer::More));
    // A `tcp_info` that ends before what is read of it says nothing.
    assert_eq!(parsed(&message(BY_FAMILY, 1, &with_info(body(1), 100))).0[0].path, None);
    assert_eq!(parsed(&message(ERROR, 1, &(-2_i32).to_ne_bytes())).1, Answer::Refused(2));
    assert_eq!(parsed(&[1, 2, 3]).1, Answer::Garbled);
    assert_eq!(parsed(&[0; 16]).1, Answer::Garbled);
}

#[test]
fn the_kernel_lists_a_listening_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let mut found = None;
    let mut diag = Diag::open().unwrap();
    diag.list(Table::ALL[0], |socket| {
        if socket.local == local {
            found = Some(socket);
        }
        true
    })
    .unwrap();
    let found = found.unwrap();
    assert_eq!((found.state, found.peer, found.path), (State::Listening, None, None));
    assert!(found.cookie != 0 && found.inode != 0);
    // The rest of an answer that nobody wanted does not come up in the next.
    diag.list(Table::ALL[0], |_| false).unwrap();
    diag.list(Table::ALL[2], |socket| {
        assert_eq!(socket.protocol, Protocol::Udp);
        true
    })
    .unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parsed(&bytes);
        socket(&bytes, Protocol::Udp);
        path(&bytes);
    }

    #[test]
    fn no_attributes_make_it_panic(tail in proptest::collection::vec(0_u8..20, 0..200), family in 0_u8..12) {
        let mut bytes = body(1);
        bytes[0] = family;
        bytes.extend(tail);
        parsed(&message(BY_FAMILY, 1, &bytes));
    }
}
