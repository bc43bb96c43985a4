//! The relay as the QUIC endpoint sees it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use streams_relay_core::relay::{Dir, Pumped, Relay, SessionConfig, SessionId, StreamId, Transmit};

use crate::directory::Tables;
use crate::quic::SessionSink;

/// Brings a connection's streams to the relay.
pub(super) struct Sink<'a> {
    pub(super) relay: &'a mut Relay,
    pub(super) tables: &'a Tables,
    pub(super) now: Instant,
    pub(super) sessions: &'a mut HashMap<SessionId, SocketAddr>,
    pub(super) left: &'a mut Vec<SessionId>,
}

impl SessionSink for Sink<'_> {
    fn session_open(&mut self, session: SessionId, config: SessionConfig) {
        self.sessions.insert(session, config.peer);
        self.relay.session_open(self.now, session, config);
    }

    fn stream_data(&mut self, session: SessionId, stream: StreamId, dir: Dir, data: &[u8], fin: bool) {
        self.relay.stream_data(self.now, self.tables, session, stream, dir, data, fin);
    }

    fn stream_reset(&mut self, session: SessionId, stream: StreamId, code: u64) {
        self.relay.stream_reset(self.now, session, stream, code);
    }

    fn stream_stopped(&mut self, session: SessionId, stream: StreamId, code: u64) {
        self.relay.stream_stopped(self.now, session, stream, code);
    }

    fn datagram(&mut self, session: SessionId, data: &[u8]) {
        self.relay.datagram(self.now, session, data);
    }

    fn session_closed(&mut self, session: SessionId) {
        if self.sessions.remove(&session).is_some() {
            self.left.push(session);
        }
        self.relay.session_closed(self.now, session);
    }

    fn may_publish(&mut self, session: SessionId) -> bool {
        self.relay.session_publishes(session)
    }

    fn in_use(&mut self, session: SessionId) -> bool {
        self.relay.session_in_use(session)
    }

    fn pump(&mut self, session: SessionId, io: &mut dyn Transmit) -> Pumped {
        self.relay.pump(self.now, session, io)
    }
}
