//! Another shard of the engine as the source of a track: the question, the replay that fills the cache, and live objects.
//!
//! ```text
//!   ask_shard --> [ refill: objects are staged, in order ] --remote_filled--> applied at once; live from here on
//!                    ^   |  ^ remote_accepted, remote_object            |
//!                    |   '- remote_busy, or no answer in time: asks again
//!                    '----- remote_lost: one more round when this one is complete ---- remote_lost: a new refill
//! ```
//!
//! At most one refill of a track is under way, whatever is lost meanwhile: each one makes the other shard send a whole cache.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::relay::cache::{NewObject, SubgroupEnd, SubgroupInfo};
use crate::relay::keys::TrackKey;
use crate::relay::publish::namespaces::Publisher;
use crate::relay::track::{Origin, TrackState};
use crate::relay::{LinkId, PublishDone, Relay, RelayEvent};
use crate::wire::{FullTrackName, Location, Namespace, RequestErrorCode};

use super::packed::{MARK, Mark, PackedObject, unpack_datagram};
use super::refill::{Refill, ShardOrigin, StagedObject};

/// The end of a track goes by another link than its last objects: how long these may take.
const DONE_GRACE: Duration = Duration::from_millis(200);
/// How long after a shard said that it is busy it is asked again: some of its other replays are through by then.
const BUSY_RETRY: Duration = Duration::from_millis(250);
/// Rounds of one refill. A link that loses something during each of them is too slow for its media, and viewers are better
/// off with holes than with nothing.
const ROUNDS_MAX: u32 = 3;

impl Relay {
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

    fn refill_due(&self, now: Instant) -> Instant {
        now.checked_add(self.config.upstream_timeout).unwrap_or(now)
    }

    pub(crate) fn ask_shard(&mut self, now: Instant, key: TrackKey, shard: usize, name: &FullTrackName) {
        let due = self.refill_due(now);
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.shard_origin(shard).is_some() {
            return;
        }
        let refill = Some(Refill::new(due));
        track.origins.push(Origin::Shard(ShardOrigin { shard, link_id: None, refill, done: None }));
        self.events.push_back(RelayEvent::AskShard { shard, name: name.clone() });
        self.arm_track(now, key);
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
        let due = self.refill_due(now);
        let Some(key) = self.tracks.by_name(&name) else { return false };
        let Some(track) = self.tracks.get_mut(key) else { return false };
        let waiting = track.state == TrackState::Waiting;
        let Some(origin) = track.shard_origin(shard) else { return false };
        origin.done = None;
        let refill = origin.refill.get_or_insert_with(|| Refill::new(due));
        refill.due = due;
        refill.largest = refill.largest.max(largest);
        refill.answered.get_or_insert(largest);
        let old = origin.link_id.replace(link_id);
        if waiting {
            track.priority = priority;
            track.pinned = pinned;
            track.bare = link_id.is_bare();
        }
        if let Some(old) = old {
            self.links.remove(&(shard, old));
        }
        self.links.insert((shard, link_id), key);
        self.arm_track(now, key);
        true
    }

    /// Another answer to [`RelayEvent::AskShard`]: the link has no room for the replay now. The question is repeated.
    pub fn remote_busy(&mut self, now: Instant, shard: usize, name: FullTrackName) {
        let Some(key) = self.tracks.by_name(&name) else { return };
        let Some(origin) = self.tracks.get_mut(key).and_then(|track| track.shard_origin(shard)) else { return };
        if let Some(due) = now.checked_add(BUSY_RETRY) {
            // Without a question of ours, the other shard wanted to begin anew.
            origin.refill.get_or_insert_with(|| Refill::new(due)).due = due;
        }
        self.arm_track(now, key);
    }

    /// The last answer to [`RelayEvent::AskShard`].
    pub fn remote_refused(&mut self, now: Instant, shard: usize, name: FullTrackName, code: u64, reason: &str) {
        let Some(key) = self.tracks.by_name(&name) else { return };
        self.remove_shard_origin(key, shard);
        let Some(track) = self.tracks.get(key) else { return };
        if track.origins.is_empty() && track.state == TrackState::Waiting {
            self.refuse_waiters(now, key, RequestErrorCode::from_u64(code), reason);
            self.arm_track(now, key);
        } else {
            self.source_lost(now, key, PublishDone::SubscriptionEnded);
        }
    }

    fn remove_shard_origin(&mut self, key: TrackKey, shard: usize) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let link_id = track.shard_origin(shard).and_then(|origin| origin.link_id);
        track.origins.retain(|origin| !matches!(origin, Origin::Shard(origin) if origin.shard == shard));
        if let Some(link_id) = link_id {
            self.links.remove(&(shard, link_id));
        }
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
        let Some(&key) = self.links.get(&(shard, link_id)) else { return };
        let len_max = self.config.cache_track_len_max.saturating_mul(2);
        let Some(track) = self.tracks.get_mut(key) else { return };
        let location = Location::new(group, object);
        if !link_id.is_bare()
            && object == MARK
            && let Some(Mark::Properties(properties)) = Mark::unpack(&payload)
        {
            track.set_properties(properties);
            return;
        }
        let object = StagedObject { payload, end_of_group };
        let Some(origin) = track.shard_origin(shard) else { return };
        if let Some(refill) = &mut origin.refill {
            // A track's cache and as much again of live objects fit; of more, the newest are of use to viewers.
            self.counters.objects_refused += refill.stage(location, object, len_max);
            return;
        }
        self.apply_remote(now, key, link_id, location, object);
        self.bound_cache(now, key);
        self.notify(key);
    }

    /// The replay that belongs to [`Relay::remote_accepted`] is complete.
    pub fn remote_filled(&mut self, now: Instant, shard: usize, link_id: LinkId) {
        let due = self.refill_due(now);
        let Some(&key) = self.links.get(&(shard, link_id)) else { return };
        let Some(track) = self.tracks.get_mut(key) else { return };
        let (first, name) = (track.state == TrackState::Waiting, track.name.clone());
        let Some(origin) = track.shard_origin(shard) else { return };
        if let Some(refill) = origin.refill.as_mut().filter(|refill| refill.again && refill.rounds < ROUNDS_MAX) {
            // What is missing comes with the next replay.
            (refill.again, refill.due, refill.rounds) = (false, due, refill.rounds + 1);
            self.events.push_back(RelayEvent::AskShard { shard, name });
            self.arm_track(now, key);
            return;
        }
        let Some(refill) = origin.refill.take() else { return };
        if first && let Some(((oldest, _), _)) = refill.objects.first_key_value() {
            // The replay begins where the home's cache does.
            track.cache.set_complete_from(*oldest);
        } else if first && let Some(largest) = refill.largest {
            track.cache.set_complete_from(largest.next());
        }
        let answered = refill.answered.flatten();
        let mut objects = refill.objects.into_iter().peekable();
        if first {
            // The replay is what there was at the answer; what overtook its end is new to everybody who waits.
            while let Some(((location, _), object)) =
                objects.next_if(|((location, _), _)| answered.is_some_and(|answered| *location <= answered))
            {
                self.apply_remote(now, key, link_id, location, object);
            }
            self.go_live(now, key, answered);
        }
        for ((location, _), object) in objects {
            self.apply_remote(now, key, link_id, location, object);
        }
        if let (Some(largest), Some(track)) = (refill.largest, self.tracks.get_mut(key)) {
            track.cache.raise_largest(largest);
        }
        self.drop_held(key);
        self.bound_cache(now, key);
        self.notify(key);
    }

    /// The track's first replay is here up to the place that was the largest when home answered.
    fn go_live(&mut self, now: Instant, key: TrackKey, largest: Option<Location>) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if let Some(largest) = largest {
            track.cache.raise_largest(largest);
        }
        track.state = TrackState::Live;
        self.resolve_waiters(now, key);
        self.offer_to_watchers(key);
    }

    fn apply_remote(&mut self, now: Instant, key: TrackKey, link_id: LinkId, location: Location, object: StagedObject) {
        let bare = link_id.is_bare();
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
        } else if let Some(datagram) = unpack_datagram(&object.payload) {
            self.deliver_datagram(key, datagram);
        } else if let Some(packed) = PackedObject::unpack(&object.payload) {
            self.packed_object(now, key, group, id, packed);
        }
    }

    fn packed_object(&mut self, now: Instant, key: TrackKey, group: u64, id: u64, packed: PackedObject) {
        let Some(track) = self.tracks.get_mut(key) else { return };
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
    }

    /// A track of another shard is over.
    pub fn remote_done(&mut self, now: Instant, shard: usize, link_id: LinkId, status: PublishDone) {
        let Some(&key) = self.links.get(&(shard, link_id)) else { return };
        let until = now.checked_add(DONE_GRACE).unwrap_or(now);
        if let Some(origin) = self.tracks.get_mut(key).and_then(|track| track.shard_origin(shard)) {
            origin.done = Some((status, until));
        }
        self.arm_track(now, key);
    }

    /// Ends the sources on other shards whose time of grace is over, and repeats the questions that got no answer in time.
    pub(crate) fn check_remote(&mut self, now: Instant, key: TrackKey) {
        let due = self.refill_due(now);
        let Some(track) = self.tracks.get_mut(key) else { return };
        let (name, mut over) = (track.name.clone(), None);
        for origin in &mut track.origins {
            let Origin::Shard(origin) = origin else { continue };
            match (origin.done, &mut origin.refill) {
                (Some((status, until)), _) if until <= now => over = Some((origin.shard, status)),
                (None, Some(refill)) if refill.due <= now => {
                    refill.due = due;
                    self.events.push_back(RelayEvent::AskShard { shard: origin.shard, name: name.clone() });
                }
                _ => {}
            }
        }
        if let Some((shard, status)) = over {
            self.remove_shard_origin(key, shard);
            self.source_lost(now, key, status);
        }
    }

    /// This shard's reader of `shard`'s media link was overrun: every track from there refills from a new replay.
    pub fn remote_lost(&mut self, now: Instant, shard: usize) {
        let keys: Vec<TrackKey> = self.tracks.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.refill(now, key, shard));
    }

    /// Objects of one track passed by before its link id was known here: it refills from a new replay.
    pub fn remote_missed(&mut self, now: Instant, shard: usize, link_id: LinkId) {
        if let Some(&key) = self.links.get(&(shard, link_id)) {
            self.refill(now, key, shard);
        }
    }

    /// Objects of a track did not come through.
    fn refill(&mut self, now: Instant, key: TrackKey, shard: usize) {
        let due = self.refill_due(now);
        let Some(track) = self.tracks.get_mut(key) else { return };
        let name = track.name.clone();
        let Some(origin) = track.shard_origin(shard) else { return };
        if let Some(refill) = &mut origin.refill {
            refill.again = true;
            return;
        }
        origin.refill = Some(Refill::new(due));
        self.events.push_back(RelayEvent::AskShard { shard, name });
        self.arm_track(now, key);
    }

    /// No subscriber was left for the linger time: lets go of a track on another shard.
    pub(crate) fn drop_shards(&mut self, key: TrackKey) {
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
