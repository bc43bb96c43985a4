//! The `xdp` packet backend: frames straight from and to an interface's queue by AF_XDP.
//!
//! ```text
//!   queue -> packet program -> rx ring -> metadata, headers read, datagram handed on, frame back into the fill ring
//!   frame from the pool -> quiche writes into it -> headers in front -> tx ring -> completion ring -> pool
//! ```
//!
//! The kernel's socket on the same port stays beside it, for what the packet program leaves to the kernel: fragments, packets of
//! this machine itself, peers on other interfaces. Such peers are answered through the kernel too.
//!
//! Sockets, rings and their memory are `xsk-rs`' (`queue.rs`, `frames.rs`). A frame to send begins with its headers, whose length
//! depends on the peer: so whoever asks for a frame says whom it is for, and a guess that was wrong costs moving the payload.

mod busy_poll;
mod frames;
mod headers;
mod interface;
mod queue;
mod routes;
mod setup;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{RecvFlags, recv};
use streams_xdp_prog::{Counters, Metadata, XdpProgram};
use xsk_rs::FrameDesc;

use self::frames::DATA_LEN;
use self::headers::{HEADERS_LEN_MAX, Route, headers_len, parse, put_in_front};
use self::queue::{Ends, Queue};
use self::routes::Routes;
use super::{BackendLevels, PacketBackend, ProgramLevels, Sent, UdpBackend};

pub use self::busy_poll::BusyPoll;
pub use self::queue::RingSizes;
pub use self::setup::{XdpEnd, XdpSetup, XdpSetupError, XdpShardWish, XdpWish, set_up};

/// Frames taken from the rx ring at once.
const RECV_BATCH: usize = 64;
/// The kernel sends at most so many frames with one wake-up (TX_BATCH_SIZE), so that more would wait for the next.
const KICK_PACKETS: u32 = 32;
/// Largest UDP payload that is sent: MTU 1500 over IPv4.
const PAYLOAD_LEN_MAX: usize = 1_472;

/// One shard's end of a queue, and its kernel socket.
pub struct XdpBackend {
    queue: Arc<Queue>,
    ends: Ends,
    /// Index of this shard among those on the queue.
    place: usize,
    kernel: UdpBackend,
    routes: Routes,
    /// Frames to send from. One is always `current`.
    free: Vec<FrameDesc>,
    current: FrameDesc,
    /// Where the payload of the current frame begins: behind the headers for the peer that it was asked for.
    payload_at: usize,
    /// The packet in the current frame that found no room.
    blocked: Option<Packet>,
    /// Received frames on their way back to the fill ring.
    received: [FrameDesc; RECV_BATCH],
    /// Packets in the tx ring since the kernel was woken last.
    unkicked: u32,
    /// The kernel's socket is looked at in every so many calls, and when the queue is silent.
    looks: u32,
    recv_batch: usize,
    levels: BackendLevels,
    program: Arc<XdpProgram>,
    /// This shard's place in the program's table.
    index: usize,
}

#[derive(Clone, Copy)]
struct Packet {
    to: SocketAddr,
    len: usize,
}

impl XdpBackend {
    fn new(end: XdpEnd, kernel: UdpBackend) -> io::Result<Self> {
        let XdpEnd { queue, mut ends, place, program, index, .. } = end;
        let mut free = std::mem::take(&mut ends.free);
        let current = free.pop().ok_or_else(|| io::Error::other("a queue without frames to send from"))?;
        let levels = BackendLevels {
            zero_copy: ends.zero_copy,
            huge_pages: queue.frames.is_huge(),
            busy_poll: ends.busy_poll.is_some(),
            ..Default::default()
        };
        Ok(Self {
            queue,
            ends,
            place,
            kernel,
            routes: Routes::default(),
            free,
            current,
            payload_at: HEADERS_LEN_MAX,
            blocked: None,
            received: [FrameDesc::default(); RECV_BATCH],
            unkicked: 0,
            looks: 0,
            recv_batch: RECV_BATCH,
            levels,
            program,
            index,
        })
    }

    fn recv_queue(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let mut datagrams = 0;
        // With busy polling the driver looks at its queue when it is called, and at hardly any other time.
        if self.levels.busy_poll && self.ends.waiting() == 0 {
            self.wake_receiver()?;
        }
        let batch = self.received.get_mut(..self.recv_batch).unwrap_or_default();
        // SAFETY: the descriptors are filled from the memory that the socket is bound to.
        let count = unsafe { self.ends.rx.consume(batch) };
        let batch = batch.get(..count).unwrap_or_default();
        for descriptor in batch {
            // SAFETY: the frame came out of the rx ring, so it is this shard's until it goes back by the fill ring below; the
            // slice is gone by then.
            let bytes = unsafe { self.queue.frames.received(descriptor) };
            let Some((metadata, frame)) = bytes.and_then(|bytes| bytes.split_at_checked(Metadata::LEN)) else {
                continue;
            };
            if Metadata::parse(metadata).is_none() {
                self.levels.no_metadata += 1;
                continue;
            }
            match parse(frame) {
                Some(received) => {
                    datagrams += 1;
                    self.routes.learn(received.from.ip(), received.route);
                    sink(received.payload, received.from);
                }
                None => self.levels.unreadable += 1,
            }
        }
        self.levels.received += count as u64;
        // SAFETY: they came out of the rx ring just now, and the slices of them are gone.
        if count > 0 && unsafe { self.queue.refill(batch) } {
            self.wake_receiver()?;
        }
        Ok(datagrams)
    }

    fn recv_kernel(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let routes = &mut self.routes;
        self.kernel.recv(&mut |datagram, from| {
            routes.forget(from.ip());
            sink(datagram, from);
        })
    }

    fn wake_receiver(&mut self) -> io::Result<()> {
        self.levels.wakeups += 1;
        match recv(self.ends.socket(), &mut [0u8; 0][..], RecvFlags::DONTWAIT) {
            Ok(_) => Ok(()),
            Err(errno) => settled(errno.into()),
        }
    }

    /// Puts the current frame into the tx ring.
    fn transmit(&mut self, packet: Packet, route: &Route) -> io::Result<Sent> {
        if !self.ends.has_room() || self.free.is_empty() {
            self.kick()?;
            self.queue.reclaim(self.place, &mut self.free);
        }
        let Some(next) = self.free.pop() else { return Ok(Sent::Blocked) };
        let head_len = headers_len(route);
        let end = head_len.max(self.payload_at) + packet.len;
        // SAFETY: the current frame is out of every ring, so it is this shard's, and this is the only slice of it.
        let bytes = unsafe { self.queue.frames.writable(&mut self.current, end) };
        let Some(len) = put_in_front(bytes, self.payload_at, packet.len, route, packet.to) else {
            self.free.push(next);
            return Ok(Sent::Done);
        };
        self.payload_at = head_len;
        // SAFETY: as above; the slice sets how many bytes are sent, and is gone at once.
        unsafe { self.queue.frames.writable(&mut self.current, len) };
        // SAFETY: as above, and from here on the next frame is the current one.
        if !unsafe { self.ends.transmit(&self.current) } {
            self.free.push(next);
            return Ok(Sent::Blocked);
        }
        self.current = next;
        self.levels.sent += 1;
        self.unkicked += 1;
        if self.unkicked >= KICK_PACKETS {
            self.kick()?;
        }
        Ok(Sent::Done)
    }

    /// Sends the packet in the current frame by the kernel: to a peer that is not on this interface.
    fn send_by_kernel(&mut self, packet: Packet) -> io::Result<Sent> {
        let end = self.payload_at + packet.len;
        // SAFETY: the current frame is this shard's, and this is the only slice of it.
        let bytes = unsafe { self.queue.frames.writable(&mut self.current, end) };
        match bytes.get(self.payload_at..) {
            Some(payload) => self.kernel.send_one(payload, packet.to),
            None => Ok(Sent::Done),
        }
    }

    fn send(&mut self, packet: Packet) -> io::Result<Sent> {
        let sent = match self.routes.find(packet.to.ip()) {
            Some(route) => self.transmit(packet, &route)?,
            None => self.send_by_kernel(packet)?,
        };
        self.blocked = (sent == Sent::Blocked).then_some(packet);
        Ok(sent)
    }
}

impl PacketBackend for XdpBackend {
    fn recv(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        /// A busy queue leaves the kernel's socket waiting for so many calls at most.
        const KERNEL_EVERY: u32 = 16;
        let datagrams = self.recv_queue(sink)?;
        self.looks = self.looks.wrapping_add(1);
        if datagrams == 0 || self.looks.is_multiple_of(KERNEL_EVERY) {
            return Ok(datagrams + self.recv_kernel(sink)?);
        }
        Ok(datagrams)
    }

    fn set_recv_batch(&mut self, datagrams: usize) -> usize {
        self.recv_batch = datagrams.clamp(1, RECV_BATCH);
        self.recv_batch
    }

    fn frame(&mut self, to: SocketAddr) -> &mut [u8] {
        self.payload_at = self.routes.find(to.ip()).map_or(HEADERS_LEN_MAX, |route| headers_len(&route));
        let (start, end) = (self.payload_at, self.payload_at + PAYLOAD_LEN_MAX);
        // SAFETY: the current frame is out of every ring, so it is this shard's; the slice borrows `self`, so that nothing else
        // here touches the frame while it lives.
        unsafe { self.queue.frames.writable(&mut self.current, end) }.get_mut(start..).unwrap_or_default()
    }

    fn train_len_max(&self) -> usize {
        PAYLOAD_LEN_MAX
    }

    fn train_packets_max(&self) -> usize {
        1
    }

    fn send_train(&mut self, to: SocketAddr, len: usize, _segment_len: usize) -> io::Result<Sent> {
        self.send(Packet { to, len })
    }

    fn flush(&mut self) -> io::Result<Sent> {
        match self.blocked.take() {
            Some(packet) => {
                self.kick()?;
                self.send(packet)
            }
            None => Ok(Sent::Done),
        }
    }

    fn kick(&mut self) -> io::Result<Sent> {
        if self.unkicked == 0 {
            return Ok(Sent::Done);
        }
        self.unkicked = 0;
        // The kernel sends nothing that it could not report in the completion ring.
        self.queue.reclaim(self.place, &mut self.free);
        let mut left = u32::MAX;
        while self.ends.needs_wakeup() || (self.levels.busy_poll && left == u32::MAX) {
            self.levels.wakeups += 1;
            self.ends.wake().or_else(settled)?;
            // As long as each wake-up moves some: the rest has to wait for the interface.
            let untaken = self.ends.untaken();
            if untaken == 0 {
                return Ok(Sent::Done);
            }
            if untaken >= left {
                break;
            }
            left = untaken;
            // A completion ring that is shorter than the tx ring fills up on the way.
            self.queue.reclaim(self.place, &mut self.free);
        }
        // What the kernel has left there is offered again with the next kick.
        self.unkicked = u32::from(self.ends.needs_wakeup());
        Ok(Sent::Done)
    }

    fn check(&mut self) -> io::Result<()> {
        // Set when the interface is unregistered, and by nothing else; poll does not show it.
        if socket_error(self.ends.socket())?.is_err() {
            return Err(io::Error::other("the interface is gone"));
        }
        // What was left in the ring when the kernel had no room for it.
        if self.ends.untaken() > 0 {
            self.unkicked += 1;
            self.kick()?;
        }
        Ok(())
    }

    fn levels(&mut self) -> BackendLevels {
        let (fill, completion) = self.queue.levels();
        let (rx, tx) = (self.ends.waiting(), self.ends.untaken());
        let dropped = rustix::net::sockopt::xdp_statistics(self.ends.socket()).map_or(0, |statistics| {
            statistics.rx_dropped
                + statistics.rx_ring_full.unwrap_or_default()
                + statistics.rx_fill_ring_empty_descs.unwrap_or_default()
        });
        let counted = self.program.counters().unwrap_or_default();
        let redirected = counted.redirected.get(self.index).copied().unwrap_or_default();
        let program = if self.index == 0 { program_levels(&counted) } else { ProgramLevels::default() };
        BackendLevels { fill, rx, tx, completion, dropped, redirected, program, ..self.levels }
    }

    fn local_addr(&self) -> SocketAddr {
        self.kernel.local_addr()
    }
}

fn program_levels(counted: &Counters) -> ProgramLevels {
    ProgramLevels {
        frames: counted.rx,
        passed: counted.pass,
        no_socket: counted.no_socket,
        wrong_shard: counted.wrong_shard,
        malformed_udp_length: counted.malformed_udp_length,
        malformed_too_short: counted.malformed_too_short,
        malformed_fixed_bit: counted.malformed_fixed_bit,
        malformed_cid_length: counted.malformed_cid_length,
    }
}

/// A ring without room, an interface that is down for the moment: QUIC repairs what is lost. Without the interface the socket
/// is of no use any more, see [`PacketBackend::check`].
fn settled(error: io::Error) -> io::Result<()> {
    match Errno::from_io_error(&error) {
        Some(
            Errno::NOBUFS | Errno::AGAIN | Errno::BUSY | Errno::NETDOWN | Errno::NXIO | Errno::INTR | Errno::NODEV,
        ) => Ok(()),
        _ => Err(error),
    }
}

const _: () = assert!(HEADERS_LEN_MAX + PAYLOAD_LEN_MAX <= DATA_LEN);
