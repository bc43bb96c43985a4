//! Subgroup streams whose track alias is not known yet: they may overtake the SUBSCRIBE_OK that names it (MoQT-18 §11.4.2).

use std::collections::VecDeque;
use std::time::Instant;

use crate::transmit::StreamId;

/// Subgroup streams of a session that may wait for their alias at once.
const STREAMS_MAX: usize = 64;
/// Aliases of tracks that are over here, whose last streams may still come. As many as a session may have requests open.
const DROPPED_MAX: usize = 256;

/// A stream and what is kept of it.
#[derive(Debug)]
struct UnresolvedStream {
    stream: StreamId,
    len: usize,
    until: Instant,
}

/// The waiting streams of one session.
#[derive(Debug, Default)]
pub(crate) struct Unresolved {
    streams: Vec<UnresolvedStream>,
    dropped: VecDeque<u64>,
}

impl Unresolved {
    /// Keeps a stream that holds `len` bytes by now, until `until` when it is new. `false`: there is no room for it, and it
    /// is forgotten.
    pub(crate) fn hold(&mut self, stream: StreamId, len: usize, until: Instant, len_max: usize) -> bool {
        let others: usize = self.streams.iter().filter(|waiting| waiting.stream != stream).map(|w| w.len).sum();
        let known = self.streams.iter().position(|waiting| waiting.stream == stream);
        if others.saturating_add(len) > len_max || (known.is_none() && self.streams.len() >= STREAMS_MAX) {
            self.remove(stream);
            return false;
        }
        match known.and_then(|position| self.streams.get_mut(position)) {
            Some(waiting) => waiting.len = len,
            None => self.streams.push(UnresolvedStream { stream, len, until }),
        }
        true
    }

    pub(crate) fn remove(&mut self, stream: StreamId) {
        self.streams.retain(|waiting| waiting.stream != stream);
    }

    pub(crate) fn streams(&self) -> Vec<StreamId> {
        self.streams.iter().map(|waiting| waiting.stream).collect()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.streams.iter().map(|waiting| waiting.until).min()
    }

    /// Takes the streams that waited long enough.
    pub(crate) fn take_late(&mut self, now: Instant) -> Vec<StreamId> {
        let late = |waiting: &UnresolvedStream| waiting.until <= now;
        let streams = self.streams.iter().filter(|waiting| late(waiting)).map(|waiting| waiting.stream).collect();
        self.streams.retain(|waiting| !late(waiting));
        streams
    }

    /// The alias names nothing any more: its streams need not wait.
    pub(crate) fn drop_alias(&mut self, alias: u64) {
        self.dropped.push_back(alias);
        if self.dropped.len() > DROPPED_MAX {
            self.dropped.pop_front();
        }
    }

    /// The alias names a track again.
    pub(crate) fn take_alias(&mut self, alias: u64) {
        self.dropped.retain(|dropped| *dropped != alias);
    }

    pub(crate) fn is_dropped(&self, alias: u64) -> bool {
        self.dropped.contains(&alias)
    }

    pub(crate) fn clear(&mut self) {
        self.streams.clear();
    }
}
