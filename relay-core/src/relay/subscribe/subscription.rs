//! One viewer's subscription: a range of a track and a cursor for every subgroup that is on its way.

use std::time::Duration;

use crate::relay::PublishDone;
use crate::relay::cache::{GroupCache, StoredObject, Subgroup, SubgroupEnd};
use crate::relay::keys::{RequestKey, TrackKey};
use crate::transmit::{StreamId, Transmit};
use crate::wire::{GroupOrder, Location, Parameters, SUBSCRIBER_PRIORITY_DEFAULT, StreamResetCode, SubscriptionFilter};

use super::out_stream::OutStream;

/// A viewer's subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) track: TrackKey,
    pub(crate) alias: u64,
    pub(crate) request: RequestKey,
    pub(crate) priority: u8,
    pub(crate) order: GroupOrder,
    pub(crate) forward: bool,
    pub(crate) start: Location,
    pub(crate) end_group: Option<u64>,
    /// Only objects that arrived from this number on pass (MoQT-18 §10.7: newly published or received ones).
    pub(crate) from_arrival: u64,
    /// The largest location that was told when forwarding began (MoQT-18 §5.1).
    pub(crate) joining: Option<Location>,
    /// The peer's OBJECT_DELIVERY_TIMEOUT.
    pub(crate) timeout: Option<Duration>,
    pub(crate) streams: Vec<OutStream>,
    /// Subgroups of the track up to this serial have a cursor, or need none.
    scanned: u64,
    /// Data streams opened so far, for PUBLISH_DONE.
    pub(crate) opened: u64,
    /// The track is over: PUBLISH_DONE follows when all streams are closed.
    pub(crate) ending: Option<PublishDone>,
    /// Streams to reset at the next pump.
    pub(crate) resets: Vec<(StreamId, u64)>,
    /// Groups that count as dropped while the cache or a cursor still has something of them.
    dropped: Vec<u64>,
    /// Something may be ready to be sent.
    pub(crate) ready: bool,
    /// Its share so far among requests of equal priority (see `pump`).
    pub(crate) served: u64,
}

/// How a subscription starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubscriptionStart {
    pub(crate) priority: u8,
    pub(crate) order: GroupOrder,
    pub(crate) forward: bool,
    pub(crate) start: Location,
    pub(crate) end_group: Option<u64>,
    pub(crate) timeout: Option<Duration>,
}

impl SubscriptionStart {
    /// Where a subscription with these parameters starts; `None` when its range is over already.
    pub(crate) fn of(parameters: &Parameters, cache: &GroupCache) -> Option<Self> {
        let largest = cache.largest();
        let (start, end_group) = match parameters.filter {
            // MoQT-18 §5.1.2: no filter passes everything that is received from now on.
            None => (Location::default(), None),
            Some(SubscriptionFilter::LargestObject) => (largest.map(Location::next).unwrap_or_default(), None),
            Some(SubscriptionFilter::NextGroupStart) => {
                let next = largest.map(|largest| Location::new(largest.group.saturating_add(1), 0));
                (next.unwrap_or_default(), None)
            }
            Some(SubscriptionFilter::AbsoluteStart(start)) => (start, None),
            Some(SubscriptionFilter::AbsoluteRange { start, end_group }) => {
                if largest.is_some_and(|largest| largest.group > end_group) {
                    return None;
                }
                (start, Some(end_group))
            }
        };
        let timeout = parameters.object_delivery_timeout_ms.filter(|&ms| ms > 0).map(Duration::from_millis);
        Some(Self {
            priority: parameters.subscriber_priority.unwrap_or(SUBSCRIBER_PRIORITY_DEFAULT),
            order: parameters.group_order.unwrap_or_default(),
            forward: parameters.forward.unwrap_or(true),
            start,
            end_group,
            timeout,
        })
    }
}

impl Subscription {
    pub(crate) fn new(
        track: TrackKey,
        alias: u64,
        request: RequestKey,
        start: SubscriptionStart,
        cache: &GroupCache,
    ) -> Self {
        Self {
            track,
            alias,
            request,
            priority: start.priority,
            order: start.order,
            forward: start.forward,
            start: start.start,
            end_group: start.end_group,
            from_arrival: cache.arrivals(),
            joining: if start.forward { cache.largest() } else { None },
            timeout: start.timeout,
            streams: Vec::new(),
            scanned: 0,
            opened: 0,
            ending: None,
            resets: Vec::new(),
            dropped: Vec::new(),
            ready: true,
            served: 0,
        }
    }

    fn passes(&self, group: u64, object: &StoredObject) -> bool {
        object.arrival >= self.from_arrival && Location::new(group, object.id) >= self.start
    }

    /// Whether an object there, which has just come, is in its range.
    pub(crate) fn wants(&self, location: Location) -> bool {
        self.forward && location >= self.start && self.end_group.is_none_or(|end| location.group <= end)
    }

    /// Adds a cursor for every subgroup that was opened since the last call.
    pub(crate) fn discover(&mut self, cache: &GroupCache) {
        if !self.forward || self.scanned == cache.subgroup_serial() {
            return;
        }
        let streams = &self.streams;
        self.dropped.retain(|group| cache.group(*group).is_some() || streams.iter().any(|s| s.group == *group));
        let (scanned, first, last) = (self.scanned, self.start.group, self.end_group.unwrap_or(u64::MAX));
        self.scanned = cache.subgroup_serial();
        for group in cache.groups().rev() {
            if group.id < first {
                break;
            }
            if group.id > last {
                continue;
            }
            for subgroup in group.subgroups.iter().rev().take_while(|subgroup| subgroup.serial >= scanned) {
                self.follow(group.id, subgroup);
            }
        }
        self.streams.sort_unstable_by_key(|stream| (stream.group, stream.subgroup));
    }

    fn follow(&mut self, group: u64, subgroup: &Subgroup) {
        let next = subgroup.first_index(|object| self.passes(group, object));
        // Of the group that it joins, a viewer hears the end though all of the group lies behind it.
        let joins = subgroup.info.ends_group && self.joining.is_some_and(|joining| joining.group == group);
        let over = subgroup.end != SubgroupEnd::Open && next == subgroup.index_end() && !joins;
        let followed = self.streams.iter().any(|stream| stream.group == group && stream.subgroup == subgroup.info.id);
        if !over && !followed {
            self.streams.push(OutStream::new(group, subgroup, next, self.start));
        }
    }

    /// Moves the range of a running subscription.
    pub(crate) fn narrow(&mut self, start: Location, end_group: Option<u64>) {
        let last = end_group.unwrap_or(u64::MAX);
        for stream in &mut self.streams {
            // MoQT-18 §11.4.3: streams that the new range leaves out are reset.
            if (stream.group < start.group || stream.group > last) && !stream.done {
                stream.done = true;
                self.resets.extend(stream.stream.map(|stream| (stream, StreamResetCode::Cancelled.to_u64())));
            }
        }
        self.streams.retain(|stream| !stream.done);
        self.start = start;
        self.end_group = end_group;
    }

    /// Starts to forward, from the next object on.
    pub(crate) fn resume(&mut self, cache: &GroupCache) {
        self.forward = true;
        self.from_arrival = cache.arrivals();
        self.joining = cache.largest();
        self.scanned = 0;
        self.ready = true;
    }

    /// Gives up everything before the newest group: the viewer is too slow for the rest. Gives the groups that count as
    /// dropped by it.
    pub(crate) fn jump(&mut self, newest: u64, cache: &GroupCache, io: &mut dyn Transmit) -> u64 {
        let mut dropped = 0;
        for stream in self.streams.iter_mut().filter(|stream| stream.group < newest && !stream.done) {
            if stream.stream.is_some() || stream.is_ready(cache) {
                dropped += count_once(&mut self.dropped, stream.group);
            }
            stream.reset(StreamResetCode::TooFarBehind.to_u64(), io);
        }
        self.start = self.start.max(Location::new(newest, 0));
        dropped
    }

    /// Gives up a group that the viewer was too slow for; 1 when it was not counted yet.
    pub(crate) fn drop_group(&mut self, group: u64) -> u64 {
        count_once(&mut self.dropped, group)
    }

    /// Stops all streams: they are reset by the next pump.
    pub(crate) fn cut(&mut self, code: StreamResetCode) {
        let open = self.streams.drain(..).filter(|stream| !stream.done).filter_map(|stream| stream.stream);
        self.resets.extend(open.map(|stream| (stream, code.to_u64())));
    }

    /// Forgets streams that are over.
    pub(crate) fn sweep(&mut self) {
        self.streams.retain(|stream| !stream.done);
    }

    /// No stream is open and nothing is on its way.
    pub(crate) fn is_settled(&self, cache: &GroupCache) -> bool {
        self.resets.is_empty() && self.streams.iter().all(|stream| stream.is_settled(cache))
    }

    /// The whole range was sent: the track has gone past its last group.
    pub(crate) fn is_past_end(&self, cache: &GroupCache) -> bool {
        match (self.end_group, cache.largest()) {
            (Some(end), Some(largest)) => largest.group > end,
            _ => false,
        }
    }
}

/// A group's subgroups are given up one by one, and count as one.
fn count_once(dropped: &mut Vec<u64>, group: u64) -> u64 {
    if dropped.contains(&group) {
        return 0;
    }
    dropped.push(group);
    1
}
