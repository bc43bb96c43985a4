//! Counters and gauges of one writer, read by anybody at no cost to it. Layout: `array`.

use crate::array::Array;
use crate::region::Region;
use crate::sync::Ordering;

const MAGIC: u64 = u64::from_le_bytes(*b"STRMcntr");

/// Joined counters. Clones are the same counters. One thread writes: an addition is a load and a store, not a locked
/// instruction, so two writers would lose counts (nothing worse).
#[derive(Debug, Clone)]
pub struct Counters {
    array: Array,
}

impl Counters {
    pub(crate) fn init(region: &Region, count: u64) {
        Array::init(region, MAGIC, count);
    }

    pub(crate) fn join(region: Region) -> Result<Counters, &'static str> {
        Ok(Counters { array: Array::join(region, MAGIC)? })
    }

    /// How many counters there are; an older layout has fewer than this build knows.
    pub fn count(&self) -> usize {
        self.array.values().len()
    }

    /// Adds, wrapping. An index beyond the end is no counter of this layout and is ignored.
    ///
    /// # Panics
    /// On a read-only join.
    #[inline]
    pub fn add(&self, index: usize, n: u64) {
        self.set(index, self.get(index).wrapping_add(n));
    }

    /// Sets a gauge. An index beyond the end is ignored.
    ///
    /// # Panics
    /// On a read-only join.
    #[inline]
    pub fn set(&self, index: usize, value: u64) {
        if index < self.count() {
            self.array.set(index, value);
        }
    }

    /// Current value; 0 beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> u64 {
        self.array.values().get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}
