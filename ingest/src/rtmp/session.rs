//! The connection's state machine.
//!
//! ```text
//!   BeforePublish --publish--> Waiting --accept--> Publishing --end of stream--> Ended
//!         |                       |                    |
//!         +------- error ---------+------ reject ------+-----------------------> Over
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::mem;

use bytes::{Buf, Bytes};
use rtmp_runtime::RtmpError;
use rtmp_runtime::server::{ServerConfig, ServerEvent, ServerSession};

use super::RtmpLimits;
use super::flv::{Demuxed, FlvDemuxer, RtmpCounters};
use super::key::PublishTarget;
use super::status::{StatusCode, write_error};
use crate::{AccessUnit, IngestError, StreamMetadata};

/// Input is handed on in slices of this many bytes, so that what one slice turns into stays small too.
const SLICE_LEN: usize = 16 * 1024;
/// Acknowledgements may add one byte of reply for this many bytes of input.
const INPUT_PER_REPLY: usize = 16;
/// Signature, version, flags, header size and the first `PreviousTagSize`: prefixed to the first tag of a session.
const FLV_HEADER_LEN: usize = 13;

/// What [`RtmpSession::poll_event`] tells.
pub enum RtmpEvent {
    /// The client asks to publish. Nothing more comes until [`RtmpSession::accept`] or [`RtmpSession::reject`].
    Publish {
        /// Application name of the URL (`live`), without a query.
        app: String,
        /// The stream key, from the name, the path or the query of the URL; may be empty. A secret: never log it.
        key: String,
    },
    /// `onMetaData`: hints for the catalog. May come again at any time.
    Metadata(StreamMetadata),
    /// One access unit in the encoder's own time.
    Unit(AccessUnit),
    /// The client ended the stream in good order.
    Closed,
}

impl fmt::Debug for RtmpEvent {
    /// The stream key is a secret and stays out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish { app, .. } => f.debug_struct("Publish").field("app", app).finish_non_exhaustive(),
            Self::Metadata(metadata) => f.debug_tuple("Metadata").field(metadata).finish(),
            Self::Unit(unit) => f.debug_tuple("Unit").field(unit).finish(),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

enum Phase {
    /// Handshake and commands so far.
    BeforePublish,
    /// A publish request waits for its answer.
    Waiting {
        /// The protocol's reply that starts the client.
        reply: Vec<u8>,
        /// Events that came in the same slice.
        events: Vec<ServerEvent>,
        /// Input that came since.
        input: Vec<u8>,
    },
    Publishing,
    /// The client ended the stream; what it still says on the way out is not read.
    Ended,
    Over,
}

/// One encoder's RTMP connection: feed what was read, write what comes out, poll the events.
///
/// It holds no clock: its owner closes a connection that is not [`RtmpSession::is_publishing`] in time.
pub struct RtmpSession {
    limits: RtmpLimits,
    server: ServerSession,
    phase: Phase,
    /// Message stream of the publish request.
    stream_id: u32,
    demuxer: FlvDemuxer,
    first_tag: bool,
    received_len: usize,
    replied_len: usize,
    events: VecDeque<RtmpEvent>,
}

impl RtmpSession {
    /// A fresh connection.
    pub fn new(limits: RtmpLimits) -> Self {
        let config = ServerConfig::default().with_max_in_progress_bytes(limits.in_progress_len_max);
        Self {
            limits,
            server: ServerSession::new(config),
            phase: Phase::BeforePublish,
            stream_id: 0,
            demuxer: FlvDemuxer::default(),
            first_tag: true,
            received_len: 0,
            replied_len: 0,
            events: VecDeque::new(),
        }
    }

    /// Feeds bytes read from the connection; appends bytes to be written to `out`.
    ///
    /// # Errors
    /// Any [`IngestError`] ends the session: write `out` (it may tell the client why), then close.
    pub fn handle_data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), IngestError> {
        let result = self.feed(input, out);
        if let Err(error) = &result {
            self.fail(error, out);
        }
        result
    }

    /// The next event, in order. Poll until `None` after every call that may produce one.
    pub fn poll_event(&mut self) -> Option<RtmpEvent> {
        self.events.pop_front()
    }

    /// The stream key is good: tells the client to start, and lets what was held back through.
    ///
    /// # Errors
    /// [`IngestError::NotWaiting`] without a request, or what the held bytes turn out to be (as [`RtmpSession::handle_data`]).
    pub fn accept(&mut self, out: &mut Vec<u8>) -> Result<(), IngestError> {
        if !self.is_waiting() {
            return Err(IngestError::NotWaiting);
        }
        let Phase::Waiting { reply, events, input } = mem::replace(&mut self.phase, Phase::Publishing) else {
            return Err(IngestError::NotWaiting);
        };
        out.extend_from_slice(&reply);
        let result = self.take_events(events).and_then(|()| self.feed(&input, out));
        if let Err(error) = &result {
            self.fail(error, out);
        }
        result
    }

    /// Refuses the request, or ends an accepted publish: `out` gets an `onStatus` error with `reason`
    /// (`NetStream.Publish.BadName` before acceptance, `NetStream.Publish.Rejected` after). Write it, then close.
    pub fn reject(&mut self, reason: &str, out: &mut Vec<u8>) {
        let code = match self.phase {
            Phase::Waiting { .. } => StatusCode::BadName,
            Phase::Publishing => StatusCode::Rejected,
            Phase::BeforePublish | Phase::Ended | Phase::Over => {
                self.phase = Phase::Over;
                return;
            }
        };
        self.phase = Phase::Over;
        // An unwritable reason leaves the close alone to tell it.
        let _ = write_error(self.stream_id, code, reason, out);
    }

    /// True once a publish was accepted and until the session ends.
    pub fn is_publishing(&self) -> bool {
        matches!(self.phase, Phase::Publishing)
    }

    /// True while a publish request waits for [`RtmpSession::accept`] or [`RtmpSession::reject`].
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    /// What the connection's tags were, so far.
    pub fn counters(&self) -> RtmpCounters {
        self.demuxer.counters()
    }

    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), IngestError> {
        for slice in input.chunks(SLICE_LEN) {
            match &mut self.phase {
                Phase::Ended => return Ok(()),
                Phase::Over => return Err(IngestError::Closed),
                Phase::Waiting { input: held, .. } => {
                    let len = held.len().saturating_add(slice.len());
                    if len > self.limits.held_len_max {
                        return Err(IngestError::Held { len, len_max: self.limits.held_len_max });
                    }
                    held.extend_from_slice(slice);
                }
                Phase::BeforePublish | Phase::Publishing => self.feed_slice(slice, out)?,
            }
        }
        Ok(())
    }

    fn feed_slice(&mut self, slice: &[u8], out: &mut Vec<u8>) -> Result<(), IngestError> {
        self.received_len = self.received_len.saturating_add(slice.len());
        let before_publish = matches!(self.phase, Phase::BeforePublish);
        let (reply, mut events) = self.server.handle_data(slice)?;
        self.replied_len = self.replied_len.saturating_add(reply.len());
        let reply_len_max = self.limits.reply_len_max.saturating_add(self.received_len / INPUT_PER_REPLY);
        if self.replied_len > reply_len_max {
            return Err(IngestError::Replies { len: self.replied_len, len_max: reply_len_max });
        }
        if !before_publish {
            out.extend_from_slice(&reply);
            return self.take_events(events);
        }
        let Some(at) = events.iter().position(|event| matches!(event, ServerEvent::Publish { .. })) else {
            let len_max = self.limits.before_publish_len_max;
            if self.received_len > len_max {
                return Err(IngestError::BeforePublish { len: self.received_len, len_max });
            }
            out.extend_from_slice(&reply);
            return self.take_events(events);
        };
        let after = events.split_off(at.saturating_add(1));
        if let Some(ServerEvent::Publish { app, stream_key, stream_id }) = events.pop() {
            self.request(&app, &stream_key, stream_id)?;
        }
        self.phase = Phase::Waiting { reply, events: after, input: Vec::new() };
        Ok(())
    }

    fn request(&mut self, app: &str, name: &str, stream_id: u32) -> Result<(), IngestError> {
        self.stream_id = stream_id;
        let PublishTarget { app, key } = PublishTarget::find(app, name);
        let len_max = self.limits.stream_key_len_max;
        if key.len() > len_max {
            return Err(IngestError::StreamKey { len: key.len(), len_max });
        }
        self.events.push_back(RtmpEvent::Publish { app, key });
        Ok(())
    }

    fn take_events(&mut self, events: Vec<ServerEvent>) -> Result<(), IngestError> {
        for event in events {
            match event {
                ServerEvent::Connected { .. } => {}
                ServerEvent::Publish { .. } => {
                    return Err(RtmpError::UnexpectedState { what: "second publish on one connection" }.into());
                }
                ServerEvent::Media { flv } => self.tag(flv)?,
                ServerEvent::Eof => {
                    self.phase = Phase::Ended;
                    self.events.push_back(RtmpEvent::Closed);
                    return Ok(());
                }
                _ => self.demuxer.count_ignored(),
            }
        }
        Ok(())
    }

    fn tag(&mut self, flv: Vec<u8>) -> Result<(), IngestError> {
        let mut tag = Bytes::from(flv);
        if mem::take(&mut self.first_tag) {
            tag.advance(FLV_HEADER_LEN.min(tag.len()));
        }
        let event = match self.demuxer.tag(tag)? {
            Demuxed::Unit(unit) => RtmpEvent::Unit(unit),
            Demuxed::Metadata(metadata) => RtmpEvent::Metadata(metadata),
            Demuxed::Nothing => return Ok(()),
        };
        let len = self.events.len().saturating_add(1);
        if len > self.limits.events_max {
            return Err(IngestError::Events { len, len_max: self.limits.events_max });
        }
        self.events.push_back(event);
        Ok(())
    }

    fn fail(&mut self, error: &IngestError, out: &mut Vec<u8>) {
        if !matches!(error, IngestError::Closed) {
            self.reject(&error.to_string(), out);
        }
        self.phase = Phase::Over;
    }
}
