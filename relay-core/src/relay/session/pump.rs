//! All that a session has to send: control stream, request streams, datagrams, then data as its scheduler ([`crate::relay::subscribe::schedule`]) says (MoQT-18 §7.2).

use std::time::Instant;

use crate::relay::keys::{RequestKey, SessionKey, SubscriptionKey};
use crate::relay::subscribe::pull::Reader;
use crate::relay::subscribe::schedule::{Pump, pump_data};
use crate::relay::{PublishDone, Pumped, Relay, SessionId};
use crate::transmit::{Transmit, TransmitError};
use crate::wire::{ControlMessage, PublishDone as PublishDoneMessage};

use super::receiving::Receive;
use super::request::RequestKind;
use super::{Phase, Session};

const URGENCY_CONTROL: u8 = 0;
const URGENCY_REQUEST: u8 = 1;

impl Relay {
    /// Sends what the session has to send, as far as the transport takes it: control first, request streams, then data
    /// by (subscriber priority, publisher priority, group order, group, subgroup).
    pub fn pump(&mut self, now: Instant, session: SessionId, io: &mut dyn Transmit) -> Pumped {
        let pumped = self.pump_session(now, session, io);
        if let Some(&key) = self.by_id.get(&session) {
            self.count_pulled(key);
        }
        pumped
    }

    /// The next session with something to pump; each one is given once until it is dirty again.
    pub fn next_dirty(&mut self) -> Option<SessionId> {
        while let Some(key) = self.dirty.pop_front() {
            if let Some(session) = self.sessions.get_mut(key)
                && std::mem::take(&mut session.dirty)
            {
                return Some(session.id);
            }
        }
        None
    }

    pub(crate) fn pump_session(&mut self, now: Instant, id: SessionId, io: &mut dyn Transmit) -> Pumped {
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
    pub(crate) fn publish_done(
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
