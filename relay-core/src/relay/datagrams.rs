//! Objects in datagrams: from a publisher's to those of every subscriber, here and on the other shards.
//!
//! None of them is kept: what a transport has no room for, or a viewer has no datagrams for, is dropped and counted, as the
//! network would drop it. A FETCH for one goes to the publisher.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::wire::{Datagram, DatagramBody, Draft, Location, ObjectDatagram};

use super::keys::{SessionKey, TrackKey};
use super::packed::pack_datagram;
use super::{Counters, Relay, RelayEvent, Transmit};

/// Datagrams that may wait for a session's next pump, and their bytes: the oldest go first.
const WAITING_MAX: usize = 256;
const WAITING_LEN_MAX: usize = 256 * 1024;

/// Datagrams on their way to one session.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: VecDeque<(Bytes, usize)>,
    len: usize,
}

impl Waiting {
    /// Adds one; gives the number of those that had to go for it.
    fn push(&mut self, datagram: Bytes, payload_len: usize) -> u64 {
        self.len += datagram.len();
        self.queue.push_back((datagram, payload_len));
        let mut dropped = 0;
        while self.queue.len() > WAITING_MAX || self.len > WAITING_LEN_MAX {
            let Some((oldest, _)) = self.queue.pop_front() else { break };
            self.len = self.len.saturating_sub(oldest.len());
            dropped += 1;
        }
        dropped
    }

    /// Hands all of them over; what is not taken now never is.
    pub(crate) fn pump(&mut self, counters: &mut Counters, io: &mut dyn Transmit) {
        self.len = 0;
        for (datagram, payload_len) in self.queue.drain(..) {
            if io.send_datagram(&datagram) {
                counters.count_out(payload_len);
            } else {
                counters.datagrams_dropped += 1;
            }
        }
    }
}

impl Relay {
    pub(super) fn on_datagram(&mut self, now: Instant, key: SessionKey, data: &[u8]) {
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
    pub(super) fn deliver_datagram(&mut self, key: TrackKey, mut object: ObjectDatagram) {
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
