//! Whatever a peer opens comes back, however it dies: each way a stream can end in each state, many times over, and then a good
//! request is served.

mod sim;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::Bytes;
use sim::{START_S, Tables, namespace, payload, track};
use streams_relay_core::relay::{
    Dir, Draft, FullTrackName, Relay, RelayConfig, SessionConfig, SessionId, StreamId, TrackConfig, TrackId, Transmit,
    TransmitError, Transport,
};
use streams_relay_core::wire::{
    ControlMessage, ControlReader, Fetch, FetchHeader, FetchRange, Location, ObjectStatus, Parameters, Publish,
    PublishNamespace, Setup, SubgroupHeader, SubgroupId, Subscribe, SubscribeNamespace, SubscribeTracks, TrackStatus,
    encode_object_head,
};

const SESSION: SessionId = SessionId(1);
const ALIAS: u64 = 5;
/// More than a transport lets a peer have open at once (128), and in all cases together more than the relay keeps.
const TIMES: usize = 300;

/// A transport that remembers which of our halves ended.
#[derive(Default)]
struct Halves {
    opened: u64,
    ended: HashSet<StreamId>,
    /// Peer's halves that we stopped, in order.
    stops: Vec<StreamId>,
    /// Streams of ours that the peer stopped: they take nothing any more.
    stopped: HashSet<StreamId>,
    written: HashMap<StreamId, Vec<u8>>,
    closed: Option<String>,
}

impl Halves {
    fn put(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        if self.stopped.contains(&stream) {
            return Err(TransmitError::Stopped(0));
        }
        self.written.entry(stream).or_default().extend_from_slice(data);
        if fin {
            self.ended.insert(stream);
        }
        Ok(data.len())
    }

    fn open(&mut self, low_bits: u64) -> Option<StreamId> {
        self.opened += 1;
        Some(StreamId(self.opened * 4 + low_bits))
    }
}

impl Transmit for Halves {
    fn open_uni(&mut self) -> Option<StreamId> {
        self.open(3)
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        self.open(1)
    }

    fn write(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError> {
        self.put(stream, data, fin)
    }

    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError> {
        self.put(stream, data, fin)
    }

    fn set_urgency(&mut self, _stream: StreamId, _urgency: u8) {}

    fn reset(&mut self, stream: StreamId, _code: u64) {
        self.ended.insert(stream);
    }

    fn stop(&mut self, stream: StreamId, _code: u64) {
        self.stops.push(stream);
    }

    fn close(&mut self, _code: u64, reason: &str) {
        self.closed = Some(reason.to_owned());
    }
}

/// How the peer ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
    /// STOP_SENDING and then RESET.
    StopReset,
    /// The other way round.
    ResetStop,
    /// STOP_SENDING before any byte, then the bytes, then FIN.
    StopFirst,
}

/// One relay with a session that may do everything.
struct World {
    now: Instant,
    tables: Tables,
    relay: Relay,
    io: Halves,
    video: TrackId,
    next_bidi: u64,
    next_uni: u64,
    next_id: u64,
}

fn name() -> FullTrackName {
    track(namespace(&["moq", "test"]), "video")
}

fn encoded(message: &ControlMessage) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(Draft::D18, &mut out).unwrap();
    out
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut relay = Relay::new(RelayConfig { open: true, ..RelayConfig::default() });
        relay.set_time(START_S * 1000);
        relay.namespace_up(now, name().namespace);
        let video = relay.track_open(now, name(), TrackConfig { publisher_priority: 1, pinned: false });
        relay.object(now, video, 0, 0, payload(0, 0, 100), true);
        let peer = "192.0.2.7:40000".parse().unwrap();
        let config = SessionConfig { draft: Draft::D18, transport: Transport::Quic, path: None, origin: None, peer };
        relay.session_open(now, SESSION, config);
        let io = Halves::default();
        let mut world =
            Self { now, tables: Tables::default(), relay, io, video, next_bidi: 0, next_uni: 2, next_id: 0 };
        let control = world.uni();
        world.data(control, Dir::Uni, &encoded(&ControlMessage::Setup(Setup::default())), false);
        world
    }

    fn bidi(&mut self) -> StreamId {
        self.next_bidi += 4;
        StreamId(self.next_bidi - 4)
    }

    fn uni(&mut self) -> StreamId {
        self.next_uni += 4;
        StreamId(self.next_uni - 4)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 2;
        self.next_id - 2
    }

    fn data(&mut self, stream: StreamId, dir: Dir, data: &[u8], fin: bool) {
        self.relay.stream_data(self.now, &self.tables, SESSION, stream, dir, data, fin);
    }

    fn reset(&mut self, stream: StreamId) {
        self.relay.stream_reset(self.now, SESSION, stream, 0);
    }

    fn stop(&mut self, stream: StreamId) {
        self.io.stopped.insert(stream);
        self.relay.stream_stopped(self.now, SESSION, stream, 0);
    }

    /// Pumps until nothing moves; a peer that is told to stop resets its half.
    fn settle(&mut self) {
        while self.relay.next_dirty().is_some() || !self.io.stops.is_empty() {
            while self.relay.pump(self.now, SESSION, &mut self.io).more {}
            for stream in std::mem::take(&mut self.io.stops) {
                self.reset(stream);
            }
        }
        while self.relay.poll_event().is_some() {}
        assert_eq!(self.io.closed, None);
    }

    /// A stream of the peer with these bytes, ended in that way.
    fn stream(&mut self, dir: Dir, bytes: &[u8], end: End) -> StreamId {
        let stream = if dir == Dir::Bidi { self.bidi() } else { self.uni() };
        if end == End::StopFirst {
            self.stop(stream);
            self.settle();
        }
        // Nothing shows a transport's user that a stream is open before its first byte.
        if !bytes.is_empty() {
            self.data(stream, dir, bytes, false);
            self.settle();
        }
        match end {
            End::Fin | End::StopFirst => self.data(stream, dir, &[], true),
            End::Reset => self.reset(stream),
            End::StopReset => {
                self.stop(stream);
                self.settle();
                self.reset(stream);
            }
            End::ResetStop => {
                self.reset(stream);
                self.settle();
                self.stop(stream);
            }
        }
        self.settle();
        stream
    }

    /// A request on a new stream is answered.
    fn assert_serves(&mut self, after: &str) {
        let (request_id, stream) = (self.id(), self.bidi());
        let status = TrackStatus { request_id, track: name(), parameters: Parameters::default() };
        self.data(stream, Dir::Bidi, &encoded(&ControlMessage::TrackStatus(status)), true);
        self.settle();
        let mut reader = ControlReader::new(Draft::D18);
        reader.push(self.io.written.get(&stream).map(Vec::as_slice).unwrap_or_default());
        let answer = reader.next_message().unwrap();
        assert!(matches!(answer, Some(ControlMessage::RequestOk(_))), "after {after}: {answer:?}");
        assert!(self.io.ended.contains(&stream), "after {after}");
    }
}

/// A request by its id.
type MakeRequest = fn(u64) -> ControlMessage;

/// Requests of every kind.
fn requests() -> Vec<(&'static str, MakeRequest)> {
    fn parameters() -> Parameters {
        Parameters::default()
    }
    fn missing() -> FullTrackName {
        track(namespace(&["moq", "test"]), "missing")
    }
    vec![
        ("SUBSCRIBE", |request_id| {
            ControlMessage::Subscribe(Subscribe { request_id, track: name(), parameters: parameters() })
        }),
        ("SUBSCRIBE of nothing", |request_id| {
            ControlMessage::Subscribe(Subscribe { request_id, track: missing(), parameters: parameters() })
        }),
        ("SUBSCRIBE that waits", |request_id| {
            let parameters = Parameters { rendezvous_timeout_ms: Some(9_000), ..parameters() };
            ControlMessage::Subscribe(Subscribe { request_id, track: missing(), parameters })
        }),
        ("FETCH", |request_id| {
            let (start, end) =
                (Location::default(), streams_relay_core::wire::EndLocation { group: 0, last_object: None });
            let range = FetchRange::Standalone { track: name(), start, end };
            ControlMessage::Fetch(Fetch { request_id, range, parameters: parameters() })
        }),
        ("joining FETCH of nothing", |request_id| {
            let range = FetchRange::RelativeJoining { joining_request_id: request_id + 1_000_000, groups_back: 0 };
            ControlMessage::Fetch(Fetch { request_id, range, parameters: parameters() })
        }),
        ("TRACK_STATUS", |request_id| {
            ControlMessage::TrackStatus(TrackStatus { request_id, track: name(), parameters: parameters() })
        }),
        ("PUBLISH", |request_id| {
            let track = track(namespace(&["own"]), &request_id.to_string());
            let track_alias = 1_000 + request_id;
            let (parameters, properties) = (parameters(), Default::default());
            ControlMessage::Publish(Publish { request_id, track, track_alias, parameters, properties })
        }),
        ("PUBLISH_NAMESPACE", |request_id| {
            let namespace = namespace(&["own", &request_id.to_string()]);
            ControlMessage::PublishNamespace(PublishNamespace { request_id, namespace, parameters: parameters() })
        }),
        ("SUBSCRIBE_NAMESPACE", |request_id| {
            let prefix = namespace(&["moq"]);
            ControlMessage::SubscribeNamespace(SubscribeNamespace { request_id, prefix, parameters: parameters() })
        }),
        ("SUBSCRIBE_TRACKS", |request_id| {
            let prefix = namespace(&["other"]);
            ControlMessage::SubscribeTracks(SubscribeTracks { request_id, prefix, parameters: parameters() })
        }),
    ]
}

#[test]
fn every_request_stream_comes_back_however_it_ends() {
    let mut world = World::new();
    for end in [End::Reset, End::StopReset, End::ResetStop, End::StopFirst, End::Fin] {
        for _ in 0..TIMES {
            let stream = world.stream(Dir::Bidi, &[], end);
            assert!(world.io.ended.contains(&stream), "a stream without a byte, {end:?}");
        }
        world.assert_serves(&format!("streams without a byte, {end:?}"));
    }
    for (kind, request) in requests() {
        for (part, len) in [("inside the type or length", Some(1)), ("inside the message", Some(7)), ("whole", None)] {
            for end in [End::Reset, End::StopReset, End::ResetStop, End::StopFirst, End::Fin] {
                let fin = matches!(end, End::Fin | End::StopFirst);
                // A FIN inside a message closes the session; behind a SUBSCRIBE it only says that no update follows.
                let goes_on = kind.starts_with("SUBSCRIBE") && !kind.contains('_') || kind.contains("joining");
                if fin && (len.is_some() || (end == End::Fin && goes_on)) {
                    continue;
                }
                for _ in 0..TIMES {
                    let message = encoded(&request(world.id()));
                    let stream = world.stream(Dir::Bidi, &message[..len.unwrap_or(message.len())], end);
                    assert!(world.io.ended.contains(&stream), "{kind}, {part}, {end:?}");
                }
                world.assert_serves(&format!("{kind}, {part}, {end:?}"));
            }
        }
    }
}

#[test]
fn request_streams_that_die_before_setup_come_back() {
    for bytes in [&[][..], &[0x0D], &[0x0D, 0x00]] {
        let mut world = World::new();
        world.relay.session_closed(world.now, SESSION);
        world.io = Halves::default();
        let peer = "192.0.2.7:40000".parse().unwrap();
        let config = SessionConfig { draft: Draft::D18, transport: Transport::Quic, path: None, origin: None, peer };
        world.relay.session_open(world.now, SESSION, config);
        let streams: Vec<StreamId> = (0..TIMES).map(|_| world.stream(Dir::Bidi, bytes, End::Reset)).collect();
        let control = world.uni();
        world.data(control, Dir::Uni, &encoded(&ControlMessage::Setup(Setup::default())), false);
        world.settle();
        assert!(streams.iter().all(|stream| world.io.ended.contains(stream)), "{bytes:?}");
        world.assert_serves("streams that died before SETUP");
    }
}

/// Bytes of a unidirectional stream, cut somewhere, and whether a FIN may stand there.
fn unidirectional() -> Vec<(&'static str, Vec<u8>, bool)> {
    let header = |track_alias| {
        let subgroup = SubgroupId::Explicit(3);
        let (priority, end_of_group, first_object) = (Some(1), false, true);
        let header =
            SubgroupHeader { track_alias, group: 9, subgroup, priority, properties: false, end_of_group, first_object };
        let mut out = Vec::new();
        header.encode(Draft::D18, &mut out);
        out
    };
    let object = {
        let mut out = header(ALIAS);
        encode_object_head(Draft::D18, 0, None, 6, ObjectStatus::Normal, &mut out);
        out.extend_from_slice(b"object");
        out
    };
    let mut fetch = Vec::new();
    FetchHeader { request_id: 4711 }.encode(&mut fetch);
    vec![
        ("nothing", Vec::new(), true),
        ("half a type", vec![0xC0], true),
        ("half a header", header(ALIAS)[..2].to_vec(), false),
        ("a header", header(ALIAS), true),
        ("half an object", object[..object.len() - 3].to_vec(), false),
        ("an object", object, true),
        ("a header with an alias of nothing", header(ALIAS + 1), false),
        ("half a fetch header", fetch[..1].to_vec(), false),
        ("a fetch header of nothing", fetch, true),
        ("padding", vec![0xF0, 0x13, 0x2B, 0x3E, 0x28, 0, 0], true),
    ]
}

#[test]
fn every_data_stream_of_a_peer_comes_back_however_it_ends() {
    let mut world = World::new();
    let (request_id, stream) = (world.id(), world.bidi());
    let (parameters, properties) = (Parameters::default(), Default::default());
    let track = track(namespace(&["own"]), "published");
    let publish = Publish { request_id, track, track_alias: ALIAS, parameters, properties };
    world.data(stream, Dir::Bidi, &encoded(&ControlMessage::Publish(publish)), false);
    world.settle();
    for (part, bytes, fin) in unidirectional() {
        for end in [End::Reset, End::Fin] {
            if end == End::Fin && !fin {
                continue;
            }
            // All cases together open more streams than the relay keeps at once.
            for _ in 0..TIMES {
                world.stream(Dir::Uni, &bytes, end);
            }
            world.assert_serves(&format!("{part}, {end:?}"));
        }
    }
}

#[test]
fn every_data_stream_to_a_viewer_ends_when_the_viewer_stops_it() {
    let mut world = World::new();
    let (request_id, stream) = (world.id(), world.bidi());
    let subscribe = Subscribe { request_id, track: name(), parameters: Parameters::default() };
    world.data(stream, Dir::Bidi, &encoded(&ControlMessage::Subscribe(subscribe)), false);
    world.settle();
    for group in 1..=TIMES as u64 {
        let before: HashSet<StreamId> = world.io.written.keys().copied().collect();
        world.relay.object(world.now, world.video, group, 0, payload(group, 0, 100), false);
        world.settle();
        let new = world.io.written.keys().copied().find(|stream| !before.contains(stream)).unwrap();
        world.stop(new);
        if group.is_multiple_of(2) {
            world.settle();
        }
        world.relay.object(world.now, world.video, group, 1, payload(group, 1, 100), true);
        world.settle();
        assert!(world.io.ended.contains(&new), "group {group}");
    }
    world.assert_serves("streams that the viewer stopped");
}
