//! What a shard has for the listeners of its edge: their counters, and datagrams that cross from one shard's socket to another's
//! connection.

use std::net::SocketAddr;

use super::Shard;
use crate::quic::Arrival;

/// Counts of encoders, kept by the listener.
#[derive(Clone, Copy, Debug, Default)]
pub struct IngestStats {
    /// Encoders accepted.
    pub accepted: u64,
    /// Encoders turned away.
    pub refused: u64,
    /// Bytes received from encoders.
    pub bytes: u64,
    /// Access units taken.
    pub units: u64,
    /// Connections now, encoders or not.
    pub open: u64,
    /// Encoders handed to their home shard.
    pub hand_overs: u64,
    /// Handshakes of SRT beyond a second's share.
    pub srt_rate_limited: u64,
    /// Datagrams to the SRT port that are no SRT.
    pub srt_junk: u64,
}

impl Shard {
    /// Tossed datagrams to this port are the edge's: see [`Shard::take_tossed`].
    pub fn take_datagrams_of(&mut self, port: u16) {
        self.datagram_port = Some(port);
    }

    /// Gives a datagram of the edge to the shard that its connection belongs to. It may be lost like a packet on the way.
    pub fn toss_datagram(&mut self, home: u8, datagram: &[u8], from: SocketAddr, to: SocketAddr) {
        self.parts.tosses.toss(home, datagram, Arrival { from, to }, streams_rings::now_us());
        self.parts.tosses.flush();
    }

    /// Datagrams of the edge that other shards tossed.
    pub fn take_tossed(&mut self) -> Vec<(Vec<u8>, SocketAddr)> {
        std::mem::take(&mut self.tossed)
    }

    /// So many of them found no room at the edge.
    pub fn count_untaken(&mut self, count: usize) {
        self.parts.tosses.count_lost(count as u64);
    }
}
