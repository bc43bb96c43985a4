//! A FETCH that goes upstream because the cache does not have its range: to the publisher's session, and back to the reader.

use std::time::{Duration, Instant};

use crate::relay::Relay;
use crate::relay::keys::{PullKey, SessionKey};
use crate::relay::publish::upstream::OBJECTS_PER_READ_MAX;
use crate::relay::refusal::{Fatal, Refusal};
use crate::relay::session::receive::Chunk;
use crate::relay::session::receiving::{FetchIn, Receive};
use crate::relay::session::request::RequestKind;
use crate::wire::{
    ControlMessage, Fetch, FetchItem, FetchRange, FullTrackName, GroupOrder, Parameters, RequestErrorCode,
    SUBSCRIBER_PRIORITY_DEFAULT, StreamResetCode,
};

use super::fetch::{Acceptance, Manner, Range};
use super::fetch_out::FetchSource;
use super::pull::{Pull, PulledItem, Reader, Source};

impl Relay {
    /// Asks a publisher for the range and hands what comes to the viewer.
    pub(crate) fn pull(
        &mut self,
        now: Instant,
        reader: Reader,
        publisher: SessionKey,
        name: &FullTrackName,
        range: Range,
        manner: Manner,
    ) -> Result<(), Refusal> {
        let budget = manner.fill_timeout.unwrap_or(Duration::MAX);
        let deadline = now.checked_add(self.config.upstream_timeout.min(budget));
        let Some(session) = self.sessions.get_mut(publisher) else {
            return Err(Refusal::new(RequestErrorCode::Internal, "the publisher is gone"));
        };
        let range_asked = FetchRange::Standalone { track: name.clone(), start: range.start, end: range.end };
        let group_order = (manner.order != GroupOrder::Ascending).then_some(manner.order);
        let parameters = Parameters { group_order, ..Parameters::default() };
        let ours = session.open_request(RequestKind::Fresh, |request_id| {
            ControlMessage::Fetch(Fetch { request_id, range: range_asked, parameters })
        });
        let pull = self.pulls.insert(Pull::new(Source::Session(publisher, ours), reader, manner.order));
        if let Some(state) = session.requests.get_mut(ours) {
            session.request_by_id.insert(state.id, ours);
            state.kind = RequestKind::Pulling { pull };
            state.deadline = deadline;
        }
        self.mark_dirty(publisher);
        self.arm_session(now, publisher);
        self.begin_fetch(reader, FetchSource::Pull(pull), manner.plan(range, SUBSCRIBER_PRIORITY_DEFAULT));
        Ok(())
    }

    pub(crate) fn on_pull_answer(&mut self, pull: PullKey, message: ControlMessage) -> Result<(), Fatal> {
        let Some(state) = self.pulls.get(pull) else { return Ok(()) };
        let reader = state.reader;
        match message {
            ControlMessage::FetchOk(ok) => {
                if let Source::Session(publisher, ours) = state.source
                    && let Some(session) = self.sessions.get_mut(publisher)
                    && let Some(request) = session.requests.get_mut(ours)
                {
                    request.deadline = None;
                }
                let acceptance = Acceptance { end_of_track: ok.end_of_track, end: ok.end, properties: ok.properties };
                self.accept_fetch(reader, acceptance);
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
    pub(crate) fn fail_pull(&mut self, pull: PullKey, code: RequestErrorCode, reason: &str) {
        let Some(state) = self.pulls.get(pull) else { return };
        let (viewer, request) = match state.reader {
            Reader::Session(viewer, request) => (viewer, request),
            Reader::Shard(fetch) => {
                self.refuse_shard_fetch(fetch, code, reason);
                self.drop_pull(pull);
                return;
            }
        };
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

    pub(crate) fn drop_pull(&mut self, pull: PullKey) {
        let Some(state) = self.pulls.remove(pull) else { return };
        let (publisher, ours) = match state.source {
            Source::Session(publisher, ours) => (publisher, ours),
            Source::Shard(shard, id) => return self.drop_shard_pull(shard, id),
        };
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
    pub(crate) fn receive_fetch(&mut self, key: SessionKey, chunk: Chunk<'_>, mut fetch: FetchIn) -> Result<(), Fatal> {
        fetch.reader.push(chunk.data);
        let (mut items, mut flooded) = (0, false);
        while let Some(item) = fetch.reader.next_item()? {
            items += 1;
            flooded = items > OBJECTS_PER_READ_MAX;
            if flooded {
                break;
            }
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
        if chunk.fin && !flooded {
            fetch.reader.finish()?;
            self.push_pull(fetch.pull, PulledItem::End);
            return Ok(());
        }
        if fetch.pull.is_some_and(|pull| self.pulls.get(pull).is_none()) {
            return self.abandon(key, chunk);
        }
        if flooded || self.is_overfull(key, fetch.reader.reserved()) {
            self.counters.streams_abandoned += 1;
            let code = StreamResetCode::ExcessiveLoad;
            self.push_pull(fetch.pull, PulledItem::Reset(code.to_u64()));
            return self.abandon_with(key, chunk, code);
        }
        self.put_back(key, chunk, Receive::Fetch(fetch));
        Ok(())
    }

    fn pull_of(&self, key: SessionKey, request_id: u64) -> Option<PullKey> {
        let session = self.sessions.get(key)?;
        let request = session.requests.get(*session.request_by_id.get(&request_id)?)?;
        match request.kind {
            RequestKind::Pulling { pull } => Some(pull),
            _ => None,
        }
    }

    pub(crate) fn push_pull(&mut self, pull: Option<PullKey>, item: PulledItem) {
        let Some(pull) = pull else { return };
        let (session_max, all_max) = (self.config.pulled_session_len_max, self.config.pulled_len_max);
        let Some(reader) = self.pulls.get(pull).map(|state| state.reader) else { return };
        let crowded = matches!(reader, Reader::Session(viewer, _) if !self.may_pull(viewer));
        let over = crowded || self.pulls.len_of(reader) > session_max || self.pulls.len() > all_max;
        // The viewer reads too slowly for what the publisher sends.
        let item = if over { PulledItem::Reset(StreamResetCode::ExcessiveLoad.to_u64()) } else { item };
        if let Some(state) = self.pulls.get_mut(pull) {
            state.push(item);
        }
        self.pulls.count(pull);
        match reader {
            Reader::Session(viewer, _) => self.mark_dirty(viewer),
            Reader::Shard(_) => self.pump_shard_fetch(reader),
        }
    }

    /// Nobody wants what comes on this stream.
    pub(crate) fn abandon(&mut self, key: SessionKey, chunk: Chunk<'_>) -> Result<(), Fatal> {
        self.abandon_with(key, chunk, StreamResetCode::Cancelled)
    }

    pub(crate) fn abandon_with(
        &mut self,
        key: SessionKey,
        chunk: Chunk<'_>,
        code: StreamResetCode,
    ) -> Result<(), Fatal> {
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
