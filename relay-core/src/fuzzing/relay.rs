//! The codec, and a relay with two sessions, fed with bytes of its choice. Nothing here may panic, and no
//! input may make it take much more than its length.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::directory::{Directory, Resource, SigningKey};
use crate::relay::{
    Dir, Relay, RelayConfig, SessionConfig, SessionId, StreamId, TrackConfig, Transmit, TransmitError, Transport,
};
use crate::wire::{
    ControlMessage, ControlReader, Datagram, Draft, FetchItem, FetchReader, FetchWriter, FullTrackName, GroupOrder,
    Namespace, Setup, StreamKind, SubgroupReader,
};

const OBJECT_LEN_MAX: usize = 64 * 1024;

/// Control messages: read in pieces, and what could be read is written again. The first byte is the length of a piece.
pub fn wire_control(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let mut reader = ControlReader::new(Draft::D18);
    for chunk in data.chunks(usize::from(piece).max(1)) {
        reader.push(chunk);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => {
                    let _ = message.encode(Draft::D18, &mut Vec::new());
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    let _ = reader.finish();
}

/// Data streams and datagrams: read as what they say they are, and fetches written again. The first byte is the length of a
/// piece.
pub fn wire_data(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let _ = Datagram::decode(Draft::D18, &Bytes::copy_from_slice(data));
    let piece = usize::from(piece).max(1);
    match StreamKind::peek(data) {
        Ok(StreamKind::Subgroup) => {
            let mut reader = SubgroupReader::new(Draft::D18, OBJECT_LEN_MAX);
            for chunk in data.chunks(piece) {
                reader.push(chunk);
                while let Some(_item) = reader.next_item().unwrap_or_default() {}
            }
        }
        Ok(StreamKind::Fetch) => read_fetch(data, piece),
        Ok(StreamKind::Control | StreamKind::Padding) | Err(_) => {}
    }
}

fn read_fetch(data: &[u8], piece: usize) {
    let mut reader = FetchReader::new(Draft::D18, OBJECT_LEN_MAX);
    let mut writer = FetchWriter::new(Draft::D18, GroupOrder::Ascending);
    let mut out = Vec::new();
    for chunk in data.chunks(piece) {
        reader.push(chunk);
        while let Some(item) = reader.next_item().unwrap_or_default() {
            let _ = match item {
                FetchItem::Header(header) => {
                    header.encode(&mut out);
                    Ok(())
                }
                FetchItem::Object(head, payload) => writer.object_head(&head, payload.len(), &mut out),
                FetchItem::EndOfRange(range, last) => writer.end_of_range(range, last, &mut out),
            };
            out.clear();
        }
    }
}

/// A relay with a local track and two sessions, both through SETUP. The data is a list of steps: a byte that says what happens
/// (bits 0 to 2) and to which session (bit 3), a byte for the stream, a byte for a length or code, and the bytes.
pub fn relay_session(data: &[u8]) {
    let now = Instant::now();
    let mut world = World::new(now);
    let mut rest = data;
    while let Some((&[step, stream, len], tail)) = rest.split_first_chunk() {
        let (bytes, after) = tail.split_at(usize::from(len).min(tail.len()));
        let session = SessionId(u64::from(step >> 3 & 1));
        let takes_bytes = world.step(step & 7, session, StreamId(u64::from(stream)), u64::from(len), bytes);
        rest = if takes_bytes { after } else { tail };
    }
    world.pump();
}

struct World {
    now: Instant,
    unix_ms: u64,
    relay: Relay,
    next_object: u64,
    track: crate::relay::TrackId,
    io: Sink,
}

impl World {
    fn new(now: Instant) -> Self {
        let config = RelayConfig { open: true, object_len_max: OBJECT_LEN_MAX, ..RelayConfig::default() };
        let mut relay = Relay::new(config);
        let unix_ms = 1_800_000_000_000;
        relay.set_time(unix_ms);
        let namespace = Namespace(vec![Bytes::from_static(b"a")]);
        relay.namespace_up(now, namespace.clone());
        let name = FullTrackName { namespace, name: Bytes::from_static(b"t") };
        let track = relay.track_open(now, name, TrackConfig { publisher_priority: 1, pinned: false });
        let mut world = Self { now, unix_ms, relay, next_object: 0, track, io: Sink::default() };
        let mut setup = Vec::new();
        let _ = ControlMessage::Setup(Setup::default()).encode(Draft::D18, &mut setup);
        for session in [SessionId(0), SessionId(1)] {
            let peer = std::net::SocketAddr::from(([192, 0, 2, 7], 40_000));
            let config =
                SessionConfig { draft: Draft::D18, transport: Transport::Quic, path: None, origin: None, peer };
            world.relay.session_open(now, session, config);
            // Its id is beyond what a step can name.
            world.relay.stream_data(now, &Nobody, session, StreamId(1_002), Dir::Uni, &setup, false);
        }
        world.pump();
        world
    }

    /// `true`: the bytes were used.
    fn step(&mut self, step: u8, session: SessionId, stream: StreamId, code: u64, bytes: &[u8]) -> bool {
        let dir = if stream.0 & 2 == 0 { Dir::Bidi } else { Dir::Uni };
        match step {
            0 | 1 => self.relay.stream_data(self.now, &Nobody, session, stream, dir, bytes, step == 1),
            2 => self.relay.stream_reset(self.now, session, stream, code),
            3 => self.relay.stream_stopped(self.now, session, stream, code),
            4 => self.relay.datagram(self.now, session, bytes),
            5 => {
                self.now += Duration::from_millis(code.saturating_mul(100));
                self.unix_ms += code.saturating_mul(100);
                self.relay.handle_timeout(self.now, self.unix_ms, &Nobody);
            }
            6 => {
                let (group, object) = (self.next_object / 8, self.next_object % 8);
                self.next_object += 1;
                let payload = Bytes::copy_from_slice(bytes);
                self.relay.object(self.now, self.track, group, object, payload, object == 7);
            }
            _ => self.pump(),
        }
        matches!(step, 0 | 1 | 4 | 6)
    }

    fn pump(&mut self) {
        while let Some(session) = self.relay.next_dirty() {
            let _ = self.relay.pump(self.now, session, &mut self.io);
        }
        while self.relay.poll_event().is_some() {}
    }
}

/// A transport that takes everything and keeps nothing.
#[derive(Default)]
struct Sink {
    opened: u64,
}

impl Transmit for Sink {
    fn open_uni(&mut self) -> Option<StreamId> {
        self.opened += 1;
        Some(StreamId(self.opened * 4 + 3))
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        self.opened += 1;
        Some(StreamId(self.opened * 4 + 1))
    }

    fn write(&mut self, _stream: StreamId, data: &[u8], _fin: bool) -> Result<usize, TransmitError> {
        Ok(data.len())
    }

    fn write_shared(&mut self, _stream: StreamId, data: &Bytes, _fin: bool) -> Result<usize, TransmitError> {
        Ok(data.len())
    }

    fn send_datagram(&mut self, _data: &[u8]) -> bool {
        true
    }

    fn set_urgency(&mut self, _stream: StreamId, _urgency: u8) {}

    fn reset(&mut self, _stream: StreamId, _code: u64) {}

    fn stop(&mut self, _stream: StreamId, _code: u64) {}

    fn close(&mut self, _code: u64, _reason: &str) {}
}

/// No keys and no resources: the relay is in open mode.
struct Nobody;

impl Directory for Nobody {
    fn signing_key(&self, _kid: &str) -> Option<SigningKey> {
        None
    }

    fn resource(&self, _id: &str) -> Option<Resource> {
        None
    }

    fn publish_key_ok(&self, _input_id: &str, _key: &str, _unix_now_ms: u64) -> bool {
        false
    }
}
