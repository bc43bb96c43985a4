//! Timestamps as encoders send them, made into one timeline that only goes forward.
//!
//! Each track maps the encoder's time to broadcast time by adding an offset. Both tracks share the offset as long as the encoder
//! lets them, so that lip sync is the encoder's own.
//!
//! **Jumps.** A time that the offset would carry to an implausible place (behind the track, or further ahead than the server's
//! clock allows) is not believed: its unit is put right behind its predecessor and the offset stays, so that one lying time
//! moves nothing. Only when three units in a row agree on a new time does the track take it, in this order: the old offset when
//! the time only leapt ahead, the offset it had before, the other track's offset (both jumped), and last a fresh offset that goes
//! on where the first of the three was put. Nothing here ever ends a broadcast.
//!
//! **Nudges.** A decoding time that does not follow its predecessor is moved up, and its presentation time with it. Presentation
//! times of video stay unique, and without B-frames they rise.

mod reorder;
mod track;

use reorder::Reorder;
use streams_media::{AccessUnit, MediaKind};
use track::TrackClock;

const US_PER_MS: i64 = 1000;
/// A composition offset beyond this is no reordering: sixteen frames at two frames a second.
const COMPOSITION_US_MAX: i64 = 8_000_000;
/// A step larger than this inside a track counts as a gap, and is not believed at once when the server's clock denies it.
const GAP_US_MIN: i64 = 1_000_000;
/// Units in a row that must agree on a new time before it is believed.
const AGREEING_UNITS: u32 = 3;
/// The server's clock is believed for no longer silence than this.
const ELAPSED_MS_MAX: u64 = 3_600_000;

/// Bounds of the timeline's repairs.
#[derive(Debug, Clone)]
pub struct NormaliserConfig {
    /// How far times may leap ahead of what the server's clock makes plausible and still be taken for the same clock with a gap,
    /// in microseconds; beyond, they are another clock.
    pub lead_us_max: i64,
    /// How far a time may fall behind its track before it counts as a jump, in microseconds. Smaller steps back are nudged.
    pub lag_us_max: i64,
}

impl Default for NormaliserConfig {
    fn default() -> Self {
        Self { lead_us_max: 5_000_000, lag_us_max: 500_000 }
    }
}

/// What the normaliser changed or refused, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NormaliserCounters {
    /// Units passed on.
    pub passed: u64,
    /// Units dropped: empty, or before the broadcast's start.
    pub dropped: u64,
    /// Times that were not believed: too few agreed on them.
    pub disbelieved: u64,
    /// Times that jumped and were given a fresh offset.
    pub jumps: u64,
    /// Times that jumped and fitted an offset already known (the one before, or the other track's).
    pub rejoined: u64,
    /// Decoding times moved up, with their presentation times, because they did not follow their predecessor.
    pub nudged: u64,
    /// Steps of more than a second that were kept.
    pub gaps: u64,
    /// Decoding times rebuilt from presentation times.
    pub dts_rebuilt: u64,
    /// Composition offsets thrown away as absurd.
    pub composition_reset: u64,
}

/// Why a unit was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It holds nothing.
    #[error("access unit is empty")]
    Empty,
    /// It belongs before the start of the timeline.
    #[error("access unit lies before the start of the broadcast")]
    BeforeStart,
}

/// The newest time given out, and when.
#[derive(Debug, Clone, Copy)]
struct Newest {
    out_us: i64,
    at_unix_ms: u64,
}

/// Maps the times of one broadcast's access units, over all connections of its encoder, to one timeline.
#[derive(Debug)]
pub struct Normaliser {
    config: NormaliserConfig,
    video: TrackClock,
    audio: TrackClock,
    newest: Option<Newest>,
    started_unix_ms: Option<u64>,
    reorder: Reorder,
    counters: NormaliserCounters,
}

impl Normaliser {
    /// A fresh timeline; its zero is the first unit.
    pub fn new(config: NormaliserConfig) -> Self {
        Self {
            config,
            video: TrackClock::default(),
            audio: TrackClock::default(),
            newest: None,
            started_unix_ms: None,
            reorder: Reorder::default(),
            counters: NormaliserCounters::default(),
        }
    }

    /// Maps one unit that arrived at `now_unix_ms`. Decoding times that come back strictly increase within a track and are never
    /// negative; presentation times are never negative, and may lie before a decoding time where that had to be rebuilt.
    ///
    /// # Errors
    /// [`Dropped`] tells (and counts) why the unit must not be used; the next one may be fine.
    pub fn push(&mut self, now_unix_ms: u64, mut unit: AccessUnit) -> Result<AccessUnit, Dropped> {
        if unit.data.is_empty() {
            return Err(self.drop_unit(Dropped::Empty));
        }
        let composition_us = unit.pts_us.saturating_sub(unit.dts_us);
        if !(-COMPOSITION_US_MAX..=COMPOSITION_US_MAX).contains(&composition_us) {
            unit.pts_us = unit.dts_us;
            self.counters.composition_reset = self.counters.composition_reset.saturating_add(1);
        }
        let rebuilt = unit.kind() == MediaKind::Video && self.rebuild_dts(&mut unit);
        let kind = unit.kind();
        let (offset_us, believed) = self.offset(kind, now_unix_ms, unit.dts_us);
        let wanted_us = unit.dts_us.saturating_add(offset_us);
        if wanted_us < 0 && self.track_mut(kind).last().is_none() {
            return Err(self.drop_unit(Dropped::BeforeStart));
        }
        let track = self.track_mut(kind);
        if believed {
            track.set_offset(offset_us);
        }
        let advance = track.advance(wanted_us, now_unix_ms);
        // A decoding time of our own making says nothing of when the picture is shown.
        let nudge_us = if rebuilt { 0 } else { advance.out_us.saturating_sub(wanted_us) };
        let pts_us = unit.pts_us.saturating_add(offset_us).saturating_add(nudge_us).max(0);
        unit.pts_us = if kind == MediaKind::Video { track.unique_pts(pts_us) } else { pts_us };
        unit.dts_us = advance.out_us;
        if advance.nudged {
            self.counters.nudged = self.counters.nudged.saturating_add(1);
        }
        if advance.step_us > GAP_US_MIN {
            self.counters.gaps = self.counters.gaps.saturating_add(1);
        }
        if self.newest.is_none_or(|newest| newest.out_us < unit.dts_us) {
            self.newest = Some(Newest { out_us: unit.dts_us, at_unix_ms: now_unix_ms });
        }
        self.started_unix_ms.get_or_insert(now_unix_ms);
        self.counters.passed = self.counters.passed.saturating_add(1);
        Ok(unit)
    }

    /// A new connection of the encoder: its clock starts anew, the timeline goes on where the server's clock says.
    pub fn reconnect(&mut self) {
        self.video.forget_offsets();
        self.audio.forget_offsets();
        self.reorder = Reorder::default();
    }

    /// Unix time, by the server's clock, of the timeline's zero.
    pub fn started_unix_ms(&self) -> Option<u64> {
        self.started_unix_ms
    }

    /// What was changed and refused so far.
    pub fn counters(&self) -> NormaliserCounters {
        self.counters
    }

    fn drop_unit(&mut self, reason: Dropped) -> Dropped {
        self.counters.dropped = self.counters.dropped.saturating_add(1);
        reason
    }

    fn track_mut(&mut self, kind: MediaKind) -> &mut TrackClock {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        }
    }

    /// Video that repeats its presentation times as decoding times shows it by small steps back without composition offsets.
    /// True when the decoding time was rebuilt.
    fn rebuild_dts(&mut self, unit: &mut AccessUnit) -> bool {
        if unit.pts_us != unit.dts_us {
            self.reorder = Reorder::default();
            return false;
        }
        let rebuilt_us = self.reorder.push(unit.pts_us);
        if let Some(dts_us) = rebuilt_us {
            unit.dts_us = dts_us;
            self.counters.dts_rebuilt = self.counters.dts_rebuilt.saturating_add(1);
        }
        rebuilt_us.is_some()
    }

    /// The offset that carries `dts_us` to its place on the timeline, and whether the track should keep it.
    fn offset(&mut self, kind: MediaKind, now_unix_ms: u64, dts_us: i64) -> (i64, bool) {
        let Some(own_us) = self.track_mut(kind).offset_us() else {
            return (self.first_offset(kind, now_unix_ms, dts_us), true);
        };
        let (own, other) = self.tracks(kind);
        let wanted_us = dts_us.saturating_add(own_us);
        let follows = own.last().is_none_or(|(last_us, at_unix_ms)| {
            let until_us = last_us.saturating_add(GAP_US_MIN).saturating_add(elapsed_us(at_unix_ms, now_unix_ms));
            (last_us.saturating_sub(self.config.lag_us_max)..=until_us).contains(&wanted_us)
        });
        if follows {
            self.track_mut(kind).trust();
            return (own_us, true);
        }
        let plausible = |offset_us: &i64| self.is_plausible(own, now_unix_ms, dts_us.saturating_add(*offset_us));
        let leaps = plausible(&own_us);
        let known = [own.previous_offset_us(), other.offset_us()].into_iter().flatten().find(plausible);
        let place_us = self.successor(own, now_unix_ms);
        let suspect = self.track_mut(kind).suspect(dts_us, place_us.saturating_sub(dts_us), leaps);
        if suspect.count < AGREEING_UNITS {
            self.counters.disbelieved = self.counters.disbelieved.saturating_add(1);
            return (place_us.saturating_sub(dts_us), false);
        }
        self.track_mut(kind).trust();
        if suspect.leaps {
            return (own_us, true);
        }
        let counter = if known.is_some() { &mut self.counters.rejoined } else { &mut self.counters.jumps };
        *counter = counter.saturating_add(1);
        (known.unwrap_or(suspect.offset_us), true)
    }

    /// The offset of a track that has none: it begins, or its encoder is back.
    fn first_offset(&mut self, kind: MediaKind, now_unix_ms: u64, dts_us: i64) -> i64 {
        let (own, other) = self.tracks(kind);
        let known = other.offset_us();
        let plausible = |offset_us: &i64| self.is_plausible(own, now_unix_ms, dts_us.saturating_add(*offset_us));
        if let Some(offset_us) = known.filter(plausible) {
            return offset_us;
        }
        let place_us = self.place(own, now_unix_ms);
        if known.is_some() {
            self.counters.jumps = self.counters.jumps.saturating_add(1);
        }
        place_us.saturating_sub(dts_us)
    }

    /// The track of a kind, and the other one.
    fn tracks(&self, kind: MediaKind) -> (&TrackClock, &TrackClock) {
        match kind {
            MediaKind::Video => (&self.video, &self.audio),
            MediaKind::Audio => (&self.audio, &self.video),
        }
    }

    /// Where the next unit of a track belongs, whatever its own time is: behind the last, or after a silence where the server's
    /// clock is.
    fn successor(&self, own: &TrackClock, now_unix_ms: u64) -> i64 {
        match own.last() {
            Some((last_us, at_unix_ms)) if elapsed_us(at_unix_ms, now_unix_ms) <= GAP_US_MIN => {
                last_us.saturating_add(own.step_us())
            }
            _ => self.place(own, now_unix_ms),
        }
    }

    fn is_plausible(&self, own: &TrackClock, now_unix_ms: u64, wanted_us: i64) -> bool {
        // A track that has not begun is measured by the newest time of the other.
        let (from_us, at_unix_ms) = match (own.last(), self.newest) {
            (Some((last_us, at_unix_ms)), _) => (last_us, at_unix_ms),
            (None, Some(newest)) => (newest.out_us.saturating_sub(self.config.lead_us_max), newest.at_unix_ms),
            (None, None) => return false,
        };
        let lead_us = self.config.lead_us_max.saturating_add(elapsed_us(at_unix_ms, now_unix_ms));
        let lead_us = if own.last().is_some() { lead_us } else { lead_us.saturating_add(self.config.lead_us_max) };
        wanted_us >= from_us.saturating_sub(self.config.lag_us_max) && wanted_us <= from_us.saturating_add(lead_us)
    }

    /// Where the timeline is now by the server's clock, for a track that has nothing better.
    fn place(&self, own: &TrackClock, now_unix_ms: u64) -> i64 {
        let Some(newest) = self.newest else { return 0 };
        let by_clock_us = newest.out_us.saturating_add(elapsed_us(newest.at_unix_ms, now_unix_ms));
        match own.last() {
            Some((last_us, _)) => by_clock_us.max(last_us.saturating_add(own.step_us())),
            None => by_clock_us,
        }
    }
}

fn elapsed_us(from_unix_ms: u64, to_unix_ms: u64) -> i64 {
    let elapsed_ms = to_unix_ms.saturating_sub(from_unix_ms).min(ELAPSED_MS_MAX);
    i64::try_from(elapsed_ms).unwrap_or(0).saturating_mul(US_PER_MS)
}
