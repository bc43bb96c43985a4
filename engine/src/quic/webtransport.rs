//! One WebTransport session over HTTP/3, on raw quiche streams.
//!
//! quiche's own HTTP/3 layer has no WebTransport streams, so the few parts that a session needs are here: our control stream
//! with SETTINGS, the CONNECT request and its answer, stream prefixes both ways, and the close capsule. QPACK is static only
//! (table capacity 0), so the peer's QPACK streams carry nothing that matters.
//!
//! ```text
//!   uni 0x00 control | 0x02, 0x03 QPACK | 0x54 <session> payload      bidi 0x41 <session> payload | HTTP/3 frames (CONNECT)
//! ```

use std::collections::HashMap;

use streams_relay_core::relay::{SessionId, StreamId};
use web_transport_proto::{Capsule, ConnectRequest, ConnectResponse, Frame, Settings, StreamUni, VarInt};

use super::connection::direction;
use super::prefix::{FrameReader, PartialVarInt};
use super::{Quic, SessionSink};

/// MoQT drafts offered over WebTransport, best first.
const PROTOCOLS: &[&str] = &["moqt-18"];
/// WT_BUFFERED_STREAM_REJECTED (draft-ietf-webtrans-http3 §4.5): a stream of no session that we know.
const BUFFERED_STREAM_REJECTED: u64 = 0x3994_bd84;
const H3_ID_ERROR: u64 = 0x108;
const H3_EXCESSIVE_LOAD: u64 = 0x107;
const H3_MESSAGE_ERROR: u64 = 0x10e;
const H3_SETTINGS_ERROR: u64 = 0x109;
/// Streams that may wait for the CONNECT to be answered.
const WAITING_MAX: usize = 16;

/// The HTTP/3 and WebTransport state of one connection. It serves one session: MoQT never needs a second.
pub(super) struct WebTransport {
    streams: HashMap<u64, Incoming>,
    session: Option<u64>,
    settings_seen: bool,
    waiting: Vec<u64>,
    released: bool,
    ended: bool,
    close_sent: bool,
    /// What the transport has not taken yet of the close capsule.
    close_rest: Vec<u8>,
}

/// What the CONNECT of an accepted session said.
pub(super) struct Opened {
    /// `path?query`.
    pub(super) path: String,
    /// The page that asked, from a browser.
    pub(super) origin: Option<String>,
}

/// How far the prefix of a stream that the peer opened has come.
enum Incoming {
    Kind(PartialVarInt),
    Session(PartialVarInt),
    /// Its session is not accepted yet; it is not read until then. What came with the prefix is held.
    Waiting {
        of: u64,
        held: Vec<u8>,
        fin: bool,
    },
    Payload,
    Control(FrameReader),
    /// The first frame's type was read as the stream's kind, so the reader starts inside it.
    Request(FrameReader),
    /// The CONNECT stream after our answer: DATA frames with capsules.
    Connect(FrameReader),
    Ignored,
}

impl WebTransport {
    pub(super) const H3_NO_ERROR: u64 = 0x100;

    /// Opens our control stream and sends SETTINGS.
    pub(super) fn start(quic: &mut Quic, next_uni: &mut u64) -> Self {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut wire = Vec::with_capacity(64);
        settings.encode(&mut wire);
        let id = *next_uni;
        *next_uni += 4;
        // The first bytes of a fresh connection always fit the initial window.
        let _ = quic.stream_priority(id, 0, false);
        let _ = quic.stream_send(id, &wire, false);
        Self {
            streams: HashMap::new(),
            session: None,
            settings_seen: false,
            waiting: Vec::new(),
            released: false,
            ended: false,
            close_sent: false,
            close_rest: Vec::new(),
        }
    }

    /// Whether bytes of this stream may be read now.
    pub(super) fn wants(&self, id: u64) -> bool {
        !matches!(self.streams.get(&id), Some(Incoming::Waiting { .. }))
    }

    /// The peer closed the session, or broke HTTP/3 so that it cannot go on.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// After the session was accepted: hands over what waiting streams held and returns those to read on.
    pub(super) fn release(&mut self, session: SessionId, sink: &mut dyn SessionSink) -> Vec<u64> {
        if !std::mem::take(&mut self.released) {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting);
        for id in &waiting {
            let Some(Incoming::Waiting { of, held, fin }) = self.streams.remove(id) else { continue };
            if self.session != Some(of) {
                self.streams.insert(*id, Incoming::Ignored);
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
        quic: &mut Quic,
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
        let mut opened = None;
        let mut state = self.streams.remove(&id).unwrap_or(Incoming::Kind(PartialVarInt::default()));
        loop {
            state = match state {
                Incoming::Kind(mut partial) => match partial.feed(&mut input) {
                    Some(kind) => first_state(id, kind),
                    None => Incoming::Kind(partial),
                },
                Incoming::Session(mut partial) => match partial.feed(&mut input) {
                    Some(of) => self.bind_stream(quic, id, of),
                    None => Incoming::Session(partial),
                },
                other => other,
            };
            if input.is_empty() || !matches!(state, Incoming::Kind(_) | Incoming::Session(_)) {
                break;
            }
        }
        match &mut state {
            Incoming::Waiting { held, fin: ended, .. } => {
                held.extend_from_slice(input);
                *ended = fin;
                self.streams.insert(id, state);
                return None;
            }
            Incoming::Payload => sink.stream_data(session, StreamId(id), direction(id), input, fin),
            Incoming::Control(reader) => self.read_control(quic, reader, &mut input),
            Incoming::Request(reader) => {
                if let Some((request, rest)) = self.read_request(quic, id, reader, &mut input) {
                    opened = Some(request);
                    state = Incoming::Connect(rest);
                }
            }
            Incoming::Connect(reader) => self.read_capsules(quic, reader, &mut input),
            _ => {}
        }
        if fin && self.session == Some(id) {
            self.ended = true;
        }
        if !fin {
            self.streams.insert(id, state);
        }
        opened
    }

    /// The peer reset a stream. True when it was the session's own CONNECT stream.
    pub(super) fn stream_reset(&mut self, id: u64) -> bool {
        self.streams.remove(&id);
        self.ended |= self.session == Some(id);
        self.ended
    }

    fn bind_stream(&mut self, quic: &mut Quic, id: u64, of: u64) -> Incoming {
        if self.session == Some(of) {
            return Incoming::Payload;
        }
        if self.session.is_some() || self.waiting.len() >= WAITING_MAX {
            let _ = quic.stream_shutdown(id, quiche::Shutdown::Read, BUFFERED_STREAM_REJECTED);
            return Incoming::Ignored;
        }
        self.waiting.push(id);
        Incoming::Waiting { of, held: Vec::new(), fin: false }
    }

    fn read_control(&mut self, quic: &mut Quic, reader: &mut FrameReader, input: &mut &[u8]) {
        loop {
            match reader.feed(input) {
                Ok(Some((kind, body))) if !self.settings_seen => {
                    if Frame(VarInt::from_u64(kind).unwrap_or_default()) != Frame::SETTINGS || body.len() > 1024 {
                        return self.fail(quic, H3_SETTINGS_ERROR, "the control stream does not begin with SETTINGS");
                    }
                    self.settings_seen = true;
                }
                // GOAWAY, PRIORITY_UPDATE and whatever else a browser says here changes nothing for a session.
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.fail(quic, H3_EXCESSIVE_LOAD, "a control frame is over 16 KiB"),
            }
        }
    }

    /// Reads the HEADERS of a CONNECT and answers it. Returns what it said and the reader for what follows.
    fn read_request(
        &mut self,
        quic: &mut Quic,
        id: u64,
        reader: &mut FrameReader,
        input: &mut &[u8],
    ) -> Option<(Opened, FrameReader)> {
        let (kind, body) = loop {
            match reader.feed(input) {
                Ok(Some(frame)) if Frame(VarInt::from_u64(frame.0).unwrap_or_default()).is_grease() => {}
                Ok(Some(frame)) => break frame,
                Ok(None) => return None,
                Err(_) => {
                    self.fail(quic, H3_EXCESSIVE_LOAD, "a request frame is over 16 KiB");
                    return None;
                }
            }
        };
        match decode_connect(kind, &body) {
            Some(request) if self.session.is_none() => {
                let chosen = PROTOCOLS.iter().find(|ours| request.protocols.iter().any(|theirs| theirs == *ours));
                let Some(protocol) = chosen else {
                    respond(quic, id, ConnectResponse::new(http_status(400)), true);
                    return None;
                };
                // The protocol is always echoed: a browser player that sees none cannot tell the draft.
                respond(quic, id, ConnectResponse::new(http_status(200)).with_protocol(*protocol), false);
                self.session = Some(id);
                self.released = true;
                let path = match request.url.query() {
                    Some(query) => format!("{}?{query}", request.url.path()),
                    None => request.url.path().to_owned(),
                };
                let origin = request.headers.get(http::header::ORIGIN).and_then(|value| value.to_str().ok());
                Some((Opened { path, origin: origin.map(str::to_owned) }, FrameReader::default()))
            }
            Some(_) => {
                // One session a connection, as SETTINGS said.
                respond(quic, id, ConnectResponse::new(http_status(429)), true);
                None
            }
            None => {
                respond(quic, id, ConnectResponse::new(http_status(405)), true);
                None
            }
        }
    }

    fn read_capsules(&mut self, quic: &mut Quic, reader: &mut FrameReader, input: &mut &[u8]) {
        loop {
            match reader.feed(input) {
                Ok(Some((kind, body))) if kind == Frame::DATA.0.into_inner() => {
                    let mut bytes = body.as_slice();
                    if let Ok(Capsule::CloseWebTransportSession { .. }) = Capsule::decode(&mut bytes) {
                        self.ended = true;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.fail(quic, H3_EXCESSIVE_LOAD, "a capsule is over 16 KiB"),
            }
        }
    }

    /// Sends the close capsule and ends the CONNECT stream: the page's `closed` promise gets code and reason.
    pub(super) fn send_close(&mut self, quic: &mut Quic, code: u64, reason: &str) {
        let Some(session) = self.session else {
            let _ = quic.close(true, H3_ID_ERROR, reason.as_bytes());
            return;
        };
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
        let _ = quic.stream_priority(session, 0, false);
        self.close_rest = wire;
        self.push_close(quic);
    }

    /// Sends what is left of the close capsule, which may find the windows full of media.
    pub(super) fn push_close(&mut self, quic: &mut Quic) {
        let Some(session) = self.session.filter(|_| !self.close_rest.is_empty()) else { return };
        match quic.stream_send(session, &self.close_rest, true) {
            Ok(sent) => drop(self.close_rest.drain(..sent.min(self.close_rest.len()))),
            Err(quiche::Error::Done) => {}
            // The peer has closed the session from its side.
            Err(_) => self.close_rest.clear(),
        }
    }

    /// The peer has acknowledged the close capsule and ended its side.
    pub(super) fn close_delivered(&self, quic: &Quic) -> bool {
        self.ended || (self.close_sent && self.session.is_some_and(|session| quic.stream_closed(session)))
    }

    fn fail(&mut self, quic: &mut Quic, code: u64, reason: &str) {
        self.ended = true;
        let _ = quic.close(true, code, reason.as_bytes());
    }
}

fn first_state(id: u64, kind: u64) -> Incoming {
    if id & 2 == 0 {
        if kind == Frame::WEBTRANSPORT.0.into_inner() {
            return Incoming::Session(PartialVarInt::default());
        }
        return Incoming::Request(FrameReader::inside(kind));
    }
    match kind {
        kind if kind == StreamUni::CONTROL.0.into_inner() => Incoming::Control(FrameReader::default()),
        kind if kind == StreamUni::WEBTRANSPORT.0.into_inner() => Incoming::Session(PartialVarInt::default()),
        // QPACK encoder and decoder streams, and extensions that we do not know.
        _ => Incoming::Ignored,
    }
}

/// The library decodes from a whole frame, so the header that was taken off is put back.
fn decode_connect(kind: u64, body: &[u8]) -> Option<ConnectRequest> {
    let mut wire = Vec::with_capacity(body.len() + 8);
    Frame(VarInt::from_u64(kind).ok()?).encode(&mut wire);
    VarInt::from_u32(u32::try_from(body.len()).ok()?).encode(&mut wire);
    wire.extend_from_slice(body);
    ConnectRequest::decode(&mut wire.as_slice()).ok()
}

fn respond(quic: &mut Quic, id: u64, response: ConnectResponse, fin: bool) {
    let mut wire = Vec::with_capacity(64);
    if response.encode(&mut wire).is_err() {
        let _ = quic.stream_shutdown(id, quiche::Shutdown::Write, H3_MESSAGE_ERROR);
        return;
    }
    let _ = quic.stream_priority(id, 0, false);
    let _ = quic.stream_send(id, &wire, fin);
}

fn http_status(code: u16) -> http::StatusCode {
    http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}
