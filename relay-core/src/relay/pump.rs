//! The scheduler: what a session sends next.
//!
//! Order (MoQT-18 §7.2): control stream, request streams, then data by subscriber priority, publisher priority, and
//! within one request by group order and subgroup. Requests of equal priorities share by bytes (start-time fair
//! queueing): the one that has got the least goes first, over all pumps, so that neither large video frames nor many small
//! audio ones starve the other; one that was idle starts from where the others are.

use std::time::{Duration, Instant};

use crate::wire::{ControlMessage, GroupOrder, PublishDone as PublishDoneMessage, StreamResetCode};

use super::cache::GroupCache;
use super::fetch_out::FetchSource;
use super::keys::{FetchKey, RequestKey, SessionKey, SubscriptionKey};
use super::out_stream::{SendContext, Step};
use super::pull::{Pull, Pulls, Reader};
use super::receiving::Receive;
use super::request::RequestKind;
use super::session::{Phase, Session};
use super::subscription::Subscription;
use super::track::{Track, Tracks};
use super::{Counters, PublishDone, Pumped, Relay, SessionId, Transmit, TransmitError};

const URGENCY_CONTROL: u8 = 0;
const URGENCY_REQUEST: u8 = 1;

/// Who a candidate belongs to; requests of one session are told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Subscription(SubscriptionKey),
    Fetch(FetchKey),
}

/// Something that may be sent; ordered as it is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    subscriber_priority: u8,
    publisher_priority: u8,
    owner: Owner,
    group_rank: u64,
    subgroup: u64,
    stream: usize,
    spent: bool,
}

impl Candidate {
    fn urgency(&self) -> u8 {
        // Transports know one byte: the upper halves of both priorities, below control and requests.
        ((self.subscriber_priority & 0xF0) | (self.publisher_priority >> 4)).max(URGENCY_REQUEST + 1)
    }
}

/// What a session's data is sent with.
struct Pump<'a> {
    tracks: &'a Tracks,
    pulls: &'a mut Pulls,
    counters: &'a mut Counters,
    now: Instant,
    /// Our own delivery timeout.
    timeout: Duration,
    io: &'a mut dyn Transmit,
}

impl Relay {
    pub(super) fn pump_session(&mut self, now: Instant, id: SessionId, io: &mut dyn Transmit) -> Pumped {
        let Some(&key) = self.by_id.get(&id) else { return Pumped { more: false } };
        let Some(session) = self.sessions.get_mut(key) else { return Pumped { more: false } };
        if let Phase::Closing { code, reason, told } = &mut session.phase {
            if !std::mem::replace(told, true) {
                io.close(*code, reason);
            }
            return Pumped { more: false };
        }
        let mut more = pump_control(session, io);
        more |= pump_requests(session, io);
        for request in std::mem::take(&mut session.lost) {
            self.end_request(now, key, request, false);
            more = true;
        }
        let Some(session) = self.sessions.get_mut(key) else { return Pumped { more: false } };
        for (stream, code) in session.stops.drain(..) {
            io.stop(stream, code);
        }
        for (stream, code) in session.resets.drain(..) {
            io.reset(stream, code);
        }
        if more && session.control.len() > 0 {
            // Nothing may overtake SETUP.
            return Pumped { more };
        }
        session.datagrams.pump(&mut self.counters, io);
        let mut candidates = std::mem::take(&mut self.candidates);
        let mut pump = Pump {
            tracks: &self.tracks,
            pulls: &mut self.pulls,
            counters: &mut self.counters,
            now,
            timeout: self.config.delivery_timeout,
            io,
        };
        more |= pump_data(session, &mut candidates, &mut pump);
        candidates.clear();
        self.candidates = candidates;
        if session.wake_at.is_some() {
            self.arm_session(now, key);
        }
        if self.finish_requests(now, key)
            && let Some(session) = self.sessions.get_mut(key)
        {
            more |= pump_requests(session, io);
        }
        Pumped { more }
    }

    /// Sends PUBLISH_DONE for subscriptions whose track is over, and ends fetches that were served. `true` when there is
    /// something new to send.
    fn finish_requests(&mut self, now: Instant, key: SessionKey) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        if session.subscriptions.len() == 0 && session.fetches.len() == 0 {
            return false;
        }
        let mut ended: Vec<(SubscriptionKey, PublishDone)> = Vec::new();
        for (subscription, state) in session.subscriptions.iter() {
            let Some(track) = self.tracks.get(state.track) else { continue };
            let past = || state.is_past_end(&track.cache).then_some(PublishDone::SubscriptionEnded);
            if let Some(status) = state.ending.or_else(past)
                && state.is_settled(&track.cache)
            {
                ended.push((subscription, status));
            }
        }
        let fetched = session.fetches.iter().filter(|(_, fetch)| fetch.done);
        let fetched: Vec<_> = fetched.map(|(fetch, state)| (fetch, state.reader, state.failed)).collect();
        for &(fetch, reader, failed) in &fetched {
            if let Reader::Session(_, request) = reader
                && let Some(session) = self.sessions.get_mut(key)
            {
                // The data stream's reset may overtake its header; the request's own says which fetch failed.
                match failed {
                    Some(code) => session.cancel_request(request, code.to_u64()),
                    None => session.finish_request(request),
                }
            }
            self.drop_fetch(key, fetch);
        }
        for &(subscription, status) in &ended {
            self.publish_done(now, key, subscription, status);
        }
        !fetched.is_empty() || !ended.is_empty()
    }

    /// Ends a subscription after what was answered to it.
    pub(super) fn publish_done(
        &mut self,
        now: Instant,
        key: SessionKey,
        subscription: SubscriptionKey,
        code: PublishDone,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(state) = session.subscriptions.get(subscription) else { return };
        let (request, stream_count) = (state.request, Some(state.opened));
        let done = PublishDoneMessage { code, stream_count, reason: code.to_string() };
        session.answer(request, &ControlMessage::PublishDone(done));
        session.finish_request(request);
        self.drop_subscription(now, key, subscription);
    }
}

fn pump_control(session: &mut Session, io: &mut dyn Transmit) -> bool {
    let stream = match session.control_stream {
        Some(stream) => stream,
        None => {
            let Some(stream) = io.open_uni() else { return true };
            io.set_urgency(stream, URGENCY_CONTROL);
            *session.control_stream.insert(stream)
        }
    };
    // A transport that lost the stream closes the session itself.
    !matches!(session.control.flush(stream, io), Ok(true))
}

/// Sends what request streams have to say; `true` when something is left.
fn pump_requests(session: &mut Session, io: &mut dyn Transmit) -> bool {
    for _ in 0..session.flush.len() {
        let Some(request) = session.flush.pop_front() else { break };
        if !pump_request(session, request, io) {
            session.flush.push_back(request);
        }
    }
    !session.flush.is_empty()
}

/// `true`: the request needs no further pump for now.
fn pump_request(session: &mut Session, request: RequestKey, io: &mut dyn Transmit) -> bool {
    let draft = session.draft();
    let Some(state) = session.requests.get_mut(request) else { return true };
    if state.cancel.is_some() && state.stream.is_none() {
        state.queued = false;
        session.forget_request(request);
        return true;
    }
    let stream = match state.stream {
        Some(stream) => stream,
        None => {
            let Some(stream) = io.open_bidi() else { return false };
            io.set_urgency(stream, URGENCY_REQUEST);
            state.stream = Some(stream);
            session.request_by_stream.insert(stream, request);
            let reader = crate::wire::ControlReader::new(draft);
            session.receive.insert(stream, Receive::Request(reader, request));
            stream
        }
    };
    if let Some(code) = state.cancel {
        state.out.clear();
        io.reset(stream, code);
        if state.receiving {
            io.stop(stream, code);
        }
    }
    match state.out.flush(stream, io) {
        Ok(false) => return false,
        Ok(true) => {}
        Err(TransmitError::Stopped(_) | TransmitError::Closed) => {
            state.out.clear();
            session.lost.push(request);
        }
    }
    let Some(state) = session.requests.get_mut(request) else { return true };
    state.queued = false;
    if state.out.is_finished() && matches!(state.kind, RequestKind::Closed) {
        session.forget_request(request);
    }
    true
}

/// Sends data as long as the transport takes it; `true` when something is left.
fn pump_data(session: &mut Session, candidates: &mut Vec<Candidate>, pump: &mut Pump<'_>) -> bool {
    collect(session, candidates, pump);
    candidates.sort_unstable();
    let mut blocked = false;
    let mut rest = candidates.as_mut_slice();
    while let Some(first) = rest.first() {
        let priorities = (first.subscriber_priority, first.publisher_priority);
        let same = rest.iter().take_while(|c| (c.subscriber_priority, c.publisher_priority) == priorities).count();
        let (run, later) = rest.split_at_mut(same);
        while turn(session, run, &mut blocked, pump) {}
        rest = later;
    }
    for (_, subscription) in session.subscriptions.iter_mut() {
        subscription.sweep();
        subscription.ready |= blocked && !subscription.streams.is_empty();
    }
    blocked
}

/// Finds everything that may be sent.
fn collect(session: &mut Session, candidates: &mut Vec<Candidate>, pump: &mut Pump<'_>) {
    candidates.clear();
    for (key, subscription) in session.subscriptions.iter_mut() {
        for (stream, code) in subscription.resets.drain(..) {
            pump.io.reset(stream, code);
        }
        let Some(track) = pump.tracks.get(subscription.track).filter(|_| subscription.ready) else { continue };
        subscription.ready = false;
        subscription.discover(&track.cache);
        for (index, stream) in subscription.streams.iter().enumerate() {
            if stream.is_ready(&track.cache) {
                candidates.push(Candidate {
                    subscriber_priority: subscription.priority,
                    publisher_priority: stream.priority,
                    owner: Owner::Subscription(key),
                    group_rank: match subscription.order {
                        GroupOrder::Ascending => stream.group,
                        GroupOrder::Descending => u64::MAX - stream.group,
                    },
                    subgroup: stream.subgroup,
                    stream: index,
                    spent: false,
                });
            }
        }
    }
    for (key, fetch) in session.fetches.iter() {
        let idle = match fetch.source {
            FetchSource::Cache(..) => false,
            FetchSource::Pull(pull) => pump.pulls.get(pull).is_none_or(Pull::is_idle) && fetch.is_idle(),
        };
        if !fetch.done && !idle {
            candidates.push(Candidate {
                subscriber_priority: fetch.priority,
                publisher_priority: fetch.publisher_priority,
                owner: Owner::Fetch(key),
                group_rank: 0,
                subgroup: 0,
                stream: 0,
                spent: false,
            });
        }
    }
}

/// Among candidates of equal priorities, the owner that has got the least sends one object. `false` when none can.
fn turn(session: &mut Session, run: &mut [Candidate], blocked: &mut bool, pump: &mut Pump<'_>) -> bool {
    let waiting = run.iter_mut().filter(|candidate| !candidate.spent);
    // Of one owner's streams the first counts: `min_by_key` keeps the earliest of equals.
    let Some(candidate) = waiting.min_by_key(|candidate| session.share(candidate.owner)) else { return false };
    session.virtual_time = session.share(candidate.owner).max(session.virtual_time);
    let step = match candidate.owner {
        Owner::Subscription(key) => send_object(session, key, candidate, pump),
        Owner::Fetch(key) => send_fetched(session, key, candidate.urgency(), pump),
    };
    candidate.spent = step != Step::Sent;
    *blocked |= step == Step::Blocked;
    true
}

impl Session {
    /// Bytes that an owner has got, in the session's virtual time.
    fn share(&self, owner: Owner) -> u64 {
        match owner {
            Owner::Subscription(key) => self.subscriptions.get(key).map_or(0, |subscription| subscription.served),
            Owner::Fetch(key) => self.fetches.get(key).map_or(0, |fetch| fetch.served),
        }
    }
}

fn send_object(session: &mut Session, key: SubscriptionKey, candidate: &Candidate, pump: &mut Pump<'_>) -> Step {
    let Pump { tracks, counters, now, timeout, io, .. } = pump;
    let draft = session.draft();
    let virtual_time = session.virtual_time;
    let wake_at = &mut session.wake_at;
    let Some(subscription) = session.subscriptions.get_mut(key) else { return Step::Idle };
    let Some(track) = tracks.get(subscription.track) else { return Step::Idle };
    let context = SendContext {
        now: *now,
        draft,
        alias: subscription.alias,
        urgency: candidate.urgency(),
        timeout: effective_timeout(track, subscription, *timeout),
    };
    let Subscription { streams, opened, served, .. } = subscription;
    let Some(stream) = streams.get_mut(candidate.stream) else { return Step::Idle };
    let before = stream.written;
    let step = stream.send(&context, &track.cache, opened, counters, *io);
    *served = (*served).max(virtual_time).saturating_add(stream.written.saturating_sub(before));
    *wake_at = [*wake_at, stream.reset_due].into_iter().flatten().min();
    match step {
        Step::Late | Step::Behind => {
            let late = step == Step::Late;
            let code = if late { StreamResetCode::DeliveryTimeout } else { StreamResetCode::TooFarBehind };
            let (group, was_open, begun) = (stream.group, stream.stream.is_some(), stream.written > 0);
            if track.cache.newest_group() == Some(group) {
                // The group may end soon, and the next one be whole; a viewer whose place was evicted is in none that does.
                let wait = if late { context.timeout.unwrap_or_default() } else { Duration::ZERO };
                stream.lose_place(now.checked_add(wait).unwrap_or(*now), code.to_u64(), *io);
            } else {
                stream.reset(code.to_u64(), *io);
            }
            // One that was begun and has no stream had sent all there was, and waited for a subgroup to be taken up again.
            if late || was_open || !begun {
                counters.groups_dropped += subscription.drop_group(group);
            }
            if late || was_open {
                counters.groups_dropped += jump_from(subscription, group, &track.cache, *io);
            }
        }
        _ => {}
    }
    step
}

/// A viewer that is too slow for `group` goes on with the newest one. Gives the groups that count as dropped by it.
fn jump_from(subscription: &mut Subscription, group: u64, cache: &GroupCache, io: &mut dyn Transmit) -> u64 {
    match cache.newest_group().filter(|newest| *newest > group) {
        Some(newest) => subscription.jump(newest, cache, io),
        None => 0,
    }
}

/// The smallest of our own, the publisher's and the subscriber's OBJECT_DELIVERY_TIMEOUT (MoQT-18 §8); ours does not hold
/// for the few objects that a viewer cannot do without.
fn effective_timeout(track: &Track, subscription: &Subscription, ours: Duration) -> Option<Duration> {
    let ours = if track.pinned || ours.is_zero() { None } else { Some(ours) };
    [ours, track.timeout, subscription.timeout].into_iter().flatten().min()
}

fn send_fetched(session: &mut Session, key: FetchKey, urgency: u8, pump: &mut Pump<'_>) -> Step {
    let Pump { tracks, pulls, counters, io, .. } = pump;
    let virtual_time = session.virtual_time;
    let Some(fetch) = session.fetches.get_mut(key) else { return Step::Idle };
    let before = fetch.written;
    let step = match fetch.source {
        FetchSource::Cache(track) => match tracks.get(track) {
            Some(track) => fetch.send_cached(&track.cache, urgency, counters, *io),
            None => {
                fetch.reset(StreamResetCode::UnknownObjectStatus, *io);
                Step::Done
            }
        },
        FetchSource::Pull(key) => match pulls.get_mut(key) {
            Some(pull) => {
                let step = fetch.send_pulled(pull, urgency, counters, *io);
                pulls.count(key);
                step
            }
            None => {
                fetch.reset(StreamResetCode::Internal, *io);
                Step::Done
            }
        },
    };
    fetch.served = fetch.served.max(virtual_time).saturating_add(fetch.written.saturating_sub(before));
    step
}
