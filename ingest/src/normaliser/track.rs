//! One track's place on the timeline.

/// The least step between two decoding times of a track: one tick of FLV's clock.
const STEP_US_MIN: i64 = 1000;
/// A step larger than this is a gap and no frame duration.
const STEP_US_MAX: i64 = 1_000_000;
/// The step before two units have shown one: 25 frames a second.
const STEP_US_DEFAULT: i64 = 40_000;

/// What a track keeps of its past.
#[derive(Debug, Default)]
pub struct TrackClock {
    offset_us: Option<i64>,
    previous_offset_us: Option<i64>,
    /// The last decoding time given out, and the server's time then.
    last: Option<(i64, u64)>,
    step_us: Option<i64>,
}

/// What [`TrackClock::advance`] made of a time.
#[derive(Debug, Clone, Copy)]
pub struct Advance {
    pub out_us: i64,
    /// Distance to the time before; 0 for the first.
    pub step_us: i64,
    /// The time did not follow its predecessor and was moved up.
    pub nudged: bool,
}

impl TrackClock {
    pub fn offset_us(&self) -> Option<i64> {
        self.offset_us
    }

    pub fn previous_offset_us(&self) -> Option<i64> {
        self.previous_offset_us
    }

    pub fn last(&self) -> Option<(i64, u64)> {
        self.last
    }

    /// Duration of a frame, by the last sound step.
    pub fn step_us(&self) -> i64 {
        self.step_us.unwrap_or(STEP_US_DEFAULT)
    }

    /// Moves to `wanted_us`, or just past the last time when that lies behind it.
    pub fn advance(&mut self, wanted_us: i64, offset_us: i64, now_unix_ms: u64) -> Advance {
        if self.offset_us != Some(offset_us) {
            self.previous_offset_us = self.offset_us;
            self.offset_us = Some(offset_us);
        }
        let Some((last_us, _)) = self.last else {
            self.last = Some((wanted_us, now_unix_ms));
            return Advance { out_us: wanted_us, step_us: 0, nudged: false };
        };
        let nudged = wanted_us < last_us.saturating_add(STEP_US_MIN);
        let out_us = if nudged { last_us.saturating_add(STEP_US_MIN) } else { wanted_us };
        let step_us = out_us.saturating_sub(last_us);
        if !nudged && step_us <= STEP_US_MAX {
            self.step_us = Some(step_us);
        }
        self.last = Some((out_us, now_unix_ms));
        Advance { out_us, step_us, nudged }
    }

    /// The source's clock starts anew; the place on the timeline stays.
    pub fn forget_offsets(&mut self) {
        self.offset_us = None;
        self.previous_offset_us = None;
    }
}
