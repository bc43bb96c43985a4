//! One receive/transmit queue of an interface, as the shards that are bound to it share it.
//!
//! The fill and completion rings have one producer and one consumer each, whoever's socket is on the queue. With a queue a shard
//! (the usual case) the locks here are never contended; where several shards share a queue, a lock is held for one batch.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size,
    xdp_mmap_offsets, xdp_options,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc, XdpOptionsFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::BusyPoll;
use super::ring::Ring;
use super::umem::{Umem, frame_start};

/// Entries of the rings, each a power of two, and frames to send from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Frames that wait to be filled by the kernel, a queue. There are as many frames to receive into.
    pub fill: u32,
    /// Received frames that wait for the shard.
    pub rx: u32,
    /// Frames that wait to be sent, a shard.
    pub tx: u32,
    /// Sent frames that wait to be used again, a queue.
    pub completion: u32,
    /// Frames that a shard sends from: at most those in its tx ring and in the completion ring are on their way.
    pub send_frames: u32,
}

impl RingSizes {
    /// Those of the configuration.
    pub fn configured(engine: &streams_config::Engine) -> Self {
        Self {
            fill: engine.xdp_fill_frames.get(),
            rx: engine.xdp_rx_frames.get(),
            tx: engine.xdp_tx_frames.get(),
            completion: engine.xdp_completion_frames.get(),
            send_frames: engine.xdp_send_frames,
        }
    }
}

/// Interface, queue, and how frames cross between kernel and memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) interface: u32,
    pub(super) queue: u32,
    /// Ask for zero copy, and nothing less.
    pub(super) zero_copy: bool,
}

/// The parts of a queue that all its shards use.
pub(super) struct Queue {
    pub(super) umem: Umem,
    fill: Mutex<Ring<u64>>,
    sent: Mutex<Sent>,
}

/// Frames that left, sorted by the shard that sent them.
struct Sent {
    ring: Ring<u64>,
    by_shard: Vec<Vec<u64>>,
}

/// What one shard has of a queue.
pub(super) struct Ends {
    pub(super) socket: OwnedFd,
    pub(super) rx: Ring<XdpDesc>,
    pub(super) tx: Ring<XdpDesc>,
    /// The kernel moves no bytes: the device reads and writes our frames.
    pub(super) zero_copy: bool,
    /// How the shard drives the queue; `None`: interrupts do.
    pub(super) busy_poll: Option<BusyPoll>,
}

impl Queue {
    /// Binds a socket for each of `shards` shards to the queue, over one memory.
    pub(super) fn open(binding: Binding, shards: usize, sizes: RingSizes) -> io::Result<(Self, Vec<Ends>)> {
        let umem = Umem::new(sizes.fill as usize, sizes.send_frames as usize, shards)?;
        let first = new_socket()?;
        umem.register(&first)?;
        set_xdp_umem_fill_ring_size(&first, sizes.fill)?;
        set_xdp_umem_completion_ring_size(&first, sizes.completion)?;
        let offsets = xdp_mmap_offsets(&first)?;
        let mut fill = Ring::map(&first, offsets.fr, sizes.fill, XDP_UMEM_PGOFF_FILL_RING)?;
        let ring = Ring::map(&first, offsets.cr, sizes.completion, XDP_UMEM_PGOFF_COMPLETION_RING)?;
        for frame in umem.receive_frames() {
            fill.push(frame);
        }
        fill.submit();
        let mut ends = vec![Ends::bind(first, None, binding, sizes)?];
        for _ in 1..shards {
            let owner = ends.first().map(|ends| ends.socket.as_fd());
            ends.push(Ends::bind(new_socket()?, owner, binding, sizes)?);
        }
        let sent = Sent { ring, by_shard: vec![Vec::new(); shards] };
        Ok((Self { umem, fill: Mutex::new(fill), sent: Mutex::new(sent) }, ends))
    }

    /// Gives received frames back to the kernel and empties the list. True when the kernel has to be woken for it.
    pub(super) fn refill(&self, frames: &mut Vec<u64>) -> bool {
        let mut fill = lock(&self.fill);
        // There are as many receive frames as entries, so all have room.
        for frame in frames.drain(..) {
            fill.push(frame_start(frame));
        }
        fill.submit();
        fill.needs_wakeup()
    }

    /// Moves the shard's frames that were sent into `free`.
    pub(super) fn reclaim(&self, shard: usize, free: &mut Vec<u64>) {
        let mut sent = lock(&self.sent);
        let Sent { ring, by_shard } = &mut *sent;
        let mut any = false;
        while let Some(address) = ring.pop() {
            any = true;
            if let Some(list) = self.umem.sender_of(address).and_then(|sender| by_shard.get_mut(sender)) {
                list.push(frame_start(address));
            }
        }
        if any {
            ring.release();
        }
        if let Some(list) = by_shard.get_mut(shard) {
            free.append(list);
        }
    }

    /// Frames in the fill ring that the kernel may still take, and sent frames that nobody has taken back yet.
    pub(super) fn levels(&self) -> (u32, u32) {
        (lock(&self.fill).untaken(), lock(&self.sent).ring.waiting())
    }
}

impl Ends {
    fn bind(socket: OwnedFd, owner: Option<BorrowedFd<'_>>, binding: Binding, sizes: RingSizes) -> io::Result<Self> {
        set_xdp_rx_ring_size(&socket, sizes.rx)?;
        set_xdp_tx_ring_size(&socket, sizes.tx)?;
        let offsets = xdp_mmap_offsets(&socket)?;
        let rx = Ring::map(&socket, offsets.rx, sizes.rx, XDP_PGOFF_RX_RING)?;
        let tx = Ring::map(&socket, offsets.tx, sizes.tx, XDP_PGOFF_TX_RING)?;
        match owner {
            // The rest is taken over from the first socket of the queue.
            Some(owner) => {
                let addr = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, binding.interface, binding.queue);
                bind(&socket, &SocketAddrXdpWithSharedUmem { addr, shared_umem_fd: owner })?;
            }
            None => {
                let copying =
                    if binding.zero_copy { SocketAddrXdpFlags::XDP_ZEROCOPY } else { SocketAddrXdpFlags::XDP_COPY };
                let flags = copying | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
                bind(&socket, &SocketAddrXdp::new(flags, binding.interface, binding.queue))?;
            }
        }
        let zero_copy = xdp_options(&socket)?.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        Ok(Self { socket, rx, tx, zero_copy, busy_poll: None })
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// A shard that panicked while it held the lock left a ring whose positions are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
