//! Objects in datagrams: from a publisher's to those of every subscriber, here and on the other shards.
//!
//! None of them is kept: what a transport has no room for, or a viewer has no datagrams for, is dropped and counted, as the
//! network would drop it. A FETCH for one goes to the publisher.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::relay::keys::{SessionKey, TrackKey};
use crate::relay::shards::packed::pack_datagram;
use crate::relay::{Relay, RelayEvent, SessionId};
use crate::wire::{Datagram, DatagramBody, Draft, Location, ObjectDatagram};

impl Relay {
    /// A datagram of a session. An object in it goes to everybody who follows its track, in datagrams as well.
    pub fn datagram(&mut self, now: Instant, session: SessionId, data: &[u8]) {
        let Some(&key) = self.by_id.get(&session) else { return };
        let Some(session) = self.sessions.get(key).filter(|session| !session.is_closing()) else { return };
        match Datagram::decode(session.draft(), &Bytes::copy_from_slice(data)) {
            Ok(Datagram::Object(object)) => self.take_datagram(key, object),
            Ok(Datagram::Padding) => {}
            Err(malformed) => self.close(now, key, malformed.into()),
        }
    }

    fn take_datagram(&mut self, key: SessionKey, object: ObjectDatagram) {
        let alias = self.sessions.get(key).and_then(|session| session.aliases.get(&object.track_alias));
        let track = alias.and_then(|&track| Some((track, self.tracks.get(track)?)));
        let Some((key, track)) = track.filter(|(_, track)| track.is_live()) else {
            // MoQT-18 §11.3.1: one of an unknown alias may be dropped.
            self.counters.datagrams_dropped += 1;
            return;
        };
        self.counters.count_in(payload_len(&object));
        if !track.followers.is_empty() {
            let (link_id, group, object_id) = (track.link_id(), object.group, object.object);
            let payload = pack_datagram(&object);
            let end_of_group = false;
            self.events.push_back(RelayEvent::ShardObject { link_id, group, object: object_id, payload, end_of_group });
        }
        self.deliver_datagram(key, object);
    }

    /// Hands an object to everybody here who follows the track.
    pub(crate) fn deliver_datagram(&mut self, key: TrackKey, mut object: ObjectDatagram) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let location = Location::new(object.group, object.object);
        // It was published, and is not in the cache.
        track.cache.raise_largest(location);
        track.cache.set_complete_from(location.next());
        // Our alias is the same in every session.
        object.track_alias = track.serial;
        let mut wire = BytesMut::new();
        object.encode(Draft::D18, &mut wire);
        let (wire, payload_len) = (wire.freeze(), payload_len(&object));
        let mut wanted = Vec::new();
        for &(session, subscription) in &track.subscribers {
            let Some(state) = self.sessions.get_mut(session) else { continue };
            if state.subscriptions.get(subscription).is_some_and(|subscription| subscription.wants(location)) {
                self.counters.datagrams_dropped += state.datagrams.push(wire.clone(), payload_len);
                wanted.push(session);
            }
        }
        wanted.into_iter().for_each(|session| self.mark_dirty(session));
    }
}

fn payload_len(object: &ObjectDatagram) -> usize {
    match &object.body {
        DatagramBody::Payload { payload, .. } => payload.len(),
        DatagramBody::Status(_) => 0,
    }
}
