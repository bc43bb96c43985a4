//! The QUIC endpoint of one shard, on quiche.
//!
//! ```text
//!   datagram -> cid check -> connection map -> quiche -> transport (raw QUIC | WebTransport) -> SessionSink (the relay)
//!   visit: SessionSink::pump (the relay) -> Link (Transmit) -> quiche -> train in the backend's frame -> wire
//! ```

pub mod cid;
mod config;
mod connection;
mod ending;
mod endpoint;
mod flush;
pub(crate) mod fuzzing;
mod initial;
mod intake;
mod link;
mod prefix;
mod retry;
mod webtransport;

#[cfg(test)]
mod tests;

pub use config::{SEND_PAYLOAD_LEN_MAX, TlsFiles, server_config};
pub use endpoint::{Endpoint, EndpointLimits, EndpointStats, EndpointTuning, Toss};
pub use retry::RetryTokens;

use std::net::SocketAddr;

use bytes::Bytes;
use streams_relay_core::relay::{Dir, Pumped, SessionConfig, SessionId, StreamId, Transmit};

/// Where a connection's MoQT session goes: the relay, or a recorder in tests.
pub trait SessionSink {
    /// A transport is ready for MoQT.
    fn session_open(&mut self, session: SessionId, config: SessionConfig);
    /// Bytes of one stream, in order. `fin` may come with no bytes.
    fn stream_data(&mut self, session: SessionId, stream: StreamId, dir: Dir, data: &[u8], fin: bool);
    /// The peer reset its sending side.
    fn stream_reset(&mut self, session: SessionId, stream: StreamId, code: u64);
    /// The peer wants no more of one of our streams, or of our half of one.
    fn stream_stopped(&mut self, session: SessionId, stream: StreamId, code: u64);
    /// One QUIC datagram of the session.
    fn datagram(&mut self, session: SessionId, data: &[u8]);
    /// The connection is gone; nothing can be sent any more.
    fn session_closed(&mut self, session: SessionId);
    /// Whether the session may publish: then it is read as fast as it sends.
    fn may_publish(&mut self, session: SessionId) -> bool;
    /// Whether the session has a request that was accepted: then its connection is kept alive while nothing is sent.
    fn in_use(&mut self, session: SessionId) -> bool;
    /// The connection has its turn to send: what the session has to say is written into `io`.
    fn pump(&mut self, session: SessionId, io: &mut dyn Transmit) -> Pumped;
}

/// Lets quiche queue refcounted slices: one object's bytes are shared by every viewer of the shard.
#[derive(Clone, Debug, Default)]
pub struct SharedBuffers;

impl quiche::BufFactory for SharedBuffers {
    type Buf = Bytes;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Bytes {
        Bytes::copy_from_slice(buf)
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.to_vec()
    }
}

/// A quiche connection over shared buffers.
pub type Quic = quiche::Connection<SharedBuffers>;

/// A datagram as it crosses a ring: who sent it, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The peer's address.
    pub from: SocketAddr,
    /// Our address that it was sent to.
    pub to: SocketAddr,
}
