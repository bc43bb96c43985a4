//! What a cache lets go, and in which order.
//!
//! ```text
//!   1. groups that are over, oldest first            too many bytes, or older than the bound
//!   2. objects of what is left, oldest first         too many bytes, whatever the group's state: the newest one stays
//!   3. objects of the open group, oldest first       older than a minute, or twice the bound where that is more
//! ```
//!
//! The open group and the newest complete one stay whole as long as both fit. So a publisher that never begins a new group
//! has a window of it here, and a viewer that joins gets that window and not hours.

use std::time::{Duration, Instant};

use crate::wire::Location;

use super::{GROUPS_MAX, Group, GroupCache, SUBGROUP_COST, SUBGROUPS_MAX, SubgroupEnd};

/// Objects of an open group that never go for their age: two seconds of video, and more than a few lasting ones, such as a
/// catalog and its changes, of which the oldest is needed for as long as the group is open.
const AGELESS_OBJECTS: usize = 64;

/// The shortest bound that counts for an open group: half of what it may hold then. The ingest begins a new group after 30 s.
const OPEN_AGE_MIN: Duration = Duration::from_secs(30);

/// Bounds of one track's cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheBounds {
    pub(crate) len_max: usize,
    pub(crate) age_max: Duration,
}

/// What a bound made a cache drop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// Bytes.
    pub(crate) len: usize,
    pub(crate) groups: u64,
}

impl GroupCache {
    /// Drops what the bounds do not allow.
    pub(crate) fn evict(&mut self, now: Instant, bounds: CacheBounds) -> Evicted {
        let before = (self.len, self.groups.len());
        while let Some(front) = self.groups.front() {
            let old = now.saturating_duration_since(front.newest_at) > bounds.age_max;
            let over = self.len > bounds.len_max || self.groups.len() >= GROUPS_MAX;
            if !(old || over) || self.pinned_from() == 0 {
                break;
            }
            self.drop_front();
        }
        while self.len > bounds.len_max && self.trim_front() {}
        self.trim_old(now, bounds.age_max.max(OPEN_AGE_MIN).saturating_mul(2));
        self.trim_subgroups();
        self.evicted_since(before)
    }

    /// Bytes of the groups that are not pinned.
    pub(crate) fn evictable_len(&self) -> usize {
        let pinned: usize = self.groups.iter().skip(self.pinned_from()).map(|group| group.len).sum();
        self.len.saturating_sub(pinned)
    }

    /// Drops the oldest group that is not pinned.
    pub(crate) fn evict_oldest(&mut self) -> Evicted {
        let before = (self.len, self.groups.len());
        if self.pinned_from() > 0 {
            self.drop_front();
        }
        self.evicted_since(before)
    }

    /// Drops the oldest objects until no more than half of the bytes are left, or one object.
    pub(crate) fn halve(&mut self) -> Evicted {
        let before = (self.len, self.groups.len());
        while self.len > before.0 / 2 && self.trim_front() {}
        self.evicted_since(before)
    }

    fn evicted_since(&self, (len, groups): (usize, usize)) -> Evicted {
        let groups = groups.saturating_sub(self.groups.len()) as u64;
        Evicted { len: len.saturating_sub(self.len), groups }
    }

    /// Index of the first group that is not dropped as a whole.
    fn pinned_from(&self) -> usize {
        let newest = self.groups.len().saturating_sub(1);
        let is_complete = |index: usize| self.groups.get(index).is_some_and(Group::is_complete);
        // Only right behind the newest one: a publisher that never ends its groups must not pin a long tail.
        match newest.checked_sub(1) {
            Some(before) if !is_complete(newest) && is_complete(before) => before,
            _ => newest,
        }
    }

    fn drop_front(&mut self) {
        if let Some(group) = self.groups.pop_front() {
            self.len = self.len.saturating_sub(group.len);
            self.complete_from = self.complete_from.max(Location::new(group.id.saturating_add(1), 0));
        }
    }

    /// Drops the oldest object of the oldest group. `false`: the newest object stays, and so does the newest complete group while
    /// the open one has a single object, however large, for viewers are still in it.
    fn trim_front(&mut self) -> bool {
        let newest = self.groups.back().map_or(0, |group| group.count);
        if newest <= 1 {
            return false;
        }
        if self.groups.front().is_some_and(|front| front.count == 0) {
            self.drop_front();
            return true;
        }
        let last = self.groups.len() == 1;
        let Some(group) = self.groups.front_mut() else { return false };
        let Some(id) = group.trim_oldest(&mut self.len) else { return false };
        let (group_id, empty) = (group.id, group.count == 0);
        if empty && !last {
            self.drop_front();
        } else {
            self.trimmed(Location::new(group_id, id.saturating_add(1)));
        }
        true
    }

    /// An open group goes on for hours: what a viewer could join with is bounded by time as well.
    fn trim_old(&mut self, now: Instant, age_max: Duration) {
        while let Some(group) = self.groups.back_mut()
            && group.count > AGELESS_OBJECTS
            && !group.is_complete()
            && group.oldest_at().is_some_and(|at| now.saturating_duration_since(at) > age_max)
            && let Some(id) = group.trim_oldest(&mut self.len)
        {
            let to = Location::new(group.id, id.saturating_add(1));
            self.trimmed(to);
        }
    }

    /// A publisher with a stream an object would run out of subgroups in a long group: room for the next one is made in time.
    fn trim_subgroups(&mut self) {
        if let Some(group) = self.groups.back_mut().filter(|group| group.subgroups.len() >= SUBGROUPS_MAX) {
            let before = group.subgroups.len();
            group.subgroups.retain(|subgroup| subgroup.end == SubgroupEnd::Open || !subgroup.objects.is_empty());
            let freed = before.saturating_sub(group.subgroups.len()).saturating_mul(SUBGROUP_COST);
            group.len = group.len.saturating_sub(freed);
            self.len = self.len.saturating_sub(freed);
        }
        while let Some(group) = self.groups.back_mut()
            && group.subgroups.len() >= SUBGROUPS_MAX
            && group.subgroups.iter().any(|subgroup| subgroup.end != SubgroupEnd::Open)
            && let Some(id) = group.trim_oldest(&mut self.len)
        {
            let to = Location::new(group.id, id.saturating_add(1));
            self.trimmed(to);
        }
    }

    fn trimmed(&mut self, to: Location) {
        self.complete_from = self.complete_from.max(to);
        self.trimmed_to = self.trimmed_to.max(Some(to));
    }
}

impl Group {
    fn oldest(&self) -> Option<usize> {
        let fronts = self.subgroups.iter().enumerate().filter_map(|(index, subgroup)| {
            let front = subgroup.objects.front()?;
            Some((front.arrival, index))
        });
        fronts.min().map(|(_, index)| index)
    }

    fn oldest_at(&self) -> Option<Instant> {
        let subgroup = self.subgroups.get(self.oldest()?)?;
        subgroup.objects.front().map(|object| object.at)
    }

    /// Drops the object that came first, and its subgroup when that is over and has no other. Gives its id.
    fn trim_oldest(&mut self, cache_len: &mut usize) -> Option<u64> {
        let index = self.oldest()?;
        let subgroup = self.subgroups.get_mut(index)?;
        let object = subgroup.objects.pop_front()?;
        subgroup.trimmed += 1;
        subgroup.info.first_object = false;
        let mut freed = object.cost();
        if subgroup.objects.is_empty() && subgroup.end != SubgroupEnd::Open {
            self.subgroups.remove(index);
            freed += SUBGROUP_COST;
        }
        self.count = self.count.saturating_sub(1);
        self.len = self.len.saturating_sub(freed);
        *cache_len = cache_len.saturating_sub(freed);
        Some(object.id)
    }
}
