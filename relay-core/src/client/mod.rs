//! The other end of the wire: one session of a viewer, or of a small publisher, without any input or output.
//!
//! ```text
//!   stream_data / stream_reset --> requests' answers, objects --> order --> poll_event
//!   subscribe, fetch, announce --> request streams           --> pump(io)
//! ```
//!
//! A viewer gets the objects of a subscription group by group: the answer of the joining FETCH first, then the groups of the
//! subscription in ascending order, each closed by [`ClientEvent::GroupEnd`]. A group that does not go on while a newer one
//! has begun is given up after [`ClientConfig::group_wait`].

mod event;
mod incoming;
mod order;
mod publisher;
mod receive;
mod requests;

pub use event::{ClientEvent, ObjectReceived, RequestId};
pub use publisher::FetchAnswer;
pub use requests::{FetchRequest, Join, SubscribeRequest};

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::relay::{Pumped, Transport};
use crate::send::SendBuffer;
use crate::transmit::{Dir, StreamId, Transmit, TransmitError};
use crate::wire::{AuthToken, ControlMessage, ControlReader, Draft, SessionError, Setup};

use incoming::Incoming;
use publisher::OutgoingStream;
use requests::{Kind, Request};

/// How a client session is set up.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Negotiated draft.
    pub draft: Draft,
    /// What carries the session. PATH and AUTHORITY are sent on raw QUIC only.
    pub transport: Transport,
    /// Path and query of the URL.
    pub path: String,
    /// Host and port of the URL.
    pub authority: String,
    /// A playback token for SETUP, when it is not in the path.
    pub token: Option<String>,
    /// MOQT_IMPLEMENTATION.
    pub implementation: String,
    /// Larger objects close the session.
    pub object_len_max: usize,
    /// Bytes of later groups that may wait for an earlier one.
    pub pending_len_max: usize,
    /// How long a later group waits for an earlier one; zero delivers everything as it comes.
    pub group_wait: Duration,
    /// How long a group waits when the one before it was not seen at all: its stream may have been overtaken, or it does
    /// not exist. Only for tracks whose group ids count by one; a jump of other ids says nothing.
    pub gap_wait: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            draft: Draft::D18,
            transport: Transport::Quic,
            path: String::new(),
            authority: String::new(),
            token: None,
            implementation: concat!("streams-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            object_len_max: 8 * 1024 * 1024,
            pending_len_max: 32 * 1024 * 1024,
            group_wait: Duration::from_secs(1),
            gap_wait: Duration::from_millis(100),
        }
    }
}

/// One client session.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    ready: bool,
    /// The session is over: to be closed by us with this code and reason, until `told`.
    closing: Option<(u64, String)>,
    told: bool,
    control: SendBuffer,
    control_stream: Option<StreamId>,
    peer_control: bool,
    next_id: u64,
    requests: HashMap<RequestId, Request>,
    by_stream: HashMap<StreamId, RequestId>,
    /// Requests with something to send, in order.
    flush: VecDeque<RequestId>,
    incoming: HashMap<StreamId, Incoming>,
    /// Track aliases that the relay chose for our subscriptions.
    aliases: HashMap<u64, RequestId>,
    outgoing: Vec<OutgoingStream>,
    stops: Vec<(StreamId, u64)>,
    resets: Vec<(StreamId, u64)>,
    events: VecDeque<ClientEvent>,
}

impl Client {
    /// A session whose SETUP is ready to be pumped.
    pub fn new(config: ClientConfig) -> Self {
        let raw = config.transport == Transport::Quic;
        let setup = Setup {
            path: raw.then(|| config.path.clone()),
            authority: (raw && !config.authority.is_empty()).then(|| config.authority.clone()),
            auth_tokens: config.token.as_deref().map(AuthToken::playback).into_iter().collect(),
            max_auth_token_cache_size: None,
            implementation: Some(config.implementation.clone()),
        };
        let mut control = SendBuffer::default();
        let fits = control.push(config.draft, &ControlMessage::Setup(setup));
        let closing =
            (!fits).then(|| (SessionError::Internal.to_u64(), "SETUP is too large: shorten the URL".to_owned()));
        Self {
            config,
            ready: false,
            closing,
            told: false,
            control,
            control_stream: None,
            peer_control: false,
            // MoQT-18 §10.1: the client generates even request ids, starting at 0.
            next_id: 0,
            requests: HashMap::new(),
            by_stream: HashMap::new(),
            flush: VecDeque::new(),
            incoming: HashMap::new(),
            aliases: HashMap::new(),
            outgoing: Vec::new(),
            stops: Vec::new(),
            resets: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// What happened; call until `None` after every batch of calls.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Ends the session with a MoQT session code.
    pub fn close(&mut self, code: SessionError, reason: &str) {
        if self.closing.is_none() {
            self.closing = Some((code.to_u64(), reason.to_owned()));
        }
    }

    /// Requests that are not over yet.
    pub fn requests_open(&self) -> usize {
        self.requests.len()
    }

    /// Streams of the relay that have not ended.
    pub fn streams_open(&self) -> usize {
        self.incoming.len()
    }

    /// Whether the session is over, or about to be.
    pub fn is_closed(&self) -> bool {
        self.closing.is_some()
    }

    /// The transport is gone, with the peer's code and reason if it gave any.
    pub fn transport_closed(&mut self, code: u64, reason: &str) {
        if !self.told {
            self.told = true;
            self.closing.get_or_insert_with(|| (code, reason.to_owned()));
            self.events.push_back(ClientEvent::Closed { code, reason: reason.to_owned() });
        }
    }

    /// When [`Client::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.requests.values().filter_map(Request::deadline).min()
    }

    /// Runs everything that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut due: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        due.sort_unstable();
        for id in due {
            self.release(now, id);
        }
    }

    /// Sends what is ready: control first, then requests, then published objects.
    pub fn pump(&mut self, _now: Instant, io: &mut dyn Transmit) -> Pumped {
        if let Some((code, reason)) = &self.closing {
            if !std::mem::replace(&mut self.told, true) {
                io.close(*code, reason);
            }
            return Pumped { more: false };
        }
        let control = match self.control_stream.or_else(|| io.open_uni()) {
            Some(stream) => stream,
            None => return Pumped { more: true },
        };
        self.control_stream = Some(control);
        let mut more = !matches!(self.control.flush(control, io), Ok(true));
        more |= self.pump_requests(io);
        for (stream, code) in self.stops.drain(..) {
            io.stop(stream, code);
        }
        for (stream, code) in self.resets.drain(..) {
            io.reset(stream, code);
        }
        more |= self.pump_outgoing(io);
        Pumped { more }
    }

    fn pump_requests(&mut self, io: &mut dyn Transmit) -> bool {
        for _ in 0..self.flush.len() {
            let Some(id) = self.flush.pop_front() else { break };
            if !self.pump_request(id, io) {
                self.flush.push_back(id);
            }
        }
        !self.flush.is_empty()
    }

    /// `true`: nothing is left to send for now.
    fn pump_request(&mut self, id: RequestId, io: &mut dyn Transmit) -> bool {
        let draft = self.config.draft;
        let Some(request) = self.requests.get_mut(&id) else { return true };
        let stream = match request.stream {
            Some(stream) => stream,
            None => {
                let Some(stream) = io.open_bidi() else { return false };
                request.stream = Some(stream);
                self.by_stream.insert(stream, id);
                self.incoming.insert(stream, Incoming::Request(ControlReader::new(draft), id));
                stream
            }
        };
        let sent = match request.cancel {
            // MoQT-18 §3.3.2: a request is cancelled by ending both directions abruptly.
            Some(code) => {
                request.out.clear();
                io.reset(stream, code);
                io.stop(stream, code);
                true
            }
            None => match request.out.flush(stream, io) {
                Ok(sent) => sent,
                Err(TransmitError::Stopped(_) | TransmitError::Closed) => {
                    request.out.clear();
                    true
                }
            },
        };
        // Objects of a fetch or subscription may still come after both halves of its request have ended.
        let unfinished = matches!(request.kind, Kind::Subscription(_) | Kind::Fetch { .. }) && !request.over;
        let ended = request.answered && request.out.is_finished() && !unfinished;
        if sent && (request.cancel.is_some() || ended) {
            self.forget(id);
        }
        sent
    }

    /// Bytes of one stream, in order; always taken whole.
    pub fn stream_data(&mut self, now: Instant, stream: StreamId, dir: Dir, data: &[u8], fin: bool) {
        if self.closing.is_some() {
            return;
        }
        if let Err(fatal) = self.receive(now, stream, dir, data, fin) {
            self.events.push_back(ClientEvent::Closed { code: fatal.0.to_u64(), reason: fatal.1.clone() });
            self.close(fatal.0, &fatal.1);
        }
    }

    /// The peer reset its half of a stream.
    pub fn stream_reset(&mut self, now: Instant, stream: StreamId, code: u64) {
        self.incoming_reset(now, stream, code);
    }

    /// The peer sent STOP_SENDING for a stream.
    pub fn stream_stopped(&mut self, now: Instant, stream: StreamId, code: u64) {
        if let Some(&id) = self.by_stream.get(&stream) {
            self.request_cancelled(now, id);
        }
        for outgoing in self.outgoing.iter_mut().filter(|outgoing| outgoing.stream == Some(stream)) {
            outgoing.reset = Some(code);
        }
    }
}
