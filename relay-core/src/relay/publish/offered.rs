//! Tracks that publishers offered by PUBLISH, as other shards learn them.
//!
//! A PUBLISH says nothing about its namespace, so the other shards have to know the track itself. It travels as a namespace
//! of a form that no peer can publish: the mark, the track's name, and the fields of its namespace.

use std::time::Instant;

use bytes::Bytes;

use crate::relay::auth::{INPUT_FIELDS, resource_of};
use crate::relay::keys::TrackKey;
use crate::relay::track::{Origin, TrackState};
use crate::relay::{Relay, RelayEvent};
use crate::wire::{FullTrackName, Namespace};

/// First field of such a namespace. Names that begin with a dot are reserved (MoQT-18 §3.2.1).
const OFFER_MARK: &[u8] = b".track";

/// The part of a namespace that names the input it belongs to; outside the service all of it.
fn input_of(namespace: &Namespace) -> &[Bytes] {
    let fields = namespace.fields();
    let input = fields.get(..INPUT_FIELDS).filter(|_| resource_of(namespace).is_some());
    input.unwrap_or(fields)
}

fn to_namespace(track: &FullTrackName) -> Namespace {
    let front = [Bytes::from_static(OFFER_MARK), track.name.clone()];
    Namespace(front.into_iter().chain(track.namespace.0.iter().cloned()).collect())
}

/// The offered track that a namespace of [`crate::relay::RelayEvent::NamespaceUp`] stands for; `None` for other namespaces.
pub fn offered_track(namespace: &Namespace) -> Option<FullTrackName> {
    match namespace.fields() {
        [mark, name, fields @ ..] if mark == OFFER_MARK => {
            Some(FullTrackName { namespace: Namespace(fields.to_vec()), name: name.clone() })
        }
        _ => None,
    }
}

impl Relay {
    /// Whether a session may offer a track: each one takes a place in what all other shards know. An input has so many of
    /// them, however its publishers spread them over namespaces below its own.
    pub(crate) fn may_offer(&self, name: &FullTrackName) -> bool {
        if self.tracks.by_name(name).and_then(|key| self.tracks.get(key)).is_some_and(|track| track.offer_announced) {
            return true;
        }
        let own = input_of(&name.namespace);
        let told =
            self.tracks.iter().filter(|(_, track)| track.offer_announced && input_of(&track.name.namespace) == own);
        told.count() < self.config.offers_per_namespace_max
    }

    /// A session here offered a track for the first time.
    pub(crate) fn announce_offer(&mut self, track: TrackKey) {
        if let Some(state) = self.tracks.get_mut(track)
            && !std::mem::replace(&mut state.offer_announced, true)
        {
            self.events.push_back(RelayEvent::NamespaceUp(to_namespace(&state.name)));
        }
    }

    /// Takes the offer back when no session here holds it up any more, and none that did may come back.
    pub(crate) fn forget_offer(&mut self, track: TrackKey) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        let offered = state.origins.iter().any(Origin::is_offer);
        if !offered && std::mem::replace(&mut state.offer_announced, false) {
            self.events.push_back(RelayEvent::NamespaceDown(to_namespace(&state.name)));
        }
    }

    /// Another shard has an offered track, if `namespace` is of that form.
    pub(crate) fn remote_offer_up(&mut self, now: Instant, namespace: &Namespace, shard: usize) -> bool {
        let Some(name) = offered_track(namespace) else { return false };
        let shards = self.offers.entry(name.clone()).or_default();
        if !shards.contains(&shard) {
            shards.push(shard);
        }
        if let Some(track) = self.tracks.by_name(&name) {
            self.attach_sources(now, track);
        }
        if self.is_watched(&name) {
            self.seek(now, &name);
        }
        true
    }

    /// Another shard no longer has an offered track.
    pub(crate) fn remote_offer_down(&mut self, namespace: &Namespace, shard: usize) -> bool {
        let Some(name) = offered_track(namespace) else { return false };
        if let Some(shards) = self.offers.get_mut(&name) {
            shards.retain(|known| *known != shard);
            if shards.is_empty() {
                self.offers.remove(&name);
            }
        }
        true
    }

    /// Brings the offered tracks of other shards here that a new watcher may want; they are offered to it once they are
    /// live.
    pub(crate) fn seek_offers(&mut self, now: Instant, prefix: &Namespace) {
        let wanted = self.offers.keys().filter(|name| name.namespace.starts_with(prefix));
        let wanted: Vec<FullTrackName> = wanted.take(self.config.namespaces_shown_max).cloned().collect();
        for name in wanted {
            self.seek(now, &name);
        }
    }

    /// Nobody waits for an answer: at a bound the track stays unknown here.
    fn seek(&mut self, now: Instant, name: &FullTrackName) {
        let _ = self.find_or_source(now, None, name, false);
    }

    /// Whether viewers may be offered the track: a publisher offered it, here or on the shard that it comes from.
    pub(crate) fn is_offered(&self, track: TrackKey) -> bool {
        let Some(state) = self.tracks.get(track).filter(|track| track.state == TrackState::Live) else { return false };
        state.origins.iter().any(|origin| match origin {
            Origin::Local => true,
            Origin::Session(_) | Origin::Held { .. } => origin.is_offer(),
            Origin::Shard(origin) => self.offers.get(&state.name).is_some_and(|shards| shards.contains(&origin.shard)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offered_track_crosses_as_a_namespace_that_no_peer_can_publish() {
        let track = FullTrackName::new(Namespace::new(["a", "b"]).unwrap(), "t").unwrap();
        let namespace = to_namespace(&track);
        assert!(namespace.is_reserved());
        assert_eq!(offered_track(&namespace), Some(track));
        assert_eq!(offered_track(&Namespace::new(["a", "b"]).unwrap()), None);
    }
}
