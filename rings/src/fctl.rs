//! Credits of a reliable link's writer: how far it may go without overwriting what a consumer still needs, in frags (mcache)
//! and in bytes (dcache). Local to the writer; consumers publish only their fseq.
//!
//! With hysteresis: while the known credits suffice, no fseq is looked at. When they do not, the fseqs are asked, and the
//! answer is taken only once two thirds of both rings are free again. So a full link moves a cache line between the cores
//! about once in two thirds of a ring, not once a frag.

use crate::dcache;
use crate::fseq::Fseq;
use crate::link::Link;

/// Free part of a ring at which a writer that ran out goes on.
const RESUME_NUM: u64 = 2;
const RESUME_DEN: u64 = 3;

/// What the writer is about to publish, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) seq: u64,
    pub(crate) frags: u64,
    /// Absolute byte position now and after publishing.
    pub(crate) position: u64,
    pub(crate) end: u64,
}

/// Credits over a set of consumers.
#[derive(Debug)]
pub(crate) struct Fctl {
    consumers: Vec<Fseq>,
    /// Frag number that may not be published yet.
    seq_end: u64,
    /// Byte position that may not be exceeded.
    position_end: u64,
}

impl Fctl {
    /// Starts without credit, so that the first message asks.
    pub(crate) fn new(consumers: &[Fseq], seq: u64, position: u64) -> Fctl {
        Fctl { consumers: consumers.to_vec(), seq_end: seq, position_end: position }
    }

    /// Whether all of the demand may be published now.
    #[inline]
    pub(crate) fn admits(&mut self, demand: Demand, link: &Link) -> bool {
        let frags_left = self.seq_end.wrapping_sub(demand.seq).cast_signed();
        let bytes_left = self.position_end.wrapping_sub(demand.position).cast_signed();
        let bytes = demand.end.wrapping_sub(demand.position);
        if demand.frags.cast_signed() <= frags_left && bytes.cast_signed() <= bytes_left {
            return true;
        }
        self.refill(demand, bytes, link)
    }

    #[cold]
    fn refill(&mut self, demand: Demand, bytes: u64, link: &Link) -> bool {
        let (depth, capacity) = (link.mcache.depth(), link.dcache.capacity());
        let (mut frags_free, mut bytes_free) = (depth, capacity);
        for consumer in &self.consumers {
            let (frags_held, bytes_held) = held(consumer.get(), demand, link);
            frags_free = frags_free.min(depth.saturating_sub(frags_held));
            bytes_free = bytes_free.min(capacity.saturating_sub(bytes_held));
        }
        if frags_free < demand.frags.max(depth * RESUME_NUM / RESUME_DEN)
            || bytes_free < bytes.max(capacity / RESUME_DEN * RESUME_NUM)
        {
            return false;
        }
        self.seq_end = demand.seq.wrapping_add(frags_free);
        self.position_end = demand.position.wrapping_add(bytes_free);
        true
    }
}

/// Frags and bytes that a consumer at `told` still needs.
fn held(told: u64, at: Demand, link: &Link) -> (u64, u64) {
    let seq0 = link.mcache.seq0();
    // A position outside of this ring's life was published for an earlier one: this consumer has yet to begin.
    let wanted = if told.wrapping_sub(seq0) <= at.seq.wrapping_sub(seq0) { told } else { seq0 };
    let frags = at.seq.wrapping_sub(wanted);
    if frags == 0 {
        return (0, 0);
    }
    if frags > link.mcache.depth() {
        return (frags, u64::MAX);
    }
    let chunks = dcache::chunk_number(at.position).wrapping_sub(link.mcache.own_chunk(wanted));
    (frags, u64::from(chunks) * dcache::CHUNK)
}
