//! Namespaces that come and go: PUBLISH_NAMESPACE, and those of the ingest.

use std::time::Instant;

use crate::directory::Directory;
use crate::relay::keys::{RequestKey, SessionKey, TrackKey};
use crate::relay::refusal::{Fatal, Refusal};
use crate::relay::session::request::{Request, RequestKind};
use crate::relay::tenants::Good;
use crate::relay::track::TrackState;
use crate::relay::{Relay, RelayEvent};
use crate::wire::Namespace;
use crate::wire::{Parameters, PublishNamespace, RequestErrorCode};

use super::namespaces::Publisher;

impl Relay {
    /// A namespace is published here from now on.
    pub fn namespace_up(&mut self, now: Instant, namespace: Namespace) {
        self.publisher_up(now, namespace, Publisher::Local);
    }

    /// A namespace is no longer published here; its tracks are ended by [`Relay::track_end`].
    pub fn namespace_down(&mut self, _now: Instant, namespace: Namespace) {
        self.publisher_down(&namespace, Publisher::Local);
    }

    pub(crate) fn on_publish_namespace(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: PublishNamespace,
    ) -> Result<(), Fatal> {
        self.authorize_publisher(directory, key, &message.parameters)?;
        let namespace = message.namespace;
        if let Some(refusal) = self.refusal_to_publish(key, &namespace) {
            self.refuse(key, request, refusal.code, refusal.reason);
            return Ok(());
        }
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let announced = |state: &&Request| matches!(state.kind, RequestKind::Announced { .. });
        let count = session.requests.iter().map(|(_, state)| state).filter(announced).count();
        if count >= self.config.namespaces_per_session_max {
            self.counters.namespaces_refused += 1;
            self.refuse(key, request, RequestErrorCode::ExcessiveLoad, "too many namespaces are announced");
            return Ok(());
        }
        if !self.tenants.fits(session.tenant, Good::Namespaces, 1, self.config.namespaces_max) {
            self.counters.namespaces_refused += 1;
            self.refuse(key, request, Refusal::TOO_MANY_NAMESPACES.code, Refusal::TOO_MANY_NAMESPACES.reason);
            return Ok(());
        }
        self.tenants.change(session.tenant, Good::Namespaces, 0, 1);
        if let Some(state) = session.requests.get_mut(request) {
            state.kind = RequestKind::Announced { namespace: namespace.clone() };
        }
        self.mark_used(key);
        self.reply(key, request, Parameters::default());
        self.publisher_up(now, namespace, Publisher::Session(key));
        self.note_publishing(key);
        Ok(())
    }

    /// A namespace has a new publisher: watchers and other shards learn it, and tracks under it ask there as well.
    pub(crate) fn publisher_up(&mut self, now: Instant, namespace: Namespace, publisher: Publisher) {
        let was_home = self.namespaces.is_home(&namespace);
        let appeared = self.namespaces.add(namespace.clone(), publisher);
        if appeared {
            self.announce_change(&namespace, true);
        }
        if matches!(publisher, Publisher::Session(_)) && !was_home {
            self.events.push_back(RelayEvent::NamespaceUp(namespace.clone()));
        }
        // MoQT-18 §9.4: a SUBSCRIBE goes to the new publisher for every track that matches.
        let under = self.tracks.iter().filter(|(_, track)| {
            track.name.namespace.starts_with(&namespace)
                && !matches!(track.state, TrackState::Over(_))
                && !track.is_unused()
        });
        let under: Vec<TrackKey> = under.map(|(key, _)| key).collect();
        for track in under {
            self.attach_sources(now, track);
        }
        self.relieve_held(now, &namespace);
    }

    /// A publisher of a namespace is gone.
    pub(crate) fn publisher_down(&mut self, namespace: &Namespace, publisher: Publisher) {
        let was_home = self.namespaces.is_home(namespace);
        let gone = self.namespaces.remove(namespace, publisher);
        let told = matches!(publisher, Publisher::Session(_) | Publisher::Held);
        if told && was_home && !self.namespaces.is_home(namespace) {
            self.events.push_back(RelayEvent::NamespaceDown(namespace.clone()));
        }
        if gone {
            self.announce_change(namespace, false);
        }
    }

    /// A session withdrew a namespace. Its tracks go on until their own ends.
    pub(crate) fn withdraw(&mut self, key: SessionKey, namespace: &Namespace) {
        if let Some(session) = self.sessions.get(key) {
            self.tenants.change(session.tenant, Good::Namespaces, 1, 0);
        }
        let still = self.sessions.get(key).is_some_and(|session| {
            session.requests.iter().any(
                |(_, state)| matches!(&state.kind, RequestKind::Announced { namespace: other } if other == namespace),
            )
        });
        if !still {
            self.publisher_down(namespace, Publisher::Session(key));
        }
    }
}
