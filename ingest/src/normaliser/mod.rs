//! Timestamps as encoders send them, made into one timeline that only goes forward.
//!
//! Each track maps the encoder's time to broadcast time by adding an offset. Both tracks share the offset as long as the encoder
//! lets them, so that lip sync is the encoder's own. A time that the offset would carry to an implausible place (behind the
//! track, or further ahead than the server's clock and a margin allow) makes the track try, in this order: the offset it had
//! before (one bad frame), the other track's offset (both jumped), and last a fresh offset that goes on where the server's clock
//! says the track should be. Nothing here ever ends a broadcast.

mod reorder;
mod track;

use crate::{AccessUnit, MediaKind};
use reorder::Reorder;
use track::TrackClock;

const US_PER_MS: i64 = 1000;
/// A composition offset beyond this is no reordering: sixteen frames at two frames a second.
const COMPOSITION_US_MAX: i64 = 8_000_000;
/// A step larger than this inside a track counts as a gap.
const GAP_US_MIN: i64 = 1_000_000;
/// The server's clock is believed for no longer silence than this.
const ELAPSED_MS_MAX: u64 = 3_600_000;

/// Bounds of the timeline's repairs.
#[derive(Debug, Clone)]
pub struct NormaliserConfig {
    /// How far a time may lead what the server's clock makes plausible before it counts as a jump, in microseconds. Encoders
    /// that flush a buffer after a stall lead by its length.
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
    /// Times that jumped and were given a fresh offset.
    pub jumps: u64,
    /// Times that jumped and fitted an offset already known (a bad frame's end, or the other track's jump).
    pub rejoined: u64,
    /// Decoding times moved up because they did not follow their predecessor.
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
    /// negative; presentation times are never negative and may lie before a decoding time that had to be moved.
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
        if unit.kind() == MediaKind::Video {
            self.rebuild_dts(&mut unit);
        }
        let kind = unit.kind();
        let offset_us = self.offset(kind, now_unix_ms, unit.dts_us);
        let wanted_us = unit.dts_us.saturating_add(offset_us);
        if wanted_us < 0 && self.track_mut(kind).last().is_none() {
            return Err(self.drop_unit(Dropped::BeforeStart));
        }
        let advance = self.track_mut(kind).advance(wanted_us, offset_us, now_unix_ms);
        if advance.nudged {
            self.counters.nudged = self.counters.nudged.saturating_add(1);
        }
        if advance.step_us > GAP_US_MIN {
            self.counters.gaps = self.counters.gaps.saturating_add(1);
        }
        unit.pts_us = unit.pts_us.saturating_add(offset_us).max(0);
        unit.dts_us = advance.out_us;
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
    fn rebuild_dts(&mut self, unit: &mut AccessUnit) {
        if unit.pts_us != unit.dts_us {
            self.reorder = Reorder::default();
            return;
        }
        if let Some(dts_us) = self.reorder.push(unit.pts_us) {
            unit.dts_us = dts_us;
            self.counters.dts_rebuilt = self.counters.dts_rebuilt.saturating_add(1);
        }
    }

    /// The offset that carries `dts_us` to its place on the timeline.
    fn offset(&mut self, kind: MediaKind, now_unix_ms: u64, dts_us: i64) -> i64 {
        let (own, other) = match kind {
            MediaKind::Video => (&self.video, &self.audio),
            MediaKind::Audio => (&self.audio, &self.video),
        };
        let plausible = |offset_us: &i64| {
            let wanted_us = dts_us.saturating_add(*offset_us);
            self.is_plausible(own, now_unix_ms, wanted_us)
        };
        if let Some(offset_us) = own.offset_us().filter(&plausible) {
            return offset_us;
        }
        let known = [own.previous_offset_us(), other.offset_us()];
        let was_set = own.offset_us().is_some();
        if let Some(offset_us) = known.into_iter().flatten().find(plausible) {
            if was_set {
                self.counters.rejoined = self.counters.rejoined.saturating_add(1);
            }
            return offset_us;
        }
        if was_set || other.offset_us().is_some() {
            self.counters.jumps = self.counters.jumps.saturating_add(1);
        }
        let place_us = self.place(own, now_unix_ms);
        place_us.saturating_sub(dts_us)
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
