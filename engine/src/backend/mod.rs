//! Packet backends: how datagrams reach a shard and leave it.
//!
//! ```text
//!   wire -> recv() -> rx link -> QUIC endpoint        QUIC endpoint -> frame() -> send_train() -> wire
//! ```
//!
//! The endpoint writes sealed packets straight into the backend's own transmit frame: that write is the only copy of a
//! payload on its way out.

mod udp;

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

pub use udp::{UdpBackend, bind_shard_socket};

/// What became of a train handed to [`PacketBackend::send_train`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It left, or the kernel dropped it in a way that QUIC repairs.
    Done,
    /// The way out is full. The backend keeps the train and sends it first when [`PacketBackend::flush`] is called.
    Blocked,
}

/// One shard's way to the wire. Implementations are `udp` (kernel sockets) and, later, `xdp` and `sink`.
pub trait PacketBackend {
    /// Takes up to one batch of received datagrams, calling `sink` with each and its sender. Returns their number; 0 means
    /// nothing waits.
    fn recv(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize>;

    /// Takes at most `datagrams` with one call of [`PacketBackend::recv`] from now on, or as many as it can. Returns how many
    /// that is.
    fn set_recv_batch(&mut self, datagrams: usize) -> usize;

    /// The frame that the next train is written into. At least [`PacketBackend::train_len_max`] bytes.
    fn frame(&mut self) -> &mut [u8];

    /// Largest train in bytes that fits the frame and one send.
    fn train_len_max(&self) -> usize;

    /// Most packets in one train.
    fn train_packets_max(&self) -> usize;

    /// Sends the first `len` bytes of the frame to `to` as packets of `segment_len` bytes (the last may be shorter).
    fn send_train(&mut self, to: SocketAddr, len: usize, segment_len: usize) -> io::Result<Sent>;

    /// Sends a train that was blocked. `Sent::Done` means that new trains may follow.
    fn flush(&mut self) -> io::Result<Sent>;

    /// The address that peers send to.
    fn local_addr(&self) -> SocketAddr;

    /// A descriptor that becomes readable when [`PacketBackend::recv`] has something.
    fn wake_fd(&self) -> Option<RawFd>;
}
