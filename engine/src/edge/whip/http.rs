//! WHIP's requests (RFC 9725 §4).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH,
    LOCATION, WWW_AUTHENTICATE,
};
use http::{HeaderName, Method, Request, StatusCode};
use hyper::body::Incoming;
use streams_ingest::IceFragment;
use streams_ingest::whip::{FRAGMENT_LEN_MAX, OFFER_LEN_MAX};

use super::letter::{Ask, Offered};
use crate::edge::http::router::{Peer, body};
use crate::edge::http::{HttpEdge, Reply};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// RFC 9725 §4.2 and RFC 5789 §3.1: what OPTIONS tells.
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// A stream key is far shorter.
const KEY_LEN_MAX: usize = 512;
const AUTHORITY_LEN_MAX: usize = 255;

/// Answers a request to the endpoint of an input, or to one of its sessions.
pub(crate) async fn answer(
    edge: &HttpEdge,
    request: Request<Incoming>,
    input: &str,
    session: Option<&str>,
    peer: Peer,
) -> Reply {
    let reply = match (request.method(), session) {
        (&Method::OPTIONS, session) => options(session.is_some()),
        (&Method::GET | &Method::HEAD, _) => Reply::empty(StatusCode::NO_CONTENT),
        (&Method::POST, None) => post(edge, request, input, peer).await,
        (&Method::PATCH, Some(session)) => patch(edge, request, session).await,
        (&Method::DELETE, Some(session)) => match shard_of(session) {
            Some(shard) => edge.whip.ask(shard, Ask::Delete { token: session.to_owned() }).await,
            None => Reply::not_found("there is no such session"),
        },
        (_, session) => {
            let allowed = if session.is_some() { "OPTIONS, GET, PATCH, DELETE" } else { "OPTIONS, GET, POST" };
            let detail = format!("this URL takes {allowed}");
            Reply::problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).with(ALLOW, allowed)
        }
    };
    reply.with(ACCESS_CONTROL_ALLOW_ORIGIN, "*").with(ACCESS_CONTROL_EXPOSE_HEADERS, "Location, ETag, Link")
}

/// 401, with the way to do better.
pub(super) fn unauthorized(detail: &str) -> Reply {
    let reply = Reply::problem(StatusCode::UNAUTHORIZED, "auth_failed", detail);
    reply.with(WWW_AUTHENTICATE, "Bearer")
}

fn options(is_session: bool) -> Reply {
    let reply = Reply::empty(StatusCode::OK)
        .with(ACCESS_CONTROL_ALLOW_METHODS, "OPTIONS, GET, POST, PATCH, DELETE")
        .with(ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match")
        .with(ACCESS_CONTROL_MAX_AGE, "86400");
    if is_session { reply.with(ACCEPT_PATCH, FRAGMENT) } else { reply.with(ACCEPT_POST, SDP) }
}

async fn post(edge: &HttpEdge, request: Request<Incoming>, input: &str, peer: Peer) -> Reply {
    if let Err(refused) = content_is(&request, SDP) {
        return refused;
    }
    let Some(key) = key_of(&request) else {
        return unauthorized("send the stream key as `Authorization: Bearer`, or as ?sk=");
    };
    let origin = authority(&request).map(|authority| format!("https://{authority}")).unwrap_or_default();
    let home = match edge.whip.admit(input, &key, &peer.peer.to_string()) {
        Ok(home) => home,
        Err(refused) => return refused,
    };
    let offer = match text(body(edge, request, OFFER_LEN_MAX).await) {
        Ok(offer) => offer,
        Err(refused) => return refused,
    };
    let offered = Offered { input: input.to_owned(), key, offer, peer: peer.peer, local: peer.local };
    edge.whip.ask(home, Ask::Offer(offered)).await.map_field(&LOCATION, |path| format!("{origin}{path}"))
}

async fn patch(edge: &HttpEdge, request: Request<Incoming>, session: &str) -> Reply {
    if let Err(refused) = content_is(&request, FRAGMENT) {
        return refused;
    }
    let Some(shard) = shard_of(session) else { return Reply::not_found("there is no such session") };
    let if_match = request.headers().get(IF_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = match text(body(edge, request, FRAGMENT_LEN_MAX).await) {
        Ok(text) => text,
        Err(refused) => return refused,
    };
    let Some(fragment) = IceFragment::parse(&text) else {
        return Reply::problem(StatusCode::BAD_REQUEST, "invalid_request", "the body is no SDP fragment");
    };
    edge.whip.ask(shard, Ask::Patch { token: session.to_owned(), if_match, fragment }).await
}

/// The shard that a session's token begins with.
fn shard_of(token: &str) -> Option<usize> {
    usize::from_str_radix(token.get(..2)?, 16).ok()
}

fn content_is(request: &Request<Incoming>, wanted: &str) -> Result<(), Reply> {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let detail = format!("the content is {given:?}; send {wanted}");
    Err(Reply::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

fn text(body: Result<Bytes, Reply>) -> Result<String, Reply> {
    let not_text = |_| Reply::problem(StatusCode::BAD_REQUEST, "invalid_request", "the body is no UTF-8");
    String::from_utf8(body?.to_vec()).map_err(not_text)
}

/// The stream key: a bearer token (RFC 6750 §2.1), else `sk` of the query.
fn key_of(request: &Request<Incoming>) -> Option<String> {
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let of_query = || {
        let pairs = request.uri().query()?.split('&');
        pairs.into_iter().find_map(|pair| pair.strip_prefix("sk=")).map(str::to_owned)
    };
    bearer.or_else(of_query).filter(|key| !key.is_empty() && key.len() <= KEY_LEN_MAX)
}

/// How the client names this server, if it does so in plain letters.
fn authority(request: &Request<Incoming>) -> Option<String> {
    let of_uri = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let of_host = || request.headers().get(HOST).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    of_uri.or_else(of_host).filter(|name| name.len() <= AUTHORITY_LEN_MAX && name.bytes().all(plain))
}
