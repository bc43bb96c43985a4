//! A run of shared 64-bit words: all that an object sees of the workspace. Shared memory is never touched in another way,
//! so that no access can be a data race, whatever the process at the other side does.

use crate::sync::{AtomicU64, Ordering};

#[cfg(not(loom))]
pub(crate) use mapped::Region;
#[cfg(loom)]
pub(crate) use modelled::Region;

/// Bytes in a word.
pub(crate) const WORD: usize = 8;

impl Region {
    /// The word at `index`, which comes from this crate's layouts and never from shared memory.
    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        &self.words()[index]
    }

    /// Stores into a word of an object that is also handed out read-only.
    ///
    /// # Panics
    /// On a read-only join: the caller's mistake, told by name instead of by a segmentation fault.
    #[inline]
    pub(crate) fn store(&self, index: usize, value: u64, order: Ordering) {
        assert!(self.writable(), "write through a workspace joined with Access::ReadOnly");
        self.word(index).store(value, order);
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region").field("words", &self.words().len()).field("writable", &self.writable()).finish()
    }
}

#[cfg(not(loom))]
mod mapped {
    use std::ptr::NonNull;
    use std::sync::Arc;

    use super::{AtomicU64, WORD};
    use crate::mapping::Mapping;

    /// Words of a mapped file; holds the mapping alive.
    #[derive(Clone)]
    pub(crate) struct Region {
        first: NonNull<AtomicU64>,
        count: usize,
        mapping: Arc<Mapping>,
    }

    // SAFETY: `first` points into `mapping`, which is Send + Sync and kept alive by the Arc; only `&AtomicU64` leave it.
    unsafe impl Send for Region {}
    // SAFETY: as above.
    unsafe impl Sync for Region {}

    impl Region {
        /// All whole words of the mapping.
        pub(crate) fn whole(mapping: Arc<Mapping>) -> Region {
            Region { first: mapping.base().cast(), count: mapping.len() / WORD, mapping }
        }

        /// Words of `len` bytes from byte `offset`; `None` when unaligned or beyond the end.
        pub(crate) fn part(&self, offset: u64, len: u64) -> Option<Region> {
            let (offset, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
            if !offset.is_multiple_of(WORD) || !len.is_multiple_of(WORD) {
                return None;
            }
            let words = self.words().get(offset / WORD..offset.checked_add(len)? / WORD)?;
            Some(Region { first: NonNull::from(words).cast(), count: words.len(), mapping: Arc::clone(&self.mapping) })
        }

        #[inline(always)]
        pub(crate) fn words(&self) -> &[AtomicU64] {
            // SAFETY: `first` and `count` lie inside the mapping (`whole` takes all of it, page-aligned; `part` goes through
            // a checked slice), which lives as long as self. Every bit pattern is an AtomicU64, and everybody in this
            // process reads and writes these bytes as AtomicU64 only. On a read-only mapping nothing stores: constructors
            // of writers and `Region::store` check `writable`.
            unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
        }

        #[inline(always)]
        pub(crate) fn writable(&self) -> bool {
            self.mapping.writable()
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::sync::Arc;

    use super::{AtomicU64, WORD};

    /// Words that loom watches.
    #[derive(Clone)]
    pub(crate) struct Region {
        words: Arc<Vec<AtomicU64>>,
    }

    impl Region {
        /// Zeroed words of `len` bytes.
        pub(crate) fn zeroed(len: u64) -> Region {
            let count = usize::try_from(len).expect("model sizes are small") / WORD;
            Region { words: Arc::new((0..count).map(|_| AtomicU64::new(0)).collect()) }
        }

        pub(crate) fn words(&self) -> &[AtomicU64] {
            &self.words
        }

        pub(crate) fn writable(&self) -> bool {
            true
        }
    }
}
