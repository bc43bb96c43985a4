//! WebTransport with bytes that are written by hand, on a real QUIC client.

use web_transport_proto::{Capsule, ConnectError, ConnectResponse, Frame, VarInt};

use super::*;

const H3: &[u8] = ALPN[1];
/// The client's CONNECT stream, its control stream, and the first ones after them.
const CONNECT: u64 = 0;
const CONTROL: u64 = 2;
pub(super) const BIDI: u64 = 4;
pub(super) const UNI: u64 = 6;

/// An HTTP/3 frame.
pub(super) fn frame(kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    Frame(VarInt::from_u32(kind)).encode(&mut wire);
    VarInt::from_u32(payload.len() as u32).encode(&mut wire);
    wire.extend_from_slice(payload);
    wire
}

/// HEADERS of a CONNECT: the static table's `:method CONNECT`, `:scheme https`, `:authority` and `:path` by their names there,
/// then literal names, nothing Huffman coded.
pub(super) fn connect_request(draft: &str) -> Vec<u8> {
    let mut section =
        b"\0\0\xcf\xd7\x50\x09localhost\x51\x16/playback/lv_1?tok=abc\x27\x02:protocol\x0cwebtransport".to_vec();
    section.extend_from_slice(b"\x27\x0fwt-available-protocols");
    section.push(draft.len() as u8 + 2);
    section.extend_from_slice(format!("\"{draft}\"").as_bytes());
    frame(0x01, &section)
}

fn capsule(kind: u32, value: &[u8]) -> Vec<u8> {
    frame(kind, value)
}

impl World {
    /// A client that has sent SETTINGS and nothing more.
    pub(super) fn http3() -> Self {
        let mut world = Self::new(H3);
        world.say(CONTROL, &[&[0][..], &frame(0x04, &[])].concat());
        world
    }

    /// A client with a WebTransport session.
    pub(super) fn webtransport() -> Self {
        let mut world = Self::http3();
        world.say(CONNECT, &connect_request("moqt-18"));
        assert_eq!(world.record.opened.len(), 1);
        assert_eq!(world.answer(CONNECT), Some(200));
        world
    }

    /// Sends bytes of a stream and lets everything arrive.
    fn say(&mut self, stream: u64, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.client.stream_send(stream, rest, false) {
                Ok(sent) => rest = &rest[sent..],
                // What is read in one period is used up.
                Err(quiche::Error::Done) => {
                    self.now += Duration::from_secs(3);
                    self.endpoint.handle_timeouts(self.now, &mut self.record);
                }
                Err(error) => panic!("stream {stream}: {error}"),
            }
            self.exchange();
        }
    }

    /// The status of the answer on a stream.
    fn answer(&mut self, stream: u64) -> Option<u16> {
        let mut buffer = [0; 1024];
        let (len, _) = self.client.stream_recv(stream, &mut buffer).ok()?;
        match ConnectResponse::decode(&mut &buffer[..len]) {
            Ok(response) => Some(response.status.as_u16()),
            Err(ConnectError::ErrorStatus(status) | ConnectError::WrongStatus(Some(status))) => Some(status.as_u16()),
            Err(_) => None,
        }
    }

    /// The application error that the connection was closed with.
    fn closed_with(&self) -> Option<u64> {
        self.client.peer_error().map(|error| {
            assert!(error.is_app, "{error:?}");
            error.error_code
        })
    }
}

#[test]
fn a_close_capsule_ends_the_session_however_it_is_cut() {
    let close = |reason: &[u8]| capsule(0x2843, &[&7u32.to_be_bytes()[..], reason].concat());
    let whole = close(b"bye");
    let (head, tail) = whole.split_at(5);
    for wire in [
        frame(0x00, &whole),
        [frame(0x00, head), frame(0x00, tail)].concat(),
        [frame(0x00, head), frame(0x21, b"grease"), frame(0x00, b""), frame(0x00, tail)].concat(),
        frame(0x00, &[capsule(0x17, b""), whole.clone()].concat()),
        frame(0x00, &close(b"\xff\xfe")),
    ] {
        for cut in [1, wire.len()] {
            let mut world = World::webtransport();
            for chunk in wire.chunks(cut) {
                assert_eq!(world.record.closed, 0);
                world.say(CONNECT, chunk);
            }
            assert_eq!((world.record.closed, world.closed_with()), (1, Some(0x100)), "cut {cut}");
        }
    }
}

#[test]
fn a_capsule_that_nobody_knows_is_skipped_at_any_length() {
    let mut world = World::webtransport();
    let wire = [frame(0x00, &capsule(0x1234, &[1; 40_000])), frame(0x2100, &[2; 40_000])].concat();
    for chunk in wire.chunks(8_000) {
        world.say(CONNECT, chunk);
    }
    assert_eq!((world.record.closed, world.closed_with()), (0, None));
    let mut close = Vec::new();
    Capsule::CloseWebTransportSession { code: 0, reason: String::new() }.encode(&mut close);
    world.say(CONNECT, &frame(0x00, &close));
    // It stands behind more than is read in one period.
    world.now += Duration::from_secs(3);
    world.endpoint.handle_timeouts(world.now, &mut world.record);
    assert_eq!(world.record.closed, 1);
}

#[test]
fn what_stands_behind_the_connect_is_read() {
    let mut world = World::http3();
    let close = frame(0x00, &capsule(0x2843, &[0; 4]));
    world.say(CONNECT, &[connect_request("moqt-18"), close].concat());
    assert_eq!((world.record.opened.len(), world.record.closed), (1, 1));
}

#[test]
fn both_names_of_the_protocol_are_accepted() {
    let plain = connect_request("moqt-18");
    let at = plain.windows(13).position(|window| window == b"\x0cwebtransport").expect("the line is plain");
    let section = [&plain[..at], b"\x0fwebtransport-h3", &plain[at + 13..]].concat();
    // The frame's head is a type and a length of one or two bytes.
    let head = if plain[1] & 0x40 == 0 { 2 } else { 3 };
    let mut world = World::http3();
    world.say(CONNECT, &frame(0x01, &section[head..]));
    assert_eq!((world.record.opened.len(), world.answer(CONNECT)), (1, Some(200)));
}

/// A stream, bytes on it, and whether it ends there.
type Said = (u64, Vec<u8>, bool);

#[test]
fn each_breach_of_http3_has_its_own_code() {
    let settings = || [&[0][..], &frame(0x04, &[])].concat();
    // What is said on which streams in turn, and the error that follows.
    let cases: Vec<(&str, Vec<Said>, u64)> = vec![
        ("control stream ended", vec![(2, settings(), true)], 0x104),
        ("a second one", vec![(2, settings(), false), (6, vec![0], false)], 0x103),
        ("QPACK stream ended", vec![(2, vec![2], true)], 0x104),
        ("a second one", vec![(2, vec![3], false), (6, vec![3], false)], 0x103),
        ("a push stream", vec![(2, vec![1], false)], 0x103),
        ("no SETTINGS", vec![(2, vec![0, 7, 1, 0], false)], 0x10a),
        ("SETTINGS twice", vec![(2, [settings(), frame(4, &[])].concat(), false)], 0x105),
        ("SETTINGS cut in a pair", vec![(2, [vec![0], frame(4, &[6])].concat(), false)], 0x106),
        ("SETTINGS too long", vec![(2, vec![0, 4, 0x80, 1, 0, 0], false)], 0x107),
        ("DATA on the control stream", vec![(2, [settings(), frame(0, b"x")].concat(), false)], 0x105),
        ("DATA first", vec![(0, frame(0, b"x"), false)], 0x105),
        ("SETTINGS on a request", vec![(0, frame(4, &[]), false)], 0x105),
        ("HEADERS of garbage", vec![(0, frame(1, &[0xff; 40]), false)], 0x200),
        ("HEADERS too long", vec![(0, vec![1, 0x80, 1, 0, 0], false)], 0x107),
        ("a session that cannot be", vec![(4, vec![0x40, 0x41, 1], false)], 0x108),
    ];
    for (what, words, code) in cases {
        let mut world = World::new(H3);
        for (stream, bytes, fin) in words {
            world.client.stream_send(stream, &bytes, fin).expect(what);
            world.exchange();
        }
        assert_eq!(world.closed_with(), Some(code), "{what}");
    }
    let mut world = World::http3();
    world.client.stream_shutdown(CONTROL, Shutdown::Write, 0).expect("open");
    world.exchange();
    assert_eq!(world.closed_with(), Some(0x104), "control stream reset");
}

#[test]
fn a_request_that_is_no_session_is_answered_and_its_stream_comes_back() {
    let get = frame(0x01, b"\0\0\xd1\xd7\x50\x09localhost\xc1");
    let websocket = frame(0x01, b"\0\0\xcf\xd7\x50\x09localhost\xc1\x27\x02:protocol\x09websocket");
    let mut world = World::http3();
    for (number, (request, status)) in
        [(get, 405), (websocket, 501), (connect_request("moqt-99"), 400)].into_iter().enumerate()
    {
        let stream = 4 * number as u64;
        world.say(stream, &request);
        assert_eq!(world.answer(stream), Some(status));
        assert!(world.client.stream_finished(stream));
    }
    // Without an authority it is malformed.
    world.say(12, &frame(0x01, b"\0\0\xcf\xd7\xc1"));
    assert_eq!(world.client.stream_recv(12, &mut [0; 100]), Err(quiche::Error::StreamReset(0x10e)));
    world.say(16, &connect_request("moqt-18"));
    assert_eq!((world.answer(16), world.record.opened.len()), (Some(200), 1));
    world.say(20, &connect_request("moqt-18"));
    assert_eq!((world.answer(20), world.closed_with()), (Some(429), None));
}

#[test]
fn streams_that_were_there_before_their_session_are_handed_over() {
    let mut world = World::http3();
    world.say(BIDI, b"\x40\x41\x00early");
    world.client.stream_send(UNI, b"\x40\x54\x00bird", true).expect("sent");
    world.say(8, b"\x40\x41\x00cut");
    world.client.stream_shutdown(8, Shutdown::Write, 3).expect("open");
    world.exchange();
    assert_eq!((world.record.bytes, world.record.ended.len()), (0, 0));
    world.say(CONNECT, &connect_request("moqt-18"));
    assert_eq!(world.record.bytes, 5 + 4 + 3);
    world.record.ended.sort_unstable();
    assert_eq!(world.record.ended, [UNI, 8]);
}

#[test]
fn open_streams_of_no_session_are_few() {
    let mut world = World::webtransport();
    for number in 0..17 {
        assert_eq!(world.closed_with(), None, "after {number}");
        world.say(UNI + 4 * number, b"\x40\x54\x04media");
    }
    assert_eq!((world.closed_with(), world.record.bytes), (Some(0x107), 0));
}

#[test]
fn requests_that_never_end_are_kept_in_bounds() {
    let mut world = World::webtransport();
    for number in 0..17 {
        assert_eq!(world.closed_with(), None, "after {number}");
        world.now += Duration::from_secs(5);
        world.endpoint.handle_timeouts(world.now, &mut world.record);
        world.say(BIDI + 4 * number, &[&[1, 0x80, 0, 0x40, 0][..], &[0; 16_383]].concat());
    }
    assert_eq!(world.closed_with(), Some(0x107));
}
