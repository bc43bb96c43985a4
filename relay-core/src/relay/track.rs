//! One track of a shard: where it comes from, its cache, and who follows it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wire::{FullTrackName, Properties, property};

use super::cache::GroupCache;
use super::keys::{RequestKey, SessionKey, SubscriptionKey, TenantKey, TrackKey, TrackSlot};
use super::shards::refill::ShardOrigin;
use super::slab::Slab;
use super::{LinkId, PublishDone};

/// How far a track is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackState {
    /// No source has accepted yet.
    Waiting,
    /// Objects come, or may come.
    Live,
    /// Nothing new comes.
    Over(PublishDone),
}

/// Where a track's objects come from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The engine's ingest.
    Local,
    /// A session that publishes it.
    Session(SessionOrigin),
    /// Another shard.
    Shard(ShardOrigin),
    /// A publisher that was lost and may come back ([`crate::relay::publish::held`]). `offered`: by PUBLISH, or by the ingest.
    Held { offered: bool },
}

impl Origin {
    /// A session offered the track by PUBLISH.
    pub(crate) fn is_offer(&self) -> bool {
        match self {
            Self::Session(origin) => origin.offered,
            Self::Held { offered } => *offered,
            Self::Local | Self::Shard(_) => false,
        }
    }
}

/// A publisher session as the source of a track.
#[derive(Debug)]
pub(crate) struct SessionOrigin {
    pub(crate) session: SessionKey,
    /// Our SUBSCRIBE, or its PUBLISH.
    pub(crate) request: RequestKey,
    /// Known once it accepted.
    pub(crate) alias: Option<u64>,
    /// Priority of subgroups whose header names none.
    pub(crate) priority: u8,
    /// It offered the track by PUBLISH.
    pub(crate) offered: bool,
    /// Subgroup streams seen and open.
    pub(crate) streams_seen: u64,
    pub(crate) streams_open: u64,
    /// It sent PUBLISH_DONE: the status, the streams it opened, and how long to wait for them.
    pub(crate) done: Option<(PublishDone, Option<u64>, Instant)>,
}

/// Who waits for a track to become live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A SUBSCRIBE, FETCH or TRACK_STATUS.
    Request { session: SessionKey, request: RequestKey },
    /// Another shard.
    Shard(usize),
}

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) name: FullTrackName,
    /// Unique in the relay's life; the track's alias in every session, and part of its key.
    pub(crate) serial: u64,
    pub(crate) priority: u8,
    pub(crate) pinned: bool,
    pub(crate) properties: Properties,
    /// OBJECT_DELIVERY_TIMEOUT of the properties.
    pub(crate) timeout: Option<Duration>,
    pub(crate) cache: GroupCache,
    pub(crate) state: TrackState,
    pub(crate) origins: Vec<Origin>,
    /// Subscriptions: session and its subscription.
    pub(crate) subscribers: Vec<(SessionKey, SubscriptionKey)>,
    /// Other shards that follow it.
    pub(crate) followers: Vec<usize>,
    pub(crate) waiters: Vec<Waiter>,
    /// The engine itself reads it.
    pub(crate) followed: bool,
    /// Since when nobody has followed it.
    pub(crate) idle_since: Option<Instant>,
    /// Objects cross to other shards as bare payloads (subgroup 0, no properties).
    pub(crate) bare: bool,
    /// Other shards know that it was offered here.
    pub(crate) offer_announced: bool,
    /// The largest NEW_GROUP_REQUEST that was passed on and not fulfilled yet.
    pub(crate) new_group_asked: Option<u64>,
    /// The timer that is set for this track.
    pub(crate) timer_at: Option<Instant>,
    /// Whose share of the tracks and of the cache it uses.
    pub(crate) tenant: TenantKey,
    /// Cached bytes that were counted, in the sum of all caches and for the tenant.
    pub(crate) counted: usize,
}

impl Track {
    /// Signature of the track's objects in this shard's media link.
    pub(crate) fn link_id(&self) -> LinkId {
        LinkId::new(self.serial, self.bare)
    }

    /// Takes over the Track Properties, and what follows from them.
    pub(crate) fn set_properties(&mut self, properties: Properties) {
        // An OBJECT_DELIVERY_TIMEOUT of 0 is none.
        let timeout_ms = properties.number(property::OBJECT_DELIVERY_TIMEOUT).filter(|&ms| ms > 0);
        self.timeout = timeout_ms.map(Duration::from_millis);
        self.properties = properties;
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state == TrackState::Live
    }

    pub(crate) fn is_unused(&self) -> bool {
        !self.followed && self.subscribers.is_empty() && self.followers.is_empty() && self.waiters.is_empty()
    }

    pub(crate) fn is_local(&self) -> bool {
        self.origins.iter().any(|origin| matches!(origin, Origin::Local))
    }

    /// Its publisher was lost and may come back.
    pub(crate) fn is_held(&self) -> bool {
        self.origins.iter().any(|origin| matches!(origin, Origin::Held { .. }))
    }

    /// The track comes from this shard: its ingest, or a session that is here or was.
    pub(crate) fn is_home(&self) -> bool {
        self.origins.iter().any(|origin| !matches!(origin, Origin::Shard(_)))
    }

    /// It comes from other shards, and from nobody here.
    pub(crate) fn is_only_from_shards(&self) -> bool {
        !self.origins.is_empty() && !self.is_home()
    }

    /// The shard that the track comes from.
    pub(crate) fn home_shard(&self) -> Option<usize> {
        self.origins.iter().find_map(|origin| match origin {
            Origin::Shard(origin) => Some(origin.shard),
            _ => None,
        })
    }

    /// The ingest no longer feeds the track, somebody else is about to.
    pub(crate) fn hold_local(&mut self) {
        for origin in &mut self.origins {
            if matches!(origin, Origin::Local) {
                *origin = Origin::Held { offered: true };
            }
        }
    }

    pub(crate) fn session_origins(&mut self) -> impl Iterator<Item = &mut SessionOrigin> {
        self.origins.iter_mut().filter_map(|origin| match origin {
            Origin::Session(origin) => Some(origin),
            _ => None,
        })
    }

    pub(crate) fn session_origin(&mut self, session: SessionKey) -> Option<&mut SessionOrigin> {
        self.session_origins().find(|origin| origin.session == session)
    }

    pub(crate) fn shard_origin(&mut self, shard: usize) -> Option<&mut ShardOrigin> {
        self.origins.iter_mut().find_map(|origin| match origin {
            Origin::Shard(origin) if origin.shard == shard => Some(origin),
            _ => None,
        })
    }
}

/// All tracks of a shard, by key and by name.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    slab: Slab<TrackSlot, Track>,
    by_name: HashMap<FullTrackName, TrackKey>,
    next_serial: u64,
    /// Cached bytes of all tracks.
    pub(crate) cache_len: usize,
}

impl Tracks {
    pub(crate) fn get(&self, key: TrackKey) -> Option<&Track> {
        self.slab.get(key.slot).filter(|track| track.serial == key.serial)
    }

    pub(crate) fn get_mut(&mut self, key: TrackKey) -> Option<&mut Track> {
        self.slab.get_mut(key.slot).filter(|track| track.serial == key.serial)
    }

    pub(crate) fn by_name(&self, name: &FullTrackName) -> Option<TrackKey> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TrackKey, &Track)> {
        self.slab.iter().map(|(slot, track)| (TrackKey { slot, serial: track.serial }, track))
    }

    /// Tracks of a tenant that wait for a source.
    pub(crate) fn waiting_of(&self, tenant: TenantKey) -> usize {
        let waits = |track: &Track| track.state == TrackState::Waiting && track.tenant == tenant;
        self.iter().filter(|(_, track)| waits(track)).count()
    }

    /// A new track that waits for a source.
    pub(crate) fn insert(&mut self, name: FullTrackName, tenant: TenantKey) -> TrackKey {
        // Serials start at 1, and 0 is left for "none".
        self.next_serial += 1;
        let serial = self.next_serial;
        let slot = self.slab.insert(Track {
            name: name.clone(),
            serial,
            priority: crate::wire::SUBSCRIBER_PRIORITY_DEFAULT,
            pinned: false,
            properties: Properties::default(),
            timeout: None,
            cache: GroupCache::default(),
            state: TrackState::Waiting,
            origins: Vec::new(),
            subscribers: Vec::new(),
            followers: Vec::new(),
            waiters: Vec::new(),
            followed: false,
            idle_since: None,
            bare: false,
            offer_announced: false,
            new_group_asked: None,
            timer_at: None,
            tenant,
            counted: 0,
        });
        let key = TrackKey { slot, serial };
        self.by_name.insert(name, key);
        key
    }

    /// New requests for the name no longer find this track.
    pub(crate) fn forget_name(&mut self, key: TrackKey) {
        let Some(track) = self.slab.get(key.slot) else { return };
        if self.by_name.get(&track.name) == Some(&key) {
            self.by_name.remove(&track.name);
        }
    }

    pub(crate) fn remove(&mut self, key: TrackKey) -> Option<Track> {
        self.get(key)?;
        self.forget_name(key);
        let track = self.slab.remove(key.slot)?;
        self.cache_len = self.cache_len.saturating_sub(track.counted);
        Some(track)
    }

    /// Brings the sum of all caches up to date with one of them: its tenant, and its bytes before and now.
    pub(crate) fn count(&mut self, key: TrackKey) -> Option<(TenantKey, usize, usize)> {
        let track = self.slab.get_mut(key.slot).filter(|track| track.serial == key.serial)?;
        let (before, after) = (track.counted, track.cache.len());
        track.counted = after;
        self.cache_len = self.cache_len.saturating_sub(before).saturating_add(after);
        Some((track.tenant, before, after))
    }
}
