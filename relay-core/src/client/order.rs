//! Puts what arrives on many streams of one subscription in the order of the track.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::relay::StreamId;
use crate::wire::{Location, PublishDone};

use super::ObjectReceived;

/// A joining FETCH that brings nothing for this long is given up; also when groups wait less, or not at all.
const FETCH_WAIT_MIN: Duration = Duration::from_secs(1);
/// No track that counts its groups gets as far as this. Ids that are unix milliseconds, which this service has, are beyond
/// it since 2004.
const COUNTED_MAX: u64 = 1 << 40;

/// What may be handed to the user, in order.
#[derive(Debug)]
pub(super) enum Released {
    Object(ObjectReceived),
    GroupEnd {
        group: u64,
        complete: bool,
    },
    /// A stream of a group that was given up.
    Stop(StreamId),
    /// Everything before was the rest of the subscription.
    Done {
        done: PublishDone,
        streams_seen: u64,
    },
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// FIN; whether its subgroup has the group's last object.
    Fin {
        ends_group: bool,
    },
    Reset,
}

#[derive(Debug, Default)]
struct Group {
    pending: VecDeque<ObjectReceived>,
    open: Vec<StreamId>,
    /// A stream of the group was seen.
    streamed: bool,
    reset: bool,
    /// Its last object was seen.
    ended: bool,
    /// Objects of it were released, or may be.
    begun: bool,
}

/// What holds objects back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Ids count groups, and some are missing between the last one that is over and the first one that is here: their
    /// streams may be overtaken.
    Gap,
    /// The first group does not end while a later one is here.
    Group,
    /// The joining FETCH brings nothing while objects of the subscription are here.
    Fetch,
}

/// The order of one subscription.
#[derive(Debug)]
pub(super) struct Order {
    wait: Duration,
    gap_wait: Duration,
    pending_len_max: usize,
    pending_len: usize,
    /// The joining FETCH is not over.
    fetching: bool,
    groups: BTreeMap<u64, Group>,
    /// Groups below this one are over, or were given up before they came.
    floor: u64,
    /// The group of the largest object when the subscription began: it may go on.
    joined: Option<u64>,
    /// The last group that is over.
    last: Option<u64>,
    /// The newest group that began had the id after the one before it. Only then does a jump say that a group is missing.
    counted: Option<bool>,
    /// What holds objects back, and until when.
    blocked: Option<(Block, Instant)>,
    streams_seen: u64,
    streams_open: u64,
    done: Option<(PublishDone, Instant)>,
}

impl Order {
    pub(super) fn new(wait: Duration, gap_wait: Duration, pending_len_max: usize) -> Self {
        Self {
            wait,
            gap_wait,
            pending_len_max,
            pending_len: 0,
            fetching: false,
            groups: BTreeMap::new(),
            floor: 0,
            joined: None,
            last: None,
            counted: None,
            blocked: None,
            streams_seen: 0,
            streams_open: 0,
            done: None,
        }
    }

    /// The subscription starts at or behind this place.
    pub(super) fn on_accepted(&mut self, largest: Option<Location>) {
        // The first stream that arrives need not be of the first group.
        self.joined = largest.map(|largest| largest.group);
    }

    pub(super) fn wait_for_fetch(&mut self) {
        self.fetching = true;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let blocked = self.blocked.map(|(_, until)| until);
        let done = self.done.as_ref().map(|(_, until)| *until);
        [blocked, done].into_iter().flatten().min()
    }

    /// A subgroup stream of the group begins. `false`: nobody wants it any more.
    pub(super) fn on_open(&mut self, group: u64, stream: StreamId, out: &mut Vec<Released>) -> bool {
        self.streams_seen += 1;
        if group < self.floor {
            if self.last.is_none_or(|last| group > last) {
                // It was overtaken for so long that its turn is over: nobody has heard of it yet.
                out.push(Released::GroupEnd { group, complete: false });
            }
            out.push(Released::Stop(stream));
            return false;
        }
        self.streams_open += 1;
        let group = self.groups.entry(group).or_default();
        group.open.push(stream);
        group.streamed = true;
        true
    }

    pub(super) fn on_object(&mut self, now: Instant, object: ObjectReceived, out: &mut Vec<Released>) {
        if object.group < self.floor {
            return;
        }
        self.pending_len += object.payload.len();
        self.groups.entry(object.group).or_default().pending.push_back(object);
        self.drain(now, out);
        while self.pending_len > self.pending_len_max && !self.fetching && self.groups.len() > 1 {
            self.give_up_first(out);
            self.drain(now, out);
        }
    }

    pub(super) fn on_close(
        &mut self,
        now: Instant,
        group: u64,
        stream: StreamId,
        end: StreamEnd,
        out: &mut Vec<Released>,
    ) {
        self.streams_open = self.streams_open.saturating_sub(1);
        if let Some(group) = self.groups.get_mut(&group) {
            group.open.retain(|open| *open != stream);
            match end {
                StreamEnd::Fin { ends_group } => group.ended |= ends_group,
                StreamEnd::Reset => group.reset = true,
            }
        }
        self.drain(now, out);
        self.check_done(now, out);
    }

    /// An object of the joining FETCH: these come in order, and before everything else.
    pub(super) fn on_fetched(&mut self, now: Instant, object: ObjectReceived, out: &mut Vec<Released>) {
        let group = object.group;
        if !self.fetching || group < self.floor {
            // It was given up.
            return;
        }
        if let Some((Block::Fetch, until)) = &mut self.blocked {
            *until = now.checked_add(self.wait.max(FETCH_WAIT_MIN)).unwrap_or(now);
        }
        self.end_before(group, out);
        self.begin(group);
        out.push(Released::Object(object));
    }

    /// The joining FETCH is over; unless `complete`, its last group misses something.
    pub(super) fn on_fetch_over(&mut self, now: Instant, complete: bool, out: &mut Vec<Released>) {
        if !std::mem::replace(&mut self.fetching, false) {
            return;
        }
        self.blocked = None;
        if let (false, Some(mut group)) = (complete, self.groups.first_entry()) {
            group.get_mut().reset = true;
        }
        self.drain(now, out);
        self.check_done(now, out);
    }

    /// PUBLISH_DONE: streams that were counted may still arrive.
    pub(super) fn on_done(&mut self, now: Instant, done: PublishDone, out: &mut Vec<Released>) {
        // MoQT-18 §10.11: a stream that was reset before its header is never seen, so the count needs a time limit too.
        let until = now.checked_add(self.wait.max(Duration::from_millis(100))).unwrap_or(now);
        self.done = Some((done, until));
        self.check_done(now, out);
    }

    pub(super) fn on_timeout(&mut self, now: Instant, out: &mut Vec<Released>) {
        match self.blocked {
            Some((Block::Gap, until)) if until <= now => {
                self.blocked = None;
                if let Some((&first, _)) = self.groups.first_key_value() {
                    self.begin(first);
                }
                self.drain(now, out);
            }
            Some((Block::Group, until)) if until <= now => {
                self.give_up_first(out);
                self.drain(now, out);
            }
            Some((Block::Fetch, until)) if until <= now => self.on_fetch_over(now, false, out),
            _ => {}
        }
        self.check_done(now, out);
    }

    fn check_done(&mut self, now: Instant, out: &mut Vec<Released>) {
        let Some((done, until)) = &self.done else { return };
        let seen = done.stream_count.is_some_and(|count| self.streams_seen >= count) && self.streams_open == 0;
        if (!seen || self.fetching) && now < *until {
            return;
        }
        self.fetching = false;
        while !self.groups.is_empty() {
            self.finish_first(out);
        }
        if let Some((done, _)) = self.done.take() {
            self.blocked = None;
            out.push(Released::Done { done, streams_seen: self.streams_seen });
        }
    }

    /// Hands out everything that need not wait.
    fn drain(&mut self, now: Instant, out: &mut Vec<Released>) {
        if self.fetching {
            if self.groups.values().any(|group| !group.pending.is_empty()) {
                self.block(Block::Fetch, now);
            }
            return;
        }
        if self.wait.is_zero() {
            self.drain_unordered(out);
            return;
        }
        while let Some((&id, group)) = self.groups.first_key_value() {
            if !group.begun && self.skips_groups(id) && !self.gap_wait.is_zero() {
                self.block(Block::Gap, now);
                return;
            }
            self.begin(id);
            let Some(group) = self.groups.get_mut(&id) else { return };
            for object in group.pending.drain(..) {
                self.pending_len = self.pending_len.saturating_sub(object.payload.len());
                out.push(Released::Object(object));
            }
            let closed = group.open.is_empty();
            let (ended, streamed) = (group.ended && !group.reset, group.streamed);
            let newer = self.groups.len() > 1;
            // A group of which no stream was seen may still get one: the start of the next one can overtake it.
            if !closed || !(ended || (newer && streamed)) {
                if newer {
                    self.block(Block::Group, now);
                } else {
                    self.blocked = None;
                }
                return;
            }
            self.finish_first(out);
        }
        self.blocked = None;
    }

    /// Whether groups before `id` are known to be missing.
    fn skips_groups(&self, id: u64) -> bool {
        let next = self.last.map(|last| last.saturating_add(1)).or(self.joined);
        self.counted.unwrap_or(id < COUNTED_MAX) && next.is_some_and(|next| id > next)
    }

    /// Objects of the group are released from now on.
    fn begin(&mut self, id: u64) {
        self.floor = self.floor.max(id);
        if !std::mem::replace(&mut self.groups.entry(id).or_default().begun, true)
            && let Some(last) = self.last
        {
            self.counted = Some(last.checked_add(1) == Some(id));
        }
    }

    fn block(&mut self, block: Block, now: Instant) {
        if self.blocked.is_none_or(|(known, _)| known != block) {
            let wait = match block {
                Block::Gap => self.gap_wait,
                Block::Group => self.wait,
                Block::Fetch => self.wait.max(FETCH_WAIT_MIN),
            };
            self.blocked = Some((block, now.checked_add(wait).unwrap_or(now)));
        }
    }

    fn drain_unordered(&mut self, out: &mut Vec<Released>) {
        let newest = self.groups.last_key_value().map(|(id, _)| *id);
        for group in self.groups.values_mut() {
            out.extend(group.pending.drain(..).map(Released::Object));
        }
        self.pending_len = 0;
        self.groups.retain(|&id, group| {
            let over = group.open.is_empty() && (group.ended || group.reset || Some(id) != newest);
            if over {
                out.push(Released::GroupEnd { group: id, complete: !group.reset });
            }
            !over
        });
    }

    /// Everything before `group` is over.
    fn end_before(&mut self, group: u64, out: &mut Vec<Released>) {
        while self.groups.first_key_value().is_some_and(|(first, _)| *first < group) {
            self.finish_first(out);
        }
    }

    fn finish_first(&mut self, out: &mut Vec<Released>) {
        self.blocked = None;
        let Some((id, group)) = self.groups.pop_first() else { return };
        for object in group.pending {
            self.pending_len = self.pending_len.saturating_sub(object.payload.len());
            out.push(Released::Object(object));
        }
        self.floor = id.saturating_add(1);
        self.last = Some(id);
        let complete = !group.reset && group.open.is_empty();
        out.extend(group.open.into_iter().map(Released::Stop));
        out.push(Released::GroupEnd { group: id, complete });
    }

    fn give_up_first(&mut self, out: &mut Vec<Released>) {
        self.streams_open = self
            .streams_open
            .saturating_sub(self.groups.first_entry().map_or(0, |first| first.get().open.len() as u64));
        self.finish_first(out);
    }
}
