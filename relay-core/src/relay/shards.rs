//! Other shards of the engine: each is a source of tracks, and a follower of tracks.
//!
//! ```text
//!   here: first viewer      AskShard ->  there: shard_subscribe  -> AnswerShard (replay) + ShardObject (live)
//!   here: remote_accepted, remote_object x n, remote_filled <-' reliable link       media link '
//!         remote_object (live; may overtake the replay: staged in order until it is filled)
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::wire::{FullTrackName, Location, RequestErrorCode};

use super::auth::Refusal;
use super::cache::{NewObject, SubgroupEnd, SubgroupInfo};
use super::namespaces::Publisher;
use super::packed::{Mark, PackedObject};
use super::session::Key;
use super::track::{Origin, ShardOrigin, Staged, StagedObject, Track, TrackState, Waiter};
use super::{CachedObject, PublishDone, Relay, RelayEvent};

/// The object id of a mark: no object has it, since ids stay below 2^64 - 1 on the wire.
const MARK: u64 = u64::MAX;
/// Live objects kept while the answer that names their link is still on its way.
const ORPHANS_MAX: usize = 1_024;
/// Bytes of those.
const ORPHANS_LEN_MAX: usize = 16 * 1024 * 1024;
/// The end of a track goes by another link than its last objects: how long these may take.
const DONE_GRACE: Duration = Duration::from_millis(200);

/// A live object whose link is not known yet.
#[derive(Debug)]
pub(super) struct Orphan {
    shard: usize,
    link_id: u64,
    location: Location,
    object: StagedObject,
}

/// Orphans, oldest first.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    queue: VecDeque<Orphan>,
    len: usize,
}

impl Orphans {
    fn push(&mut self, orphan: Orphan) {
        self.len += orphan.object.payload.len();
        self.queue.push_back(orphan);
        while self.queue.len() > ORPHANS_MAX || self.len > ORPHANS_LEN_MAX {
            let Some(oldest) = self.queue.pop_front() else { return };
            self.len = self.len.saturating_sub(oldest.object.payload.len());
        }
    }

    fn take(&mut self, shard: usize, link_id: u64) -> Vec<Orphan> {
        let mut taken = Vec::new();
        for orphan in std::mem::take(&mut self.queue) {
            if orphan.shard == shard && orphan.link_id == link_id {
                taken.push(orphan);
            } else {
                self.queue.push_back(orphan);
            }
        }
        self.len = self.queue.iter().map(|orphan| orphan.object.payload.len()).sum();
        taken
    }
}

impl Relay {
    // ---- this shard as a source ----------------------------------------------------------------------------------

    pub(super) fn on_shard_subscribe(&mut self, now: Instant, shard: usize, name: FullTrackName) {
        if let Some(key) = self.tracks.by_name(&name)
            && let Some(track) = self.tracks.get_mut(key)
            && track.is_home()
        {
            if track.is_live() {
                self.answer_shard(now, shard, key);
            } else {
                track.waiters.push(Waiter::Shard(shard));
                track.idle_since = None;
            }
            return;
        }
        let publishers = self.namespaces.publishers_of(&name);
        if publishers.iter().any(|publisher| matches!(publisher, Publisher::Session(_)))
            && let Some(key) = self.find_or_source(now, &name, false)
            && let Some(track) = self.tracks.get_mut(key)
            && track.is_home()
        {
            track.waiters.push(Waiter::Shard(shard));
            return;
        }
        let (code, reason) = (Refusal::NO_TRACK.code.to_u64(), Refusal::NO_TRACK.reason.to_owned());
        self.events.push_back(RelayEvent::RefuseShard { shard, name, code, reason });
    }

    pub(super) fn answer_shard(&mut self, _now: Instant, shard: usize, key: Key) {
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

    pub(super) fn refuse_shard(&mut self, shard: usize, key: Key, code: RequestErrorCode, reason: &str) {
        let Some(track) = self.tracks.get(key) else { return };
        let (name, code, reason) = (track.name.clone(), code.to_u64(), reason.to_owned());
        self.events.push_back(RelayEvent::RefuseShard { shard, name, code, reason });
    }

    pub(super) fn on_shard_unsubscribe(&mut self, now: Instant, shard: usize, name: &FullTrackName) {
        let Some(key) = self.tracks.by_name(name) else { return };
        if let Some(track) = self.tracks.get_mut(key) {
            track.followers.retain(|follower| *follower != shard);
            track.waiters.retain(|waiter| *waiter != Waiter::Shard(shard));
        }
        self.check_idle(now, key);
    }

    /// Hands a new object of the cache to the shards that follow the track.
    pub(super) fn publish_to_shards(&mut self, key: Key, group: u64, subgroup: u64, object: u64) {
        let Some(track) = self.tracks.get(key).filter(|track| !track.followers.is_empty()) else { return };
        let Some(cached) = cached(track, group, subgroup, object) else { return };
        let (link_id, CachedObject { payload, end_of_group, .. }) = (track.link_id(), cached);
        self.events.push_back(RelayEvent::ShardObject { link_id, group, object, payload, end_of_group });
    }

    /// Tells the shards that follow the track how a subgroup ended.
    pub(super) fn end_subgroup_on_shards(&mut self, key: Key, group: u64, subgroup: u64, end: SubgroupEnd) {
        let Some(track) = self.tracks.get(key).filter(|track| !track.followers.is_empty()) else { return };
        let payload = mark(track.bare, subgroup, end);
        let link_id = track.link_id();
        self.events.push_back(RelayEvent::ShardObject { link_id, group, object: MARK, payload, end_of_group: true });
    }

    // ---- another shard as a source -------------------------------------------------------------------------------

    pub(super) fn ask_shard(&mut self, key: Key, shard: usize, name: &FullTrackName) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.shard_origin(shard).is_some() {
            return;
        }
        let staged = Some(Staged::default());
        track.origins.push(Origin::Shard(ShardOrigin { shard, link_id: None, asked: 1, staged, done: None }));
        self.events.push_back(RelayEvent::AskShard { shard, name: name.clone() });
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn on_remote_accepted(
        &mut self,
        shard: usize,
        name: &FullTrackName,
        link_id: u64,
        priority: u8,
        pinned: bool,
        largest: Option<Location>,
    ) {
        let Some(key) = self.tracks.by_name(name) else { return };
        let Some(track) = self.tracks.get_mut(key) else { return };
        let serial = track.serial;
        if track.state == TrackState::Waiting {
            track.priority = priority;
            track.pinned = pinned;
            track.bare = link_id & 1 == 0;
        }
        let Some(origin) = track.shard_origin(shard) else { return };
        origin.done = None;
        origin.staged.get_or_insert_default();
        let old = origin.link_id.replace(link_id);
        if let Some(largest) = largest {
            track.cache.raise_largest(largest);
        }
        if let Some(old) = old {
            self.links.remove(&(shard, old));
        }
        self.links.insert((shard, link_id), (key, serial));
        for orphan in self.orphans.take(shard, link_id) {
            self.stage(key, shard, orphan.location, orphan.object);
        }
    }

    pub(super) fn on_remote_refused(
        &mut self,
        now: Instant,
        shard: usize,
        name: &FullTrackName,
        code: u64,
        reason: &str,
    ) {
        let Some(key) = self.tracks.by_name(name) else { return };
        self.remove_shard_origin(key, shard);
        let Some(track) = self.tracks.get(key) else { return };
        if track.origins.is_empty() && track.state == TrackState::Waiting {
            self.refuse_waiters(now, key, RequestErrorCode::from_u64(code), reason);
            self.arm_track(now, key);
        } else {
            self.source_lost(now, key, PublishDone::SubscriptionEnded);
        }
    }

    fn remove_shard_origin(&mut self, key: Key, shard: usize) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let link_id = track.shard_origin(shard).and_then(|origin| origin.link_id);
        track.origins.retain(|origin| !matches!(origin, Origin::Shard(origin) if origin.shard == shard));
        if let Some(link_id) = link_id {
            self.links.remove(&(shard, link_id));
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn on_remote_object(
        &mut self,
        now: Instant,
        shard: usize,
        link_id: u64,
        group: u64,
        object: u64,
        payload: Bytes,
        end_of_group: bool,
    ) {
        let location = Location::new(group, object);
        let object = StagedObject { payload, end_of_group };
        let linked = self.links.get(&(shard, link_id)).copied();
        let Some((key, _)) = linked.filter(|(key, serial)| self.tracks.get_serial(*key, *serial).is_some()) else {
            // Only worth keeping while an answer from that shard is on its way.
            let asked = |track: &Track| track.origins.iter().any(|origin| is_unanswered(origin, shard));
            if self.tracks.iter().any(|(_, track)| asked(track)) {
                self.orphans.push(Orphan { shard, link_id, location, object });
            }
            return;
        };
        let Some(track) = self.tracks.get_mut(key) else { return };
        if link_id & 1 == 1
            && location.object == MARK
            && let Some(Mark::Properties(properties)) = Mark::unpack(&object.payload)
        {
            track.timeout = super::publish::timeout_of(&properties);
            track.properties = properties;
            return;
        }
        let Some(origin) = track.shard_origin(shard) else { return };
        if origin.staged.is_some() {
            self.stage(key, shard, location, object);
            return;
        }
        self.apply_remote(now, key, link_id, location, object);
        self.bound_cache(now, key);
        self.notify(key);
    }

    fn stage(&mut self, key: Key, shard: usize, location: Location, object: StagedObject) {
        let len_max = self.config.cache_track_len_max.saturating_mul(2);
        let Some(origin) = self.tracks.get_mut(key).and_then(|track| track.shard_origin(shard)) else { return };
        let Some(staged) = origin.staged.as_mut() else { return };
        let mark = if location.object == MARK { staged.marks } else { 0 };
        staged.marks += u64::from(location.object == MARK);
        let len = object.payload.len();
        if staged.len.saturating_add(len) > len_max {
            self.counters.objects_refused += 1;
            return;
        }
        if staged.objects.insert((location, mark), object).is_none() {
            staged.len += len;
        }
    }

    pub(super) fn on_remote_filled(&mut self, now: Instant, shard: usize, link_id: u64) {
        let Some(&(key, _)) = self.links.get(&(shard, link_id)) else { return };
        let Some(track) = self.tracks.get_mut(key) else { return };
        let first = track.state == TrackState::Waiting;
        let Some(origin) = track.shard_origin(shard) else { return };
        origin.asked = origin.asked.saturating_sub(1);
        if origin.asked > 0 {
            // Something was lost since: what is missing comes with the next replay.
            return;
        }
        let Some(staged) = origin.staged.take() else { return };
        if first && let Some(((oldest, _), _)) = staged.objects.first_key_value() {
            // The replay begins where the home's cache does.
            track.cache.set_complete_from(*oldest);
        } else if first && let Some(largest) = track.cache.largest() {
            track.cache.set_complete_from(super::session::after(largest));
        }
        for ((location, _), object) in staged.objects {
            self.apply_remote(now, key, link_id, location, object);
        }
        self.bound_cache(now, key);
        if first && let Some(track) = self.tracks.get_mut(key) {
            track.state = TrackState::Live;
            self.resolve_waiters(now, key);
            self.offer_to_watchers(key);
        }
        self.notify(key);
    }

    fn apply_remote(&mut self, now: Instant, key: Key, link_id: u64, location: Location, object: StagedObject) {
        let bare = link_id & 1 == 0;
        let Location { group, object: id } = location;
        if bare && id == MARK {
            if let Some(track) = self.tracks.get_mut(key) {
                track.cache.end_subgroup(group, 0, SubgroupEnd::Finished);
            }
        } else if bare {
            self.bare_object(now, key, group, id, object.payload, object.end_of_group);
        } else if id == MARK {
            if let (Some(Mark::End { subgroup, end }), Some(track)) =
                (Mark::unpack(&object.payload), self.tracks.get_mut(key))
            {
                track.cache.end_subgroup(group, subgroup, end);
            }
        } else if let Some(packed) = PackedObject::unpack(&object.payload) {
            self.packed_object(now, key, group, id, packed);
        }
    }

    fn packed_object(&mut self, now: Instant, key: Key, group: u64, id: u64, packed: PackedObject) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let before = track.cache.len();
        let info = SubgroupInfo {
            id: packed.subgroup,
            priority: packed.priority,
            ends_group: packed.ends_group,
            first_object: packed.first_object,
        };
        if !track.cache.open_subgroup(now, group, info) {
            self.counters.objects_refused += 1;
            return;
        }
        let (status, properties, payload) = (packed.status, packed.properties, packed.payload);
        // The home shard saw it follow its predecessor, and nothing was lost in between since.
        let previous = track.cache.last_id(group, packed.subgroup);
        let adjacent = packed.follows.is_some() && packed.follows == previous;
        if packed.follows.is_some() && !adjacent {
            track.cache.mark_lossy(group);
        }
        track.cache.push(now, group, packed.subgroup, NewObject { id, status, properties, payload, adjacent });
        let grown = track.cache.len().saturating_sub(before);
        self.tracks.cache_len = self.tracks.cache_len.saturating_add(grown);
    }

    pub(super) fn on_remote_done(&mut self, now: Instant, shard: usize, link_id: u64, status: PublishDone) {
        let Some(&(key, _)) = self.links.get(&(shard, link_id)) else { return };
        let until = now.checked_add(DONE_GRACE).unwrap_or(now);
        if let Some(origin) = self.tracks.get_mut(key).and_then(|track| track.shard_origin(shard)) {
            origin.done = Some((status, until));
        }
        self.arm_track(now, key);
    }

    /// Ends the sources on other shards whose time of grace is over.
    pub(super) fn check_remote_done(&mut self, now: Instant, key: Key) {
        let Some(track) = self.tracks.get(key) else { return };
        let due = track.origins.iter().find_map(|origin| match origin {
            Origin::Shard(ShardOrigin { shard, done: Some((status, until)), .. }) if *until <= now => {
                Some((*shard, *status))
            }
            _ => None,
        });
        if let Some((shard, status)) = due {
            self.remove_shard_origin(key, shard);
            self.source_lost(now, key, status);
        }
    }

    pub(super) fn on_remote_lost(&mut self, shard: usize) {
        let keys: Vec<Key> = self.tracks.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(track) = self.tracks.get_mut(key) else { continue };
            let name = track.name.clone();
            // Also when the first answer is still on its way: its replay may be older than what was lost.
            if let Some(origin) = track.shard_origin(shard) {
                origin.staged.get_or_insert_default();
                origin.asked += 1;
                self.events.push_back(RelayEvent::AskShard { shard, name });
            }
        }
    }

    /// No subscriber was left for the linger time: lets go of a track on another shard.
    pub(super) fn drop_shards(&mut self, key: Key) {
        let Some(track) = self.tracks.get(key) else { return };
        let shards: Vec<usize> = track.origins.iter().filter_map(shard_of).collect();
        for shard in shards {
            let Some(track) = self.tracks.get(key) else { return };
            self.events.push_back(RelayEvent::DropShard { shard, name: track.name.clone() });
            self.remove_shard_origin(key, shard);
        }
    }
}

fn shard_of(origin: &Origin) -> Option<usize> {
    match origin {
        Origin::Shard(origin) => Some(origin.shard),
        _ => None,
    }
}

fn is_unanswered(origin: &Origin, shard: usize) -> bool {
    matches!(origin, Origin::Shard(origin) if origin.shard == shard && origin.link_id.is_none())
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
