//! Objects of one track in the order they are to be played.
//!
//! Groups come on streams of their own, and the first group comes in two parts (a fetch up to the joining place, then the
//! subscription), so objects arrive in any order. A group is left early only when a newer one waits and nothing has come for a
//! while: live media does not wait for what was cut.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_relay_core::wire::Location;

/// How long a newer group waits for the rest of the one before.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most payload that waits, bytes: about ten seconds of 40 Mb/s.
const WAITING_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Most objects that wait; bounds empty ones.
const WAITING_OBJECTS_MAX: usize = 65_536;

/// The next object of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Next {
    pub location: Location,
    pub payload: Bytes,
}

#[derive(Debug)]
struct Group {
    objects: BTreeMap<u64, Bytes>,
    /// First object id that does not exist, once the end is known.
    end: Option<u64>,
    /// When its first object came.
    since: Instant,
}

/// Sorts one track.
#[derive(Debug, Default)]
pub(crate) struct TrackOrder {
    groups: BTreeMap<u64, Group>,
    /// The group being played and the object that is next in it; `None` before the first.
    place: Option<(u64, u64)>,
    waiting_bytes: usize,
    waiting_objects: usize,
    /// A new session began, which does not bring the rest of an older group.
    resumed: bool,
    dropped: u64,
    skipped: u64,
}

impl TrackOrder {
    /// Objects that came twice, too late, or were too many.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Groups that were left before their end, or never came.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Forgets what waits: a new session begins. What was played stays behind us.
    pub fn restart(&mut self) {
        self.groups.clear();
        (self.waiting_bytes, self.waiting_objects) = (0, 0);
        self.resumed = true;
    }

    /// An object came.
    pub fn push(&mut self, now: Instant, location: Location, payload: Bytes) {
        let Location { group, object } = location;
        let behind = self.place.is_some_and(|place| (group, object) < place);
        let full = self.waiting_objects >= WAITING_OBJECTS_MAX
            || self.waiting_bytes.saturating_add(payload.len()) > WAITING_BYTES_MAX;
        if behind || full {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let entry = self.groups.entry(group).or_insert_with(|| Group::new(now));
        let len = payload.len();
        if entry.objects.contains_key(&object) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        entry.objects.insert(object, payload);
        self.waiting_bytes = self.waiting_bytes.saturating_add(len);
        self.waiting_objects = self.waiting_objects.saturating_add(1);
    }

    /// The group has no object from `end` on.
    pub fn group_end(&mut self, now: Instant, group: u64, end: u64) {
        if self.place.is_some_and(|(current, _)| group < current) {
            return;
        }
        // An end is remembered without objects too: they may have been played already.
        self.groups.entry(group).or_insert_with(|| Group::new(now)).end = Some(end);
    }

    /// The first group of which the first object is there; where this track could begin.
    pub fn first_start(&self) -> Option<u64> {
        self.groups.iter().find(|(_, group)| group.objects.contains_key(&0)).map(|(&id, _)| id)
    }

    /// Whether [`Self::begin_at`] was called.
    pub fn has_begun(&self) -> bool {
        self.place.is_some()
    }

    /// Begins with this group, or the first one after it; what lies before is dropped.
    pub fn begin_at(&mut self, group: u64) {
        self.leave_before(group);
        self.place = Some((group, 0));
    }

    /// The next object, if it is there. Gives nothing before [`Self::begin_at`].
    pub fn pop(&mut self, now: Instant) -> Option<Next> {
        loop {
            let (current, wanted) = self.place?;
            if let Some(group) = self.groups.get_mut(&current) {
                if let Some(payload) = group.objects.remove(&wanted) {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(payload.len());
                    self.waiting_objects = self.waiting_objects.saturating_sub(1);
                    self.place = Some((current, wanted.saturating_add(1)));
                    return Some(Next { location: Location { group: current, object: wanted }, payload });
                }
                if group.end.is_some_and(|end| wanted >= end) {
                    self.leave_before(current.saturating_add(1));
                    self.place = Some((current.saturating_add(1), 0));
                    continue;
                }
            }
            let next = self.startable_after(now, current, wanted)?;
            self.leave_before(next);
            self.place = Some((next, 0));
        }
    }

    /// When waiting ends without anything coming.
    pub fn next_timeout(&self) -> Option<Instant> {
        let (current, _) = self.place?;
        self.groups
            .range(current.saturating_add(1)..)
            .find(|(_, group)| group.objects.contains_key(&0))
            .and_then(|(_, group)| group.since.checked_add(PATIENCE))
    }

    /// A newer group to go on with: at once when nothing of the current one was played or is there (ids may have gaps between
    /// groups), after a while otherwise.
    fn startable_after(&mut self, now: Instant, current: u64, wanted: u64) -> Option<u64> {
        let (&id, group) =
            self.groups.range(current.saturating_add(1)..).find(|(_, group)| group.objects.contains_key(&0))?;
        let waited = now.saturating_duration_since(group.since) >= PATIENCE;
        let untouched = (wanted == 0 || self.resumed) && !self.groups.contains_key(&current);
        if !waited && !untouched {
            return None;
        }
        if !untouched {
            self.skipped = self.skipped.saturating_add(1);
        }
        self.resumed = false;
        Some(id)
    }

    fn leave_before(&mut self, group: u64) {
        let kept = self.groups.split_off(&group);
        for left in std::mem::replace(&mut self.groups, kept).into_values() {
            let bytes: usize = left.objects.values().map(Bytes::len).sum();
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
            self.waiting_objects = self.waiting_objects.saturating_sub(left.objects.len());
            self.dropped = self.dropped.saturating_add(left.objects.len() as u64);
        }
    }
}

impl Group {
    fn new(since: Instant) -> Self {
        Self { objects: BTreeMap::new(), end: None, since }
    }
}
