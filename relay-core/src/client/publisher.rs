//! A small publisher: objects of tracks that the relay asked for.

use bytes::Bytes;

use crate::transmit::{StreamId, Transmit};
use crate::wire::{
    ControlMessage, EndLocation, FetchHeader, FetchObjectHead, FetchOk, FetchWriter, GroupOrder, Location,
    ObjectStatus, Parameters, Properties, PublishDone, PublishDoneCode, RequestError, RequestErrorCode, SubgroupHeader,
    SubgroupId, SubscribeOk, encode_object_head, object_id_delta,
};

use super::{Client, RequestId};

/// A data stream of ours.
#[derive(Debug)]
pub(super) struct OutgoingStream {
    request: RequestId,
    alias: u64,
    group: u64,
    subgroup: u64,
    pub(super) stream: Option<StreamId>,
    properties: bool,
    last: Option<u64>,
    bytes: Vec<u8>,
    sent: usize,
    fin: bool,
    pub(super) reset: Option<u64>,
    over: bool,
}

/// An object in answer to a FETCH.
#[derive(Clone, Debug)]
pub struct FetchAnswer {
    /// Where it is.
    pub location: Location,
    /// The payload.
    pub payload: Bytes,
}

impl Client {
    /// Accepts the relay's SUBSCRIBE; objects of the track go out under `track_alias`.
    pub fn accept_subscribe(&mut self, request: RequestId, track_alias: u64, largest: Option<Location>) {
        let parameters = Parameters { largest_object: largest, ..Parameters::default() };
        let ok = SubscribeOk { track_alias, parameters, properties: Properties::default() };
        self.send(request, &ControlMessage::SubscribeOk(ok));
    }

    /// Refuses a request of the relay.
    pub fn reject(&mut self, request: RequestId, code: RequestErrorCode, reason: &str) {
        let reason = reason.to_owned();
        let error = RequestError { code, retry_after_ms: None, reason, redirect: None };
        self.send(request, &ControlMessage::RequestError(error));
        self.finish(request);
    }

    /// Opens a subgroup stream of a track that the relay follows.
    pub fn open_subgroup(&mut self, request: RequestId, header: SubgroupHeader) {
        let mut bytes = Vec::new();
        header.encode(self.config.draft, &mut bytes);
        let subgroup = match header.subgroup {
            SubgroupId::Explicit(id) => id,
            SubgroupId::Zero | SubgroupId::FirstObject => 0,
        };
        self.outgoing.push(OutgoingStream {
            request,
            alias: header.track_alias,
            group: header.group,
            subgroup,
            stream: None,
            properties: header.properties,
            last: None,
            bytes,
            sent: 0,
            fin: false,
            reset: None,
            over: false,
        });
    }

    /// Sends an object on an open subgroup stream. `properties` are encoded pairs, and count only when the stream's
    /// header says that objects have some.
    pub fn send_object(
        &mut self,
        alias: u64,
        group: u64,
        subgroup: u64,
        object: u64,
        properties: &[u8],
        payload: &[u8],
    ) {
        let draft = self.config.draft;
        let Some(stream) = self.outgoing_mut(alias, group, subgroup) else { return };
        let Some(delta) = object_id_delta(stream.last, object) else { return };
        let properties = stream.properties.then_some(properties);
        encode_object_head(draft, delta, properties, payload.len(), ObjectStatus::Normal, &mut stream.bytes);
        stream.bytes.extend_from_slice(payload);
        stream.last = Some(object);
    }

    /// Ends a subgroup stream: all its objects were sent.
    pub fn end_subgroup(&mut self, alias: u64, group: u64, subgroup: u64) {
        if let Some(stream) = self.outgoing_mut(alias, group, subgroup) {
            stream.fin = true;
        }
    }

    /// Resets a subgroup stream.
    pub fn reset_subgroup(&mut self, alias: u64, group: u64, subgroup: u64, code: u64) {
        if let Some(stream) = self.outgoing_mut(alias, group, subgroup) {
            stream.reset = Some(code);
        }
    }

    /// Bytes of published objects that wait for room on the connection.
    pub fn backlog_len(&self) -> usize {
        self.outgoing.iter().map(OutgoingStream::unsent_len).sum()
    }

    /// Resets the streams of a track of which something waits to be sent. How many these were.
    pub fn drop_backlog(&mut self, alias: u64, code: u64) -> usize {
        let behind = |stream: &&mut OutgoingStream| stream.alias == alias && stream.unsent_len() > 0;
        self.outgoing.iter_mut().filter(behind).map(|stream| stream.reset = Some(code)).count()
    }

    /// Tells the relay that nothing more of a track comes.
    pub fn publish_done(&mut self, request: RequestId, code: PublishDoneCode, stream_count: u64) {
        let done = PublishDone { code, stream_count: Some(stream_count), reason: String::new() };
        self.send(request, &ControlMessage::PublishDone(done));
        self.finish(request);
    }

    /// Answers the relay's FETCH with these objects, in ascending order.
    pub fn answer_fetch(&mut self, request: RequestId, end: EndLocation, objects: &[FetchAnswer]) {
        let (parameters, properties) = (Parameters::default(), Properties::default());
        let ok = FetchOk { end_of_track: false, end, parameters, properties };
        self.send(request, &ControlMessage::FetchOk(ok));
        let mut bytes = Vec::new();
        FetchHeader { request_id: request.0 }.encode(&mut bytes);
        let mut writer = FetchWriter::new(self.config.draft, GroupOrder::Ascending);
        for object in objects {
            let head = FetchObjectHead {
                location: object.location,
                subgroup: Some(0),
                priority: crate::wire::SUBSCRIBER_PRIORITY_DEFAULT,
                properties: Bytes::new(),
            };
            if writer.object_head(&head, object.payload.len(), &mut bytes).is_ok() {
                bytes.extend_from_slice(&object.payload);
            }
        }
        self.outgoing.push(OutgoingStream {
            request,
            alias: u64::MAX,
            group: u64::MAX,
            subgroup: request.0,
            stream: None,
            properties: false,
            last: None,
            bytes,
            sent: 0,
            fin: true,
            reset: None,
            over: false,
        });
    }

    fn outgoing_mut(&mut self, alias: u64, group: u64, subgroup: u64) -> Option<&mut OutgoingStream> {
        self.outgoing.iter_mut().find(|stream| {
            stream.alias == alias && stream.group == group && stream.subgroup == subgroup && !stream.fin && !stream.over
        })
    }

    /// The relay no longer wants a track: its streams are reset.
    pub(super) fn drop_outgoing(&mut self, request: RequestId) {
        for stream in self.outgoing.iter_mut().filter(|stream| stream.request == request) {
            stream.reset = Some(crate::wire::StreamResetCode::Cancelled.to_u64());
        }
    }

    /// Sends published objects; `true` when something is left.
    pub(super) fn pump_outgoing(&mut self, io: &mut dyn Transmit) -> bool {
        let mut more = false;
        for stream in &mut self.outgoing {
            more |= !stream.pump(io);
        }
        self.outgoing.retain(|stream| !stream.over);
        more
    }
}

impl OutgoingStream {
    fn unsent_len(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }

    /// `true`: nothing is left for now.
    fn pump(&mut self, io: &mut dyn Transmit) -> bool {
        if let (Some(code), Some(stream)) = (self.reset, self.stream) {
            io.reset(stream, code);
        }
        if self.reset.is_some() {
            self.over = true;
            return true;
        }
        let stream = match self.stream.or_else(|| io.open_uni()) {
            Some(stream) => stream,
            None => return false,
        };
        self.stream = Some(stream);
        let rest = self.bytes.get(self.sent..).unwrap_or_default();
        if rest.is_empty() && !self.fin {
            return true;
        }
        let Ok(taken) = io.write(stream, rest, self.fin) else {
            self.over = true;
            return true;
        };
        let all = taken >= rest.len();
        self.sent += taken;
        if all {
            self.bytes.clear();
            self.sent = 0;
            self.over = self.fin;
        }
        all
    }
}
