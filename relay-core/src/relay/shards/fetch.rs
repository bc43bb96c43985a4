//! A FETCH across shards: a viewer here wants what only the home of its track has, or can get from the publisher.
//!
//! ```text
//!   viewer's FETCH -> pull_from_shard -- FETCH -->  fetch_from: cache, or a pull from the publisher
//!   FETCH_OK       <- accept_fetch   <-- ANSWER --  answer_shard_fetch
//!   its stream     <- push_pull      <-- DATA ----  the bytes of a fetch stream, FIN or RESET
//!                     drop_pull      -- DROP --->   (the viewer left, or reads too slowly)
//! ```
//!
//! Messages are opaque to the engine, which carries them in order ([`crate::relay::RelayEvent::ShardMessage`]). Both ends are of one
//! build; control messages and fetch streams are those of the wire, so nothing of a FETCH can be told in two ways.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use crate::relay::keys::{PullKey, ShardFetchKey};
use crate::relay::refusal::Refusal;
use crate::relay::subscribe::fetch::{Manner, Range};
use crate::relay::subscribe::fetch_out::{FetchOut, FetchPlan, FetchSource};
use crate::relay::subscribe::out_stream::Step;
use crate::relay::subscribe::pull::{Pull, PulledItem, Reader, Source};
use crate::relay::{Counters, Relay, RelayEvent};
use crate::wire::{
    ControlMessage, Draft, Fetch, FetchItem, FetchRange, FetchReader, FullTrackName, Parameters, RequestError,
    RequestErrorCode, SUBSCRIBER_PRIORITY_DEFAULT, StreamResetCode, vi64,
};

use super::message::{ANSWER, DATA, DROP, FETCH, FIN, JOIN, RESET, control, open, reset, seal};
use super::served::{Captured, ShardFetch};

/// FETCHes of the viewers here that may wait for one other shard: its answers share a link with the replays of tracks.
const FETCHES_PER_SHARD_MAX: usize = 256;
/// Bytes of a fetch stream in one message: links carry less than the largest object.
const DATA_LEN_MAX: usize = 64 * 1024;

impl Relay {
    /// A [`RelayEvent::ShardMessage`] of another shard.
    pub fn shard_message(&mut self, now: Instant, shard: usize, message: &Bytes) {
        let Some((kind, id, body)) = open(message) else { return };
        match kind {
            FETCH | JOIN => self.on_shard_fetch(now, shard, id, kind == JOIN, &body),
            DROP => self.on_shard_drop(shard, id),
            _ => self.on_shard_answer(shard, id, kind, body),
        }
    }

    fn tell_shard(&mut self, shard: usize, message: Bytes) {
        self.events.push_back(RelayEvent::ShardMessage { shard, message });
    }

    // ---- the shard that wants something -------------------------------------------------------------------------

    /// Asks the shard that has the track for the range.
    pub(crate) fn pull_from_shard(
        &mut self,
        now: Instant,
        reader: Reader,
        shard: usize,
        name: &FullTrackName,
        range: Range,
        manner: Manner,
    ) -> Result<(), Refusal> {
        let Reader::Session(key, request) = reader else {
            // What another shard asks for is here or nowhere.
            return Err(Refusal::NO_TRACK);
        };
        if self.pulls.waiting_for(shard) >= FETCHES_PER_SHARD_MAX {
            return Err(Refusal::new(
                RequestErrorCode::ExcessiveLoad,
                "too many ranges are being fetched; try again later",
            ));
        }
        let id = self.pulls.next_id();
        let pull = Pull::new(Source::Shard(shard, id), reader, manner.order);
        let mut fetches = FetchReader::new(Draft::D18, self.config.object_len_max);
        fetches.set_group_order(manner.order);
        let pull = self.pulls.insert(pull.with_reader(fetches));
        let asked = FetchRange::Standalone { track: name.clone(), start: range.start, end: range.end };
        let parameters = Parameters { group_order: Some(manner.order), ..Parameters::default() };
        let mut body = Vec::new();
        if ControlMessage::Fetch(Fetch { request_id: 0, range: asked, parameters })
            .encode(Draft::D18, &mut body)
            .is_err()
        {
            self.pulls.remove(pull);
            return Err(Refusal::new(RequestErrorCode::InvalidRange, "the range cannot be asked for"));
        }
        self.tell_shard(shard, seal(if manner.joins { JOIN } else { FETCH }, id, &body));
        self.begin_fetch(reader, FetchSource::Pull(pull), manner.plan(range, SUBSCRIBER_PRIORITY_DEFAULT));
        // Home asks the publisher, and both have their time.
        let budget = manner.fill_timeout.unwrap_or(Duration::MAX);
        let patience = self.config.upstream_timeout.saturating_mul(2).min(budget);
        if let Some(state) = self.sessions.get_mut(key).and_then(|session| session.requests.get_mut(request)) {
            state.deadline = now.checked_add(patience);
        }
        self.arm_session(now, key);
        Ok(())
    }

    fn on_shard_answer(&mut self, shard: usize, id: u64, kind: u8, body: Bytes) {
        let Some(pull) = self.pulls.by_source(Source::Shard(shard, id)) else { return };
        match kind {
            ANSWER => {
                // Its errors are of a peer that breaks the rules, and this one is ours.
                let Some(message) = control(&body) else { return };
                let _ = self.on_pull_answer(pull, message);
            }
            DATA => self.on_shard_data(pull, &body),
            FIN => self.push_pull(Some(pull), PulledItem::End),
            RESET => {
                let code = vi64::decode(&body).map_or(StreamResetCode::Internal.to_u64(), |(code, _)| code);
                self.push_pull(Some(pull), PulledItem::Reset(code));
            }
            _ => {}
        }
    }

    fn on_shard_data(&mut self, pull: PullKey, data: &[u8]) {
        let Some(mut reader) = self.pulls.get_mut(pull).and_then(|pull| pull.bytes.take()) else { return };
        reader.push(data);
        loop {
            match reader.next_item() {
                Ok(Some(FetchItem::Header(_))) => {}
                Ok(Some(FetchItem::Object(head, payload))) => {
                    self.push_pull(Some(pull), PulledItem::Object(head, payload));
                }
                Ok(Some(FetchItem::EndOfRange(range, last))) => {
                    self.push_pull(Some(pull), PulledItem::Missing(range, last));
                }
                Ok(None) => break,
                Err(_) => {
                    self.push_pull(Some(pull), PulledItem::Reset(StreamResetCode::Internal.to_u64()));
                    break;
                }
            }
        }
        if let Some(state) = self.pulls.get_mut(pull) {
            state.bytes = Some(reader);
        }
    }

    /// Nobody here wants the rest of what another shard sends.
    pub(crate) fn drop_shard_pull(&mut self, shard: usize, id: u64) {
        self.tell_shard(shard, seal(DROP, id, &[]));
    }

    // ---- the shard that has it ----------------------------------------------------------------------------------

    fn on_shard_fetch(&mut self, now: Instant, shard: usize, id: u64, joins: bool, body: &[u8]) {
        let Some(ControlMessage::Fetch(Fetch {
            range: FetchRange::Standalone { track, start, end }, parameters, ..
        })) = control(body)
        else {
            return;
        };
        let (range, order) = (Range { start, end }, parameters.group_order.unwrap_or_default());
        let manner = Manner { request_id: 0, priority: SUBSCRIBER_PRIORITY_DEFAULT, order, joins, fill_timeout: None };
        let fetch = self.shard_fetches.insert(ShardFetch { shard, id, out: None });
        let reader = Reader::Shard(fetch);
        let live = self.tracks.by_name(&track).filter(|key| self.tracks.get(*key).is_some_and(|track| track.is_live()));
        let outcome = match (live, self.publisher_session(&track)) {
            (Some(live), _) => self.fetch_from(now, reader, live, range, manner),
            (None, Some(publisher)) => self.pull(now, reader, publisher, &track, range, manner),
            (None, None) => Err(Refusal::NO_TRACK),
        };
        if let Err(Refusal { code, reason }) = outcome {
            self.refuse_shard_fetch(fetch, code, reason);
        }
    }

    pub(crate) fn begin_shard_fetch(&mut self, fetch: ShardFetchKey, source: FetchSource, plan: FetchPlan) {
        if let Some(state) = self.shard_fetches.get_mut(fetch) {
            state.out = Some(FetchOut::new(Draft::D18, Reader::Shard(fetch), source, plan));
        }
    }

    pub(crate) fn answer_shard_fetch(&mut self, fetch: ShardFetchKey, message: &ControlMessage) {
        let Some((shard, id)) = self.shard_fetches.get(fetch).map(|state| (state.shard, state.id)) else { return };
        let mut body = Vec::new();
        if message.encode(Draft::D18, &mut body).is_ok() {
            self.tell_shard(shard, seal(ANSWER, id, &body));
        }
    }

    pub(crate) fn refuse_shard_fetch(&mut self, fetch: ShardFetchKey, code: RequestErrorCode, reason: &str) {
        // A redirect has fields of its own, and is about another session.
        let code = if code == RequestErrorCode::Redirect { RequestErrorCode::DoesNotExist } else { code };
        let error = RequestError { code, retry_after_ms: None, reason: reason.to_owned(), redirect: None };
        self.answer_shard_fetch(fetch, &ControlMessage::RequestError(error));
        self.shard_fetches.remove(fetch);
    }

    fn on_shard_drop(&mut self, shard: usize, id: u64) {
        let known = self.shard_fetches.iter().find(|(_, fetch)| (fetch.shard, fetch.id) == (shard, id));
        if let Some(fetch) = known.map(|(key, _)| key) {
            self.end_shard_fetch(fetch);
        }
    }

    fn end_shard_fetch(&mut self, fetch: ShardFetchKey) {
        let Some(ShardFetch { out, .. }) = self.shard_fetches.remove(fetch) else { return };
        if let Some(FetchSource::Pull(pull)) = out.map(|out| out.source) {
            self.drop_pull(pull);
        }
    }

    /// Sends all that is there of a FETCH of another shard.
    pub(crate) fn pump_shard_fetch(&mut self, reader: Reader) {
        let Reader::Shard(key) = reader else { return };
        let Some(state) = self.shard_fetches.get_mut(key) else { return };
        let (shard, id) = (state.shard, state.id);
        let Some(out) = state.out.as_mut() else { return };
        let mut stream = Captured::default();
        // Viewers count what they get where they are.
        let mut counters = Counters::default();
        let mut step = Step::Sent;
        while step == Step::Sent {
            let cache = match out.source {
                FetchSource::Cache(track) => self.tracks.get(track).map(|track| &track.cache),
                FetchSource::Pull(_) => None,
            };
            let pull = match out.source {
                FetchSource::Cache(..) => None,
                FetchSource::Pull(pull) => self.pulls.get_mut(pull),
            };
            step = match (cache, pull) {
                (Some(cache), _) => out.send_cached(cache, 0, &mut counters, &mut stream),
                (None, Some(pull)) => out.send_pulled(pull, 0, &mut counters, &mut stream),
                (None, None) => {
                    out.reset(StreamResetCode::UnknownObjectStatus, &mut stream);
                    Step::Done
                }
            };
        }
        if let FetchSource::Pull(pull) = out.source {
            self.pulls.count(pull);
        }
        let (done, failed) = (out.done, out.failed);
        while !stream.bytes.is_empty() {
            let len = stream.bytes.len().min(DATA_LEN_MAX);
            let message = seal(DATA, id, stream.bytes.get(..len).unwrap_or_default());
            stream.bytes.advance(len);
            self.tell_shard(shard, message);
        }
        if done {
            let end = failed.map_or_else(|| seal(FIN, id, &[]), |code| reset(id, code.to_u64()));
            self.tell_shard(shard, end);
            self.end_shard_fetch(key);
        }
    }
}
