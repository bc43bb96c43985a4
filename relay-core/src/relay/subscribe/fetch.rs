//! FETCH: joining and standalone, from the cache or from the publisher.

use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::relay::Relay;
use crate::relay::keys::{FetchKey, RequestKey, SessionKey, TrackKey};
use crate::relay::refusal::{Fatal, Refusal};
use crate::relay::session::request::RequestKind;
use crate::relay::track::Track;
use crate::wire::{
    ControlMessage, EndLocation, Fetch, FetchOk, FetchRange, FullTrackName, GroupOrder, Location, Parameters,
    Properties, RequestErrorCode, SUBSCRIBER_PRIORITY_DEFAULT, StreamResetCode,
};

use super::fetch_out::{FetchOut, FetchPlan, FetchSource, reaches};
use super::pull::Reader;

/// What a FETCH asks for, in absolute terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: Location,
    pub(crate) end: EndLocation,
}

/// How it wants that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) request_id: u64,
    pub(crate) priority: u8,
    pub(crate) order: GroupOrder,
    /// The range ends where a subscription begins.
    pub(crate) joins: bool,
    pub(crate) fill_timeout: Option<Duration>,
}

/// The fields of FETCH_OK.
#[derive(Debug)]
pub(crate) struct Acceptance {
    pub(crate) end_of_track: bool,
    pub(crate) end: EndLocation,
    pub(crate) properties: Properties,
}

impl Relay {
    pub(crate) fn on_fetch(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        request: RequestKey,
        message: Fetch,
    ) -> Result<(), Fatal> {
        self.authorize(now, directory, key, request, &message.parameters.auth_tokens)?;
        if let FetchRange::Standalone { track, start, end } = &message.range {
            if let Some(refusal) = self.refusal_to_read(key, request, track) {
                self.refuse(key, request, refusal.code, refusal.reason);
                return Ok(());
            }
            if end.group < start.group
                || (end.group == start.group && end.last_object.is_some_and(|o| o < start.object))
            {
                self.refuse(key, request, RequestErrorCode::InvalidRange, "the range ends before it starts");
                return Ok(());
            }
        }
        let deadline = now.checked_add(self.config.upstream_timeout);
        if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
            state.kind = RequestKind::FetchWaiting { message: Box::new(message), track: None };
            state.deadline = deadline;
        }
        self.resume_fetch(now, key, request);
        self.arm_session(now, key);
        Ok(())
    }

    /// Looks again at the fetches that wait for the SUBSCRIBE with this request id.
    pub(crate) fn resume_joining(&mut self, now: Instant, key: SessionKey, id: u64) {
        let Some(session) = self.sessions.get(key) else { return };
        let waiting = session.requests.iter().filter_map(|(request, state)| match &state.kind {
            RequestKind::FetchWaiting { message, track: None } => {
                message.range.joined().map(|joined| (request, joined))
            }
            _ => None,
        });
        let waiting: Vec<RequestKey> =
            waiting.filter(|(_, joined)| *joined == id).map(|(request, _)| request).collect();
        for request in waiting {
            self.resume_fetch(now, key, request);
        }
    }

    /// Serves a waiting FETCH if everything it needs is known by now.
    pub(crate) fn resume_fetch(&mut self, now: Instant, key: SessionKey, request: RequestKey) {
        let Some(state) = self.sessions.get(key).and_then(|session| session.requests.get(request)) else { return };
        let RequestKind::FetchWaiting { message, .. } = &state.kind else { return };
        let message = message.clone();
        let outcome = match &message.range {
            FetchRange::Standalone { track, start, end } => {
                let range = Range { start: *start, end: *end };
                self.fetch_standalone(now, key, request, track, range, &message)
            }
            FetchRange::RelativeJoining { joining_request_id, groups_back } => {
                let groups_back = *groups_back;
                let start = move |joining: Location| joining.group.saturating_sub(groups_back);
                self.fetch_joining(now, key, request, *joining_request_id, start, &message)
            }
            FetchRange::AbsoluteJoining { joining_request_id, start_group } => {
                let start_group = *start_group;
                self.fetch_joining(now, key, request, *joining_request_id, move |_| start_group, &message)
            }
        };
        if let Err(Refusal { code, reason }) = outcome {
            self.refuse(key, request, code, reason);
        }
    }

    fn fetch_standalone(
        &mut self,
        now: Instant,
        key: SessionKey,
        request: RequestKey,
        name: &FullTrackName,
        range: Range,
        message: &Fetch,
    ) -> Result<(), Refusal> {
        let (reader, manner) = (Reader::Session(key, request), Manner::of(message));
        if let Some(track) = self.tracks.by_name(name)
            && self.tracks.get(track).is_some_and(Track::is_live)
        {
            return self.fetch_from(now, reader, track, range, manner);
        }
        if let Some(publisher) = self.publisher_session(name) {
            return self.pull(now, reader, publisher, name, range, manner);
        }
        // Another shard: its objects come here by a subscription of this shard.
        let track = self.find_or_source(now, Some(key), name, false)?;
        if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request))
            && let RequestKind::FetchWaiting { track: waits, .. } = &mut state.kind
        {
            *waits = Some(track);
        }
        self.wait_for(now, track, key, request, None);
        Ok(())
    }

    fn fetch_joining(
        &mut self,
        now: Instant,
        key: SessionKey,
        request: RequestKey,
        joined: u64,
        start_group: impl Fn(Location) -> u64,
        message: &Fetch,
    ) -> Result<(), Refusal> {
        const NOT_JOINED: Refusal =
            Refusal::new(RequestErrorCode::InvalidJoiningRequestId, "no such subscription in this session");
        let Some(session) = self.sessions.get(key) else { return Ok(()) };
        let Some(&joined_key) = session.request_by_id.get(&joined) else {
            // MoQT-18 §10.12.2: it may overtake its SUBSCRIBE; an id that was used before never comes again.
            return if joined.is_multiple_of(2) && !session.seen.contains(joined) { Ok(()) } else { Err(NOT_JOINED) };
        };
        let subscription = match session.requests.get(joined_key).map(|state| &state.kind) {
            Some(RequestKind::Subscribed { subscription }) => *subscription,
            Some(RequestKind::SubscribeWaiting { .. }) => {
                // It waits for as long as the SUBSCRIBE does.
                let deadline = session.requests.get(joined_key).and_then(|state| state.deadline);
                if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
                    state.deadline = deadline;
                }
                self.arm_session(now, key);
                return Ok(());
            }
            _ => return Err(NOT_JOINED),
        };
        let subscription = session.subscriptions.get(subscription).ok_or(NOT_JOINED)?;
        if !subscription.forward {
            return Err(Refusal::new(RequestErrorCode::InvalidRange, "the joined subscription does not forward"));
        }
        let joining =
            subscription.joining.ok_or(Refusal::new(RequestErrorCode::InvalidRange, "nothing was published yet"))?;
        let start = Location::new(start_group(joining), 0);
        if start > joining {
            return Err(Refusal::new(RequestErrorCode::InvalidRange, "the range starts behind the joining location"));
        }
        let track = subscription.track;
        // The token of the FETCH must be good for the track as well.
        let name = self.tracks.get(track).map(|track| track.name.clone());
        if let Some(refusal) = name.and_then(|name| self.refusal_to_read(key, request, &name)) {
            return Err(refusal);
        }
        // MoQT-18 §10.12.2.1: the last object of the answer is the one at the joining location.
        let range = Range { start, end: EndLocation::at(joining) };
        self.fetch_from(now, Reader::Session(key, request), track, range, Manner::of(message))
    }

    /// Serves a range of a live track: from its cache when that has all of it, else from its publisher, or from the shard that
    /// has it.
    pub(crate) fn fetch_from(
        &mut self,
        now: Instant,
        reader: Reader,
        track: TrackKey,
        range: Range,
        manner: Manner,
    ) -> Result<(), Refusal> {
        let source = self.tracks.get(track).ok_or(Refusal::NO_TRACK)?;
        let largest =
            source.cache.largest().ok_or(Refusal::new(RequestErrorCode::InvalidRange, "nothing was published yet"))?;
        if range.start > largest {
            return Err(Refusal::new(RequestErrorCode::InvalidRange, "the range starts behind the largest object"));
        }
        let (name, home) = (source.name.clone(), source.home_shard());
        // MoQT-18 §10.2.5: a FILL_TIMEOUT of 0 wants only what is here.
        if manner.fill_timeout != Some(Duration::ZERO) && !covers(source, joinable(source, range, manner)) {
            if let Some(publisher) = self.publisher_session(&name) {
                return self.pull(now, reader, publisher, &name, range, manner);
            }
            if let Some(shard) = home {
                return self.pull_from_shard(now, reader, shard, &name, range, manner);
            }
        }
        let source = self.tracks.get(track).ok_or(Refusal::NO_TRACK)?;
        let beyond = range.end.group > largest.group
            || (range.end.group == largest.group && range.end.last_object.is_some_and(|last| last > largest.object));
        let end = if beyond { EndLocation::at(largest) } else { range.end };
        if !reaches(end, source.cache.complete_from()) {
            // MoQT-18 §10.12.3: all of it is of unknown status.
            return Err(Refusal::new(RequestErrorCode::InvalidRange, "the whole range has left the cache"));
        }
        let acceptance = Acceptance { end_of_track: false, end, properties: source.properties.clone() };
        let fetched = FetchSource::Cache(track);
        let plan = manner.plan(Range { start: range.start, end }, source.priority);
        self.begin_fetch(reader, fetched, plan);
        self.accept_fetch(reader, acceptance);
        self.pump_shard_fetch(reader);
        Ok(())
    }

    pub(crate) fn begin_fetch(&mut self, reader: Reader, source: FetchSource, plan: FetchPlan) {
        let (key, request) = match reader {
            Reader::Session(key, request) => (key, request),
            Reader::Shard(fetch) => return self.begin_shard_fetch(fetch, source, plan),
        };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let draft = session.draft();
        let fetch = session.fetches.insert(FetchOut::new(draft, reader, source, plan));
        if let Some(state) = session.requests.get_mut(request) {
            state.kind = RequestKind::Fetching { fetch };
        }
        self.mark_dirty(key);
    }

    pub(crate) fn accept_fetch(&mut self, reader: Reader, acceptance: Acceptance) {
        let Acceptance { end_of_track, end, properties } = acceptance;
        let ok = ControlMessage::FetchOk(FetchOk { end_of_track, end, parameters: Parameters::default(), properties });
        let (key, request) = match reader {
            Reader::Session(key, request) => (key, request),
            Reader::Shard(fetch) => return self.answer_shard_fetch(fetch, &ok),
        };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(state) = session.requests.get_mut(request) {
            state.deadline = None;
        }
        session.answer(request, &ok);
        self.mark_used(key);
        self.mark_dirty(key);
    }

    /// A FETCH that is over: its stream is reset if it is still open.
    pub(crate) fn drop_fetch(&mut self, key: SessionKey, fetch: FetchKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(state) = session.fetches.remove(fetch) else { return };
        if let (Some(stream), false) = (state.stream, state.done) {
            session.resets.push((stream, StreamResetCode::Cancelled.to_u64()));
        }
        if let FetchSource::Pull(pull) = state.source {
            self.drop_pull(pull);
        }
        self.mark_dirty(key);
    }
}

impl Manner {
    fn of(message: &Fetch) -> Self {
        Self {
            request_id: message.request_id,
            priority: message.parameters.subscriber_priority.unwrap_or(SUBSCRIBER_PRIORITY_DEFAULT),
            order: message.parameters.group_order.unwrap_or_default(),
            joins: message.range.joined().is_some(),
            fill_timeout: message.parameters.fill_timeout_ms.map(Duration::from_millis),
        }
    }

    pub(crate) fn plan(self, range: Range, publisher_priority: u8) -> FetchPlan {
        let Self { request_id, priority, order, .. } = self;
        FetchPlan { request_id, priority, publisher_priority, order, start: range.start, end: range.end }
    }
}

/// The part of a range that has to be in the cache for it to be served from there. A viewer that joins a group of which the
/// start had to go gets the rest, which is marked as such, and is not sent hours of the publisher's history.
fn joinable(track: &Track, range: Range, manner: Manner) -> Range {
    let trimmed = track.cache.trimmed_to().filter(|to| to.group == range.end.group);
    match trimmed {
        Some(trimmed) if manner.joins => Range { start: range.start.max(trimmed), ..range },
        _ => range,
    }
}

/// Whether everything of the range that was published is in the track's cache.
fn covers(track: &Track, range: Range) -> bool {
    let from_cache = range.start >= track.cache.complete_from();
    let lossy = track
        .cache
        .groups()
        .any(|group| group.is_lossy() && group.id >= range.start.group && group.id <= range.end.group);
    from_cache && !lossy
}
