//! Where tracks begin, so that picture and sound begin together, and what a new session brings a second time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_media::MediaKind;
use streams_media::fmp4::InitSegment;
use streams_relay_core::wire::Location;

use super::lane::{Lane, Unit};
use super::tracks::Chosen;

/// How long the first track waits for the other to begin at the same group.
pub(super) const ALIGN_TIMEOUT: Duration = Duration::from_secs(3);
/// All tracks of a player.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The group that all tracks begin with, once it is known.
    start: Option<u64>,
    first_arrival: Option<Instant>,
}

impl Lanes {
    /// The number of the track of this kind; made when it is new.
    pub fn index(&mut self, kind: MediaKind) -> usize {
        self.lanes.iter().position(|lane| lane.kind == kind).unwrap_or_else(|| {
            self.lanes.push(Lane::new(kind));
            self.lanes.len().saturating_sub(1)
        })
    }

    pub fn kind(&self, index: usize) -> Option<MediaKind> {
        self.lanes.get(index).map(|lane| lane.kind)
    }

    pub fn dropped(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.dropped).sum()
    }

    /// Holes in the first track, and the media time in them.
    pub fn missing(&self) -> (u64, Duration) {
        self.lanes.first().map_or((0, Duration::ZERO), |lane| (lane.holes, lane.missing))
    }

    /// Since when pictures come without one that a decoder could start with.
    pub fn starving_since(&self) -> Option<Instant> {
        self.lanes.iter().find_map(Lane::starving_since)
    }

    /// The init segments of the objects that come. One that cannot be read is the recording's to complain about.
    pub fn set_inits(&mut self, tracks: &[Chosen]) {
        for lane in &mut self.lanes {
            let init = tracks.iter().find(|track| track.kind == lane.kind).map(|track| InitSegment::parse(&track.init));
            if let Some(Ok(init)) = init {
                lane.set_init(init);
            }
        }
    }

    /// A group of a track does not come whole.
    pub fn lose(&mut self, index: usize) {
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.lose();
        }
    }

    /// A new session begins.
    pub fn lose_all(&mut self) {
        self.lanes.iter_mut().for_each(Lane::lose);
    }

    /// An object of a track, the next in its order.
    pub fn push(&mut self, now: Instant, index: usize, location: Location, payload: Bytes) {
        self.first_arrival.get_or_insert(now);
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.push(now, location, payload);
        }
    }

    /// When waiting for the slower track ends. Pictures that come are waited for until a decoder can start with one: sound alone
    /// would tell nobody what is wrong.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.start.is_some() || self.starving_since().is_some() {
            return None;
        }
        self.first_arrival?.checked_add(ALIGN_TIMEOUT)
    }

    /// The next object to play, with its track's number.
    pub fn pop(&mut self, now: Instant) -> Option<(usize, Unit)> {
        let start = match self.start {
            Some(start) => start,
            None => *self.start.insert(self.common_start(now)?),
        };
        self.lanes.iter_mut().enumerate().find_map(|(index, lane)| Some((index, lane.pop(now, start)?)))
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
        assert_eq!((lanes.index(MediaKind::Video), lanes.index(MediaKind::Audio)), (0, 1));
        lanes
    }

    fn push(lanes: &mut Lanes, now: Instant, index: usize, objects: &[(u64, u64)]) {
        for &(group, object) in objects {
            lanes.push(now, index, Location { group, object }, Bytes::from_static(b"x"));
        }
    }

    fn played(lanes: &mut Lanes, now: Instant) -> Vec<(usize, u64, u64)> {
        std::iter::from_fn(|| lanes.pop(now))
            .map(|(index, unit)| (index, unit.location.group, unit.location.object))
            .collect()
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
    fn sound_waits_for_a_key_frame_as_long_as_pictures_come() {
        let (mut lanes, now) = (lanes(), Instant::now());
        push(&mut lanes, now, 0, &[(10, 3)]);
        push(&mut lanes, now, 1, &[(10, 0), (20, 0)]);
        assert_eq!(lanes.next_timeout(), None);
        assert_eq!(lanes.starving_since(), Some(now));
        let later = now + 4 * ALIGN_TIMEOUT;
        assert_eq!(played(&mut lanes, later), []);
        push(&mut lanes, later, 0, &[(20, 0)]);
        assert_eq!(played(&mut lanes, later), [(0, 20, 0), (1, 20, 0)]);
        assert_eq!(lanes.starving_since(), None);
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
