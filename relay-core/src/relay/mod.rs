//! Everything one shard does with MoQT sessions: SETUP, requests, tracks, caches, subscriptions and the scheduler.
//!
//! ```text
//!   stream_data / stream_reset        object / group_end           remote_object / remote_filled
//!        (a session's peer)            (local ingest)                  (another shard)
//!               |                            |                               |
//!               v                            v                               v
//!        session machine  -- requests --> tracks: group cache, framed once <-'
//!               |                            |
//!        request answers              cursors of subscriptions and fetches
//!               |                            |
//!               '------------> pump(io) <----'   control, request streams, then data by priority
//! ```
//!
//! There is no socket, clock or thread in here: `now` is an argument, bytes come in by calls, and what has to be sent
//! leaves by [`Relay::pump`] and [`Relay::poll_event`].

mod event;
mod limits;
mod name;
mod transmit;
mod types;

pub use event::RelayEvent;
pub use limits::RelayConfig;
pub use name::{FullTrackName, Location, Namespace};
pub use crate::directory::{Directory, Resource, SigningAlgorithm, SigningKey};
pub use crate::wire::{Draft, PublishDoneCode as PublishDone};
pub use transmit::{Dir, StreamId, Transmit, TransmitError};
pub use types::{
    CachedObject, Pumped, Role, SessionConfig, SessionId, TrackConfig, TrackId, Transport,
};

use std::time::{Duration, Instant};

use bytes::Bytes;

/// The relay of one shard.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
}

impl Relay {
    /// An empty relay.
    pub fn new(config: RelayConfig) -> Self {
        Self { config }
    }

    /// The configuration it runs with.
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// Tells the unix time in milliseconds, for tokens. Call it at least once a second, and before the first session.
    pub fn set_time(&mut self, _unix_now_ms: u64) {}

    // ---- sessions ------------------------------------------------------------------------------------------------

    /// A transport finished its handshake. The relay's SETUP is ready to be pumped at once.
    pub fn session_open(&mut self, _now: Instant, _session: SessionId, _config: SessionConfig) {}

    /// The transport is gone; everything the session had is dropped.
    pub fn session_closed(&mut self, _now: Instant, _session: SessionId) {}

    /// Bytes of one stream, in order. `fin`: the peer ended its half after them. The relay keeps what it needs: `data`
    /// is always taken whole. Unknown sessions are ignored.
    #[allow(clippy::too_many_arguments)]
    pub fn stream_data(
        &mut self,
        _now: Instant,
        _directory: &dyn Directory,
        _session: SessionId,
        _stream: StreamId,
        _dir: Dir,
        _data: &[u8],
        _fin: bool,
    ) {
    }

    /// The peer reset its half of a stream.
    pub fn stream_reset(&mut self, _now: Instant, _session: SessionId, _stream: StreamId, _code: u64) {}

    /// The peer sent STOP_SENDING for a stream.
    pub fn stream_stopped(&mut self, _now: Instant, _session: SessionId, _stream: StreamId, _code: u64) {}

    /// Sends what the session has to send, as far as the transport takes it: control first, request streams, then data
    /// by (subscriber priority, publisher priority, group order, group, subgroup).
    pub fn pump(&mut self, _now: Instant, _session: SessionId, _io: &mut dyn Transmit) -> Pumped {
        Pumped { more: false }
    }

    /// The next session with something to pump; each one is given once until it is dirty again.
    pub fn next_dirty(&mut self) -> Option<SessionId> {
        None
    }

    /// When [`Relay::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Runs everything that is due.
    pub fn handle_timeout(&mut self, _now: Instant, _unix_now_ms: u64, _directory: &dyn Directory) {}

    /// What the engine has to act on; call until `None` after every batch of calls.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        None
    }

    // ---- operator ------------------------------------------------------------------------------------------------

    /// Closes a session with a MoQT session code.
    pub fn kick(&mut self, _now: Instant, _session: SessionId, _code: u64, _reason: &str) {}

    /// A signing key was revoked: sessions that were let in by it are closed with `auth_failed`.
    pub fn revoke_key(&mut self, _now: Instant, _kid: &str) {}

    /// A resource (`lv_`, `as_` or `pb_` id) was disabled or deleted: its sessions are closed with `auth_failed`.
    pub fn resource_disabled(&mut self, _now: Instant, _id: &str) {}

    /// Tells every session to go away (GOAWAY) and closes the ones that are still here after `timeout`.
    pub fn drain(&mut self, _now: Instant, _timeout: Duration) {}

    // ---- local origin: the engine's ingest on the home shard -------------------------------------------------------

    /// A namespace is published here from now on.
    pub fn namespace_up(&mut self, _now: Instant, _namespace: Namespace) {}

    /// A namespace is no longer published here; its tracks are ended by [`Relay::track_end`].
    pub fn namespace_down(&mut self, _now: Instant, _namespace: Namespace) {}

    /// Opens a track of the local ingest; opening an open one again gives the same id (a reconnected encoder).
    pub fn track_open(&mut self, _now: Instant, _name: FullTrackName, _config: TrackConfig) -> TrackId {
        TrackId(0)
    }

    /// One object of a local track. Framed once here and shared by every viewer of the shard. Objects come in (group,
    /// object) order; a new group implies nothing about the end of the one before ([`Relay::group_end`] does).
    pub fn object(
        &mut self,
        _now: Instant,
        _track: TrackId,
        _group: u64,
        _object: u64,
        _payload: Bytes,
        _end_of_group: bool,
    ) {
    }

    /// A group has no further objects.
    pub fn group_end(&mut self, _now: Instant, _track: TrackId, _group: u64) {}

    /// A local track is over: its subscribers get PUBLISH_DONE after the last object.
    pub fn track_end(&mut self, _now: Instant, _track: TrackId, _status: PublishDone) {}

    // ---- other shards of this engine -----------------------------------------------------------------------------

    /// `shard` publishes a namespace.
    pub fn remote_namespace_up(&mut self, _now: Instant, _namespace: Namespace, _shard: usize) {}

    /// `shard` no longer publishes a namespace.
    pub fn remote_namespace_down(&mut self, _now: Instant, _namespace: Namespace, _shard: usize) {}

    /// Another shard wants a track; answered by [`RelayEvent::AnswerShard`] or [`RelayEvent::RefuseShard`].
    pub fn shard_subscribe(&mut self, _now: Instant, _from_shard: usize, _name: FullTrackName) {}

    /// Another shard no longer wants a track.
    pub fn shard_unsubscribe(&mut self, _now: Instant, _from_shard: usize, _name: FullTrackName) {}

    /// The answer to [`RelayEvent::AskShard`].
    #[allow(clippy::too_many_arguments)]
    pub fn remote_accepted(
        &mut self,
        _now: Instant,
        _shard: usize,
        _name: FullTrackName,
        _link_id: u64,
        _priority: u8,
        _pinned: bool,
        _largest: Option<Location>,
    ) {
    }

    /// The other answer to [`RelayEvent::AskShard`].
    pub fn remote_refused(&mut self, _now: Instant, _shard: usize, _name: FullTrackName, _code: u64, _reason: &str) {}

    /// An object of another shard's track, from the replay or from its media link; duplicates are dropped.
    #[allow(clippy::too_many_arguments)]
    pub fn remote_object(
        &mut self,
        _now: Instant,
        _shard: usize,
        _link_id: u64,
        _group: u64,
        _object: u64,
        _payload: Bytes,
        _end_of_group: bool,
    ) {
    }

    /// The replay that belongs to [`Relay::remote_accepted`] is complete.
    pub fn remote_filled(&mut self, _now: Instant, _shard: usize, _link_id: u64) {}

    /// A track of another shard is over.
    pub fn remote_done(&mut self, _now: Instant, _shard: usize, _link_id: u64, _status: PublishDone) {}

    /// This shard's reader of `shard`'s media link was overrun: every track from there refills from a new replay.
    pub fn remote_lost(&mut self, _now: Instant, _shard: usize) {}
}
