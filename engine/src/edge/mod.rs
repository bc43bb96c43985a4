//! Encoders at a shard: who may be there ([`admission`], [`door`]), what is the same for all of them ([`encoder`]), and what each
//! protocol does ([`rtmp`]).

pub(crate) mod admission;
pub(crate) mod door;
pub(crate) mod encoder;
pub(crate) mod rtmp;

use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;

use self::door::Door;
use self::rtmp::{RtmpEdge, RtmpSettings};
use crate::EngineError;
use crate::host::{HostedListener, Spawner};
use crate::shard::{EncoderHandOver, Shard};

/// Bounds of each listener.
pub(crate) struct EdgeSettings {
    pub(crate) rtmp: RtmpSettings,
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
}

/// Every listener of one shard.
pub(crate) struct Edge {
    pub(crate) spawner: Spawner,
    rtmp: RtmpEdge,
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
        let door = Door::new(settings.rtmp.places);
        let rtmp = RtmpEdge { shard: shard.clone(), spawner: spawner.clone(), settings: Rc::new(settings.rtmp), door };
        spawner.spawn(rtmp::listen(rtmp.clone(), watched(sockets.rtmp, "RTMP")?));
        Ok(Self { spawner, rtmp })
    }

    /// Takes over an encoder that another shard accepted.
    pub(crate) fn take_over(&self, encoder: EncoderHandOver) {
        rtmp::take_over(&self.rtmp, encoder);
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
