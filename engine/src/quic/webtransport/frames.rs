//! Which frames of HTTP/3 may come where, and which of them are read.

use super::errors::{H3_FRAME_UNEXPECTED, H3_MISSING_SETTINGS};
use crate::quic::prefix::Payload;

/// RFC 9114 §7.2.4.
const SETTINGS: u64 = 0x04;

/// On the peer's control stream.
pub(super) fn on_control(kind: u64, settings_seen: bool) -> Result<Payload, u64> {
    match kind {
        SETTINGS if settings_seen => Err(H3_FRAME_UNEXPECTED),
        SETTINGS => Ok(Payload::Keep),
        _ if !settings_seen => Err(H3_MISSING_SETTINGS),
        // DATA, HEADERS, PUSH_PROMISE, and those of HTTP/2 that are no more.
        0x00 | 0x01 | 0x02 | 0x05 | 0x06 | 0x08 | 0x09 => Err(H3_FRAME_UNEXPECTED),
        // GOAWAY, PRIORITY_UPDATE and whatever else a browser says here changes nothing for a session.
        _ => Ok(Payload::Skip),
    }
}

/// On a request stream.
pub(super) fn on_request(kind: u64, headers_seen: bool) -> Result<Payload, u64> {
    match kind {
        0x00 if headers_seen => Ok(Payload::Pass),
        // Trailers say nothing to us.
        0x01 if headers_seen => Ok(Payload::Skip),
        0x01 => Ok(Payload::Keep),
        // DATA before HEADERS, frames of control streams and of servers, those of HTTP/2, and a WebTransport stream's kind.
        0x00 | 0x02..=0x09 | 0x0d | 0x41 => Err(H3_FRAME_UNEXPECTED),
        _ => Ok(Payload::Skip),
    }
}
