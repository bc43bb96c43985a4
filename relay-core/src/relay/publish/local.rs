//! Tracks of the engine's own ingest.

use std::time::Instant;

use bytes::Bytes;

use crate::relay::cache::{NewObject, Pushed, SubgroupEnd, SubgroupInfo};
use crate::relay::keys::TrackKey;
use crate::relay::track::{Origin, TrackState};
use crate::relay::{PublishDone, Relay, TrackConfig, TrackId};
use crate::wire::{FullTrackName, ObjectStatus};

impl Relay {
    /// Opens a track of the local ingest; opening an open one again gives the same id (a reconnected encoder).
    pub fn track_open(&mut self, now: Instant, name: FullTrackName, config: TrackConfig) -> TrackId {
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

    /// One object of a local track. Framed once here and shared by every viewer of the shard. Objects come in (group,
    /// object) order; a new group implies nothing about the end of the one before ([`Relay::group_end`] does).
    pub fn object(&mut self, now: Instant, id: TrackId, group: u64, object: u64, payload: Bytes, end_of_group: bool) {
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
    pub(crate) fn bare_object(
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

    /// A group has no further objects.
    pub fn group_end(&mut self, _now: Instant, id: TrackId, group: u64) {
        let Some(key) = self.local(id) else { return };
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.cache.end_subgroup(group, 0, SubgroupEnd::Finished) {
            self.end_subgroup_on_shards(key, group, 0, SubgroupEnd::Finished);
            self.notify(key);
        }
    }

    /// A local track is over: its subscribers get PUBLISH_DONE after the last object.
    pub fn track_end(&mut self, now: Instant, id: TrackId, status: PublishDone) {
        if let Some(key) = self.local(id) {
            // What the ingest handed over is all there is.
            self.end_track(now, key, status, SubgroupEnd::Finished);
        }
    }
}
