//! The nouns of the relay's public surface.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::wire::Draft;

pub use crate::wire::PublishDoneCode as PublishDone;

/// The engine's name for one MoQT session; unique for the life of a [`super::Relay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// One open local track, given by [`super::Relay::track_open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u64);

/// What a track is called on the links of the shard that has it; unique for the life of that shard's [`super::Relay`].
///
/// The lowest bit tells how payloads cross: 0 bare, 1 with a header of the relay's in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

impl LinkId {
    pub(crate) fn new(serial: u64, bare: bool) -> Self {
        Self(serial << 1 | u64::from(!bare))
    }

    pub(crate) fn is_bare(self) -> bool {
        self.0 & 1 == 0
    }
}

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Raw QUIC, ALPN `moqt-NN`; the path comes in SETUP.
    Quic,
    /// WebTransport over HTTP/3; the path comes in CONNECT and is forbidden in SETUP.
    WebTransport,
}

/// What the engine knows of a session when its transport is up.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Negotiated draft.
    pub draft: Draft,
    /// What carries the session.
    pub transport: Transport,
    /// `path?query` of the CONNECT request; `None` on raw QUIC.
    pub path: Option<String>,
    /// The `Origin` of the CONNECT request: the page that a browser runs. Clients that are no browsers need not send one.
    pub origin: Option<String>,
    /// The peer's address: tokens may be bound to networks.
    pub peer: SocketAddr,
}

/// How a local track is sent and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackConfig {
    /// Publisher priority, 0 is the most urgent (MoQT-18 §7.2).
    pub publisher_priority: u8,
    /// The newest object is never evicted (`.catalog`, `catalog`, `*.init`).
    pub pinned: bool,
}

/// One object as it crosses from shard to shard.
///
/// `payload` is opaque to the engine: bare media for tracks of the local ingest, with a small header in front for tracks
/// that came from a MoQT publisher (the link id tells the relay which). `object == u64::MAX` with an empty payload and
/// `end_of_group` says that the group ended without naming its last object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedObject {
    /// Group id.
    pub group: u64,
    /// Object id in the group.
    pub object: u64,
    /// The bytes to hand to [`super::Relay::remote_object`] on the other shard.
    pub payload: Bytes,
    /// No further object follows in the group.
    pub end_of_group: bool,
}

/// What a [`super::Relay::pump`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pumped {
    /// The session has more to send than the transport took; pump it again when the transport made progress.
    pub more: bool,
}

/// What a session may do; decided by its path (`/playback/<id>`, `/publish/<id>`, anything else in open mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May subscribe inside one namespace.
    Playback,
    /// May publish inside one namespace.
    Publish,
    /// May publish and subscribe anything whose namespace does not begin with `stream`.
    Open,
}

impl Role {
    /// Whether objects may come from such a session. One that only reads never needs much room for what it sends.
    pub fn publishes(self) -> bool {
        matches!(self, Self::Publish | Self::Open)
    }
}

/// What the relay took, handed out, refused, dropped and closed since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions turned away because of [`super::RelayConfig::sessions_max`] or
    /// [`super::RelayConfig::publishers_per_input_max`].
    pub sessions_refused: u64,
    /// Sessions closed by the relay.
    pub sessions_closed: u64,
    /// Requests turned away because of [`super::RelayConfig::requests_max`].
    pub requests_refused: u64,
    /// Tracks turned away because of [`super::RelayConfig::tracks_max`] or another bound of tracks.
    pub tracks_refused: u64,
    /// Namespaces turned away because of [`super::RelayConfig::namespaces_max`] or
    /// [`super::RelayConfig::namespaces_per_session_max`].
    pub namespaces_refused: u64,
    /// Playback tokens that did not hold.
    pub tokens_refused: u64,
    /// Streams of publishers given up because their track stayed unknown, or because a bound of memory was reached.
    pub streams_abandoned: u64,
    /// Objects in datagrams of no known track, or that a viewer's transport had no room for: once for every viewer.
    pub datagrams_dropped: u64,
    /// Objects that came twice.
    pub objects_duplicate: u64,
    /// Objects that came after later ones of their subgroup, or for an evicted group.
    pub objects_late: u64,
    /// Objects that no bound of the cache had room for.
    pub objects_refused: u64,
    /// Objects that the ingest or a publisher of this shard put into a cache, marks of an end included. What comes from
    /// other shards is not counted, so that the sum over shards does not count an object again for crossing; nor is what
    /// a publisher sends for one viewer's FETCH, which no cache keeps.
    pub objects_in: u64,
    /// Payload bytes of those.
    pub object_bytes_in: u64,
    /// Objects of subscriptions and fetches whose last byte a viewer's transport took: once for every viewer. An object
    /// that was cut short is not counted.
    pub objects_out: u64,
    /// Payload bytes of those.
    pub object_bytes_out: u64,
    /// Groups that a subscription gave up because its viewer was too slow: once for every viewer and group, whether a
    /// stream of it was reset or none could be opened in time.
    pub groups_dropped: u64,
    /// Groups that a cache let go for a bound of its bytes, age or number. Those of a track that goes as a whole are not
    /// counted.
    pub groups_evicted: u64,
}

impl Counters {
    /// A new object came in at home.
    pub(crate) fn count_in(&mut self, payload_len: usize) {
        self.objects_in += 1;
        self.object_bytes_in += payload_len as u64;
    }

    /// A viewer's transport took the last byte of an object.
    pub(crate) fn count_out(&mut self, payload_len: usize) {
        self.objects_out += 1;
        self.object_bytes_out += payload_len as u64;
    }
}
