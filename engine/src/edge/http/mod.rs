//! HTTPS of the shards: one listener a shard on the same port, HTTP/1.1 and HTTP/2 by hyper, TLS by rustls.
//!
//! ```text
//!   TCP -> Door (places) -> TLS: ALPN -> hyper -> router -> whip
//!                                          '-> time limits: head, body, silence
//! ```
//!
//! Everything runs on the shard's thread. A connection reads no more than [`io::SLICE_LEN`] before others have their turn.

mod connection;
mod io;
mod reply;
pub(super) mod router;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use streams_logs::Seldom;
use tracing::warn;

pub(crate) use self::reply::Reply;
use super::admission::PlaceLimits;
use super::door::{Door, Place};
use super::tls::EdgeTls;
use super::whip::WhipEdge;
use crate::host::{HostedListener, HostedStream, Spawner, sleep_until};
use crate::shard::Shard;

/// Pause after an accept that failed: mostly there is no descriptor left, and trying at once would not make one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Told to the log when a connection has to go.
pub(super) const TURNED_AWAY: &str = "HTTPS connections were closed for newer ones: more connect than [edge] connections_max or \
     connections_address_max allow";

/// Bounds of the listener.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    /// Connections at once.
    pub(crate) places: PlaceLimits,
    /// For the head of a request, and for its body.
    pub(crate) request_timeout: Duration,
    /// Longest time without a request.
    pub(crate) idle_timeout: Duration,
}

/// What every connection shares.
#[derive(Clone)]
pub(crate) struct HttpEdge {
    pub(super) shard: Rc<RefCell<Shard>>,
    pub(super) spawner: Spawner,
    pub(super) settings: Rc<HttpSettings>,
    pub(super) tls: Rc<EdgeTls>,
    pub(super) door: Rc<Door>,
    pub(super) whip: WhipEdge,
}

/// One accepted connection with its place.
struct Accepted {
    socket: HostedStream,
    peer: SocketAddr,
    local: SocketAddr,
    _place: Place,
}

/// Accepts clients until the shard ends.
pub(crate) async fn listen(edge: HttpEdge, listener: HostedListener) {
    static FAILED: Seldom = Seldom::new();
    loop {
        let accepted = listener.accept().await.and_then(|(socket, peer)| {
            let local = socket.local_addr()?;
            Ok((HostedStream::new(socket)?, peer, local))
        });
        match accepted {
            Ok((socket, peer, local)) => {
                let _ = socket.io().set_nodelay(true);
                let place = {
                    let mut shard = edge.shard.borrow_mut();
                    edge.door.enter(peer.ip(), socket.io(), &mut shard.edge_stats().turned_away)
                };
                if let Some(place) = place {
                    let accepted = Accepted { socket, peer, local, _place: place };
                    edge.spawner.spawn(connection::serve(edge.clone(), accepted));
                }
            }
            Err(error) => {
                let now = Instant::now();
                if let Some(left_out) = FAILED.pass(now) {
                    warn!(%error, left_out, "an HTTPS connection could not be accepted");
                }
                sleep_until(now + ACCEPT_PAUSE).await;
            }
        }
    }
}
