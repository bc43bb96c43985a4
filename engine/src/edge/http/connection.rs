//! One connection: TLS, then requests until it is closed or a time limit is over.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use tracing::debug;

use super::io::{EdgeExecutor, FairStream, HyperStream};
use super::{Accepted, HttpEdge, router};
use crate::host::sleep_until;
use crate::shard::Shard;

/// Bytes of a request's head, and its fields.
const HEAD_LEN_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;
/// Streams of one HTTP/2 connection, and what they may send unread.
const STREAMS_MAX: u32 = 16;
const STREAM_WINDOW_LEN: u32 = 64 << 10;
const FRAME_LEN_MAX: u32 = 16 << 10;
/// Bytes that may wait to be written to a stream.
const SEND_BUFFER_LEN: usize = 64 << 10;
/// Time for an answer behind its request, and for the client to take it.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// When a connection is closed unless something happens.
pub(super) struct Limit {
    until: Cell<Instant>,
    /// Requests that are worked on.
    active: Cell<u32>,
    request_timeout: Duration,
    idle_timeout: Duration,
}

impl Limit {
    fn new(edge: &HttpEdge) -> Rc<Self> {
        let request_timeout = edge.settings.request_timeout;
        Rc::new(Self {
            until: Cell::new(Instant::now() + request_timeout),
            active: Cell::new(0),
            request_timeout,
            idle_timeout: edge.settings.idle_timeout,
        })
    }

    fn begin(&self) {
        self.active.set(self.active.get().saturating_add(1));
        self.until.set(Instant::now() + self.request_timeout + ANSWER_TIME);
    }

    fn end(&self) {
        self.active.set(self.active.get().saturating_sub(1));
        if self.active.get() == 0 {
            self.until.set(Instant::now() + self.idle_timeout);
        }
    }

    async fn over(&self) {
        while Instant::now() < self.until.get() {
            sleep_until(self.until.get()).await;
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(edge: HttpEdge, accepted: Accepted) {
    edge.shard.borrow_mut().edge_stats().open += 1;
    let limit = Limit::new(&edge);
    let shard = edge.shard.clone();
    let served = async { requests(&edge, accepted, &limit).await.inspect_err(|error| debug!(error, "HTTPS")) };
    let late = async {
        limit.over().await;
        Ok(())
    };
    // What went wrong with one client's connection is its own matter.
    let _ = future::or(served, late).await;
    let stats = &mut shard.borrow_mut();
    stats.edge_stats().open = stats.edge_stats().open.saturating_sub(1);
}

async fn requests(edge: &HttpEdge, accepted: Accepted, limit: &Rc<Limit>) -> Result<(), String> {
    let Accepted { socket, peer, local, _place } = accepted;
    let acceptor = edge.tls.acceptor(edge.shard.borrow().certificate_reloads());
    let stream = acceptor.accept(FairStream::new(socket)).await.map_err(|error| error.to_string())?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(|request: Request<Incoming>| {
        let (edge, limit) = (edge.clone(), limit.clone());
        async move {
            limit.begin();
            let reply = router::answer(&edge, request, router::Peer { peer, local }).await;
            count(&mut edge.shard.borrow_mut(), &reply);
            limit.end();
            Ok::<_, Infallible>(reply)
        }
    });
    let stream = HyperStream(stream);
    let done = if is_h2 {
        http2::Builder::new(EdgeExecutor(edge.spawner.clone()))
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_LEN_MAX as u32)
            .initial_stream_window_size(STREAM_WINDOW_LEN)
            .initial_connection_window_size(2 * STREAM_WINDOW_LEN)
            .max_frame_size(FRAME_LEN_MAX)
            .max_send_buf_size(SEND_BUFFER_LEN)
            .serve_connection(stream, service)
            .await
    } else {
        http1::Builder::new()
            .max_buf_size(HEAD_LEN_MAX)
            .max_headers(FIELDS_MAX)
            .header_read_timeout(None)
            .half_close(false)
            .serve_connection(stream, service)
            .await
    };
    done.map_err(|error| error.to_string())
}

fn count(shard: &mut Shard, reply: &Response<Full<Bytes>>) {
    let stats = shard.edge_stats();
    stats.requests += 1;
    stats.refused += u64::from(reply.status().is_client_error() || reply.status().is_server_error());
}
