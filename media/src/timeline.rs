//! Where a track's objects lie in time: (group, object) <-> media time <-> wall clock.
//!
//! ```text
//!   group   1000            1002        1005
//!   object  0  1  2  3  4   0  1  2  3  0  1        offsets from the group's begin, microseconds
//!           |               |           |
//!   media   begin           begin       begin       broadcast time of the group's first object
//!   wall    anchor          anchor      anchor      server's clock when it came; inside a group it follows media time
//! ```
//!
//! A seek, a clip or a playlist asks in either direction. What lies between two objects belongs to the earlier one. An encoder
//! that pauses leaves a hole in the wall clock and none in media time, which is why every group has an anchor of its own.

use std::collections::VecDeque;

const US_PER_MS: i64 = 1000;

/// An object of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Group id.
    pub group: u64,
    /// Object id in it.
    pub object: u64,
}

/// An object, and when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Which object.
    pub position: Position,
    /// When it decodes, broadcast time in microseconds.
    pub media_us: i64,
    /// The same by the server's clock, Unix time in milliseconds.
    pub unix_ms: u64,
}

/// What a timeline remembers at most; the oldest groups go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineLimits {
    /// Groups, at least 1; each takes 32 bytes.
    pub groups_max: usize,
    /// Objects of all groups, at least 1; each takes 4 bytes.
    pub objects_max: usize,
}

impl Default for TimelineLimits {
    /// 36 minutes of 30 pictures a second, 384 KiB.
    fn default() -> Self {
        Self { groups_max: 4096, objects_max: 65_536 }
    }
}

/// What a timeline did not keep, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimelineCounters {
    /// Groups forgotten for newer ones.
    pub groups_forgotten: u64,
    /// Objects that did not follow the one before, or that a group alone has too many of.
    pub objects_refused: u64,
}

#[derive(Debug, Clone, Copy)]
struct GroupBegin {
    id: u64,
    media_us: i64,
    unix_ms: u64,
    /// Number of its first object, counted over the timeline's life.
    first: u64,
}

/// The objects of one track in time, the newest part of them. A plain value: it reads no clock.
#[derive(Debug, Clone)]
pub struct Timeline {
    limits: TimelineLimits,
    groups: VecDeque<GroupBegin>,
    /// Microseconds from the begin of the object's group.
    offsets_us: VecDeque<u32>,
    /// Number of the first of `offsets_us`.
    forgotten: u64,
    counters: TimelineCounters,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(TimelineLimits::default())
    }
}

impl Timeline {
    /// An empty one.
    pub fn new(limits: TimelineLimits) -> Self {
        let limits = TimelineLimits { groups_max: limits.groups_max.max(1), objects_max: limits.objects_max.max(1) };
        let (groups, offsets_us) = (VecDeque::new(), VecDeque::new());
        Self { limits, groups, offsets_us, forgotten: 0, counters: TimelineCounters::default() }
    }

    /// Adds the object that follows: the next of the newest group, or object 0 of a higher one. It decodes at `media_us` and came
    /// at `unix_ms`. `false`, and counted, when it does not follow or its media time steps back; the timeline stays as it was.
    pub fn push(&mut self, position: Position, media_us: i64, unix_ms: u64) -> bool {
        let added = match self.groups.back() {
            Some(&newest) if newest.id == position.group => self.push_object(newest, position.object, media_us),
            newest => {
                let follows = newest.is_none_or(|newest| newest.id < position.group);
                let rises = self.newest().is_none_or(|newest| newest.media_us <= media_us);
                // A clock that was set back does not put a group before the one before it.
                let unix_ms = newest.map_or(unix_ms, |newest| newest.unix_ms.max(unix_ms));
                position.object == 0 && follows && rises && self.push_group(position.group, media_us, unix_ms)
            }
        };
        if !added {
            self.counters.objects_refused = self.counters.objects_refused.saturating_add(1);
        }
        added
    }

    fn push_group(&mut self, id: u64, media_us: i64, unix_ms: u64) -> bool {
        while self.groups.len() >= self.limits.groups_max || self.offsets_us.len() >= self.limits.objects_max {
            self.forget_group();
        }
        self.groups.push_back(GroupBegin { id, media_us, unix_ms, first: self.end() });
        self.offsets_us.push_back(0);
        true
    }

    fn push_object(&mut self, group: GroupBegin, object: u64, media_us: i64) -> bool {
        let offset_us = u32::try_from(media_us.saturating_sub(group.media_us)).ok();
        let Some(offset_us) = offset_us.filter(|offset| self.offsets_us.back() <= Some(offset)) else { return false };
        if self.end().checked_sub(group.first) != Some(object) {
            return false;
        }
        while self.offsets_us.len() >= self.limits.objects_max {
            if self.groups.len() <= 1 {
                return false;
            }
            self.forget_group();
        }
        self.offsets_us.push_back(offset_us);
        true
    }

    fn forget_group(&mut self) {
        self.groups.pop_front();
        let first = self.groups.front().map_or(self.end(), |group| group.first);
        let gone = usize::try_from(first.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        self.offsets_us.drain(..gone.min(self.offsets_us.len()));
        self.forgotten = first;
        self.counters.groups_forgotten = self.counters.groups_forgotten.saturating_add(1);
    }

    /// Number of the object that comes next.
    fn end(&self) -> u64 {
        self.forgotten.saturating_add(self.offsets_us.len() as u64)
    }

    /// The oldest object that is remembered.
    pub fn oldest(&self) -> Option<Moment> {
        self.moment(0, 0)
    }

    /// The newest one.
    pub fn newest(&self) -> Option<Moment> {
        let index = self.groups.len().checked_sub(1)?;
        self.moment(index, self.object_count(index)?.checked_sub(1)?)
    }

    /// When an object is; `None` when it is not remembered.
    pub fn at(&self, position: Position) -> Option<Moment> {
        let index = self.groups.binary_search_by_key(&position.group, |group| group.id).ok()?;
        self.moment(index, position.object)
    }

    /// The object that is decoded at a media time: the last that does not begin later. `None` before the oldest.
    pub fn at_media(&self, media_us: i64) -> Option<Moment> {
        let index = self.groups.partition_point(|group| group.media_us <= media_us).checked_sub(1)?;
        self.moment(index, self.object_at(index, media_us)?)
    }

    /// The same by the server's clock.
    pub fn at_wall(&self, unix_ms: u64) -> Option<Moment> {
        let index = self.groups.partition_point(|group| group.unix_ms <= unix_ms).checked_sub(1)?;
        let group = self.groups.get(index)?;
        // To the end of the millisecond, so that the time of an object leads back to it.
        let since_ms = i64::try_from(unix_ms.saturating_sub(group.unix_ms)).unwrap_or(i64::MAX);
        let since_us = since_ms.saturating_mul(US_PER_MS).saturating_add(US_PER_MS.saturating_sub(1));
        self.moment(index, self.object_at(index, group.media_us.saturating_add(since_us))?)
    }

    /// What was not kept.
    pub fn counters(&self) -> TimelineCounters {
        self.counters
    }

    /// How many objects are remembered of the group at `index`.
    fn object_count(&self, index: usize) -> Option<u64> {
        let first = self.groups.get(index)?.first;
        let end = index.checked_add(1).and_then(|next| self.groups.get(next)).map_or(self.end(), |next| next.first);
        end.checked_sub(first)
    }

    /// The last object of the group at `index` that does not begin after `media_us`.
    fn object_at(&self, index: usize, media_us: i64) -> Option<u64> {
        let group = self.groups.get(index)?;
        let offset_us = u32::try_from(media_us.checked_sub(group.media_us)?).unwrap_or(u32::MAX);
        let (mut from, mut to) = (0, self.object_count(index)?);
        while from < to {
            let middle = from.midpoint(to);
            if self.offset_us(group, middle)? <= offset_us { from = middle.saturating_add(1) } else { to = middle }
        }
        from.checked_sub(1)
    }

    fn offset_us(&self, group: &GroupBegin, object: u64) -> Option<u32> {
        let number = group.first.checked_add(object)?.checked_sub(self.forgotten)?;
        self.offsets_us.get(usize::try_from(number).ok()?).copied()
    }

    fn moment(&self, index: usize, object: u64) -> Option<Moment> {
        let group = self.groups.get(index)?;
        if object >= self.object_count(index)? {
            return None;
        }
        let offset_us = self.offset_us(group, object)?;
        Some(Moment {
            position: Position { group: group.id, object },
            media_us: group.media_us.saturating_add(i64::from(offset_us)),
            unix_ms: group.unix_ms.saturating_add(u64::from(offset_us) / 1000),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN_MS: u64 = 1_800_000_000_000;

    /// Groups of two seconds, 25 objects a second, the wall clock in step.
    fn played(limits: TimelineLimits, groups: u64) -> Timeline {
        let mut timeline = Timeline::new(limits);
        for frame in 0..groups * 50 {
            let position = Position { group: 1000 + frame / 50, object: frame % 50 };
            let media_us = i64::try_from(frame * 40_000).unwrap();
            assert!(timeline.push(position, media_us, BEGAN_MS + frame * 40));
        }
        timeline
    }

    #[test]
    fn an_object_leads_to_its_times_and_either_time_back_to_it() {
        let timeline = played(TimelineLimits::default(), 3);
        let position = Position { group: 1002, object: 3 };
        let moment = timeline.at(position).unwrap();
        assert_eq!((moment.media_us, moment.unix_ms), (4_120_000, BEGAN_MS + 4_120));
        // Up to where the next object begins.
        for media_us in [4_120_000, 4_159_999] {
            assert_eq!(timeline.at_media(media_us), Some(moment));
        }
        for unix_ms in [BEGAN_MS + 4_120, BEGAN_MS + 4_159] {
            assert_eq!(timeline.at_wall(unix_ms), Some(moment));
        }
        assert_eq!(timeline.at_media(4_160_000).unwrap().position.object, 4);
    }

    #[test]
    fn what_is_outside_is_nothing_before_the_begin_and_the_newest_after_the_end() {
        let timeline = played(TimelineLimits::default(), 2);
        let newest = timeline.newest();
        assert_eq!(newest.unwrap().position, Position { group: 1001, object: 49 });
        assert_eq!((timeline.at_media(-1), timeline.at_wall(BEGAN_MS - 1)), (None, None));
        assert_eq!((timeline.at_media(i64::MAX), timeline.at_wall(u64::MAX)), (newest, newest));
        for (group, object) in [(999, 0), (1000, 50), (1002, 0), (1000, u64::MAX)] {
            assert_eq!(timeline.at(Position { group, object }), None);
        }
        let empty = Timeline::default();
        assert_eq!((empty.oldest(), empty.newest(), empty.at_media(0), empty.at_wall(0)), (None, None, None, None));
    }

    #[test]
    fn a_pause_of_the_encoder_is_a_hole_in_the_wall_clock_only() {
        let mut timeline = played(TimelineLimits::default(), 1);
        let after = Position { group: BEGAN_MS, object: 0 };
        assert!(timeline.push(after, 2_000_000, BEGAN_MS + 60_000));
        let last = Position { group: 1000, object: 49 };
        assert_eq!(timeline.at_wall(BEGAN_MS + 59_999).unwrap().position, last);
        assert_eq!(timeline.at_wall(BEGAN_MS + 60_000).unwrap().position, after);
        assert_eq!(timeline.at_media(1_999_999).unwrap().position, last);
        // The server's clock is set back: groups keep their order.
        let set_back = Position { group: BEGAN_MS + 1, object: 0 };
        assert!(timeline.push(set_back, 4_000_000, 0));
        assert_eq!(timeline.at_wall(BEGAN_MS + 60_000).unwrap().position, set_back);
    }

    #[test]
    fn an_object_that_does_not_follow_is_refused_and_counted() {
        let mut timeline = played(TimelineLimits::default(), 1);
        let wrong = [
            (1000, 49, 2_000_000),
            (1000, 51, 2_000_000),
            (999, 0, 2_000_000),
            (1001, 1, 2_000_000),
            (1000, 50, 1_900_000),
            (1001, 0, 1_900_000),
        ];
        for (group, object, media_us) in wrong {
            assert!(!timeline.push(Position { group, object }, media_us, BEGAN_MS), "{group} {object}");
        }
        assert_eq!(timeline.counters().objects_refused, 6);
        assert!(timeline.push(Position { group: 1000, object: 50 }, 1_960_000, BEGAN_MS), "two at one time are none");
    }

    #[test]
    fn the_oldest_groups_are_forgotten_at_either_bound() {
        for limits in
            [TimelineLimits { groups_max: 3, objects_max: 1000 }, TimelineLimits { groups_max: 1000, objects_max: 150 }]
        {
            let timeline = played(limits, 10);
            assert_eq!(timeline.oldest().unwrap().position, Position { group: 1007, object: 0 });
            assert_eq!(timeline.counters(), TimelineCounters { groups_forgotten: 7, objects_refused: 0 });
            assert_eq!(timeline.at_media(13_999_999), None);
            let moment = timeline.at(Position { group: 1008, object: 7 }).unwrap();
            assert_eq!(timeline.at_media(moment.media_us), Some(moment));
        }
    }

    #[test]
    fn a_group_that_does_not_end_keeps_its_begin() {
        let mut timeline = played(TimelineLimits { groups_max: 10, objects_max: 60 }, 1);
        for object in 50..70 {
            let media_us = i64::try_from(object * 40_000).unwrap();
            timeline.push(Position { group: 1000, object }, media_us, BEGAN_MS);
        }
        assert_eq!(timeline.newest().unwrap().position.object, 59);
        assert_eq!(timeline.counters(), TimelineCounters { groups_forgotten: 0, objects_refused: 10 });
        assert!(timeline.push(Position { group: 1001, object: 0 }, 2_800_000, BEGAN_MS + 2_800));
        assert_eq!(timeline.oldest().unwrap().position, Position { group: 1001, object: 0 });
    }
}
