//! Tokens that sessions show, and the requests that stand on them.
//!
//! Each request of a playback session is bound to the grant that allowed it and ends with it. A grant that came later takes a
//! request over when it allows it for longer. One that came by REQUEST_UPDATE replaces the grant of that request, for all
//! requests that stood on it: what it does not allow ends at once.

use std::sync::Arc;
use std::time::Instant;

use crate::directory::Directory;
use crate::error::{AuthError, AuthFault};
use crate::relay::keys::{RequestKey, SessionKey};
use crate::relay::refusal::{Fatal, Refusal};
use crate::relay::session::request::RequestKind;
use crate::relay::{PublishDone, Relay};
use crate::wire::{AuthToken, RequestErrorCode, StreamResetCode};

use super::grant::{Grant, TokenCheck, TokenId, Viewer};
use super::root_namespace;

/// Why requests end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// The grant that replaced theirs does not allow them.
    NotAllowed,
    /// Their grant has expired.
    Expired,
}

impl Relay {
    /// Checks the token that came with the session. One that brought none learns the root of all namespaces: enough to ask,
    /// and to be told by the answer that a token is needed.
    pub(crate) fn authorize_session(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
    ) -> Result<(), Fatal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        match session.scope.as_ref().and_then(|scope| scope.brought_token()) {
            None => return Ok(()),
            Some(false) => session.announce_namespace(root_namespace()),
            Some(true) => drop(self.check_tokens(directory, key, None, &[])?),
        }
        self.settle_places(key);
        self.arm_session(now, key);
        Ok(())
    }

    /// Checks the tokens of a request and binds the request to what they grant.
    pub(crate) fn authorize(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        tokens: &[AuthToken],
    ) -> Result<(), Fatal> {
        if let Some(grant) = self.check_tokens(directory, key, None, tokens)? {
            self.adopt(key, &grant, None);
            if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
                state.grant = Some(grant);
            }
            self.settle_places(key);
        }
        self.arm_session(now, key);
        Ok(())
    }

    /// Checks the tokens of a REQUEST_UPDATE. `false`: the request is not allowed any more and was ended.
    pub(crate) fn authorize_update(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        tokens: &[AuthToken],
    ) -> Result<bool, Fatal> {
        let state = self.sessions.get(key).and_then(|session| session.requests.get(request));
        let own = state.and_then(|state| state.grant.clone());
        let Some(grant) = self.check_tokens(directory, key, own.as_ref(), tokens)? else { return Ok(true) };
        let lost = self.adopt(key, &grant, own.as_ref());
        for other in lost.iter().copied().filter(|other| *other != request) {
            self.end_unallowed(now, key, other, Lost::NotAllowed);
        }
        let kept = !lost.contains(&request);
        if !kept {
            self.end_updated(now, key, request);
        }
        self.settle_places(key);
        self.arm_session(now, key);
        Ok(kept)
    }

    /// What the tokens of a message grant. A session that gets its first grant learns its namespace: to a stranger neither
    /// the org nor the id of the media is told.
    pub(crate) fn check_tokens(
        &mut self,
        directory: &dyn Directory,
        key: SessionKey,
        own: Option<&Arc<Grant>>,
        tokens: &[AuthToken],
    ) -> Result<Option<Arc<Grant>>, Fatal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(None) };
        let viewer = Viewer { ip: session.config.peer.ip(), origin: session.config.origin.as_deref() };
        let Some(scope) = session.scope.as_mut() else { return Ok(None) };
        let mut check = TokenCheck {
            directory,
            parsed: &mut self.verifying_keys,
            unix_now_ms: self.unix_now_ms,
            viewer,
            refused: &mut self.counters.tokens_refused,
        };
        let first = scope.grant().is_none();
        let grant = scope.authorize(tokens, own, &mut check)?;
        let namespace = scope.namespace.clone();
        if let Some(grant) = &grant {
            self.take_place(key, grant)?;
        }
        if let (true, true, Some(namespace)) = (first, grant.is_some(), namespace) {
            self.settle_tenant(key);
            if let Some(session) = self.sessions.get_mut(key) {
                session.announce_namespace(namespace);
            }
            self.mark_dirty(key);
        }
        Ok(grant)
    }

    /// A grant came: takes over what it allows for longer, and everything of the one that it replaces. Gives the requests
    /// that stood on that one and are not allowed any more.
    fn adopt(&mut self, key: SessionKey, grant: &Arc<Grant>, replaced: Option<&Arc<Grant>>) -> Vec<RequestKey> {
        let mut lost = Vec::new();
        let Some(session) = self.sessions.get_mut(key) else { return lost };
        for (request, state) in session.requests.iter_mut() {
            let Some(old) = state.grant.as_ref().filter(|old| !Arc::ptr_eq(old, grant)) else { continue };
            let allowed = state.reads.as_ref().is_none_or(|name| grant.allows(name));
            let replaces = replaced.is_some_and(|replaced| Arc::ptr_eq(replaced, old));
            if allowed && (replaces || grant.ends_ms() >= old.ends_ms()) {
                state.grant = Some(Arc::clone(grant));
            } else if replaces {
                lost.push(request);
            }
        }
        lost
    }

    /// Ends what stands on grants that have expired, in a session that has one left.
    pub(crate) fn end_expired(&mut self, now: Instant, key: SessionKey) {
        let unix_now_ms = self.unix_now_ms;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.next_grant_ends_ms().is_none_or(|ends_ms| unix_now_ms < ends_ms) {
            return;
        }
        let last = session.grants().max_by_key(|grant| grant.ends_ms()).cloned();
        let over = |grant: &Arc<Grant>| unix_now_ms >= grant.ends_ms();
        let requests = session.requests.iter().filter(|(_, state)| state.grant.as_ref().is_some_and(over));
        let lost: Vec<RequestKey> = requests.map(|(request, _)| request).collect();
        if let (Some(last), Some(scope)) = (last, session.scope.as_mut())
            && scope.grant().is_some_and(over)
        {
            scope.fall_back(last);
        }
        for request in lost {
            self.end_unallowed(now, key, request, Lost::Expired);
        }
        self.settle_places(key);
    }

    /// Ends a request that its token does not cover any more.
    fn end_unallowed(&mut self, now: Instant, key: SessionKey, request: RequestKey, lost: Lost) {
        let (done, error, reset, reason) = match lost {
            Lost::NotAllowed => {
                let Refusal { code, reason } = Refusal::NO_RENDITION;
                (PublishDone::Unauthorized, code, StreamResetCode::Cancelled, reason)
            }
            Lost::Expired => {
                let reason = "auth_failed: the token is expired";
                let code = RequestErrorCode::ExpiredAuthToken;
                (PublishDone::Expired, code, StreamResetCode::ExpiredAuthToken, reason)
            }
        };
        let Some(kind) = self.take_kind(key, request) else { return };
        match kind {
            RequestKind::Subscribed { subscription } => self.publish_done(now, key, subscription, done),
            RequestKind::SubscribeWaiting { .. }
            | RequestKind::StatusWaiting { .. }
            | RequestKind::FetchWaiting { .. } => {
                self.refuse(key, request, error, reason);
                self.undo_request(now, key, request, kind);
            }
            other => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.cancel_request(request, reset.to_u64());
                }
                self.undo_request(now, key, request, other);
            }
        }
        self.mark_dirty(key);
    }

    /// Ends a request whose REQUEST_UPDATE showed a token that does not allow it.
    fn end_updated(&mut self, now: Instant, key: SessionKey, request: RequestKey) {
        let Some(kind) = self.take_kind(key, request) else { return };
        let Refusal { code, reason } = Refusal::NO_RENDITION;
        self.refuse(key, request, code, reason);
        match kind {
            // MoQT-18 §10.8.1: "the publisher MUST also terminate the subscription by sending a PUBLISH_DONE with error code
            // UPDATE_FAILED."
            RequestKind::Subscribed { subscription } => {
                self.publish_done(now, key, subscription, PublishDone::UpdateFailed);
            }
            other => self.undo_request(now, key, request, other),
        }
    }

    fn take_kind(&mut self, key: SessionKey, request: RequestKey) -> Option<RequestKind> {
        let state = self.sessions.get_mut(key)?.requests.get_mut(request)?;
        Some(std::mem::replace(&mut state.kind, RequestKind::Closed))
    }

    // ---- sessions at once with one token -------------------------------------------------------------------------

    /// Whether one session more may use the token. A session that does so already may go on.
    fn take_place(&mut self, key: SessionKey, grant: &Grant) -> Result<(), Fatal> {
        let (Some((id, most)), Some(session)) = (grant.token_id(), self.sessions.get_mut(key)) else { return Ok(()) };
        if session.places.contains(&id) {
            return Ok(());
        }
        if !self.places.take(&id, most) {
            self.counters.tokens_refused += 1;
            return Err(AuthError::from(AuthFault::SessionsInUse { most }).into());
        }
        session.places.push(id);
        Ok(())
    }

    /// Gives back the places of tokens on which nothing stands any more.
    fn settle_places(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.places.is_empty() {
            return;
        }
        let used: Vec<TokenId> = session.grants().filter_map(|grant| Some(grant.token_id()?.0)).collect();
        let places = &mut self.places;
        session.places.retain(|id| {
            let kept = used.contains(id);
            if !kept {
                places.give_back(id);
            }
            kept
        });
    }

    /// The session is over: others may use its tokens.
    pub(crate) fn leave_places(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        std::mem::take(&mut session.places).iter().for_each(|id| self.places.give_back(id));
    }
}
