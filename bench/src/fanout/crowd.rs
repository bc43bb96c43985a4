//! All viewers of one side after their handshakes.

use std::net::SocketAddr;

use super::check::Check;
use super::joining::index_at;
use super::ranges::RANGES_IN_MEMORY;
use super::receiver::{Depth, Established, Receiver};
use crate::error::BenchError;

/// The viewers, and what they got.
pub struct Crowd {
    receivers: Vec<Receiver>,
    /// Those that got something since the last acknowledgements, in order.
    visited: Vec<usize>,
    /// What they have to get.
    pub check: Check,
    /// Packets that came, and those of them that were decrypted.
    pub packets: u64,
    /// See `packets`.
    pub decrypted: u64,
    scratch: Vec<u8>,
    frame: Vec<u8>,
}

impl Crowd {
    /// The viewers in the order of their addresses. Viewer 0 is decrypted whole.
    pub fn new(established: Vec<Established>, depth: Depth) -> Self {
        let check = Check::new(established.len(), depth);
        let receivers = established.into_iter().enumerate().map(|(index, established)| {
            let depth = if index == 0 { Depth::Full } else { depth };
            Receiver::new(established, index, depth, RANGES_IN_MEMORY)
        });
        Self {
            receivers: receivers.collect(),
            visited: Vec::new(),
            check,
            packets: 0,
            decrypted: 0,
            scratch: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Packets of the server to one viewer.
    ///
    /// # Errors
    /// A packet that cannot be what the server sends.
    pub fn take<'a>(&mut self, to: SocketAddr, packets: impl Iterator<Item = &'a [u8]>) -> Result<(), BenchError> {
        let Self { receivers, visited, check, scratch, .. } = self;
        let index = index_at(to).unwrap_or(usize::MAX);
        let receiver = receivers.get_mut(index).ok_or(BenchError::Protocol("a packet went to no viewer"))?;
        if visited.last() != Some(&index) {
            visited.push(index);
        }
        for packet in packets {
            self.packets += 1;
            self.decrypted += u64::from(receiver.take(packet, scratch, |part| check.part(index, part))?);
        }
        Ok(())
    }

    /// One acknowledgement of each viewer that got something goes to `out`.
    pub fn acknowledge(&mut self, mut out: impl FnMut(SocketAddr, &[u8])) {
        let Self { receivers, visited, scratch, frame, .. } = self;
        for index in visited.drain(..) {
            if let Some(receiver) = receivers.get_mut(index)
                && receiver.acknowledge(frame, scratch)
            {
                out(receiver.address(), scratch);
            }
        }
    }
}
