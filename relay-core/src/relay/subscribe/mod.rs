//! SUBSCRIBE and TRACK_STATUS: finding the track, waiting for it, and starting the subscription.

pub(super) mod datagram_queue;
pub(super) mod fetch;
pub(super) mod fetch_out;
pub(super) mod out_stream;
pub(super) mod pull;
pub(super) mod pulling;
pub(super) mod schedule;
pub(super) mod subscription;
pub(super) mod watch;

use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::wire::{
    ControlMessage, FullTrackName, Location, Parameters, RequestErrorCode, RequestOk, StreamResetCode, Subscribe,
    SubscribeOk, TrackStatus,
};

use subscription::{Subscription, SubscriptionStart};

use crate::relay::Relay;
use crate::relay::keys::{RequestKey, SessionKey, SubscriptionKey, TrackKey};
use crate::relay::refusal::{Fatal, Refusal};
use crate::relay::session::request::RequestKind;
use crate::relay::track::{TrackState, Waiter};

impl Relay {
    pub(crate) fn on_subscribe(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: Subscribe,
    ) -> Result<(), Fatal> {
        self.authorize(now, directory, key, request, &message.parameters.auth_tokens)?;
        if let Some(refusal) = self.refusal_to_read(key, request, &message.track) {
            self.refuse(key, request, refusal.code, refusal.reason);
            return Ok(());
        }
        let hold = message.parameters.rendezvous_timeout_ms.filter(|&ms| ms > 0).map(|ms| {
            let held = Duration::from_millis(ms).min(self.config.rendezvous_timeout_max);
            now.checked_add(held).unwrap_or(now)
        });
        let track = match self.find_or_source(now, Some(key), &message.track, hold.is_some()) {
            Ok(track) => track,
            Err(refusal) => {
                self.refuse(key, request, refusal.code, refusal.reason);
                return Ok(());
            }
        };
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        // MoQT-18 §5.1: at most one subscription to a track in this direction.
        if session.subscription_to(track).is_some() || session.waits_for(track) {
            let reason = "this session subscribes to the track already";
            self.refuse(key, request, RequestErrorCode::DuplicateSubscription, reason);
            return Ok(());
        }
        let live = self.tracks.get(track).is_some_and(|track| track.is_live());
        if let Some(state) = session.requests.get_mut(request) {
            let message = Box::new(message);
            state.kind = RequestKind::SubscribeWaiting { message, track, forgive_until: hold };
        }
        if live {
            self.establish(now, key, request);
        } else {
            self.wait_for(now, track, key, request, hold);
        }
        Ok(())
    }

    pub(crate) fn on_track_status(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: TrackStatus,
    ) -> Result<(), Fatal> {
        self.authorize(now, directory, key, request, &message.parameters.auth_tokens)?;
        if let Some(refusal) = self.refusal_to_read(key, request, &message.track) {
            self.refuse(key, request, refusal.code, refusal.reason);
            return Ok(());
        }
        let track = match self.find_or_source(now, Some(key), &message.track, false) {
            Ok(track) => track,
            Err(refusal) => {
                self.refuse(key, request, refusal.code, refusal.reason);
                return Ok(());
            }
        };
        let live = self.tracks.get(track).is_some_and(|track| track.is_live());
        if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
            state.kind = RequestKind::StatusWaiting { track };
        }
        if live {
            self.answer_status(key, request, track);
        } else {
            self.wait_for(now, track, key, request, None);
        }
        Ok(())
    }

    /// Why the request may not read the track, if so; from now on it stands for reading it.
    pub(crate) fn refusal_to_read(
        &mut self,
        key: SessionKey,
        request: RequestKey,
        track: &FullTrackName,
    ) -> Option<Refusal> {
        let session = self.sessions.get_mut(key)?;
        let state = session.requests.get_mut(request)?;
        state.reads = Some(track.name.clone());
        session.scope.as_ref()?.may_read(state.grant.as_deref(), track).err()
    }

    /// The track of that name; if it is not here, a new one with its sources asked for. An error: nobody has it and `hold`
    /// does not say to wait for somebody, or a bound is reached.
    /// `asker`: the session that wants it; `None`: another shard, or nobody in particular.
    pub(crate) fn find_or_source(
        &mut self,
        now: Instant,
        asker: Option<SessionKey>,
        name: &FullTrackName,
        hold: bool,
    ) -> Result<TrackKey, Refusal> {
        let known = self.tracks.by_name(name);
        if let Some(track) = known.and_then(|key| self.tracks.get(key))
            && (track.state == TrackState::Live || !track.origins.is_empty())
        {
            if let Some(key) = known.filter(|_| track.is_held()) {
                // Whoever publishes it now was not asked while nobody read it.
                self.attach_sources(now, key);
            }
            return known.ok_or(Refusal::NO_TRACK);
        }
        let key = match known {
            Some(key) => key,
            None => self.new_waiting_track(asker, name)?,
        };
        if self.attach_sources(now, key) || hold {
            return Ok(key);
        }
        if known.is_none() {
            self.remove_track(key);
        }
        Err(Refusal::NO_TRACK)
    }

    /// Lets a request wait until its track is live.
    pub(crate) fn wait_for(
        &mut self,
        now: Instant,
        track: TrackKey,
        key: SessionKey,
        request: RequestKey,
        hold: Option<Instant>,
    ) {
        let patience = now.checked_add(self.config.upstream_timeout).unwrap_or(now);
        if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
            state.deadline = Some(hold.unwrap_or(patience));
        }
        if let Some(state) = self.tracks.get_mut(track) {
            state.waiters.push(Waiter::Request { session: key, request });
            state.idle_since = None;
        }
        self.arm_session(now, key);
        self.arm_track(now, track);
    }

    pub(crate) fn answer_status(&mut self, key: SessionKey, request: RequestKey, track: TrackKey) {
        let Some((largest, properties)) =
            self.tracks.get(track).map(|track| (track.cache.largest(), track.properties.clone()))
        else {
            return;
        };
        let expires_ms = self.expires_ms(key, request);
        let parameters = Parameters { expires_ms, largest_object: largest, ..Parameters::default() };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.answer(request, &ControlMessage::RequestOk(RequestOk { parameters, properties }));
        session.finish_request(request);
        self.mark_used(key);
        self.mark_dirty(key);
    }

    /// Starts the subscription of a SUBSCRIBE whose track is live.
    pub(crate) fn establish(&mut self, now: Instant, key: SessionKey, request: RequestKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(state) = session.requests.get_mut(request) else { return };
        let RequestKind::SubscribeWaiting { message, track, .. } =
            std::mem::replace(&mut state.kind, RequestKind::Closed)
        else {
            return;
        };
        state.deadline = None;
        let Some(source) = self.tracks.get(track) else { return };
        let Some(start) = SubscriptionStart::of(&message.parameters, &source.cache) else {
            self.refuse(key, request, Refusal::RANGE_OVER.code, Refusal::RANGE_OVER.reason);
            return;
        };
        let (alias, properties) = (source.serial, source.properties.clone());
        self.add_subscription(track, key, request, start);
        let expires_ms = self.expires_ms(key, request);
        let largest_object = self.tracks.get(track).and_then(|track| track.cache.largest());
        let parameters = Parameters { expires_ms, largest_object, ..Parameters::default() };
        let ok = SubscribeOk { track_alias: alias, parameters, properties };
        if let Some(session) = self.sessions.get_mut(key) {
            session.answer(request, &ControlMessage::SubscribeOk(ok));
        }
        self.mark_used(key);
        self.mark_dirty(key);
        self.request_new_group(track, message.parameters.new_group_request);
        self.resume_joining(now, key, message.request_id);
    }

    /// Links a session and a track.
    pub(crate) fn add_subscription(
        &mut self,
        track: TrackKey,
        key: SessionKey,
        request: RequestKey,
        start: SubscriptionStart,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(source) = self.tracks.get_mut(track) else { return };
        let subscription = Subscription::new(track, source.serial, request, start, &source.cache);
        let subscription = session.subscriptions.insert(subscription);
        source.subscribers.push((key, subscription));
        source.idle_since = None;
        if let Some(state) = session.requests.get_mut(request) {
            state.kind = RequestKind::Subscribed { subscription };
        }
    }

    /// Applies the parameters of REQUEST_UPDATE (or of the answer to our PUBLISH). Gives the largest location.
    ///
    /// # Errors
    /// The new range is over already; nothing was changed.
    pub(crate) fn apply_update(
        &mut self,
        key: SessionKey,
        subscription: SubscriptionKey,
        parameters: &Parameters,
    ) -> Result<Option<Location>, Refusal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(None) };
        let Some(state) = session.subscriptions.get_mut(subscription) else { return Ok(None) };
        let track = state.track;
        let Some(source) = self.tracks.get(track) else { return Ok(None) };
        let start = SubscriptionStart::of(parameters, &source.cache).ok_or(Refusal::RANGE_OVER)?;
        if let Some(priority) = parameters.subscriber_priority {
            state.priority = priority;
        }
        if let Some(timeout_ms) = parameters.object_delivery_timeout_ms {
            state.timeout = Some(timeout_ms).filter(|&ms| ms > 0).map(Duration::from_millis);
        }
        if parameters.filter.is_some() {
            state.narrow(start.start, start.end_group);
        }
        match parameters.forward {
            Some(true) if !state.forward => state.resume(&source.cache),
            Some(false) if state.forward => {
                // MoQT-18 §11.4.3: omitting objects because of the Forward State resets the stream.
                state.forward = false;
                state.cut(StreamResetCode::Cancelled);
            }
            _ => {}
        }
        state.ready = true;
        let largest = source.cache.largest();
        self.mark_dirty(key);
        self.request_new_group(track, parameters.new_group_request);
        Ok(largest)
    }

    /// The peer is no longer interested: its streams are reset.
    pub(crate) fn drop_subscription(&mut self, now: Instant, key: SessionKey, subscription: SubscriptionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mut state) = session.subscriptions.remove(subscription) else { return };
        // MoQT-18 §5.1.1: "It MUST reset any open streams associated with the SUBSCRIBE."
        state.cut(StreamResetCode::Cancelled);
        session.resets.append(&mut state.resets);
        if let Some(track) = self.tracks.get_mut(state.track) {
            track.subscribers.retain(|known| *known != (key, subscription));
        }
        self.mark_dirty(key);
        self.check_idle(now, state.track);
    }

    /// A request no longer waits for a track.
    pub(crate) fn drop_waiter(&mut self, now: Instant, track: TrackKey, waiter: Waiter) {
        if let Some(state) = self.tracks.get_mut(track) {
            state.waiters.retain(|known| *known != waiter);
        }
        self.check_idle(now, track);
    }

    /// The track has become live: answers everybody who waits for it.
    pub(crate) fn resolve_waiters(&mut self, now: Instant, track: TrackKey) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        for waiter in std::mem::take(&mut state.waiters) {
            match waiter {
                Waiter::Shard(shard) => self.answer_shard(shard, track),
                Waiter::Request { session, request } => self.resolve_waiter(now, track, session, request),
            }
        }
        self.check_idle(now, track);
    }

    fn resolve_waiter(&mut self, now: Instant, track: TrackKey, key: SessionKey, request: RequestKey) {
        let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) else {
            return;
        };
        state.deadline = None;
        match &state.kind {
            RequestKind::SubscribeWaiting { .. } => self.establish(now, key, request),
            RequestKind::StatusWaiting { .. } => self.answer_status(key, request, track),
            RequestKind::FetchWaiting { .. } => self.resume_fetch(now, key, request),
            _ => {}
        }
    }

    /// No source has the track (any more): refuses everybody who waits, except those who said they would.
    pub(crate) fn refuse_waiters(&mut self, now: Instant, track: TrackKey, code: RequestErrorCode, reason: &str) {
        let Some(state) = self.tracks.get_mut(track) else { return };
        let over = matches!(state.state, TrackState::Over(_));
        // The engine asks again if it still wants it.
        state.followed = false;
        let mut kept = Vec::new();
        for waiter in std::mem::take(&mut state.waiters) {
            match waiter {
                Waiter::Shard(shard) => self.refuse_shard(shard, track, code, reason),
                Waiter::Request { session, request } => {
                    let state = self.sessions.get(session).and_then(|session| session.requests.get(request));
                    let holds = state.is_some_and(|state| {
                        matches!(&state.kind, RequestKind::SubscribeWaiting { forgive_until: Some(until), .. } if *until > now)
                    });
                    if holds && !over {
                        kept.push(waiter);
                    } else {
                        self.refuse(session, request, code, reason);
                    }
                }
            }
        }
        if let Some(state) = self.tracks.get_mut(track) {
            state.waiters = kept;
        }
        self.check_idle(now, track);
    }
}
