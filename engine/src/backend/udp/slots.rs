//! Sending by io_uring: many trains with one system call.
//!
//! ```text
//!   free -> current: quiche writes -> queued -> one io_uring_enter a batch or burst -> completion -> free
//!                                        ^                                                 |
//!                                        '---- flush: sent again <---- waiting <---- no room '
//! ```
//!
//! A slot owns what a send needs: frame, address, control message and header. From the moment it is queued until its completion
//! was seen nobody touches it. Slots are used last in, first out, so that a shard with little to send stays in few cache lines.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::{opcode, types};
use socket2::Socket;

use super::message::{Message, Train, refuses_segments, sent, settled};
use super::plain::{give_up_segments, longer_than_frame, send_now};
use super::ring::{SendRing, TRAINS_MAX};
use super::{Sent, TRAIN_LEN_MAX};

/// Trains that one system call submits. With 16 a call costs little less than one a train; the frames of 64 (25 KiB each at 17
/// packets) do not stay in a second-level cache.
pub(super) const BATCH_TRAINS: usize = 32;

struct Slot {
    frame: Vec<u8>,
    message: Message,
    train: Train,
}

/// What a call could not do.
#[derive(Debug)]
pub(super) enum RingError {
    /// A train was refused, and is lost like one on the way.
    Train(io::Error),
    /// The ring takes nothing any more.
    Ring(io::Error),
}

/// The frames of one shard and the ring that sends them.
pub(super) struct RingSender {
    ring: SendRing,
    slots: Box<[Slot]>,
    free: Vec<usize>,
    /// The slot that is written to; `None` while all are on their way.
    current: Option<usize>,
    /// In the submission queue, oldest first.
    queued: VecDeque<usize>,
    /// Taken by the kernel, completion not seen yet.
    in_flight: usize,
    /// Trains that found no room.
    waiting: VecDeque<usize>,
    /// Completions of one look: slot and result.
    completed: Vec<(u64, i32)>,
}

impl RingSender {
    pub(super) fn new(ring: SendRing) -> Self {
        let nobody = Train { to: ([0, 0, 0, 0], 0).into(), len: 0, segment_len: 0 };
        let slot = || Slot { frame: vec![0; TRAIN_LEN_MAX], message: Message::empty(), train: nobody };
        Self {
            ring,
            slots: (0..TRAINS_MAX).map(|_| slot()).collect(),
            free: (1..TRAINS_MAX).rev().collect(),
            current: Some(0),
            queued: VecDeque::with_capacity(TRAINS_MAX),
            in_flight: 0,
            waiting: VecDeque::with_capacity(TRAINS_MAX),
            completed: Vec::with_capacity(TRAINS_MAX),
        }
    }

    /// Empty while every slot is on its way.
    pub(super) fn frame(&mut self) -> &mut [u8] {
        let slot = self.current.and_then(|current| self.slots.get_mut(current));
        slot.map_or(&mut [], |slot| &mut slot.frame)
    }

    pub(super) fn send(&mut self, socket: &Socket, gso: &mut bool, train: Train) -> Result<Sent, RingError> {
        let Some(slot) = self.current.and_then(|current| self.slots.get_mut(current)) else {
            return Err(RingError::Train(io::Error::other("a train without a free frame: flush comes first")));
        };
        let bytes = slot.frame.get(..train.len).ok_or_else(|| RingError::Train(longer_than_frame()))?;
        slot.message.set(bytes, train.to, train.segment_len).map_err(RingError::Train)?;
        slot.train = train;
        if let Some(current) = self.current.take() {
            self.queue(socket, current)?;
        }
        self.current = self.free.pop();
        if self.queued.len() >= BATCH_TRAINS || self.current.is_none() {
            return self.submit(socket, gso);
        }
        Ok(Sent::Done)
    }

    /// Offers what found no room again, and sends everything that is queued.
    pub(super) fn flush(&mut self, socket: &Socket, gso: &mut bool) -> Result<Sent, RingError> {
        // Not more than a batch: each that finds no room again costs a look at the socket.
        for _ in 0..self.waiting.len().min(BATCH_TRAINS) {
            let Some(slot) = self.waiting.pop_front() else { break };
            self.queue(socket, slot)?;
        }
        self.submit(socket, gso)
    }

    /// Whether the way out was full when it was looked at last.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty() || self.current.is_none()
    }

    /// Whether trains wait for [`RingSender::flush`].
    pub(super) fn has_queued(&self) -> bool {
        !self.queued.is_empty() || self.is_blocked()
    }

    fn queue(&mut self, socket: &Socket, index: usize) -> Result<(), RingError> {
        let Some(slot) = self.slots.get(index) else { return Ok(()) };
        let entry = opcode::SendMsg::new(types::Fd(socket.as_raw_fd()), slot.message.header())
            .flags((libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32)
            .build()
            .user_data(index as u64);
        self.queued.push_back(index);
        // SAFETY: the entry points at the slot's message and frame. Both lie on the heap and are neither moved, written nor
        // freed until its completion was seen (`complete`); `drop` gives up the memory of slots whose completion was not.
        let pushed = unsafe { self.ring.0.submission().push(&entry) };
        // There are as many entries as slots.
        pushed.map_err(|_| RingError::Ring(io::Error::other("the submission queue is full")))
    }

    /// Submits what is queued, and looks what became of it.
    fn submit(&mut self, socket: &Socket, gso: &mut bool) -> Result<Sent, RingError> {
        let mut outcome = Ok(());
        while !self.queued.is_empty() || self.in_flight > 0 {
            match self.ring.0.submit() {
                Ok(taken) => {
                    let taken = taken.min(self.queued.len());
                    self.queued.drain(..taken);
                    self.in_flight += taken;
                    outcome = outcome.and(self.complete(socket, gso));
                    // The kernel takes what it can; what is left it takes later, or never.
                    if taken == 0 {
                        break;
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // Short of memory for requests, or completions to be fetched first.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => {
                    outcome = outcome.and(self.complete(socket, gso));
                    break;
                }
                Err(error) => return Err(RingError::Ring(error)),
            }
        }
        self.current = self.current.or_else(|| self.free.pop());
        outcome.map_err(RingError::Train)?;
        Ok(if self.is_blocked() { Sent::Blocked } else { Sent::Done })
    }

    /// Takes completions: the slots are ours again. The first train that was refused is the error.
    fn complete(&mut self, socket: &Socket, gso: &mut bool) -> io::Result<()> {
        let mut outcome = Ok(());
        let mut completed = std::mem::take(&mut self.completed);
        completed.extend(self.ring.0.completion().map(|entry| (entry.user_data(), entry.result())));
        for (index, result) in completed.drain(..) {
            let index = index as usize;
            let Some(slot) = self.slots.get(index) else { continue };
            self.in_flight = self.in_flight.saturating_sub(1);
            let Slot { frame, train, .. } = slot;
            let result = if result >= 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-result)) };
            let sent = match sent(result) {
                Err(error) if train.is_segmented() && refuses_segments(&error) => {
                    give_up_segments(gso, &error);
                    send_now(socket, gso, frame.get(..train.len).unwrap_or_default(), *train)
                }
                sent => settled(sent),
            };
            match sent {
                Ok(Sent::Blocked) => self.waiting.push_back(index),
                Ok(Sent::Done) => self.free.push(index),
                Err(error) => {
                    self.free.push(index);
                    outcome = outcome.and(Err(error));
                }
            }
        }
        self.completed = completed;
        outcome
    }

    /// The trains that the kernel has not taken, oldest first: for when the ring is no more.
    pub(super) fn unsent(&self) -> impl Iterator<Item = (&[u8], Train)> {
        let indices = self.waiting.iter().chain(&self.queued);
        let slots = indices.filter_map(|index| self.slots.get(*index));
        slots.filter_map(|slot| Some((slot.frame.get(..slot.train.len)?, slot.train)))
    }
}

#[cfg(test)]
impl RingSender {
    pub(super) fn ring_fd(&self) -> std::os::fd::RawFd {
        self.ring.0.as_raw_fd()
    }
}

impl Drop for RingSender {
    fn drop(&mut self) {
        if self.in_flight > 0 {
            // The kernel may still read them, and there is no good time to wait for it.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}
