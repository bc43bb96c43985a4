//! Request ids: each counts once, in whatever order they come.

use std::collections::BTreeSet;

/// Request ids that the peer has used (MoQT-18 §10.1).
#[derive(Debug, Default)]
pub(crate) struct SeenIds {
    /// Every id of the right parity below this one was seen, or is so old that it is taken as seen.
    below: u64,
    ahead: BTreeSet<u64>,
}

impl SeenIds {
    /// `false`: wrong parity or a duplicate. Requests travel on streams of their own and may arrive in any order; ids of
    /// requests that were cancelled before they arrived leave holes, of which the oldest are given up at `ahead_max`.
    pub(crate) fn insert(&mut self, id: u64, ahead_max: usize) -> bool {
        if !id.is_multiple_of(2) || self.contains(id) {
            return false;
        }
        self.ahead.insert(id);
        if self.ahead.len() > ahead_max
            && let Some(&first) = self.ahead.first()
        {
            self.below = first;
        }
        while self.ahead.remove(&self.below) {
            self.below = self.below.saturating_add(2);
        }
        true
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        id < self.below || self.ahead.contains(&id)
    }

    /// The smallest id that may not have been processed, for GOAWAY.
    pub(crate) fn next(&self) -> u64 {
        self.ahead.last().map_or(self.below, |last| last.saturating_add(2))
    }
}
