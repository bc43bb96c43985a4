//! From stream bytes to a client's messages and objects.

use std::time::Instant;

use bytes::Bytes;

use crate::DecodeError;
use crate::relay::{Dir, StreamId};
use crate::wire::{
    ControlMessage, ControlReader, FetchItem, FetchReader, MissingRange, ObjectStatus, RequestErrorCode, RequestOk,
    SessionError, StreamKind, SubgroupHeader, SubgroupId, SubgroupItem, SubgroupObject, SubgroupReader,
};

use super::incoming::{Fatal, Incoming, SubgroupIn};
use super::order::StreamEnd;
use super::requests::{Kind, Request};
use super::{Client, ClientEvent, ObjectReceived, RequestId};

/// Streams of unknown aliases kept at once.
const UNKNOWN_MAX: usize = 64;

impl Client {
    pub(super) fn receive(
        &mut self,
        now: Instant,
        stream: StreamId,
        dir: Dir,
        data: &[u8],
        fin: bool,
    ) -> Result<(), Fatal> {
        let draft = self.config.draft;
        let incoming = self.incoming.remove(&stream).unwrap_or_else(|| match dir {
            Dir::Uni => Incoming::Fresh(Vec::new()),
            Dir::Bidi => Incoming::Asked(ControlReader::new(draft)),
        });
        match incoming {
            Incoming::Fresh(mut buffer) => {
                buffer.extend_from_slice(data);
                self.receive_fresh(now, stream, buffer, fin)
            }
            Incoming::Control(reader) => self.receive_control(stream, reader, data, fin),
            Incoming::Request(mut reader, id) => {
                reader.push(data);
                while let Some(message) = reader.next_message()? {
                    self.on_message(now, id, message)?;
                }
                if !fin && self.requests.contains_key(&id) {
                    self.incoming.insert(stream, Incoming::Request(reader, id));
                } else if let Some(request) = self.requests.get_mut(&id) {
                    request.answered = true;
                    self.flush.push_back(id);
                }
                Ok(())
            }
            Incoming::Asked(mut reader) => {
                reader.push(data);
                match reader.next_message()? {
                    Some(message) => {
                        let id = self.asked(stream, message)?;
                        while let Some(message) = reader.next_message()? {
                            self.on_message(now, id, message)?;
                        }
                        self.incoming.insert(stream, Incoming::Request(reader, id));
                    }
                    None if fin => {}
                    None => {
                        self.incoming.insert(stream, Incoming::Asked(reader));
                    }
                }
                Ok(())
            }
            Incoming::Subgroup(mut subgroup) => {
                subgroup.reader.push(data);
                self.receive_subgroup(now, stream, subgroup, fin)
            }
            Incoming::Fetch(mut reader, id) => {
                reader.push(data);
                self.receive_fetch(now, stream, reader, id, fin)
            }
            Incoming::Ignored => {
                self.ignore(stream, fin);
                Ok(())
            }
        }
    }

    /// Nothing of what comes on a stream is wanted. One that has ended needs no entry.
    fn ignore(&mut self, stream: StreamId, fin: bool) {
        if fin {
            self.incoming.remove(&stream);
        } else {
            self.incoming.insert(stream, Incoming::Ignored);
        }
    }

    fn receive_fresh(&mut self, now: Instant, stream: StreamId, buffer: Vec<u8>, fin: bool) -> Result<(), Fatal> {
        let (draft, len_max) = (self.config.draft, self.config.object_len_max);
        match StreamKind::peek(&buffer) {
            Ok(StreamKind::Control) => {
                if std::mem::replace(&mut self.peer_control, true) {
                    return Err(Fatal::violation("a second control stream"));
                }
                self.receive_control(stream, ControlReader::new(draft), &buffer, fin)
            }
            Ok(StreamKind::Subgroup) => {
                let mut reader = SubgroupReader::new(draft, len_max);
                reader.push(&buffer);
                self.receive_subgroup(
                    now,
                    stream,
                    SubgroupIn { reader, request: None, subgroup: None, fin: false },
                    fin,
                )
            }
            Ok(StreamKind::Fetch) => {
                let mut reader = FetchReader::new(draft, len_max);
                reader.push(&buffer);
                self.receive_fetch(now, stream, reader, None, fin)
            }
            Ok(StreamKind::Padding) => {
                self.ignore(stream, fin);
                Ok(())
            }
            Err(DecodeError::NeedMore) => {
                self.incoming.insert(stream, Incoming::Fresh(buffer));
                Ok(())
            }
            Err(DecodeError::Malformed(malformed)) => Err(malformed.into()),
        }
    }

    fn receive_control(
        &mut self,
        stream: StreamId,
        mut reader: ControlReader,
        data: &[u8],
        fin: bool,
    ) -> Result<(), Fatal> {
        reader.push(data);
        while let Some(message) = reader.next_message()? {
            match message {
                ControlMessage::Setup(setup) => {
                    if setup.path.is_some() {
                        return Err(Fatal(SessionError::InvalidPath, "PATH from a server".to_owned()));
                    }
                    if std::mem::replace(&mut self.ready, true) {
                        return Err(Fatal::violation("a second SETUP"));
                    }
                    self.events.push_back(ClientEvent::Ready);
                }
                ControlMessage::Goaway(goaway) => {
                    self.events.push_back(ClientEvent::GoingAway { timeout_ms: goaway.timeout_ms });
                }
                other => {
                    let name = other.message_type().name();
                    return Err(Fatal::violation(format!("{name} on the control stream")));
                }
            }
        }
        if fin {
            return Err(Fatal::violation("the control stream was closed"));
        }
        self.incoming.insert(stream, Incoming::Control(reader));
        Ok(())
    }

    /// The first message of a request of the relay.
    fn asked(&mut self, stream: StreamId, message: ControlMessage) -> Result<RequestId, Fatal> {
        let Some(id) = message.request_id().filter(|_| message.opens_request()) else {
            let name = message.message_type().name();
            return Err(Fatal::violation(format!("a request stream begins with {name}")));
        };
        let id = RequestId(id);
        if id.0.is_multiple_of(2) || self.requests.contains_key(&id) {
            return Err(Fatal(SessionError::InvalidRequestId, format!("request id {}", id.0)));
        }
        let (kind, event, accept) = match message {
            ControlMessage::PublishNamespace(message) => {
                (Kind::Offer, ClientEvent::NamespaceOffered(message.namespace), true)
            }
            ControlMessage::Subscribe(message) => {
                let (track, parameters) = (message.track, message.parameters);
                (Kind::Published, ClientEvent::SubscribeRequested { request: id, track, parameters }, false)
            }
            ControlMessage::Fetch(message) => {
                (Kind::FetchServed, ClientEvent::FetchRequested { request: id, range: message.range }, false)
            }
            ControlMessage::Publish(message) => {
                self.aliases.insert(message.track_alias, id);
                let order = self.new_order();
                let (track, largest) = (message.track, message.parameters.largest_object);
                (Kind::Subscription(order), ClientEvent::TrackOffered { request: id, track, largest }, true)
            }
            // A relay that discovers everybody's namespaces asks for ours too. The session does not need the answer.
            ControlMessage::SubscribeNamespace(_)
            | ControlMessage::SubscribeTracks(_)
            | ControlMessage::TrackStatus(_) => {
                let mut request = Request::new(Kind::Unserved);
                request.stream = Some(stream);
                self.requests.insert(id, request);
                self.by_stream.insert(stream, id);
                self.reject(id, RequestErrorCode::NotSupported, "this client has nothing of the kind");
                return Ok(id);
            }
            other => return Err(Fatal::violation(format!("{} from a relay", other.message_type().name()))),
        };
        let mut request = Request::new(kind);
        request.stream = Some(stream);
        self.requests.insert(id, request);
        self.by_stream.insert(stream, id);
        self.events.push_back(event);
        if accept {
            self.send(id, &ControlMessage::RequestOk(RequestOk::default()));
        }
        Ok(id)
    }

    fn receive_subgroup(
        &mut self,
        now: Instant,
        stream: StreamId,
        mut incoming: SubgroupIn,
        fin: bool,
    ) -> Result<(), Fatal> {
        if incoming.reader.header().is_none() && incoming.reader.next_item()?.is_none() {
            if fin {
                return Ok(incoming.reader.finish()?);
            }
            self.incoming.insert(stream, Incoming::Subgroup(incoming));
            return Ok(());
        }
        let Some(header) = incoming.reader.header().copied() else { return Ok(()) };
        if incoming.request.is_none() {
            let Some(&id) = self.aliases.get(&header.track_alias) else {
                return self.keep_unknown(stream, incoming, fin);
            };
            incoming.request = Some(id);
            let Some(Kind::Subscription(order)) = self.requests.get_mut(&id).map(|request| &mut request.kind) else {
                self.ignore(stream, fin);
                return Ok(());
            };
            let mut out = Vec::new();
            let wanted = order.on_open(header.group, stream, &mut out);
            self.deliver(id, out);
            if !wanted {
                self.ignore(stream, fin);
                return Ok(());
            }
        }
        let Some(id) = incoming.request else { return Ok(()) };
        while let Some(item) = incoming.reader.next_item()? {
            let SubgroupItem::Object(object) = item else { continue };
            let subgroup = *incoming.subgroup.get_or_insert_with(|| subgroup_id(&header, object.id));
            let object = received(&header, subgroup, object);
            self.with_order(now, id, |order, now, out| order.on_object(now, object, out));
            if matches!(self.incoming.get(&stream), Some(Incoming::Ignored)) {
                self.ignore(stream, fin);
                return Ok(());
            }
        }
        if !fin {
            self.incoming.insert(stream, Incoming::Subgroup(incoming));
            return Ok(());
        }
        incoming.reader.finish()?;
        let end = StreamEnd::Fin { ends_group: header.end_of_group };
        self.with_order(now, id, |order, now, out| order.on_close(now, header.group, stream, end, out));
        Ok(())
    }

    fn keep_unknown(&mut self, stream: StreamId, mut incoming: SubgroupIn, fin: bool) -> Result<(), Fatal> {
        let unknown = self
            .incoming
            .values()
            .filter(|other| matches!(other, Incoming::Subgroup(SubgroupIn { request: None, .. })));
        if unknown.count() >= UNKNOWN_MAX {
            self.ignore(stream, fin);
            return Ok(());
        }
        incoming.fin |= fin;
        self.incoming.insert(stream, Incoming::Subgroup(incoming));
        Ok(())
    }

    /// An alias has become known: goes on with the streams that came before it.
    pub(super) fn resume_unknown(&mut self, now: Instant, alias: u64) -> Result<(), Fatal> {
        let waiting = self.incoming.iter().filter(|(_, incoming)| match incoming {
            Incoming::Subgroup(SubgroupIn { reader, request: None, .. }) => {
                reader.header().is_some_and(|header| header.track_alias == alias)
            }
            _ => false,
        });
        let mut waiting: Vec<StreamId> = waiting.map(|(stream, _)| *stream).collect();
        // In the order they were opened.
        waiting.sort_unstable();
        for stream in waiting {
            if let Some(Incoming::Subgroup(incoming)) = self.incoming.remove(&stream) {
                let fin = incoming.fin;
                self.receive_subgroup(now, stream, incoming, fin)?;
            }
        }
        Ok(())
    }

    fn receive_fetch(
        &mut self,
        now: Instant,
        stream: StreamId,
        mut reader: FetchReader,
        mut id: Option<RequestId>,
        fin: bool,
    ) -> Result<(), Fatal> {
        while let Some(item) = reader.next_item()? {
            match item {
                FetchItem::Header(header) => {
                    let request = RequestId(header.request_id);
                    if let Some(Kind::Fetch { order, .. }) = self.requests.get(&request).map(|request| &request.kind) {
                        reader.set_group_order(*order);
                        id = Some(request);
                    }
                }
                FetchItem::Object(head, payload) => {
                    let object = ObjectReceived {
                        group: head.location.group,
                        subgroup: head.subgroup.unwrap_or(0),
                        object: head.location.object,
                        status: ObjectStatus::Normal,
                        priority: head.priority,
                        properties: head.properties,
                        payload,
                        fetched: true,
                    };
                    self.fetched(now, id, object);
                }
                FetchItem::EndOfRange(MissingRange::NonExistent | MissingRange::Unknown, _) => {}
            }
        }
        if fin {
            reader.finish()?;
            self.fetch_end(now, id, true);
        } else {
            self.incoming.insert(stream, Incoming::Fetch(reader, id));
        }
        Ok(())
    }

    fn fetched(&mut self, now: Instant, id: Option<RequestId>, object: ObjectReceived) {
        let Some(id) = id else { return };
        match self.requests.get(&id).map(|request| &request.kind) {
            Some(Kind::Fetch { joins: Some(subscription), .. }) => {
                let subscription = *subscription;
                self.with_order(now, subscription, |order, now, out| order.on_fetched(now, object, out));
            }
            Some(Kind::Fetch { joins: None, .. }) => self.events.push_back(ClientEvent::Object(id, object)),
            _ => {}
        }
    }

    fn fetch_end(&mut self, now: Instant, id: Option<RequestId>, complete: bool) {
        let Some(id) = id else { return };
        if let Some(Kind::Fetch { joins, .. }) = self.requests.get(&id).map(|request| &request.kind) {
            match *joins {
                Some(subscription) => {
                    self.with_order(now, subscription, |order, now, out| order.on_fetch_over(now, complete, out));
                }
                None => self.events.push_back(ClientEvent::FetchEnd { request: id, complete }),
            }
            self.end(id);
        }
    }

    /// The peer reset its half of a stream.
    pub(super) fn incoming_reset(&mut self, now: Instant, stream: StreamId, _code: u64) {
        match self.incoming.remove(&stream) {
            Some(Incoming::Subgroup(SubgroupIn { reader, request: Some(id), .. })) => {
                let group = reader.header().map_or(0, |header| header.group);
                self.with_order(now, id, |order, now, out| order.on_close(now, group, stream, StreamEnd::Reset, out));
            }
            Some(Incoming::Fetch(_, id)) => self.fetch_end(now, id, false),
            Some(Incoming::Request(_, id)) => self.request_cancelled(now, id),
            Some(Incoming::Control(_)) => self.close(SessionError::ProtocolViolation, "the control stream was reset"),
            _ => {}
        }
    }
}

fn subgroup_id(header: &SubgroupHeader, first_object: u64) -> u64 {
    match header.subgroup {
        SubgroupId::Zero => 0,
        SubgroupId::FirstObject => first_object,
        SubgroupId::Explicit(id) => id,
    }
}

fn received(header: &SubgroupHeader, subgroup: u64, object: SubgroupObject) -> ObjectReceived {
    ObjectReceived {
        group: header.group,
        subgroup,
        object: object.id,
        status: object.status,
        priority: header.priority.unwrap_or(crate::wire::SUBSCRIBER_PRIORITY_DEFAULT),
        properties: if header.properties { object.properties } else { Bytes::new() },
        payload: object.payload,
        fetched: false,
    }
}
