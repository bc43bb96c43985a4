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
//! | where | what |
//! |---|---|
//! | `session` | one session: its streams, requests, deadlines, and what it has to send |
//! | `auth` | what a session may do: its path, and the tokens it shows |
//! | `subscribe` | viewers: SUBSCRIBE, FETCH, watched namespaces, and the order in which their data leaves |
//! | `publish` | where objects come from: the engine's ingest, publisher sessions, and those that were lost |
//! | `cache` | the objects of a track, framed once, and how they keep to their bounds |
//! | `shards` | tracks, objects and FETCHes that cross to other shards and come from there |
//!
//! Files that keep something (`Session`, `Track`, `Subscription`, `Pull`) do not know [`Relay`]; files that do something with it
//! add their part to it, and the engine's calls stand among them.
//!
//! There is no socket, clock or thread in here: `now` is an argument, bytes come in by calls, and what has to be sent
//! leaves by [`Relay::pump`] and [`Relay::poll_event`].

mod auth;
mod cache;
mod event;
mod keys;
mod limits;
mod publish;
mod refusal;
mod session;
mod shards;
mod shares;
mod slab;
mod subscribe;
mod tenants;
mod timers;
mod track;
mod track_life;
mod types;

pub use crate::directory::{Directory, Resource, SigningAlgorithm, SigningKey};
pub use crate::transmit::{Dir, StreamId, Transmit, TransmitError};
pub use crate::wire::{Draft, FullTrackName, Location, Namespace};
pub use event::RelayEvent;
pub use limits::{RelayConfig, RelayTuning};
pub use publish::offered::offered_track;
pub use shards::message::cut_short;
pub use types::{
    CachedObject, Counters, LinkId, PublishDone, Pumped, Role, SessionConfig, SessionId, TrackConfig, TrackId,
    Transport,
};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::token::VerifyingKeys;

use auth::grant::Places;
use keys::{RequestKey, SessionKey, ShardFetchKey, TrackKey};
use publish::namespaces::Namespaces;
use session::Session;
use shards::served::ShardFetch;
use slab::Slab;
use subscribe::pull::Pulls;
use subscribe::schedule::Candidate;
use tenants::Tenants;
use timers::{Alarm, Timers};
use track::Tracks;

/// How often old groups are dropped from tracks that get nothing new.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

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

    /// What the engine has to act on; call until `None` after every batch of calls.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    /// When [`Relay::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.earliest()
    }

    /// Runs everything that is due.
    pub fn handle_timeout(&mut self, now: Instant, unix_now_ms: u64, _directory: &dyn Directory) {
        self.unix_now_ms = unix_now_ms;
        while let Some(alarm) = self.timers.take_due(now) {
            match alarm {
                Alarm::Session(id) => self.session_alarm(now, id),
                Alarm::Track(key) => self.track_alarm(now, key),
                Alarm::Sweep => self.sweep(now),
            }
        }
    }

    fn arm_sweep(&mut self, now: Instant) {
        if let Some(at) = now.checked_add(SWEEP_INTERVAL) {
            self.timers.set_sweep(at);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let tracks: Vec<TrackKey> = self.tracks.iter().map(|(key, _)| key).collect();
        self.timers.swept();
        if !tracks.is_empty() {
            self.arm_sweep(now);
        }
        tracks.into_iter().for_each(|key| self.bound_cache(now, key));
    }
}
