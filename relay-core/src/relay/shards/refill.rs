//! Another shard as the source of a track, and a replay of it that is on its way.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use crate::relay::{LinkId, PublishDone};
use crate::wire::Location;

use super::packed::MARK;

/// Another shard as the source of a track.
#[derive(Debug)]
pub(crate) struct ShardOrigin {
    pub(crate) shard: usize,
    /// Known once it accepted.
    pub(crate) link_id: Option<LinkId>,
    /// A replay was asked for and is not complete yet.
    pub(crate) refill: Option<Refill>,
    /// It said that the track is over; its last objects may still be on their way until then.
    pub(crate) done: Option<(PublishDone, Instant)>,
}

impl ShardOrigin {
    /// When the question is asked again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.refill.as_ref().map(|refill| refill.due)
    }
}

/// An object or mark on its way from another shard.
#[derive(Debug)]
pub(crate) struct StagedObject {
    pub(crate) payload: Bytes,
    pub(crate) end_of_group: bool,
}

/// A replay that is on its way, and live objects that overtook it.
#[derive(Debug)]
pub(crate) struct Refill {
    /// Ask again then.
    pub(crate) due: Instant,
    /// Something was lost since it was asked for: it may be older than that.
    pub(crate) again: bool,
    pub(crate) rounds: u32,
    /// The largest location over there. Told to viewers here only when the objects up to it are.
    pub(crate) largest: Option<Location>,
    /// The largest location when it first answered: requests that wait for the track start from there, whatever has come since.
    pub(crate) answered: Option<Option<Location>>,
    /// By place; the number tells the marks of one place apart.
    pub(crate) objects: BTreeMap<(Location, u64), StagedObject>,
    len: usize,
    marks: u64,
}

impl Refill {
    pub(crate) fn new(due: Instant) -> Self {
        let (largest, answered, objects) = (None, None, BTreeMap::new());
        Self { due, again: false, rounds: 0, largest, answered, objects, len: 0, marks: 0 }
    }

    /// Keeps an object; gives the number of those that had to go for it.
    pub(crate) fn stage(&mut self, location: Location, object: StagedObject, len_max: usize) -> u64 {
        let mark = if location.object == MARK { self.marks } else { 0 };
        self.marks += u64::from(location.object == MARK);
        self.len += object.payload.len();
        if let Some(known) = self.objects.insert((location, mark), object) {
            self.len = self.len.saturating_sub(known.payload.len());
        }
        let mut dropped = 0;
        while self.len > len_max
            && let Some((_, oldest)) = self.objects.pop_first()
        {
            self.len = self.len.saturating_sub(oldest.payload.len());
            dropped += 1;
        }
        dropped
    }
}
