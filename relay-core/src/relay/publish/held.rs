//! Publishers that were lost and may come back.
//!
//! ```text
//!   session with keep_when_lost --lost--> held: tracks stay live, namespaces stay known, viewers wait
//!                                          |  a publisher has the track again, here or on another shard --> goes on
//!                                          '- release() ------------------------------------------------> track ends
//! ```
//!
//! How long that is worth it decides the engine, which knows the input's reconnect window; nothing here ends by itself.

use std::time::Instant;

use crate::relay::keys::{SessionKey, TrackKey};
use crate::relay::session::request::RequestKind;
use crate::relay::track::{Origin, TrackState};
use crate::relay::{PublishDone, Relay, RelayEvent, SessionId};
use crate::wire::Namespace;

use super::namespaces::Publisher;

impl Relay {
    /// What this session publishes outlives it from now on, until somebody else publishes it or [`Relay::release`].
    pub fn keep_when_lost(&mut self, session: SessionId) {
        if let Some(session) = self.by_id.get(&session).and_then(|key| self.sessions.get_mut(*key)) {
            session.keeps = true;
        }
    }

    /// The ingest stops feeding a namespace, because another publisher of it begins: what that one does not take over stays
    /// until [`Relay::release`].
    pub fn hold_local(&mut self, namespace: &Namespace) {
        let own: Vec<TrackKey> =
            self.tracks.iter().filter(|(_, track)| track.name.namespace == *namespace).map(|(key, _)| key).collect();
        for track in own {
            if let Some(track) = self.tracks.get_mut(track) {
                track.hold_local();
            }
        }
        self.namespaces.add(namespace.clone(), Publisher::Held);
        self.publisher_down(namespace, Publisher::Local);
    }

    /// Gives up what lost sessions left in a namespace and below it: those tracks end.
    pub fn release(&mut self, now: Instant, namespace: &Namespace) {
        let held: Vec<Namespace> =
            self.namespaces.under(namespace).filter(|below| self.namespaces.is_held(below)).cloned().collect();
        let tracks =
            self.tracks.iter().filter(|(_, track)| track.is_held() && track.name.namespace.starts_with(namespace));
        let tracks: Vec<TrackKey> = tracks.map(|(key, _)| key).collect();
        for track in tracks {
            if self.drop_held(track) {
                self.source_lost(now, track, PublishDone::TrackEnded);
            }
        }
        for below in held {
            self.publisher_down(&below, Publisher::Held);
        }
    }

    /// Tells the engine when a publish session's first request to publish was accepted.
    pub(crate) fn note_publishing(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(input) = session.scope.as_ref().and_then(|scope| scope.publishes_for()) else { return };
        if !std::mem::replace(&mut session.publishing, true) {
            let event = RelayEvent::PublishBegan { session: session.id, input };
            self.events.push_back(event);
        }
    }

    /// Tells the engine when a session ended the last of what it published.
    pub(crate) fn note_unpublished(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let publishes = |kind: &RequestKind| match kind {
            RequestKind::Announced { .. } => true,
            RequestKind::Upstream { track } => {
                let origins = self.tracks.get(*track).map(|track| track.origins.as_slice()).unwrap_or_default();
                origins
                    .iter()
                    .any(|origin| matches!(origin, Origin::Session(origin) if origin.session == key && origin.offered))
            }
            _ => false,
        };
        if !session.requests.iter().any(|(_, request)| publishes(&request.kind)) {
            self.end_publishing(key, false);
        }
    }

    pub(crate) fn end_publishing(&mut self, key: SessionKey, lost: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if std::mem::take(&mut session.publishing)
            && let Some(input) = session.scope.as_ref().and_then(|scope| scope.publishes_for())
        {
            let event = RelayEvent::PublishEnded { session: session.id, input, lost };
            self.events.push_back(event);
        }
    }

    /// A session that keeps what it publishes is lost: leaves a mark wherever it is the only publisher here. Comes before the
    /// session is taken out of its namespaces and tracks, so nobody notices.
    pub(crate) fn hold_published(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key).filter(|session| session.keeps) else { return };
        let kinds = session.requests.iter().map(|(_, request)| &request.kind);
        let root = session.scope.as_ref().and_then(|scope| scope.namespace.clone()).unwrap_or_default();
        let (mut namespaces, mut tracks) = (Vec::new(), Vec::new());
        for kind in kinds {
            match kind {
                RequestKind::Announced { namespace } => namespaces.push(namespace.clone()),
                RequestKind::Upstream { track } => tracks.push(*track),
                _ => {}
            }
        }
        let most = self.config.namespaces_per_session_max;
        for namespace in namespaces {
            // One input's sessions may come and go, each with other namespaces.
            if self.namespaces.under(&root).filter(|below| self.namespaces.is_held(below)).count() < most {
                self.namespaces.add(namespace, Publisher::Held);
            }
        }
        for track in tracks {
            let Some(track) = self.tracks.get_mut(track) else { continue };
            let lost = track.origins.iter().find(|origin| {
                matches!(origin, Origin::Session(origin) if origin.session == key && origin.alias.is_some() && origin.done.is_none())
            });
            if let Some(offered) = lost.map(Origin::is_offer)
                && track.state == TrackState::Live
                && !track.is_held()
            {
                track.origins.push(Origin::Held { offered });
            }
        }
    }

    /// A track has a publisher again, or none will come: the mark of the lost one goes. `true`: there was one.
    pub(crate) fn drop_held(&mut self, track: TrackKey) -> bool {
        let Some(state) = self.tracks.get_mut(track) else { return false };
        let before = state.origins.len();
        state.origins.retain(|origin| !matches!(origin, Origin::Held { .. }));
        let dropped = state.origins.len() != before;
        if dropped {
            self.forget_offer(track);
            self.step_down(track, PublishDone::SubscriptionEnded);
        }
        dropped
    }

    /// A namespace has a publisher again. What a lost one left and nobody reads is found anew when somebody asks.
    pub(crate) fn relieve_held(&mut self, now: Instant, namespace: &Namespace) {
        if !self.namespaces.is_held(namespace) {
            return;
        }
        self.publisher_down(namespace, Publisher::Held);
        let left = self.tracks.iter().filter(|(_, track)| {
            track.is_held() && track.is_unused() && track.origins.len() == 1 && track.name.namespace == *namespace
        });
        let left: Vec<TrackKey> =
            left.filter(|(_, track)| !track.origins.iter().any(Origin::is_offer)).map(|(key, _)| key).collect();
        for track in left {
            if self.drop_held(track) {
                self.source_lost(now, track, PublishDone::TrackEnded);
            }
        }
    }
}
