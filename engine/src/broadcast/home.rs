//! The words `homes`: which shard each input belongs to while it is broadcast.

use std::sync::atomic::Ordering;

use streams_contract::Home;
use streams_rings::Words;

/// The homes of all inputs, as one shard claims and frees them.
pub(super) struct Homes {
    words: Words,
    shard: usize,
}

impl Homes {
    pub(super) fn new(words: Words, shard: usize) -> Self {
        Self { words, shard }
    }

    /// The first shard that swaps itself in is home until the broadcast is over. Gives the home; `None` when the input has no
    /// place in the table.
    pub(super) fn claim(&self, index: usize) -> Option<usize> {
        if index >= self.words.count() {
            return None;
        }
        let word = self.words.get(index);
        let mut current = word.load(Ordering::Acquire);
        loop {
            if let Some(home) = Home::from_word(current) {
                return Some(usize::from(home.shard));
            }
            let mine = Home { shard: u16::try_from(self.shard).ok()?, epoch: (current >> 16) + 1 }.to_word();
            match word.compare_exchange(current, mine, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(self.shard),
                Err(other) => current = other,
            }
        }
    }

    /// The input is free again, if it was this shard's.
    pub(super) fn release(&self, index: usize) {
        if index >= self.words.count() {
            return;
        }
        let word = self.words.get(index);
        let current = word.load(Ordering::Acquire);
        if Home::from_word(current).is_some_and(|home| usize::from(home.shard) == self.shard) {
            // The epoch stays, the shard goes: a late compare-and-swap on the old word fails.
            let _ = word.compare_exchange(current, current & !0xffff, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}
