//! A cursor into one subgroup, and the stream on which a viewer gets it.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use crate::relay::Counters;
use crate::relay::cache::{Group, GroupCache, StoredObject, Subgroup, SubgroupEnd};
use crate::transmit::{StreamId, Transmit};
use crate::wire::{
    Draft, Location, ObjectStatus, StreamResetCode, SubgroupHeader, SubgroupId, encode_object_head, vi64,
};

/// Header of a subgroup stream (type, alias, group, subgroup, priority), the first object's id, and the properties' length, the
/// payload's and the status of an object that only marks an end: at most 50 bytes.
const HEAD_LEN_MAX: usize = 5 * vi64::LEN_MAX + 5;

/// How long a stream whose upstream was reset waits before it is reset as well: a reset throws away what the transport has not
/// sent yet or has to send again, and another upstream stream may go on with the subgroup.
const RESET_GRACE: Duration = Duration::from_millis(200);

/// What one attempt to send left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was handed over.
    Sent,
    /// Nothing is ready.
    Idle,
    /// The transport takes no more of this stream for now.
    Blocked,
    /// The stream is over.
    Done,
    /// The next object waited longer than the delivery timeout allows.
    Late,
    /// The cache no longer has the next object.
    Behind,
}

/// Bytes in front of an object, kept inside the cursor so that nothing is allocated for a viewer.
#[derive(Debug)]
struct Head {
    bytes: [u8; HEAD_LEN_MAX],
    start: usize,
    end: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self { bytes: [0; HEAD_LEN_MAX], start: 0, end: 0 }
    }
}

impl Head {
    fn fill(&mut self, write: impl FnOnce(&mut &mut [u8])) {
        let mut rest = self.bytes.as_mut_slice();
        write(&mut rest);
        let left = rest.len();
        self.start = 0;
        self.end = HEAD_LEN_MAX.saturating_sub(left);
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    fn advance(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
    }
}

/// A cursor into one subgroup, and the stream its objects go to.
#[derive(Debug)]
pub(crate) struct OutStream {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
    pub(crate) priority: u8,
    pub(crate) stream: Option<StreamId>,
    /// Index of the next object in the subgroup.
    next: usize,
    /// Smaller object ids lie before the subscription's start.
    first_id: u64,
    /// Id of the last object that was begun on the stream.
    last: Option<u64>,
    /// The stream's header says that objects have properties.
    properties: bool,
    head: Head,
    rest: Bytes,
    /// When the object in `rest` came.
    rest_at: Option<Instant>,
    /// Payload length of that object.
    payload_len: usize,
    /// Bytes handed over so far.
    pub(crate) written: u64,
    /// The upstream was reset: when this stream is, unless the subgroup goes on.
    pub(crate) reset_due: Option<Instant>,
    /// The viewer lost its place in a group that has no successor: it goes on with the first object that comes from then on.
    resume_at: Option<Instant>,
    pub(crate) done: bool,
}

/// What a cursor needs to know of its subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendContext {
    pub(crate) now: Instant,
    pub(crate) draft: Draft,
    pub(crate) alias: u64,
    pub(crate) urgency: u8,
    pub(crate) timeout: Option<Duration>,
}

impl OutStream {
    pub(crate) fn new(group: u64, subgroup: &Subgroup, next: usize, start: Location) -> Self {
        Self {
            group,
            subgroup: subgroup.info.id,
            priority: subgroup.info.priority,
            stream: None,
            next,
            first_id: if group == start.group { start.object } else { 0 },
            last: None,
            properties: false,
            head: Head::default(),
            rest: Bytes::new(),
            rest_at: None,
            payload_len: 0,
            written: 0,
            reset_due: None,
            resume_at: None,
            done: false,
        }
    }

    /// Whether [`OutStream::send`] has something to do.
    pub(crate) fn is_ready(&self, cache: &GroupCache) -> bool {
        if self.done {
            return false;
        }
        if !self.rest.is_empty() || !self.head.rest().is_empty() {
            return true;
        }
        let Some((group, subgroup)) = self.source(cache) else { return true };
        if let Some(from) = self.resume_at {
            return subgroup.end != SubgroupEnd::Open || subgroup.objects().last().is_some_and(|last| last.at >= from);
        }
        self.next != subgroup.index_end()
            || match group.end_of(subgroup) {
                SubgroupEnd::Open => false,
                SubgroupEnd::Finished => true,
                // Once reset, the cursor waits: another upstream stream may go on with the subgroup.
                SubgroupEnd::Reset(_) => self.stream.is_some(),
            }
    }

    /// Nothing is open and nothing is on its way.
    pub(crate) fn is_settled(&self, cache: &GroupCache) -> bool {
        self.done || (self.stream.is_none() && !self.is_ready(cache))
    }

    fn source<'a>(&self, cache: &'a GroupCache) -> Option<(&'a Group, &'a Subgroup)> {
        let group = cache.group(self.group)?;
        Some((group, group.subgroup(self.subgroup)?))
    }

    /// Hands at most one object over.
    pub(crate) fn send(
        &mut self,
        context: &SendContext,
        cache: &GroupCache,
        opened: &mut u64,
        counters: &mut Counters,
        io: &mut dyn Transmit,
    ) -> Step {
        if self.done || (self.resume_at.is_some() && !self.resume(cache)) {
            return if self.done { Step::Done } else { Step::Idle };
        }
        let source = self.source(cache);
        if self.rest.is_empty() && self.head.rest().is_empty() {
            let Some((group, subgroup)) = source else { return Step::Behind };
            let object = loop {
                match subgroup.object(self.next) {
                    Err(_) => return Step::Behind,
                    Ok(Some(object)) if object.id < self.first_id => self.next += 1,
                    Ok(Some(object)) => break object,
                    Ok(None) => {
                        let end = group.end_of(subgroup);
                        return match self.begin_end(context, subgroup, end, opened, io) {
                            Step::Sent => self.write(true, counters, io),
                            Step::Blocked => Step::Blocked,
                            _ => self.end(context.now, end, io),
                        };
                    }
                }
            };
            if is_late(context, object.at) {
                return Step::Late;
            }
            match self.begin(context, subgroup, object, opened, io) {
                Step::Sent => {}
                other => return other,
            }
        } else if self.rest_at.is_some_and(|at| is_late(context, at)) {
            return Step::Late;
        }
        // The end goes with the last object when it is known by now.
        let fin = source.is_some_and(|(group, subgroup)| {
            group.end_of(subgroup) == SubgroupEnd::Finished && self.next == subgroup.index_end()
        });
        self.write(fin, counters, io)
    }

    /// Puts the next object's bytes into `head` and `rest`, on a new stream when the open one cannot carry it.
    fn begin(
        &mut self,
        context: &SendContext,
        subgroup: &Subgroup,
        object: &StoredObject,
        opened: &mut u64,
        io: &mut dyn Transmit,
    ) -> Step {
        let continues = self.last.is_some() && object.follows && object.properties == self.properties;
        if let (Some(stream), false) = (self.stream, continues || self.last.is_none()) {
            // MoQT-18 §11.4.3: "If the relay does not know if an Object is the next Object, it MUST reset the Subgroup
            // stream and open a new one to forward it."
            io.reset(stream, StreamResetCode::Cancelled.to_u64());
            self.stream = None;
            self.last = None;
        }
        if self.stream.is_none() {
            let Some(stream) = io.open_uni() else { return Step::Blocked };
            io.set_urgency(stream, context.urgency);
            self.stream = Some(stream);
            *opened += 1;
            self.properties = object.properties;
            let header = self.header(context.alias, subgroup, object.id);
            self.head.fill(|head| {
                header.encode(context.draft, head);
                vi64::encode(object.id, head);
            });
            self.rest = object.tail();
        } else {
            self.rest = object.framed.clone();
        }
        self.reset_due = None;
        self.rest_at = Some(object.at);
        self.payload_len = object.payload_len;
        self.last = Some(object.id);
        self.next += 1;
        Step::Sent
    }

    /// A viewer that joined behind a group's last object is told that it was the last, or it would wait for more: puts an object
    /// that says so into `head`, on a stream of its own. [`Step::Idle`] when there is nothing to tell.
    fn begin_end(
        &mut self,
        context: &SendContext,
        subgroup: &Subgroup,
        end: SubgroupEnd,
        opened: &mut u64,
        io: &mut dyn Transmit,
    ) -> Step {
        let untold = subgroup.info.ends_group && self.stream.is_none() && self.written == 0;
        let last = subgroup.objects().last().filter(|last| last.status == ObjectStatus::Normal);
        let id = last.and_then(|last| last.id.checked_add(1)).filter(|_| untold && end == SubgroupEnd::Finished);
        let Some(id) = id else { return Step::Idle };
        let Some(stream) = io.open_uni() else { return Step::Blocked };
        io.set_urgency(stream, context.urgency);
        self.stream = Some(stream);
        *opened += 1;
        let header = self.header(context.alias, subgroup, id);
        let properties = header.properties.then_some(&[] as &[u8]);
        self.head.fill(|head| {
            header.encode(context.draft, head);
            encode_object_head(context.draft, id, properties, 0, ObjectStatus::EndOfGroup, head);
        });
        self.last = Some(id);
        Step::Sent
    }

    fn header(&self, track_alias: u64, subgroup: &Subgroup, first_id: u64) -> SubgroupHeader {
        let begins = subgroup.objects().next().is_some_and(|first| first.id == first_id);
        SubgroupHeader {
            track_alias,
            group: self.group,
            subgroup: if self.subgroup == 0 { SubgroupId::Zero } else { SubgroupId::Explicit(self.subgroup) },
            priority: Some(subgroup.info.priority),
            properties: self.properties,
            end_of_group: subgroup.info.ends_group,
            first_object: begins && subgroup.info.first_object,
        }
    }

    fn write(&mut self, fin: bool, counters: &mut Counters, io: &mut dyn Transmit) -> Step {
        let Some(stream) = self.stream else { return Step::Idle };
        if !self.head.rest().is_empty() {
            match io.write(stream, self.head.rest(), false) {
                Ok(taken) => {
                    self.head.advance(taken);
                    self.written += taken as u64;
                }
                Err(_) => return self.abandon(io),
            }
            if !self.head.rest().is_empty() {
                return Step::Blocked;
            }
        }
        match io.write_shared(stream, &self.rest, fin) {
            Ok(taken) => {
                self.rest.advance(taken.min(self.rest.len()));
                self.written += taken as u64;
            }
            Err(_) => return self.abandon(io),
        }
        if !self.rest.is_empty() {
            return Step::Blocked;
        }
        // The mark of an end is no object of the track.
        if self.rest_at.take().is_some() {
            counters.count_out(self.payload_len);
        }
        // Lets go of the object's bytes.
        self.rest = Bytes::new();
        if fin {
            self.done = true;
            return Step::Done;
        }
        Step::Sent
    }

    /// All objects so far are handed over: ends the stream when the subgroup has ended.
    fn end(&mut self, now: Instant, end: SubgroupEnd, io: &mut dyn Transmit) -> Step {
        match (end, self.stream) {
            (SubgroupEnd::Open, _) | (SubgroupEnd::Reset(_), None) => Step::Idle,
            (SubgroupEnd::Finished, None) => {
                self.done = true;
                Step::Done
            }
            (SubgroupEnd::Finished, Some(stream)) => match io.write(stream, &[], true) {
                Ok(_) => {
                    self.done = true;
                    Step::Done
                }
                Err(_) => self.abandon(io),
            },
            (SubgroupEnd::Reset(code), Some(stream)) => {
                let due = now.checked_add(RESET_GRACE).unwrap_or(now);
                if now < *self.reset_due.get_or_insert(due) {
                    return Step::Idle;
                }
                io.reset(stream, code);
                self.reset_due = None;
                self.stream = None;
                self.last = None;
                Step::Idle
            }
        }
    }

    /// The peer stopped the stream: nothing more of this subgroup goes out (MoQT-18 §11.4.3).
    fn abandon(&mut self, io: &mut dyn Transmit) -> Step {
        self.reset(StreamResetCode::Cancelled.to_u64(), io);
        Step::Done
    }

    /// The viewer lost its place, and no newer group is there to go on with: the stream is reset, and what comes from `at` on goes
    /// to a new one. (MoQT-18 §8 would rather have no other stream of the subgroup; but then a viewer of a group that never
    /// ends would see nothing any more.)
    pub(crate) fn lose_place(&mut self, at: Instant, code: u64, io: &mut dyn Transmit) {
        self.reset(code, io);
        (self.done, self.stream, self.last, self.resume_at) = (false, None, None, Some(at));
        self.head = Head::default();
        self.reset_due = None;
    }

    /// Finds the place to go on from; `false` when nothing has come, or will.
    fn resume(&mut self, cache: &GroupCache) -> bool {
        let newer = cache.newest_group().is_some_and(|newest| newest > self.group);
        let Some((from, subgroup)) = self.resume_at.zip(self.source(cache).map(|(_, subgroup)| subgroup)) else {
            self.done = true;
            return false;
        };
        if newer || subgroup.end != SubgroupEnd::Open {
            self.done = true;
            return false;
        }
        let next = subgroup.first_index(|object| object.at >= from);
        let found = next != subgroup.index_end();
        if found {
            (self.next, self.resume_at) = (next, None);
        }
        found
    }

    pub(crate) fn reset(&mut self, code: u64, io: &mut dyn Transmit) {
        if let (Some(stream), false) = (self.stream, self.done) {
            io.reset(stream, code);
        }
        self.done = true;
        self.rest = Bytes::new();
    }
}

fn is_late(context: &SendContext, at: Instant) -> bool {
    context.timeout.is_some_and(|timeout| context.now.saturating_duration_since(at) > timeout)
}
