//! Handing an object to a viewer allocates nothing: viewers share the framed bytes, and cursors live in their sessions.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_relay_core::relay::{
    Dir, Draft, FullTrackName, Namespace, Relay, RelayConfig, SessionConfig, SessionId, StreamId, TrackConfig, TrackId,
    Transmit, TransmitError, Transport,
};
use streams_relay_core::wire::{ControlMessage, Parameters, Setup, Subscribe};
use streams_relay_core::{Directory, Resource, SigningKey};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts what this thread allocates.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came; the counter is thread-local and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes everything and keeps nothing.
#[derive(Default)]
struct Sink {
    streams: u64,
    bytes: u64,
}

impl Transmit for Sink {
    fn open_uni(&mut self) -> Option<StreamId> {
        self.streams += 1;
        Some(StreamId(self.streams * 4 + 3))
    }

    fn open_bidi(&mut self) -> Option<StreamId> {
        self.streams += 1;
        Some(StreamId(self.streams * 4 + 1))
    }

    fn write(&mut self, _stream: StreamId, data: &[u8], _fin: bool) -> Result<usize, TransmitError> {
        self.bytes += data.len() as u64;
        Ok(data.len())
    }

    fn write_shared(&mut self, _stream: StreamId, data: &Bytes, _fin: bool) -> Result<usize, TransmitError> {
        self.bytes += data.len() as u64;
        Ok(data.len())
    }

    fn set_urgency(&mut self, _stream: StreamId, _urgency: u8) {}

    fn reset(&mut self, _stream: StreamId, _code: u64) {}

    fn stop(&mut self, _stream: StreamId, _code: u64) {}

    fn close(&mut self, _code: u64, reason: &str) {
        panic!("closed: {reason}");
    }
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

struct Stage {
    relay: Relay,
    track: TrackId,
    now: Instant,
    sink: Sink,
}

impl Stage {
    fn new(viewers: u64) -> Self {
        let now = Instant::now();
        let mut relay = Relay::new(RelayConfig { open: true, ..RelayConfig::default() });
        let name = FullTrackName { namespace: Namespace::new(["test"]).unwrap(), name: Bytes::from_static(b"t") };
        relay.namespace_up(now, name.namespace.clone());
        let track = relay.track_open(now, name.clone(), TrackConfig { publisher_priority: 9, pinned: false });
        let mut bytes = (Vec::new(), Vec::new());
        ControlMessage::Setup(Setup { path: Some("/".to_owned()), ..Setup::default() })
            .encode(Draft::D18, &mut bytes.0)
            .unwrap();
        let subscribe = Subscribe { request_id: 0, track: name, parameters: Parameters::default() };
        ControlMessage::Subscribe(subscribe).encode(Draft::D18, &mut bytes.1).unwrap();
        let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
        for id in (0..viewers).map(SessionId) {
            let config =
                SessionConfig { draft: Draft::D18, transport: Transport::Quic, path: None, origin: None, peer };
            relay.session_open(now, id, config);
            relay.stream_data(now, &Nothing, id, StreamId(2), Dir::Uni, &bytes.0, false);
            relay.stream_data(now, &Nothing, id, StreamId(0), Dir::Bidi, &bytes.1, false);
        }
        let mut stage = Self { relay, track, now, sink: Sink::default() };
        stage.pump();
        stage
    }

    fn pump(&mut self) {
        while let Some(session) = self.relay.next_dirty() {
            assert!(!self.relay.pump(self.now, session, &mut self.sink).more);
        }
        while self.relay.poll_event().is_some() {}
    }

    /// Groups of 30 objects of 1000 bytes; gives the allocations and the bytes that left.
    fn play(&mut self, groups: std::ops::Range<u64>) -> (u64, u64) {
        let before = (ALLOCATIONS.get(), self.sink.bytes);
        let payload = Bytes::from_static(&[7; 1000]);
        for group in groups {
            for object in 0..30 {
                self.now += Duration::from_millis(33);
                self.relay.object(self.now, self.track, group, object, payload.clone(), object == 29);
                self.pump();
            }
        }
        (ALLOCATIONS.get() - before.0, self.sink.bytes - before.1)
    }
}

#[test]
fn viewers_cost_no_allocations() {
    let mut measured = Vec::new();
    for viewers in [1, 50] {
        let mut stage = Stage::new(viewers);
        // Everything that grows once has grown, and the cache has begun to drop old groups.
        stage.play(0..60);
        let (allocations, bytes) = stage.play(60..100);
        assert!(bytes >= viewers * 40 * 30 * 1000, "every viewer got everything");
        measured.push(allocations);
    }
    assert_eq!(measured[0], measured[1], "allocations belong to objects, never to (viewer, object) pairs");
    // The framed bytes, their reference count, and a share of the group's own bookkeeping.
    assert!(measured[0] <= 40 * 30 * 3, "{}", measured[0]);
}
