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

mod alarms;
mod auth;
mod cache;
mod datagram_queue;
mod datagrams;
mod deadlines;
mod event;
mod fetch;
mod fetch_for_shard;
mod fetch_out;
mod follow;
mod grant;
mod held;
mod keys;
mod limits;
mod local;
mod message;
mod namespaces;
mod offered;
mod operator;
mod out_stream;
mod packed;
mod path;
mod publish;
mod pull;
mod pulling;
mod pump;
mod receive;
mod receiving;
mod refill;
mod refusal;
mod remote;
mod request;
mod requests;
mod schedule;
mod seen;
mod session;
mod sessions;
mod shard_fetch;
mod shards;
mod shares;
mod slab;
mod subscribe;
mod subscription;
mod tenants;
mod timers;
mod tokens;
mod track;
mod transmit;
mod types;
mod unresolved;
mod upstream;
mod watch;

pub use crate::directory::{Directory, Resource, SigningAlgorithm, SigningKey};
pub use crate::wire::{Draft, FullTrackName, Location, Namespace};
pub use event::RelayEvent;
pub use limits::{RelayConfig, RelayTuning};
pub use message::cut_short;
pub use offered::offered_track;
pub use transmit::{Dir, StreamId, Transmit, TransmitError};
pub use types::{
    CachedObject, Counters, LinkId, PublishDone, Pumped, Role, SessionConfig, SessionId, TrackConfig, TrackId,
    Transport,
};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::token::VerifyingKeys;

use auth::Scope;
use fetch_for_shard::ShardFetch;
use grant::Places;
use keys::{RequestKey, SessionKey, ShardFetchKey, TrackKey};
use namespaces::{Namespaces, Publisher};
use pull::Pulls;
use receive::Chunk;
use schedule::Candidate;
use session::Session;
use slab::Slab;
use tenants::Tenants;
use timers::Timers;
use track::Tracks;

/// The relay of one shard.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    unix_now_ms: u64,
    sessions: Slab<SessionKey, Session>,
    by_id: HashMap<SessionId, SessionKey>,
    tracks: Tracks,
    namespaces: Namespaces,
    pulls: Pulls,
    tenants: Tenants,
    /// Sessions at once with one token.
    places: Places,
    verifying_keys: VerifyingKeys,
    /// FETCHes of other shards.
    shard_fetches: Slab<ShardFetchKey, ShardFetch>,
    /// Tracks of other shards by shard and link id.
    links: HashMap<(usize, LinkId), TrackKey>,
    /// Tracks that publishers offered on other shards, and on which.
    offers: BTreeMap<FullTrackName, Vec<usize>>,
    /// Requests that watch namespaces or tracks: session and request.
    namespace_watchers: Vec<(SessionKey, RequestKey)>,
    track_watchers: Vec<(SessionKey, RequestKey)>,
    events: VecDeque<RelayEvent>,
    dirty: VecDeque<SessionKey>,
    timers: Timers,
    counters: Counters,
    /// Scratch space of the scheduler.
    candidates: Vec<Candidate>,
}

impl Relay {
    /// An empty relay.
    pub fn new(config: RelayConfig) -> Self {
        Self {
            config,
            unix_now_ms: 0,
            sessions: Slab::default(),
            by_id: HashMap::new(),
            tracks: Tracks::default(),
            namespaces: Namespaces::default(),
            pulls: Pulls::default(),
            tenants: Tenants::default(),
            places: Places::default(),
            verifying_keys: VerifyingKeys::default(),
            shard_fetches: Slab::default(),
            links: HashMap::new(),
            offers: BTreeMap::new(),
            namespace_watchers: Vec::new(),
            track_watchers: Vec::new(),
            events: VecDeque::new(),
            dirty: VecDeque::new(),
            timers: Timers::default(),
            counters: Counters::default(),
            candidates: Vec::new(),
        }
    }

    /// The configuration it runs with.
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }

    /// Goes on with other bounds.
    pub fn tune(&mut self, tuning: RelayTuning) {
        let RelayTuning { sessions_max, cache_len_max, delivery_timeout } = tuning;
        self.config = RelayConfig { sessions_max, cache_len_max, delivery_timeout, ..self.config.clone() };
        self.bound_all_caches();
    }

    /// What was taken, handed out, refused, dropped and closed so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Subscriptions of the sessions here, to tracks of any shard.
    pub fn subscriptions_open(&self) -> usize {
        self.tracks.iter().map(|(_, track)| track.subscribers.len()).sum()
    }

    /// Bytes of all cached objects.
    pub fn cache_len(&self) -> usize {
        self.tracks.cache_len
    }

    /// Tells the unix time in milliseconds, for tokens. Call it at least once a second, and before the first session.
    pub fn set_time(&mut self, unix_now_ms: u64) {
        self.unix_now_ms = unix_now_ms;
    }

    // ---- sessions ------------------------------------------------------------------------------------------------

    /// A transport finished its handshake. The relay's SETUP is ready to be pumped at once.
    pub fn session_open(&mut self, now: Instant, session: SessionId, config: SessionConfig) {
        self.open_session(now, session, config);
    }

    /// The transport is gone; everything the session had is dropped.
    pub fn session_closed(&mut self, now: Instant, session: SessionId) {
        self.remove_session(now, session);
    }

    /// Whether the session may publish, so that its transport gives it room for objects. `false` until its SETUP was read:
    /// a path alone proves no publish key ([`RelayEvent::SessionReady`] tells when it did, with the role).
    pub fn session_publishes(&self, session: SessionId) -> bool {
        let session = self.by_id.get(&session).and_then(|key| self.sessions.get(*key));
        let scope = session.filter(|session| !session.is_closing()).and_then(|session| session.scope.as_ref());
        scope.is_some_and(|scope| scope.role.publishes())
    }

    /// Whether the session has a request that was accepted and is not over, of its peer or of ours: its transport is kept alive
    /// while nothing is sent.
    pub fn session_in_use(&self, session: SessionId) -> bool {
        let session = self.by_id.get(&session).and_then(|key| self.sessions.get(*key));
        session.is_some_and(|session| {
            !session.is_closing() && session.requests.iter().any(|(_, request)| request.kind.is_accepted())
        })
    }

    /// Bytes of one stream, in order. `fin`: the peer ended its half after them. The relay keeps what it needs: `data`
    /// is always taken whole. Unknown sessions are ignored.
    #[allow(clippy::too_many_arguments)]
    pub fn stream_data(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        session: SessionId,
        stream: StreamId,
        dir: Dir,
        data: &[u8],
        fin: bool,
    ) {
        let Some(&key) = self.by_id.get(&session) else { return };
        if let Err(fatal) = self.receive(now, directory, key, Chunk { stream, dir, data, fin }) {
            self.close(now, key, fatal);
        }
        self.count_receiving(key);
    }

    /// A datagram of a session. An object in it goes to everybody who follows its track, in datagrams as well.
    pub fn datagram(&mut self, now: Instant, session: SessionId, data: &[u8]) {
        if let Some(&key) = self.by_id.get(&session) {
            self.on_datagram(now, key, data);
        }
    }

    /// The peer reset its half of a stream.
    pub fn stream_reset(&mut self, now: Instant, session: SessionId, stream: StreamId, code: u64) {
        if let Some(&key) = self.by_id.get(&session) {
            self.on_stream_reset(now, key, stream, code);
        }
    }

    /// The peer sent STOP_SENDING for a stream.
    pub fn stream_stopped(&mut self, now: Instant, session: SessionId, stream: StreamId, _code: u64) {
        if let Some(&key) = self.by_id.get(&session) {
            self.on_stream_stopped(now, key, stream);
        }
    }

    /// Sends what the session has to send, as far as the transport takes it: control first, request streams, then data
    /// by (subscriber priority, publisher priority, group order, group, subgroup).
    pub fn pump(&mut self, now: Instant, session: SessionId, io: &mut dyn Transmit) -> Pumped {
        let pumped = self.pump_session(now, session, io);
        if let Some(&key) = self.by_id.get(&session) {
            self.count_pulled(key);
        }
        pumped
    }

    /// The next session with something to pump; each one is given once until it is dirty again.
    pub fn next_dirty(&mut self) -> Option<SessionId> {
        while let Some(key) = self.dirty.pop_front() {
            if let Some(session) = self.sessions.get_mut(key)
                && std::mem::take(&mut session.dirty)
            {
                return Some(session.id);
            }
        }
        None
    }

    /// When [`Relay::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.earliest_alarm()
    }

    /// Runs everything that is due.
    pub fn handle_timeout(&mut self, now: Instant, unix_now_ms: u64, _directory: &dyn Directory) {
        self.unix_now_ms = unix_now_ms;
        self.ring_alarms(now);
    }

    /// What the engine has to act on; call until `None` after every batch of calls.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    // ---- operator ------------------------------------------------------------------------------------------------

    /// Closes a session with a MoQT session code.
    pub fn kick(&mut self, now: Instant, session: SessionId, code: u64, reason: &str) {
        self.kick_session(now, session, code, reason);
    }

    /// A signing key was revoked: sessions that were let in by it are closed with `auth_failed`.
    pub fn revoke_key(&mut self, now: Instant, kid: &str) {
        self.cut_by_key(now, kid);
    }

    /// A resource (`lv_`, `as_` or `pb_` id) was disabled or deleted: its sessions are closed with `auth_failed`.
    pub fn resource_disabled(&mut self, now: Instant, id: &str) {
        self.cut_by_resource(now, id);
    }

    /// Publish sessions are asked for their key again: closes those whose input was deleted or disabled or whose key was
    /// rotated away. Call it when the directory has changed, and now and then, for a rotated key may count for a while.
    pub fn recheck_publishers(&mut self, now: Instant, unix_ms: u64, directory: &dyn Directory) {
        let lost = |scope: &Scope| scope.lost_its_input(directory, unix_ms);
        self.cut_publishers(now, lost, "auth_failed: the publish key is no longer valid");
    }

    /// Closes the publish sessions of an input; they may come back.
    pub fn disconnect_publishers(&mut self, now: Instant, input: &str, reason: &str) {
        self.cut_publishers(now, |scope| scope.role == Role::Publish && scope.is_about(input), reason);
    }

    /// Tells every session to go away (GOAWAY) and closes the ones that are still here after `timeout`.
    pub fn drain(&mut self, now: Instant, timeout: Duration) {
        self.drain_sessions(now, timeout);
    }

    // ---- local origin: the engine's ingest on the home shard -------------------------------------------------------

    /// A namespace is published here from now on.
    pub fn namespace_up(&mut self, now: Instant, namespace: Namespace) {
        self.publisher_up(now, namespace, Publisher::Local);
    }

    /// A namespace is no longer published here; its tracks are ended by [`Relay::track_end`].
    pub fn namespace_down(&mut self, _now: Instant, namespace: Namespace) {
        self.publisher_down(&namespace, Publisher::Local);
    }

    /// Opens a track of the local ingest; opening an open one again gives the same id (a reconnected encoder).
    pub fn track_open(&mut self, now: Instant, name: FullTrackName, config: TrackConfig) -> TrackId {
        self.open_local(now, name, config)
    }

    /// One object of a local track. Framed once here and shared by every viewer of the shard. Objects come in (group,
    /// object) order; a new group implies nothing about the end of the one before ([`Relay::group_end`] does).
    pub fn object(
        &mut self,
        now: Instant,
        track: TrackId,
        group: u64,
        object: u64,
        payload: Bytes,
        end_of_group: bool,
    ) {
        self.local_object(now, track, group, object, payload, end_of_group);
    }

    /// A group has no further objects.
    pub fn group_end(&mut self, _now: Instant, track: TrackId, group: u64) {
        self.local_group_end(track, group);
    }

    /// A local track is over: its subscribers get PUBLISH_DONE after the last object.
    pub fn track_end(&mut self, now: Instant, track: TrackId, status: PublishDone) {
        self.local_end(now, track, status);
    }

    // ---- other shards of this engine -----------------------------------------------------------------------------

    /// `shard` publishes a namespace.
    pub fn remote_namespace_up(&mut self, now: Instant, namespace: Namespace, shard: usize) {
        if !self.remote_offer_up(now, &namespace, shard) {
            self.publisher_up(now, namespace, Publisher::Shard(shard));
        }
    }

    /// `shard` no longer publishes a namespace.
    pub fn remote_namespace_down(&mut self, _now: Instant, namespace: Namespace, shard: usize) {
        if !self.remote_offer_down(&namespace, shard) {
            self.publisher_down(&namespace, Publisher::Shard(shard));
        }
    }

    /// Another shard wants a track; answered by [`RelayEvent::AnswerShard`] or [`RelayEvent::RefuseShard`].
    pub fn shard_subscribe(&mut self, now: Instant, from_shard: usize, name: FullTrackName) {
        self.on_shard_subscribe(now, from_shard, name);
    }

    /// A [`RelayEvent::ShardMessage`] of another shard.
    pub fn shard_message(&mut self, now: Instant, from_shard: usize, message: &Bytes) {
        self.on_shard_message(now, from_shard, message);
    }

    /// Another shard no longer wants a track.
    pub fn shard_unsubscribe(&mut self, now: Instant, from_shard: usize, name: FullTrackName) {
        self.on_shard_unsubscribe(now, from_shard, &name);
    }

    /// The answer to [`RelayEvent::AskShard`]. `false`: nobody here wants the track any more, so its objects need not be
    /// handed over.
    #[allow(clippy::too_many_arguments)]
    pub fn remote_accepted(
        &mut self,
        now: Instant,
        shard: usize,
        name: FullTrackName,
        link_id: LinkId,
        priority: u8,
        pinned: bool,
        largest: Option<Location>,
    ) -> bool {
        self.on_remote_accepted(now, shard, &name, link_id, priority, pinned, largest)
    }

    /// Another answer to [`RelayEvent::AskShard`]: the link has no room for the replay now. The question is repeated.
    pub fn remote_busy(&mut self, now: Instant, shard: usize, name: FullTrackName) {
        self.on_remote_busy(now, shard, &name);
    }

    /// The last answer to [`RelayEvent::AskShard`].
    pub fn remote_refused(&mut self, now: Instant, shard: usize, name: FullTrackName, code: u64, reason: &str) {
        self.on_remote_refused(now, shard, &name, code, reason);
    }

    /// An object of another shard's track, from the replay or from its media link; duplicates are dropped.
    #[allow(clippy::too_many_arguments)]
    pub fn remote_object(
        &mut self,
        now: Instant,
        shard: usize,
        link_id: LinkId,
        group: u64,
        object: u64,
        payload: Bytes,
        end_of_group: bool,
    ) {
        self.on_remote_object(now, shard, link_id, group, object, payload, end_of_group);
    }

    /// The replay that belongs to [`Relay::remote_accepted`] is complete.
    pub fn remote_filled(&mut self, now: Instant, shard: usize, link_id: LinkId) {
        self.on_remote_filled(now, shard, link_id);
    }

    /// A track of another shard is over.
    pub fn remote_done(&mut self, now: Instant, shard: usize, link_id: LinkId, status: PublishDone) {
        self.on_remote_done(now, shard, link_id, status);
    }

    /// This shard's reader of `shard`'s media link was overrun: every track from there refills from a new replay.
    pub fn remote_lost(&mut self, now: Instant, shard: usize) {
        self.on_remote_lost(now, shard);
    }

    /// Objects of one track passed by before its link id was known here: it refills from a new replay.
    pub fn remote_missed(&mut self, now: Instant, shard: usize, link_id: LinkId) {
        self.on_remote_missed(now, shard, link_id);
    }
}
