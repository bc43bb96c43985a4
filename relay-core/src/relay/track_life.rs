//! How long tracks live: what sets their alarms, who keeps them, and how they end.

use std::time::{Duration, Instant};

use super::cache::SubgroupEnd;
use super::keys::{RequestKey, SessionKey, TrackKey};
use super::refusal::Refusal;
use super::tenants::Good;
use super::timers::Alarm;
use super::track::{Origin, TrackState};
use super::{PublishDone, Relay, RelayEvent};

/// How often a track that somebody waits for is looked for again on the other shards.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

impl Relay {
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

    pub(super) fn track_alarm(&mut self, now: Instant, key: TrackKey) {
        let linger = self.config.linger;
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.timer_at = None;
        if track.is_unused() && track.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= linger) {
            self.remove_idle(key);
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
    fn remove_idle(&mut self, key: TrackKey) {
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

    /// Nothing new comes for a track. `cut` is what becomes of its open subgroups.
    pub(super) fn end_track(&mut self, now: Instant, key: TrackKey, status: PublishDone, cut: SubgroupEnd) {
        self.tracks.forget_name(key);
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.state = TrackState::Over(status);
        track.followed = false;
        track.cache.end_all(cut);
        let shards = std::mem::take(&mut track.followers);
        let link_id = track.link_id();
        for &(session, subscription) in &track.subscribers {
            if let Some(session) = self.sessions.get_mut(session)
                && let Some(state) = session.subscriptions.get_mut(subscription)
            {
                state.ending = Some(status);
            }
        }
        if !shards.is_empty() {
            self.events.push_back(RelayEvent::ShardDone { shards, link_id, status });
        }
        self.refuse_waiters(now, key, Refusal::NO_TRACK.code, "the track is over");
        self.notify(key);
        self.check_idle(now, key);
    }

    /// Everybody who follows the track may have something to send.
    pub(super) fn notify(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        for &(session, subscription) in &track.subscribers {
            let Some(state) = self.sessions.get_mut(session) else { continue };
            if let Some(subscription) = state.subscriptions.get_mut(subscription) {
                subscription.ready = true;
            }
            if !state.dirty {
                state.dirty = true;
                self.dirty.push_back(session);
            }
        }
    }
}
