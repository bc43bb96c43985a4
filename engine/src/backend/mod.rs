//! Packet backends: how datagrams reach a shard and leave it.
//!
//! ```text
//!   wire -> recv() -> rx link -> QUIC endpoint        QUIC endpoint -> frame() -> send_train() -> wire
//! ```
//!
//! The endpoint writes sealed packets straight into the backend's own transmit frame: that write is the only copy of a
//! payload on its way out.

#[cfg(test)]
mod link;
mod sink;
mod udp;
mod xdp;

use std::io;
use std::net::SocketAddr;

pub use sink::{SinkTrain, SinkWire, sink};
pub use udp::{RingRefused, SendRing, UdpBackend, bind_shard_socket};
pub use xdp::{BusyPoll, RingSizes, XdpEnd, XdpSetup, XdpSetupError, XdpShardWish, XdpWish, set_up};

/// What became of a train handed to [`PacketBackend::send_train`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It left, or the kernel dropped it in a way that QUIC repairs.
    Done,
    /// The way out is full. The backend keeps the train and sends it first when [`PacketBackend::flush`] or
    /// [`PacketBackend::kick`] is called.
    Blocked,
}

/// How full a backend's rings are, and what it counted. All zero for a backend without rings of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendLevels {
    /// Frames that the kernel may receive into.
    pub fill: u32,
    /// Received frames that wait for the shard.
    pub rx: u32,
    /// Frames that wait to be sent.
    pub tx: u32,
    /// Sent frames that were not taken back yet.
    pub completion: u32,
    /// Times the kernel was woken.
    pub wakeups: u64,
    /// Frames that the packet program redirected to this shard. What is missing in `received` was lost on the way.
    pub redirected: u64,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Received frames without the packet program's metadata.
    pub no_metadata: u64,
    /// Received frames that held no UDP datagram.
    pub unreadable: u64,
    /// Frames that the kernel dropped for want of room in the rings.
    pub dropped: u64,
    /// No byte is copied between device and frames.
    pub zero_copy: bool,
    /// The frames lie in huge pages.
    pub huge_pages: bool,
    /// The shard drives its queue itself; interrupts do not.
    pub busy_poll: bool,
    /// What the packet program counted on its interface; zero on all shards but the first, so that a sum counts it once.
    pub program: ProgramLevels,
}

/// What the packet program did with the frames of its interface, beside redirecting them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramLevels {
    /// Frames seen.
    pub frames: u64,
    /// Left to the kernel: none of the engine's.
    pub passed: u64,
    /// Left to the kernel: the queue has no socket.
    pub no_socket: u64,
    /// Redirected to another shard than the owner.
    pub wrong_shard: u64,
    /// Dropped: a UDP length that cannot be.
    pub malformed_udp_length: u64,
    /// Dropped: shorter than the QUIC header it begins.
    pub malformed_too_short: u64,
    /// Dropped: no fixed bit.
    pub malformed_fixed_bit: u64,
    /// Dropped: a connection id that is too long.
    pub malformed_cid_length: u64,
}

/// One shard's way to the wire: `udp` (kernel sockets), `xdp` (AF_XDP) or `sink` (memory, for measurements).
pub trait PacketBackend {
    /// Takes up to one batch of received datagrams, calling `sink` with each and its sender. Returns their number; 0 means
    /// nothing waits.
    fn recv(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize>;

    /// Takes at most `datagrams` with one call of [`PacketBackend::recv`] from now on, or as many as it can. Returns how many
    /// that is.
    fn set_recv_batch(&mut self, datagrams: usize) -> usize;

    /// The frame that the next train is written into, which will probably go to `to`: a backend may have to know what it writes
    /// in front, and moves the train when it went somewhere else. At least [`PacketBackend::train_len_max`] bytes, unless the way out is
    /// full.
    fn frame(&mut self, to: SocketAddr) -> &mut [u8];

    /// Largest train in bytes that fits the frame and one send.
    fn train_len_max(&self) -> usize;

    /// Most packets in one train.
    fn train_packets_max(&self) -> usize;

    /// Sends the first `len` bytes of the frame to `to` as packets of `segment_len` bytes (the last may be shorter), at the
    /// latest with the next [`PacketBackend::kick`].
    fn send_train(&mut self, to: SocketAddr, len: usize, segment_len: usize) -> io::Result<Sent>;

    /// Sends a train that was blocked. `Sent::Done` means that new trains may follow.
    fn flush(&mut self) -> io::Result<Sent>;

    /// The address that peers send to.
    fn local_addr(&self) -> SocketAddr;

    /// Has the kernel send what stands ready, where sending does not do that by itself. Called after each burst.
    /// `Sent::Blocked`: some of it found no room, and another call is wanted soon.
    fn kick(&mut self) -> io::Result<Sent> {
        Ok(Sent::Done)
    }

    /// Looks whether the way to the wire still exists. An error ends the shard, with its words.
    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// How full its rings are.
    fn levels(&mut self) -> BackendLevels {
        BackendLevels::default()
    }
}
