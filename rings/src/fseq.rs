//! A consumer's position, written by the consumer alone.
//!
//! ```text
//! byte 0 magic | 8 seq: the next frag the consumer wants; 0 = never used | 16 lost | 24 padding to 128 B
//! ```
//!
//! It may lie in another workspace than its link: each side writes only its own. What it holds from the life of an earlier
//! link is told apart by the link's `seq0` (see `link`). `lost` counts the frags that a consumer without credits lost by being
//! slow; nobody but a monitor looks at it.

use crate::region::Region;
use crate::sync::{Ordering, load_acquire};

const MAGIC: u64 = u64::from_le_bytes(*b"STRMfseq");
const WORD_MAGIC: usize = 0;
const WORD_SEQ: usize = 1;
const WORD_LOST: usize = 2;

/// A joined consumer position. Clones are the same position.
#[derive(Debug, Clone)]
pub struct Fseq {
    region: Region,
}

impl Fseq {
    pub(crate) const FOOTPRINT: u64 = 128;

    pub(crate) fn init(region: &Region) {
        region.word(WORD_MAGIC).store(MAGIC, Ordering::Release);
    }

    pub(crate) fn join(region: Region) -> Result<Fseq, &'static str> {
        match region.words() {
            words if words.len() as u64 * 8 != Self::FOOTPRINT => Err("size is wrong"),
            words if load_acquire(&words[WORD_MAGIC]) != MAGIC => Err("magic is wrong"),
            _ => Ok(Fseq { region }),
        }
    }

    /// Number of the next frag the consumer wants; everything before it has been copied out.
    #[inline]
    pub fn get(&self) -> u64 {
        load_acquire(self.region.word(WORD_SEQ))
    }

    /// Gives everything before `seq` back to the producer.
    ///
    /// # Panics
    /// On a read-only join.
    #[inline]
    pub fn publish(&self, seq: u64) {
        self.region.store(WORD_SEQ, seq, Ordering::Release);
    }

    /// Frags that the consumer has lost by being slow, as it last said.
    pub fn lost(&self) -> u64 {
        self.region.word(WORD_LOST).load(Ordering::Relaxed)
    }

    /// Tells how many frags the consumer has lost.
    ///
    /// # Panics
    /// On a read-only join.
    #[inline]
    pub fn tell_lost(&self, frags: u64) {
        self.region.store(WORD_LOST, frags, Ordering::Relaxed);
    }

    pub(crate) fn writable(&self) -> bool {
        self.region.writable()
    }
}
