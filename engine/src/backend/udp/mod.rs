//! Kernel UDP sockets: one a shard (SO_REUSEPORT), received in batches with GRO, sent in trains with GSO.
//!
//! ```text
//!   recv:  recvmmsg, up to 16 super-packets (receive.rs)
//!   send:  a train a slot -> io_uring, 32 trains a system call (slots.rs, ring.rs)
//!          or, where that cannot be had, sendmsg a train (plain.rs)
//! ```
//!
//! Receiving stays with `recvmmsg`: multishot receives by io_uring cost as much or more (docs/performance.md), and would need a
//! descriptor of their own to sleep on.

mod message;
mod plain;
mod receive;
mod ring;
mod slots;
mod socket;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::Socket;

use self::message::Train;
use self::plain::{PlainSender, send_message, send_now};
use self::receive::{RECV_BATCH, RECV_LEN_MAX, RecvBatch};
use self::slots::{RingError, RingSender};
use self::socket::set_option;
use super::{PacketBackend, Sent};

pub use self::ring::{RingRefused, SendRing};
pub use self::socket::bind_shard_socket;

/// Linux refuses more segments than this in one GSO send (UDP_MAX_SEGMENTS was 64 before 6.9).
const TRAIN_PACKETS_MAX: usize = 64;
/// Largest UDP payload over IPv4, which bounds a GSO send too.
const TRAIN_LEN_MAX: usize = 65_507;

/// The `udp` packet backend.
pub struct UdpBackend {
    socket: Socket,
    local: SocketAddr,
    received: Vec<u8>,
    recv_batch: usize,
    sender: Sender,
    gso: bool,
}

enum Sender {
    Ring(Box<RingSender>),
    Plain(PlainSender),
}

impl UdpBackend {
    /// Takes over a bound socket and turns GRO on where the kernel has it. Trains leave by the ring, or by `sendmsg` without one.
    pub fn new(socket: Socket, ring: Option<SendRing>) -> io::Result<Self> {
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket"))?;
        set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1).ok();
        let gso = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let sender = match ring.filter(|_| gso) {
            Some(ring) => Sender::Ring(Box::new(RingSender::new(ring))),
            None => Sender::Plain(PlainSender::new()),
        };
        Ok(Self { socket, local, received: vec![0; RECV_BATCH * RECV_LEN_MAX], recv_batch: RECV_BATCH, sender, gso })
    }

    /// Sends one datagram that does not lie in this backend's frame; what finds no room is lost, as on the way.
    pub(super) fn send_one(&self, datagram: &[u8], to: SocketAddr) -> io::Result<Sent> {
        send_message(&self.socket, datagram, to, datagram.len())
    }

    /// What a call by the ring brought. A ring that takes nothing any more is given up, and so is one whose trains have to leave
    /// packet by packet; what it holds is sent now.
    fn after_ring(&mut self, sent: Result<Sent, RingError>) -> io::Result<Sent> {
        match sent {
            Ok(sent) if self.gso => return Ok(sent),
            Err(RingError::Train(error)) => return Err(error),
            Err(RingError::Ring(error)) => {
                tracing::warn!(%error, "io_uring sends nothing any more; packets leave by sendmsg now");
            }
            Ok(_) => {}
        }
        let before = std::mem::replace(&mut self.sender, Sender::Plain(PlainSender::new()));
        if let Sender::Ring(ring) = &before {
            for (bytes, train) in ring.unsent() {
                // What finds no room is lost, as on the way.
                send_now(&self.socket, &mut self.gso, bytes, train)?;
            }
        }
        Ok(Sent::Done)
    }
}

impl PacketBackend for UdpBackend {
    fn recv(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let mut batch = RecvBatch::new(&mut self.received);
        let messages = batch.receive(self.socket.as_raw_fd(), self.recv_batch)?;
        let mut datagrams = 0;
        for index in 0..messages {
            let Some((bytes, from, segment_len)) = batch.message(index) else { continue };
            for datagram in bytes.chunks(segment_len.max(1)) {
                datagrams += 1;
                sink(datagram, from);
            }
        }
        Ok(datagrams)
    }

    fn set_recv_batch(&mut self, datagrams: usize) -> usize {
        self.recv_batch = datagrams.clamp(1, RECV_BATCH);
        self.recv_batch
    }

    fn frame(&mut self, _to: SocketAddr) -> &mut [u8] {
        match &mut self.sender {
            Sender::Ring(ring) => ring.frame(),
            Sender::Plain(plain) => plain.frame(),
        }
    }

    fn train_len_max(&self) -> usize {
        TRAIN_LEN_MAX
    }

    fn train_packets_max(&self) -> usize {
        TRAIN_PACKETS_MAX
    }

    fn send_train(&mut self, to: SocketAddr, len: usize, segment_len: usize) -> io::Result<Sent> {
        let train = Train { to, len, segment_len };
        match &mut self.sender {
            Sender::Plain(plain) => plain.send(&self.socket, &mut self.gso, train),
            Sender::Ring(ring) => {
                let sent = ring.send(&self.socket, &mut self.gso, train);
                self.after_ring(sent)
            }
        }
    }

    fn flush(&mut self) -> io::Result<Sent> {
        match &mut self.sender {
            Sender::Plain(plain) => plain.flush(&self.socket, &mut self.gso),
            // What is merely queued leaves with its batch.
            Sender::Ring(ring) if !ring.is_blocked() => Ok(Sent::Done),
            Sender::Ring(ring) => {
                let sent = ring.flush(&self.socket, &mut self.gso);
                self.after_ring(sent)
            }
        }
    }

    fn kick(&mut self) -> io::Result<Sent> {
        match &mut self.sender {
            Sender::Ring(ring) if ring.has_queued() => {
                let sent = ring.flush(&self.socket, &mut self.gso);
                self.after_ring(sent)
            }
            _ => Ok(Sent::Done),
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}
