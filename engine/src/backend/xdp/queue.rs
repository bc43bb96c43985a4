//! One receive/transmit queue of an interface, as the shards that are bound to it share it.
//!
//! The fill and completion rings have one producer and one consumer each, whoever's socket is on the queue. With a queue a shard
//! (the usual case) the locks here are never contended; where several shards share a queue, a lock is held for one batch.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use rustix::net::sockopt::xdp_options;
use rustix::net::xdp::XdpOptionsFlags;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue};

use super::BusyPoll;
use super::frames::{Frames, Unowned, system_error};

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
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) interface: Interface,
    pub(super) queue: u32,
    /// Ask for zero copy, and nothing less.
    pub(super) zero_copy: bool,
}

/// The parts of a queue that all its shards use. Each lock has cache lines of its own: one shard sends while another receives.
pub(super) struct Queue {
    pub(super) frames: Frames,
    fill: CachePadded<Mutex<Fill>>,
    sent: CachePadded<Mutex<Sent>>,
}

struct Fill {
    ring: FillQueue,
    entries: u32,
}

/// Frames that left, sorted by the shard that sent them.
struct Sent {
    ring: CompQueue,
    by_shard: Vec<Vec<FrameDesc>>,
}

/// What one shard has of a queue.
pub(super) struct Ends {
    pub(super) rx: RxQueue,
    tx: TxQueue,
    tx_entries: u32,
    /// Frames to send from.
    pub(super) free: Vec<FrameDesc>,
    /// The kernel moves no bytes: the device reads and writes our frames.
    pub(super) zero_copy: bool,
    /// How the shard drives the queue; `None`: interrupts do.
    pub(super) busy_poll: Option<BusyPoll>,
}

impl Queue {
    /// Binds a socket for each of `shards` shards to the queue, over one memory.
    pub(super) fn open(binding: &Binding, shards: usize, sizes: RingSizes) -> io::Result<(Self, Vec<Ends>)> {
        let (frames, Unowned { receive, send }) = Frames::new(sizes, shards)?;
        let (mut rings, mut ends) = (None, Vec::with_capacity(shards));
        for free in send {
            let (end, of_queue) = Ends::bind(binding, &frames, free, sizes)?;
            // Those of the queue come with its first socket.
            rings = rings.or(of_queue);
            ends.push(end);
        }
        let (mut fill, completion) = rings.ok_or_else(|| io::Error::other("a queue without sockets"))?;
        // SAFETY: frames of this memory, which nobody has yet.
        let filled = unsafe { fill.produce(&receive) };
        if filled != receive.len() {
            return Err(io::Error::other("the fill ring does not take all receive frames"));
        }
        let fill = Fill { ring: fill, entries: sizes.fill };
        let sent = Sent { ring: completion, by_shard: vec![Vec::new(); shards] };
        let (fill, sent) = (CachePadded::new(Mutex::new(fill)), CachePadded::new(Mutex::new(sent)));
        Ok((Self { frames, fill, sent }, ends))
    }

    /// Gives received frames back to the kernel. True when the kernel has to be woken for it.
    ///
    /// # Safety
    /// The frames came out of the queue's rx rings, and nothing looks at them any more.
    pub(super) unsafe fn refill(&self, frames: &[FrameDesc]) -> bool {
        let Fill { ring, .. } = &mut *lock(&self.fill);
        // There are as many receive frames as entries, so all have room.
        // SAFETY: by the caller's promise.
        unsafe { ring.produce(frames) };
        ring.needs_wakeup()
    }

    /// Moves the shard's frames that were sent into `free`.
    pub(super) fn reclaim(&self, shard: usize, free: &mut Vec<FrameDesc>) {
        /// Taken from the ring at once.
        const BATCH: usize = 64;
        let Sent { ring, by_shard } = &mut *lock(&self.sent);
        let mut batch = [FrameDesc::default(); BATCH];
        loop {
            // SAFETY: the descriptors are filled from the memory that the ring belongs to.
            let count = unsafe { ring.consume(&mut batch) };
            for frame in batch.iter().take(count) {
                if let Some(list) = self.frames.sender_of(frame).and_then(|sender| by_shard.get_mut(sender)) {
                    list.push(*frame);
                }
            }
            if count < BATCH {
                break;
            }
        }
        if let Some(list) = by_shard.get_mut(shard) {
            free.append(list);
        }
    }

    /// Frames in the fill ring that the kernel may still take, and sent frames that nobody has taken back yet.
    pub(super) fn levels(&self) -> (u32, u32) {
        let Fill { ring, entries } = &mut *lock(&self.fill);
        (*entries - ring.nb_free_exact(), lock(&self.sent).ring.nb_avail_exact())
    }
}

impl Ends {
    fn bind(
        binding: &Binding,
        frames: &Frames,
        free: Vec<FrameDesc>,
        sizes: RingSizes,
    ) -> io::Result<(Self, Option<(FillQueue, CompQueue)>)> {
        let copying = if binding.zero_copy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY };
        let config = SocketConfig::builder()
            .rx_queue_size(QueueSize::new(sizes.rx).map_err(io::Error::other)?)
            .tx_queue_size(QueueSize::new(sizes.tx).map_err(io::Error::other)?)
            // The packet program is ours.
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(copying | BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        // SAFETY: no program is loaded by it, which is what sockets that share a queue must not do.
        let made = unsafe { Socket::new(config, &frames.umem, &binding.interface, binding.queue) };
        let (tx, rx, rings) = made.map_err(|error| system_error(&error))?;
        let mut end = Self { rx, tx, tx_entries: sizes.tx, free, zero_copy: false, busy_poll: None };
        end.zero_copy = xdp_options(end.socket())?.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        Ok((end, rings))
    }

    /// The socket's descriptor.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as its rings are there.
        unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) }
    }

    /// Received frames that wait, exactly.
    pub(super) fn waiting(&mut self) -> u32 {
        self.rx.nb_avail_exact()
    }

    /// Frames that the kernel has not taken yet, exactly.
    pub(super) fn untaken(&mut self) -> u32 {
        self.tx_entries - self.tx.nb_free_exact()
    }

    /// Whether a frame has room in the tx ring.
    pub(super) fn has_room(&mut self) -> bool {
        self.tx.nb_free(1) > 0
    }

    /// Puts a frame into the tx ring; `false` when that is full.
    ///
    /// # Safety
    /// The frame is one of the queue's and out of every ring, and stays untouched until it comes back by `Queue::reclaim`.
    pub(super) unsafe fn transmit(&mut self, frame: &FrameDesc) -> bool {
        // SAFETY: by the caller's promise.
        unsafe { self.tx.produce_one(frame) == 1 }
    }

    /// Whether the kernel has to be woken to send.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.tx.needs_wakeup()
    }

    /// Has the kernel send.
    pub(super) fn wake(&self) -> io::Result<()> {
        self.tx.wakeup()
    }
}

/// A shard that panicked while it held the lock left a ring whose positions are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
