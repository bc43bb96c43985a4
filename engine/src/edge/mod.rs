//! Encoders at a shard: who may be there ([`admission`], [`door`]), what is the same for all of them ([`encoder`]), and what each
//! protocol does ([`rtmp`], [`srt`]).

pub(crate) mod admission;
pub(crate) mod door;
pub(crate) mod encoder;
pub(crate) mod line;
pub(crate) mod rtmp;
pub(crate) mod srt;

use std::cell::RefCell;
use std::net::{TcpListener, UdpSocket};
use std::rc::Rc;

use self::door::Door;
use self::rtmp::{RtmpEdge, RtmpSettings};
use self::srt::{Datagram, SrtEdge, Tossed};
use streams_ingest::SrtFront;

use crate::EngineError;
use crate::host::{HostedListener, HostedSocket, Spawner};
use crate::shard::{EncoderHandOver, Shard};

/// Bounds of each listener.
pub(crate) struct EdgeSettings {
    pub(crate) rtmp: RtmpSettings,
    /// Shares its secret with those of the other shards.
    pub(crate) srt: SrtFront,
}

impl EdgeSettings {
    /// Connections that may be there at once, published or not: what the executor's rings have to hold.
    pub(crate) fn connections(&self) -> usize {
        self.rtmp.places.unpublished_max
    }
}

/// What the listeners of one shard listen on, bound while the process may still ask for ports.
pub(crate) struct EdgeSockets {
    pub(crate) rtmp: TcpListener,
    /// Taken by the shard's thread, which hosts it before its system calls are limited.
    pub(crate) srt: Option<UdpSocket>,
}

/// The datagram sockets of one shard, hosted on its thread.
pub(crate) struct HostedSockets {
    pub(crate) srt: Option<HostedSocket>,
}

impl HostedSockets {
    /// Those that are there.
    pub(crate) fn host(sockets: &mut EdgeSockets) -> std::io::Result<Self> {
        Ok(Self { srt: sockets.srt.take().map(HostedSocket::new).transpose()? })
    }
}

/// Every listener of one shard.
pub(crate) struct Edge {
    pub(crate) spawner: Spawner,
    rtmp: RtmpEdge,
    tossed: Rc<Tossed>,
}

impl Edge {
    /// Listens from now on.
    pub(crate) fn start(
        shard: &Rc<RefCell<Shard>>,
        spawner: Spawner,
        settings: EdgeSettings,
        sockets: EdgeSockets,
        hosted: HostedSockets,
    ) -> Result<Self, EngineError> {
        let watched = |listener, what: &str| {
            HostedListener::new(listener).map_err(|source| EngineError::Socket {
                action: "watch a listener",
                address: what.into(),
                source,
            })
        };
        let door = Door::new(settings.rtmp.places);
        let tossed = Rc::new(Tossed::default());
        if let Some(socket) = hosted.srt {
            let edge = SrtEdge::new(shard.clone(), socket, settings.srt, door.clone(), tossed.clone());
            let edge =
                edge.map_err(|source| EngineError::Socket { action: "watch a socket", address: "SRT".into(), source })?;
            spawner.spawn(edge.run());
        }
        let rtmp = RtmpEdge { shard: shard.clone(), spawner: spawner.clone(), settings: Rc::new(settings.rtmp), door };
        spawner.spawn(rtmp::listen(rtmp.clone(), watched(sockets.rtmp, "RTMP")?));
        Ok(Self { spawner, rtmp, tossed })
    }

    /// Takes over an encoder that another shard accepted.
    pub(crate) fn take_over(&self, encoder: EncoderHandOver) {
        rtmp::take_over(&self.rtmp, encoder);
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
