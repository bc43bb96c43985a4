//! Packets in memory: nothing reaches a wire. Whoever hosts the shard takes the trains and pushes what would have arrived.
//!
//! ```text
//!   host: push() -> arrivals -> recv() -> shard        shard -> frame() -> send_train() -> trains -> take() : host
//!                                                                ^--------- free frames <---------- give() '
//! ```
//!
//! A fixed number of frames goes round, as in the transmit ring of a network card: with all of them waiting for the host the way
//! out is full. After the first round nothing is allocated.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::{PacketBackend, Sent};

/// Bytes of a frame: the largest UDP payload, as with GSO.
const FRAME_LEN: usize = 65_507;
/// Packets in one train, as with GSO.
const TRAIN_PACKETS_MAX: usize = 64;
/// Datagrams of one receive call, as many as the kernel's sockets give.
const RECV_BATCH_MAX: usize = 64;

/// Packets of equal length to one peer (the last may be shorter), as the shard sent them.
#[derive(Debug)]
pub struct SinkTrain {
    /// The peer.
    pub to: SocketAddr,
    frame: Vec<u8>,
    len: usize,
    segment_len: usize,
}

impl SinkTrain {
    /// The packets, in order.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.frame.get(..self.len).unwrap_or_default().chunks(self.segment_len.max(1))
    }
}

/// What lies between the backend and its host.
#[derive(Debug, Default)]
struct Memory {
    arrivals: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Buffers of datagrams that were received.
    spent: Vec<Vec<u8>>,
    trains: VecDeque<SinkTrain>,
    free: Vec<Vec<u8>>,
}

/// The host's end of a sink.
#[derive(Debug)]
pub struct SinkWire(Rc<RefCell<Memory>>);

impl SinkWire {
    /// A datagram arrives.
    pub fn push(&mut self, from: SocketAddr, datagram: &[u8]) {
        let mut memory = self.0.borrow_mut();
        let mut buffer = memory.spent.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(datagram);
        memory.arrivals.push_back((from, buffer));
    }

    /// The train that waits longest.
    pub fn take(&mut self) -> Option<SinkTrain> {
        self.0.borrow_mut().trains.pop_front()
    }

    /// Gives a train's frame back.
    pub fn give(&mut self, train: SinkTrain) {
        self.0.borrow_mut().free.push(train.frame);
    }

    /// Nothing waits in either direction.
    pub fn is_quiet(&self) -> bool {
        let memory = self.0.borrow();
        memory.arrivals.is_empty() && memory.trains.is_empty()
    }
}

/// The shard's end.
#[derive(Debug)]
pub struct SinkBackend {
    memory: Rc<RefCell<Memory>>,
    local: SocketAddr,
    /// The frame that is written; empty while all are on their way.
    frame: Vec<u8>,
    recv_batch: usize,
}

/// A sink with `frames` frames (one at least) that peers send to at `local`.
pub fn sink(local: SocketAddr, frames: usize) -> (SinkBackend, SinkWire) {
    let free = (1..frames).map(|_| vec![0; FRAME_LEN]).collect();
    let memory = Rc::new(RefCell::new(Memory { free, ..Memory::default() }));
    let frame = vec![0; FRAME_LEN];
    (SinkBackend { memory: memory.clone(), local, frame, recv_batch: RECV_BATCH_MAX }, SinkWire(memory))
}

impl SinkBackend {
    /// Takes a free frame when there is none to write into.
    fn refill(&mut self) -> Sent {
        if self.frame.is_empty() {
            match self.memory.borrow_mut().free.pop() {
                Some(frame) => self.frame = frame,
                None => return Sent::Blocked,
            }
        }
        Sent::Done
    }
}

impl PacketBackend for SinkBackend {
    fn recv(&mut self, sink: &mut dyn FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let mut memory = self.memory.borrow_mut();
        for received in 0..self.recv_batch {
            let Some((from, datagram)) = memory.arrivals.pop_front() else { return Ok(received) };
            sink(&datagram, from);
            memory.spent.push(datagram);
        }
        Ok(self.recv_batch)
    }

    fn set_recv_batch(&mut self, datagrams: usize) -> usize {
        self.recv_batch = datagrams.clamp(1, RECV_BATCH_MAX);
        self.recv_batch
    }

    fn frame(&mut self, _to: SocketAddr) -> &mut [u8] {
        &mut self.frame
    }

    fn train_len_max(&self) -> usize {
        FRAME_LEN
    }

    fn train_packets_max(&self) -> usize {
        TRAIN_PACKETS_MAX
    }

    fn send_train(&mut self, to: SocketAddr, len: usize, segment_len: usize) -> io::Result<Sent> {
        let frame = std::mem::take(&mut self.frame);
        self.memory.borrow_mut().trains.push_back(SinkTrain { to, frame, len, segment_len });
        Ok(self.refill())
    }

    fn flush(&mut self) -> io::Result<Sent> {
        Ok(self.refill())
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn send(backend: &mut SinkBackend, packets: &[&[u8]]) -> Sent {
        let train = packets.concat();
        backend.frame(address(7))[..train.len()].copy_from_slice(&train);
        backend.send_train(address(7), train.len(), packets[0].len()).unwrap()
    }

    #[test]
    fn trains_come_out_packet_by_packet_in_order() {
        let (mut backend, mut wire) = sink(address(1), 3);
        assert_eq!(send(&mut backend, &[b"abc", b"def", b"g"]), Sent::Done);
        assert_eq!(send(&mut backend, &[b"xy"]), Sent::Done);
        let first = wire.take().unwrap();
        assert_eq!(first.to, address(7));
        assert_eq!(first.packets().collect::<Vec<_>>(), [&b"abc"[..], b"def", b"g"]);
        assert_eq!(wire.take().unwrap().packets().collect::<Vec<_>>(), [b"xy"]);
        assert!(wire.take().is_none());
    }

    #[test]
    fn the_way_out_is_full_until_a_frame_comes_back_and_the_blocked_train_is_kept() {
        let (mut backend, mut wire) = sink(address(1), 2);
        assert_eq!(send(&mut backend, &[b"one"]), Sent::Done);
        assert_eq!(send(&mut backend, &[b"two"]), Sent::Blocked);
        assert_eq!(backend.flush().unwrap(), Sent::Blocked);
        assert!(backend.frame(address(7)).is_empty());
        let train = wire.take().unwrap();
        wire.give(train);
        assert_eq!(backend.flush().unwrap(), Sent::Done);
        assert_eq!(send(&mut backend, &[b"three"]), Sent::Blocked);
        let left: Vec<_> =
            std::iter::from_fn(|| wire.take()).map(|train| train.packets().next().unwrap().to_vec()).collect();
        assert_eq!(left, [b"two".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn datagrams_arrive_in_order_a_batch_at_a_time() {
        let (mut backend, mut wire) = sink(address(1), 1);
        assert_eq!(backend.set_recv_batch(2), 2);
        for (port, datagram) in [(2, &b"a"[..]), (3, b"bc"), (2, b"d")] {
            wire.push(address(port), datagram);
        }
        let mut got = Vec::new();
        let mut batches = Vec::new();
        while !wire.is_quiet() {
            batches.push(backend.recv(&mut |datagram, from| got.push((from.port(), datagram.to_vec()))).unwrap());
        }
        assert_eq!(got, [(2, b"a".to_vec()), (3, b"bc".to_vec()), (2, b"d".to_vec())]);
        assert_eq!(batches, [2, 1]);
        assert_eq!(backend.set_recv_batch(1_000_000), RECV_BATCH_MAX);
    }
}
