//! One track while it is watched, over all sessions: what a decoder can take, where it has to start, what is missing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use streams_media::MediaKind;
use streams_media::fmp4::{Chunk, InitSegment};
use streams_relay_core::wire::Location;

/// Most payload that one track holds while it waits, bytes: three seconds of 100 Mb/s.
const WAITING_BYTES_MAX: usize = 40 * 1024 * 1024;
/// A step of media time between two groups that is longer than this is a hole, also when nobody told of one.
const HOLE_MIN: Duration = Duration::from_millis(500);
/// After a loss, a step up to this is the rounding of times: less than a frame of any usual rate.
const ROUNDING_MAX: Duration = Duration::from_millis(8);
/// Media time and the clock may differ by this over a hole; beyond it, the broadcast has begun a time line anew.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(10);

/// An object of a track.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub location: Location,
    pub payload: Bytes,
    /// A decoder can start with it, if it begins a group.
    sync: bool,
    /// It cannot be shown by a decoder that started with its group.
    leading: bool,
    /// Media time, where it can be read.
    time: Option<(Duration, Duration)>,
    /// Something before it was lost, or may have been.
    after_loss: bool,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Play,
    /// A picture that needs what was before the start.
    LeaveOut,
    /// It came before.
    Twice,
    /// Without what was before, it is of no use.
    NoStart,
}

/// One track while it is watched; outlives sessions. Objects come in the order of the track.
#[derive(Debug)]
pub(super) struct Lane {
    pub kind: MediaKind,
    init: Option<InitSegment>,
    /// Objects that wait for the common beginning; the first of them is a start.
    waiting: VecDeque<Unit>,
    waiting_bytes: usize,
    /// The next object that comes is not known to follow the one before.
    loss: bool,
    /// The newest object that was played.
    place: Option<Location>,
    /// When its media ends, and when it was played.
    played: Option<(Duration, Instant)>,
    /// The decoder has to start anew.
    broken: bool,
    /// The group that the decoder started with.
    started: Option<u64>,
    /// Since when objects come of which none can be played.
    starving_since: Option<Instant>,
    /// Objects that came a second time, or do not follow what was played.
    pub dropped: u64,
    /// Times that media time went on after a hole.
    pub holes: u64,
    /// Media time in these holes.
    pub missing: Duration,
}

impl Lane {
    pub fn new(kind: MediaKind) -> Self {
        Self {
            kind,
            init: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            loss: false,
            place: None,
            played: None,
            broken: true,
            started: None,
            starving_since: None,
            dropped: 0,
            holes: 0,
            missing: Duration::ZERO,
        }
    }

    /// The init segment of the objects that come.
    pub fn set_init(&mut self, init: InitSegment) {
        self.init = Some(init);
    }

    /// Something of the track will not come, or a new session begins: the next object need not follow the one before.
    pub fn lose(&mut self) {
        self.loss = true;
    }

    /// An object came. What waits for the beginning begins with a start itself.
    pub fn push(&mut self, now: Instant, location: Location, payload: Bytes) {
        let unit = self.unit(location, payload);
        if self.place.is_none() && self.waiting.is_empty() && !self.can_start(&unit) {
            self.starving_since.get_or_insert(now);
            return;
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(unit.payload.len());
        self.waiting.push_back(unit);
        if self.waiting_bytes > WAITING_BYTES_MAX {
            self.leave_group();
        }
    }

    /// The oldest object that waits goes, and what was of use with it only.
    fn leave_group(&mut self) {
        loop {
            self.take();
            self.dropped = self.dropped.saturating_add(1);
            if self.waiting.front().is_none_or(|unit| self.can_start(unit)) {
                return;
            }
        }
    }

    /// The first group that waits.
    pub fn start(&self) -> Option<u64> {
        self.waiting.front().map(|unit| unit.location.group)
    }

    /// Since when objects come without one that a decoder could start with.
    pub fn starving_since(&self) -> Option<Instant> {
        self.starving_since.filter(|_| self.kind == MediaKind::Video && self.waiting.is_empty())
    }

    /// The next object to play of group `from` or later.
    pub fn pop(&mut self, now: Instant, from: u64) -> Option<Unit> {
        while let Some(unit) = self.take() {
            if unit.location.group < from {
                continue;
            }
            let turn = self.turn(&unit);
            match turn {
                Turn::Play | Turn::LeaveOut => self.go_on(now, &unit),
                Turn::Twice | Turn::NoStart => self.dropped = self.dropped.saturating_add(1),
            }
            match turn {
                Turn::Play => return Some(unit),
                Turn::NoStart => _ = self.starving_since.get_or_insert(now),
                Turn::LeaveOut | Turn::Twice => {}
            }
        }
        None
    }

    fn take(&mut self) -> Option<Unit> {
        let unit = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(unit.payload.len());
        Some(unit)
    }

    /// What cannot be read as media plays as it comes: who writes it down will say what is wrong.
    fn unit(&mut self, location: Location, payload: Bytes) -> Unit {
        let after_loss = std::mem::take(&mut self.loss);
        let init = self.init.as_ref();
        let chunk = init.and_then(|init| Chunk::parse(&payload, init.defaults).ok());
        let video = self.kind == MediaKind::Video;
        let sync = chunk.as_ref().is_none_or(|chunk| !video || chunk.flags.is_sync());
        let leading = chunk.as_ref().is_some_and(|chunk| video && chunk.flags.is_leading());
        let time = init.zip(chunk).map(|(init, chunk)| (init.time(chunk.decode_time), init.time(chunk.end_time)));
        Unit { location, payload, sync, leading, time, after_loss }
    }

    fn can_start(&self, unit: &Unit) -> bool {
        unit.location.object == 0 && unit.sync
    }

    /// A decoder goes on with an object that follows the one before, and with the next group while nothing is lost between.
    /// Everything else has to be a start.
    fn turn(&mut self, unit: &Unit) -> Turn {
        if self.place.is_some_and(|place| unit.location <= place) {
            return Turn::Twice;
        }
        let next = self.place.and_then(|place| Some(Location { object: place.object.checked_add(1)?, ..place }));
        if next == Some(unit.location) {
            self.broken = false;
        } else {
            let goes_on = !unit.after_loss && unit.location.object == 0 && self.step(unit) <= Some(HOLE_MIN);
            self.broken |= !goes_on;
        }
        if self.broken && !self.can_start(unit) {
            return Turn::NoStart;
        }
        if self.broken {
            self.started = Some(unit.location.group);
        }
        if unit.leading && self.started == Some(unit.location.group) { Turn::LeaveOut } else { Turn::Play }
    }

    /// Media time from the end of what was played to the begin of `unit`; `None` when it does not go forward.
    fn step(&self, unit: &Unit) -> Option<Duration> {
        unit.time?.0.checked_sub(self.played?.0)
    }

    fn go_on(&mut self, now: Instant, unit: &Unit) {
        if std::mem::take(&mut self.broken) {
            self.count_hole(now, unit);
        }
        self.starving_since = None;
        self.place = Some(unit.location);
        self.played = unit.time.map(|(_, end)| (end, now));
    }

    /// By media time; by the clock where media time began anew.
    fn count_hole(&mut self, now: Instant, unit: &Unit) {
        let Some((_, at)) = self.played else { return };
        let pause = now.saturating_duration_since(at);
        let step = self.step(unit).filter(|&step| step <= pause.saturating_add(CLOCKS_APART_MAX));
        let missing = step.unwrap_or(pause);
        if missing > ROUNDING_MAX {
            self.holes = self.holes.saturating_add(1);
            self.missing = self.missing.saturating_add(missing);
        }
    }
}

#[cfg(test)]
mod tests;
