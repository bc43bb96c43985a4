//! The receiving streams of one session, and the memory of what is not whole yet on them.

use std::collections::HashMap;

use super::keys::{SessionKey, TenantKey};
use super::session::Receive;
use super::tenants::Good;
use super::{Relay, StreamId};

/// Streams by id. Bytes kept for unfinished objects and messages are summed up as streams come and go.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    streams: HashMap<StreamId, Receive>,
    len: usize,
    /// The part of the relay's sum that is this session's.
    counted: usize,
}

impl Receiving {
    pub(crate) fn count(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn contains(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    pub(crate) fn insert(&mut self, stream: StreamId, receive: Receive) {
        self.remove(stream);
        self.len = self.len.saturating_add(receive.reserved());
        self.streams.insert(stream, receive);
    }

    pub(crate) fn remove(&mut self, stream: StreamId) -> Option<Receive> {
        let receive = self.streams.remove(&stream)?;
        self.len = self.len.saturating_sub(receive.reserved());
        Some(receive)
    }

    /// Takes all streams, in the order of their ids.
    pub(crate) fn take(&mut self) -> Vec<(StreamId, Receive)> {
        self.len = 0;
        let mut streams: Vec<_> = std::mem::take(&mut self.streams).into_iter().collect();
        streams.sort_unstable_by_key(|(stream, _)| *stream);
        streams
    }
}

impl Receive {
    /// Bytes of memory kept for what is not whole yet: an object's announced length, however little of it came.
    fn reserved(&self) -> usize {
        match self {
            Self::Fresh(buffer) => buffer.capacity(),
            Self::Control(reader) | Self::Request(reader, _) => reader.buffered(),
            Self::Subgroup(subgroup) => subgroup.reader.reserved(),
            Self::Fetch(fetch) => fetch.reader.reserved(),
            Self::Ignored => 0,
        }
    }
}

impl Relay {
    /// Brings the sum over all sessions up to date with one of them.
    pub(super) fn count_receiving(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let before = std::mem::replace(&mut session.receive.counted, session.receive.len);
        if before != session.receive.len {
            self.tenants.change(session.tenant, Good::Unfinished, before, session.receive.len);
        }
    }

    /// What is counted for a session moves with it to another tenant.
    pub(super) fn recount_receiving(&mut self, key: SessionKey, from: TenantKey, to: TenantKey) {
        let Some(counted) = self.sessions.get(key).map(|session| session.receive.counted) else { return };
        self.tenants.change(from, Good::Unfinished, counted, 0);
        self.tenants.change(to, Good::Unfinished, 0, counted);
    }

    /// Whether a stream that needs `len` bytes for its next object goes beyond what its session or its tenant may have.
    pub(super) fn is_overfull(&self, key: SessionKey, len: usize) -> bool {
        let Some(session) = self.sessions.get(key) else { return false };
        let wanted = session.receive.len.saturating_add(len);
        let more = wanted.saturating_sub(session.receive.counted);
        wanted > self.config.unfinished_session_len_max
            || !self.tenants.fits(session.tenant, Good::Unfinished, more, self.config.unfinished_len_max)
    }
}
