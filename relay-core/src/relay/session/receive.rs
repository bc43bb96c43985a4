//! From a session's stream bytes to messages and objects.

use std::time::Instant;

use crate::DecodeError;
use crate::directory::Directory;
use crate::relay::auth::Scope;
use crate::relay::keys::{RequestKey, SessionKey};
use crate::relay::refusal::Fatal;
use crate::relay::{Relay, RelayEvent, Role, SessionId, Transport};
use crate::send::SendBuffer;
use crate::transmit::{Dir, StreamId};
use crate::wire::{
    ControlMessage, ControlReader, FetchReader, RequestErrorCode, SessionError, Setup, StreamKind, StreamResetCode,
    SubgroupReader,
};

use super::Phase;
use super::receiving::{EarlyStream, FetchIn, Receive, SubgroupIn};
use super::request::{Request, RequestKind};

/// Longest stream type (a variable-length integer) in bytes.
const STREAM_TYPE_LEN_MAX: usize = crate::wire::vi64::LEN_MAX;

/// When a request that was refused for a bound may be made again: bounds are reached in bursts.
const RETRY_AFTER_MS: u64 = 1_000;

/// Messages that one read of a request stream may bring: a first one, and now and then an update. Each costs a look at all that
/// the session has.
const MESSAGES_PER_READ_MAX: usize = 256;

/// One call's worth of a stream.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) stream: StreamId,
    pub(crate) dir: Dir,
    pub(crate) data: &'a [u8],
    pub(crate) fin: bool,
}

impl Relay {
    /// Bytes of one stream, in order. `fin`: the peer ended its half after them. The relay keeps what it needs: `data`
    /// is always taken whole. Unknown sessions are ignored.
    #[allow(clippy::too_many_arguments)]
    pub fn stream_data(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        session: SessionId,
        stream: StreamId,
        dir: Dir,
        data: &[u8],
        fin: bool,
    ) {
        let Some(&key) = self.by_id.get(&session) else { return };
        if let Err(fatal) = self.receive(now, directory, key, Chunk { stream, dir, data, fin }) {
            self.close(now, key, fatal);
        }
        self.count_receiving(key);
    }

    pub(crate) fn receive(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        chunk: Chunk<'_>,
    ) -> Result<(), Fatal> {
        let streams_max = self.config.streams_max;
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if session.is_closing() {
            return Ok(());
        }
        // MoQT-18 §3.3: requests may arrive before the control stream, and are buffered.
        let early = session.early.iter().any(|early| early.stream == chunk.stream);
        if session.phase == Phase::Setup && (chunk.dir == Dir::Bidi || early) {
            return self.hold_early(key, chunk);
        }
        if !session.receive.contains(chunk.stream) {
            if session.receive.stream_count() >= streams_max {
                return Err(Fatal::violation(format!("more than {streams_max} streams open at once")));
            }
            let receive = match chunk.dir {
                Dir::Uni => Receive::Fresh(Vec::new()),
                Dir::Bidi => self.accept_request(key, chunk.stream)?,
            };
            if let Some(session) = self.sessions.get_mut(key) {
                session.receive.insert(chunk.stream, receive);
            }
        }
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        match session.receive.remove(chunk.stream) {
            None => Ok(()),
            Some(Receive::Fresh(buffer)) => self.receive_fresh(now, directory, key, chunk, buffer),
            Some(Receive::Control(reader)) => self.receive_control(now, directory, key, chunk, reader),
            Some(Receive::Request(reader, request)) => {
                self.receive_request(now, directory, key, chunk, reader, request)
            }
            Some(Receive::Subgroup(subgroup)) => self.receive_subgroup(now, key, chunk, subgroup),
            Some(Receive::Fetch(fetch)) => self.receive_fetch(key, chunk, fetch),
            Some(Receive::Ignored) => {
                self.put_back(key, chunk, Receive::Ignored);
                Ok(())
            }
        }
    }

    /// Puts a stream's state back, unless the stream is over.
    pub(crate) fn put_back(&mut self, key: SessionKey, chunk: Chunk<'_>, receive: Receive) {
        if let Some(session) = self.sessions.get_mut(key)
            && !chunk.fin
            && !session.is_closing()
        {
            session.receive.insert(chunk.stream, receive);
        }
    }

    fn receive_fresh(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        chunk: Chunk<'_>,
        mut buffer: Vec<u8>,
    ) -> Result<(), Fatal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let ready = session.is_ready();
        let draft = session.draft();
        // Only the stream's type is collected here; the kind's own reader starts over with the same bytes.
        buffer.extend_from_slice(chunk.data);
        let kind = match StreamKind::peek(&buffer) {
            Ok(kind) => kind,
            Err(DecodeError::NeedMore) => {
                debug_assert!(buffer.len() < STREAM_TYPE_LEN_MAX);
                self.put_back(key, chunk, Receive::Fresh(buffer));
                return Ok(());
            }
            Err(DecodeError::Malformed(malformed)) => return Err(malformed.into()),
        };
        let all = Chunk { data: &buffer, ..chunk };
        let payload_len_max = self.config.object_len_max;
        match kind {
            StreamKind::Padding => {
                self.put_back(key, chunk, Receive::Ignored);
                Ok(())
            }
            StreamKind::Control => {
                if std::mem::replace(&mut session.peer_control, true) {
                    return Err(Fatal::violation("a second control stream"));
                }
                self.receive_control(now, directory, key, all, ControlReader::new(draft))
            }
            // MoQT-18 §3.3: data streams may arrive before the control stream, and are buffered.
            _ if !ready => self.hold_early(key, all),
            StreamKind::Subgroup => {
                let reader = SubgroupReader::new(draft, payload_len_max);
                let subgroup = SubgroupIn { reader, track: None, group: 0, subgroup: None, last: None, fin: false };
                self.receive_subgroup(now, key, all, subgroup)
            }
            StreamKind::Fetch => {
                let reader = FetchReader::new(draft, payload_len_max);
                self.receive_fetch(key, all, FetchIn { reader, pull: None })
            }
        }
    }

    /// Keeps a stream's bytes until SETUP is through.
    fn hold_early(&mut self, key: SessionKey, chunk: Chunk<'_>) -> Result<(), Fatal> {
        let (len_max, streams_max) = (self.config.receive_buffer_len_max, self.config.streams_max);
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        session.early_len = session.early_len.saturating_add(chunk.data.len());
        if session.early_len > len_max {
            return Err(Fatal::violation(format!("more than {len_max} bytes before SETUP")));
        }
        if let Some(early) = session.early.iter_mut().find(|early| early.stream == chunk.stream) {
            early.data.extend_from_slice(chunk.data);
            early.fin |= chunk.fin;
            return Ok(());
        }
        if session.early.len() >= streams_max {
            return Err(Fatal::violation(format!("more than {streams_max} streams before SETUP")));
        }
        let (stream, dir, fin) = (chunk.stream, chunk.dir, chunk.fin);
        session.early.push_back(EarlyStream { stream, dir, data: chunk.data.to_vec(), fin });
        if dir == Dir::Uni && !fin {
            // What follows on the stream goes behind what is held.
            session.receive.insert(stream, Receive::Fresh(Vec::new()));
        }
        Ok(())
    }

    fn receive_control(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        chunk: Chunk<'_>,
        mut reader: ControlReader,
    ) -> Result<(), Fatal> {
        reader.push(chunk.data);
        while let Some(message) = reader.next_message()? {
            match message {
                ControlMessage::Setup(setup) => self.receive_setup(now, directory, key, setup)?,
                ControlMessage::Goaway(goaway) => {
                    let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
                    if session.phase == Phase::Setup {
                        return Err(Fatal::violation("the control stream does not begin with SETUP"));
                    }
                    if std::mem::replace(&mut session.goaway_received, true) {
                        return Err(Fatal::violation("a second GOAWAY"));
                    }
                    if !goaway.new_session_uri.is_empty() {
                        return Err(Fatal::violation("GOAWAY of a client with a URI"));
                    }
                    if goaway.request_id.is_some_and(|id| id.is_multiple_of(2)) {
                        return Err(Fatal::new(SessionError::InvalidRequestId, "GOAWAY names a request of its sender"));
                    }
                }
                other => {
                    let name = other.message_type().name();
                    return Err(Fatal::violation(format!("{name} on the control stream")));
                }
            }
        }
        if chunk.fin {
            return Err(Fatal::violation("the control stream was closed"));
        }
        self.put_back(key, chunk, Receive::Control(reader));
        self.replay_early(now, directory, key)
    }

    fn receive_setup(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        setup: Setup,
    ) -> Result<(), Fatal> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if session.phase != Phase::Setup {
            return Err(Fatal::violation("a second SETUP"));
        }
        let path = match session.config.transport {
            // MoQT-18 §10.3.1.1, §10.3.1.2: both are for raw QUIC only.
            Transport::WebTransport if setup.path.is_some() => {
                return Err(Fatal::new(SessionError::InvalidPath, "PATH is not allowed on WebTransport"));
            }
            Transport::WebTransport if setup.authority.is_some() => {
                return Err(Fatal::new(SessionError::InvalidAuthority, "AUTHORITY is not allowed on WebTransport"));
            }
            Transport::WebTransport => session.config.path.clone().unwrap_or_default(),
            Transport::Quic => setup.path.unwrap_or_default(),
        };
        let scope = Scope::from_path(&path, &setup.auth_tokens, self.config.open, directory, self.unix_now_ms)?;
        let (role, resource, namespace) = (scope.role, scope.resource.clone(), scope.namespace.clone());
        session.scope = Some(scope);
        session.phase = Phase::Ready;
        let id = session.id;
        if let (Some(namespace), Role::Publish) = (namespace, role) {
            session.announce_namespace(namespace);
            self.settle_tenant(key);
            self.limit_publishers(key)?;
        }
        self.authorize_session(now, directory, key)?;
        self.events.push_back(RelayEvent::SessionReady { session: id, role, resource: resource.clone() });
        if role == Role::Publish {
            self.events.push_back(RelayEvent::PublishReady { session: id, input: resource });
        }
        self.mark_dirty(key);
        self.arm_session(now, key);
        Ok(())
    }

    /// Replays the streams that arrived before SETUP, in the order they came.
    fn replay_early(&mut self, now: Instant, directory: &dyn Directory, key: SessionKey) -> Result<(), Fatal> {
        loop {
            let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
            if !session.is_ready() {
                return Ok(());
            }
            let Some(early) = session.early.pop_front() else { return Ok(()) };
            session.early_len = session.early_len.saturating_sub(early.data.len());
            let EarlyStream { stream, dir, data, fin } = early;
            self.receive(now, directory, key, Chunk { stream, dir, data: &data, fin })?;
        }
    }

    /// The state for a new request stream of the peer.
    fn accept_request(&mut self, key: SessionKey, stream: StreamId) -> Result<Receive, Fatal> {
        let requests_max = self.config.requests_max;
        let Some(session) = self.sessions.get_mut(key) else { return Ok(Receive::Ignored) };
        let draft = session.draft();
        if session.is_stopped_early(stream) {
            session.stops.push((stream, StreamResetCode::Cancelled.to_u64()));
            self.mark_dirty(key);
            return Ok(Receive::Ignored);
        }
        if session.requests.len() >= requests_max {
            session.stops.push((stream, StreamResetCode::ExcessiveLoad.to_u64()));
            session.resets.push((stream, StreamResetCode::ExcessiveLoad.to_u64()));
            self.counters.requests_refused += 1;
            self.mark_dirty(key);
            return Ok(Receive::Ignored);
        }
        let request = session.requests.insert(Request {
            stream: Some(stream),
            id: u64::MAX,
            out: SendBuffer::default(),
            kind: RequestKind::Fresh,
            deadline: None,
            cancel: None,
            queued: false,
            receiving: true,
            grant: None,
            reads: None,
        });
        session.request_by_stream.insert(stream, request);
        Ok(Receive::Request(ControlReader::new(draft), request))
    }

    fn receive_request(
        &mut self,
        now: Instant,
        directory: &dyn Directory,
        key: SessionKey,
        chunk: Chunk<'_>,
        mut reader: ControlReader,
        request: RequestKey,
    ) -> Result<(), Fatal> {
        reader.push(chunk.data);
        let mut messages = 0;
        while let Some(message) = reader.next_message()? {
            messages += 1;
            if messages > MESSAGES_PER_READ_MAX {
                let reason = format!("more than {MESSAGES_PER_READ_MAX} messages at once on one request stream");
                return Err(Fatal::violation(reason));
            }
            self.on_message(now, directory, key, request, message)?;
            // One message may be answered by many; what a read costs is bounded by what is unread after each.
            self.check_send_len(key)?;
        }
        if chunk.fin {
            reader.finish()?;
        }
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let ours = session.request_by_stream.get(&chunk.stream) == Some(&request);
        if ours && chunk.fin {
            self.on_request_fin(now, key, request);
        } else {
            let receive = if ours { Receive::Request(reader, request) } else { Receive::Ignored };
            self.put_back(key, chunk, receive);
        }
        Ok(())
    }

    /// A peer that asks and never reads must not make us keep its answers.
    fn check_send_len(&mut self, key: SessionKey) -> Result<(), Fatal> {
        let len_max = self.config.send_buffer_len_max;
        let Some(session) = self.sessions.get(key) else { return Ok(()) };
        if session.send_len() > len_max {
            return Err(Fatal::violation(format!("more than {len_max} bytes of answers are unread")));
        }
        Ok(())
    }

    pub(crate) fn refuse(&mut self, key: SessionKey, request: RequestKey, code: RequestErrorCode, reason: &str) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let reason = reason.to_owned();
        let retry_after_ms = (code == RequestErrorCode::ExcessiveLoad).then_some(RETRY_AFTER_MS);
        let error = crate::wire::RequestError { code, retry_after_ms, reason, redirect: None };
        session.answer(request, &ControlMessage::RequestError(error));
        session.finish_request(request);
        self.mark_dirty(key);
    }
}
