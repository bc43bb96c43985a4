//! The answer to one FETCH: objects of the cache, or of a pull from upstream, on one stream in the asked order.

use bytes::{Buf, Bytes};

use crate::relay::Counters;
use crate::relay::cache::{Group, GroupCache};
use crate::relay::keys::{PullKey, TrackKey};
use crate::transmit::{StreamId, Transmit};
use crate::wire::{
    Draft, EndLocation, FetchHeader, FetchObjectHead, FetchWriter, GroupOrder, Location, MissingRange, ObjectStatus,
    StreamResetCode,
};

use super::out_stream::Step;
use super::pull::{Pull, PulledItem, Reader};

/// Where the objects come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchSource {
    /// The track's cache.
    Cache(TrackKey),
    /// A FETCH of ours to a publisher.
    Pull(PullKey),
}

/// One FETCH that is being served.
#[derive(Debug)]
pub(crate) struct FetchOut {
    /// Whose FETCH it is.
    pub(crate) reader: Reader,
    pub(crate) request_id: u64,
    pub(crate) source: FetchSource,
    pub(crate) priority: u8,
    pub(crate) publisher_priority: u8,
    pub(crate) stream: Option<StreamId>,
    order: GroupOrder,
    start: Location,
    end: EndLocation,
    /// The last object that was begun.
    position: Option<Location>,
    /// The first group was looked up, so a missing start is known to be told.
    begun: bool,
    writer: FetchWriter,
    head: Vec<u8>,
    head_sent: usize,
    rest: Bytes,
    /// Payload length of the object that is on its way.
    under_way: Option<usize>,
    ended: bool,
    /// Bytes handed over so far.
    pub(crate) written: u64,
    /// Its share so far among requests of equal priority (see `pump`).
    pub(crate) served: u64,
    pub(crate) done: bool,
    /// The stream was reset with this code: the request ends the same way.
    pub(crate) failed: Option<StreamResetCode>,
}

/// The range and manner of a FETCH.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchPlan {
    pub(crate) request_id: u64,
    pub(crate) priority: u8,
    pub(crate) publisher_priority: u8,
    pub(crate) order: GroupOrder,
    pub(crate) start: Location,
    pub(crate) end: EndLocation,
}

impl FetchOut {
    pub(crate) fn new(draft: Draft, reader: Reader, source: FetchSource, plan: FetchPlan) -> Self {
        Self {
            reader,
            request_id: plan.request_id,
            source,
            priority: plan.priority,
            publisher_priority: plan.publisher_priority,
            stream: None,
            order: plan.order,
            start: plan.start,
            end: plan.end,
            position: None,
            begun: false,
            writer: FetchWriter::new(draft, plan.order),
            head: Vec::new(),
            head_sent: 0,
            rest: Bytes::new(),
            under_way: None,
            ended: false,
            written: 0,
            served: 0,
            done: false,
            failed: None,
        }
    }

    pub(crate) fn reset(&mut self, code: StreamResetCode, io: &mut dyn Transmit) {
        if let (Some(stream), false) = (self.stream, self.done) {
            io.reset(stream, code.to_u64());
        }
        self.failed = Some(code);
        self.done = true;
        self.rest = Bytes::new();
    }

    /// Hands at most one object of the cache over.
    pub(crate) fn send_cached(
        &mut self,
        cache: &GroupCache,
        urgency: u8,
        counters: &mut Counters,
        io: &mut dyn Transmit,
    ) -> Step {
        if let Some(step) = self.prepare(urgency, io) {
            return step;
        }
        if self.is_drained() {
            match self.next_cached(cache) {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(()) => {
                    // MoQT-18 §10.12.3: objects of unknown status in the range.
                    self.reset(StreamResetCode::UnknownObjectStatus, io);
                    return Step::Done;
                }
            }
        }
        self.write(counters, io)
    }

    /// Hands at most one object of a pull over.
    pub(crate) fn send_pulled(
        &mut self,
        pull: &mut Pull,
        urgency: u8,
        counters: &mut Counters,
        io: &mut dyn Transmit,
    ) -> Step {
        if let Some(step) = self.prepare(urgency, io) {
            return step;
        }
        if self.is_drained() {
            match pull.next() {
                None => return self.write(counters, io),
                Some(PulledItem::Object(head, payload)) => self.put(&head, payload),
                Some(PulledItem::Missing(range, last)) => self.put_missing(range, last),
                Some(PulledItem::End) => self.ended = true,
                Some(PulledItem::Reset(code)) => {
                    self.reset(StreamResetCode::from_u64(code), io);
                    return Step::Done;
                }
            }
        }
        self.write(counters, io)
    }

    /// Its stream is open and everything begun was handed over.
    pub(crate) fn is_idle(&self) -> bool {
        self.stream.is_some() && self.is_drained()
    }

    fn is_drained(&self) -> bool {
        self.rest.is_empty() && self.head_sent == self.head.len()
    }

    /// Opens the stream; `Some` when that is not possible now.
    fn prepare(&mut self, urgency: u8, io: &mut dyn Transmit) -> Option<Step> {
        if self.stream.is_some() {
            return None;
        }
        let Some(stream) = io.open_uni() else { return Some(Step::Blocked) };
        io.set_urgency(stream, urgency);
        self.stream = Some(stream);
        FetchHeader { request_id: self.request_id }.encode(&mut self.head);
        None
    }

    /// Puts the next object of the cache in front; `Ok(false)` at the end of the range.
    fn next_cached(&mut self, cache: &GroupCache) -> Result<bool, ()> {
        if !self.begun {
            self.begun = true;
            if !reaches(self.end, cache.complete_from()) {
                // All of it was evicted since it was accepted.
                return Err(());
            }
            self.skip_unknown_start(cache);
        } else if let Some(position) = self.position
            && self.order == GroupOrder::Ascending
            && cache.complete_from() > Location::new(position.group, position.object.saturating_add(1))
        {
            // A slow reader: what comes next was evicted meanwhile.
            return Err(());
        }
        let mut group = match (self.position, self.order) {
            (None, GroupOrder::Ascending) => cache.group_from(self.start.group),
            (None, GroupOrder::Descending) => cache.group_until(self.end.group),
            (Some(position), _) => match cache.group(position.group) {
                Some(group) => Some(group),
                None => self.following(cache, position.group),
            },
        };
        let mut last = self.position;
        while let Some(current) = group {
            if current.id < self.start.group || current.id > self.end.group {
                break;
            }
            let from = last.filter(|last| last.group == current.id).map(|last| last.object);
            let from = from.or_else(|| self.before_first(current.id));
            if self.put_next_of(current, from)? {
                return Ok(true);
            }
            last = None;
            group = self.following(cache, current.id);
        }
        // Newest first: what is left of the range is unknown here, and a FIN would say that it does not exist.
        if self.order == GroupOrder::Descending && cache.complete_from() > self.start { Err(()) } else { Ok(false) }
    }

    fn following<'a>(&self, cache: &'a GroupCache, group: u64) -> Option<&'a Group> {
        match self.order {
            GroupOrder::Ascending => cache.group_from(group.checked_add(1)?),
            GroupOrder::Descending => cache.group_until(group.checked_sub(1)?),
        }
    }

    /// The object id right before the range's first one in this group.
    fn before_first(&self, group: u64) -> Option<u64> {
        if group == self.start.group { self.start.object.checked_sub(1) } else { None }
    }

    /// `Err`: whether an object exists there is not known.
    fn put_next_of(&mut self, group: &Group, mut after: Option<u64>) -> Result<bool, ()> {
        while let Some((subgroup, object)) = group.next_object(after) {
            if group.is_lossy() && after.map_or(0, |after| after.saturating_add(1)) < object.id {
                return Err(());
            }
            if group.id == self.end.group && self.end.last_object.is_some_and(|last| object.id > last) {
                return Ok(false);
            }
            after = Some(object.id);
            // MoQT-18 §11.2.1.1: a fetch has no status; gaps say what does not exist.
            if object.status != ObjectStatus::Normal {
                continue;
            }
            let location = Location::new(group.id, object.id);
            let (priority, properties) = (subgroup.info.priority, object.properties());
            let head = FetchObjectHead { location, subgroup: Some(subgroup.info.id), priority, properties };
            self.put(&head, object.payload());
            return Ok(true);
        }
        let whole = self.end.last_object.is_none() || group.id != self.end.group;
        if group.is_lossy() && !whole && after < self.end.last_object { Err(()) } else { Ok(false) }
    }

    /// The range begins before what the cache knows: says so instead of passing it off as not existing.
    fn skip_unknown_start(&mut self, cache: &GroupCache) {
        let known = cache.complete_from();
        if self.order != GroupOrder::Ascending || known <= self.start {
            return;
        }
        let last = match known.object.checked_sub(1) {
            Some(object) => Location::new(known.group, object),
            None => Location::new(known.group.saturating_sub(1), u64::MAX),
        };
        if last >= self.start {
            self.put_missing(MissingRange::Unknown, last);
        }
        self.position = Some(last);
    }

    fn put(&mut self, head: &FetchObjectHead, payload: Bytes) {
        self.begin_item();
        if self.writer.object_head(head, payload.len(), &mut self.head).is_ok() {
            self.position = Some(head.location);
            self.under_way = Some(payload.len());
            self.rest = payload;
        }
    }

    fn put_missing(&mut self, range: MissingRange, last: Location) {
        self.begin_item();
        if self.writer.end_of_range(range, last, &mut self.head).is_ok() {
            self.position = Some(last);
        }
    }

    fn begin_item(&mut self) {
        if self.head_sent == self.head.len() {
            self.head.clear();
            self.head_sent = 0;
        }
    }

    fn write(&mut self, counters: &mut Counters, io: &mut dyn Transmit) -> Step {
        let Some(stream) = self.stream else { return Step::Idle };
        let before = (self.head_sent, self.rest.len());
        let head = self.head.get(self.head_sent..).unwrap_or_default();
        if !head.is_empty() {
            match io.write(stream, head, false) {
                Ok(taken) => {
                    self.head_sent = self.head_sent.saturating_add(taken).min(self.head.len());
                    self.written += taken as u64;
                }
                Err(_) => return self.stopped(io),
            }
            if self.head_sent < self.head.len() {
                return Step::Blocked;
            }
        }
        if !self.rest.is_empty() || self.ended {
            match io.write_shared(stream, &self.rest, self.ended) {
                Ok(taken) => {
                    self.rest.advance(taken.min(self.rest.len()));
                    self.written += taken as u64;
                }
                Err(_) => return self.stopped(io),
            }
            if !self.rest.is_empty() {
                return Step::Blocked;
            }
            self.rest = Bytes::new();
            if self.ended {
                self.done = true;
                return Step::Done;
            }
        }
        if let Some(payload_len) = self.under_way.take() {
            counters.count_out(payload_len);
        }
        if before == (self.head_sent, self.rest.len()) { Step::Idle } else { Step::Sent }
    }

    fn stopped(&mut self, io: &mut dyn Transmit) -> Step {
        self.reset(StreamResetCode::Cancelled, io);
        Step::Done
    }
}

/// Whether a range that ends there has something at or behind `known`.
pub(crate) fn reaches(end: EndLocation, known: Location) -> bool {
    end.group > known.group || (end.group == known.group && end.last_object.is_none_or(|last| last >= known.object))
}
