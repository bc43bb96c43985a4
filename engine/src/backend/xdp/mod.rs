//! The `xdp` packet backend: frames straight from and to an interface's queue by AF_XDP.
//!
//! ```text
//!   queue -> packet program -> rx ring -> headers read, datagram handed on, frame back into the fill ring
//!   frame from the pool -> quiche writes into it -> headers in front -> tx ring -> completion ring -> pool
//! ```
//!
//! The kernel's socket on the same port stays beside it, for what the packet program leaves to the kernel: fragments, packets of
//! this machine itself, peers on other interfaces. Such peers are answered through the kernel too.
//!
//! Sockets and rings are set up by `rustix` and driven here, not by libxdp: the packet program's metadata lies in front of a
//! received frame, and a frame to send begins where its headers do, and neither can be had through its bindings.

mod busy_poll;
mod headers;
mod interface;
mod queue;
mod ring;
mod routes;
mod setup;
mod umem;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::xdp::{XdpDesc, XdpDescOptions};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use streams_xdp_prog::{Counters, Metadata, XdpProgram};

use self::headers::{HEADERS_LEN_MAX, Route, headers_len, parse, write};
use self::queue::{Ends, Queue};
use self::routes::Routes;
use self::umem::FRAME_LEN;
use super::{BackendLevels, PacketBackend, ProgramLevels, Sent, UdpBackend};

pub use self::busy_poll::BusyPoll;
pub use self::queue::RingSizes;
pub use self::setup::{XdpEnd, XdpSetup, XdpSetupError, XdpShardWish, XdpWish, set_up};

/// Frames taken from the rx ring at once.
const RECV_BATCH: usize = 64;
/// The kernel sends at most so many frames with one wake-up (TX_BATCH_SIZE), so that more would wait for the next.
const KICK_PACKETS: u32 = 32;
/// Where a payload begins in its frame: behind the longest headers, at a cache line.
const PAYLOAD_OFFSET: usize = HEADERS_LEN_MAX.next_multiple_of(64);
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
    free: Vec<u64>,
    current: u64,
    /// The packet in the current frame that found no room.
    blocked: Option<Packet>,
    /// Received frames on their way back to the fill ring.
    returned: Vec<u64>,
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
        let XdpEnd { queue, ends, place, program, index, .. } = end;
        let mut free: Vec<u64> = queue.umem.send_frames(place).collect();
        let current = free.pop().ok_or_else(|| io::Error::other("a queue without frames to send from"))?;
        let levels = BackendLevels {
            zero_copy: ends.zero_copy,
            huge_pages: queue.umem.is_huge(),
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
            blocked: None,
            returned: Vec::with_capacity(RECV_BATCH),
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
        if self.levels.busy_poll && self.ends.rx.waiting() == 0 {
            self.wake_receiver()?;
        }
        for _ in 0..self.recv_batch {
            let Some(XdpDesc { addr, len, .. }) = self.ends.rx.pop() else { break };
            self.returned.push(addr);
            self.take_metadata(addr);
            // SAFETY: the frame came out of the rx ring, so it is this shard's until it goes back by the fill ring below; the
            // slice is gone by then.
            let Some(frame) = (unsafe { self.queue.umem.frame(addr, len as usize) }) else { continue };
            match parse(frame) {
                Some(received) => {
                    datagrams += 1;
                    self.routes.learn(received.from.ip(), received.route);
                    sink(received.payload, received.from);
                }
                None => self.levels.unreadable += 1,
            }
        }
        self.levels.received += self.returned.len() as u64;
        if !self.returned.is_empty() {
            self.ends.rx.release();
            if self.queue.refill(&mut self.returned) {
                self.wake_receiver()?;
            }
        }
        Ok(datagrams)
    }

    /// Looks at the metadata in front of a received frame, and clears it: where a driver leaves no room for it, that of an
    /// earlier frame in the same place must not be taken for this one's.
    fn take_metadata(&mut self, address: u64) {
        let start = address.saturating_sub(Metadata::LEN as u64);
        // SAFETY: as for the frame behind it; this slice is gone before that one is made.
        let Some(bytes) = (unsafe { self.queue.umem.frame_mut(start, Metadata::LEN) }) else { return };
        self.levels.no_metadata += u64::from(Metadata::parse(bytes).is_none());
        bytes.fill(0);
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
        match recv(&self.ends.socket, &mut [0u8; 0][..], RecvFlags::DONTWAIT) {
            Ok(_) => Ok(()),
            Err(errno) => settled(errno),
        }
    }

    /// Puts the current frame into the tx ring.
    fn transmit(&mut self, packet: Packet, route: &Route) -> io::Result<Sent> {
        if self.ends.tx.room() == 0 || self.free.is_empty() {
            self.kick()?;
            self.queue.reclaim(self.place, &mut self.free);
        }
        let Some(next) = self.free.pop() else { return Ok(Sent::Blocked) };
        let head_len = headers_len(route);
        let start = self.current + (PAYLOAD_OFFSET - head_len) as u64;
        let len = head_len + packet.len;
        // SAFETY: the current frame is out of every ring, so it is this shard's, and this is the only slice of it.
        let written =
            unsafe { self.queue.umem.frame_mut(start, len) }.is_some_and(|bytes| write(bytes, route, packet.to));
        if !written {
            self.free.push(next);
            return Ok(Sent::Done);
        }
        let desc = XdpDesc { addr: start, len: len as u32, options: XdpDescOptions::empty() };
        if !self.ends.tx.push(desc) {
            self.free.push(next);
            return Ok(Sent::Blocked);
        }
        self.ends.tx.submit();
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
        let start = self.current + PAYLOAD_OFFSET as u64;
        // SAFETY: the current frame is this shard's, and nobody writes to it during the call.
        match unsafe { self.queue.umem.frame(start, packet.len) } {
            Some(bytes) => self.kernel.send_one(bytes, packet.to),
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

    fn frame(&mut self) -> &mut [u8] {
        let start = self.current + PAYLOAD_OFFSET as u64;
        // SAFETY: the current frame is out of every ring, so it is this shard's; the slice borrows `self`, so that nothing else
        // here touches the frame while it lives.
        unsafe { self.queue.umem.frame_mut(start, PAYLOAD_LEN_MAX) }.unwrap_or_default()
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
        while self.ends.tx.needs_wakeup() || (self.levels.busy_poll && left == u32::MAX) {
            self.levels.wakeups += 1;
            if let Err(errno) = send(&self.ends.socket, &[], SendFlags::DONTWAIT) {
                settled(errno)?;
            }
            // As long as each wake-up moves some: the rest has to wait for the interface.
            let untaken = self.ends.tx.untaken();
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
        self.unkicked = u32::from(self.ends.tx.needs_wakeup());
        Ok(Sent::Done)
    }

    fn check(&mut self) -> io::Result<()> {
        // Set when the interface is unregistered, and by nothing else; poll does not show it.
        if socket_error(&self.ends.socket)?.is_err() {
            return Err(io::Error::other("the interface is gone"));
        }
        // What was left in the ring when the kernel had no room for it.
        if self.ends.tx.untaken() > 0 {
            self.unkicked += 1;
            self.kick()?;
        }
        Ok(())
    }

    fn levels(&mut self) -> BackendLevels {
        let (fill, completion) = self.queue.levels();
        let (rx, tx) = (self.ends.rx.waiting(), self.ends.tx.untaken());
        let dropped = rustix::net::sockopt::xdp_statistics(&self.ends.socket).map_or(0, |statistics| {
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
fn settled(errno: Errno) -> io::Result<()> {
    match errno {
        Errno::NOBUFS | Errno::AGAIN | Errno::BUSY | Errno::NETDOWN | Errno::NXIO | Errno::INTR | Errno::NODEV => {
            Ok(())
        }
        errno => Err(errno.into()),
    }
}

const _: () = assert!(PAYLOAD_OFFSET + PAYLOAD_LEN_MAX <= FRAME_LEN);
