//! One WebTransport session over HTTP/3, on raw quiche streams.
//!
//! quiche's own HTTP/3 layer has no WebTransport streams, so the few parts that a session needs are here: our control stream
//! with SETTINGS, the CONNECT request and its answer, stream prefixes both ways, and the close capsule. QPACK is static only
//! (table capacity 0), so the peer's QPACK streams carry nothing that matters.
//!
//! ```text
//!   uni 0x00 control | 0x02, 0x03 QPACK | 0x54 <session> payload      bidi 0x41 <session> payload | HTTP/3 frames (CONNECT)
//! ```
//!
//! The machine knows no transport: it asks for what is to happen through [`Http3Io`]. Every stream that the peer opens is in one
//! state until both of its halves are ended, by the peer, by the relay, or by a word of refusal from here.

mod answers;
mod capsules;
mod connect;
pub(super) mod errors;
mod frames;

use std::collections::HashMap;

use streams_relay_core::relay::{Dir, SessionId, StreamId};
use web_transport_proto::{Capsule, ConnectResponse, Frame, Settings, StreamUni, VarInt};

use super::SessionSink;
use super::connection::direction;
use super::prefix::{FrameReader, PartialVarInt, Piece};
use answers::{answer, http_status, respond};
pub(super) use capsules::CapsuleReader;
pub(super) use connect::Opened;
use connect::Request;
use errors::{
    BUFFERED_STREAM_REJECTED, H3_CLOSED_CRITICAL_STREAM, H3_EXCESSIVE_LOAD, H3_FRAME_ERROR, H3_ID_ERROR,
    H3_INTERNAL_ERROR, H3_MESSAGE_ERROR, H3_REQUEST_INCOMPLETE, H3_STREAM_CREATION_ERROR,
};
use frames::{on_control, on_request};

/// MoQT drafts offered over WebTransport, best first.
const PROTOCOLS: &[&str] = &["moqt-18"];
/// Streams that may wait for the CONNECT to be answered.
const WAITING_MAX: usize = 16;
/// Unidirectional streams of no session that are open at once. quiche gives no credit back for one that it was told to stop, so
/// they are read and dropped until the peer ends them; who opens more and ends none is told by the end of the connection.
const REFUSED_MAX: usize = 16;

/// Bytes kept of frames that are not whole and of streams that wait, in all.
const KEPT_LEN_MAX: usize = 256 << 10;

/// What the machine may ask of the transport.
pub(super) trait Http3Io {
    /// Sends on a stream. `false`: not all of it was taken, which a peer brings about that allows us next to nothing.
    fn send(&mut self, id: u64, data: &[u8], fin: bool) -> bool;
    /// Ends our half of a stream that the peer opened, without any more data.
    fn reset(&mut self, id: u64, code: u64);
    /// Asks the peer to end its half of a bidirectional stream. Nothing that comes on it is handed in any more.
    fn stop(&mut self, id: u64, code: u64);
    /// Ends the connection with an error of HTTP/3. Only the first one counts.
    fn close(&mut self, code: u64, reason: &str);
}

/// The HTTP/3 and WebTransport state of one connection. It serves one session: MoQT never needs a second.
#[derive(Default)]
pub(super) struct WebTransport {
    streams: HashMap<u64, Incoming>,
    session: Option<u64>,
    opened: Option<Opened>,
    settings_seen: bool,
    /// Kinds of critical streams that were opened, a bit each.
    critical: u8,
    waiting: Vec<u64>,
    /// Unidirectional streams of no session that are open.
    refused: usize,
    released: bool,
    ended: bool,
    close_sent: bool,
    /// What the transport has not taken yet of the close capsule.
    close_rest: Vec<u8>,
}

/// How far a stream that the peer opened has come.
enum Incoming {
    /// Its kind is being read.
    Kind(PartialVarInt),
    /// The number of its session is being read.
    Session(PartialVarInt),
    /// The CONNECT of its session is still to be answered.
    Waiting {
        of: u64,
        held: Vec<u8>,
        fin: bool,
    },
    /// It is the relay's.
    Payload,
    Control(FrameReader),
    /// A QPACK stream.
    Critical,
    /// The first frame's type was read as the stream's kind, so the reader starts inside it.
    Request(FrameReader),
    /// The CONNECT stream after our answer: DATA frames with capsules.
    Connect(FrameReader, CapsuleReader),
    /// Read and dropped until it ends.
    Ignored {
        refused: bool,
    },
}

impl Incoming {
    fn kept_len(&self) -> usize {
        match self {
            Self::Waiting { held, .. } => held.len(),
            Self::Control(reader) | Self::Request(reader) | Self::Connect(reader, _) => reader.kept_len(),
            _ => 0,
        }
    }
}

/// What a step made of a stream.
enum Step {
    /// There may be more to read in the new state.
    On(Incoming),
    /// All bytes are taken.
    Stay(Incoming),
    /// Nothing more is to come from it.
    Over,
}

/// What a reset of the peer was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResetOf {
    /// A stream of the relay.
    Payload,
    /// Nobody's but ours.
    Other,
}

impl WebTransport {
    /// Sends SETTINGS on our control stream.
    pub(super) fn start(io: &mut dyn Http3Io, control: u64) -> Self {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut wire = Vec::with_capacity(64);
        settings.encode(&mut wire);
        let mut state = Self::default();
        if !io.send(control, &wire, false) {
            state.fail(io, H3_INTERNAL_ERROR, "there is no room for a control stream");
        }
        state
    }

    /// Whether bytes of this stream may be read now.
    pub(super) fn wants(&self, id: u64) -> bool {
        !self.ended && !matches!(self.streams.get(&id), Some(Incoming::Waiting { .. }))
    }

    /// The peer closed the session, or broke HTTP/3 so that it cannot go on.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// After the session was accepted: hands over what waiting streams held and returns those to read on.
    pub(super) fn release(&mut self, io: &mut dyn Http3Io, session: SessionId, sink: &mut dyn SessionSink) -> Vec<u64> {
        if !std::mem::take(&mut self.released) {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting);
        for id in &waiting {
            let Some(Incoming::Waiting { of, held, fin }) = self.streams.remove(id) else { continue };
            if self.session != Some(of) {
                if let Step::Stay(state) = self.reject(io, *id)
                    && !fin
                {
                    self.streams.insert(*id, state);
                }
                continue;
            }
            sink.stream_data(session, StreamId(*id), direction(*id), &held, fin);
            if !fin {
                self.streams.insert(*id, Incoming::Payload);
            }
        }
        waiting
    }

    /// Takes the session's number off the front of a datagram (RFC 9297 §2.1: a quarter of its CONNECT stream's id). `false`:
    /// it belongs to no session that we know.
    pub(super) fn owns_datagram(&self, data: &mut &[u8]) -> bool {
        let quarter = PartialVarInt::default().feed(data);
        self.session.is_some_and(|session| quarter == Some(session / 4))
    }

    /// The session's number in front of a datagram of ours. `None` before the session is accepted.
    pub(super) fn datagram_prefix(&self) -> Option<Vec<u8>> {
        let mut wire = Vec::new();
        VarInt::from_u64(self.session? / 4).ok()?.encode(&mut wire);
        Some(wire)
    }

    /// The stream prefix of one that we open. `None` before the session is accepted.
    pub(super) fn prefix(&self, bidi: bool) -> Option<Vec<u8>> {
        let session = VarInt::from_u64(self.session?).ok()?;
        let mut wire = Vec::with_capacity(10);
        if bidi {
            Frame::WEBTRANSPORT.encode(&mut wire);
        } else {
            StreamUni::WEBTRANSPORT.encode(&mut wire);
        }
        session.encode(&mut wire);
        Some(wire)
    }

    /// Bytes of one stream. Returns what a CONNECT that was accepted just now said.
    pub(super) fn receive(
        &mut self,
        io: &mut dyn Http3Io,
        id: u64,
        data: &[u8],
        fin: bool,
        session: SessionId,
        sink: &mut dyn SessionSink,
    ) -> Option<Opened> {
        // Streams that we opened (odd ids) have no prefix on the way back.
        if id & 1 == 1 {
            sink.stream_data(session, StreamId(id), direction(id), data, fin);
            return None;
        }
        let mut input = data;
        let mut state = self.streams.remove(&id).unwrap_or(Incoming::Kind(PartialVarInt::default()));
        loop {
            match self.step(io, id, state, &mut input) {
                Step::On(next) => state = next,
                Step::Stay(next) => {
                    state = next;
                    break;
                }
                Step::Over => return self.opened.take(),
            }
        }
        match &mut state {
            Incoming::Payload => sink.stream_data(session, StreamId(id), direction(id), input, fin),
            Incoming::Waiting { held, fin: ended, .. } => {
                held.extend_from_slice(input);
                *ended = fin;
                self.keep(io, id, state);
                return None;
            }
            _ => {}
        }
        if fin {
            self.end(io, id, &state);
        } else {
            self.keep(io, id, state);
        }
        self.opened.take()
    }

    /// More may come on this stream.
    fn keep(&mut self, io: &mut dyn Http3Io, id: u64, state: Incoming) {
        let grows = state.kept_len() > 0;
        self.streams.insert(id, state);
        if grows && self.kept_len() > KEPT_LEN_MAX {
            self.fail(io, H3_EXCESSIVE_LOAD, "too much is waiting for its end or its session");
        }
    }

    fn step(&mut self, io: &mut dyn Http3Io, id: u64, state: Incoming, input: &mut &[u8]) -> Step {
        match state {
            Incoming::Kind(mut partial) => match partial.feed(input) {
                Some(kind) => self.begin(io, id, kind),
                None => Step::Stay(Incoming::Kind(partial)),
            },
            Incoming::Session(mut partial) => match partial.feed(input) {
                Some(of) => self.bind_stream(io, id, of),
                None => Step::Stay(Incoming::Session(partial)),
            },
            Incoming::Control(reader) => self.read_control(io, reader, input),
            Incoming::Request(reader) => self.read_request(io, id, reader, input),
            Incoming::Connect(reader, capsules) => self.read_capsules(io, reader, capsules, input),
            // The caller hands them their bytes, or drops them.
            state => Step::Stay(state),
        }
    }

    /// The peer reset a stream.
    pub(super) fn stream_reset(&mut self, io: &mut dyn Http3Io, id: u64) -> ResetOf {
        if id & 1 == 1 {
            return ResetOf::Payload;
        }
        // One that was reset before any byte of it was read was at its beginning.
        let state = self.streams.remove(&id).unwrap_or(Incoming::Kind(PartialVarInt::default()));
        self.end(io, id, &state);
        if matches!(state, Incoming::Payload) { ResetOf::Payload } else { ResetOf::Other }
    }

    /// The peer ended its half of a stream in this state: ours is ended as well, unless it is the relay's.
    fn end(&mut self, io: &mut dyn Http3Io, id: u64, state: &Incoming) {
        match state {
            Incoming::Kind(_) | Incoming::Session(_) | Incoming::Request(_) | Incoming::Waiting { .. } => {
                if direction(id) == Dir::Bidi {
                    io.reset(id, H3_REQUEST_INCOMPLETE);
                }
            }
            Incoming::Control(_) | Incoming::Critical => {
                self.fail(io, H3_CLOSED_CRITICAL_STREAM, "the control stream and those of QPACK stay open");
            }
            Incoming::Connect(..) => self.ended = true,
            Incoming::Ignored { refused } => self.refused = self.refused.saturating_sub(usize::from(*refused)),
            Incoming::Payload => {}
        }
    }

    /// The kind of a stream is known.
    fn begin(&mut self, io: &mut dyn Http3Io, id: u64, kind: u64) -> Step {
        if direction(id) == Dir::Bidi {
            let webtransport = kind == Frame::WEBTRANSPORT.0.into_inner();
            return Step::On(match webtransport {
                true => Incoming::Session(PartialVarInt::default()),
                false => Incoming::Request(FrameReader::inside(kind)),
            });
        }
        if kind == StreamUni::WEBTRANSPORT.0.into_inner() {
            return Step::On(Incoming::Session(PartialVarInt::default()));
        }
        // RFC 9114 §6.2, RFC 9204 §4.2: one control stream and one of each kind of QPACK; push streams are a server's.
        let critical = match kind {
            0x00 => 1,
            0x02 => 2,
            0x03 => 4,
            0x01 => u8::MAX,
            _ => return Step::Stay(Incoming::Ignored { refused: false }),
        };
        if self.critical & critical != 0 || critical == u8::MAX {
            return self.fail(io, H3_STREAM_CREATION_ERROR, "a second control stream, or one of a server");
        }
        self.critical |= critical;
        if kind == 0x00 { Step::On(Incoming::Control(FrameReader::default())) } else { Step::Stay(Incoming::Critical) }
    }

    /// The session of a WebTransport stream is known.
    fn bind_stream(&mut self, io: &mut dyn Http3Io, id: u64, of: u64) -> Step {
        if self.session == Some(of) {
            return Step::Stay(Incoming::Payload);
        }
        if of & 3 != 0 {
            return self.fail(io, H3_ID_ERROR, "a session's id is that of a bidirectional stream of the client");
        }
        if self.session.is_some() || self.waiting.len() >= WAITING_MAX {
            return self.reject(io, id);
        }
        self.waiting.push(id);
        Step::Stay(Incoming::Waiting { of, held: Vec::new(), fin: false })
    }

    /// A stream of no session.
    fn reject(&mut self, io: &mut dyn Http3Io, id: u64) -> Step {
        if direction(id) == Dir::Bidi {
            io.stop(id, BUFFERED_STREAM_REJECTED);
            io.reset(id, BUFFERED_STREAM_REJECTED);
            return Step::Over;
        }
        self.refused += 1;
        if self.refused > REFUSED_MAX {
            return self.fail(io, H3_EXCESSIVE_LOAD, "too many open streams of no session");
        }
        Step::Stay(Incoming::Ignored { refused: true })
    }

    fn read_control(&mut self, io: &mut dyn Http3Io, mut reader: FrameReader, input: &mut &[u8]) -> Step {
        loop {
            let seen = self.settings_seen;
            let body = match reader.feed(input, |kind| on_control(kind, seen)) {
                Ok(Some(Piece::Frame(body))) => body,
                Ok(Some(Piece::Part(_))) => continue,
                Ok(None) => return Step::Stay(Incoming::Control(reader)),
                Err(code) => return self.fail(io, code, "a frame that the control stream may not have here"),
            };
            let mut rest = body.as_slice();
            while !rest.is_empty() {
                if VarInt::decode(&mut rest).and_then(|_| VarInt::decode(&mut rest)).is_err() {
                    return self.fail(io, H3_FRAME_ERROR, "SETTINGS is not a list of pairs");
                }
            }
            self.settings_seen = true;
        }
    }

    /// Reads the HEADERS of a request and answers it.
    fn read_request(&mut self, io: &mut dyn Http3Io, id: u64, mut reader: FrameReader, input: &mut &[u8]) -> Step {
        let section = loop {
            match reader.feed(input, |kind| on_request(kind, false)) {
                Ok(Some(Piece::Frame(section))) => break section,
                Ok(Some(Piece::Part(_))) => {}
                Ok(None) => return Step::Stay(Incoming::Request(reader)),
                Err(code) => return self.fail(io, code, "a frame that a request may not begin with"),
            }
        };
        match connect::read(&section) {
            Ok(Request::Session(opened, protocol)) if self.session.is_none() => {
                // The protocol is always echoed: a browser player that sees none cannot tell the draft.
                let response = ConnectResponse::new(http_status(200)).with_protocol(protocol);
                if !respond(io, id, response, false) {
                    return self.fail(io, H3_INTERNAL_ERROR, "there is no room for the answer to CONNECT");
                }
                (self.session, self.released, self.opened) = (Some(id), true, Some(opened));
                Step::On(Incoming::Connect(FrameReader::default(), CapsuleReader::default()))
            }
            // One session a connection, as SETTINGS said.
            Ok(Request::Session(..)) => answer(io, id, 429),
            Ok(Request::Other(status)) => answer(io, id, status),
            Ok(Request::Malformed) => {
                io.stop(id, H3_MESSAGE_ERROR);
                io.reset(id, H3_MESSAGE_ERROR);
                Step::Over
            }
            Err(code) => self.fail(io, code, "the field section of a request does not decode"),
        }
    }

    fn read_capsules(
        &mut self,
        io: &mut dyn Http3Io,
        mut reader: FrameReader,
        mut capsules: CapsuleReader,
        input: &mut &[u8],
    ) -> Step {
        loop {
            match reader.feed(input, |kind| on_request(kind, true)) {
                Ok(Some(Piece::Part(part))) => self.ended |= capsules.feed(part),
                Ok(Some(Piece::Frame(_))) => {}
                Ok(None) => return Step::Stay(Incoming::Connect(reader, capsules)),
                Err(code) => return self.fail(io, code, "a frame that a CONNECT stream may not have"),
            }
        }
    }

    /// Sends the close capsule and ends the CONNECT stream: the page's `closed` promise gets code and reason.
    pub(super) fn send_close(&mut self, io: &mut dyn Http3Io, code: u64, reason: &str) {
        if self.session.is_none() {
            io.close(H3_ID_ERROR, reason);
            return;
        }
        if std::mem::replace(&mut self.close_sent, true) {
            return;
        }
        let capsule = Capsule::CloseWebTransportSession {
            code: u32::try_from(code).unwrap_or(u32::MAX),
            reason: reason.to_owned(),
        };
        let mut body = Vec::with_capacity(reason.len() + 16);
        capsule.encode(&mut body);
        let mut wire = Vec::with_capacity(body.len() + 4);
        Frame::DATA.encode(&mut wire);
        VarInt::from_u32(u32::try_from(body.len()).unwrap_or(0)).encode(&mut wire);
        wire.extend_from_slice(&body);
        self.close_rest = wire;
    }

    /// What is left to send of the close capsule, and the stream for it: it may find the windows full of media. `sent` tells how
    /// much of it was taken, `None` that the peer has closed the session from its side.
    pub(super) fn push_close(&mut self, send: impl FnOnce(u64, &[u8]) -> Option<usize>) {
        let Some(session) = self.session.filter(|_| !self.close_rest.is_empty()) else { return };
        match send(session, &self.close_rest) {
            Some(sent) => drop(self.close_rest.drain(..sent.min(self.close_rest.len()))),
            None => self.close_rest.clear(),
        }
    }

    /// The CONNECT stream, once the close capsule was sent on it.
    pub(super) fn closed_on(&self) -> Option<u64> {
        self.session.filter(|_| self.close_sent)
    }

    /// Bytes that are kept of what came.
    pub(super) fn kept_len(&self) -> usize {
        self.streams.values().map(Incoming::kept_len).sum()
    }

    fn fail(&mut self, io: &mut dyn Http3Io, code: u64, reason: &str) -> Step {
        self.ended = true;
        io.close(code, reason);
        Step::Over
    }
}
