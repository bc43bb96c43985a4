//! Which shards follow which track of this one, so that an object wakes those and no others.

use std::collections::HashMap;

use streams_relay_core::relay::{FullTrackName, LinkId};

/// Followers by the link id of a track. One that is too many costs a wake for nothing; the relay knows the truth.
#[derive(Debug, Default)]
pub(super) struct Followers {
    by_link: HashMap<LinkId, Vec<usize>>,
    by_name: HashMap<FullTrackName, LinkId>,
}

impl Followers {
    /// A question of `shard` was answered.
    pub(super) fn add(&mut self, shard: usize, name: &FullTrackName, link_id: LinkId) {
        if let Some(old) = self.by_name.insert(name.clone(), link_id).filter(|old| *old != link_id) {
            self.by_link.remove(&old);
        }
        let shards = self.by_link.entry(link_id).or_default();
        if !shards.contains(&shard) {
            shards.push(shard);
        }
    }

    /// `shard` no longer wants the track.
    pub(super) fn remove(&mut self, shard: usize, name: &FullTrackName) {
        let Some(link_id) = self.by_name.get(name) else { return };
        let Some(shards) = self.by_link.get_mut(link_id) else { return };
        shards.retain(|known| *known != shard);
        if shards.is_empty() {
            self.by_link.remove(link_id);
            self.by_name.remove(name);
        }
    }

    /// The track is over.
    pub(super) fn end(&mut self, link_id: LinkId) {
        self.by_link.remove(&link_id);
        self.by_name.retain(|_, known| *known != link_id);
    }

    /// Shards to wake for an object of the track.
    pub(super) fn of(&self, link_id: LinkId) -> &[usize] {
        self.by_link.get(&link_id).map(Vec::as_slice).unwrap_or_default()
    }
}
