//! What becomes of sessions and requests that took too long.

use std::time::{Duration, Instant};

use crate::error::{AuthError, AuthFault};
use crate::relay::keys::{RequestKey, SessionKey};
use crate::relay::refusal::Fatal;
use crate::relay::subscribe::fetch_out::FetchSource;
use crate::relay::timers::Alarm;
use crate::relay::track::Waiter;
use crate::relay::{Relay, SessionId};
use crate::wire::{RequestErrorCode, SessionError};

use super::Session;
use super::request::RequestKind;

impl Relay {
    /// Sets the session's alarm to its earliest deadline.
    pub(crate) fn arm_session(&mut self, now: Instant, key: SessionKey) {
        let Some(at) = self.session_deadline(now, key) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        self.timers.set(&mut session.timer_at, at, Alarm::Session(session.id));
    }

    /// The session is gone, and so is its alarm.
    pub(crate) fn disarm_session(&mut self, session: &Session) {
        self.timers.unset(session.timer_at, Alarm::Session(session.id));
    }

    fn session_deadline(&self, now: Instant, key: SessionKey) -> Option<Instant> {
        let session = self.sessions.get(key).filter(|session| !session.is_closing())?;
        let first_request =
            if session.used { None } else { session.opened_at.checked_add(self.config.first_request_timeout) };
        let expiry = session.next_grant_ends_ms();
        let expiry =
            expiry.and_then(|at_ms| now.checked_add(Duration::from_millis(at_ms.saturating_sub(self.unix_now_ms))));
        let requests = session.requests.iter().filter_map(|(_, request)| request.deadline).min();
        let unresolved = session.unresolved.deadline();
        [first_request, expiry, requests, unresolved, session.goaway_deadline, session.wake_at]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn session_alarm(&mut self, now: Instant, id: SessionId) {
        let Some(&key) = self.by_id.get(&id) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.timer_at = None;
        if let Some(fatal) = overdue(session, now, self.unix_now_ms, self.config.first_request_timeout) {
            self.close(now, key, fatal);
            return;
        }
        self.end_expired(now, key);
        self.abandon_late(now, key);
        self.wake(now, key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let late = session.requests.iter().filter(|(_, request)| request.deadline.is_some_and(|at| at <= now));
        let late: Vec<RequestKey> = late.map(|(request, _)| request).collect();
        for request in late {
            self.request_timed_out(now, key, request);
        }
        self.arm_session(now, key);
    }

    /// Has the session's streams looked at that wait for a time.
    fn wake(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.wake_at.is_none_or(|at| at > now) {
            return;
        }
        session.wake_at = None;
        session.subscriptions.iter_mut().for_each(|(_, subscription)| subscription.ready = true);
        self.mark_dirty(key);
    }

    fn request_timed_out(&mut self, now: Instant, key: SessionKey, request: RequestKey) {
        let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) else {
            return;
        };
        state.deadline = None;
        match &state.kind {
            RequestKind::SubscribeWaiting { track, .. }
            | RequestKind::StatusWaiting { track }
            | RequestKind::FetchWaiting { track: Some(track), .. } => {
                let track = *track;
                self.refuse(key, request, RequestErrorCode::Timeout, "no publisher answered in time");
                self.drop_waiter(now, track, Waiter::Request { session: key, request });
            }
            RequestKind::FetchWaiting { track: None, message } => {
                let joined = message.range.joined();
                let seen = self.sessions.get(key).is_some_and(|s| joined.is_some_and(|id| s.seen.contains(id)));
                let (code, reason) = if seen {
                    (RequestErrorCode::Timeout, "the joined subscription was not answered in time")
                } else {
                    (RequestErrorCode::InvalidJoiningRequestId, "no such subscription in this session")
                };
                self.refuse(key, request, code, reason);
            }
            RequestKind::Upstream { track } => {
                let track = *track;
                self.upstream_failed(
                    now,
                    key,
                    request,
                    track,
                    RequestErrorCode::Timeout,
                    "the publisher did not answer",
                );
            }
            RequestKind::Fetching { fetch } => {
                let fetch = *fetch;
                let fetch = self.sessions.get(key).and_then(|session| session.fetches.get(fetch));
                if let Some(FetchSource::Pull(pull)) = fetch.map(|fetch| fetch.source) {
                    self.fail_pull(pull, RequestErrorCode::Timeout, "the publisher did not answer");
                }
            }
            RequestKind::Pulling { pull } => {
                let pull = *pull;
                self.fail_pull(pull, RequestErrorCode::Timeout, "the publisher did not answer");
            }
            _ => {}
        }
    }
}

/// Why a session has to end now, if so.
fn overdue(session: &Session, now: Instant, unix_now_ms: u64, first_request_timeout: Duration) -> Option<Fatal> {
    if !session.used && now.saturating_duration_since(session.opened_at) >= first_request_timeout {
        let reason = format!("no request was accepted within {} s", first_request_timeout.as_secs());
        return Some(Fatal::new(SessionError::ControlMessageTimeout, reason));
    }
    let expiry = session.last_grant_ends_ms();
    if expiry.is_some_and(|at_ms| unix_now_ms >= at_ms) {
        return Some(AuthError::from(AuthFault::Expired).into());
    }
    if session.goaway_deadline.is_some_and(|at| at <= now) {
        return Some(Fatal::new(SessionError::GoawayTimeout, "the session did not leave in time"));
    }
    None
}
