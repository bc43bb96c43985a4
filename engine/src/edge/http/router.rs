//! Which path is whose.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use futures_lite::future;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::{HttpEdge, Reply};
use crate::edge::whip;
use crate::host::sleep_until;

/// Both ends of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Answers one request.
pub(super) async fn answer(edge: &HttpEdge, request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let mut segments = path.strip_prefix('/').unwrap_or(&path).split('/');
    let reply = match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some("healthz"), None, ..) => health(request.method()),
        (Some("whip"), Some(input), session, None) if !input.is_empty() => {
            whip::http::answer(edge, request, input, session, peer).await
        }
        _ => Reply::not_found("nothing is served at this path"),
    };
    reply.into_response()
}

fn health(method: &Method) -> Reply {
    match *method {
        Method::GET | Method::HEAD => Reply::content(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        _ => Reply::problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "GET is what there is"),
    }
}

/// The body of a request, in time and within `len_max` bytes.
pub(crate) async fn body(edge: &HttpEdge, request: Request<Incoming>, len_max: usize) -> Result<Bytes, Reply> {
    let deadline = Instant::now() + edge.settings.request_timeout;
    let whole = async { Some(Limited::new(request.into_body(), len_max).collect().await) };
    let late = async {
        sleep_until(deadline).await;
        None
    };
    match future::or(whole, late).await {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let detail = format!("the body has more than {len_max} bytes");
            Err(Reply::problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail))
        }
        Some(Err(_)) => Err(Reply::problem(StatusCode::BAD_REQUEST, "invalid_request", "the body broke off")),
        None => Err(Reply::problem(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body took too long")),
    }
}
