//! The engine as a reader of tracks, to know what a publisher sends.

use std::time::Instant;

use bytes::Bytes;

use crate::relay::Relay;
use crate::wire::{FullTrackName, Location, Namespace};

impl Relay {
    /// Reads a track of this shard's publishers from now on, as a viewer would; it ends with the track. `false`: nobody
    /// publishes it, or a bound is reached.
    pub fn follow(&mut self, now: Instant, name: &FullTrackName) -> bool {
        let Ok(key) = self.find_or_source(now, None, name, false) else { return false };
        let Some(track) = self.tracks.get_mut(key) else { return false };
        track.followed = true;
        track.idle_since = None;
        true
    }

    /// Reads it no more.
    pub fn unfollow(&mut self, now: Instant, name: &FullTrackName) {
        let Some(key) = self.tracks.by_name(name) else { return };
        if let Some(track) = self.tracks.get_mut(key)
            && std::mem::take(&mut track.followed)
        {
            self.check_idle(now, key);
        }
    }

    /// The first object of the newest group of a track that came whole. Catalogs are such objects.
    pub fn newest_first_object(&self, name: &FullTrackName) -> Option<(Location, Bytes)> {
        let track = self.tracks.by_name(name).and_then(|key| self.tracks.get(key))?;
        let group = track.cache.groups().next_back()?;
        let object = group.subgroups.iter().find_map(|subgroup| subgroup.objects().find(|object| object.id == 0))?;
        Some((Location::new(group.id, 0), object.payload())).filter(|(_, payload)| !payload.is_empty())
    }

    /// The largest location that any track in a namespace and below it has reached.
    pub fn largest_group(&self, namespace: &Namespace) -> Option<u64> {
        let under = self.tracks.iter().filter(|(_, track)| track.name.namespace.starts_with(namespace));
        under.filter_map(|(_, track)| track.cache.largest()).map(|largest| largest.group).max()
    }
}
