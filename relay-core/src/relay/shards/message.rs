//! What the relays of two shards say to each other about a FETCH: one byte for the kind, the FETCH's id, and a body.

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::{ControlMessage, Draft, StreamResetCode, vi64};

pub(crate) const FETCH: u8 = 1;
pub(crate) const JOIN: u8 = 2;
pub(crate) const ANSWER: u8 = 3;
pub(crate) const DATA: u8 = 4;
pub(crate) const FIN: u8 = 5;
pub(crate) const RESET: u8 = 6;
pub(crate) const DROP: u8 = 7;

/// A message about a FETCH, in place of one that a link has no room for: it ends the FETCH. `None`: the message is no part of
/// an answer, and has to go out.
pub fn cut_short(message: &Bytes) -> Option<Bytes> {
    let (kind, id, _) = open(message)?;
    matches!(kind, DATA | FIN).then(|| reset(id, StreamResetCode::ExcessiveLoad.to_u64()))
}

pub(crate) fn seal(kind: u8, id: u64, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + vi64::LEN_MAX + body.len());
    out.put_u8(kind);
    vi64::encode(id, &mut out);
    out.put_slice(body);
    out.freeze()
}

pub(crate) fn reset(id: u64, code: u64) -> Bytes {
    let mut body = Vec::new();
    vi64::encode(code, &mut body);
    seal(RESET, id, &body)
}

pub(crate) fn open(message: &Bytes) -> Option<(u8, u64, Bytes)> {
    let kind = *message.first()?;
    let (id, len) = vi64::decode(message.get(1..)?).ok()?;
    Some((kind, id, message.slice(1 + len..)))
}

pub(crate) fn control(body: &[u8]) -> Option<ControlMessage> {
    ControlMessage::decode(Draft::D18, body).ok().map(|(message, _)| message)
}
