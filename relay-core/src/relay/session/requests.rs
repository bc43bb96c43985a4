//! Messages of request streams: who they are for, and what they answer.

use std::time::Instant;

use crate::directory::Directory;
use crate::relay::keys::{RequestKey, SessionKey};
use crate::relay::refusal::Fatal;
use crate::relay::track::Waiter;
use crate::relay::{PublishDone, Relay};
use crate::wire::{ControlMessage, Parameters, RequestErrorCode, RequestOk, RequestUpdate, SessionError};

use super::request::RequestKind;

impl Relay {
    pub(crate) fn on_message(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: ControlMessage,
    ) -> Result<(), Fatal> {
        let Some(state) = self.sessions.get(key).and_then(|session| session.requests.get(request)) else {
            return Ok(());
        };
        let ours = state.id % 2 == 1;
        match (&state.kind, message) {
            (RequestKind::Closed, _) | (_, ControlMessage::Goaway(_)) => Ok(()),
            (RequestKind::Fresh, message) => self.on_first_message(now, directory, key, request, message),
            (RequestKind::Upstream { track }, message) => {
                let track = *track;
                self.on_upstream_message(now, directory, key, request, track, message)
            }
            (RequestKind::Pulling { pull }, message) => {
                let pull = *pull;
                self.on_pull_answer(pull, message)
            }
            (RequestKind::OurNamespace, ControlMessage::RequestOk(_) | ControlMessage::RequestError(_)) => Ok(()),
            (RequestKind::Subscribed { subscription }, ControlMessage::RequestOk(ok)) if ours => {
                let subscription = *subscription;
                if self.apply_update(key, subscription, &ok.parameters).is_err() {
                    self.publish_done(now, key, subscription, PublishDone::UpdateFailed);
                }
                Ok(())
            }
            (RequestKind::Subscribed { subscription }, ControlMessage::RequestError(_)) if ours => {
                let subscription = *subscription;
                self.drop_subscription(now, key, subscription);
                if let Some(session) = self.sessions.get_mut(key) {
                    session.finish_request(request);
                }
                self.mark_dirty(key);
                Ok(())
            }
            (_, ControlMessage::RequestUpdate(update)) => self.on_update(now, directory, key, request, update),
            (_, other) => Err(Fatal::violation(format!("{} in this place", other.message_type().name()))),
        }
    }

    fn on_first_message(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: ControlMessage,
    ) -> Result<(), Fatal> {
        // MoQT-18 §3.3: "Bidirectional streams MUST NOT begin with any other message type."
        let Some(id) = message.request_id().filter(|_| message.opens_request()) else {
            let name = message.message_type().name();
            return Err(Fatal::violation(format!("a request stream begins with {name}")));
        };
        self.take_request_id(key, id)?;
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        session.request_by_id.insert(id, request);
        if let Some(state) = session.requests.get_mut(request) {
            state.id = id;
        }
        if session.goaway_sent {
            self.refuse(key, request, RequestErrorCode::GoingAway, "this server is going away");
            return Ok(());
        }
        match message {
            ControlMessage::Subscribe(message) => self.on_subscribe(now, directory, key, request, message)?,
            ControlMessage::TrackStatus(message) => self.on_track_status(now, directory, key, request, message)?,
            ControlMessage::Fetch(message) => self.on_fetch(now, directory, key, request, message)?,
            ControlMessage::SubscribeNamespace(message) => {
                self.on_subscribe_namespace(now, directory, key, request, message)?;
            }
            ControlMessage::SubscribeTracks(message) => {
                self.on_subscribe_tracks(now, directory, key, request, message)?;
            }
            ControlMessage::PublishNamespace(message) => {
                self.on_publish_namespace(now, directory, key, request, message)?;
            }
            ControlMessage::Publish(message) => self.on_publish(now, directory, key, request, message)?,
            other => return Err(Fatal::violation(format!("{} in this place", other.message_type().name()))),
        }
        self.resume_joining(now, key, id);
        Ok(())
    }

    fn take_request_id(&mut self, key: SessionKey, id: u64) -> Result<(), Fatal> {
        let ahead_max = self.config.request_ids_ahead_max;
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if session.seen.insert(id, ahead_max) {
            return Ok(());
        }
        Err(Fatal::new(SessionError::InvalidRequestId, format!("request id {id} is odd or was used before")))
    }

    /// A request was accepted: the session may stay.
    pub(crate) fn mark_used(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.used = true;
        }
    }

    /// Milliseconds until the token of a request ends it.
    pub(crate) fn expires_ms(&self, key: SessionKey, request: RequestKey) -> Option<u64> {
        let ends_ms = self.sessions.get(key)?.requests.get(request)?.grant.as_ref()?.ends_ms();
        // 0 would say "never" (MoQT-18 §10.2.10).
        Some(ends_ms.saturating_sub(self.unix_now_ms).max(1))
    }

    fn on_update(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        update: RequestUpdate,
    ) -> Result<(), Fatal> {
        self.take_request_id(key, update.request_id)?;
        if !self.authorize_update(now, directory, key, request, &update.parameters.auth_tokens)? {
            return Ok(());
        }
        let expires_ms = self.expires_ms(key, request);
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let Some(state) = session.requests.get_mut(request) else { return Ok(()) };
        let mut parameters = Parameters::default();
        match &mut state.kind {
            RequestKind::Subscribed { subscription } => {
                let subscription = *subscription;
                parameters.expires_ms = expires_ms;
                match self.apply_update(key, subscription, &update.parameters) {
                    Ok(largest) => parameters.largest_object = largest,
                    Err(refusal) => {
                        // MoQT-18 §10.8.1: "the publisher MUST also terminate the subscription by sending a PUBLISH_DONE
                        // with error code UPDATE_FAILED."
                        self.refuse(key, request, refusal.code, refusal.reason);
                        self.publish_done(now, key, subscription, PublishDone::UpdateFailed);
                        return Ok(());
                    }
                }
            }
            RequestKind::SubscribeWaiting { message, .. } => {
                merge(&mut message.parameters, update.parameters);
                parameters.expires_ms = expires_ms;
            }
            RequestKind::Fetching { fetch } => {
                let fetch = *fetch;
                if let (Some(priority), Some(fetch)) =
                    (update.parameters.subscriber_priority, session.fetches.get_mut(fetch))
                {
                    fetch.priority = priority;
                }
            }
            RequestKind::WatchNamespaces { .. } | RequestKind::WatchTracks { .. } => {
                if let Some(prefix) = update.parameters.namespace_prefix {
                    return self.move_watch(now, key, request, prefix);
                }
            }
            _ => {}
        }
        self.reply(key, request, parameters);
        Ok(())
    }

    /// Answers with REQUEST_OK.
    pub(crate) fn reply(&mut self, key: SessionKey, request: RequestKey, parameters: Parameters) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.answer(request, &ControlMessage::RequestOk(RequestOk { parameters, ..RequestOk::default() }));
        }
        self.mark_dirty(key);
    }

    /// The peer ended its half of a request stream.
    pub(crate) fn on_request_fin(&mut self, now: Instant, key: SessionKey, request: RequestKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(state) = session.requests.get_mut(request) else { return };
        state.receiving = false;
        let upstream = match state.kind {
            RequestKind::Upstream { track } => Some(track),
            _ => None,
        };
        if upstream.is_some_and(|track| self.is_ending(track, key)) {
            // The FIN behind PUBLISH_DONE; streams may still be on their way.
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(state) = session.requests.get_mut(request) else { return };
        match &state.kind {
            // MoQT-18 §6.1: cancelled by a FIN as well. A publisher that ends its half offers nothing any more.
            RequestKind::WatchNamespaces { .. }
            | RequestKind::WatchTracks { .. }
            | RequestKind::Announced { .. }
            | RequestKind::Upstream { .. } => self.end_request(now, key, request, true),
            RequestKind::Fresh => session.cancel_request(request, crate::wire::StreamResetCode::Cancelled.to_u64()),
            // Our requests were answered by nothing more; a subscriber only says that no REQUEST_UPDATE follows.
            _ => {}
        }
        self.mark_dirty(key);
    }

    /// Ends a request whose stream was cancelled, or that this side gives up. `finish`: our half ends with FIN rather
    /// than a reset.
    pub(crate) fn end_request(&mut self, now: Instant, key: SessionKey, request: RequestKey, finish: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(state) = session.requests.get_mut(request) else { return };
        let kind = std::mem::replace(&mut state.kind, RequestKind::Closed);
        state.deadline = None;
        if finish {
            session.finish_request(request);
        } else {
            session.cancel_request(request, crate::wire::StreamResetCode::Cancelled.to_u64());
        }
        self.undo_request(now, key, request, kind);
        self.mark_dirty(key);
    }

    /// Takes back what a request had set up.
    pub(crate) fn undo_request(&mut self, now: Instant, key: SessionKey, request: RequestKey, kind: RequestKind) {
        match kind {
            RequestKind::Subscribed { subscription } => self.drop_subscription(now, key, subscription),
            RequestKind::SubscribeWaiting { track, .. }
            | RequestKind::StatusWaiting { track }
            | RequestKind::FetchWaiting { track: Some(track), .. } => {
                self.drop_waiter(now, track, Waiter::Request { session: key, request });
            }
            RequestKind::Fetching { fetch } => self.drop_fetch(key, fetch),
            RequestKind::Announced { namespace } => {
                self.withdraw(key, &namespace);
                self.note_unpublished(key);
            }
            RequestKind::Upstream { track } => {
                self.origin_gone(now, track, key, PublishDone::SubscriptionEnded);
                self.note_unpublished(key);
            }
            RequestKind::Pulling { pull } => self.fail_pull(pull, RequestErrorCode::Internal, "the publisher is gone"),
            RequestKind::WatchNamespaces { .. } => self.namespace_watchers.retain(|known| *known != (key, request)),
            RequestKind::WatchTracks { .. } => self.track_watchers.retain(|known| *known != (key, request)),
            RequestKind::Fresh
            | RequestKind::FetchWaiting { track: None, .. }
            | RequestKind::OurNamespace
            | RequestKind::Closed => {}
        }
    }
}

/// A REQUEST_UPDATE for a request that is still waiting: what it names replaces what was asked.
fn merge(parameters: &mut Parameters, update: Parameters) {
    fn set<T>(slot: &mut Option<T>, value: Option<T>) {
        if value.is_some() {
            *slot = value;
        }
    }
    set(&mut parameters.object_delivery_timeout_ms, update.object_delivery_timeout_ms);
    set(&mut parameters.subgroup_delivery_timeout_ms, update.subgroup_delivery_timeout_ms);
    set(&mut parameters.forward, update.forward);
    set(&mut parameters.subscriber_priority, update.subscriber_priority);
    set(&mut parameters.filter, update.filter);
    set(&mut parameters.new_group_request, update.new_group_request);
}
