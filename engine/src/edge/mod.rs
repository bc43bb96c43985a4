//! Encoders at a shard: who may be there ([`admission`], [`door`]), what is the same for all of them ([`encoder`]), and what each
//! protocol does ([`rtmp`], also in TLS, [`srt`], [`whip`] over [`http`]).

pub(crate) mod admission;
pub(crate) mod door;
pub(crate) mod encoder;
pub(crate) mod http;
pub mod line;
pub(crate) mod listening;
pub(crate) mod rtmp;
pub(crate) mod srt;
mod tls;
mod tls_session;
pub mod whip;

use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;

use self::door::Door;
use self::http::{HttpEdge, HttpSettings};
use self::rtmp::{RtmpEdge, RtmpSettings};
use self::srt::{Datagram, SrtEdge, Tossed};
use self::tls::{EdgeTls, HTTP_ALPN};
use self::whip::{Letter, WhipEdge, WhipSettings};
use streams_ingest::SrtFront;

use crate::EngineError;
use crate::host::{BoundSocket, HostedListener, HostedSocket, Spawner};
use crate::shard::{EncoderHandOver, Shard};

/// Bounds of each listener.
pub(crate) struct EdgeSettings {
    pub(crate) rtmp: RtmpSettings,
    pub(crate) http: HttpSettings,
    pub(crate) whip: WhipSettings,
    /// Shares its secret with those of the other shards.
    pub(crate) srt: SrtFront,
}

impl EdgeSettings {
    /// Connections that may be there at once, published or not: what the executor's rings have to hold.
    pub(crate) fn connections(&self) -> usize {
        self.rtmp.places.unpublished_max.saturating_add(self.http.places.unpublished_max)
    }
}

/// What the listeners of one shard listen on, bound while the process may still ask for ports.
pub(crate) struct EdgeSockets {
    pub(crate) rtmp: TcpListener,
    pub(crate) rtmps: TcpListener,
    pub(crate) http: TcpListener,
    pub(crate) webrtc: BoundSocket,
    pub(crate) srt: BoundSocket,
}

/// Every listener of one shard.
pub(crate) struct Edge {
    pub(crate) spawner: Spawner,
    rtmp: RtmpEdge,
    whip: WhipEdge,
    tossed: Rc<Tossed>,
}

impl Edge {
    /// Listens from now on.
    pub(crate) fn start(
        shard: &Rc<RefCell<Shard>>,
        spawner: Spawner,
        settings: EdgeSettings,
        sockets: EdgeSockets,
    ) -> Result<Self, EngineError> {
        let watched = |listener, what: &str| {
            HostedListener::new(listener).map_err(|source| EngineError::Socket {
                action: "watch a listener",
                address: what.into(),
                source,
            })
        };
        let door = Door::new(settings.rtmp.places, rtmp::TURNED_AWAY);
        let tossed = Rc::new(Tossed::default());
        let srt =
            SrtEdge::new(shard.clone(), HostedSocket::new(sockets.srt), settings.srt, door.clone(), tossed.clone());
        let srt =
            srt.map_err(|source| EngineError::Socket { action: "watch a socket", address: "SRT".into(), source })?;
        spawner.spawn(srt.run());
        let rtmp = RtmpEdge { shard: shard.clone(), spawner: spawner.clone(), settings: Rc::new(settings.rtmp), door };
        spawner.spawn(rtmp::listen(rtmp.clone(), watched(sockets.rtmp, "RTMP")?, None));
        let tls = Rc::new(EdgeTls::load(shard.borrow().tls_files().clone(), &[])?);
        spawner.spawn(rtmp::listen(rtmp.clone(), watched(sockets.rtmps, "RTMPS")?, Some(tls)));
        let whip = WhipEdge::new(shard, settings.whip, HostedSocket::new(sockets.webrtc));
        spawner.spawn(whip::endpoint::run(whip.clone()));
        let http = HttpEdge {
            shard: shard.clone(),
            spawner: spawner.clone(),
            door: Door::new(settings.http.places, http::TURNED_AWAY),
            settings: Rc::new(settings.http),
            tls: Rc::new(EdgeTls::load(shard.borrow().tls_files().clone(), HTTP_ALPN)?),
            whip: whip.clone(),
        };
        spawner.spawn(http::listen(http, watched(sockets.http, "HTTPS")?));
        Ok(Self { spawner, rtmp, whip, tossed })
    }

    /// Takes over an encoder that another shard accepted.
    pub(crate) fn take_over(&self, encoder: EncoderHandOver) {
        rtmp::take_over(&self.rtmp, encoder);
    }

    /// Hands out what other shards wrote.
    pub(crate) fn letters(&self, letters: Vec<Letter>) {
        letters.into_iter().for_each(|letter| self.whip.letter(letter));
    }

    /// Datagrams of this shard's SRT callers that came to others; gives how many found no room.
    pub(crate) fn tossed(&self, datagrams: Vec<Datagram>) -> usize {
        self.tossed.put(datagrams)
    }

    /// Forgets connections that are over.
    pub(crate) fn sweep(&self) {
        self.spawner.sweep();
    }

    /// Ends every listener and connection.
    pub(crate) async fn end(&self) {
        self.spawner.end_all().await;
    }
}
