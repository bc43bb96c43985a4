//! What a request is answered.

use web_transport_proto::ConnectResponse;

use super::errors::{H3_INTERNAL_ERROR, H3_NO_ERROR};
use super::{Http3Io, Step};

/// Answers a request that is not served; its stream is over for both sides.
pub(super) fn answer(io: &mut dyn Http3Io, id: u64, status: u16) -> Step {
    // RFC 9114 §4.1: after a whole response, the rest of the request is not wanted, and that is no error.
    io.stop(id, H3_NO_ERROR);
    if !respond(io, id, ConnectResponse::new(http_status(status)), true) {
        io.reset(id, H3_INTERNAL_ERROR);
    }
    Step::Over
}

/// Sends the response. `false`: not all of it was taken.
pub(super) fn respond(io: &mut dyn Http3Io, id: u64, response: ConnectResponse, fin: bool) -> bool {
    let mut wire = Vec::with_capacity(64);
    response.encode(&mut wire).is_ok() && io.send(id, &wire, fin)
}

pub(super) fn http_status(code: u16) -> http::StatusCode {
    http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
}
