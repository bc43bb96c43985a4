//! Words for compare-and-swap between the threads of their workspace's owner. Layout: `array`.

use std::sync::atomic::AtomicU64;

use crate::array::Array;
use crate::region::Region;

const MAGIC: u64 = u64::from_le_bytes(*b"STRMword");

/// Joined words of a workspace that is mapped for writing. Clones are the same words.
#[derive(Debug, Clone)]
pub struct Words {
    array: Array,
}

impl Words {
    pub(crate) fn init(region: &Region, count: u64) {
        Array::init(region, MAGIC, count);
    }

    pub(crate) fn join(region: Region) -> Result<Words, &'static str> {
        Ok(Words { array: Array::join(region, MAGIC)? })
    }

    /// How many words there are.
    pub fn count(&self) -> usize {
        self.array.values().len()
    }

    /// The word at `index`.
    ///
    /// # Panics
    /// When `index` is not below `count()`.
    pub fn get(&self, index: usize) -> &AtomicU64 {
        &self.array.values()[index]
    }
}
