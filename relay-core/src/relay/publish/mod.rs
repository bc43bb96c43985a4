//! Publisher sessions: PUBLISH, and our SUBSCRIBE to them.

pub(super) mod announced;
pub(super) mod datagrams;
pub(super) mod follow;
pub(super) mod held;
pub(super) mod local;
pub(super) mod namespaces;
pub(super) mod offered;
pub(super) mod unresolved;
pub(super) mod upstream;

use std::time::Instant;

use crate::directory::Directory;
use crate::wire::{
    ControlMessage, FullTrackName, Location, Namespace, Parameters, Properties, Publish,
    PublishDone as PublishDoneMessage, RequestErrorCode, RequestUpdate, SUBSCRIBER_PRIORITY_DEFAULT, SessionError,
    StreamResetCode, Subscribe, SubscriptionFilter, property,
};

use namespaces::Publisher;

use crate::relay::cache::SubgroupEnd;
use crate::relay::keys::{RequestKey, SessionKey, TrackKey};
use crate::relay::refusal::{Fatal, Refusal};
use crate::relay::session::request::RequestKind;
use crate::relay::track::{Origin, SessionOrigin, TrackState};
use crate::relay::{PublishDone, Relay, Role};

impl Relay {
    /// Tokens count for playback sessions only, and those may not publish anyway: no need to close them for a bad one.
    pub(crate) fn authorize_publisher(
        &mut self,
        directory: &dyn Directory,
        key: SessionKey,
        parameters: &Parameters,
    ) -> Result<(), Fatal> {
        let scope = self.sessions.get(key).and_then(|session| session.scope.as_ref());
        if scope.is_some_and(|scope| scope.role == Role::Playback) {
            return Ok(());
        }
        self.check_tokens(directory, key, None, &parameters.auth_tokens).map(drop)
    }

    pub(crate) fn refusal_to_publish(&self, key: SessionKey, namespace: &Namespace) -> Option<Refusal> {
        self.sessions.get(key)?.scope.as_ref()?.may_publish(namespace).err()
    }

    /// Asks everybody who publishes the track's namespace for the track; `true` when it has a source now.
    pub(crate) fn attach_sources(&mut self, now: Instant, track: TrackKey) -> bool {
        let Some(state) = self.tracks.get(track) else { return false };
        let name = state.name.clone();
        let mut publishers = self.namespaces.publishers_of(&name);
        let offers = self.offers.get(&name).into_iter().flatten();
        publishers.extend(offers.map(|shard| Publisher::Shard(*shard)));
        for publisher in publishers {
            match publisher {
                // Its tracks are opened by the ingest, not asked for; nor does anybody answer for a lost session.
                Publisher::Local | Publisher::Held => {}
                Publisher::Session(session) => self.subscribe_upstream(now, track, session, &name),
                Publisher::Shard(shard) => self.ask_shard(now, track, shard, &name),
            }
        }
        self.arm_track(now, track);
        self.tracks.get(track).is_some_and(|track| !track.origins.is_empty())
    }

    /// A session that publishes the namespace of a track.
    pub(crate) fn publisher_session(&self, name: &FullTrackName) -> Option<SessionKey> {
        if let Some(track) = self.tracks.by_name(name).and_then(|track| self.tracks.get(track)) {
            let origin = track.origins.iter().find_map(|origin| match origin {
                Origin::Session(origin) => Some(origin.session),
                _ => None,
            });
            if origin.is_some() {
                return origin;
            }
        }
        self.namespaces.publishers_of(name).into_iter().find_map(|publisher| match publisher {
            Publisher::Session(session) => Some(session),
            _ => None,
        })
    }

    fn subscribe_upstream(&mut self, now: Instant, track: TrackKey, key: SessionKey, name: &FullTrackName) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        if state.session_origin(key).is_some() {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        // MoQT-18 §9.3: one upstream subscription for all, with the Largest Object filter.
        let filter = Some(SubscriptionFilter::LargestObject);
        let parameters = Parameters { filter, ..Parameters::default() };
        let message = |request_id| ControlMessage::Subscribe(Subscribe { request_id, track: name.clone(), parameters });
        let request = session.open_request(RequestKind::Upstream { track }, message);
        if let Some(state) = session.requests.get_mut(request) {
            state.deadline = now.checked_add(self.config.upstream_timeout);
        }
        state.origins.push(Origin::Session(origin(key, request, false)));
        self.mark_dirty(key);
        self.arm_session(now, key);
    }

    pub(crate) fn on_publish(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: Publish,
    ) -> Result<(), Fatal> {
        self.authorize_publisher(directory, key, &message.parameters)?;
        if let Some(refusal) = self.refusal_to_publish(key, &message.track.namespace) {
            self.refuse(key, request, refusal.code, refusal.reason);
            return Ok(());
        }
        if let Some(refusal) = self.refusal_to_carry(&message.properties) {
            self.refuse(key, request, refusal.code, refusal.reason);
            return Ok(());
        }
        if !self.may_offer(&message.track) {
            self.counters.tracks_refused += 1;
            self.refuse(key, request, RequestErrorCode::ExcessiveLoad, "too many tracks of the namespace are offered");
            return Ok(());
        }
        let track = match self.tracks.by_name(&message.track) {
            Some(track) => track,
            None => match self.new_track(Some(key), message.track) {
                Ok(track) => track,
                Err(refusal) => {
                    self.refuse(key, request, refusal.code, refusal.reason);
                    return Ok(());
                }
            },
        };
        let Some(state) = self.tracks.get_mut(track) else { return Ok(()) };
        if state.session_origin(key).is_some_and(|origin| origin.alias.is_some()) {
            let reason = "the track is published here already";
            self.refuse(key, request, RequestErrorCode::DuplicateSubscription, reason);
            return Ok(());
        }
        // The newest publisher of an input wins: the engine is told and stops the encoder.
        state.hold_local();
        // MoQT-18 §5.1: our own pending SUBSCRIBE to the same session ends before the PUBLISH is accepted.
        let pending = state.session_origin(key).map(|origin| origin.request);
        state.origins.retain(|origin| !matches!(origin, Origin::Session(origin) if origin.session == key));
        state.origins.push(Origin::Session(origin(key, request, true)));
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if let Some(pending) = pending {
            session.cancel_request(pending, StreamResetCode::Cancelled.to_u64());
        }
        if let Some(state) = session.requests.get_mut(request) {
            state.kind = RequestKind::Upstream { track };
        }
        self.mark_used(key);
        // MoQT-18 §10.10: a publisher that said FORWARD=0 starts when the answer says 1.
        self.reply(key, request, Parameters { forward: Some(true), ..Parameters::default() });
        let largest = message.parameters.largest_object;
        self.origin_accepted(now, track, key, message.track_alias, largest, message.properties)?;
        self.announce_offer(track);
        self.offer_to_watchers(track);
        self.note_publishing(key);
        Ok(())
    }

    /// A session will send a track's objects under this alias from now on.
    fn origin_accepted(
        &mut self,
        now: Instant,
        track: TrackKey,
        key: SessionKey,
        alias: u64,
        largest: Option<Location>,
        properties: Properties,
    ) -> Result<(), Fatal> {
        let Some(state) = self.tracks.get_mut(track) else { return Ok(()) };
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if session.aliases.get(&alias).is_some_and(|known| *known != track) {
            return Err(Fatal::new(SessionError::DuplicateTrackAlias, format!("alias {alias} names two tracks")));
        }
        session.aliases.insert(alias, track);
        session.unresolved.take_alias(alias);
        let priority = properties.number(property::DEFAULT_PUBLISHER_PRIORITY).and_then(|p| u8::try_from(p).ok());
        let priority = priority.unwrap_or(SUBSCRIBER_PRIORITY_DEFAULT);
        if let Some(origin) = state.session_origin(key) {
            origin.alias = Some(alias);
            origin.priority = priority;
        }
        let (waited, held) = (state.state == TrackState::Waiting, state.is_held());
        if waited || held {
            state.priority = priority;
            state.set_properties(properties);
            state.state = TrackState::Live;
        }
        if let Some(largest) = largest {
            // What a publisher sent before it was asked, or while it was away, is not here.
            let missed = waited || (held && state.cache.largest().is_none_or(|known| known < largest));
            state.cache.raise_largest(largest);
            if missed {
                state.cache.set_complete_from(largest.next());
            }
        }
        if !state.is_local() {
            self.set_bare(track, false);
        }
        self.drop_held(track);
        self.resolve_waiters(now, track);
        self.resume_unresolved(now, key)
    }

    pub(crate) fn on_upstream_message(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        track: TrackKey,
        message: ControlMessage,
    ) -> Result<(), Fatal> {
        let ours = self.is_ours(key, request);
        match message {
            ControlMessage::SubscribeOk(ok) if ours => {
                if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
                    state.deadline = None;
                }
                if let Some(refusal) = self.refusal_to_carry(&ok.properties) {
                    self.upstream_failed(now, key, request, track, refusal.code, refusal.reason);
                    return Ok(());
                }
                self.origin_accepted(now, track, key, ok.track_alias, ok.parameters.largest_object, ok.properties)
            }
            ControlMessage::RequestError(error) if ours => {
                self.upstream_failed(now, key, request, track, error.code, &error.reason);
                Ok(())
            }
            ControlMessage::PublishDone(done) => {
                self.on_publish_done(now, key, track, &done);
                Ok(())
            }
            ControlMessage::RequestOk(_) if ours => Ok(()),
            ControlMessage::RequestUpdate(RequestUpdate { request_id, parameters }) if !ours => {
                let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
                if !session.seen.insert(request_id, self.config.request_ids_ahead_max) {
                    return Err(Fatal::new(SessionError::InvalidRequestId, format!("request id {request_id}")));
                }
                self.authorize_publisher(directory, key, &parameters)?;
                self.reply(key, request, Parameters::default());
                Ok(())
            }
            other => Err(Fatal::violation(format!("{} in this place", other.message_type().name()))),
        }
    }

    /// Why a track with these properties cannot be carried, if so.
    fn refusal_to_carry(&self, properties: &Properties) -> Option<Refusal> {
        if properties.mandatory().is_some() {
            // MoQT-18 §2.5.1: we understand no property of the mandatory range.
            let reason = "a property of the track must be understood and is not";
            return Some(Refusal::new(RequestErrorCode::UnsupportedExtension, reason));
        }
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let reason = "the properties of the track are too long";
        (encoded.len() > self.config.track_properties_len_max)
            .then_some(Refusal::new(RequestErrorCode::ExcessiveLoad, reason))
    }

    fn is_ours(&self, key: SessionKey, request: RequestKey) -> bool {
        let state = self.sessions.get(key).and_then(|session| session.requests.get(request));
        state.is_some_and(|state| state.id % 2 == 1)
    }

    /// A publisher refused our SUBSCRIBE, or did not answer in time.
    pub(crate) fn upstream_failed(
        &mut self,
        now: Instant,
        key: SessionKey,
        request: RequestKey,
        track: TrackKey,
        code: RequestErrorCode,
        reason: &str,
    ) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.cancel_request(request, StreamResetCode::Cancelled.to_u64());
        }
        self.mark_dirty(key);
        let Some(state) = self.tracks.get_mut(track) else { return };
        state.origins.retain(|origin| !matches!(origin, Origin::Session(origin) if origin.session == key));
        if state.origins.is_empty() && state.state == TrackState::Waiting {
            // A code that has its own fields on the wire is not passed on.
            let code = if code == RequestErrorCode::Redirect { RequestErrorCode::DoesNotExist } else { code };
            self.refuse_waiters(now, track, code, reason);
        }
    }

    fn on_publish_done(&mut self, now: Instant, key: SessionKey, track: TrackKey, done: &PublishDoneMessage) {
        let until = now.checked_add(self.config.upstream_timeout).unwrap_or(now);
        let Some(state) = self.tracks.get_mut(track) else { return };
        if let Some(origin) = state.session_origin(key) {
            origin.done = Some((done.code, done.stream_count, until));
        }
        self.check_upstream_done(now, track, key);
        self.arm_track(now, track);
    }

    /// Whether a session said PUBLISH_DONE for a track.
    pub(crate) fn is_ending(&mut self, track: TrackKey, key: SessionKey) -> bool {
        let origin = self.tracks.get_mut(track).and_then(|track| track.session_origin(key));
        origin.is_some_and(|origin| origin.done.is_some())
    }

    /// Ends a source that said PUBLISH_DONE, when all its streams were seen to their ends or the wait is over.
    pub(crate) fn check_upstream_done(&mut self, now: Instant, track: TrackKey, key: SessionKey) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        let Some(origin) = state.session_origin(key) else { return };
        let Some((status, count, until)) = origin.done else { return };
        let seen = count.is_some_and(|count| origin.streams_seen >= count) && origin.streams_open == 0;
        if seen || now >= until {
            let request = origin.request;
            if let Some(session) = self.sessions.get_mut(key) {
                session.finish_request(request);
            }
            self.mark_dirty(key);
            self.origin_gone(now, track, key, status);
            self.note_unpublished(key);
        }
    }

    /// A session is no longer a source of a track.
    pub(crate) fn origin_gone(&mut self, now: Instant, track: TrackKey, key: SessionKey, status: PublishDone) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        let before = state.origins.len();
        state.origins.retain(|origin| !matches!(origin, Origin::Session(origin) if origin.session == key));
        if state.origins.len() == before {
            return;
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.forget_aliases(track);
        }
        self.forget_offer(track);
        self.source_lost(now, track, status);
    }

    /// A source is gone; if it was the last, the track ends or its waiters are refused.
    pub(crate) fn source_lost(&mut self, now: Instant, track: TrackKey, status: PublishDone) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        if !state.origins.is_empty() {
            self.step_down(track, status);
            return;
        }
        match state.state {
            TrackState::Waiting => {
                self.refuse_waiters(now, track, Refusal::NO_TRACK.code, Refusal::NO_TRACK.reason);
            }
            TrackState::Live => {
                let cut = SubgroupEnd::Reset(StreamResetCode::Cancelled.to_u64());
                self.end_track(now, track, status, cut);
            }
            TrackState::Over(_) => {}
        }
    }

    /// NEW_GROUP_REQUEST of a viewer, passed on when the track honours it (MoQT-18 §10.2.13).
    pub(crate) fn request_new_group(&mut self, track: TrackKey, wanted: Option<u64>) {
        let Some(wanted) = wanted else { return };
        let Some(state) = self.tracks.get_mut(track) else { return };
        let largest = state.cache.largest().map(|largest| largest.group);
        let dynamic = state.properties.number(property::DYNAMIC_GROUPS) == Some(1);
        let useful = wanted == 0 || largest.is_none_or(|largest| wanted > largest);
        if !dynamic || !useful || state.new_group_asked.is_some_and(|asked| asked >= wanted) {
            return;
        }
        state.new_group_asked = Some(wanted);
        let origins: Vec<(SessionKey, RequestKey)> =
            state.session_origins().map(|origin| (origin.session, origin.request)).collect();
        for (key, request) in origins {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let request_id = session.next_id;
            session.next_id = session.next_id.saturating_add(2);
            let parameters = Parameters { new_group_request: Some(wanted), ..Parameters::default() };
            session.answer(request, &ControlMessage::RequestUpdate(RequestUpdate { request_id, parameters }));
            self.mark_dirty(key);
        }
    }
}

fn origin(session: SessionKey, request: RequestKey, offered: bool) -> SessionOrigin {
    SessionOrigin {
        session,
        request,
        alias: None,
        priority: SUBSCRIBER_PRIORITY_DEFAULT,
        offered,
        streams_seen: 0,
        streams_open: 0,
        done: None,
    }
}
