//! What one object costs one viewer: nanoseconds of `object` + `pump` with a transport that takes everything.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_relay_core::relay::{
    Dir, Draft, FullTrackName, Namespace, Relay, RelayConfig, SessionConfig, SessionId, StreamId, TrackConfig,
    Transmit, TransmitError, Transport,
};
use streams_relay_core::wire::{ControlMessage, Parameters, Setup, Subscribe};
use streams_relay_core::{Directory, Resource, SigningKey};

/// Objects a group: one second of video.
const GROUP_LEN: u64 = 30;

#[derive(Default)]
struct Null {
    streams: u64,
}

impl Transmit for Null {
    fn open_uni(&mut self) -> Option<StreamId> {
        self.streams += 1;
        Some(StreamId(self.streams))
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        self.open_uni()
    }

    fn write(&mut self, _stream: StreamId, data: &[u8], _fin: bool) -> Result<usize, TransmitError> {
        Ok(data.len())
    }

    fn write_shared(&mut self, _stream: StreamId, data: &Bytes, _fin: bool) -> Result<usize, TransmitError> {
        Ok(data.len())
    }

    fn set_urgency(&mut self, _stream: StreamId, _urgency: u8) {}

    fn reset(&mut self, _stream: StreamId, _code: u64) {}

    fn stop(&mut self, _stream: StreamId, _code: u64) {}

    fn close(&mut self, _code: u64, _reason: &str) {}
}

struct Nothing;

impl Directory for Nothing {
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

fn watching(viewers: u64, now: Instant) -> (Relay, FullTrackName) {
    let mut relay = Relay::new(RelayConfig { open: true, ..RelayConfig::default() });
    let name =
        FullTrackName::new(Namespace::new(["bench"]).expect("a short namespace"), "video").expect("a short name");
    relay.namespace_up(now, name.namespace.clone());
    relay.track_open(now, name.clone(), TrackConfig { publisher_priority: 9, pinned: false });
    let mut messages = (Vec::new(), Vec::new());
    let setup = Setup { path: Some("/".to_owned()), ..Setup::default() };
    let subscribe = Subscribe { request_id: 0, track: name.clone(), parameters: Parameters::default() };
    ControlMessage::Setup(setup).encode(Draft::D18, &mut messages.0).expect("a small message");
    ControlMessage::Subscribe(subscribe).encode(Draft::D18, &mut messages.1).expect("a small message");
    let peer = SocketAddr::from(([192, 0, 2, 1], 1));
    for id in (0..viewers).map(SessionId) {
        relay.session_open(
            now,
            id,
            SessionConfig { draft: Draft::D18, transport: Transport::Quic, path: None, origin: None, peer },
        );
        relay.stream_data(now, &Nothing, id, StreamId(2), Dir::Uni, &messages.0, false);
        relay.stream_data(now, &Nothing, id, StreamId(0), Dir::Bidi, &messages.1, false);
    }
    (relay, name)
}

fn main() {
    let payload = Bytes::from(vec![0x55; 4_000]);
    for viewers in [1, 100, 1000] {
        let start = Instant::now();
        let (mut relay, name) = watching(viewers, start);
        let track = relay.track_open(start, name, TrackConfig { publisher_priority: 9, pinned: false });
        let mut io = Null::default();
        let objects = 400_000 / viewers;
        let mut now = start;
        let mut measured = Duration::ZERO;
        // The first group warms up.
        for index in 0..objects + GROUP_LEN {
            now += Duration::from_millis(33);
            let (group, object) = (index / GROUP_LEN, index % GROUP_LEN);
            let began = Instant::now();
            relay.object(now, track, group, object, payload.clone(), object + 1 == GROUP_LEN);
            while let Some(session) = relay.next_dirty() {
                relay.pump(now, session, &mut io);
            }
            if index >= GROUP_LEN {
                measured += began.elapsed();
            }
        }
        let pairs = u128::from(objects * viewers);
        println!("{viewers:>5} viewers: {:>5} ns a (viewer, object)", measured.as_nanos() / pairs);
    }
}
