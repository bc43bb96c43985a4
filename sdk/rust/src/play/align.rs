//! Where tracks begin, so that picture and sound begin together, and what a new session brings a second time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_relay_core::wire::Location;

use crate::mp4::TrackRole;

/// How long the first track waits for the other to begin at the same group.
pub(super) const ALIGN_TIMEOUT: Duration = Duration::from_secs(3);
/// Most payload that one track holds while it waits, bytes: three seconds of 100 Mb/s.
const WAITING_BYTES_MAX: usize = 40 * 1024 * 1024;

/// One track while it is watched; outlives sessions. Objects come in the order of the track.
#[derive(Debug)]
pub(super) struct Lane {
    pub role: TrackRole,
    /// Objects that wait for the common beginning.
    waiting: VecDeque<(Location, Bytes)>,
    waiting_bytes: usize,
    /// The newest object that was played.
    place: Option<Location>,
    /// Objects that came a second time, or do not follow what was played.
    pub dropped: u64,
}

impl Lane {
    pub fn new(role: TrackRole) -> Self {
        Self { role, waiting: VecDeque::new(), waiting_bytes: 0, place: None, dropped: 0 }
    }

    /// The first group of which the beginning waits.
    fn start(&self) -> Option<u64> {
        self.waiting.iter().find(|(location, _)| location.object == 0).map(|(location, _)| location.group)
    }

    fn push(&mut self, location: Location, payload: Bytes) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(payload.len());
        self.waiting.push_back((location, payload));
        while self.waiting_bytes > WAITING_BYTES_MAX {
            self.pop();
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<(Location, Bytes)> {
        let (location, payload) = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(payload.len());
        Some((location, payload))
    }

    /// A decoder can go on with an object that begins a group or follows the one before. Without its beginning a group is of no
    /// use.
    fn follows(&self, location: Location) -> bool {
        let next = self.place.and_then(|place| Some(Location { object: place.object.checked_add(1)?, ..place }));
        let newer = self.place.is_none_or(|place| location > place);
        newer && (location.object == 0 || next == Some(location))
    }
}

/// All tracks of a player.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The group that all tracks begin with, once it is known.
    start: Option<u64>,
    first_arrival: Option<Instant>,
}

impl Lanes {
    /// The number of the track of this role; made when it is new.
    pub fn index(&mut self, role: TrackRole) -> usize {
        self.lanes.iter().position(|lane| lane.role == role).unwrap_or_else(|| {
            self.lanes.push(Lane::new(role));
            self.lanes.len().saturating_sub(1)
        })
    }

    pub fn role(&self, index: usize) -> Option<TrackRole> {
        self.lanes.get(index).map(|lane| lane.role)
    }

    pub fn dropped(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.dropped).sum()
    }

    /// An object of a track, the next in its order.
    pub fn push(&mut self, now: Instant, index: usize, location: Location, payload: Bytes) {
        self.first_arrival.get_or_insert(now);
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.push(location, payload);
        }
    }

    /// When waiting for the slower track ends.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.start {
            Some(_) => None,
            None => self.first_arrival?.checked_add(ALIGN_TIMEOUT),
        }
    }

    /// The next object to play, with its track's number.
    pub fn pop(&mut self, now: Instant) -> Option<(usize, Location, Bytes)> {
        let start = match self.start {
            Some(start) => start,
            None => *self.start.insert(self.common_start(now)?),
        };
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            while let Some((location, payload)) = lane.pop() {
                if location.group < start {
                    continue;
                }
                if lane.follows(location) {
                    lane.place = Some(location);
                    return Some((index, location, payload));
                }
                lane.dropped = lane.dropped.saturating_add(1);
            }
        }
        None
    }

    fn common_start(&self, now: Instant) -> Option<u64> {
        let starts: Vec<u64> = self.lanes.iter().filter_map(Lane::start).collect();
        let waited = self.next_timeout().is_some_and(|until| now >= until);
        if starts.len() < self.lanes.len() && !waited {
            return None;
        }
        starts.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes() -> Lanes {
        let mut lanes = Lanes::default();
        assert_eq!((lanes.index(TrackRole::Video), lanes.index(TrackRole::Audio)), (0, 1));
        lanes
    }

    fn push(lanes: &mut Lanes, now: Instant, index: usize, objects: &[(u64, u64)]) {
        for &(group, object) in objects {
            lanes.push(now, index, Location { group, object }, Bytes::from_static(b"x"));
        }
    }

    fn played(lanes: &mut Lanes, now: Instant) -> Vec<(usize, u64, u64)> {
        std::iter::from_fn(|| lanes.pop(now)).map(|(index, at, _)| (index, at.group, at.object)).collect()
    }

    #[test]
    fn picture_and_sound_begin_with_the_same_group() {
        let (mut lanes, now) = (lanes(), Instant::now());
        push(&mut lanes, now, 0, &[(10, 0), (10, 1)]);
        assert_eq!(played(&mut lanes, now), []);
        push(&mut lanes, now, 1, &[(20, 0)]);
        push(&mut lanes, now, 0, &[(20, 0), (20, 1)]);
        assert_eq!(played(&mut lanes, now), [(0, 20, 0), (0, 20, 1), (1, 20, 0)]);
    }

    #[test]
    fn a_silent_track_is_waited_for_three_seconds() {
        let (mut lanes, now) = (lanes(), Instant::now());
        push(&mut lanes, now, 0, &[(10, 0)]);
        assert_eq!(lanes.next_timeout(), Some(now + ALIGN_TIMEOUT));
        assert_eq!(played(&mut lanes, now + ALIGN_TIMEOUT), [(0, 10, 0)]);
        assert_eq!(lanes.next_timeout(), None);
    }

    #[test]
    fn a_group_without_its_beginning_is_not_played() {
        let (mut lanes, now) = (lanes(), Instant::now());
        push(&mut lanes, now, 0, &[(10, 3), (10, 4), (20, 0)]);
        push(&mut lanes, now, 1, &[(10, 0), (20, 0)]);
        assert_eq!(played(&mut lanes, now), [(0, 20, 0), (1, 20, 0)]);
        push(&mut lanes, now, 0, &[(30, 1), (30, 2), (40, 0), (40, 2)]);
        assert_eq!(played(&mut lanes, now), [(0, 40, 0)]);
        assert_eq!(lanes.dropped(), 3);
    }

    #[test]
    fn a_new_session_goes_on_in_the_group_or_with_a_newer_one() {
        let (mut lanes, now) = (lanes(), Instant::now());
        push(&mut lanes, now, 0, &[(10, 0), (10, 1)]);
        push(&mut lanes, now, 1, &[(10, 0)]);
        assert_eq!(played(&mut lanes, now).len(), 3);
        // The same group from its beginning, and another one.
        push(&mut lanes, now, 0, &[(10, 0), (10, 1), (10, 2)]);
        push(&mut lanes, now, 1, &[(30, 0)]);
        assert_eq!(played(&mut lanes, now), [(0, 10, 2), (1, 30, 0)]);
        assert_eq!(lanes.dropped(), 2);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut lanes, now) = (lanes(), Instant::now());
        let payload = Bytes::from(vec![0; 1024 * 1024]);
        for group in 0..100 {
            lanes.push(now, 0, Location { group, object: 0 }, payload.clone());
        }
        assert_eq!(lanes.dropped(), 60);
    }
}
