//! Objects that a publisher session sends: from its subgroup streams into the track's cache.

use std::time::Instant;

use crate::relay::Relay;
use crate::relay::cache::{NewObject, Pushed, SubgroupEnd, SubgroupInfo};
use crate::relay::keys::{SessionKey, TrackKey};
use crate::relay::refusal::Fatal;
use crate::relay::session::receive::Chunk;
use crate::relay::session::receiving::{Receive, SubgroupIn};
use crate::transmit::Dir;
use crate::wire::{StreamResetCode, SubgroupHeader, SubgroupId, SubgroupItem, SubgroupObject};

/// Objects that one read of a stream may bring: media has hundreds of bytes an object, and a read has 64 KiB.
pub(crate) const OBJECTS_PER_READ_MAX: usize = 4_096;

impl Relay {
    pub(crate) fn receive_subgroup(
        &mut self,
        now: Instant,
        key: SessionKey,
        chunk: Chunk<'_>,
        mut incoming: SubgroupIn,
    ) -> Result<(), Fatal> {
        incoming.reader.push(chunk.data);
        if incoming.reader.header().is_none() {
            match incoming.reader.next_item()? {
                Some(SubgroupItem::Header(header)) => incoming.group = header.group,
                Some(SubgroupItem::Object(_)) | None if chunk.fin => return Ok(incoming.reader.finish()?),
                Some(SubgroupItem::Object(_)) | None => {
                    self.put_back(key, chunk, Receive::Subgroup(incoming));
                    return Ok(());
                }
            }
        }
        if incoming.track.is_none() && !self.resolve(key, &mut incoming) {
            return self.hold_unresolved(now, key, chunk, incoming);
        }
        self.read_objects(now, key, chunk, incoming)
    }

    /// Finds the track of a subgroup stream by its alias.
    fn resolve(&mut self, key: SessionKey, incoming: &mut SubgroupIn) -> bool {
        let Some(alias) = incoming.reader.header().map(|header| header.track_alias) else { return false };
        let Some(&track) = self.sessions.get(key).and_then(|session| session.aliases.get(&alias)) else {
            return false;
        };
        let Some(state) = self.tracks.get_mut(track) else { return false };
        if let Some(origin) = state.session_origin(key) {
            origin.streams_seen += 1;
            origin.streams_open += 1;
        }
        incoming.track = Some(track);
        true
    }

    /// MoQT-18 §11.4.2: a subgroup of an unknown alias is buffered for a while, for it may overtake SUBSCRIBE_OK.
    fn hold_unresolved(
        &mut self,
        now: Instant,
        key: SessionKey,
        chunk: Chunk<'_>,
        mut incoming: SubgroupIn,
    ) -> Result<(), Fatal> {
        let len_max = self.config.receive_buffer_len_max;
        // Its SUBSCRIBE_OK is overdue by then.
        let until = now.checked_add(self.config.upstream_timeout).unwrap_or(now);
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let alias = incoming.reader.header().map(|header| header.track_alias);
        let dropped = alias.is_some_and(|alias| session.unresolved.is_dropped(alias));
        if dropped || !session.unresolved.hold(chunk.stream, incoming.reader.buffered(), until, len_max) {
            self.counters.streams_abandoned += u64::from(!dropped);
            return self.abandon(key, chunk);
        }
        incoming.fin |= chunk.fin;
        session.receive.insert(chunk.stream, Receive::Subgroup(incoming));
        self.arm_session(now, key);
        Ok(())
    }

    /// Gives up the streams whose alias was not named in time.
    pub(crate) fn abandon_late(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        for stream in session.unresolved.take_late(now) {
            self.counters.streams_abandoned += 1;
            if let Some(Receive::Subgroup(SubgroupIn { fin: false, .. })) = session.receive.remove(stream) {
                session.stops.push((stream, StreamResetCode::Cancelled.to_u64()));
                session.receive.insert(stream, Receive::Ignored);
            }
        }
        self.count_receiving(key);
        self.mark_dirty(key);
    }

    /// An alias has become known: goes on with the streams that waited for it.
    pub(crate) fn resume_unresolved(&mut self, now: Instant, key: SessionKey) -> Result<(), Fatal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        for stream in session.unresolved.streams() {
            let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
            let Some(Receive::Subgroup(mut incoming)) = session.receive.remove(stream) else { continue };
            let resolved = self.resolve(key, &mut incoming);
            let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
            if resolved {
                session.unresolved.remove(stream);
                let chunk = Chunk { stream, dir: Dir::Uni, data: &[], fin: incoming.fin };
                self.read_objects(now, key, chunk, incoming)?;
            } else {
                session.receive.insert(stream, Receive::Subgroup(incoming));
            }
        }
        Ok(())
    }

    fn read_objects(
        &mut self,
        now: Instant,
        key: SessionKey,
        chunk: Chunk<'_>,
        mut incoming: SubgroupIn,
    ) -> Result<(), Fatal> {
        let Some(header) = incoming.reader.header().copied() else { return Ok(()) };
        let Some(track) = incoming.track else { return Ok(()) };
        if self.tracks.get(track).is_none() {
            return self.abandon(key, chunk);
        }
        let mut any = self.open_incoming(now, key, track, &header, &mut incoming, None);
        let (mut objects, mut flooded) = (0, false);
        while let Some(item) = incoming.reader.next_item()? {
            objects += 1;
            flooded = objects > OBJECTS_PER_READ_MAX;
            if flooded {
                break;
            }
            if let SubgroupItem::Object(object) = item {
                any |= self.open_incoming(now, key, track, &header, &mut incoming, Some(object.id));
                any |= self.take_object(now, track, &header, &mut incoming, object);
            }
        }
        if chunk.fin && !flooded {
            incoming.reader.finish()?;
            self.close_incoming(now, key, &incoming, SubgroupEnd::Finished);
        } else if flooded || self.is_overfull(key, incoming.reader.reserved()) {
            self.counters.streams_abandoned += 1;
            let code = StreamResetCode::ExcessiveLoad;
            self.close_incoming(now, key, &incoming, SubgroupEnd::Reset(code.to_u64()));
            self.abandon_with(key, chunk, code)?;
        } else {
            self.put_back(key, chunk, Receive::Subgroup(incoming));
        }
        self.bound_cache(now, track);
        if any {
            self.notify(track);
        }
        Ok(())
    }

    /// Opens the subgroup in the cache as soon as its id is known; `true` when it was opened just now.
    fn open_incoming(
        &mut self,
        now: Instant,
        key: SessionKey,
        track: TrackKey,
        header: &SubgroupHeader,
        incoming: &mut SubgroupIn,
        first_object: Option<u64>,
    ) -> bool {
        if incoming.subgroup.is_some() {
            return false;
        }
        let id = match (header.subgroup, first_object) {
            (SubgroupId::Zero, _) => 0,
            (SubgroupId::Explicit(id), _) => id,
            (SubgroupId::FirstObject, Some(id)) => id,
            (SubgroupId::FirstObject, None) => return false,
        };
        incoming.subgroup = Some(id);
        let Some(state) = self.tracks.get_mut(track) else { return false };
        let of_track = state.priority;
        let default = state.session_origin(key).map_or(of_track, |origin| origin.priority);
        let info = SubgroupInfo {
            id,
            priority: header.priority.unwrap_or(default),
            ends_group: header.end_of_group,
            first_object: header.first_object,
        };
        if state.cache.open_subgroup(now, header.group, info) {
            return true;
        }
        self.counters.objects_refused += 1;
        false
    }

    fn take_object(
        &mut self,
        now: Instant,
        track: TrackKey,
        header: &SubgroupHeader,
        incoming: &mut SubgroupIn,
        object: SubgroupObject,
    ) -> bool {
        let (Some(subgroup), Some(state)) = (incoming.subgroup, self.tracks.get_mut(track)) else { return false };
        let adjacent = incoming.last.is_some() && state.cache.last_id(header.group, subgroup) == incoming.last;
        let (id, payload_len) = (object.id, object.payload.len());
        let new = NewObject {
            id,
            status: object.status,
            properties: header.properties.then_some(object.properties),
            payload: object.payload,
            adjacent,
        };
        let pushed = state.cache.push(now, header.group, subgroup, new);
        match pushed {
            Pushed::New => {
                incoming.last = Some(id);
                self.counters.count_in(payload_len);
                self.publish_to_shards(track, header.group, subgroup, id);
                true
            }
            Pushed::Duplicate => {
                // What comes right behind it on this stream follows it here too.
                incoming.last = Some(id);
                self.counters.objects_duplicate += 1;
                false
            }
            Pushed::Late => {
                self.counters.objects_late += 1;
                false
            }
        }
    }

    /// A subgroup stream is over.
    pub(crate) fn close_incoming(&mut self, now: Instant, key: SessionKey, incoming: &SubgroupIn, end: SubgroupEnd) {
        let Some(track) = incoming.track else { return };
        let Some(state) = self.tracks.get_mut(track) else { return };
        if let Some(origin) = state.session_origin(key) {
            origin.streams_open = origin.streams_open.saturating_sub(1);
        }
        if let Some(subgroup) = incoming.subgroup
            && state.cache.end_subgroup(incoming.group, subgroup, end)
        {
            self.end_subgroup_on_shards(track, incoming.group, subgroup, end);
        }
        self.notify(track);
        self.check_upstream_done(now, track, key);
    }
}
