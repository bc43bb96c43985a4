//! Sessions as a whole: how they open and close, and what becomes of what they had.

use std::time::Instant;

use crate::relay::cache::SubgroupEnd;
use crate::relay::keys::{RequestKey, SessionKey};
use crate::relay::refusal::Fatal;
use crate::relay::subscribe::pull::PulledItem;
use crate::relay::tenants::TenantName;
use crate::relay::{Relay, RelayEvent, SessionConfig, SessionId};
use crate::transmit::StreamId;
use crate::wire::{ControlMessage, Setup, StreamResetCode};

use super::receiving::Receive;
use super::request::RequestKind;
use super::{Phase, Session};

/// MOQT_IMPLEMENTATION of our SETUP.
const IMPLEMENTATION: &str = concat!("streams/", env!("CARGO_PKG_VERSION"));

impl Relay {
    /// Whether the session may publish, so that its transport gives it room for objects. `false` until its SETUP was read:
    /// a path alone proves no publish key ([`RelayEvent::SessionReady`] tells when it did, with the role).
    pub fn session_publishes(&self, session: SessionId) -> bool {
        let session = self.by_id.get(&session).and_then(|key| self.sessions.get(*key));
        let scope = session.filter(|session| !session.is_closing()).and_then(|session| session.scope.as_ref());
        scope.is_some_and(|scope| scope.role.publishes())
    }

    /// Whether the session has a request that was accepted and is not over, of its peer or of ours: its transport is kept alive
    /// while nothing is sent.
    pub fn session_in_use(&self, session: SessionId) -> bool {
        let session = self.by_id.get(&session).and_then(|key| self.sessions.get(*key));
        session.is_some_and(|session| {
            !session.is_closing() && session.requests.iter().any(|(_, request)| request.kind.is_accepted())
        })
    }

    /// A transport finished its handshake. The relay's SETUP is ready to be pumped at once.
    pub fn session_open(&mut self, now: Instant, id: SessionId, config: SessionConfig) {
        if self.by_id.contains_key(&id) {
            return;
        }
        let tenant = self.tenants.enter(TenantName::peer(config.peer.ip()));
        let mut session = Session::new(now, id, config, tenant);
        let implementation = Some(IMPLEMENTATION.to_owned());
        session.say(&ControlMessage::Setup(Setup { implementation, ..Setup::default() }));
        let full = self.sessions.len() >= self.config.sessions_max;
        let key = self.sessions.insert(session);
        self.by_id.insert(id, key);
        self.mark_dirty(key);
        if full {
            self.counters.sessions_refused += 1;
            self.close(now, key, Fatal::new(crate::wire::SessionError::Internal, "too many sessions"));
        } else {
            self.arm_session(now, key);
        }
    }

    pub(crate) fn mark_dirty(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && !session.dirty
        {
            session.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Ends a session: what it had is taken back now, the close itself goes out with the next pump.
    pub(crate) fn close(&mut self, now: Instant, key: SessionKey, fatal: Fatal) {
        self.close_with(now, key, fatal.code.to_u64(), fatal.reason);
    }

    pub(crate) fn close_with(&mut self, now: Instant, key: SessionKey, code: u64, reason: String) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.is_closing() {
            return;
        }
        session.phase = Phase::Closing { code, reason: reason.clone(), told: false };
        self.counters.sessions_closed += 1;
        let session = session.id;
        self.take_back(now, key);
        self.events.push_back(RelayEvent::SessionClose { session, code, reason });
        self.mark_dirty(key);
    }

    /// Undoes everything a session had set up.
    fn take_back(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.early.clear();
        session.unresolved.clear();
        self.leave_places(key);
        self.hold_published(key);
        self.end_publishing(key, true);
        let Some(session) = self.sessions.get_mut(key) else { return };
        let requests: Vec<RequestKey> = session.requests.iter().map(|(request, _)| request).collect();
        let receiving = session.receive.take();
        self.count_receiving(key);
        for (stream, receive) in receiving {
            self.stop_receiving(now, key, stream, receive, StreamResetCode::SessionClosed.to_u64());
        }
        for request in requests {
            let Some(session) = self.sessions.get_mut(key) else { return };
            let Some(state) = session.requests.get_mut(request) else { continue };
            let kind = std::mem::replace(&mut state.kind, RequestKind::Closed);
            self.undo_request(now, key, request, kind);
        }
    }

    /// A receiving stream ended without its FIN.
    fn stop_receiving(&mut self, now: Instant, key: SessionKey, stream: StreamId, receive: Receive, code: u64) {
        match receive {
            Receive::Subgroup(incoming) => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.unresolved.remove(stream);
                }
                self.close_incoming(now, key, &incoming, SubgroupEnd::Reset(StreamResetCode::from_u64(code).to_u64()));
            }
            Receive::Fetch(fetch) => self.push_pull(fetch.pull, PulledItem::Reset(code)),
            Receive::Fresh(_) | Receive::Control(_) | Receive::Request(..) | Receive::Ignored => {}
        }
    }

    /// The transport is gone; everything the session had is dropped.
    pub fn session_closed(&mut self, now: Instant, id: SessionId) {
        let Some(key) = self.by_id.remove(&id) else { return };
        self.take_back(now, key);
        if let Some(session) = self.sessions.remove(key) {
            self.disarm_session(&session);
            self.leave_tenant(&session);
        }
    }

    /// The peer reset its half of a stream.
    pub fn stream_reset(&mut self, now: Instant, session: SessionId, stream: StreamId, code: u64) {
        let Some(&key) = self.by_id.get(&session) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        while let Some(position) = session.early.iter().position(|early| early.stream == stream) {
            let early = session.early.remove(position);
            session.early_len = session.early_len.saturating_sub(early.map_or(0, |early| early.data.len()));
        }
        match session.receive.remove(stream) {
            Some(Receive::Control(_)) => {
                self.close(now, key, Fatal::violation("the control stream was reset"));
            }
            Some(Receive::Request(_, request)) => {
                if let Some(state) = session.requests.get_mut(request) {
                    state.receiving = false;
                }
                self.end_request(now, key, request, false);
            }
            Some(receive) => self.stop_receiving(now, key, stream, receive, code),
            // A request of which no byte came: nothing of it is known here, and our half ends all the same, or the peer would
            // never have the stream back. A transport ignores this for a stream on which it has no half to send.
            None => {
                session.resets.push((stream, StreamResetCode::Cancelled.to_u64()));
                self.mark_dirty(key);
            }
        }
        self.count_receiving(key);
    }

    /// The peer sent STOP_SENDING for a stream.
    pub fn stream_stopped(&mut self, now: Instant, session: SessionId, stream: StreamId, _code: u64) {
        let Some(&key) = self.by_id.get(&session) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.control_stream == Some(stream) {
            self.close(now, key, Fatal::violation("the control stream was stopped"));
            return;
        }
        if let Some(&request) = session.request_by_stream.get(&stream) {
            self.end_request(now, key, request, false);
            return;
        }
        // MoQT-18 §11.4.3: nothing more of a subgroup is sent once its stream was stopped. A stream that names nothing here is
        // a request of which no byte came, or one that is over: its half of ours ends as well.
        session.resets.push((stream, StreamResetCode::Cancelled.to_u64()));
        let mut known = session.receive.contains(stream);
        for (_, subscription) in session.subscriptions.iter_mut() {
            if let Some(state) = subscription.streams.iter_mut().find(|state| state.stream == Some(stream)) {
                (state.done, known) = (true, true);
            }
        }
        for (_, fetch) in session.fetches.iter_mut().filter(|(_, fetch)| fetch.stream == Some(stream)) {
            (fetch.done, known) = (true, true);
        }
        if !known {
            session.stop_early(stream);
        }
        self.mark_dirty(key);
    }
}
