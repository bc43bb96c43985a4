//! The connection's state machine.
//!
//! ```text
//!   BeforePublish --publish--> Waiting --accept--> Publishing --end of stream--> Ended
//!         |                       |                    |
//!         +------- error ---------+------ reject ------+-----------------------> Over
//! ```

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use rtmp_runtime::amf0::Amf0Value;
use rtmp_runtime::handshake::Handshake;
use rtmp_runtime::message::msg_type;

use super::RtmpLimits;
use super::chunks::{ChunkReader, Message};
use super::command::{self, Command};
use super::flv::{Demuxed, FlvDemuxer, RtmpCounters};
use super::key::PublishTarget;
use super::replies::{Replies, StatusCode, WINDOW_LEN};
use crate::{Answer, IngestError, Protocol, PublishRequest, Session, SessionEvent};

/// Bytes that one call works on at most: with it, what a call may cost is bounded.
const SLICE_LEN_MAX: usize = 2 * 1024;
/// Messages that one call works on at most. A read of 2 KiB holds a handful, of a silent microphone's up to a hundred.
const MESSAGES_PER_SLICE_MAX: usize = 256;
/// What a client sends in the handshake (§5.2): a version and 1536 bytes, and once they are answered 1536 more.
const C0_C1_LEN: usize = 1 + 1536;
const C2_LEN: usize = 1536;
/// Acknowledgements may add one byte of reply for this many bytes of input.
const INPUT_PER_REPLY: usize = 16;
/// A window below this would ask for acknowledgements without end.
const WINDOW_LEN_MIN: u32 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Handshake and commands so far.
    BeforePublish,
    /// A publish request waits for its answer; input is held back.
    Waiting,
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
    handshake: Handshake,
    hello_answered: bool,
    /// Handshake bytes that are no whole part of it yet.
    shaken: Vec<u8>,
    chunks: ChunkReader,
    replies: Replies,
    phase: Phase,
    app: Option<String>,
    streams_made: u32,
    /// Message stream of the publish request.
    stream_id: u32,
    demuxer: FlvDemuxer,
    messages: usize,
    received_len: usize,
    /// Bytes behind the handshake: those that are acknowledged.
    chunks_len: u64,
    acknowledged_len: u64,
    window_len: u32,
    replied_len: usize,
    /// Input that came while a publish request waited, or is still behind it.
    held: BytesMut,
    events: VecDeque<SessionEvent>,
    /// To be written.
    out: Vec<u8>,
}

impl RtmpSession {
    /// A fresh connection.
    pub fn new(limits: RtmpLimits) -> Self {
        Self {
            handshake: Handshake::new(),
            hello_answered: false,
            shaken: Vec::new(),
            chunks: ChunkReader::new(limits.in_progress_len_max),
            replies: Replies::new(),
            phase: Phase::BeforePublish,
            app: None,
            streams_made: 0,
            stream_id: 0,
            demuxer: FlvDemuxer::default(),
            messages: 0,
            received_len: 0,
            chunks_len: 0,
            acknowledged_len: 0,
            window_len: WINDOW_LEN,
            replied_len: 0,
            held: BytesMut::new(),
            events: VecDeque::new(),
            out: Vec::new(),
            limits,
        }
    }

    /// True once a publish was accepted and until the session ends.
    pub fn is_publishing(&self) -> bool {
        self.phase == Phase::Publishing
    }

    /// True while a publish request waits for its answer.
    pub fn is_waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// What the connection's tags were, so far.
    pub fn counters(&self) -> RtmpCounters {
        self.demuxer.counters()
    }

    fn refuse(&mut self, reason: &str, out: &mut Vec<u8>) {
        let code = match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Waiting => StatusCode::BadName,
            Phase::Publishing => StatusCode::Rejected,
            Phase::BeforePublish | Phase::Ended | Phase::Over => return,
        };
        // An unwritable reason leaves the close alone to tell it.
        let _ = self.replies.refuse(self.stream_id, code, reason, out);
    }

    fn take_slice(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, IngestError> {
        let slice = input.get(..SLICE_LEN_MAX).unwrap_or(input);
        match self.phase {
            Phase::Ended => return Ok(input.len()),
            Phase::Over => return Err(IngestError::Closed),
            Phase::Waiting => {
                let len = self.held.len().saturating_add(slice.len());
                if len > self.limits.held_len_max {
                    return Err(IngestError::Held { len, len_max: self.limits.held_len_max });
                }
                self.held.extend_from_slice(slice);
                return Ok(slice.len());
            }
            Phase::BeforePublish | Phase::Publishing => {}
        }
        if self.held.is_empty() {
            return self.work(slice, out);
        }
        let mut held = mem::take(&mut self.held);
        let older = held.get(..SLICE_LEN_MAX).unwrap_or(&held);
        let done = self.work(older, out)?;
        held.advance(done.min(held.len()));
        self.held = held;
        Ok(0)
    }

    /// Handshake and messages of one slice. How much of it was used.
    fn work(&mut self, slice: &[u8], out: &mut Vec<u8>) -> Result<usize, IngestError> {
        let replied_from = out.len();
        let mut rest = slice;
        if !self.handshake.is_done() {
            self.shake_hands(&mut rest, out)?;
        }
        let chunks_from = rest.len();
        for _ in 0..MESSAGES_PER_SLICE_MAX {
            let Some(message) = self.chunks.read(&mut rest)? else { break };
            self.message(message, out)?;
            if !matches!(self.phase, Phase::BeforePublish | Phase::Publishing) {
                break;
            }
        }
        let used = slice.len().saturating_sub(rest.len());
        self.received_len = self.received_len.saturating_add(used);
        self.chunks_len = self.chunks_len.saturating_add(chunks_from.saturating_sub(rest.len()) as u64);
        if self.chunks_len.saturating_sub(self.acknowledged_len) >= u64::from(self.window_len) {
            self.acknowledged_len = self.chunks_len;
            self.replies.acknowledge(self.chunks_len, out)?;
        }
        self.check_bounds(out.len().saturating_sub(replied_from))?;
        Ok(used)
    }

    fn check_bounds(&mut self, replied_len: usize) -> Result<(), IngestError> {
        self.replied_len = self.replied_len.saturating_add(replied_len);
        let len_max = self.limits.reply_len_max.saturating_add(self.received_len / INPUT_PER_REPLY);
        if self.replied_len > len_max {
            return Err(IngestError::Replies { len: self.replied_len, len_max });
        }
        let len_max = self.limits.before_publish_len_max;
        if self.phase == Phase::BeforePublish && self.received_len > len_max {
            return Err(IngestError::BeforePublish { len: self.received_len, len_max });
        }
        Ok(())
    }

    fn shake_hands(&mut self, rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), IngestError> {
        while !self.handshake.is_done() {
            let len = if self.hello_answered { C2_LEN } else { C0_C1_LEN };
            let (piece, after) = rest.split_at(len.saturating_sub(self.shaken.len()).min(rest.len()));
            self.shaken.extend_from_slice(piece);
            *rest = after;
            if self.shaken.len() < len {
                return Ok(());
            }
            let (reply, _, _) = self.handshake.read(&self.shaken)?;
            out.extend_from_slice(&reply);
            self.shaken = Vec::new();
            self.hello_answered = true;
        }
        Ok(())
    }

    fn message(&mut self, message: Message, out: &mut Vec<u8>) -> Result<(), IngestError> {
        self.messages = self.messages.saturating_add(1);
        let count_max = self.limits.before_publish_messages_max;
        if self.phase == Phase::BeforePublish && self.messages > count_max {
            return Err(IngestError::MessagesBeforePublish { count: self.messages, count_max });
        }
        let Message { kind, stream_id, timestamp, payload } = message;
        let Some(payload) = payload else {
            self.demuxer.count_ignored();
            return Ok(());
        };
        match kind {
            msg_type::SET_CHUNK_SIZE => {
                let wrong = IngestError::Chunk { what: "a chunk size is zero, above 2^31 - 1, or cut short" };
                self.chunks.set_chunk_len(&payload).ok_or(wrong)
            }
            msg_type::ABORT => {
                let wrong = IngestError::Chunk { what: "an abort names no chunk stream" };
                self.chunks.abort(&payload).ok_or(wrong)
            }
            msg_type::WINDOW_ACK_SIZE => {
                let len = payload.first_chunk().map_or(WINDOW_LEN, |bytes| u32::from_be_bytes(*bytes));
                self.window_len = len.max(WINDOW_LEN_MIN);
                Ok(())
            }
            msg_type::COMMAND_AMF0 => self.command(stream_id, &payload, out),
            // One byte of format in front of an AMF0 command.
            msg_type::COMMAND_AMF3 => self.command(stream_id, payload.get(1..).unwrap_or_default(), out),
            msg_type::AUDIO | msg_type::VIDEO | msg_type::DATA_AMF0 => self.media(kind, timestamp, payload),
            _ => {
                self.demuxer.count_ignored();
                Ok(())
            }
        }
    }

    fn command(&mut self, stream_id: u32, body: &[u8], out: &mut Vec<u8>) -> Result<(), IngestError> {
        let (command, transaction) = command::parse(body)?;
        let publishing = self.phase == Phase::Publishing;
        match command {
            Command::Connect { .. } | Command::Publish { .. } | Command::CreateStream if publishing => {
                Err(IngestError::Command { what: "this connection publishes already; open another one" })
            }
            Command::Connect { app } => {
                self.app = Some(app);
                self.replies.connected(stream_id, transaction, out)
            }
            Command::CreateStream if self.app.is_none() => {
                Err(IngestError::Command { what: "createStream came before connect" })
            }
            Command::CreateStream => {
                self.streams_made = self.streams_made.saturating_add(1);
                let arguments = vec![Amf0Value::Null, Amf0Value::Number(f64::from(self.streams_made))];
                self.replies.result(stream_id, transaction, arguments, out)
            }
            Command::Courtesy => self.replies.result(stream_id, transaction, vec![Amf0Value::Undefined], out),
            Command::Publish { name } => self.request(stream_id, &name),
            Command::End => {
                self.phase = Phase::Ended;
                self.held = BytesMut::new();
                self.events.push_back(SessionEvent::Closed);
                Ok(())
            }
            Command::Other => Ok(()),
        }
    }

    fn request(&mut self, stream_id: u32, name: &str) -> Result<(), IngestError> {
        let Some(app) = self.app.as_deref().filter(|_| self.streams_made > 0) else {
            return Err(IngestError::Command { what: "publish came before connect and createStream" });
        };
        let PublishTarget { app, key } = PublishTarget::find(app, name);
        let len_max = self.limits.stream_key_len_max;
        if key.len() > len_max {
            return Err(IngestError::StreamKey { len: key.len(), len_max });
        }
        self.stream_id = stream_id;
        self.phase = Phase::Waiting;
        self.chunks.take_media();
        self.events.push_back(SessionEvent::Publish(PublishRequest { app, key }));
        Ok(())
    }

    fn media(&mut self, kind: u8, timestamp: u32, payload: Bytes) -> Result<(), IngestError> {
        let event = match self.demuxer.message(kind, timestamp, payload)? {
            Demuxed::Unit(unit) => SessionEvent::Unit(unit),
            Demuxed::Metadata(metadata) => SessionEvent::Metadata(metadata),
            Demuxed::Notice(notice) => SessionEvent::Notice(notice),
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
            self.refuse(&error.to_string(), out);
        }
        self.phase = Phase::Over;
    }
}

/// A call works on at most 2 KiB and 256 messages. A refusal is an `onStatus` error: `NetStream.Publish.BadName` before
/// acceptance, `NetStream.Publish.Rejected` after.
impl Session for RtmpSession {
    fn protocol(&self) -> Protocol {
        Protocol::Rtmp
    }

    fn handle_input(&mut self, _now: Instant, input: &[u8]) -> Result<usize, IngestError> {
        let mut out = mem::take(&mut self.out);
        let result = self.take_slice(input, &mut out);
        if let Err(error) = &result {
            self.fail(error, &mut out);
        }
        self.out = out;
        result
    }

    fn is_behind(&self) -> bool {
        self.phase == Phase::Publishing && (!self.held.is_empty() || self.chunks.is_behind())
    }

    fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.out.is_empty();
        out.append(&mut self.out);
        any
    }

    fn answer(&mut self, answer: Answer<'_>) -> Result<(), IngestError> {
        let mut out = mem::take(&mut self.out);
        let answered = match answer {
            Answer::Accept if !self.is_waiting() => Err(IngestError::NotWaiting),
            Answer::Accept => {
                self.phase = Phase::Publishing;
                self.replies.start(self.stream_id, &mut out)
            }
            Answer::Refuse(reason) | Answer::RefuseAs(_, reason) => {
                self.refuse(reason, &mut out);
                Ok(())
            }
        };
        self.out = out;
        answered
    }
}
