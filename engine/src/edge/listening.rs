//! What an engine's edge listens on: addresses, ports that are reserved, sockets of each shard, and the bounds of their listeners.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use streams_config::Config;
use streams_ingest::{RtmpLimits, SrtFront, SrtLimits};

use super::admission::PlaceLimits;
use super::http::HttpSettings;
use super::rtmp::RtmpSettings;
use super::whip::WhipSettings;
use super::{EdgeSettings, EdgeSockets};
use crate::EngineError;
use crate::backend::bind_shard_socket;
use crate::host::BoundSocket;
use crate::ports::{Reservation, reserve_tcp, reserve_udp, shard_listener};

/// Where the edge's protocols are.
pub(crate) struct EdgeAddresses {
    rtmp: SocketAddr,
    rtmps: SocketAddr,
    http: SocketAddr,
    srt: SocketAddr,
    /// One UDP port a shard, in a row.
    webrtc: Vec<SocketAddr>,
}

impl EdgeAddresses {
    /// As configured, for so many shards.
    pub(crate) fn of(config: &Config, shards: usize) -> Self {
        let at = |port| SocketAddr::new(config.server.host, port);
        Self {
            rtmp: at(config.ports.rtmp),
            rtmps: at(config.ports.rtmps),
            http: at(config.edge_port()),
            srt: at(config.ports.srt),
            webrtc: (config.ports.webrtc..).take(shards).map(at).collect(),
        }
    }

    /// Keeps the ports from other engines.
    ///
    /// # Errors
    /// [`EngineError`] that names the port which is taken, and its key.
    pub(crate) fn reserve(&self) -> Result<Vec<Reservation>, EngineError> {
        let mut ports = vec![
            reserve_tcp(self.rtmp, "rtmp")?,
            reserve_tcp(self.rtmps, "rtmps")?,
            reserve_tcp(self.http, "edge")?,
            reserve_udp(self.srt, "srt")?,
        ];
        for address in &self.webrtc {
            ports.push(reserve_udp(*address, "webrtc")?);
        }
        Ok(ports)
    }

    /// Binds the sockets of every shard: those of one port in shard order, before anything is read, for the kernel spreads flows
    /// over the sockets that are there.
    ///
    /// # Errors
    /// [`EngineError::Socket`].
    pub(crate) fn bind(&self) -> Result<Vec<EdgeSockets>, EngineError> {
        let sockets = |webrtc: &SocketAddr| {
            Ok(EdgeSockets {
                rtmp: shard_listener(self.rtmp, "listen for RTMP")?,
                rtmps: shard_listener(self.rtmps, "listen for RTMPS")?,
                http: shard_listener(self.http, "listen for HTTPS")?,
                srt: datagrams(self.srt, "bind for SRT")?,
                webrtc: datagrams(*webrtc, "bind for WebRTC")?,
            })
        };
        self.webrtc.iter().map(sockets).collect()
    }
}

impl fmt::Display for EdgeAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rtmp, rtmps, http, srt, .. } = self;
        write!(f, "rtmp={rtmp} rtmps={rtmps} https={http} srt={srt}")
    }
}

fn datagrams(address: SocketAddr, action: &'static str) -> Result<BoundSocket, EngineError> {
    let bound = bind_shard_socket(address).and_then(|socket| BoundSocket::new(socket.into()));
    bound.map_err(|source| EngineError::Socket { action, address: address.to_string(), source })
}

/// Bounds of one shard's listeners. `srt` shares its secret with those of the other shards.
pub(crate) fn edge_settings(config: &Config, srt: SrtFront) -> EdgeSettings {
    let rtmp = rtmp_settings(config);
    let servers = config.edge.ice_servers.split(',').map(str::trim).filter(|server| !server.is_empty());
    EdgeSettings {
        http: HttpSettings {
            places: PlaceLimits {
                unpublished_max: config.edge.connections_max,
                unpublished_address_max: config.edge.connections_address_max,
                publishing_max: 0,
            },
            request_timeout: Duration::from_millis(config.edge.request_timeout_ms),
            idle_timeout: Duration::from_millis(config.edge.idle_timeout_ms),
        },
        whip: WhipSettings {
            places: rtmp.places,
            connect_timeout: rtmp.handshake_timeout,
            idle_timeout: rtmp.idle_timeout,
            public_address: config.public_address(),
            ice_servers: servers.map(str::to_owned).collect(),
        },
        rtmp,
        srt,
    }
}

/// Bounds of SRT.
pub(crate) fn srt_limits(config: &Config) -> SrtLimits {
    SrtLimits {
        latency: Duration::from_millis(config.ingest.srt_latency_ms),
        idle_timeout: Duration::from_millis(config.ingest.srt_idle_timeout_ms),
        handshakes_per_second: config.ingest.srt_handshakes_per_s,
        ..SrtLimits::default()
    }
}

fn rtmp_settings(config: &Config) -> RtmpSettings {
    RtmpSettings {
        handshake_timeout: Duration::from_millis(config.ingest.handshake_timeout_ms),
        idle_timeout: Duration::from_millis(config.ingest.idle_timeout_ms),
        places: PlaceLimits {
            unpublished_max: config.ingest.unpublished_max,
            unpublished_address_max: config.ingest.unpublished_address_max,
            publishing_max: config.ingest.connections_max,
        },
        limits: RtmpLimits { in_progress_len_max: config.ingest.message_bytes_max, ..RtmpLimits::default() },
    }
}
