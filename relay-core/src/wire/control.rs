//! Control messages as bytes: `type, 16-bit length, body` (draft-18 §10).

use bytes::{Buf, BufMut, BytesMut};

use super::codes::{PublishDoneCode, RequestErrorCode};
use super::cursor::{Cursor, complete, put_prefixed};
use super::message::*;
use super::name::{EndLocation, FullTrackName, Location, Namespace};
use super::parameter::Parameters;
use super::property::Properties;
use super::setup::Setup;
use super::{Draft, vi64};
use crate::error::{DecodeError, Error, Malformed};

/// Longest body of a control message in bytes.
pub const BODY_LEN_MAX: usize = u16::MAX as usize;
/// Longest control message in bytes, its type and length included.
pub const MESSAGE_LEN_MAX: usize = BODY_LEN_MAX + vi64::LEN_MAX + 2;

/// PUBLISH_DONE's Stream Count when the publisher does not know it (draft-18 §10.11).
const STREAM_COUNT_UNKNOWN_D18: u64 = (1 << 62) - 1;

impl ControlMessage {
    /// Appends the message.
    ///
    /// # Errors
    /// A value breaks a limit of the draft, or a parameter does not belong in this message; `out` is as before.
    pub fn encode(&self, draft: Draft, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        let framed = self.encode_framed(draft, out);
        if framed.is_err() {
            out.truncate(start);
        }
        framed
    }

    fn encode_framed(&self, draft: Draft, out: &mut Vec<u8>) -> Result<(), Error> {
        vi64::encode(self.message_type().to_u64(), out);
        let length_at = out.len();
        out.put_u16(0);
        let body_at = out.len();
        self.encode_body(draft, out)?;
        let len = out.len() - body_at;
        let limit = BODY_LEN_MAX;
        let length =
            u16::try_from(len).map_err(|_| Error::TooLarge { what: "control message in bytes", len, limit })?;
        out[length_at..body_at].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn encode_body(&self, draft: Draft, out: &mut Vec<u8>) -> Result<(), Error> {
        let kind = self.message_type();
        match self {
            Self::Setup(message) => message.encode(out),
            Self::Goaway(message) => encode_goaway(message, out),
            Self::RequestUpdate(message) => {
                vi64::encode(message.request_id, out);
                message.parameters.encode(draft, kind, out)
            }
            Self::Subscribe(Subscribe { request_id, track, parameters })
            | Self::TrackStatus(TrackStatus { request_id, track, parameters }) => {
                vi64::encode(*request_id, out);
                track.encode(out)?;
                parameters.encode(draft, kind, out)
            }
            Self::SubscribeOk(message) => {
                vi64::encode(message.track_alias, out);
                message.parameters.encode(draft, kind, out)?;
                message.properties.encode(out);
                Ok(())
            }
            Self::RequestError(message) => encode_request_error(message, out),
            Self::PublishNamespace(PublishNamespace { request_id, namespace, parameters })
            | Self::SubscribeNamespace(SubscribeNamespace { request_id, prefix: namespace, parameters })
            | Self::SubscribeTracks(SubscribeTracks { request_id, prefix: namespace, parameters }) => {
                vi64::encode(*request_id, out);
                namespace.encode(out)?;
                parameters.encode(draft, kind, out)
            }
            Self::RequestOk(message) => {
                message.parameters.encode(draft, kind, out)?;
                message.properties.encode(out);
                Ok(())
            }
            Self::Namespace(NamespaceFound { suffix }) | Self::NamespaceDone(NamespaceDone { suffix }) => {
                suffix.encode(out)
            }
            Self::PublishDone(message) => {
                vi64::encode(message.code.to_u64(), out);
                vi64::encode(message.stream_count.unwrap_or(stream_count_unknown(draft)), out);
                put_reason(&message.reason, out);
                Ok(())
            }
            Self::PublishBlocked(message) => {
                message.suffix.encode(out)?;
                put_prefixed(&message.name, out);
                Ok(())
            }
            Self::Fetch(message) => {
                vi64::encode(message.request_id, out);
                encode_fetch_range(&message.range, out)?;
                message.parameters.encode(draft, kind, out)
            }
            Self::FetchOk(message) => {
                out.put_u8(u8::from(message.end_of_track));
                message.end.encode(out)?;
                message.parameters.encode(draft, kind, out)?;
                message.properties.encode(out);
                Ok(())
            }
            Self::Publish(message) => {
                vi64::encode(message.request_id, out);
                message.track.encode(out)?;
                vi64::encode(message.track_alias, out);
                message.parameters.encode(draft, kind, out)?;
                message.properties.encode(out);
                Ok(())
            }
        }
    }

    /// Reads one message from the front of `data`: the message and the bytes it took.
    ///
    /// # Errors
    /// More bytes are needed, or the message is malformed.
    pub fn decode(draft: Draft, data: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut cursor = Cursor::new(data);
        // MoQT-18 §10: "An endpoint that receives an unknown message type MUST close the session."
        let kind = MessageType::from_u64(cursor.vi64()?)
            .ok_or(Malformed::violation("control message", "unknown message type"))?;
        let length = cursor.take(2)?;
        let length = length.iter().fold(0usize, |length, &byte| (length << 8) | usize::from(byte));
        let body = cursor.take(length)?;
        Ok((Self::decode_body(draft, kind, body)?, cursor.position()))
    }

    fn decode_body(draft: Draft, kind: MessageType, body: &[u8]) -> Result<Self, Malformed> {
        if kind == MessageType::Setup {
            return Setup::decode(body).map(Self::Setup);
        }
        let mut cursor = Cursor::new(body);
        let fields = Self::decode_fields(draft, kind, &mut cursor);
        let message = complete(fields, Malformed::violation(kind.name(), "shorter than its fields"))?;
        if !cursor.is_empty() {
            return Err(Malformed::violation(kind.name(), "bytes after its fields"));
        }
        Ok(message)
    }

    fn decode_fields(draft: Draft, kind: MessageType, cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let parameters = |cursor: &mut Cursor<'_>| Parameters::decode(draft, kind, cursor);
        let properties = |cursor: &mut Cursor<'_>| Properties::decode(cursor.rest());
        Ok(match kind {
            MessageType::Setup => Self::Setup(Setup::decode(cursor.rest())?),
            MessageType::Goaway => Self::Goaway(decode_goaway(cursor)?),
            MessageType::RequestUpdate => {
                Self::RequestUpdate(RequestUpdate { request_id: cursor.vi64()?, parameters: parameters(cursor)? })
            }
            MessageType::Subscribe => Self::Subscribe(Subscribe {
                request_id: cursor.vi64()?,
                track: FullTrackName::decode(cursor)?,
                parameters: parameters(cursor)?,
            }),
            MessageType::TrackStatus => Self::TrackStatus(TrackStatus {
                request_id: cursor.vi64()?,
                track: FullTrackName::decode(cursor)?,
                parameters: parameters(cursor)?,
            }),
            MessageType::SubscribeOk => Self::SubscribeOk(SubscribeOk {
                track_alias: cursor.vi64()?,
                parameters: parameters(cursor)?,
                properties: properties(cursor)?,
            }),
            MessageType::RequestError => Self::RequestError(decode_request_error(cursor)?),
            MessageType::PublishNamespace => Self::PublishNamespace(PublishNamespace {
                request_id: cursor.vi64()?,
                namespace: Namespace::decode(cursor)?,
                parameters: parameters(cursor)?,
            }),
            MessageType::RequestOk => {
                Self::RequestOk(RequestOk { parameters: parameters(cursor)?, properties: properties(cursor)? })
            }
            MessageType::Namespace => Self::Namespace(NamespaceFound { suffix: Namespace::decode(cursor)? }),
            MessageType::NamespaceDone => Self::NamespaceDone(NamespaceDone { suffix: Namespace::decode(cursor)? }),
            MessageType::PublishDone => Self::PublishDone(PublishDone {
                code: PublishDoneCode::from_u64(cursor.vi64()?),
                stream_count: Some(cursor.vi64()?).filter(|&count| count != stream_count_unknown(draft)),
                reason: reason(cursor)?,
            }),
            MessageType::PublishBlocked => {
                let FullTrackName { namespace: suffix, name } = FullTrackName::decode(cursor)?;
                Self::PublishBlocked(PublishBlocked { suffix, name })
            }
            MessageType::Fetch => Self::Fetch(Fetch {
                request_id: cursor.vi64()?,
                range: decode_fetch_range(cursor)?,
                parameters: parameters(cursor)?,
            }),
            MessageType::FetchOk => Self::FetchOk(FetchOk {
                end_of_track: end_of_track(cursor.u8()?)?,
                end: EndLocation::decode(cursor)?,
                parameters: parameters(cursor)?,
                properties: properties(cursor)?,
            }),
            MessageType::Publish => Self::Publish(Publish {
                request_id: cursor.vi64()?,
                track: FullTrackName::decode(cursor)?,
                track_alias: cursor.vi64()?,
                parameters: parameters(cursor)?,
                properties: properties(cursor)?,
            }),
            MessageType::SubscribeNamespace => Self::SubscribeNamespace(SubscribeNamespace {
                request_id: cursor.vi64()?,
                prefix: Namespace::decode(cursor)?,
                parameters: parameters(cursor)?,
            }),
            MessageType::SubscribeTracks => Self::SubscribeTracks(SubscribeTracks {
                request_id: cursor.vi64()?,
                prefix: Namespace::decode(cursor)?,
                parameters: parameters(cursor)?,
            }),
        })
    }
}

fn stream_count_unknown(draft: Draft) -> u64 {
    match draft {
        Draft::D18 => STREAM_COUNT_UNKNOWN_D18,
    }
}

fn encode_goaway(message: &Goaway, out: &mut Vec<u8>) -> Result<(), Error> {
    let (len, limit) = (message.new_session_uri.len(), SESSION_URI_LEN_MAX);
    if len > limit {
        return Err(Error::TooLarge { what: "new session URI in bytes", len, limit });
    }
    put_prefixed(message.new_session_uri.as_bytes(), out);
    vi64::encode(message.timeout_ms, out);
    if let Some(request_id) = message.request_id {
        vi64::encode(request_id, out);
    }
    Ok(())
}

fn decode_goaway(cursor: &mut Cursor<'_>) -> Result<Goaway, DecodeError> {
    let too_long = Malformed::violation("GOAWAY", "URI longer than 8192 bytes");
    let new_session_uri = text(cursor.prefixed(SESSION_URI_LEN_MAX, too_long)?);
    let timeout_ms = cursor.vi64()?;
    let request_id = if cursor.is_empty() { None } else { Some(cursor.vi64()?) };
    Ok(Goaway { new_session_uri, timeout_ms, request_id })
}

fn encode_request_error(message: &RequestError, out: &mut Vec<u8>) -> Result<(), Error> {
    let redirects = message.code == RequestErrorCode::Redirect;
    if redirects != message.redirect.is_some() {
        return Err(Error::Invalid {
            what: "REQUEST_ERROR",
            reason: "a redirect goes with code REDIRECT and no other",
        });
    }
    vi64::encode(message.code.to_u64(), out);
    // MoQT-18 §10.6.2: the interval plus one, for 0 means "do not retry".
    vi64::encode(message.retry_after_ms.map_or(0, |retry_after_ms| retry_after_ms.saturating_add(1)), out);
    put_reason(&message.reason, out);
    if let Some(redirect) = &message.redirect {
        put_prefixed(redirect.connect_uri.as_bytes(), out);
        redirect.track.encode(out)?;
    }
    Ok(())
}

fn decode_request_error(cursor: &mut Cursor<'_>) -> Result<RequestError, DecodeError> {
    let code = RequestErrorCode::from_u64(cursor.vi64()?);
    let retry_after_ms = cursor.vi64()?.checked_sub(1);
    let reason = reason(cursor)?;
    let redirect = if code == RequestErrorCode::Redirect {
        let too_long = Malformed::violation("Redirect", "URI longer than 8192 bytes");
        let connect_uri = text(cursor.prefixed(SESSION_URI_LEN_MAX, too_long)?);
        Some(Redirect { connect_uri, track: FullTrackName::decode(cursor)? })
    } else {
        None
    };
    Ok(RequestError { code, retry_after_ms, reason, redirect })
}

fn encode_fetch_range(range: &FetchRange, out: &mut Vec<u8>) -> Result<(), Error> {
    match range {
        FetchRange::Standalone { track, start, end } => {
            vi64::encode(1, out);
            track.encode(out)?;
            start.encode(out);
            end.encode(out)
        }
        FetchRange::RelativeJoining { joining_request_id, groups_back } => {
            vi64::encode(2, out);
            vi64::encode(*joining_request_id, out);
            vi64::encode(*groups_back, out);
            Ok(())
        }
        FetchRange::AbsoluteJoining { joining_request_id, start_group } => {
            vi64::encode(3, out);
            vi64::encode(*joining_request_id, out);
            vi64::encode(*start_group, out);
            Ok(())
        }
    }
}

fn decode_fetch_range(cursor: &mut Cursor<'_>) -> Result<FetchRange, DecodeError> {
    Ok(match cursor.vi64()? {
        1 => FetchRange::Standalone {
            track: FullTrackName::decode(cursor)?,
            start: Location::decode(cursor)?,
            end: EndLocation::decode(cursor)?,
        },
        2 => FetchRange::RelativeJoining { joining_request_id: cursor.vi64()?, groups_back: cursor.vi64()? },
        3 => FetchRange::AbsoluteJoining { joining_request_id: cursor.vi64()?, start_group: cursor.vi64()? },
        _ => return Err(Malformed::violation("FETCH", "fetch type is not 1 to 3").into()),
    })
}

fn end_of_track(value: u8) -> Result<bool, Malformed> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::violation("FETCH_OK", "End Of Track is neither 0 nor 1")),
    }
}

/// A reason is for people: too long is cut at a character, and what is no UTF-8 is replaced, rather than lose the message.
fn put_reason(reason: &str, out: &mut Vec<u8>) {
    let cut = reason.floor_char_boundary(REASON_LEN_MAX);
    put_prefixed(reason.as_bytes().get(..cut).unwrap_or_default(), out);
}

fn reason(cursor: &mut Cursor<'_>) -> Result<String, DecodeError> {
    let too_long = Malformed::violation("Reason Phrase", "longer than 1024 bytes");
    Ok(text(cursor.prefixed(REASON_LEN_MAX, too_long)?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Cuts a control or request stream into messages. Takes chunks of any size; holds at most one unfinished message plus
/// what was pushed since the last `None`.
#[derive(Debug)]
pub struct ControlReader {
    draft: Draft,
    buffer: BytesMut,
}

impl ControlReader {
    /// A reader at the start of a stream.
    pub fn new(draft: Draft) -> Self {
        Self { draft, buffer: BytesMut::new() }
    }

    /// Adds bytes of the stream. Call [`Self::next_message`] until `None` after each push: that bounds the buffer to
    /// [`MESSAGE_LEN_MAX`].
    pub fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next whole message; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is malformed; close the session with the error's code.
    pub fn next_message(&mut self) -> Result<Option<ControlMessage>, Malformed> {
        match ControlMessage::decode(self.draft, &self.buffer) {
            Ok((message, len)) => {
                self.buffer.advance(len);
                Ok(Some(message))
            }
            Err(DecodeError::NeedMore) => Ok(None),
            Err(DecodeError::Malformed(malformed)) => Err(malformed),
        }
    }

    /// The stream ended.
    ///
    /// # Errors
    /// It ended within a message.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(Malformed::violation("control message", "the stream ended within it"))
    }

    /// Bytes held back for an unfinished message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }
}
