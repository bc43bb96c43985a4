//! The rx link: what arrives goes through shared memory, so that a monitor or another core can see it, and a backend that
//! receives into its own frames has one place to hand them over.

use std::io;
use std::net::SocketAddr;

use streams_contract::names;
use streams_rings::{Fseq, LinkReader, LinkWriter, Polled, ReaderStats, RingsError, Workspace};

use crate::address::{ADDRESS_LEN, decode, encode};
use crate::backend::PacketBackend;
use crate::quic::Arrival;

/// `sig` of a datagram; other classes come with the packet program's metadata.
const SIG_DATAGRAM: u64 = 0;

/// Both ends of one shard's rx link.
pub struct RxLink {
    writer: LinkWriter,
    reader: LinkReader,
    /// Where the reader is, for monitors.
    position: Fseq,
    scratch: Vec<u8>,
}

impl RxLink {
    /// Joins `rx.<shard>`.
    pub fn join(shards: &Workspace, shard: usize) -> Result<Self, RingsError> {
        let name = names::rx(shard);
        // The reader starts at the writer's position, so it has to come second.
        let writer = shards.link_writer(&name)?;
        let position = shards.fseq(&name)?;
        Ok(Self { writer, reader: shards.link_reader(&name)?, position, scratch: Vec::new() })
    }

    /// Takes one batch from the backend into the link, each datagram behind its sender's address. Returns the number of datagrams.
    pub fn fill(&mut self, backend: &mut dyn PacketBackend) -> io::Result<usize> {
        let now_us = streams_rings::now_us();
        self.writer.set_now_us(now_us);
        let writer = &mut self.writer;
        backend.recv(&mut |datagram, from| {
            writer.publish_parts(SIG_DATAGRAM, now_us, &[&encode(from), datagram]);
        })
    }

    /// The next datagram, in memory of this shard's own so that it can be decrypted in place.
    pub fn next(&mut self, to: SocketAddr) -> Option<(&mut [u8], Arrival)> {
        loop {
            match self.reader.poll(|_| true, &mut self.scratch) {
                Polled::Empty => {
                    self.position.publish(self.reader.seq());
                    return None;
                }
                Polled::Skipped | Polled::Overrun { .. } => {}
                Polled::Message { .. } => break,
            }
        }
        let (head, datagram) = self.scratch.split_first_chunk_mut::<ADDRESS_LEN>()?;
        Some((datagram, Arrival { from: decode(head), to }))
    }

    /// Shows monitors what the reading end lost.
    pub fn tell_lost(&self) {
        self.position.tell_lost(self.reader.stats().lost_frags);
    }

    /// Counters of the reading end.
    pub fn stats(&self) -> ReaderStats {
        self.reader.stats()
    }
}
