//! FETCH: joining and standalone, from the cache or from the publisher.

use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::wire::{
    ControlMessage, EndLocation, Fetch, FetchItem, FetchOk, FetchRange, FullTrackName, GroupOrder, Location,
    Parameters, Properties, RequestErrorCode, SUBSCRIBER_PRIORITY_DEFAULT, StreamResetCode,
};

use super::Relay;
use super::auth::Refusal;
use super::fetch_out::{FetchOut, FetchPlan, FetchSource};
use super::pull::{Pull, PulledItem};
use super::receive::Chunk;
use super::session::{Fatal, FetchIn, Key, Receive, RequestKind};
use super::track::Track;

/// A refusal of a FETCH.
type Refused = (RequestErrorCode, &'static str);

/// What a FETCH asks for, in absolute terms.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: Location,
    end: EndLocation,
}

/// The fields of FETCH_OK.
#[derive(Debug)]
struct Acceptance {
    end_of_track: bool,
    end: EndLocation,
    properties: Properties,
}

impl Relay {
    pub(super) fn on_fetch(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: Key,
        request: Key,
        message: Fetch,
    ) -> Result<(), Fatal> {
        self.authorize(now, directory, key, request, &message.parameters.auth_tokens)?;
        if let FetchRange::Standalone { track, start, end } = &message.range {
            if let Some(refusal) = self.unreadable(key, request, track) {
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
    pub(super) fn resume_joining(&mut self, now: Instant, key: Key, id: u64) {
        let Some(session) = self.sessions.get(key) else { return };
        let waiting = session.requests.iter().filter_map(|(request, state)| match &state.kind {
            RequestKind::FetchWaiting { message, track: None } => {
                joined(&message.range).map(|joined| (request, joined))
            }
            _ => None,
        });
        let waiting: Vec<Key> = waiting.filter(|(_, joined)| *joined == id).map(|(request, _)| request).collect();
        for request in waiting {
            self.resume_fetch(now, key, request);
        }
    }

    /// Serves a waiting FETCH if everything it needs is known by now.
    pub(super) fn resume_fetch(&mut self, now: Instant, key: Key, request: Key) {
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
        if let Err((code, reason)) = outcome {
            self.refuse(key, request, code, reason);
        }
    }

    fn fetch_standalone(
        &mut self,
        now: Instant,
        key: Key,
        request: Key,
        name: &FullTrackName,
        range: Range,
        message: &Fetch,
    ) -> Result<(), Refused> {
        if let Some(track) = self.tracks.by_name(name)
            && self.tracks.get(track).is_some_and(Track::is_live)
        {
            return self.fetch_from(now, key, request, track, range, message);
        }
        if let Some(publisher) = self.publisher_session(name) {
            return self.pull(now, key, request, publisher, name, range, message);
        }
        // Another shard: its objects come here by a subscription of this shard.
        let track =
            self.find_or_source(now, Some(key), name, false).map_err(|refusal| (refusal.code, refusal.reason))?;
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
        key: Key,
        request: Key,
        joined: u64,
        start_group: impl Fn(Location) -> u64,
        message: &Fetch,
    ) -> Result<(), Refused> {
        const NOT_JOINED: Refused = (RequestErrorCode::InvalidJoiningRequestId, "no such subscription in this session");
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
            return Err((RequestErrorCode::InvalidRange, "the joined subscription does not forward"));
        }
        let joining = subscription.joining.ok_or((RequestErrorCode::InvalidRange, "nothing was published yet"))?;
        let start = Location::new(start_group(joining), 0);
        if start > joining {
            return Err((RequestErrorCode::InvalidRange, "the range starts behind the joining location"));
        }
        let track = subscription.track;
        // The token of the FETCH must be good for the track as well.
        let name = self.tracks.get(track).map(|track| track.name.clone());
        if let Some(refusal) = name.and_then(|name| self.unreadable(key, request, &name)) {
            return Err((refusal.code, refusal.reason));
        }
        // MoQT-18 §10.12.2.1: the last object of the answer is the one at the joining location.
        self.fetch_from(now, key, request, track, Range { start, end: EndLocation::at(joining) }, message)
    }

    /// Serves a range of a live track: from its cache when that has all of it, else from its publisher.
    fn fetch_from(
        &mut self,
        now: Instant,
        key: Key,
        request: Key,
        track: Key,
        range: Range,
        message: &Fetch,
    ) -> Result<(), Refused> {
        let source = self.tracks.get(track).ok_or((Refusal::NO_TRACK.code, Refusal::NO_TRACK.reason))?;
        let largest = source.cache.largest().ok_or((RequestErrorCode::InvalidRange, "nothing was published yet"))?;
        if range.start > largest {
            return Err((RequestErrorCode::InvalidRange, "the range starts behind the largest object"));
        }
        let name = source.name.clone();
        // MoQT-18 §10.2.5: a FILL_TIMEOUT of 0 wants only what is here.
        let may_wait = message.parameters.fill_timeout_ms != Some(0);
        if may_wait
            && !covers(source, range)
            && let Some(publisher) = self.publisher_session(&name)
        {
            return self.pull(now, key, request, publisher, &name, range, message);
        }
        let source = self.tracks.get(track).ok_or((Refusal::NO_TRACK.code, Refusal::NO_TRACK.reason))?;
        let beyond = range.end.group > largest.group
            || (range.end.group == largest.group && range.end.last_object.is_some_and(|last| last > largest.object));
        let end = if beyond { EndLocation::at(largest) } else { range.end };
        let acceptance = Acceptance { end_of_track: false, end, properties: source.properties.clone() };
        let fetched = FetchSource::Cache(track, source.serial);
        let plan = plan(message, Range { start: range.start, end }, source.priority);
        self.begin_fetch(key, request, fetched, plan);
        self.accept_fetch(key, request, acceptance);
        Ok(())
    }

    fn begin_fetch(&mut self, key: Key, request: Key, source: FetchSource, plan: FetchPlan) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let draft = session.draft();
        let fetch = session.fetches.insert(FetchOut::new(draft, request, source, plan));
        if let Some(state) = session.requests.get_mut(request) {
            state.kind = RequestKind::Fetching { fetch };
        }
        self.mark_dirty(key);
    }

    fn accept_fetch(&mut self, key: Key, request: Key, acceptance: Acceptance) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(state) = session.requests.get_mut(request) {
            state.deadline = None;
        }
        let Acceptance { end_of_track, end, properties } = acceptance;
        let ok = FetchOk { end_of_track, end, parameters: Parameters::default(), properties };
        session.answer(request, &ControlMessage::FetchOk(ok));
        self.mark_used(key);
        self.mark_dirty(key);
    }

    /// A FETCH that is over: its stream is reset if it is still open.
    pub(super) fn drop_fetch(&mut self, key: Key, fetch: Key) {
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

    // ---- from the publisher ------------------------------------------------------------------------------------

    /// Asks a publisher for the range and hands what comes to the viewer.
    #[allow(clippy::too_many_arguments)]
    fn pull(
        &mut self,
        now: Instant,
        key: Key,
        request: Key,
        publisher: Key,
        name: &FullTrackName,
        range: Range,
        message: &Fetch,
    ) -> Result<(), Refused> {
        let order = message.parameters.group_order.unwrap_or_default();
        let budget = message.parameters.fill_timeout_ms.map_or(Duration::MAX, Duration::from_millis);
        let deadline = now.checked_add(self.config.upstream_timeout.min(budget));
        let pull = self.pulls.insert(Pull::new((publisher, 0), (key, request), order));
        let Some(session) = self.sessions.get_mut(publisher) else {
            self.pulls.remove(pull);
            return Err((RequestErrorCode::Internal, "the publisher is gone"));
        };
        let range_asked = FetchRange::Standalone { track: name.clone(), start: range.start, end: range.end };
        let parameters = Parameters { group_order: message.parameters.group_order, ..Parameters::default() };
        let ours = session.open_request(RequestKind::Pulling { pull }, |request_id| {
            ControlMessage::Fetch(Fetch { request_id, range: range_asked, parameters })
        });
        if let Some(state) = session.requests.get_mut(ours) {
            session.request_by_id.insert(state.id, ours);
            state.deadline = deadline;
        }
        if let Some(state) = self.pulls.get_mut(pull) {
            state.publisher.1 = ours;
        }
        self.mark_dirty(publisher);
        self.arm_session(now, publisher);
        self.begin_fetch(key, request, FetchSource::Pull(pull), plan(message, range, SUBSCRIBER_PRIORITY_DEFAULT));
        Ok(())
    }

    pub(super) fn on_pull_answer(&mut self, key: Key, pull: Key, message: ControlMessage) -> Result<(), Fatal> {
        let Some(state) = self.pulls.get(pull) else { return Ok(()) };
        let (ours, (viewer, viewer_request)) = (state.publisher.1, state.viewer);
        match message {
            ControlMessage::FetchOk(ok) => {
                if let Some(request) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(ours)) {
                    request.deadline = None;
                }
                let acceptance = Acceptance { end_of_track: ok.end_of_track, end: ok.end, properties: ok.properties };
                self.accept_fetch(viewer, viewer_request, acceptance);
                Ok(())
            }
            ControlMessage::RequestError(error) => {
                self.fail_pull(pull, error.code, &error.reason);
                Ok(())
            }
            other => Err(Fatal::violation(format!("{} in answer to FETCH", other.message_type().name()))),
        }
    }

    /// The publisher cannot answer: the viewer is told.
    pub(super) fn fail_pull(&mut self, pull: Key, code: RequestErrorCode, reason: &str) {
        let Some(state) = self.pulls.get(pull) else { return };
        let (viewer, request) = state.viewer;
        let fetch = match self.sessions.get(viewer).and_then(|session| session.requests.get(request)) {
            Some(state) => match state.kind {
                RequestKind::Fetching { fetch } => Some(fetch),
                _ => None,
            },
            None => None,
        };
        // MoQT-18 §9.4: an error code of one session is passed on by its number only, never its bytes.
        self.refuse(viewer, request, code, reason);
        match fetch {
            Some(fetch) => self.drop_fetch(viewer, fetch),
            None => self.drop_pull(pull),
        }
    }

    fn drop_pull(&mut self, pull: Key) {
        let Some(state) = self.pulls.remove(pull) else { return };
        let (publisher, ours) = state.publisher;
        let Some(session) = self.sessions.get_mut(publisher) else { return };
        let pulling = session
            .requests
            .get(ours)
            .is_some_and(|request| matches!(&request.kind, RequestKind::Pulling { pull: known } if *known == pull));
        if !pulling {
            return;
        }
        if state.is_ended() {
            session.finish_request(ours);
        } else {
            session.cancel_request(ours, StreamResetCode::Cancelled.to_u64());
        }
        self.mark_dirty(publisher);
    }

    /// Bytes of a fetch stream that a publisher opened for us.
    pub(super) fn receive_fetch(&mut self, key: Key, chunk: Chunk<'_>, mut fetch: FetchIn) -> Result<(), Fatal> {
        fetch.reader.push(chunk.data);
        while let Some(item) = fetch.reader.next_item()? {
            match item {
                FetchItem::Header(header) => {
                    let Some(pull) = self.pull_of(key, header.request_id) else {
                        return self.abandon(key, chunk);
                    };
                    fetch.pull = Some(pull);
                    if let Some(state) = self.pulls.get(pull) {
                        fetch.reader.set_group_order(state.order);
                    }
                }
                FetchItem::Object(head, payload) => self.push_pull(fetch.pull, PulledItem::Object(head, payload)),
                FetchItem::EndOfRange(range, last) => self.push_pull(fetch.pull, PulledItem::Missing(range, last)),
            }
        }
        if chunk.fin {
            fetch.reader.finish()?;
            self.push_pull(fetch.pull, PulledItem::End);
            return Ok(());
        }
        if fetch.pull.is_some_and(|pull| self.pulls.get(pull).is_none()) {
            return self.abandon(key, chunk);
        }
        if self.is_overfull(key, fetch.reader.reserved()) {
            self.counters.streams_abandoned += 1;
            let code = StreamResetCode::ExcessiveLoad;
            self.push_pull(fetch.pull, PulledItem::Reset(code.to_u64()));
            return self.abandon_with(key, chunk, code);
        }
        self.keep(key, chunk, Receive::Fetch(fetch));
        Ok(())
    }

    fn pull_of(&self, key: Key, request_id: u64) -> Option<Key> {
        let session = self.sessions.get(key)?;
        let request = session.requests.get(*session.request_by_id.get(&request_id)?)?;
        match request.kind {
            RequestKind::Pulling { pull } => Some(pull),
            _ => None,
        }
    }

    pub(super) fn push_pull(&mut self, pull: Option<Key>, item: PulledItem) {
        let Some(pull) = pull else { return };
        let (session_max, all_max) = (self.config.pulled_session_len_max, self.config.pulled_len_max);
        let Some(viewer) = self.pulls.get(pull).map(|state| state.viewer.0) else { return };
        let over = self.pulls.len_of(viewer) > session_max || self.pulls.len() > all_max || !self.may_pull(viewer);
        // The viewer reads too slowly for what the publisher sends.
        let item = if over { PulledItem::Reset(StreamResetCode::ExcessiveLoad.to_u64()) } else { item };
        if let Some(state) = self.pulls.get_mut(pull) {
            state.push(item);
        }
        self.pulls.count(pull);
        self.mark_dirty(viewer);
    }

    /// Nobody wants what comes on this stream.
    pub(super) fn abandon(&mut self, key: Key, chunk: Chunk<'_>) -> Result<(), Fatal> {
        self.abandon_with(key, chunk, StreamResetCode::Cancelled)
    }

    pub(super) fn abandon_with(&mut self, key: Key, chunk: Chunk<'_>, code: StreamResetCode) -> Result<(), Fatal> {
        if let Some(session) = self.sessions.get_mut(key)
            && !chunk.fin
        {
            session.stops.push((chunk.stream, code.to_u64()));
            session.receive.insert(chunk.stream, Receive::Ignored);
            self.mark_dirty(key);
        }
        Ok(())
    }
}

pub(super) fn joined(range: &FetchRange) -> Option<u64> {
    match range {
        FetchRange::Standalone { .. } => None,
        FetchRange::RelativeJoining { joining_request_id, .. }
        | FetchRange::AbsoluteJoining { joining_request_id, .. } => Some(*joining_request_id),
    }
}

fn plan(message: &Fetch, range: Range, publisher_priority: u8) -> FetchPlan {
    FetchPlan {
        request_id: message.request_id,
        priority: message.parameters.subscriber_priority.unwrap_or(SUBSCRIBER_PRIORITY_DEFAULT),
        publisher_priority,
        order: message.parameters.group_order.unwrap_or(GroupOrder::Ascending),
        start: range.start,
        end: range.end,
    }
}

/// Whether everything of the range that was published is in the track's cache.
fn covers(track: &Track, range: Range) -> bool {
    let from_cache = range.start >= track.cache.complete_from();
    let lossy =
        track.cache.groups().any(|group| group.lossy && group.id >= range.start.group && group.id <= range.end.group);
    from_cache && !lossy
}
