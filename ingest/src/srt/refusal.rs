//! Refusals on the wire: 1000 and a code of the protocol, 2000 and a status of the access-control draft.

use sapflow_srt::RejectCode;
use sapflow_srt::packet::{Control, ControlPacket, Handshake, HandshakeKind};

use crate::session::Refusal;

/// `SRT_REJ_CRYPTO` (17): an encryption that is not spoken here.
pub(super) const OTHER_CIPHER: RejectCode = RejectCode(1017);

/// The code by which a caller learns why.
pub(super) fn code(refusal: Refusal) -> RejectCode {
    RejectCode::http(match refusal {
        Refusal::BadRequest => 400,
        Refusal::Key => 401,
        Refusal::Full => 402,
        Refusal::Disabled => 403,
        Refusal::NotFound => 404,
        Refusal::BadMode => 405,
        Refusal::OtherKind => 406,
        Refusal::Other => 500,
    })
}

/// A rejection of the conclusion `handshake`.
pub(super) fn rejection(handshake: &Handshake, code: RejectCode) -> Vec<u8> {
    let reply = Handshake {
        version: 5,
        encryption: 0,
        extension: 0,
        kind: HandshakeKind::Rejection(code.0),
        socket_id: 0,
        extensions: Vec::new(),
        ..handshake.clone()
    };
    let mut out = Vec::with_capacity(64);
    ControlPacket::new(0, handshake.socket_id, Control::Handshake(reply)).encode(&mut out);
    out
}
