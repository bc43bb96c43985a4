//! Tracks of the engine's own ingest, and what all tracks share: bounds, notices and ends.

use std::time::Instant;

use bytes::Bytes;

use crate::wire::{FullTrackName, ObjectStatus};

use super::cache::{CacheBounds, NewObject, Pushed, SubgroupEnd, SubgroupInfo};
use super::keys::TrackKey;
use super::refusal::Refusal;
use super::track::{Origin, TrackState};
use super::{PublishDone, Relay, RelayEvent, TrackConfig, TrackId};

impl Relay {
    pub(super) fn open_local(&mut self, now: Instant, name: FullTrackName, config: TrackConfig) -> TrackId {
        let key = match self.tracks.by_name(&name) {
            Some(key) => key,
            None => self.local_track(name),
        };
        let Some(track) = self.tracks.get_mut(key) else { return TrackId(u64::MAX) };
        track.priority = config.publisher_priority;
        track.pinned = config.pinned;
        if !track.is_local() {
            track.origins.push(Origin::Local);
        }
        track.state = TrackState::Live;
        self.drop_held(key);
        self.set_bare(key, true);
        self.arm_sweep(now);
        self.resolve_waiters(now, key);
        self.offer_to_watchers(key);
        key.id()
    }

    /// The key of a track that the ingest has open; a publisher session may have taken it over.
    fn local(&self, id: TrackId) -> Option<TrackKey> {
        let key = TrackKey::of_id(id)?;
        let track = self.tracks.get(key)?;
        (track.is_live() && track.is_local()).then_some(key)
    }

    pub(super) fn local_object(
        &mut self,
        now: Instant,
        id: TrackId,
        group: u64,
        object: u64,
        payload: Bytes,
        end_of_group: bool,
    ) {
        let Some(key) = self.local(id) else { return };
        let payload_len = payload.len();
        if self.bare_object(now, key, group, object, payload, end_of_group) == Some(Pushed::New) {
            self.counters.count_in(payload_len);
        }
        self.publish_to_shards(key, group, 0, object);
        self.bound_cache(now, key);
        self.notify(key);
    }

    /// Puts an object of subgroup 0 without properties into a track; `None` when there is no place for it.
    pub(super) fn bare_object(
        &mut self,
        now: Instant,
        key: TrackKey,
        group: u64,
        object: u64,
        payload: Bytes,
        end_of_group: bool,
    ) -> Option<Pushed> {
        let track = self.tracks.get_mut(key)?;
        // The one subgroup of a group always has its last object.
        let info = SubgroupInfo { id: 0, priority: track.priority, ends_group: true, first_object: object == 0 };
        if !track.cache.open_subgroup(now, group, info) {
            self.counters.objects_refused += 1;
            return None;
        }
        // The ingest counts a group's objects from 0 without holes: what is missing was lost on the way from another shard.
        if track.cache.last_id(group, 0).map_or(0, |last| last.saturating_add(1)) < object {
            track.cache.mark_lossy(group);
        }
        let new = NewObject { id: object, status: ObjectStatus::Normal, properties: None, payload, adjacent: false };
        let pushed = track.cache.push(now, group, 0, new);
        if end_of_group {
            track.cache.end_subgroup(group, 0, SubgroupEnd::Finished);
        }
        match pushed {
            Pushed::New => {}
            Pushed::Duplicate => self.counters.objects_duplicate += 1,
            Pushed::Late => self.counters.objects_late += 1,
        }
        Some(pushed)
    }

    pub(super) fn local_group_end(&mut self, id: TrackId, group: u64) {
        let Some(key) = self.local(id) else { return };
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.cache.end_subgroup(group, 0, SubgroupEnd::Finished) {
            self.end_subgroup_on_shards(key, group, 0, SubgroupEnd::Finished);
            self.notify(key);
        }
    }

    pub(super) fn local_end(&mut self, now: Instant, id: TrackId, status: PublishDone) {
        if let Some(key) = self.local(id) {
            // What the ingest handed over is all there is.
            self.end_track(now, key, status, SubgroupEnd::Finished);
        }
    }

    /// Nothing new comes for a track. `cut` is what becomes of its open subgroups.
    pub(super) fn end_track(&mut self, now: Instant, key: TrackKey, status: PublishDone, cut: SubgroupEnd) {
        self.tracks.unname(key);
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.state = TrackState::Over(status);
        track.followed = false;
        track.cache.end_all(cut);
        let shards = std::mem::take(&mut track.followers);
        let link_id = track.link_id();
        for &(session, subscription) in &track.subscribers {
            if let Some(session) = self.sessions.get_mut(session)
                && let Some(state) = session.subscriptions.get_mut(subscription)
            {
                state.ending = Some(status);
            }
        }
        if !shards.is_empty() {
            self.events.push_back(RelayEvent::ShardDone { shards, link_id, status });
        }
        self.refuse_waiters(now, key, Refusal::NO_TRACK.code, "the track is over");
        self.notify(key);
        self.check_idle(now, key);
    }

    /// Keeps a track, and all tracks together, within the bounds of the cache.
    pub(super) fn bound_cache(&mut self, now: Instant, key: TrackKey) {
        let bounds = CacheBounds { len_max: self.config.cache_track_len_max, age_max: self.config.cache_age_max };
        if let Some(track) = self.tracks.get_mut(key) {
            let evicted = track.cache.evict(now, bounds);
            self.count_evicted(key, evicted);
        }
        self.bound_all_caches();
    }

    /// Everybody who follows the track may have something to send.
    pub(super) fn notify(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        for &(session, subscription) in &track.subscribers {
            let Some(state) = self.sessions.get_mut(session) else { continue };
            if let Some(subscription) = state.subscriptions.get_mut(subscription) {
                subscription.ready = true;
            }
            if !state.dirty {
                state.dirty = true;
                self.dirty.push_back(session);
            }
        }
    }
}
