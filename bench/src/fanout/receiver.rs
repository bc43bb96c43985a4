//! A viewer after its handshake: no QUIC library, only keys. It reads packet numbers, acknowledges, and decrypts a sample.

use std::net::SocketAddr;

use super::frames::{StreamPart, ack_frame, read_frames};
use super::keys::Keys;
use super::ranges::Ranges;
use crate::error::BenchError;

/// One packet of so many is decrypted.
pub const SAMPLE: u64 = 64;
/// Packet numbers go on from here: above all that the handshake used.
const FIRST_NUMBER: u64 = 1 << 20;
/// Key phase bit of a short header.
const KEY_PHASE: u8 = 0x04;

/// What the handshake left: keys of both directions and the ids.
pub struct Established {
    /// Where the viewer is.
    pub address: SocketAddr,
    /// Opens what the server sends.
    pub server: Keys,
    /// Seals what the viewer sends.
    pub client: Keys,
    /// The server's connection id.
    pub server_id: Vec<u8>,
    /// Length of the viewer's own id.
    pub id_len: usize,
}

/// Which packets are decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One in [`SAMPLE`].
    Sample,
    /// All.
    Full,
}

/// One viewer.
pub struct Receiver {
    established: Established,
    /// Its place among all: spreads the samples.
    index: u64,
    depth: Depth,
    ranges: Ranges,
    next_number: u64,
    /// Something came since the last acknowledgement.
    owes: bool,
}

impl Receiver {
    /// A viewer whose handshake is over, and that acknowledges up to `ranges_max` ranges at once.
    pub fn new(established: Established, index: usize, depth: Depth, ranges_max: usize) -> Self {
        let (ranges, next_number) = (Ranges::new(ranges_max), FIRST_NUMBER);
        Self { established, index: index as u64, depth, ranges, next_number, owes: false }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.established.address
    }

    /// Takes one packet. True when it was decrypted: its stream parts went to `on_part` then.
    ///
    /// # Errors
    /// A packet that is not of this connection, or that cannot be what the server sends.
    pub fn take(
        &mut self,
        packet: &[u8],
        scratch: &mut Vec<u8>,
        on_part: impl FnMut(StreamPart<'_>),
    ) -> Result<bool, BenchError> {
        let number_at = 1 + self.established.id_len;
        let keys = &self.established.server;
        let header = keys.unprotect(packet, number_at, self.ranges.expected());
        let header = header.ok_or(BenchError::Protocol("a packet is too short"))?;
        if header.first & (0xc0 | KEY_PHASE) != 0x40 {
            return Err(BenchError::Protocol("a packet has a long header, or the server has changed its keys"));
        }
        self.ranges.insert(header.number);
        self.owes = true;
        if self.depth == Depth::Sample && header.number % SAMPLE != self.index % SAMPLE {
            return Ok(false);
        }
        let payload = keys.open(packet, number_at, header, scratch);
        let payload = payload.ok_or(BenchError::Protocol("a packet cannot be decrypted"))?;
        read_frames(payload, on_part).map_err(|_| BenchError::Protocol("a packet has a frame that cannot be read"))?;
        Ok(true)
    }

    /// The packet that acknowledges what came, in `out`; false when nothing did. `frame` is scratch memory.
    pub fn acknowledge(&mut self, frame: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        if !std::mem::take(&mut self.owes) || ack_frame(&self.ranges, frame).is_none() {
            return false;
        }
        let Established { client, server_id, .. } = &self.established;
        let sealed = client.seal(server_id, self.next_number, frame, out);
        self.next_number += 1;
        sealed.is_some()
    }
}
