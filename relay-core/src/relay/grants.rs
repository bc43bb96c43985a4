//! What a playback token grants, and the requests that stand on it.
//!
//! Each request of a playback session is bound to the grant that allowed it and ends with it. A grant that came later takes a
//! request over when it allows it for longer. One that came by REQUEST_UPDATE replaces the grant of that request, for all
//! requests that stood on it: what it does not allow ends at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::directory::Directory;
use crate::error::{AuthError, AuthFault};
use crate::token::{LEEWAY_MS, Verified, verify};
use crate::wire::{AuthToken, RequestErrorCode, StreamResetCode};

use super::auth::{TokenCheck, Viewer, root_namespace};
use super::keys::{RequestKey, SessionKey};
use super::refusal::{Fatal, Refusal};
use super::request::RequestKind;
use super::session::Session;
use super::{PublishDone, Relay};

/// A token that was accepted, and what it allows.
#[derive(Debug)]
pub(crate) struct Grant {
    token: String,
    verified: Verified,
    /// When it ends what stands on it, unix time in ms: `exp`, or with the leeway for a token that came within it.
    ends_ms: u64,
}

/// What tokens have in common whose sessions are counted together (`max_sessions`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TokenId {
    /// `jti`, within the org.
    Jti { org: String, jti: String },
    /// Without one: everything that a key signed for a resource.
    Subject { kid: String, subject: String },
}

impl Grant {
    /// Checks a token for the resource in the path.
    pub(crate) fn check(token: String, resource: &str, check: &mut TokenCheck<'_>) -> Result<Self, AuthError> {
        let verified = verify(&token, resource, check.directory, check.parsed, check.unix_now_ms)?;
        let Viewer { ip, .. } = check.viewer;
        if verified.ip.as_ref().is_some_and(|networks| !networks.iter().any(|network| contains(network, ip))) {
            return Err(AuthFault::WrongNetwork.into());
        }
        if verified.origins.as_ref().is_some_and(|origins| !check.viewer.comes_from(origins)) {
            return Err(AuthFault::WrongOrigin.into());
        }
        let leeway_ms = if check.unix_now_ms < verified.exp_ms { 0 } else { LEEWAY_MS };
        let ends_ms = verified.exp_ms.saturating_add(leeway_ms);
        Ok(Self { token, verified, ends_ms })
    }

    /// Checks what may have changed since the token was accepted.
    pub(crate) fn check_again(&self, resource: &str, check: &TokenCheck<'_>) -> Result<(), AuthError> {
        let directory = check.directory;
        if directory.signing_key(&self.verified.kid).is_none_or(|key| key.revoked) {
            return Err(AuthFault::RevokedKid.into());
        }
        let is_off = |id: &str| directory.resource(id).is_none_or(|resource| !resource.enabled);
        if is_off(resource) || is_off(&self.verified.subject) {
            return Err(AuthFault::UnknownResource.into());
        }
        if check.unix_now_ms >= self.verified.exp_ms.saturating_add(LEEWAY_MS) {
            return Err(AuthFault::Expired.into());
        }
        Ok(())
    }

    /// When it ends what stands on it, unix time in ms.
    pub(crate) fn ends_ms(&self) -> u64 {
        self.ends_ms
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn org(&self) -> &str {
        &self.verified.org
    }

    pub(crate) fn canonical(&self) -> &str {
        &self.verified.canonical
    }

    /// Whether a track of this name may be read. A list of renditions names its tracks; their init tracks and the catalogs
    /// belong to every list.
    pub(crate) fn allows(&self, name: &[u8]) -> bool {
        let base = name.strip_suffix(b".init").unwrap_or(name);
        let renditions = self.verified.renditions.as_ref();
        matches!(name, b".catalog" | b"catalog")
            || renditions.is_none_or(|listed| listed.iter().any(|rendition| rendition.as_bytes() == base))
    }

    fn token_id(&self) -> Option<(TokenId, u32)> {
        let Verified { org, kid, subject, jti, max_sessions, .. } = &self.verified;
        let id = match jti.clone() {
            Some(jti) => TokenId::Jti { org: org.clone(), jti },
            None => TokenId::Subject { kid: kid.clone(), subject: subject.clone() },
        };
        max_sessions.map(|most| (id, most))
    }
}

/// Sessions that are open with tokens that count them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: HashMap<TokenId, u32>,
}

impl Places {
    fn give_back(&mut self, id: &TokenId) {
        if let Some(taken) = self.taken.get_mut(id) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.taken.remove(id);
            }
        }
    }
}

/// Why requests end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// The grant that replaced theirs does not allow them.
    NotAllowed,
    /// Their grant has expired.
    Expired,
}

impl Session {
    /// The accepted tokens that something here stands on.
    fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        let current = self.scope.as_ref().and_then(|scope| scope.grant());
        let bound = self.requests.iter().filter_map(|(_, request)| request.grant.as_ref());
        current.into_iter().chain(bound)
    }

    /// When the next of its grants ends, unix time in ms.
    pub(crate) fn next_grant_ends_ms(&self) -> Option<u64> {
        self.grants().map(|grant| grant.ends_ms).min()
    }

    /// When the last of its grants ends, and the session with it, unix time in ms.
    pub(crate) fn last_grant_ends_ms(&self) -> Option<u64> {
        self.grants().map(|grant| grant.ends_ms).max()
    }

    /// Whether something here stands on a token of this key.
    pub(crate) fn is_signed_by(&self, kid: &str) -> bool {
        self.grants().any(|grant| grant.verified.kid == kid)
    }

    /// Whether the session, or a token that something here stands on, is about this resource.
    pub(crate) fn is_about(&self, id: &str) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.is_about(id))
            || self.grants().any(|grant| grant.verified.subject == id)
    }
}

impl Relay {
    /// Checks the token that came with the session. One that brought none learns the root of all namespaces: enough to ask,
    /// and to be told by the answer that a token is needed.
    pub(super) fn authorize_session(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
    ) -> Result<(), Fatal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        match session.scope.as_ref().and_then(|scope| scope.brought_token()) {
            None => return Ok(()),
            Some(false) => session.tell_namespace(root_namespace()),
            Some(true) => drop(self.check_tokens(directory, key, None, &[])?),
        }
        self.settle_places(key);
        self.arm_session(now, key);
        Ok(())
    }

    /// Checks the tokens of a request and binds the request to what they grant.
    pub(super) fn authorize(
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
    pub(super) fn authorize_update(
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
    pub(super) fn check_tokens(
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
                session.tell_namespace(namespace);
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
            if allowed && (replaces || grant.ends_ms >= old.ends_ms) {
                state.grant = Some(Arc::clone(grant));
            } else if replaces {
                lost.push(request);
            }
        }
        lost
    }

    /// Ends what stands on grants that have expired, in a session that has one left.
    pub(super) fn end_expired(&mut self, now: Instant, key: SessionKey) {
        let unix_now_ms = self.unix_now_ms;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.next_grant_ends_ms().is_none_or(|ends_ms| unix_now_ms < ends_ms) {
            return;
        }
        let last = session.grants().max_by_key(|grant| grant.ends_ms).cloned();
        let over = |grant: &Arc<Grant>| unix_now_ms >= grant.ends_ms;
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
        let taken = self.places.taken.entry(id.clone()).or_default();
        if *taken >= most {
            if *taken == 0 {
                self.places.taken.remove(&id);
            }
            self.counters.tokens_refused += 1;
            return Err(AuthError::from(AuthFault::SessionsInUse { most }).into());
        }
        *taken += 1;
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
    pub(super) fn leave_places(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        std::mem::take(&mut session.places).iter().for_each(|id| self.places.give_back(id));
    }
}

/// Whether a network in CIDR notation (or a single address) holds `address`. What cannot be read holds nothing.
fn contains(network: &str, address: IpAddr) -> bool {
    let (base, bits) = network.split_once('/').unwrap_or((network, ""));
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    let (base, address, width) = match (base, address.to_canonical()) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (u128::from(base.to_bits()), u128::from(address.to_bits()), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let bits = if bits.is_empty() { Some(width) } else { bits.parse::<u32>().ok().filter(|bits| *bits <= width) };
    let Some(bits) = bits else { return false };
    // A shift by the whole width is no shift in Rust, and means that every address matches.
    let shift = width - bits;
    base.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        let held = |network: &str, address: &str| contains(network, address.parse().unwrap());
        assert!(held("10.0.0.0/8", "10.1.2.3"));
        assert!(held("10.0.0.1", "10.0.0.1"));
        assert!(held("0.0.0.0/0", "1.2.3.4"));
        assert!(held("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(held("2001:db8::/32", "2001:db8::1"));
        assert!(!held("10.0.0.0/8", "11.0.0.1"));
        assert!(!held("10.0.0.0/33", "10.0.0.1"));
        assert!(!held("10.0.0.0/8", "2001:db8::1"));
        assert!(!held("everything", "10.0.0.1"));
    }
}
