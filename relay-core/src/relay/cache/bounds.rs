//! How the caches of all tracks keep to their bounds.

use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use crate::relay::Relay;
use crate::relay::keys::{TenantKey, TrackKey};
use crate::relay::tenants::Good;

use super::GroupCache;
use super::evict::{CacheBounds, Evicted};

impl Relay {
    /// Keeps a track, and all tracks together, within the bounds of the cache.
    pub(crate) fn bound_cache(&mut self, now: Instant, key: TrackKey) {
        let bounds = CacheBounds { len_max: self.config.cache_track_len_max, age_max: self.config.cache_age_max };
        if let Some(track) = self.tracks.get_mut(key) {
            let evicted = track.cache.evict(now, bounds);
            self.count_evicted(key, evicted);
        }
        self.bound_all_caches();
    }

    /// Keeps all tracks together within the bound of the cache. Goes far enough below it that not every new object has to look
    /// at all tracks for room.
    pub(crate) fn bound_all_caches(&mut self) {
        if self.tracks.cache_len > self.config.cache_len_max {
            let len_max = self.config.cache_len_max / 20 * 19;
            self.shrink_caches(len_max, GroupCache::evictable_len, GroupCache::evict_oldest);
            // Many open groups: the oldest halves of the largest ones go.
            self.shrink_caches(len_max, GroupCache::len, GroupCache::halve);
        }
    }

    /// Lets `evict` take from the caches until all together are down to `len_max`: from the tenant that has most bytes, of its
    /// tracks the one with most bytes that may go. Whoever has little loses nothing to those who have much.
    fn shrink_caches(
        &mut self,
        len_max: usize,
        evictable_len: fn(&GroupCache) -> usize,
        evict: fn(&mut GroupCache) -> Evicted,
    ) {
        let mut tracks_of: HashMap<TenantKey, BinaryHeap<(usize, TrackKey)>> = HashMap::new();
        for (key, track) in self.tracks.iter() {
            tracks_of.entry(track.tenant).or_default().push((evictable_len(&track.cache), key));
        }
        let held = |tenant: TenantKey| (self.tenants.held(tenant, Good::Cached), tenant);
        let mut largest: BinaryHeap<(usize, TenantKey)> = tracks_of.keys().map(|tenant| held(*tenant)).collect();
        while self.tracks.cache_len > len_max
            && let Some((_, tenant)) = largest.pop()
        {
            let Some(tracks) = tracks_of.get_mut(&tenant) else { continue };
            // A tenant without a track that may lose something is left alone from here on.
            let Some((_, key)) = tracks.pop().filter(|(len, _)| *len > 0) else { continue };
            let Some(track) = self.tracks.get_mut(key) else { continue };
            let evicted = evict(&mut track.cache);
            if evicted.len > 0 {
                tracks.push((evictable_len(&track.cache), key));
            }
            self.count_evicted(key, evicted);
            largest.push((self.tenants.held(tenant, Good::Cached), tenant));
        }
    }

    pub(crate) fn count_evicted(&mut self, key: TrackKey, evicted: Evicted) {
        self.counters.groups_evicted += evicted.groups;
        self.count_cached(key);
    }

    /// Brings the sums of cached bytes, of all and of the track's tenant, up to date with one track.
    pub(crate) fn count_cached(&mut self, key: TrackKey) {
        if let Some((tenant, before, after)) = self.tracks.count(key) {
            self.tenants.change(tenant, Good::Cached, before, after);
        }
    }
}
