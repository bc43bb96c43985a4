//! Everything that happens because time has passed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::error::{AuthError, AuthFault};
use crate::wire::{RequestErrorCode, SessionError};

use super::fetch::joined;
use super::fetch_out::FetchSource;
use super::keys::{RequestKey, SessionKey, TrackKey};
use super::refusal::Fatal;
use super::request::RequestKind;
use super::session::Session;
use super::tenants::Good;
use super::track::{Origin, TrackState, Waiter};
use super::{Relay, SessionId};

/// How often old groups are dropped from tracks that get nothing new.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often a track that somebody waits for is looked for again on the other shards.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Session(SessionId),
    Track(TrackKey),
    Sweep,
}

/// Alarms in the order they are due. Each session and track has one, the earliest; when it rings, everything that is due there
/// is done and the next one is set, so that nobody can pile up timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, Alarm)>,
    sweeping: bool,
}

impl Timers {
    /// Sets an alarm that is not set, or is set for `before`. An earlier time than that counts, a later one does not:
    /// whoever rings too early is set again.
    fn set(&mut self, before: &mut Option<Instant>, at: Instant, alarm: Alarm) {
        if before.is_none_or(|before| at < before) {
            self.unset(before.replace(at), alarm);
            self.queue.insert((at, alarm));
        }
    }

    fn unset(&mut self, before: Option<Instant>, alarm: Alarm) {
        if let Some(before) = before {
            self.queue.remove(&(before, alarm));
        }
    }
}

impl Relay {
    pub(super) fn earliest_alarm(&self) -> Option<Instant> {
        self.timers.queue.first().map(|(at, _)| *at)
    }

    pub(super) fn ring_alarms(&mut self, now: Instant) {
        while let Some((_, alarm)) = self.timers.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.queue.pop_first();
            match alarm {
                Alarm::Session(id) => self.session_alarm(now, id),
                Alarm::Track(key) => self.track_alarm(now, key),
                Alarm::Sweep => self.sweep(now),
            }
        }
    }

    pub(super) fn arm_sweep(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.timers.sweeping, true)
            && let Some(at) = now.checked_add(SWEEP_INTERVAL)
        {
            self.timers.queue.insert((at, Alarm::Sweep));
        }
    }

    fn sweep(&mut self, now: Instant) {
        let tracks: Vec<TrackKey> = self.tracks.iter().map(|(key, _)| key).collect();
        self.timers.sweeping = false;
        if !tracks.is_empty() {
            self.arm_sweep(now);
        }
        tracks.into_iter().for_each(|key| self.bound_cache(now, key));
    }

    // ---- sessions ------------------------------------------------------------------------------------------------

    /// Sets the session's alarm to its earliest deadline.
    pub(super) fn arm_session(&mut self, now: Instant, key: SessionKey) {
        let Some(at) = self.session_deadline(now, key) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        self.timers.set(&mut session.timer_at, at, Alarm::Session(session.id));
    }

    /// The session is gone, and so is its alarm.
    pub(super) fn disarm_session(&mut self, session: &Session) {
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

    fn session_alarm(&mut self, now: Instant, id: SessionId) {
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
                let joined = joined(&message.range);
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

    // ---- tracks --------------------------------------------------------------------------------------------------

    /// Sets the track's alarm to its earliest deadline.
    pub(super) fn arm_track(&mut self, now: Instant, key: TrackKey) {
        let linger = self.config.linger;
        let Some(track) = self.tracks.get_mut(key) else { return };
        let idle = track.idle_since.filter(|_| track.is_unused()).and_then(|since| since.checked_add(linger));
        let ends = track.origins.iter().filter_map(|origin| match origin {
            Origin::Local | Origin::Held { .. } => None,
            Origin::Session(origin) => origin.done.map(|(_, _, until)| until),
            Origin::Shard(origin) => origin.done.map(|(_, until)| until).or(origin.retry_at()),
        });
        let ends = ends.min();
        let sought = track.state == TrackState::Waiting && track.origins.is_empty() && !track.waiters.is_empty();
        let retry = if sought { now.checked_add(RETRY_INTERVAL) } else { None };
        let Some(at) = [idle, ends, retry].into_iter().flatten().min() else { return };
        self.timers.set(&mut track.timer_at, at, Alarm::Track(key));
    }

    /// Removes a track, and its alarm.
    pub(super) fn remove_track(&mut self, key: TrackKey) {
        if let Some(track) = self.tracks.remove(key) {
            self.timers.unset(track.timer_at, Alarm::Track(key));
            self.tenants.change(track.tenant, Good::Tracks, 1, 0);
            self.tenants.change(track.tenant, Good::Cached, track.counted, 0);
            self.tenants.leave(track.tenant);
        }
    }

    fn track_alarm(&mut self, now: Instant, key: TrackKey) {
        let linger = self.config.linger;
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.timer_at = None;
        if track.is_unused() && track.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= linger) {
            self.let_go(key);
            return;
        }
        let sought = track.state == TrackState::Waiting && track.origins.is_empty() && !track.waiters.is_empty();
        let ending: Vec<SessionKey> = track.session_origins().map(|origin| origin.session).collect();
        if sought {
            self.attach_sources(now, key);
        }
        for session in ending {
            self.check_upstream_done(now, key, session);
        }
        self.check_remote(now, key);
        self.arm_track(now, key);
    }

    /// Starts the linger time of a track that nobody follows, or removes it at once when nothing can come of it.
    pub(super) fn check_idle(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if !track.is_unused() {
            return;
        }
        let over = matches!(track.state, TrackState::Over(_));
        if over || (track.origins.is_empty() && track.state == TrackState::Waiting) {
            self.remove_track(key);
            return;
        }
        let kept = track.is_local() || track.is_held() || track.origins.iter().any(Origin::is_offer);
        if !kept && track.idle_since.is_none() {
            track.idle_since = Some(now);
            self.arm_track(now, key);
        }
    }

    /// Ends the upstream subscriptions of a track and removes it.
    fn let_go(&mut self, key: TrackKey) {
        self.drop_shards(key);
        let Some(track) = self.tracks.get_mut(key) else { return };
        let origins: Vec<(SessionKey, RequestKey)> =
            track.session_origins().map(|origin| (origin.session, origin.request)).collect();
        for (session_key, request) in origins {
            if let Some(session) = self.sessions.get_mut(session_key) {
                session.cancel_request(request, crate::wire::StreamResetCode::Cancelled.to_u64());
                session.forget_aliases(key);
            }
            self.mark_dirty(session_key);
        }
        self.remove_track(key);
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
