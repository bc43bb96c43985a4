//! A link as a monitor sees it: positions and sizes, no payload. Looking costs its writer and readers nothing but the cache
//! lines that are shared for a moment.

use crate::dcache::CHUNK;
use crate::link::Link;
use crate::mcache::Line;

/// Positions of one link.
#[derive(Debug, Clone)]
pub struct LinkView {
    link: Link,
}

impl LinkView {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Number of the frag that the writer publishes next.
    pub fn seq(&self) -> u64 {
        self.link.mcache.position()
    }

    /// Number of the first frag of the link's life: `seq() - seq0()` were published.
    pub fn seq0(&self) -> u64 {
        self.link.mcache.seq0()
    }

    /// Frags that the link holds.
    pub fn depth(&self) -> u64 {
        self.link.mcache.depth()
    }

    /// Bytes of its payload ring.
    pub fn data_len(&self) -> u64 {
        self.link.dcache.data_len()
    }

    /// Where the newest frag's payload begins, in chunks of [`LinkView::CHUNK_LEN`] bytes; wraps at 2^32. The difference of two
    /// looks is what the ring took in between, rounded up to chunks. `None`: nothing was published yet.
    pub fn newest_chunk(&self) -> Option<u32> {
        // The writer may pass a whole ring between two loads only when this process was stopped there: looking again helps.
        for _ in 0..4 {
            let seq = self.seq();
            if seq == self.seq0() {
                return None;
            }
            if let Line::Ready(meta) = self.link.mcache.read(seq.wrapping_sub(1)) {
                return Some(meta.chunk);
            }
        }
        None
    }

    /// Bytes of a chunk.
    pub const CHUNK_LEN: u64 = CHUNK;
}
