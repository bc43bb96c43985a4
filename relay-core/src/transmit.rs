//! What a transport offers one session.

use bytes::Bytes;

/// A transport's own stream id; the relay compares it and never interprets its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Which kind of stream bytes arrived on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// One way, opened by the peer.
    Uni,
    /// Both ways, opened by either side.
    Bidi,
}

/// Why a write was not possible at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransmitError {
    /// The peer sent STOP_SENDING with this code, or reset its half of a request stream.
    #[error("the peer stopped the stream with code {0:#x}")]
    Stopped(u64),
    /// The stream is not open (any more).
    #[error("the stream is closed")]
    Closed,
}

/// One session's transport as the relay and the client machine see it: raw QUIC, a WebTransport session, or a
/// simulated pipe. Calls never block: what the transport cannot take now is asked for again on the next pump.
pub trait Transmit {
    /// Opens a unidirectional stream. `None`: the peer's stream limit is reached, try again later.
    fn open_uni(&mut self) -> Option<StreamId>;
    /// Opens a bidirectional stream. `None` as for [`Transmit::open_uni`].
    fn open_bidi(&mut self) -> Option<StreamId>;
    /// Hands `data` over and returns how many bytes were taken. Fewer than all means blocked for now. `fin` counts only
    /// when all bytes were taken.
    fn write(&mut self, stream: StreamId, data: &[u8], fin: bool) -> Result<usize, TransmitError>;
    /// As [`Transmit::write`], but a transport that can keeps a reference to the refcounted bytes and copies nothing.
    fn write_shared(&mut self, stream: StreamId, data: &Bytes, fin: bool) -> Result<usize, TransmitError>;
    /// Hands one whole datagram over. `false`: there is no room for it now, or it is too long, or the peer takes none.
    fn send_datagram(&mut self, data: &[u8]) -> bool {
        let _ = data;
        false
    }
    /// Sets the order in which the transport drains its own buffers: 0 is the most urgent.
    fn set_urgency(&mut self, stream: StreamId, urgency: u8);
    /// Ends the sending half at once with a stream reset code (MoQT-18 §3.3.3). Nothing happens when this side has no such
    /// half, or when it has ended.
    fn reset(&mut self, stream: StreamId, code: u64);
    /// Asks the peer to end its sending half (STOP_SENDING).
    fn stop(&mut self, stream: StreamId, code: u64);
    /// Closes the session: CONNECTION_CLOSE on raw QUIC, the close capsule on WebTransport (MoQT-18 §3.5).
    fn close(&mut self, code: u64, reason: &str);
}
