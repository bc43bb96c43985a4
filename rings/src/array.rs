//! A header and a run of u64: what `Counters` and `Words` are made of.
//!
//! ```text
//! byte 0 magic | 8 count | padding to 128 B | count x u64, all 0 at first
//! ```

use crate::region::Region;
use crate::sync::{AtomicU64, Ordering, load_acquire};

const WORD_MAGIC: usize = 0;
const WORD_COUNT: usize = 1;
const WORD_VALUES: usize = 16;

/// A joined array.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    region: Region,
}

impl Array {
    pub(crate) const fn footprint(count: u64) -> u64 {
        (WORD_VALUES as u64 + count) * 8
    }

    pub(crate) fn init(region: &Region, magic: u64, count: u64) {
        region.word(WORD_COUNT).store(count, Ordering::Relaxed);
        region.word(WORD_MAGIC).store(magic, Ordering::Release);
    }

    pub(crate) fn join(region: Region, magic: u64) -> Result<Array, &'static str> {
        let words = region.words();
        let [Some(found), Some(count)] = [WORD_MAGIC, WORD_COUNT].map(|i| words.get(i).map(load_acquire)) else {
            return Err("too short for a header");
        };
        if found != magic {
            return Err("magic is wrong");
        }
        if words.len().checked_sub(WORD_VALUES).map(|values| values as u64) != Some(count) {
            return Err("size does not fit the count");
        }
        Ok(Array { region })
    }

    #[inline]
    pub(crate) fn values(&self) -> &[AtomicU64] {
        &self.region.words()[WORD_VALUES..]
    }

    #[inline]
    pub(crate) fn set(&self, index: usize, value: u64) {
        self.region.store(WORD_VALUES + index, value, Ordering::Relaxed);
    }
}
