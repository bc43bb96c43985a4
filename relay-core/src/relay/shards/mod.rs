//! This shard as a source of tracks for the others (for the other direction see [`remote`]).
//!
//! ```text
//!   there: first viewer      AskShard ->  here: shard_subscribe  -> AnswerShard (replay) + ShardObject (live)
//!   there: remote_accepted, remote_object x n, remote_filled <-' reliable link       media link '
//!          remote_object (live; may overtake the replay: staged in order until it is filled)
//! ```

pub(super) mod fetch;
pub(super) mod message;
pub(super) mod packed;
pub(super) mod refill;
pub(super) mod remote;
pub(super) mod served;

use std::time::Instant;

use bytes::Bytes;

use crate::wire::{FullTrackName, RequestErrorCode};

use packed::{MARK, Mark, PackedObject};

use crate::relay::cache::SubgroupEnd;
use crate::relay::keys::TrackKey;
use crate::relay::publish::namespaces::Publisher;
use crate::relay::refusal::Refusal;
use crate::relay::track::{Track, Waiter};
use crate::relay::{CachedObject, PublishDone, Relay, RelayEvent};

impl Relay {
    /// Another shard wants a track; answered by [`RelayEvent::AnswerShard`] or [`RelayEvent::RefuseShard`].
    pub fn shard_subscribe(&mut self, now: Instant, shard: usize, name: FullTrackName) {
        if let Some(key) = self.tracks.by_name(&name)
            && let Some(track) = self.tracks.get_mut(key)
            && track.is_home()
        {
            if track.is_live() {
                self.answer_shard(shard, key);
            } else {
                wait(track, shard);
            }
            return;
        }
        let publishers = self.namespaces.publishers_of(&name);
        let mut refusal = Refusal::NO_TRACK;
        if publishers.iter().any(|publisher| matches!(publisher, Publisher::Session(_))) {
            match self.find_or_source(now, None, &name, false) {
                Ok(key) => {
                    if let Some(track) = self.tracks.get_mut(key).filter(|track| track.is_home()) {
                        wait(track, shard);
                        return;
                    }
                }
                Err(reached) => refusal = reached,
            }
        }
        let (code, reason) = (refusal.code.to_u64(), refusal.reason.to_owned());
        self.events.push_back(RelayEvent::RefuseShard { shard, name, code, reason });
    }

    pub(crate) fn answer_shard(&mut self, shard: usize, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if !track.followers.contains(&shard) {
            track.followers.push(shard);
        }
        track.idle_since = None;
        let answer = RelayEvent::AnswerShard {
            shard,
            name: track.name.clone(),
            link_id: track.link_id(),
            priority: track.priority,
            pinned: track.pinned,
            largest: track.cache.largest(),
            replay: replay(track),
        };
        self.events.push_back(answer);
    }

    /// A track that comes from another shard alone is no source for others: two shards that took each other for one would never
    /// hear its end.
    pub(crate) fn step_down(&mut self, key: TrackKey, status: PublishDone) {
        let Some(track) = self.tracks.get_mut(key).filter(|track| track.is_only_from_shards()) else { return };
        let shards = std::mem::take(&mut track.followers);
        if !shards.is_empty() {
            let link_id = track.link_id();
            self.events.push_back(RelayEvent::ShardDone { shards, link_id, status });
        }
    }

    /// Says how the track's objects cross to other shards. A change gives it another link id, so those that follow it are
    /// answered anew.
    pub(crate) fn set_bare(&mut self, key: TrackKey, bare: bool) {
        let Some(track) = self.tracks.get_mut(key).filter(|track| track.bare != bare) else { return };
        track.bare = bare;
        for shard in track.followers.clone() {
            self.answer_shard(shard, key);
        }
    }

    pub(crate) fn refuse_shard(&mut self, shard: usize, key: TrackKey, code: RequestErrorCode, reason: &str) {
        let Some(track) = self.tracks.get(key) else { return };
        let (name, code, reason) = (track.name.clone(), code.to_u64(), reason.to_owned());
        self.events.push_back(RelayEvent::RefuseShard { shard, name, code, reason });
    }

    /// Another shard no longer wants a track.
    pub fn shard_unsubscribe(&mut self, now: Instant, shard: usize, name: FullTrackName) {
        let Some(key) = self.tracks.by_name(&name) else { return };
        if let Some(track) = self.tracks.get_mut(key) {
            track.followers.retain(|follower| *follower != shard);
            track.waiters.retain(|waiter| *waiter != Waiter::Shard(shard));
        }
        self.check_idle(now, key);
    }

    /// Hands a new object of the cache to the shards that follow the track.
    pub(crate) fn publish_to_shards(&mut self, key: TrackKey, group: u64, subgroup: u64, object: u64) {
        let Some(track) = self.tracks.get(key).filter(|track| !track.followers.is_empty()) else { return };
        let Some(cached) = cached(track, group, subgroup, object) else { return };
        let (link_id, CachedObject { payload, end_of_group, .. }) = (track.link_id(), cached);
        self.events.push_back(RelayEvent::ShardObject { link_id, group, object, payload, end_of_group });
    }

    /// Tells the shards that follow the track how a subgroup ended.
    pub(crate) fn end_subgroup_on_shards(&mut self, key: TrackKey, group: u64, subgroup: u64, end: SubgroupEnd) {
        let Some(track) = self.tracks.get(key).filter(|track| !track.followers.is_empty()) else { return };
        let payload = mark(track.bare, subgroup, end);
        let link_id = track.link_id();
        self.events.push_back(RelayEvent::ShardObject { link_id, group, object: MARK, payload, end_of_group: true });
    }
}

/// A shard that asks again waits once.
fn wait(track: &mut Track, shard: usize) {
    if !track.waiters.contains(&Waiter::Shard(shard)) {
        track.waiters.push(Waiter::Shard(shard));
    }
    track.idle_since = None;
}

/// The whole cache of a track as it crosses to another shard: objects in the order they came, then how each subgroup ended.
fn replay(track: &Track) -> Vec<CachedObject> {
    let mut replay = Vec::new();
    if !track.bare && !track.properties.is_empty() {
        let payload = Mark::Properties(track.properties.clone()).pack();
        replay.push(CachedObject { group: 0, object: MARK, payload, end_of_group: false });
    }
    for group in track.cache.groups() {
        let mut order: Vec<(u64, u64, u64)> = Vec::new();
        for subgroup in &group.subgroups {
            order.extend(subgroup.objects().map(|object| (object.arrival, subgroup.info.id, object.id)));
        }
        order.sort_unstable();
        replay.extend(order.into_iter().filter_map(|(_, subgroup, id)| cached(track, group.id, subgroup, id)));
        for subgroup in group.subgroups.iter().filter(|subgroup| subgroup.end != SubgroupEnd::Open) {
            let payload = mark(track.bare, subgroup.info.id, subgroup.end);
            replay.push(CachedObject { group: group.id, object: MARK, payload, end_of_group: true });
        }
    }
    replay
}

/// One object as it crosses to another shard.
fn cached(track: &Track, group: u64, subgroup: u64, id: u64) -> Option<CachedObject> {
    let subgroup = track.cache.group(group)?.subgroup(subgroup)?;
    let index = subgroup.first_index(|object| object.id >= id);
    let object = subgroup.object(index).ok()?.filter(|object| object.id == id)?;
    let last = index + 1 == subgroup.index_end();
    let end_of_group = track.bare && last && subgroup.end == SubgroupEnd::Finished;
    let payload = if track.bare {
        object.payload()
    } else {
        let previous = index.checked_sub(1).and_then(|index| subgroup.object(index).ok().flatten());
        PackedObject::of(subgroup, object, previous.filter(|_| object.follows).map(|object| object.id)).pack()
    };
    Some(CachedObject { group, object: id, payload, end_of_group })
}

fn mark(bare: bool, subgroup: u64, end: SubgroupEnd) -> Bytes {
    if bare { Bytes::new() } else { Mark::End { subgroup, end }.pack() }
}
